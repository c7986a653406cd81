"""Promise 10: what becomes of `a_map` and its calls when the task that awaits it is cancelled, at every moment of it."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import LOOP, AsyncItems, in_loop, task_factory

factories = pytest.mark.parametrize("factory", [None, task_factory], ids=["no factory", "task factory"])
sources = pytest.mark.parametrize("source", [list, iter, AsyncItems], ids=["list", "iterator", "async iterator"])


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class World:
    """Calls that note when they begin and end, and last for a few turns of the loop."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    async def call(self, item: int) -> int:
        self.begun.append(item)
        try:
            await self.body(item)
        finally:
            self.ended.append(item)
        return item

    async def body(self, item: int) -> None:
        await turns(3)

    def assert_quiet(self) -> None:
        assert sorted(self.ended) == sorted(self.begun)


class FailsMeanwhile(World):
    async def body(self, item: int) -> None:
        await turns(3)
        if item == 1:
            raise ValueError(item)


class TakesItsTime(World):
    async def body(self, item: int) -> None:
        try:
            await turns(3)
        finally:
            await turns(3)


class Swallows(World):
    async def body(self, item: int) -> None:
        with suppress(asyncio.CancelledError):
            await turns(3)
        await turns(2)


class FailsWhenCancelled(World):
    async def body(self, item: int) -> None:
        try:
            await turns(3)
        except asyncio.CancelledError:
            raise ValueError(item) from None


class CancelsItself(World):
    async def body(self, item: int) -> None:
        await turns(3)
        if item == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await turns(1)


worlds = pytest.mark.parametrize("kind", [World, FailsMeanwhile, TakesItsTime, Swallows, FailsWhenCancelled, CancelsItself])


async def outcome_of(world: World, source: Callable[[Iterable[int]], Any], cancel_at: "list[int]", **options: Any) -> Any:
    """What a map returns or raises when its task is cancelled in these turns, and how often it was found cancelled then."""

    async def caller() -> tuple[Any, int]:
        task = asyncio.current_task()
        assert task is not None
        try:
            outcome: Any = await Concurrent.a_map(world.call, source(range(5)), **options)
        except (asyncio.CancelledError, ValueError) as error:
            outcome = error
        world.assert_quiet()
        return outcome, task.cancelling()

    task = asyncio.create_task(caller())
    taken = 0
    for turn in range(max(cancel_at) + 1):
        await turns(1)
        if turn in cancel_at:
            taken += task.cancel()
    outcome, cancelling = await task
    return outcome, cancelling, taken


@worlds
@sources
@factories
@pytest.mark.parametrize("limit", [None, 2])
def test_cancelled_at_any_moment_it_ends_its_calls_and_raises_cancelled_error(
    kind: type[World], source: Callable[..., Any], factory: Any, limit: int | None
) -> None:
    async def main() -> None:
        for turn in itertools.count():
            outcome, cancelling, taken = await outcome_of(kind(), source, [turn], limit=limit)
            assert cancelling == taken
            if not taken:  # the map had ended before
                assert turn > 3
                break
            assert type(outcome) is asyncio.CancelledError, turn
        if kind is FailsMeanwhile:
            assert type(outcome) is ValueError
        elif kind is CancelsItself:
            assert type(outcome) is asyncio.CancelledError
        else:
            assert outcome == [0, 1, 2, 3, 4]

    in_loop(main, factory)


@worlds
@sources
def test_cancelled_twice_it_ends_its_calls_and_raises_cancelled_error(kind: type[World], source: Callable[..., Any]) -> None:
    async def main() -> None:
        for first, pause in itertools.product(range(6), range(5)):
            outcome, cancelling, taken = await outcome_of(kind(), source, [first, first + pause])
            assert cancelling == taken
            if taken:
                assert type(outcome) is asyncio.CancelledError

    in_loop(main)


def test_the_failures_before_it_are_named_on_the_cancelled_error() -> None:
    async def call(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError(item)

    async def main() -> None:
        task = asyncio.create_task(Concurrent.a_map(call, range(5)))
        await turns(8)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError) as caught:
        in_loop(main)
    (note,) = caught.value.__notes__
    assert note.startswith("concurrency: 5 of call.a_map had failed: call 0, with 0: ValueError(0); ")


