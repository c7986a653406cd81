"""Promises 1 to 4: who advances the inputs, how far ahead of the calls, and what it means when they raise."""

import asyncio
import contextvars
import itertools
import sqlite3
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from threading import get_ident
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import AsyncItems, Way, finish, free, in_loop


class Watched:
    """An iterator that notes by whom and in which context it is advanced, and that nobody else is doing so."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = iter(items)
        self.threads: set[int] = set()
        self.tasks: set[object] = set()
        self.contexts: set[str] = set()
        self.dropped_in: list[int] = []
        self._advancing = threading.Lock()

    def __iter__(self) -> "Watched":
        self._note()
        return self

    def __next__(self) -> Any:
        assert self._advancing.acquire(blocking=False), "two advance it at once"
        try:
            self._note()
            return next(self.items)
        finally:
            self._advancing.release()

    def __del__(self) -> None:
        self.dropped_in.append(get_ident())

    def _note(self) -> None:
        self.threads.add(get_ident())
        self.contexts.add(who.get())
        try:
            self.tasks.add(asyncio.current_task())
        except RuntimeError:
            self.tasks.add(None)


class WatchedAsync(Watched):
    def __aiter__(self) -> AsyncIterator[Any]:
        self._note()
        return self

    async def __anext__(self) -> Any:
        assert self._advancing.acquire(blocking=False), "two advance it at once"
        try:
            self._note()
            await asyncio.sleep(0)
            self._note()
            return next(self.items)
        except StopIteration:
            raise StopAsyncIteration from None
        finally:
            self._advancing.release()


who = contextvars.ContextVar("who", default="nobody")


def test_an_iterator_is_advanced_in_the_calling_thread_alone_and_by_one_at_a_time() -> None:
    source, other = Watched(range(200)), Watched(range(200))

    def call(item: int, same: int) -> int:
        who.set("a call")
        return item

    who.set("the caller")
    assert Concurrent.map(call, source, other, limit=4) == list(range(200))
    for each in (source, other):
        assert each.threads == {get_ident()}
        assert each.contexts == {"the caller"}


def test_an_iterator_is_advanced_in_the_thread_that_called_though_that_is_not_the_main_one() -> None:
    seen: list[bool] = []

    def caller() -> None:
        source = Watched(range(100))
        Concurrent.map(abs, source, limit=3)
        seen.append(source.threads == {get_ident()})

    thread = threading.Thread(target=caller)
    thread.start()
    thread.join()
    assert seen == [True]


@pytest.mark.parametrize("kind", [Watched, WatchedAsync])
@pytest.mark.parametrize("limit", [None, 3])
def test_an_iterator_is_advanced_in_the_calling_task_alone_and_by_one_at_a_time(kind: type[Watched], limit: int | None) -> None:
    async def call(*items: int) -> int:
        who.set("a call")
        await asyncio.sleep(0)
        return items[0]

    async def main() -> None:
        who.set("the caller")
        source, other = kind(range(200)), Watched(range(200))
        assert await Concurrent.a_map(call, source, other, limit=limit) == list(range(200))
        for each in (source, other):
            assert each.threads == {get_ident()}
            assert each.tasks == {asyncio.current_task()}
            assert each.contexts == {"the caller"}

    in_loop(main)


def test_an_iterator_left_half_way_is_dropped_in_the_calling_thread() -> None:
    """Its clean-up, a generator's `finally` say, may need that thread as much as its items do."""
    dropped_in: list[int] = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            dropped_in.append(get_ident())

    def call(item: int) -> None:
        if item == 20:
            raise ValueError

    for _ in range(20):
        assert isinstance(outcome_of(lambda: Concurrent.map(call, source(), limit=4)), ValueError)
    free()
    assert dropped_in == [get_ident()] * 20


def test_a_database_cursor_works_as_input() -> None:
    database = sqlite3.connect(":memory:")  # refuses to be used in any thread but this
    database.execute("create table numbers (number)")
    database.executemany("insert into numbers values (?)", [(number,) for number in range(100)])
    query = "select number from numbers order by number"

    async def a_call(row: tuple[int]) -> int:
        await asyncio.sleep(0)
        return -row[0]

    try:
        assert Concurrent.map(lambda row: -row[0], database.execute(query), limit=3) == [-number for number in range(100)]
        found = asyncio.run(Concurrent.a_map(a_call, database.execute(query), limit=3))
        assert found == [-number for number in range(100)]
    finally:
        database.close()


class Ahead:
    """Counts how far the inputs are read ahead of the calls that have ended."""

    def __init__(self) -> None:
        self.read = 0
        self.ended = 0
        self.furthest = 0
        self.lock = threading.Lock()

    def __call__(self, items: Iterable[int]) -> Iterator[int]:
        for item in items:
            with self.lock:
                self.read += 1
                self.furthest = max(self.furthest, self.read - self.ended)
            yield item

    def end(self) -> None:
        with self.lock:
            self.ended += 1


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("times", [1, 4])
def test_inputs_are_read_no_further_than_twice_the_limit_ahead(way: Way, limit: int, times: int) -> None:
    ahead = Ahead()
    together = way.barrier(limit)

    async def call(item: int) -> int:
        if limit > 1:
            await together.wait()
        ahead.end()
        return item

    items = range(limit * times)
    assert way(call, ahead(items), limit=limit) == list(items)
    assert limit <= ahead.furthest <= 2 * limit


