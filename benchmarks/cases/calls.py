"""The decorated function, called: what `@concurrent` costs those who only call."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat

from benchmarks.functions import identity
from benchmarks.harness import Case, Size, Unit, clocked, entrant
from concurrency.decorator import concurrent


class _Plain:
    """The least that a callable object can be."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[int], int]) -> None:
        self._function = function

    def __call__(self, value: int) -> int:
        return self._function(value)


def cases(size: Size) -> Sequence[Case]:
    """Beside the bare function, and beside the least that a callable object can be."""
    items = size(200_000)
    return [
        Case(
            name="call of a decorated function",
            is_pictured=False,
            items=items,
            unit=Unit.PER_ITEM,
            measure=clocked,
            ours=entrant("decorated", partial(_call, concurrent(identity), items)),
            peers=(
                entrant("the bare function", partial(_call, identity, items), bar=6.0),
                entrant("one plain `__call__`", partial(_call, _Plain(identity), items)),
            ),
        )
    ]


def _call(function: Callable[[int], int], items: int) -> None:
    for _ in repeat(None, items):
        function(1)
