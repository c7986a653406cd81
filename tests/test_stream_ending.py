"""Promise 12, and what else there is to the end of a stream: every way to leave one stops it, and nothing of it is left."""

import asyncio
import gc
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, closing, suppress
from itertools import chain, count
from threading import Event, Thread
from typing import Any, NoReturn
from weakref import ref

import pytest

from concurrency import AsyncStream, Concurrent, Stream, pacing
from tests.lazy_ways import (
    END,
    LAZY_WAYS,
    AnyStream,
    Filling,
    LazyWay,
    close,
    has_stopped,
    no_collector,
    rest,
    run_of,
    take,
    until_free,
    watch,
)
from tests.ways import PATIENCE, in_loop, until


class Log:
    """What has happened to the calls and inputs of one stream.

    Call 0 ends when the buffer is full, so that there are calls to stop then; the others stay until the gate opens.
    """

    def __init__(self, lazy: LazyWay) -> None:
        self.full = lazy.gate()
        self.gate = lazy.gate()
        self.inputs = Filling(self.full, BUFFERSIZE)
        self.started: list[int] = []
        self.ended: list[int] = []

    async def call(self, item: int) -> int:
        self.started.append(item)
        try:
            await (self.gate if item else self.full).wait()
        finally:
            self.ended.append(item)
        return item


BUFFERSIZE = 5


async def leave_by_close(stream: AnyStream) -> None:
    await close(stream)


async def leave_by_with(stream: AnyStream) -> None:
    if isinstance(stream, AsyncStream):
        async with stream as same:
            assert same is stream
    else:
        with stream as again:
            assert again is stream


async def leave_by_error_in_with(stream: AnyStream) -> None:
    with pytest.raises(ZeroDivisionError):
        if isinstance(stream, AsyncStream):
            async with stream:
                raise ZeroDivisionError
        with stream:
            raise ZeroDivisionError


async def leave_by_break_in_with(stream: AnyStream) -> None:
    if isinstance(stream, AsyncStream):
        async with stream:
            async for _ in Concurrent.a_stream(asyncio.sleep, [0]):
                break
    else:
        with stream:
            for _ in Concurrent.stream(str, [0]):
                break


async def leave_by_closing(stream: AnyStream) -> None:
    if isinstance(stream, AsyncStream):
        async with aclosing(stream):
            pass
    else:
        with closing(stream):
            pass


WAYS_OUT = [leave_by_close, leave_by_with, leave_by_error_in_with, leave_by_break_in_with, leave_by_closing]
OPTIONS = {"limit": 1, "buffersize": BUFFERSIZE}


@pytest.mark.parametrize("leave", WAYS_OUT)
def test_leaving_waits_for_the_running_calls(lazy: LazyWay, leave: Callable[[AnyStream], Coroutine[Any, Any, None]]) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, log.inputs, limit=3, buffersize=BUFFERSIZE)
        assert lazy.result(await take(stream)) == 0
        await lazy.until(lambda: len(log.started) == 4)
        with lazy.let_go(log.gate, lambda: has_stopped(stream)):
            await leave(stream)
            assert sorted(log.ended) == sorted(log.started)

    lazy.run(main)


@pytest.mark.parametrize("leave", WAYS_OUT)
def test_after_leaving_nothing_is_read_and_nothing_starts(
    lazy: LazyWay, leave: Callable[[AnyStream], Coroutine[Any, Any, None]]
) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, log.inputs, **OPTIONS)
        await take(stream)
        await lazy.until(lambda: log.started == [0, 1])
        with lazy.let_go(log.gate, lambda: has_stopped(stream)):
            await leave(stream)
        read = log.inputs.read
        assert await take(stream) is END
        assert await take(stream) is END
        assert log.started == [0, 1]
        assert log.inputs.read == read

    lazy.run(main)


