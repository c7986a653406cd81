"""Promise 14 for streams: memory O(buffersize), and nothing that holds on to what has gone through, however the stream ends."""

import asyncio
import contextvars
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import count
from typing import Any
from weakref import ref

import pytest

from concurrency import AsyncStream, Concurrent, _threads
from concurrency._options import default_workers
from tests.children import run as run_program
from tests.lazy_ways import (
    END,
    AnyStream,
    Filling,
    LazyWay,
    SkippingClock,
    close,
    ended_in,
    has_stopped,
    no_collector,
    rest,
    run_of,
    take,
    until_free,
    watch,
)
from tests.ways import HAS_GIL, PATIENCE, in_loop, until


class Thing:
    """Something to hold on to."""


class Things:
    """Every input and result of a stream, as far as still alive."""

    def __init__(self) -> None:
        self.inputs: list[ref[Thing]] = []
        self.results: list[ref[Thing]] = []

    def make(self, items: int) -> Iterator[Thing]:
        for _ in range(items):
            thing = Thing()
            self.inputs.append(ref(thing))
            yield thing
            del thing

    def result(self) -> Thing:
        thing = Thing()
        self.results.append(ref(thing))
        return thing

    def alive(self) -> int:
        return sum(each() is not None for each in self.inputs + self.results)

    def taken_are_gone(self) -> bool:
        """But for one input: the built-in `zip` keeps a row to use it again."""
        inputs = sum(each() is not None for each in self.inputs)
        return inputs <= 1 and not any(each() for each in self.results)


# Memory


