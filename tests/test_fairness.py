"""Promise 6: calls that never suspend do not starve the event loop.

The clock of the package's pacing is set by hand: each call takes as long as it says, on a machine of any speed.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from concurrency import Concurrent, _pace
from tests.ways import PATIENCE, AsyncItems, eager_task_factory, in_loop, task_factory

MILLISECOND = 0.001


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0
        self.longest = 0.0
        self.turns = 0
        self._last = 0.0

    def monotonic(self) -> float:
        return self.time

    async def tick(self) -> None:
        """Another task: notes how long it had to wait for each of its turns."""
        while True:
            self._last = self.time
            await asyncio.sleep(0)
            self.turns += 1
            self.longest = max(self.longest, self.time - self._last)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_pace, "monotonic", clock.monotonic)
    return clock


factories: list[Any] = [None, task_factory]
if sys.version_info >= (3, 12):
    factories.append(eager_task_factory)


def watched(time: Clock, factory: Any, source: Callable[[], Any], call: Callable[..., Any], **options: Any) -> Any:
    async def main() -> Any:
        ticking = asyncio.create_task(time.tick())
        await asyncio.sleep(0)
        try:
            return await Concurrent.a_map(call, source(), **options)
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])

    return in_loop(main, factory)


@pytest.mark.parametrize("factory", factories)
@pytest.mark.parametrize("source", [lambda: range(1000), lambda: iter(range(1000))], ids=["range", "iterator"])
@pytest.mark.parametrize("limit", [None, 1, 10])
def test_other_tasks_run_while_calls_never_suspend(
    time: Clock, factory: Any, source: Callable[[], Any], limit: int | None
) -> None:
    async def call(item: int) -> int:
        time.time += MILLISECOND / 10
        return item

    assert watched(time, factory, source, call, limit=limit) == list(range(1000))
    assert time.turns >= 10
    assert time.longest <= 6 * MILLISECOND


@pytest.mark.parametrize("factory", factories)
def test_other_tasks_run_between_calls_that_take_long(time: Clock, factory: Any) -> None:
    """How long a call takes is known only afterwards: the first few share a turn, then each has its own."""

    async def call(item: int) -> int:
        time.time += 10 * MILLISECOND
        return item

    watched(time, factory, lambda: range(500), call)
    assert time.turns >= 100
    assert time.longest <= 16 * 10 * MILLISECOND


@pytest.mark.parametrize("factory", factories)
def test_other_tasks_run_while_async_inputs_never_suspend(time: Clock, factory: Any) -> None:
    class Ready:
        def __init__(self) -> None:
            self.items = iter(range(1000))

        def __aiter__(self) -> "Ready":
            return self

        async def __anext__(self) -> int:
            for item in self.items:
                return item
            raise StopAsyncIteration

    async def call(item: int) -> int:
        time.time += MILLISECOND / 10
        return item

    assert watched(time, factory, Ready, call) == list(range(1000))
    assert time.turns >= 10
    assert time.longest <= 6 * MILLISECOND


@pytest.mark.parametrize("factory", factories)
def test_a_timeout_is_seen_while_calls_never_suspend(factory: Any) -> None:
    async def call(item: int) -> int:
        return item

    with pytest.raises(TimeoutError):
        in_loop(lambda: Concurrent.a_map(call, itertools.count(), timeout=0.01), factory)


@pytest.mark.parametrize("factory", factories)
@pytest.mark.parametrize("source", [itertools.count, lambda: AsyncItems(itertools.count())], ids=["sync", "async"])
def test_a_cancellation_is_seen_while_calls_never_suspend(factory: Any, source: Callable[[], Any]) -> None:
    async def main() -> None:
        async def call(item: int) -> int:
            return item

        task = asyncio.create_task(Concurrent.a_map(call, source()))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_loop(main, factory)


def test_trivial_calls_share_turns(time: Clock) -> None:
    """A turn of the loop costs more than a call that does nothing: it is not spent on each of them."""

    async def call(item: int) -> int:
        return item

    def source() -> Iterator[int]:
        for item in range(1000):
            time.time += MILLISECOND / 1000
            yield item

    watched(time, None, source, call)
    assert time.turns < 200


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("pattern", ["10", "01", "110", "100", "0011"])
async def test_it_does_not_matter_when_the_time_of_a_turn_is_up(
    operation: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two looks at the clock it may run out: then the loop turns, and nobody sleeps over what is there."""
    for pace in (_pace.EagerPace, _pace.QueuedPace):
        answers = itertools.cycle(pattern)
        monkeypatch.setattr(pace, "spent", lambda _, answers=answers: next(answers) == "1")

    async def call(item: int) -> int:
        return item

    for buffersize in (1, 2, 3, 5):
        stream = getattr(Concurrent, operation)(call, range(20), buffersize=buffersize)
        async with asyncio.timeout(PATIENCE):
            results = [result async for result in stream]
        assert len(results) == 20


@pytest.mark.parametrize("factory", factories)
@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_reader_and_consumer_that_both_wait_for_the_next_turn_come_to_it(time: Clock, operation: str, factory: Any) -> None:
    """First steps that take long leave room for one a turn. Whoever waits for that must not put off what makes it."""

    async def call(item: int) -> int:
        time.time += 10 * MILLISECOND
        for _ in range(3):
            await asyncio.sleep(0)
        return item

    async def source() -> AsyncIterator[int]:
        for item in range(100):
            await asyncio.sleep(0)
            yield item

    async def main() -> int:
        async with asyncio.timeout(PATIENCE):
            return len([result async for result in getattr(Concurrent, operation)(call, source(), limit=4)])

    assert in_loop(main, factory) == 100


@pytest.mark.parametrize("factory", factories)
@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("operation", ["a_map", "a_stream", "a_as_completed"])
def test_a_call_that_waits_for_room_begins_two_turns_after_the_end_of_a_short_one(
    operation: str, turns: int, factory: Any
) -> None:
    """The end is seen in its own turn, in the next one the caller goes on, and the first step may take one more."""
    turn = 0
    begun: list[int] = []
    ended: list[int] = []

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def call(_: int) -> None:
        begun.append(turn)
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(turn)

    async def main() -> None:
        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        results = getattr(Concurrent, operation)(call, range(20), limit=1)
        if operation == "a_map":
            await results
        else:
            assert len([result async for result in results]) == 20
        counting.cancel()
        await asyncio.wait([counting])

    in_loop(main, factory)
    assert max(begins - ends for begins, ends in zip(begun[1:], ended[:-1], strict=True)) <= 2