def test_closing_again_or_before_the_first_next_or_after_the_end_does_nothing(lazy: LazyWay) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, log.inputs)
        await close(stream)
        await close(stream)
        assert await take(stream) is END
        assert log.inputs.read == 0

        log.full.set()
        complete = lazy(log.call, [0])
        assert len(await rest(complete)) == 1
        await close(complete)
        assert await take(complete) is END

    lazy.run(main)


def test_the_end_stays_the_end(lazy: LazyWay) -> None:
    """Also where the input would go on after having ended once."""

    class Twice:
        def __init__(self) -> None:
            self.items = iter([iter([0]), iter([0, 0])])
            self.now = next(self.items)

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            try:
                return next(self.now)
            except StopIteration:
                self.now = next(self.items)
                raise

    log = Log(lazy)
    log.full.set()

    async def main() -> None:
        stream = lazy(log.call, Twice())
        assert len(await rest(stream)) == 1
        assert [await take(stream) for _ in range(3)] == [END] * 3
        assert log.started == [0]

    lazy.run(main)


def test_exhaustion_leaves_nothing_running(lazy: LazyWay) -> None:
    log = Log(lazy)
    log.gate.set()
    log.full.set()

    async def main() -> None:
        stream = lazy(log.call, range(20), limit=3)
        gone = watch_first(stream)
        assert sorted(map(lazy.result, await rest(stream))) == list(range(20))
        assert sorted(log.ended) == list(range(20))
        await lazy.until(gone)

    lazy.run(main)


def watch_first(stream: AnyStream) -> Callable[[], bool]:
    """As `watch`, for a stream that has not begun."""
    return watch(stream) if isinstance(stream, Stream) else lambda: run_of(stream) is None


# Dropped: by the end of the references to it, or by the collector.


def test_a_dropped_stream_stops_without_waiting(lazy: LazyWay) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, log.inputs, **OPTIONS)
        await take(stream)
        await lazy.until(lambda: log.started == [0, 1])
        if lazy.has_async_source:
            await lazy.until(lambda: log.inputs.read == BUFFERSIZE + 1)  # its reader fills the room that has been made
        gone, read = watch(stream), log.inputs.read
        del stream  # would hang if it waited: nobody has opened the gate
        if not lazy.is_async:
            log.gate.set()
        await lazy.until(gone)
        assert log.started == log.ended == [0, 1]
        assert log.inputs.read == read

    lazy.run(main)


def test_break_drops_a_stream(lazy: LazyWay) -> None:
    log = Log(lazy)
    gone: list[Callable[[], bool]] = []

    def noted(stream: AnyStream) -> Any:
        noted_streams.append(ref(stream))
        return stream

    noted_streams: list[ref[AnyStream]] = []

    def note_run() -> None:
        stream = noted_streams[0]()
        assert stream is not None
        gone.append(watch(stream))

    async def main() -> None:
        if lazy.is_async:
            async for _ in noted(lazy(log.call, log.inputs, **OPTIONS)):
                await lazy.until(lambda: len(log.started) == 2)
                note_run()
                break
        else:
            for _ in noted(lazy(log.call, log.inputs, **OPTIONS)):
                await lazy.until(lambda: len(log.started) == 2)
                note_run()
                break
            log.gate.set()
        assert noted_streams[0]() is None
        await lazy.until(gone[0])
        assert log.started == log.ended == [0, 1]

    lazy.run(main)


class Knot:
    """A cycle: only the collector can free it, and what it holds."""

    def __init__(self, stream: AnyStream) -> None:
        self.me = self
        self.stream = stream


def tie(stream: AnyStream) -> None:
    Knot(stream)


def test_the_collector_may_run_in_any_thread(lazy: LazyWay) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, log.inputs, **OPTIONS)
        await take(stream)
        await lazy.until(lambda: log.started == [0, 1])
        gone = watch(stream)
        tie(stream)
        del stream
        collector = Thread(target=gc.collect)
        collector.start()
        collector.join(PATIENCE)
        assert not collector.is_alive()
        if not lazy.is_async:
            log.gate.set()
        await lazy.until(gone)
        assert log.started == log.ended == [0, 1]

    with no_collector():
        lazy.run(main)


