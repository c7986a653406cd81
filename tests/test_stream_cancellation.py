"""What becomes of an async stream when its consumer is cancelled, and when its event loop is another one or has been closed."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

import pytest

from concurrency import AsyncStream, Concurrent
from tests.lazy_ways import END, Filling, rest
from tests.test_cancellation import CancelsItself, FailsMeanwhile, World, factories, turns, worlds
from tests.ways import PATIENCE, AsyncItems, in_loop


def _fail(item: int) -> NoReturn:
    raise ValueError(item)


async def turn_until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not happened")


def sources(kind: str, items: int) -> Any:
    async def slow() -> AsyncIterator[int]:
        for item in range(items):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            yield item

    return range(items) if kind == "sync" else slow()


@pytest.mark.parametrize("turns", range(1, 8))
@pytest.mark.parametrize("source", ["sync", "async"])
@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_a_cancelled_anext_loses_nothing(operation: str, source: str, turns: int) -> None:
    """Cancelled after each number of turns of the loop, so wherever it may be suspended."""
    cancelled = 0

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return item

    async def main() -> list[Any]:
        nonlocal cancelled
        stream = getattr(Concurrent, operation)(call, sources(source, 20), limit=3)
        results: list[Any] = []
        for _ in range(1000):
            attempt = asyncio.ensure_future(anext(stream, END))
            for _ in range(turns):
                await asyncio.sleep(0)
            if attempt.cancel():
                cancelled += 1
            try:
                taken = await attempt
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                continue
            if taken is END:
                return results
            results.append(taken)
        raise AssertionError("it makes no progress")

    async def attempt_all() -> None:
        results = await main()
        if operation == "a_stream":
            assert results == list(range(20))
        else:
            assert dict(results) == {item: item for item in range(20)}

    in_loop(attempt_all)
    assert cancelled or turns > 3


@pytest.mark.parametrize("how", ["timeout", "wait_for"])
@pytest.mark.parametrize("source", ["sync", "async"])
def test_a_timeout_around_anext_loses_nothing(how: str, source: str) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        started: list[int] = []

        async def call(item: int) -> int:
            started.append(item)
            await gate.wait()
            return item

        stream = Concurrent.a_stream(call, sources(source, 5), limit=2)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                if how == "timeout":
                    async with asyncio.timeout(0.001):
                        await anext(stream)
                else:
                    await asyncio.wait_for(anext(stream), 0.001)
        await turn_until(lambda: len(started) == 2)
        gate.set()
        assert await rest(stream) == [0, 1, 2, 3, 4]
        assert started == [0, 1, 2, 3, 4]

    in_loop(main)


def test_a_slow_async_source_survives_a_timeout_around_anext() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        interrupted: list[BaseException] = []

        async def source() -> AsyncIterator[int]:
            try:
                yield 0
                await gate.wait()
                yield 1
            except BaseException as error:
                interrupted.append(error)
                raise

        async def call(item: int) -> int:
            return item

        stream = Concurrent.a_stream(call, source())
        assert await anext(stream) == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await anext(stream)
        gate.set()
        assert await rest(stream) == [1]
        assert not interrupted

    in_loop(main)


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("source", ["sync", "async"])
def test_cancelling_the_consuming_task_cancels_the_calls(operation: str, source: str) -> None:
    async def main() -> None:
        started: list[int] = []
        cancelled: list[int] = []

        async def call(item: int) -> int:
            started.append(item)
            try:
                return await asyncio.sleep(PATIENCE if item else 0, item)
            except asyncio.CancelledError:
                cancelled.append(item)
                raise

        async def consume() -> None:
            async for _ in getattr(Concurrent, operation)(call, sources(source, 9), limit=2):
                pass

        task = asyncio.create_task(consume())
        await turn_until(lambda: len(started) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turn_until(lambda: len(cancelled) == 2 and len(asyncio.all_tasks()) == 1)
        assert started == [0, 1, 2]

    in_loop(main)


def test_aclose_awaits_calls_that_take_their_time_to_be_cancelled() -> None:
    async def main() -> None:
        started: list[int] = []
        ended: list[int] = []
        full, gate = asyncio.Event(), asyncio.Event()

        async def call(item: int) -> int:
            started.append(item)
            try:
                await (gate if item else full).wait()
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                ended.append(item)
            return item

        stream = Concurrent.a_stream(call, Filling(full, 3), limit=2)
        await anext(stream)
        await turn_until(lambda: len(started) == 3)
        await stream.aclose()
        assert sorted(ended) == [0, 1, 2]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_loop(main)


def test_a_cancelled_aclose_waits_all_the_same_and_is_cancelled_then() -> None:
    async def main() -> None:
        full, gate = asyncio.Event(), asyncio.Event()
        started: list[int] = []
        ended: list[int] = []

        async def call(item: int) -> int:
            started.append(item)
            if not item:
                await full.wait()
                return item
            for _ in range(2):  # swallows the first, that of `aclose`
                with suppress(asyncio.CancelledError):
                    await gate.wait()
            ended.append(item)
            return item

        stream = Concurrent.a_stream(call, Filling(full, 2), limit=1)
        await anext(stream)
        await turn_until(lambda: len(started) == 2)
        closer = asyncio.create_task(stream.aclose())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not ended
        closer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closer
        assert ended == [1]
        assert await anext(stream, END) is END

    in_loop(main)


def test_no_cancel_scope_is_held_while_the_consumer_works() -> None:
    """PEP 789: what the consumer's own task has counted stays as it is, and a failing call does not cancel the consumer."""

    async def main() -> None:
        full, fails = asyncio.Event(), asyncio.Event()

        async def call(item: int) -> int:
            await (fails if item else full).wait()
            return _fail(item) if item else item

        async with asyncio.timeout(PATIENCE):
            stream = Concurrent.a_stream(call, Filling(full, 2), limit=2, timeout=PATIENCE)
            assert await anext(stream) == 0
            fails.set()
            for _ in range(10):
                await asyncio.sleep(0)  # would be cancelled here
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            with pytest.raises(ValueError):
                await anext(stream)
            assert task.cancelling() == 0

    in_loop(main)


