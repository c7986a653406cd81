"""`buffersize` and `limit`, two separate things, both strict; what a stream reads ahead, and how its consumer holds it back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

from concurrency import Concurrent, _threads
from tests.lazy_ways import END, Filling, LazyWay, close, has_stopped, rest, take, watch
from tests.ways import PATIENCE, in_loop


class Gauge:
    """How many calls are in flight, and how many were at most; how many have started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.started = 0
        self.now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.started += 1
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.now -= 1

    def has_done(self, calls: int) -> bool:
        return self.started >= calls and not self.now


@pytest.mark.parametrize(("limit", "buffersize"), [(1, 1), (1, 6), (3, 3), (3, 6), (3, 12), (6, 3), (8, 1)])
def test_as_many_calls_run_at_once_as_both_allow_and_never_more(lazy: LazyWay, limit: int, buffersize: int) -> None:
    """The barrier opens only for exactly as many; the gauge shows that there were never more."""
    at_once = min(limit, buffersize)
    barrier = lazy.barrier(at_once)
    gauge = Gauge()

    async def call(item: int) -> int:
        with gauge:
            await barrier.wait()
        return item

    async def main() -> None:
        stream = lazy(call, range(12), limit=limit, buffersize=buffersize)
        assert sorted(map(lazy.result, await rest(stream))) == list(range(12))
        assert gauge.most == at_once

    lazy.run(main)


def test_the_limit_holds_when_calls_come_one_by_one(lazy: LazyWay) -> None:
    gauge = Gauge()

    async def call(item: int) -> int:
        with gauge:
            pass
        return item

    async def main() -> None:
        stream = lazy(call, range(500), limit=2, buffersize=3)
        assert len(await rest(stream)) == 500
        assert gauge.most <= 2

    lazy.run(main)


class Bell:
    """A lock that somebody waits for in vain and that is released in that very moment."""

    between = threading.Event()

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout < 0:
            return self._lock.acquire(blocking)
        rung = self._lock.acquire(timeout=0)
        if not rung:
            self.between.wait(1)  # the time is up, and before the caller hears of it …
            self.between.clear()
        return rung

    def release(self) -> None:
        self._lock.release()
        self.between.set()  # … somebody rings

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_the_limit_holds_when_a_worker_is_called_just_as_it_gives_up_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "Lock", Bell)
    gauge = Gauge()
    results: list[int] = []

    def call(item: int) -> int:
        with gauge:
            return item

    def consume() -> None:
        for buffersize in (1, 4):
            with Concurrent.stream(call, range(20), limit=1, buffersize=buffersize) as stream:
                results.extend(stream)

    consumer = threading.Thread(target=consume, daemon=True)  # so that the failing test ends
    consumer.start()
    consumer.join(PATIENCE)
    assert not consumer.is_alive(), "it hangs"
    assert results == [*range(20), *range(20)]
    assert gauge.most == 1


@pytest.mark.parametrize("buffersize", [1, 2, 7])
def test_the_consumer_is_never_more_than_the_buffer_behind(lazy: LazyWay, buffersize: int) -> None:
    """Measured inside the calls and inside the input: `taken` grows only when a result has come out of the stream."""
    taken = 0
    behind: list[int] = []
    read: list[int] = []
    gauge = Gauge()

    def inputs() -> Iterator[int]:
        for item in range(200):
            read.append(item + 1 - taken)
            yield item

    async def call(item: int) -> int:
        with gauge:
            behind.append(item + 1 - taken)
        return item

    async def main() -> None:
        nonlocal taken
        stream = lazy(call, inputs(), limit=3, buffersize=buffersize)
        while await take(stream) is not END:
            taken += 1
        assert taken == gauge.started == 200
        assert max(behind) <= buffersize
        assert max(read) <= buffersize

    lazy.run(main)


@pytest.mark.parametrize("buffersize", [1, 2, 7])
def test_a_consumer_that_stops_taking_stops_the_calls(lazy: LazyWay, buffersize: int) -> None:
    """The buffer is filled to the last place while nothing can be taken, and not beyond while nothing is taken."""
    gauge = Gauge()
    full = lazy.gate()
    inputs = Filling(full, buffersize)

    async def call(item: int) -> int:
        with gauge:
            await full.wait()
        return item

    async def main() -> None:
        stream = lazy(call, inputs, limit=3, buffersize=buffersize)
        for expected in range(3):
            taken = lazy.result(await take(stream))
            assert taken == expected or not lazy.is_ordered
            full_again = buffersize + expected
            await lazy.until(partial(gauge.has_done, full_again))
            for _ in range(10):
                await asyncio.sleep(0) if lazy.is_async else None
            assert gauge.started - expected <= buffersize + 1
            assert gauge.started <= inputs.read
            # what has been taken makes room for one more, read by the next `next`, or at once if the source is async
            assert inputs.read <= full_again + 1
        gone = watch(stream)
        read = inputs.read
        await close(stream)
        await lazy.until(gone)
        assert inputs.read == read

    lazy.run(main)


def test_a_slow_call_at_the_head_does_not_idle_the_others(ordered: LazyWay) -> None:
    """While the buffer has room: the last call that it has room for lets the first one go."""
    begun, gate = ordered.gate(), ordered.gate()
    gauge = Gauge()

    async def call(item: int) -> int:
        with gauge:
            if item == 0:
                begun.set()
                await gate.wait()
            elif item == 9:
                await begun.wait()  # without a GIL the others may be faster than the first
                gate.set()
        return item

    async def main() -> None:
        stream = ordered(call, range(30), limit=2, buffersize=10)
        assert await rest(stream) == list(range(30))
        assert gauge.most == 2

    ordered.run(main)