def test_the_collector_may_run_where_the_lock_of_the_stream_is_held() -> None:
    full, gate = Event(), Event()

    def call(item: int) -> int:
        assert (gate if item else full).wait(PATIENCE)
        return item

    stream = Concurrent.stream(call, Filling(full, 4), limit=2)
    assert next(stream) == 0
    gone, held = watch(stream), run_of(stream).lock

    def collect() -> None:
        with held:
            gc.collect()

    gc.disable()
    try:
        tie(stream)
        del stream
        collector = Thread(target=collect, daemon=True)  # so that the failing test ends
        collector.start()
        collector.join(PATIENCE)
        assert not collector.is_alive(), "the stream waits for a lock that its own collector holds"
    finally:
        gc.enable()
        gate.set()
    until_free(gone)


def test_a_stream_may_be_collected_by_one_of_its_own_calls(lazy: LazyWay) -> None:
    started: list[int] = []
    full, dropped, collected = lazy.gate(), lazy.gate(), lazy.gate()

    async def call(item: int) -> int:
        started.append(item)
        if not item:
            await full.wait()
        else:
            with suppress(asyncio.CancelledError):
                await dropped.wait()
            gc.collect()
            collected.set()
        return item

    async def main() -> None:
        stream = lazy(call, Filling(full, BUFFERSIZE), **OPTIONS)
        await take(stream)
        await lazy.until(lambda: started == [0, 1])
        gone = watch(stream)
        tie(stream)
        del stream
        dropped.set()
        await collected.wait()
        await lazy.until(gone)
        assert started == [0, 1]

    with no_collector():
        lazy.run(main)


def test_a_copy_of_a_stream_cannot_end_it(lazy: LazyWay) -> None:
    """A copy would share its calls, and take them along when it dies."""
    import copy
    import pickle

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        stream = lazy(call, [0])
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"cannot be copied or pickled|cannot pickle"):
                duplicate(stream)
        assert len(await rest(stream)) == 1

    lazy.run(main)


# Failure


class FalsyError(Exception):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("kind", [ValueError, FalsyError, ExceptionGroup, SystemExit, asyncio.CancelledError, TimeoutError])
def test_a_failed_stream_raises_again_and_never_ends_normally(lazy: LazyWay, kind: type[BaseException]) -> None:
    error = kind("group", [ValueError()]) if kind is ExceptionGroup else kind("the one")
    if lazy.is_async and kind is SystemExit:
        pytest.skip("asyncio ends the loop")

    async def call(item: int) -> int:
        return item if item < 2 else fail(error)

    async def main() -> None:
        stream = lazy(call, count(), limit=1)
        taken = []
        for again in range(5):
            with pytest.raises(kind) as caught:
                while True:
                    taken.append(lazy.result(await take(stream)))
                    assert taken[-1] is not END
            assert caught.value is error
            assert again or taken == [0, 1]
        await close(stream)
        with pytest.raises(kind) as caught:
            await take(stream)
        assert caught.value is error
        assert taken == [0, 1]

    lazy.run(main)


def fail(error: BaseException) -> NoReturn:
    raise error


def test_raising_again_adds_neither_traceback_nor_note(lazy: LazyWay) -> None:
    async def call(item: int) -> int:
        raise ValueError(item)

    async def main() -> None:
        stream = lazy(call, [0])
        lengths = []
        for _ in range(4):
            with pytest.raises(ValueError) as caught:
                await take(stream)
            lengths.append(len(list(traceback.walk_tb(caught.value.__traceback__))))
            assert len(caught.value.__notes__) == 1
            assert caught.value.__context__ is None
        assert lengths == lengths[:1] * 4
        names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        assert names[-1] == "call"

    lazy.run(main)


