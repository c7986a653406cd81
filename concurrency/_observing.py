"""The seam between the drivers and whoever watches them. What a watcher makes of what it is told is no driver's business."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from concurrency._calls import Job


class Times(NamedTuple):
    """When the calls of an executor's task have run, by `time.perf_counter` of where they ran, and what ran them."""

    worker: int | str  # a thread of this process, or what another process is called
    spans: list[tuple[float, float]]


class Observer(Protocol):
    """Watches the calls of one map. Nothing here raises, waits, or keeps an input."""

    def reading(self, inputs: Iterator[Any]) -> Iterator[Any]:
        """The same inputs, for calls that may have to wait after theirs has been read. Not for a sequence."""
        ...

    def waits(self, index: int) -> None:
        """The input of this call has been read, but it cannot start yet. For drivers whose calls mostly start at once."""

    def calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What a worker calls in place of `function`, with the index and the inputs."""
        ...

    def a_calling(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The same on asyncio."""
        ...

    def sent(self, start: int, inputs: Sequence[Any]) -> None:
        """A task is about to be handed to an executor: the calls from the one at `start` on, with the inputs of each."""

    def returned(self, start: int, outcomes: Sequence[BaseException | None], times: Times | None) -> None:
        """That task has ended: what its calls have raised, as far as it got, and when they ran, if it has been told."""

    def lost(self, start: int) -> None:
        """That task has not been run, or not to its end."""


class Indexed(Protocol):
    """What has items that can be read by index."""

    def __getitem__(self, index: int, /) -> Any: ...


class Numbered(Indexed):
    """The items of a sequence, each in a pair behind its index, for what `with_number` makes."""

    def __init__(self, items: Indexed) -> None:
        self._items = items

    def __getitem__(self, index: int, /) -> tuple[int, Any]:
        return index, self._items[index]


def with_number(observed: Callable[..., Any]) -> Callable[[tuple[int, Any]], Any]:
    """What an observer has made to be called, for a driver that gives each call one thing: an index and an input in a pair."""

    def call(pair: tuple[int, Any]) -> Any:
        try:
            return observed(*pair)
        finally:
            del pair  # the frame of a call that fails holds this one

    return call


watching: ContextVar["Callable[[Job], Observer | None] | None"] = ContextVar("concurrency_watching", default=None)
"""What finds an observer for a map that begins in this context: None while nobody watches."""