def peak_of(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def heavy(items: int) -> Iterator[bytearray]:
    for _ in range(items):
        yield bytearray(1000)


async def a_heavy(items: int) -> AsyncIterator[bytearray]:
    for _ in range(items):
        yield bytearray(1000)


def copy(item: bytearray) -> bytearray:
    return item[:]


async def a_copy(item: bytearray) -> bytearray:
    return item[:]


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_memory_does_not_grow_with_the_inputs_on_threads(operation: str) -> None:
    """200,000 inputs of 1 kB in a window of 64: 0.1 MB at a time, of 400 MB.

    Without a GIL the tracing is slow, and what another thread has made dies late: fewer of them, and more of it.
    """
    items, most = (200_000, 1_000_000) if HAS_GIL else (40_000, 8_000_000)

    def consume() -> None:
        taken = 0
        for _ in getattr(Concurrent, operation)(copy, heavy(items), buffersize=64):
            taken += 1
        assert taken == items

    assert peak_of(consume) < most


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("source", [heavy, a_heavy])
def test_memory_does_not_grow_with_the_inputs_on_asyncio(operation: str, source: Callable[[int], Any]) -> None:
    async def consume() -> None:
        taken = 0
        async for _ in getattr(Concurrent, operation)(a_copy, source(40_000), buffersize=64):
            taken += 1
        assert taken == 40_000

    assert peak_of(lambda: asyncio.run(consume(), debug=False)) < 2_000_000  # the loop's own included


# While it is open


def test_an_open_stream_holds_neither_a_result_that_has_been_taken_nor_its_input(
    lazy: LazyWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do its idle workers, however long they linger."""
    monkeypatch.setattr(_threads, "LINGER", PATIENCE * 3)
    things = Things()

    async def call(item: Thing) -> Thing:
        return things.result()

    async def main() -> None:
        stream = lazy(call, things.make(6), limit=2, buffersize=2)
        for _ in range(6):
            taken = await take(stream)
            assert taken is not END
            del taken
        await lazy.until(things.taken_are_gone)
        assert await take(stream) is END

    with no_collector():
        lazy.run(main)


def test_an_exception_that_has_been_caught_and_taken_is_not_held(lazy: LazyWay) -> None:
    things = Things()
    errors: list[ref[BaseException]] = []

    class CaughtError(Exception):
        pass

    async def call(item: Thing) -> Thing:
        error = CaughtError(things.result())
        errors.append(ref(error))
        try:
            raise error
        finally:
            del error

    async def main() -> None:
        stream = lazy(call, things.make(4), limit=1, catch=CaughtError)
        for _ in range(4):
            await take(stream)
        await lazy.until(lambda: things.taken_are_gone() and all(error() is None for error in errors))
        assert len(errors) == 4
        await close(stream)

    with no_collector():
        lazy.run(main)


# After it has ended


async def exhaust(stream: AnyStream, lazy: LazyWay, clock: SkippingClock) -> None:
    while await take(stream) is not END:
        pass


async def close_early(stream: AnyStream, lazy: LazyWay, clock: SkippingClock) -> None:
    await take(stream)
    await lazy.until(lambda: ended_in(stream) >= 1)
    await close(stream)


async def time_out(stream: AnyStream, lazy: LazyWay, clock: SkippingClock) -> None:
    await take(stream)
    clock.skip(1001)
    with pytest.raises(TimeoutError):
        while await take(stream) is not END:
            pass


@pytest.mark.parametrize("end", [exhaust, close_early, time_out])
def test_a_stream_that_has_ended_holds_nothing_even_if_it_is_kept(
    lazy: LazyWay, clock: SkippingClock, end: Callable[[AnyStream, LazyWay, SkippingClock], Coroutine[Any, Any, None]]
) -> None:
    things = Things()
    variable: contextvars.ContextVar[Thing] = contextvars.ContextVar("variable")
    items = 400 if end is time_out else 20  # more than a buffer

    def make() -> tuple[AnyStream, ref[Any], ref[Thing]]:
        value = Thing()

        async def call(item: Thing) -> Thing:
            return things.result()

        token = variable.set(value)
        stream = lazy(call, things.make(items), timeout=1000, buffersize=7)
        variable.reset(token)
        return stream, ref(call), ref(value)

    async def main() -> None:
        stream, call, value = make()
        await end(stream, lazy, clock)
        await lazy.until(lambda: things.alive() == 0)
        await lazy.until(lambda: call() is None)
        await lazy.until(lambda: value() is None)
        assert len(things.results) >= 1
        assert run_of(stream) is None

    with no_collector():
        lazy.run(main)


def test_a_stream_that_has_failed_holds_its_failure_alone(lazy: LazyWay) -> None:
    things = Things()
    variable: contextvars.ContextVar[Thing] = contextvars.ContextVar("variable")

    def make() -> tuple[AnyStream, ref[Thing]]:
        value = Thing()

        async def call(item: Thing) -> Thing:
            if len(things.results) == 3:
                del item
                raise ValueError
            return things.result()

        token = variable.set(value)
        stream = lazy(call, things.make(20), limit=1)
        variable.reset(token)
        return stream, ref(value)

    async def main() -> None:
        stream, value = make()
        with pytest.raises(ValueError):
            while await take(stream) is not END:
                pass
        await lazy.until(lambda: value() is None)
        # the input of the call that failed stands in its traceback, where the frame above it passes it on
        await lazy.until(lambda: things.alive() <= 1)

    with no_collector():
        lazy.run(main)


def test_a_failed_stream_dies_with_its_consumer(lazy: LazyWay) -> None:
    """Without the collector, though each of the two, the traceback of the exception and the stream, could hold the other."""
    things = Things()
    streams: list[ref[AnyStream]] = []
    errors: list[ref[BaseException]] = []

    class FailureError(Exception):
        pass

    async def call(item: Thing) -> Thing:
        if len(things.results) == 3:
            raise FailureError
        return things.result()

    def open_stream() -> AnyStream:
        stream = lazy(call, things.make(20), limit=1)
        streams.append(ref(stream))
        return stream

    async def consume() -> None:
        if lazy.is_async:
            async for _ in open_stream():  # type: ignore[union-attr]
                pass
        else:
            for _ in open_stream():  # type: ignore[union-attr]
                pass

    async def main() -> None:
        try:
            await consume()
        except FailureError as error:
            errors.append(ref(error))
        await lazy.until(lambda: things.alive() == 0)
        await lazy.until(lambda: streams[0]() is None and errors[0]() is None)

    with no_collector():
        lazy.run(main)


@pytest.mark.parametrize("begun", [True, False])
def test_a_dropped_stream_leaves_nothing(lazy: LazyWay, begun: bool) -> None:
    things = Things()
    full, gate = lazy.gate(), lazy.gate()

    def make() -> tuple[AnyStream, ref[Any]]:
        async def call(item: Thing, index: int) -> Thing:
            await (gate if index else full).wait()
            return things.result()

        return lazy(call, things.make(50), Filling(full, 7), limit=2, buffersize=7), ref(call)

    async def main() -> None:
        stream, call = make()
        gone: Callable[[], bool] = bool
        if begun:
            await take(stream)
            gone = watch(stream)
        streams = [ref(stream)]
        del stream
        assert streams[0]() is None
        gate.set()
        if begun:
            await lazy.until(gone)
        await lazy.until(lambda: things.alive() == 0 and call() is None)

    with no_collector():
        lazy.run(main)


def test_a_dropped_stream_dies_with_the_exceptions_that_it_has_caught(lazy: LazyWay) -> None:
    """Those that nobody has taken: their tracebacks lead to where their calls were started, on 3.12+ to the consumer itself."""
    errors: list[ref[BaseException]] = []

    class CaughtError(Exception):
        pass

    async def call(item: int) -> None:
        error = CaughtError()
        errors.append(ref(error))
        try:
            raise error
        finally:
            del error

    async def main() -> None:
        stream = lazy(call, range(4), limit=4, catch=CaughtError)
        while run_of(stream) is None or run_of(stream).finished < 2:
            await take(stream)
        gone = watch(stream)
        del stream
        await lazy.until(gone)
        await lazy.until(lambda: all(error() is None for error in errors))

    with no_collector():
        lazy.run(main)


def test_a_result_that_nobody_takes_may_use_the_stream_when_it_dies(lazy: LazyWay) -> None:
    """Its destructor is the user's code: it never runs under a lock of ours."""
    streams: list[AnyStream] = []
    died: list[bool] = []
    full, running, fails, late = (lazy.gate() for _ in range(4))

    class Result:
        def __del__(self) -> None:
            died.append(has_stopped(streams[0]))
            if not lazy.is_async:
                streams[0].close()  # type: ignore[union-attr]

    async def call(item: int) -> Any:
        if item == 0:
            await full.wait()
        elif item == 1:
            await fails.wait()
            raise ValueError
        elif item == 2:
            running.set()
            await late.wait()
            return Result()
        return None

    async def main() -> None:
        streams.append(lazy(call, Filling(full, 3), limit=3, buffersize=3))
        await take(streams[0])
        await running.wait()
        fails.set()
        await lazy.until(lambda: has_stopped(streams[0]))
        late.set()
        with pytest.raises(ValueError):
            while await take(streams[0]) is not END:
                pass
        if lazy.operation == "as_completed":
            await lazy.until(lambda: died == [True])

    if lazy.is_async:
        lazy.run(main)
        return
    consumer = threading.Thread(target=lambda: lazy.run(main), daemon=True)
    consumer.start()
    consumer.join(PATIENCE)
    assert not consumer.is_alive(), "it hangs"


# Threads and tasks


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_no_thread_is_left_but_those_of_the_pool(operation: str) -> None:
    limit = default_workers() + 20
    barrier = threading.Barrier(limit)

    def call(item: int) -> int:
        barrier.wait(PATIENCE)
        return item

    with getattr(Concurrent, operation)(call, range(limit), limit=limit) as stream:
        assert len(list(stream)) == limit
    ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("concurrency")]
    assert len(ours) <= default_workers()
    assert not any(name.startswith("concurrency-extra") for name in ours)


def test_an_open_stream_at_rest_keeps_no_worker() -> None:
    """A stream that nobody consumes costs no thread: others may have them."""
    streams = [Concurrent.stream(abs, count(), limit=2) for _ in range(3 * default_workers())]
    assert [next(stream) for stream in streams] == [0] * len(streams)
    until(lambda: all(not run_of(stream).running() for stream in streams))
    assert [next(stream) for stream in streams] == [1] * len(streams)
    for stream in streams:
        stream.close()
    ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("concurrency_")]
    assert len(ours) <= default_workers()