# Loops


@pytest.fixture
def loops() -> Iterator[tuple[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop]]:
    both = asyncio.new_event_loop(), asyncio.new_event_loop()
    yield both
    for loop in both:
        loop.close()


@pytest.mark.parametrize("source", ["sync", "async"])
def test_a_stream_belongs_to_the_loop_it_began_in(
    source: str, loops: tuple[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop]
) -> None:
    own, other = loops

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    async def begin() -> AsyncStream[int]:
        stream = Concurrent.a_stream(call, sources(source, 5), limit=2)
        assert await anext(stream) == 0
        return stream

    stream = own.run_until_complete(begin())
    for use in (lambda: anext(stream), stream.aclose):

        async def elsewhere(use: Callable[[], Any] = use) -> None:
            async with asyncio.timeout(PATIENCE):
                await use()

        with pytest.raises(RuntimeError, match=r"call\.a_stream began in another event loop"):
            other.run_until_complete(elsewhere())
    assert own.run_until_complete(rest(stream)) == [1, 2, 3, 4]  # and has lost nothing


@pytest.mark.parametrize("source", ["sync", "async"])
@pytest.mark.parametrize("then", ["drop", "close", "next"])
def test_a_stream_may_outlive_its_loop(source: str, then: str, caplog: pytest.LogCaptureFixture) -> None:
    async def call(item: int) -> int:
        await asyncio.sleep(PATIENCE if item else 0)
        return item

    async def begin() -> AsyncStream[int]:
        stream = Concurrent.a_stream(call, sources(source, 5), limit=2)
        assert await anext(stream) == 0
        return stream

    async def end(stream: AsyncStream[int]) -> None:
        async with asyncio.timeout(PATIENCE):
            if then == "close":
                await stream.aclose()
            else:
                await anext(stream)

    stream = asyncio.run(begin())
    if then == "next":
        with pytest.raises(RuntimeError, match="began in another event loop"):
            asyncio.run(end(stream))
    elif then == "close":
        with suppress(RuntimeError):
            asyncio.run(end(stream))
    del stream
    gc.collect()
    assert not caplog.records


@worlds
@factories
@pytest.mark.parametrize(
    ("operation", "source"),
    [("a_stream", list), ("a_stream", AsyncItems), ("a_as_completed", list)],
    ids=["list", "async", "completed"],
)
def test_a_consumer_that_is_cancelled_at_any_moment_ends_its_calls(
    operation: str, source: Callable[..., Any], factory: Any, kind: type[World]
) -> None:
    """While it waits for a result, while it is at work on one, and while it leaves the stream."""

    async def outcome_of(world: World, turn: int) -> tuple[Any, int, bool]:
        async def consume() -> tuple[Any, int]:
            task = asyncio.current_task()
            assert task is not None
            taken: list[Any] = []
            outcome: Any = taken
            try:
                async with getattr(Concurrent, operation)(world.call, source(range(5)), limit=2) as stream:
                    async for result in stream:
                        taken.append(result)
                        await turns(1)
            except (asyncio.CancelledError, ValueError) as error:
                outcome = error
            world.assert_quiet()
            assert len(set(taken)) == len(taken)
            return outcome, task.cancelling()

        task = asyncio.create_task(consume())
        await turns(turn)
        was_cancelled = task.cancel()
        return *(await task), was_cancelled

    async def main() -> None:
        for turn in itertools.count(1):
            outcome, cancelling, was_cancelled = await outcome_of(kind(), turn)
            assert cancelling == was_cancelled
            if not was_cancelled:  # the stream had ended before
                assert turn > 5
                break
            assert type(outcome) is asyncio.CancelledError, turn
        if kind is FailsMeanwhile:
            assert type(outcome) is ValueError
        elif kind is CancelsItself:
            assert type(outcome) is asyncio.CancelledError
        else:
            assert len(outcome) == 5

    in_loop(main, factory)


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("how", ["closed", "its loop ends"])
def test_a_stream_that_is_stopped_before_the_first_step_of_its_reader_ends(how: str, operation: str) -> None:
    """A task that is cancelled before its first step runs nothing at all, nor what it would do at its end."""

    async def call(item: int) -> int:
        return item

    kept: list[Any] = []

    async def main() -> None:
        stream = getattr(Concurrent, operation)(call, sources("async", 9))
        first = asyncio.ensure_future(anext(stream, END))
        kept.extend((stream, first))
        if how == "closed":
            await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                await stream.aclose()
            assert await first is END

    asyncio.run(main())
    kept.clear()