def test_inputs_are_read_no_further_ahead_while_all_calls_wait() -> None:
    """The calls end only when nothing more has been read for as long as the reader could have gone on."""
    ahead = Ahead()
    waits = threading.Event()
    release = threading.Event()
    count = itertools.count(1)

    def source() -> Iterator[int]:
        for item in ahead(range(100)):
            if item == 3:
                waits.set()
            yield item

    def call(item: int) -> int:
        if next(count) == 2:
            assert waits.wait(20)
            release.set()
        assert release.wait(20)
        ahead.end()
        return item

    assert Concurrent.map(call, source(), limit=2) == list(range(100))
    assert ahead.furthest == 4, "reading goes on while calls run, up to twice the limit"


def test_without_a_limit_a_map_on_asyncio_reads_all_inputs_at_once() -> None:
    for source in (lambda items: items, iter, AsyncItems):
        started = 0

        async def main(source: Any = source) -> None:
            all_started = asyncio.Event()

            async def call(item: int) -> int:
                nonlocal started
                started += 1
                if started == 300:
                    all_started.set()
                async with asyncio.timeout(20):
                    await all_started.wait()
                return item

            assert await Concurrent.a_map(call, source(range(300))) == list(range(300))

        in_loop(main)


@pytest.mark.parametrize("limit", [1, 4])
def test_infinite_inputs_end_with_a_failing_call(way: Way, limit: int) -> None:
    async def call(item: int) -> None:
        if item == 50:
            raise ValueError(item)

    with pytest.raises(ValueError, match="50"):
        way(call, itertools.count(), limit=limit)


def test_infinite_inputs_end_with_a_failing_call_though_there_is_no_limit() -> None:
    async def call(item: int) -> None:
        if item == 50:
            raise ValueError(item)
        await asyncio.Event().wait()

    for source in (itertools.count(), AsyncItems(itertools.count())):
        with pytest.raises(ValueError, match="50"):
            in_loop(lambda: Concurrent.a_map(call, source))  # noqa: B023


def test_infinite_inputs_end_with_a_timeout(way: Way) -> None:
    async def call(item: int) -> int:
        return item

    with pytest.raises(TimeoutError):
        way(call, itertools.count(), limit=2, timeout=0.02)


def test_infinite_inputs_stand_beside_finite_ones(way: Way) -> None:
    async def call(item: int, letter: str) -> str:
        return f"{item}{letter}"

    assert way(call, itertools.count(), ["a", "b", "c"], limit=2) == ["0a", "1b", "2c"]
    assert way(call, itertools.count(), ["a", "b", "c"]) == ["0a", "1b", "2c"]


class Strong(BaseException):
    pass


def raising(error: BaseException, after: int) -> Iterator[int]:
    yield from range(after)
    raise error


class RaisingAsync:
    def __init__(self, error: BaseException, after: int) -> None:
        self.items = iter(range(after))
        self.error = error

    def __aiter__(self) -> "RaisingAsync":
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        for item in self.items:
            return item
        raise self.error


async def identity(item: Any) -> Any:
    return item


