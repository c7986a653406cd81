"""What the tests share. One body serves both colours where the behaviour is the same: it takes `run` or `lazily`."""

import asyncio
import importlib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from concurrency import Concurrent
from tests.lazy_ways import LAZY_WAYS, LazyWay, SkippingClock
from tests.ways import LOOP, WAYS, EagerLoop, Way, free

# For `asyncio.run` and for child processes; pytest-asyncio's loops have their own switch.
os.environ["PYTHONASYNCIODEBUG"] = "0" if LOOP == "debug-off" else "1"

# A job in the background of a shell ignores Ctrl-C, and so would all programs that the tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _use_loop() -> None:
    """Other loops than asyncio's, for the sessions of nox that ask for them. Policies: the tests call `asyncio.run` as users do."""
    if LOOP == "uvloop":
        asyncio.set_event_loop_policy(importlib.import_module("uvloop").EventLoopPolicy())
    elif LOOP == "eager":

        class EagerPolicy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                return EagerLoop()

        asyncio.set_event_loop_policy(EagerPolicy())
    else:
        assert LOOP in {"", "debug-off"}, f"CONCURRENCY_TEST_LOOP: there is no {LOOP!r}"


_use_loop()


class Run(Protocol):
    """A map in one of the two colours: takes a plain function in both, and gives the list of results."""

    colour: str

    def __call__(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]: ...


class _Threads:
    colour = "threads"

    def __call__(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
        return Concurrent.map(function, *iterables, **options)


class _Asyncio:
    colour = "asyncio"

    def __call__(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
        return asyncio.run(Concurrent.a_map(as_coroutine_function(function), *iterables, **options))


class _LazyThreads:
    colour = "threads"

    def __call__(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
        return list(Concurrent.stream(function, *iterables, **options))


class _LazyAsyncio:
    colour = "asyncio"

    def __call__(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
        async def main() -> list[Any]:
            return [result async for result in Concurrent.a_stream(as_coroutine_function(function), *iterables, **options)]

        return asyncio.run(main())


def as_coroutine_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function in the other colour: it suspends once, so that calls overlap."""
    if inspect.iscoroutinefunction(function):
        return function

    async def call(*inputs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*inputs)

    call.__name__ = call.__qualname__ = getattr(function, "__name__", type(function).__name__)
    return call


@pytest.fixture(params=[_Threads, _Asyncio], ids=["map", "a_map"])
def run(request: pytest.FixtureRequest) -> Run:
    """`Concurrent.map` and `Concurrent.a_map`."""
    result: Run = request.param()
    return result


@pytest.fixture(params=[_Threads, _Asyncio, _LazyThreads, _LazyAsyncio], ids=["map", "a_map", "stream", "a_stream"])
def every(request: pytest.FixtureRequest) -> Run:
    """The four operations that keep the order of the inputs, each run to its end."""
    result: Run = request.param()
    return result


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    """`Concurrent.map` and `Concurrent.a_map`, each on the kinds of inputs that it treats in a way of their own."""
    return WAYS[request.param]()


@pytest.fixture(params=list(LAZY_WAYS))
def lazy(request: pytest.FixtureRequest) -> LazyWay:
    """The four lazy operations, those on asyncio on each kind of inputs that they treat in a way of their own."""
    way: LazyWay = LAZY_WAYS[request.param]()
    return way


@pytest.fixture(params=[name for name in LAZY_WAYS if "as_completed" not in name])
def ordered(request: pytest.FixtureRequest) -> LazyWay:
    """Those that keep the order of the inputs."""
    way: LazyWay = LAZY_WAYS[request.param]()
    return way


@pytest.fixture(params=[name for name in LAZY_WAYS if "as_completed" in name])
def completed(request: pytest.FixtureRequest) -> LazyWay:
    """Those that give each result as soon as it is there."""
    way: LazyWay = LAZY_WAYS[request.param]()
    return way


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SkippingClock:
    """The time by which timeouts go, in the hands of the test."""
    return SkippingClock(monkeypatch)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test leaves at most the shared pool's idle threads behind."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("concurrency-extra"):
            free()  # a pool whose threads end with it may be among it
            thread.join(10)
            assert not thread.is_alive(), f"{thread.name} is still there"