def test_results_that_are_there_come_before_the_failure(lazy: LazyWay) -> None:
    """`limit=1`, so that call 4 has not started when call 3 fails: nor does it afterwards."""
    started: list[int] = []
    full, fails = lazy.gate(), lazy.gate()

    async def call(item: int) -> int:
        started.append(item)
        if item == 0:
            await full.wait()
        if item == 3:
            await fails.wait()
            raise ValueError(item)
        return item

    async def main() -> None:
        stream = lazy(call, Filling(full, 8), limit=1, buffersize=8)
        taken = [lazy.result(await take(stream))]
        await lazy.until(lambda: len(started) == 4)
        fails.set()
        await lazy.until(lambda: has_stopped(stream))
        with pytest.raises(ValueError) as caught:
            while (result := await take(stream)) is not END:
                taken.append(lazy.result(result))
        assert caught.value.args == (3,)
        assert taken == [0, 1, 2]
        assert started == [0, 1, 2, 3]

    lazy.run(main)


def test_a_slow_first_call_does_not_hide_a_failure(lazy: LazyWay) -> None:
    started: list[int] = []
    running = lazy.gate()
    gate = lazy.gate()

    async def call(item: int) -> int:
        started.append(item)
        if item == 0:
            running.set()
            await gate.wait()
        else:
            await running.wait()
            raise ValueError(item)
        return item

    async def main() -> None:
        stream = lazy(call, count(), limit=2, buffersize=8)
        with lazy.let_go(gate, lambda: has_stopped(stream)), pytest.raises(ValueError) as caught:
            while await take(stream) is not END:
                pass
        assert caught.value.args == (1,)
        assert started == [0, 1]
        assert caught.value.__notes__ == [f"concurrency: call 1 of call.{lazy.operation} failed, with 1"]

    lazy.run(main)


@pytest.mark.parametrize("place", range(4))
def test_an_input_that_raises_ends_the_stream_after_what_comes_before(lazy: LazyWay, place: int) -> None:
    error = KeyError("the input")

    def inputs() -> Iterator[int]:
        yield from range(place)
        raise error

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        stream = lazy(call, inputs(), buffersize=1, catch=KeyError)
        taken = []
        for _ in range(2):
            with pytest.raises(KeyError) as caught:
                while (result := await take(stream)) is not END:
                    taken.append(lazy.result(result))
            assert caught.value is error
        assert taken == list(range(place))
        assert error.__notes__ == [f"concurrency: reading input {place} of call.{lazy.operation} failed"]

    lazy.run(main)


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_a_call_cannot_end_a_stream_by_stop_iteration(lazy: LazyWay, kind: type[Exception]) -> None:
    async def call(item: int) -> int:
        return item if item < 2 else await raising()

    def plain() -> int:
        raise kind

    async def raising() -> int:
        return plain()

    class Direct:
        """An awaitable that raises it past PEP 479."""

        def __await__(self) -> Iterator[Any]:
            yield from ()
            raise kind

    async def main() -> None:
        stream = lazy(call, count(), limit=1)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                while await take(stream) is not END:
                    pass

    lazy.run(main)


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_a_plain_call_cannot_end_a_stream_by_stop_iteration(kind: type[Exception]) -> None:
    def call(item: int) -> int:
        return item if item < 2 else fail(kind())

    for stream in (Concurrent.stream(call, count(), limit=1), Concurrent.as_completed(call, count(), limit=1)):
        with pytest.raises(RuntimeError) as caught:
            list(stream)
        assert isinstance(caught.value.__cause__, kind)


def test_closing_after_a_failure_that_nobody_has_seen_raises_nothing(lazy: LazyWay) -> None:
    full, fails = lazy.gate(), lazy.gate()

    async def call(item: int) -> int:
        await (fails if item else full).wait()
        return fail(ValueError(item)) if item else item

    async def main() -> None:
        stream = lazy(call, Filling(full, 2), limit=1)
        await take(stream)
        fails.set()
        await lazy.until(lambda: has_stopped(stream))
        await close(stream)
        with pytest.raises(ValueError):
            await take(stream)

    lazy.run(main)