def test_cancelled_in_the_turn_in_which_a_call_fails_it_raises_cancelled_error() -> None:
    """Each order of the two, with the call that fails last of all, and then in the middle."""

    async def call(gate: asyncio.Event) -> None:
        await gate.wait()
        raise ValueError

    async def main(cancel_first: bool, others: int) -> None:
        gate, never = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(Concurrent.a_map(call, [gate, *[never] * others]))
        await turns(3)
        if cancel_first:
            task.cancel()
            gate.set()
        else:
            gate.set()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    for cancel_first in (True, False):
        for others in (0, 2):
            in_loop(lambda: main(cancel_first, others))  # noqa: B023


def test_cancelled_in_the_turn_in_which_the_last_call_ends_it_raises_cancelled_error() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def call(item: int) -> None:
            await gate.wait()

        task = asyncio.create_task(Concurrent.a_map(call, [0]))
        await turns(3)
        gate.set()
        await turns(1)  # the call has been woken
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_loop(main)


@pytest.mark.skipif(LOOP == "eager", reason="it begins at once")
def test_cancelled_before_it_begins_it_starts_nothing() -> None:
    async def main() -> None:
        world = World()
        task = asyncio.create_task(Concurrent.a_map(world.call, [0, 1]))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.begun == []

    in_loop(main)


def test_a_cancel_that_was_there_before_is_left_as_it_was() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await turns(1)
        assert task.cancelling() == 1
        assert await Concurrent.a_map(World().call, AsyncItems(range(3))) == [0, 1, 2]
        with pytest.raises(ValueError):
            await Concurrent.a_map(FailsMeanwhile().call, AsyncItems(range(3)))
        assert task.cancelling() == 1
        task.uncancel()

    in_loop(main)


@sources
def test_a_timeout_of_asyncio_around_it_is_a_timeout(source: Callable[..., Any]) -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        world = World()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as timeout:

                async def call(item: int) -> None:
                    if item == 1:
                        timeout.reschedule(0)
                    await world.call(item)
                    await asyncio.Event().wait()

                await Concurrent.a_map(call, source([0, 1, 2]))
        world.assert_quiet()
        assert task.cancelling() == 0

    in_loop(main)


def test_a_task_group_around_it_cancels_it() -> None:
    async def main() -> None:
        world = TakesItsTime()

        async def fail() -> None:
            await turns(2)
            raise KeyError

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(Concurrent.a_map(world.call, range(3)))
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert task.cancelled()
        world.assert_quiet()

    in_loop(main)


class Source:
    """An async iterator that waits for ever after some items, in ways that subclasses make difficult."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.read = 0
        self.waits = asyncio.Event()
        self.was_cancelled = 0

    def __aiter__(self) -> "Source":
        return self

    async def __anext__(self) -> int:
        if self.read < self.items:
            self.read += 1
            return self.read - 1
        self.waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled += 1
            return await self.clean_up()
        raise AssertionError

    async def clean_up(self) -> int:
        raise asyncio.CancelledError


class TakesItsTimeToEnd(Source):
    async def clean_up(self) -> int:
        await turns(3)
        raise asyncio.CancelledError


class ReturnsAnItem(Source):
    async def clean_up(self) -> int:
        return 99


class EndsNormally(Source):
    async def clean_up(self) -> int:
        raise StopAsyncIteration


class FailsToo(Source):
    async def clean_up(self) -> int:
        raise KeyError("in the source")


@factories
@pytest.mark.parametrize("kind", [Source, TakesItsTimeToEnd, ReturnsAnItem, EndsNormally, FailsToo])
def test_a_call_that_fails_interrupts_the_source_that_is_waited_for(kind: type[Source], factory: Any) -> None:
    begun: list[int] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        source = kind(2)

        async def call(item: int) -> None:
            begun.append(item)
            await source.waits.wait()
            if item == 1:
                raise ValueError(item)
            await asyncio.Event().wait()

        with pytest.raises(ValueError) as caught:
            await Concurrent.a_map(call, source)
        assert task.cancelling() == 0
        assert begun == [0, 1]
        assert source.was_cancelled == 1
        (note,) = caught.value.__notes__
        own = "concurrency: call 1 of call.a_map failed, with 1"
        assert note == (f"{own}; 1 more failed: reading input 2: KeyError('in the source')" if kind is FailsToo else own)
        await turns(3)  # nothing of the interruption is left to come

    in_loop(main, factory)


@pytest.mark.parametrize("kind", [Source, TakesItsTimeToEnd, ReturnsAnItem, EndsNormally, FailsToo])
@pytest.mark.parametrize("delay", range(6))
@pytest.mark.parametrize("cancel_first", [True, False])
def test_a_cancel_while_the_source_is_interrupted_is_not_lost(kind: type[Source], delay: int, cancel_first: bool) -> None:
    """Two cancellations of one task meet: ours, which interrupts the source, and another's, before it, with it or after it."""
    if kind in (ReturnsAnItem, EndsNormally, FailsToo) and (cancel_first or not delay):
        pytest.skip("a source that makes something else of a cancellation that comes alone has its way")

    async def main() -> None:
        source = kind(1)
        gate = asyncio.Event()
        quiet = False

        async def call(item: int) -> None:
            nonlocal quiet
            try:
                await gate.wait()
                raise ValueError(item)
            finally:
                quiet = True

        async def caller() -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                await Concurrent.a_map(call, source)
            finally:
                assert quiet
                assert task.cancelling() == taken

        taken = 0
        task = asyncio.create_task(caller())
        await source.waits.wait()
        if cancel_first:
            taken += task.cancel()
            await turns(delay)
            gate.set()
        else:
            gate.set()
            await turns(delay)
            taken += task.cancel()
        if taken:
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(ValueError):
                await task

    in_loop(main)


