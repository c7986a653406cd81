"""The seam between the drivers and whoever watches them. What a watcher makes of what it is told is no driver's business."""

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from concurrency._calls import Job


class Span(NamedTuple):
    """From when to when a call has run, by `time.perf_counter` of where it ran, and in which worker, if that is known."""

    start: float
    end: float
    worker: object = None


class Observer(Protocol):
    """Watches the calls of one map. Nothing here raises, waits, or keeps an input."""

    def read(self, index: int) -> None:
        """The input of this call has been read, and the call has to wait. Not told of a sequence, which waits as a whole."""

    def calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What a worker calls in place of `function`, with the index before the inputs."""
        ...

    def a_calling(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The same on asyncio."""
        ...

    def sent(self, index: int, inputs: tuple[Any, ...]) -> None:
        """A call has been handed to an executor."""

    def returned(self, index: int, error: BaseException | None, span: Span | None) -> None:
        """It has come back from there: when it ran, if the executor's worker has been able to tell."""


watching: ContextVar["Callable[[Job], Observer | None] | None"] = ContextVar("concurrency_watching", default=None)
"""What finds an observer for a map that begins in this context: None while nobody watches."""