@pytest.mark.parametrize("begun", [True, False])
def test_thousands_of_streams_opened_and_dropped_on_threads(begun: bool) -> None:
    before = threading.active_count()
    runs: list[ref[Any]] = []
    many = 10_000 if HAS_GIL else 1_000  # there it takes the worker of each a while to see that it has been dropped
    with no_collector():
        for _ in range(many):
            stream = Concurrent.stream(abs, count(), limit=2, buffersize=4)
            if begun:
                assert next(stream) == 0
            runs.append(ref(run_of(stream)))
            del stream
        until_free(lambda: all(run() is None for run in runs))
    until(lambda: threading.active_count() <= before + default_workers())


@pytest.mark.parametrize("begun", [True, False])
def test_thousands_of_streams_opened_and_dropped_on_asyncio(begun: bool) -> None:
    runs: list[ref[Any]] = []

    async def call(item: int) -> int:
        if item:
            await asyncio.Event().wait()
        return item

    async def main() -> None:
        for _ in range(10_000):
            stream: AsyncStream[int] = Concurrent.a_stream(call, count(), limit=2, buffersize=2)
            if begun:
                assert await anext(stream) == 0
                runs.append(ref(run_of(stream)))
            del stream
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert all(run() is None for run in runs)

    with no_collector():
        asyncio.run(main(), debug=False)