# Closed while it is in use


def test_a_call_may_close_its_own_stream(lazy: LazyWay) -> None:
    streams: list[AnyStream] = []
    started: list[int] = []
    taken = lazy.gate()

    async def call(item: int) -> int:
        started.append(item)
        if item:
            await taken.wait()
            await close(streams[0])
        return item

    async def main() -> None:
        streams.append(lazy(call, count(), limit=1, buffersize=4))
        assert lazy.result(await take(streams[0])) == 0
        gone = watch(streams[0])
        taken.set()
        assert set(map(lazy.result, await rest(streams[0]))) <= {1}
        assert await take(streams[0]) is END
        await close(streams[0])
        await lazy.until(gone)
        assert started == [0, 1]

    lazy.run(main)


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if name.startswith("a_")])
def test_a_call_that_has_closed_its_own_stream_is_cancelled_and_awaited_as_the_others(name: str) -> None:
    """Also where it closes in its first step, which a task that starts eagerly takes while it is made."""
    lazy: LazyWay = LAZY_WAYS[name]()
    streams: list[AnyStream] = []
    ended: list[int] = []

    async def call(item: int) -> int:
        if item:
            await close(streams[0])
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)  # it takes its time
                ended.append(item)
        return item

    async def main() -> None:
        streams.append(lazy(call, count(), limit=1, buffersize=4))
        assert lazy.result(await take(streams[0])) == 0
        async with asyncio.timeout(PATIENCE):
            assert await rest(streams[0]) == []
        assert ended == [1]

    lazy.run(main)


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if "as_completed" in name])
def test_in_order_of_completion_nothing_comes_after_the_end_of_the_stream(name: str) -> None:
    """Not even from the call that has closed it in its first and only step."""
    lazy: LazyWay = LAZY_WAYS[name]()
    streams: list[AnyStream] = []

    async def call(item: int) -> int:
        if item:
            await close(streams[0])
        return item

    async def main() -> None:
        streams.append(lazy(call, count(), limit=1, buffersize=4))
        assert lazy.result(await take(streams[0])) == 0
        assert await rest(streams[0]) == []

    lazy.run(main)


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if name.startswith("a_as_completed")])
def test_in_order_of_completion_nothing_comes_before_a_failure_that_was_first(name: str) -> None:
    """Not even from a call that makes nothing of being cancelled, and ends well after all."""
    lazy: LazyWay = LAZY_WAYS[name]()

    async def call(item: int) -> int:
        if item:
            raise LookupError(item)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return item

    async def main() -> None:
        with pytest.raises(LookupError, match="1"):
            await take(lazy(call, range(2), limit=2))

    lazy.run(main)


def test_closing_waits_for_calls_although_one_of_them_has_closed_already(lazy: LazyWay) -> None:
    streams: list[AnyStream] = []
    ended: list[int] = []
    full, running, closes, closed, gate = (lazy.gate() for _ in range(5))

    async def call(item: int) -> int:
        if item == 0:
            await full.wait()
        elif item == 1:
            await closes.wait()
            await close(streams[0])
            closed.set()
        elif item == 2:
            running.set()
            try:
                await gate.wait()
            finally:
                if lazy.is_async:
                    await asyncio.sleep(0)  # cancelled, it takes its time
                    await asyncio.sleep(0)
                ended.append(item)
        return item

    async def main() -> None:
        streams.append(lazy(call, Filling(full, 3), limit=2, buffersize=3))
        await take(streams[0])
        await running.wait()
        closes.set()
        await closed.wait()
        with lazy.let_go(gate, lambda: has_stopped(streams[0])):
            await close(streams[0])
            assert ended == [2]

    lazy.run(main)


