"""The ways in which a map runs. One test body serves them all.

Its calls are written as coroutine functions, and wait for nothing but what a way gives them. On asyncio they are what they are; a
thread runs them to their end in one go, since there waiting blocks.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Protocol

import pytest

from concurrency import Concurrent

PATIENCE = 20
"""Seconds after which a test that waits has failed: a safety net alone."""


LOOP: Final[str] = os.environ.get("CONCURRENCY_TEST_LOOP", "")
"""The loop in which all is to run: `conftest` sees to it."""

HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()

interrupted_at_any_moment = pytest.mark.xfail(
    sys.version_info[:2] == (3, 14),
    reason="what a signal's handler raises right after a `with lock:` was entered leaves the lock locked: Python 3.14 alone",
    strict=False,
)
raises_one_object_at_once = pytest.mark.skipif(
    not HAS_GIL and sys.version_info < (3, 14),
    reason="the interpreter itself crashes or hangs when several threads raise one exception object at once",
)


class Gate(Protocol):
    """An event of one colour."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    async def wait(self) -> None: ...


class Barrier(Protocol):
    """A barrier of one colour."""

    async def wait(self) -> None: ...


class Map(Protocol):
    """A map that is awaited, though it may run on threads."""

    async def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]: ...


class Way(Protocol):
    """`Concurrent.map` or `Concurrent.a_map` on one kind of inputs. Lists become that kind, other iterables stay as they are."""

    operation: str

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]: ...
    def tell(self, story: "Callable[[Map], Coroutine[Any, Any, Any]]") -> Any:
        """Run a whole test within one thread, or within one task of a loop, which makes its maps with what it is given."""

    def gate(self) -> Gate: ...
    def barrier(self, parties: int) -> Barrier: ...

    async def outlast(self, failing: "list[int]") -> None:
        """Inside a call: stay until the map has seen that another one fails, whose thread is, or is about to be, in the list."""


def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event to wait for."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.0005)


def free() -> None:
    """Have objects die that nobody holds any more. With a GIL they have already, unless they are in a cycle.

    Without one an object that another thread has made dies when that thread next runs, and an idle one sleeps; or when the
    collector runs, which then frees cycles too: that there are none is to be seen on builds with a GIL.
    """
    if not HAS_GIL:
        gc.collect()


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a call in a thread must not suspend")