# Warnings


@pytest.mark.parametrize("source", ["range(9)", "a_range(9)"])
@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_however_an_async_stream_ends_nothing_is_complained_about(operation: str, source: str) -> None:
    """No task destroyed while pending, no exception never retrieved, no coroutine never awaited, no unclosed generator."""
    program = f"""
        import asyncio, gc, logging
        logging.getLogger("asyncio").addFilter(lambda record: "Executing" not in record.msg)  # a slow machine is no fault
        from concurrency import Concurrent

        async def a_range(stop):
            for item in range(stop):
                await asyncio.sleep(0)
                yield item

        async def call(item):
            await asyncio.sleep(0 if item < 2 else 1000)
            return item

        async def fail(item):
            await asyncio.sleep(0)
            raise ValueError(item)

        async def fail_when_cancelled(item):
            try:
                await asyncio.sleep(0 if item < 2 else 1000)
            except asyncio.CancelledError:
                raise ValueError(item)

        def source():
            return {source}

        async def fails_unseen():
            stream = Concurrent.{operation}(fail, source(), limit=3)
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            first.cancel()
            for _ in range(20):
                await asyncio.sleep(0)

        async def fails_seen():
            try:
                async for _ in Concurrent.{operation}(fail, source(), limit=3): pass
            except ValueError: pass

        async def dropped(function=call):
            await anext(Concurrent.{operation}(function, source(), limit=3))
            for _ in range(20):
                await asyncio.sleep(0)

        async def closed(function=call):
            async with Concurrent.{operation}(function, source(), limit=3) as stream:
                await anext(stream)

        async def never_begun():
            Concurrent.{operation}(call, source())

        async def never_awaited_by_limit():
            stream = Concurrent.{operation}(call, source(), limit=1, buffersize=9)
            await anext(stream)
            await stream.aclose()

        async def main():
            for way in (fails_unseen, fails_seen, dropped, closed, never_begun, never_awaited_by_limit):
                await way()
                gc.collect()
            for way in (dropped, closed):
                try:
                    await way(fail_when_cancelled)
                except ValueError:
                    pass
                gc.collect()
            for _ in range(20):  # the loop closes `a_range` in a task of its own
                await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(main())
        gc.collect()
        print("quiet")
    """
    assert run_program(program) == "quiet\n"


def test_a_source_that_is_a_generator_is_closed_when_the_stream_is_left(lazy: LazyWay) -> None:
    closed: list[bool] = []

    def inputs() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.append(True)

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        stream = lazy(call, inputs(), limit=1)
        await take(stream)
        await close(stream)
        await lazy.until(lambda: closed == [True])

    with no_collector():
        lazy.run(main)


def test_an_async_generator_is_closed_when_the_stream_is_left() -> None:
    closed: list[bool] = []

    async def inputs() -> AsyncIterator[int]:
        try:
            for item in count():
                await asyncio.sleep(0)
                yield item
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        stream = Concurrent.a_stream(call, inputs(), limit=1)
        await anext(stream)
        await stream.aclose()
        for _ in range(10):
            await asyncio.sleep(0)
        assert closed == [True]
        assert len(await rest(stream)) == 0

    in_loop(main)