def test_an_input_may_close_the_stream_that_reads_it(lazy: LazyWay) -> None:
    streams: list[AnyStream] = []
    started: list[int] = []

    async def call(item: int) -> int:
        started.append(item)
        return item

    def inputs() -> Iterator[int]:
        yield 0
        if isinstance(streams[0], Stream):
            streams[0].close()
        else:
            closers.append(asyncio.get_running_loop().create_task(streams[0].aclose()))
        yield 1

    closers: list[asyncio.Task[None]] = []

    async def main() -> None:
        streams.append(lazy(call, inputs(), buffersize=1))
        results = list(map(lazy.result, await rest(streams[0])))
        assert results[:1] == [0]
        if not lazy.is_async:
            assert results == started == [0]
        for closer in closers:
            await closer
        assert await take(streams[0]) is END

    lazy.run(main)


def test_an_async_input_may_close_the_stream_that_reads_it() -> None:
    streams: list[AsyncStream[int]] = []
    ended: list[bool] = []

    async def inputs() -> AsyncIterator[int]:
        try:
            yield 0
            await streams[0].aclose()
            await asyncio.sleep(0)
            yield 1
        finally:
            ended.append(True)

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        streams.append(Concurrent.a_stream(call, inputs()))
        assert set(await rest(streams[0])) <= {0}
        await streams[0].aclose()
        assert ended

    in_loop(main)


def test_closing_ends_a_next_that_waits_in_another_thread_or_task(lazy: LazyWay) -> None:
    log = Log(lazy)

    async def main() -> None:
        stream = lazy(log.call, [1, 2, 3], **OPTIONS)

        async def consume() -> Any:
            return lazy.result(await take(stream))

        async def stop() -> str:
            await lazy.until(lambda: log.started == [1])
            with lazy.let_go(log.gate, lambda: has_stopped(stream)):
                await close(stream)
            assert log.ended == log.started == [1]
            return "closed"

        taken, second, closed = await lazy.apart(consume, consume, stop)
        assert closed == "closed"
        assert {taken, second} <= {1, END}  # what a call in a thread has still given may be taken, by one of them
        assert END in {taken, second}
        assert await take(stream) is END

    lazy.run(main)


# Shared


def test_threads_or_tasks_share_a_stream_each_result_goes_to_one(lazy: LazyWay) -> None:
    barrier = lazy.barrier(3)
    meet = lazy.barrier(3)

    async def call(item: int) -> int:
        if item < 3:
            await barrier.wait()
        return item

    async def main() -> None:
        stream = lazy(call, range(300), limit=3, buffersize=7)

        async def consume() -> list[int]:
            results = [lazy.result(await take(stream))]
            await meet.wait()  # so that each of them has one
            while (taken := await take(stream)) is not END:
                results.append(lazy.result(taken))
            return results

        shares = await lazy.apart(consume, consume, consume)
        assert sorted(chain(*shares)) == list(range(300))
        assert all(shares)
        if lazy.is_ordered:
            assert all(share == sorted(share) for share in shares)

    lazy.run(main)