def outcome_of(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except BaseException as error:
        return error


@pytest.mark.parametrize("kind", [ValueError, Strong, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("limit", [1, 10])
def test_inputs_that_raise_end_the_map_with_their_own_exception(
    way: Way, kind: type[BaseException], place: int, limit: int
) -> None:
    error = kind("the input's")
    begun: list[int] = []
    ended: list[int] = []

    async def call(item: int) -> int:
        begun.append(item)
        try:
            return item
        finally:
            ended.append(item)

    assert outcome_of(lambda: way(call, raising(error, place), limit=limit, catch=Exception)) is error
    assert set(begun) <= set(range(place))
    assert sorted(begun) == sorted(ended)
    if kind is not KeyboardInterrupt:  # which, on threads, is taken for Ctrl-C
        assert error.__notes__ == [f"concurrency: reading input {place} of call.{way.operation} failed"]
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert names[-1] == "raising", "its traceback leads to the input"


@pytest.mark.parametrize("kind", [ValueError, Strong, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", range(3))
def test_async_inputs_that_raise_end_the_map_with_their_own_exception(kind: type[BaseException], place: int) -> None:
    error = kind("the input's")
    caught = outcome_of(lambda: in_loop(lambda: Concurrent.a_map(identity, RaisingAsync(error, place), catch=Exception)))
    assert caught is error
    assert error.__notes__ == [f"concurrency: reading input {place} of identity.a_map failed"]


def test_running_calls_are_ended_when_inputs_raise(way: Way) -> None:
    ended: list[int] = []
    running = way.gate()
    stopped = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        yield from itertools.repeat(1, 1) if way.operation == "map" else ()
        stopped.set()
        raise ValueError

    async def call(item: int) -> None:
        try:
            running.set()
            if way.operation == "map":
                assert stopped.wait(20)
            else:
                await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(ValueError):
        way(call, source(), limit=3)
    assert ended in ([], [0], [0, 1], [1, 0])  # asyncio may not have begun the calls that it then cancels


class IterRaises:
    def __iter__(self) -> Iterator[int]:
        raise LookupError("no iterator")


class AiterRaises:
    def __aiter__(self) -> AsyncIterator[int]:
        raise LookupError("no iterator")


def test_an_iterable_whose_iterator_cannot_be_made_raises_its_own_exception(way: Way) -> None:
    with pytest.raises(LookupError, match="no iterator"):
        way(identity, IterRaises(), catch=LookupError)


def test_an_async_iterable_whose_iterator_cannot_be_made_raises_its_own_exception() -> None:
    with pytest.raises(LookupError, match="no iterator"):
        in_loop(lambda: Concurrent.a_map(identity, AiterRaises(), catch=LookupError))


class StopsOddly:
    """An iterator that ends with the exception that ends async ones."""

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        raise StopAsyncIteration


def test_an_iterator_that_raises_stop_async_iteration_fails_and_does_not_end(way: Way) -> None:
    async def call(*items: int) -> None:
        pass

    for inputs in ((StopsOddly(),), (StopsOddly(), [1, 2]), ([1, 2], StopsOddly())):
        with pytest.raises(RuntimeError) as caught:
            way(call, *inputs)
        assert isinstance(caught.value.__cause__, StopAsyncIteration)


def test_the_first_of_two_failures_is_raised_though_the_other_is_the_inputs(way: Way) -> None:
    error = KeyError("the call's")
    failed = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        if way.operation == "map":
            assert failed.wait(20)
        for item in itertools.count(1):
            if failed.is_set() and item > 100:
                raise ValueError("the input's")
            yield item

    async def call(item: int) -> None:
        failed.set()
        raise error

    with pytest.raises(KeyError) as caught:
        way(call, source(), limit=1)
    assert caught.value is error


def test_a_list_that_is_changed_meanwhile_is_mapped_as_it_was() -> None:
    """Its items are read by index, from many threads: none of them may miss one."""
    items = list(range(100))

    def call(item: int) -> int:
        items.clear()
        return item

    assert Concurrent.map(call, items, limit=4) == list(range(100))
    assert items == []


def test_a_list_that_grows_meanwhile_ends_the_map_all_the_same() -> None:
    items = list(range(10))

    def call(item: int) -> int:
        items.append(item)
        return item

    assert Concurrent.map(call, items, limit=4) == list(range(10))


class Sneaky(list[int]):
    """A list that is iterated in a way of its own."""

    def __iter__(self) -> Iterator[int]:
        return iter([7, 8, 9])

    def __len__(self) -> int:
        raise AssertionError("nobody has to know")

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("indices are not promised")


def test_a_subclass_of_list_is_iterated_as_it_wishes(way: Way) -> None:
    sneaky: Any = Sneaky([1, 2])
    if way.operation == "map":
        assert Concurrent.map(abs, sneaky) == [7, 8, 9]
    else:
        assert in_loop(lambda: Concurrent.a_map(identity, sneaky)) == [7, 8, 9]


class OldStyle:
    """Iterated by index, as `iter` has it."""

    def __getitem__(self, index: int) -> int:
        if index == 4:
            raise IndexError
        return index


def test_a_sequence_without_iter_works_as_input(way: Way) -> None:
    assert way(identity, OldStyle()) == [0, 1, 2, 3]


def test_reading_is_not_begun_before_the_map_is_awaited() -> None:
    source = Watched([1])

    async def main() -> None:
        coroutine = Concurrent.a_map(identity, source)
        assert source.threads == set()
        assert await coroutine == [1]

    in_loop(main)


def test_an_iterator_that_maps_itself_works_as_input() -> None:
    """Inputs that are made by a map of their own, in the same thread."""

    def source() -> Iterator[int]:
        for number in range(5):
            yield from Concurrent.map(abs, iter([number, -number]), limit=2)

    assert Concurrent.map(lambda item: 2 * item, source(), limit=2) == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]
    assert finish(identity(1)) == 1


class Unreachable:
    def __iter__(self) -> Iterator[int]:
        raise LookupError("no connection")


@pytest.mark.parametrize("operation", ["map", "stream", "as_completed", "a_map", "a_stream", "a_as_completed"])
def test_an_iterable_that_cannot_even_begin_ends_the_operation(operation: str) -> None:
    async def main() -> None:
        outcome = getattr(Concurrent, operation)(identity if operation.startswith("a_") else abs, Unreachable())
        if operation == "a_map":
            await outcome
        elif operation.startswith("a_"):
            await anext(outcome)
        else:
            list(outcome)

    with pytest.raises(LookupError, match="no connection") as caught:
        in_loop(main)
    (note,) = caught.value.__notes__
    assert note.startswith("concurrency: reading input 0 of ")
