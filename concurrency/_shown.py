"""What is shown of an input: nothing that is large, that can change, or that was the user's object."""

from time import perf_counter
from typing import Any

from concurrency._brief import brief

LONGEST = 200
"""Characters of a string that is kept as it is; of a longer one its short repr is."""

PATIENCE = 0.05
"""Seconds that the reprs of one type may take in a map, where they take long: from then on only the type is shown."""

LONG = 0.0005
"""Seconds: a repr that takes so long on average takes long. Thousands of calls a second would feel it."""


class Text(str):
    """A repr, to be told from an input that is a string."""

    __slots__ = ()


class Reprs:
    """What is shown of inputs: nothing that is large, that can change, or that was the user's object."""

    def __init__(self) -> None:
        self._slow: dict[int, list[float]] = {}  # by the `id` of a type: how many reprs, and how long they took in all

    def show(self, value: Any) -> Any:
        """The value itself, if it is small and cannot change; else its repr, made now, while it is what the call is given."""
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]  of a value of any type
        if kind is str or kind is bytes:
            return value if len(value) <= LONGEST else Text(brief(value))
        if kind is int or kind is float or kind is bool or value is None:
            return value
        return self._repr(value)

    def _repr(self, value: object) -> Text:
        kind = type(value)
        spent = self._slow.setdefault(id(kind), [0, 0.0])
        if spent[1] > PATIENCE and spent[1] > LONG * spent[0]:
            return Text(f"<{kind.__name__}>")
        start = perf_counter()
        text = Text(brief(value))
        spent[0] += 1
        spent[1] += perf_counter() - start
        return text


def text_of(shown: Any) -> str:
    """What is shown of an input."""
    return str(shown) if type(shown) is Text else brief(shown)