def test_a_thread_that_takes_a_result_and_stays_away_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes makes room for an input. Nobody but the one who waits is there to read it."""
    monkeypatch.setattr(pacing, "NAP", 10 * PATIENCE)  # who is woken by this alone comes too late
    stream = Concurrent.stream(str, range(3), limit=1, buffersize=1)
    pull, run, in_hand, other_waits = stream._pull, run_of(stream), Event(), Event()
    taken: list[str] = []

    class Hooked:
        """The lock of the run, at which the one who has a result in hand stays until the other waits."""

        lock = run.lock

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *error: object) -> None:
            stays = pull._in_hand and not in_hand.is_set()
            self.lock.release()
            if stays:
                in_hand.set()
                other_waits.wait(PATIENCE)

    def consume() -> None:
        taken.append(next(stream))

    run.lock, run._trivial = Hooked(), False  # who waits for trivial calls looks again soon
    first, second = Thread(target=consume, daemon=True), Thread(target=consume, daemon=True)
    first.start()
    assert in_hand.wait(PATIENCE)
    second.start()
    until(lambda: run.watched == 1)
    other_waits.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert taken == ["0", "1"]
    stream.close()


def test_a_failure_reaches_all_who_share_a_stream(lazy: LazyWay) -> None:
    fails = lazy.gate()

    async def call(item: int) -> int:
        await fails.wait()
        raise ValueError(item)

    async def main() -> None:
        stream = lazy(call, [0], limit=1)

        async def consume() -> str:
            with pytest.raises(ValueError):
                await take(stream)
            return "failed"

        async def release() -> str:
            if lazy.is_async:
                await lazy.until(lambda: run_of(stream) is not None and len(run_of(stream)._waiters) == 2)
            else:
                await lazy.until(lambda: run_of(stream).watched == 2)
            fails.set()
            return "released"

        assert await lazy.apart(consume, consume, release) == ["failed", "failed", "released"]

    lazy.run(main)


def test_only_one_thread_at_a_time_is_in_the_inputs() -> None:
    inside: list[int] = []
    overlaps: list[int] = []

    class Inputs:
        def __init__(self) -> None:
            self.items = iter(range(400))

        def __iter__(self) -> "Inputs":
            return self

        def __next__(self) -> int:
            inside.append(1)
            overlaps.append(len(inside))
            try:
                return next(self.items)
            finally:
                inside.pop()

    stream = Concurrent.stream(str, Inputs(), limit=2)
    threads = [Thread(target=list, args=(stream,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert set(overlaps) == {1}
    assert len(overlaps) == 401


def test_two_tasks_close_a_stream_at_the_same_time() -> None:
    ended = []

    async def call(item: int) -> int:
        try:
            await asyncio.sleep(PATIENCE if item else 0)
        finally:
            await asyncio.sleep(0)
            ended.append(item)
        return item

    async def main() -> None:
        stream = Concurrent.a_stream(call, range(3))
        assert await anext(stream) == 0
        await asyncio.gather(stream.aclose(), stream.aclose())
        assert sorted(ended) == [0, 1, 2]

    in_loop(main)


@pytest.mark.parametrize("kind", [Stream, AsyncStream])
def test_what_ctrl_c_kept_from_being_made_is_dropped_in_silence(kind: Any) -> None:
    half = kind.__new__(kind)
    del half


def test_a_result_that_another_consumer_was_faster_to_take_is_given_once() -> None:
    """Of two threads that find one result to be there, one is held up before it takes it."""
    stream = Concurrent.stream(abs, range(6), limit=1, buffersize=6)
    assert next(stream) == 0
    until(lambda: run_of(stream).count() == 6)
    others: list[Any] = []

    class Contended(deque[Any]):
        def popleft(self) -> Any:
            if self and not others:
                others.append(super().popleft())
                raise IndexError
            return super().popleft()

    pull: Any = stream._pull
    pull.ready = Contended(pull.ready)
    mine = [pull.next() for _ in range(4)]
    assert sorted(others + mine) == [1, 2, 3, 4, 5]
    assert others


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_a_call_that_is_about_to_begin_when_its_loop_ends_is_not_left_behind(operation: str) -> None:
    """The loop has cancelled all tasks by then, and the stream is still in somebody's hands."""
    begun, ended, kept = [], [], []

    async def call(item: int) -> int:
        begun.append(item)
        try:
            return await asyncio.sleep(PATIENCE if item else 0, item)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append(item)

    async def main() -> None:
        stream = getattr(Concurrent, operation)(call, range(4), limit=1, buffersize=4)
        kept.append((stream, asyncio.ensure_future(anext(stream))))
        while not ended:  # then there is room for another call, and nobody has seen it yet
            await asyncio.sleep(0)

    asyncio.run(main())
    assert begun[0] == 0
    assert ended == begun
    assert kept[0][0]._pull._run is None or has_stopped(kept[0][0])