def test_a_slow_call_at_the_head_holds_back_no_more_than_the_buffer(ordered: LazyWay) -> None:
    gate = ordered.gate()
    gauge = Gauge()

    async def call(item: int) -> int:
        with gauge:
            if item == 0:
                await gate.wait()
        return item

    async def main() -> None:
        stream = ordered(call, count(), limit=2, buffersize=10)

        async def consume() -> Any:
            return await take(stream)

        async def look() -> int:
            await ordered.until(lambda: gauge.started == 10 and gauge.now == 1)
            if ordered.is_async:
                for _ in range(10):
                    await asyncio.sleep(0)
            started = gauge.started
            gate.set()
            return started

        assert await ordered.apart(consume, look) == [0, 10]
        await close(stream)

    ordered.run(main)


def test_a_consumer_at_work_does_not_idle_the_calls(lazy: LazyWay) -> None:
    """Calls that have been read run on, as many at once as `limit` allows, while the consumer is away."""
    full, away = lazy.gate(), lazy.gate()
    barrier = lazy.barrier(3)
    met: list[int] = []

    async def call(item: int) -> int:
        if item == 0:
            await full.wait()
        elif item <= 3:
            await away.wait()
            await barrier.wait()
            met.append(item)
        return item

    async def main() -> None:
        stream = lazy(call, Filling(full, 4), limit=3, buffersize=4)
        assert lazy.result(await take(stream)) == 0
        away.set()
        await lazy.until(lambda: len(met) == 3)
        await close(stream)

    lazy.run(main)


def test_the_default_buffer_is_twice_the_limit(lazy: LazyWay) -> None:
    full = lazy.gate()
    inputs = Filling(full, 8)

    async def call(item: int) -> int:
        await full.wait()  # opens only if the buffer has 8 places
        return item

    async def main() -> None:
        stream = lazy(call, inputs, limit=4)
        await take(stream)
        assert 8 <= inputs.read <= 9
        await close(stream)

    lazy.run(main)


def test_the_limit_is_a_hundred_by_default_on_asyncio() -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(100)
        gauge = Gauge()

        async def call(item: int) -> int:
            with gauge:
                async with asyncio.timeout(PATIENCE):
                    await barrier.wait()
            return item

        assert await rest(Concurrent.a_stream(call, range(300))) == list(range(300))
        assert gauge.most == 100

    in_loop(main)


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_a_slow_async_source_does_not_delay_results_that_are_there(operation: str) -> None:
    """The source gives its third item only when the results of the first two have been taken."""

    async def main() -> None:
        taken = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            yield 0
            yield 1
            async with asyncio.timeout(PATIENCE):
                await taken.wait()
            yield 2

        async def call(item: int) -> int:
            await asyncio.sleep(0)
            return item

        stream = getattr(Concurrent, operation)(call, source())
        first = [await anext(stream), await anext(stream)]
        taken.set()
        results = first + await rest(stream)
        assert results == ([0, 1, 2] if operation == "a_stream" else [(0, 0), (1, 1), (2, 2)])

    in_loop(main)


def test_a_slow_async_source_does_not_hold_back_its_own_calls() -> None:
    """They run while it is waited for: here it waits for what they do."""

    async def main() -> None:
        ran = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            yield 0
            async with asyncio.timeout(PATIENCE):
                await ran.wait()
            yield 1

        async def call(item: int) -> int:
            await asyncio.sleep(0)
            ran.set()
            return item

        assert await rest(Concurrent.a_stream(call, source())) == [0, 1]

    in_loop(main)


@pytest.mark.parametrize("source", ["sync", "async"])
def test_inputs_that_never_suspend_do_not_keep_the_loop_from_turning(source: str) -> None:
    """However large the buffer: the first result is there long before the source has come to its end."""

    async def main() -> None:
        read = 0
        turned = 0

        def turn() -> None:
            nonlocal turned
            turned += 1
            handle[0] = loop.call_soon(turn)

        def items() -> Iterator[int]:
            nonlocal read
            while read < 1_000_000:
                read += 1
                yield read
            raise AssertionError("all has been read")

        async def async_items() -> AsyncIterator[int]:
            for item in items():
                yield item

        async def call(item: int) -> int:
            return item

        loop = asyncio.get_running_loop()
        handle = [loop.call_soon(turn)]
        stream = Concurrent.a_stream(call, async_items() if source == "async" else items(), buffersize=2_000_000)
        assert await anext(stream) == 1
        for _ in range(2000):
            await anext(stream)
        assert turned
        assert read < 500_000
        await stream.aclose()
        handle[0].cancel()
        for _ in range(10):
            await asyncio.sleep(0)  # the loop closes the generator in a task of its own

    in_loop(main)


def test_a_failure_stops_a_reader_that_waits_for_room() -> None:
    async def main() -> None:
        full = asyncio.Event()
        read = 0

        async def source() -> AsyncIterator[int]:
            nonlocal read
            while True:
                read += 1
                if read == 3:
                    full.set()
                yield read

        async def call(item: int) -> int:
            await full.wait()
            raise ValueError(item)

        stream = Concurrent.a_stream(call, source(), limit=1, buffersize=3)
        with pytest.raises(ValueError):
            await anext(stream)
        assert has_stopped(stream)
        assert read == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_loop(main)