def plain(call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """A coroutine function that never suspends, as the plain function it could have been."""

    def function(*inputs: Any) -> Any:
        return finish(call(*inputs))

    function.__name__ = function.__qualname__ = getattr(call, "__name__", type(call).__name__)
    return function


class ThreadGate(threading.Event):
    async def wait(self) -> None:  # type: ignore[override]
        assert super().wait(PATIENCE), "nobody has opened the gate"


class ThreadBarrier(threading.Barrier):
    async def wait(self) -> None:  # type: ignore[override]
        super().wait(PATIENCE)


class AsyncGate(asyncio.Event):
    async def wait(self) -> None:  # type: ignore[override]
        async with asyncio.timeout(PATIENCE):
            await super().wait()


class AsyncBarrier(asyncio.Barrier):
    async def wait(self) -> None:  # type: ignore[override]
        async with asyncio.timeout(PATIENCE):
            await super().wait()


class AsyncItems:
    """An async iterator over items. Not a generator: that would be closed by the loop if it is left half-way."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        for item in self._items:
            return item
        raise StopAsyncIteration


class _Threads:
    operation = "map"

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]:
        return Concurrent.map(plain(call), *(self.inputs(each) for each in iterables), **options)

    def tell(self, story: Callable[[Map], Coroutine[Any, Any, Any]]) -> Any:
        async def mapping(call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]:
            return self(call, *iterables, **options)

        return finish(story(mapping))

    def inputs(self, items: Any) -> Any:
        return items

    def gate(self) -> Gate:
        return ThreadGate()

    def barrier(self, parties: int) -> Barrier:
        return ThreadBarrier(parties)

    async def outlast(self, failing: list[int]) -> None:
        until(lambda: failing and not _is_worker(failing[0]))


class _ThreadsIterator(_Threads):
    def inputs(self, items: Any) -> Any:
        return _each(items) if isinstance(items, list) else items


class _Asyncio:
    operation = "a_map"

    def __call__(self, call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]:
        results: list[Any] = in_loop(
            lambda: Concurrent.a_map(call, *(self.inputs(each) for each in iterables), **options), self.factory
        )
        return results

    factory: Any = None

    def tell(self, story: Callable[[Map], Coroutine[Any, Any, Any]]) -> Any:
        async def mapping(call: Callable[..., Coroutine[Any, Any, Any]], *iterables: Any, **options: Any) -> list[Any]:
            try:
                return await Concurrent.a_map(call, *(self.inputs(each) for each in iterables), **options)
            finally:
                await asyncio.sleep(0)  # what has woken this task is held by the loop until its next turn

        return in_loop(lambda: story(mapping), self.factory)

    def inputs(self, items: Any) -> Any:
        return items

    def gate(self) -> Gate:
        return AsyncGate()

    def barrier(self, parties: int) -> Barrier:
        return AsyncBarrier(parties)

    async def outlast(self, failing: list[int]) -> None:
        await AsyncGate().wait()


class _AsyncioIterator(_Asyncio):
    def inputs(self, items: Any) -> Any:
        return AsyncItems(items) if isinstance(items, list) else items


def task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    return asyncio.Task(coroutine, loop=loop, **options)


def eager_task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """`asyncio.eager_task_factory`: uvloop gives it an option that, before Python 3.14, it does not know."""
    options.pop("eager_start", None)
    factory: Callable[..., Any] = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore]
    return factory(loop, coroutine, **options)  # type: ignore[no-any-return]  # a name for the task would make a cycle


class EagerLoop(asyncio.SelectorEventLoop):
    """A loop whose task factory is asyncio's eager one.

    Until Python 3.13.2 the frame of `create_task` keeps its task, whose exception has that frame behind it, for the collector
    to find (python/cpython#128552). So it is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(eager_task_factory)

    def create_task(self, coroutine: Any, **options: Any) -> Any:  # type: ignore[override]
        if self.get_task_factory() is eager_task_factory:
            return eager_task_factory(self, coroutine, **options)
        return super().create_task(coroutine, **options)


class _AsyncioFactory(_Asyncio):
    factory = staticmethod(task_factory)


WAYS: dict[str, Callable[[], Way]] = {
    "threads-list": _Threads,
    "threads-iterator": _ThreadsIterator,
    "asyncio-list": _Asyncio,
    "asyncio-async-iterator": _AsyncioIterator,
    "asyncio-task-factory": _AsyncioFactory,
}


def in_loop(main: Callable[[], Coroutine[Any, Any, Any]], factory: Any = None) -> Any:
    """Run a coroutine to its end in a loop that must have nothing to complain about, and no task left."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> tuple[Any, BaseException | None]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        if factory is not None:
            loop.set_task_factory(factory)
        try:
            return await main(), None
        except BaseException as error:  # not through the loop, which cannot cope with all that a test may raise
            return None, error
        finally:
            orphans = asyncio.all_tasks() - {asyncio.current_task()}
            if orphans:
                complaints.append({"message": "tasks are left", "tasks": orphans})

    value, error = asyncio.run(watched())
    if isinstance(error, pytest.skip.Exception):
        raise error
    assert not complaints, complaints
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # its traceback holds this frame


class Gauge:
    """Counts who is in it, and remembers how many were in it at once."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.now -= 1


def _each(items: Iterable[Any]) -> Iterator[Any]:
    yield from items


def _is_worker(ident: int) -> bool:
    """Whether a thread is at work for a map."""
    frame = sys._current_frames().get(ident)
    while frame is not None:
        if frame.f_globals.get("__name__") == "concurrency._threads":
            return True
        frame = frame.f_back
    return False
