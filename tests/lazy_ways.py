"""The ways in which a lazy operation runs, as `ways` has them for maps. Consumers too are written as coroutine functions.

On threads `run` drives them to their end in the calling thread: whatever they await blocks there.
"""

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final, Protocol
from weakref import ref

import pytest

from concurrency import AsyncStream, Concurrent, Stream, pacing
from tests.ways import (
    PATIENCE,
    AsyncBarrier,
    AsyncGate,
    AsyncItems,
    Barrier,
    Gate,
    ThreadBarrier,
    ThreadGate,
    finish,
    free,
    in_loop,
    plain,
    task_factory,
    until,
)

AnyStream = Stream[Any] | AsyncStream[Any]

END: Final = object()
"""What `take` gives when there is nothing more."""


class LazyWay(Protocol):
    """One lazy operation on one kind of inputs. Lists and iterators alike become async, where that is the kind."""

    operation: str
    is_ordered: bool
    is_async: bool
    has_async_source: bool

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> AnyStream: ...

    def result(self, taken: Any) -> Any:
        """The result in what has been taken: a pair, where the operation gives pairs."""

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run the consumer to its end; nothing may be left then."""

    def gate(self) -> Gate: ...
    def barrier(self, parties: int) -> Barrier: ...

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what has no event to wait for."""

    @contextmanager
    def let_go(self, gate: Gate, condition: Callable[[], object]) -> Iterator[None]:
        """Open the gate for calls in threads as soon as the condition holds. Calls on asyncio have to be cancelled instead."""

    def apart(self, *mains: Callable[[], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, list[Any]]:
        """Run consumers in threads or tasks of their own, and give what they return."""


async def take(stream: AnyStream) -> Any:
    """The next result, or `END`."""
    try:
        if isinstance(stream, AsyncStream):
            return await anext(stream, END)
        return next(stream, END)
    finally:
        del stream  # an exception of a call that has been started from here holds this frame


async def rest(stream: AnyStream) -> list[Any]:
    """All results that are left."""
    return [result async for result in stream] if isinstance(stream, AsyncStream) else list(stream)


async def close(stream: AnyStream) -> None:
    """`aclose` or `close`."""
    if isinstance(stream, AsyncStream):
        await stream.aclose()
    else:
        stream.close()


def run_of(stream: AnyStream) -> Any:
    """What runs the calls of a stream that is open: it lives as long as any of them does. None afterwards."""
    return stream._pull._run


def ended_in(stream: AnyStream) -> int:
    """How many calls of a stream have ended."""
    run = run_of(stream)
    ended: int = run.count() if isinstance(stream, Stream) else run.finished
    return ended


def until_free(condition: Callable[[], object]) -> None:
    """As `until`, where the condition may be that objects have died."""

    def holds() -> object:
        free()
        return condition()

    until(holds)


def has_stopped(stream: AnyStream) -> bool:
    """Whether no further call can start."""
    run = run_of(stream)
    return run is None or run.stopped


def watch(stream: AnyStream) -> Callable[[], bool]:
    """What tells, later, whether all threads and tasks of the stream have let go of it."""
    run = ref(run_of(stream))
    return lambda: run() is None


@contextmanager
def no_collector() -> Iterator[None]:
    """Within it nothing is collected but by counting references, unless the test itself collects."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Filling(Iterator[int]):
    """Inputs without end, 0, 1, 2, …, and a gate that opens when so many have been read.

    A stream reads on only while it has nothing to give. Calls that wait for the gate make it fill its buffer first.
    """

    def __init__(self, gate: Any, size: int) -> None:
        self.read = 0
        self._gate = gate
        self._size = size

    def __next__(self) -> int:
        self.read += 1
        if self.read == self._size:
            self._gate.set()
        return self.read - 1


class _Lazy:
    is_ordered = True
    has_async_source = False
    operation = ""

    def result(self, taken: Any) -> Any:
        return taken if taken is END or self.is_ordered else taken[1]


class _Threads(_Lazy):
    is_async = False
    operation = "stream"

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> AnyStream:
        stream: AnyStream = getattr(Concurrent, self.operation)(plain(call), *iterables, **options)
        return stream

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return finish(main())

    def gate(self) -> Gate:
        return ThreadGate()

    def barrier(self, parties: int) -> Barrier:
        return ThreadBarrier(parties)

    async def until(self, condition: Callable[[], object]) -> None:
        until_free(condition)

    @contextmanager
    def let_go(self, gate: Gate, condition: Callable[[], object]) -> Iterator[None]:
        def opener() -> None:
            until(condition)
            gate.set()

        with closing(_Apart(opener)):
            yield

    async def apart(self, *mains: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        threads = [_Apart(partial(_finish, main)) for main in mains]
        return [thread.result() for thread in threads]


class _ThreadsCompleted(_Threads):
    is_ordered = False
    operation = "as_completed"


class _Asyncio(_Lazy):
    is_async = True
    operation = "a_stream"
    factory: Any = None

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> AnyStream:
        inputs = (self.inputs(each) for each in iterables)
        stream: AnyStream = getattr(Concurrent, self.operation)(call, *inputs, **options)
        return stream

    def inputs(self, items: Any) -> Any:
        return items

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return in_loop(main, self.factory)

    def gate(self) -> Gate:
        return AsyncGate()

    def barrier(self, parties: int) -> Barrier:
        return AsyncBarrier(parties)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0)

    @contextmanager
    def let_go(self, gate: Gate, condition: Callable[[], object]) -> Iterator[None]:
        yield

    async def apart(self, *mains: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        return await asyncio.gather(*(main() for main in mains))


class _AsyncioCompleted(_Asyncio):
    is_ordered = False
    operation = "a_as_completed"


class _AsyncioSource(_Asyncio):
    has_async_source = True

    def inputs(self, items: Any) -> Any:
        return AsyncItems(items)


class _AsyncioSourceCompleted(_AsyncioCompleted):
    has_async_source = True

    def inputs(self, items: Any) -> Any:
        return AsyncItems(items)


class _AsyncioFactory(_Asyncio):
    factory = staticmethod(task_factory)


LAZY_WAYS: dict[str, Callable[[], Any]] = {
    "stream": _Threads,
    "as_completed": _ThreadsCompleted,
    "a_stream": _Asyncio,
    "a_stream-async-source": _AsyncioSource,
    "a_stream-task-factory": _AsyncioFactory,
    "a_as_completed": _AsyncioCompleted,
    "a_as_completed-async-source": _AsyncioSourceCompleted,
}


def _finish(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return finish(main())


class _Apart:
    """A function in a thread of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._outcome

    close = result

    def _run(self) -> None:
        try:
            self._outcome = self._function()
        except BaseException as error:  # raised again by `result`
            self._error = error


class SkippingClock(pacing.Clock):
    """Time that can be skipped, for the package and for the loop that runs. A timeout is due when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._skipped = 0.0
        monkeypatch.setattr(pacing, "clock", self)

    def skip(self, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if not isinstance(loop, asyncio.BaseEventLoop):
                pytest.skip("the time of this loop cannot be skipped")
            loop.time = self.now  # type: ignore[method-assign]
        self._skipped += seconds

    def now(self) -> float:
        return super().now() + self._skipped

    def acquire(self, bell: Any, seconds: float) -> bool:
        return super().acquire(bell, min(seconds, 0.001))