def test_a_timeout_of_the_map_interrupts_the_source_that_is_waited_for() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        source = Source(1)
        with pytest.raises(TimeoutError) as caught:
            await Concurrent.a_map(World().call, source, timeout=0.01)
        assert str(caught.value) == "call.a_map timed out after 0.01 s, 0 of the 1 calls begun unfinished"
        assert source.was_cancelled == 1
        assert task.cancelling() == 0

    in_loop(main)


def test_a_map_within_a_map_is_cancelled_with_it() -> None:
    async def main() -> None:
        world = TakesItsTime()

        async def outer(item: int) -> list[int]:
            return await Concurrent.a_map(world.call, [10 * item, 10 * item + 1])

        task = asyncio.create_task(Concurrent.a_map(outer, range(3)))
        await turns(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(world.begun) == 6
        world.assert_quiet()

    in_loop(main)


def test_a_map_within_a_call_that_fails_is_cancelled_and_awaited() -> None:
    async def main() -> None:
        world = TakesItsTime()

        async def outer(item: int) -> list[int]:
            if item == 2:
                await turns(3)
                raise KeyError
            return await Concurrent.a_map(world.call, [item])

        with pytest.raises(KeyError):
            await Concurrent.a_map(outer, range(3))
        assert len(world.begun) == 2
        world.assert_quiet()

    in_loop(main)


def test_a_loop_that_is_abandoned_is_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that is closed with a map under way: the map's coroutine is closed, and may neither await nor use the loop."""
    world = World()
    loop = asyncio.new_event_loop()

    async def forever(item: int) -> None:
        await world.call(item)
        await asyncio.Event().wait()

    task = loop.create_task(Concurrent.a_map(forever, [0, 1]))
    loop.run_until_complete(turns(8))
    coroutine: Any = task.get_coro()
    coroutine.close()
    loop.run_until_complete(turns(3))
    loop.close()
    assert world.ended == [0, 1]
    del task, coroutine
    gc.collect()
    complaints = {record.getMessage().splitlines()[0] for record in caplog.records}
    assert complaints <= {"Task was destroyed but it is pending!"}, "the map's own task, which the test has left pending"


class Stubborn:
    """A source that takes no notice of being cancelled, and gives what it would have given."""

    def __init__(self) -> None:
        self.given = 0
        self.waits = asyncio.Event()

    def __aiter__(self) -> "Stubborn":
        return self

    async def __anext__(self) -> int:
        if self.given:
            self.waits.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        self.given += 1
        return self.given


@pytest.mark.parametrize("operation", ["a_map", "a_stream", "a_as_completed"])
def test_what_a_source_gives_after_a_failure_starts_no_call(operation: str) -> None:
    begun = []

    async def main() -> None:
        source = Stubborn()

        async def call(item: int) -> None:
            begun.append(item)
            await source.waits.wait()
            raise LookupError(item)

        outcome = getattr(Concurrent, operation)(call, source)
        with pytest.raises(LookupError):
            await (outcome if operation == "a_map" else anext(outcome))
        assert source.given == 2

    in_loop(main)
    assert begun == [1]


@pytest.mark.parametrize("operation", ["a_map", "a_stream", "a_as_completed"])
def test_a_source_that_is_cancelled_from_within_ends_the_operation(operation: str) -> None:
    class Cancelled(Stubborn):
        async def __anext__(self) -> int:
            raise asyncio.CancelledError("from within")

    async def main() -> None:
        outcome = getattr(Concurrent, operation)(asyncio.sleep, Cancelled())
        with pytest.raises(asyncio.CancelledError, match="from within"):
            await (outcome if operation == "a_map" else anext(outcome))

    in_loop(main)
