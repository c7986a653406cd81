"""`stream`, `as_completed` and their twins on asyncio: what comes out, in which order, and when anything begins."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from itertools import count, islice
from random import Random
from typing import Any

import pytest

from concurrency import AsyncStream, Concurrent, Stream, _pace, concurrent
from tests.lazy_ways import END, LAZY_WAYS, LazyWay, SkippingClock, close, ended_in, has_stopped, rest, run_of, take
from tests.ways import PATIENCE, eager_task_factory, in_loop, until


async def power(base: int, exponent: int) -> int:
    result: int = base**exponent
    return result


async def double(item: int) -> int:
    return item * 2


# What comes out


@pytest.mark.parametrize("items", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_a_stream_equals_map(ordered: LazyWay, items: int, limit: int | None) -> None:
    async def main() -> None:
        expected = list(map(pow, range(items), count(2)))
        assert await rest(ordered(power, range(items), range(2, items + 2), limit=limit)) == expected

    ordered.run(main)


@pytest.mark.parametrize("items", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_as_completed_pairs_each_input_with_its_result(completed: LazyWay, items: int, limit: int | None) -> None:
    async def main() -> None:
        pairs = await rest(completed(double, range(items), limit=limit))
        assert sorted(pairs) == [(item, item * 2) for item in range(items)]
        assert all(type(pair) is tuple for pair in pairs)

    completed.run(main)


def test_of_several_iterables_the_tuple_of_inputs_is_paired(completed: LazyWay) -> None:
    async def main() -> None:
        pairs = await rest(completed(power, [2, 3, 4], [5, 6, 7]))
        assert dict(pairs) == {(2, 5): 32, (3, 6): 729, (4, 7): 16384}

    completed.run(main)


def test_an_input_that_is_a_tuple_is_paired_as_it_is(completed: LazyWay) -> None:
    async def call(item: tuple[int, ...]) -> int:
        return len(item)

    async def main() -> None:
        assert dict(await rest(completed(call, [(), (1,), (1, 2)]))) == {(): 0, (1,): 1, (1, 2): 2}

    completed.run(main)


def test_inputs_are_paired_by_identity_and_neither_compared_nor_hashed(completed: LazyWay) -> None:
    class Touchy:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __bool__(self) -> bool:
            raise AssertionError

        def __len__(self) -> int:
            raise AssertionError

    items = [Touchy() for _ in range(5)]

    async def call(item: Touchy) -> Touchy:
        return item

    async def main() -> None:
        pairs = await rest(completed(call, items, limit=2))
        assert all(item is result for item, result in pairs)
        assert {id(item) for item, _ in pairs} == {id(item) for item in items}

    completed.run(main)


def test_any_result_may_come_out(lazy: LazyWay) -> None:
    """What could be taken for "the end", "nothing yet" or a failure."""
    values = [None, False, 0, "", (), END, StopIteration(), ValueError(), NotImplemented, ...]

    async def call(item: int) -> Any:
        return values[item]

    async def main() -> None:
        results = [lazy.result(taken) for taken in await rest(lazy(call, range(len(values)), limit=1))]
        assert all(result is value for result, value in zip(results, values, strict=True))

    lazy.run(main)


def test_iterables_end_with_the_shortest(lazy: LazyWay) -> None:
    async def main() -> None:
        assert sorted(map(lazy.result, await rest(lazy(power, [2, 3], [1, 1, 1])))) == [2, 3]
        assert sorted(map(lazy.result, await rest(lazy(power, [2, 3, 4], [1, 1])))) == [2, 3]

    lazy.run(main)


def test_strict_iterables_have_to_end_together(lazy: LazyWay) -> None:
    async def main() -> None:
        assert len(await rest(lazy(power, [2, 3], [1, 1], strict=True))) == 2
        for iterables, words in (([2, 3], [1]), "shorter"), (([2], [1, 1]), "longer"):
            stream = lazy(power, *iterables, strict=True, buffersize=1)
            assert lazy.result(await take(stream)) == 2
            for _ in range(2):
                with pytest.raises(ValueError, match=rf"argument 2 is {words} than argument 1"):
                    await take(stream)

    lazy.run(main)


def test_asyncio_takes_sync_and_async_iterables_mixed() -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(5):
            yield item

    async def main() -> None:
        assert await rest(Concurrent.a_stream(power, items(), [2] * 5)) == [0, 1, 4, 9, 16]
        assert await rest(Concurrent.a_stream(power, count(2), items())) == [1, 3, 16, 125, 1296]
        assert dict(await rest(Concurrent.a_as_completed(power, items(), items()))) == {(n, n): n**n for n in range(5)}

    in_loop(main)


# Order


def test_a_stream_keeps_the_order_although_calls_end_in_reverse(ordered: LazyWay) -> None:
    gates = [ordered.gate() for _ in range(5)]

    async def call(item: int) -> int:
        if item < 4:
            await gates[item + 1].wait()
        gates[item].set()
        return item

    async def main() -> None:
        assert await rest(ordered(call, range(5), limit=5)) == [0, 1, 2, 3, 4]

    ordered.run(main)


def test_as_completed_gives_what_ends_first(completed: LazyWay) -> None:
    """Each call ends only when the result of the one after it has been taken."""
    gates = [completed.gate() for _ in range(5)]
    gates[4].set()

    async def call(item: int) -> int:
        await gates[item].wait()
        return item * 2

    async def main() -> None:
        pairs = []
        stream = completed(call, range(5), limit=5)
        for expected in reversed(range(5)):
            pairs.append(await take(stream))
            if expected:
                gates[expected - 1].set()
        assert pairs == [(4, 8), (3, 6), (2, 4), (1, 2), (0, 0)]
        assert await take(stream) is END

    completed.run(main)


def test_a_result_comes_out_while_the_input_after_it_is_not_there_yet() -> None:
    """One more input is read for each result that is taken, but none to find out whether there is one."""
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for item in range(6):
            assert len(taken) >= item - 2, "read too far ahead"
            yield item

    taken.extend(Concurrent.stream(abs, inputs(), limit=1, buffersize=2))  # one by one
    assert taken == list(range(6))


# Laziness


def test_inputs_may_have_no_end(lazy: LazyWay) -> None:
    async def main() -> None:
        stream = lazy(double, count(), limit=3)
        results = {lazy.result(await take(stream)) for _ in range(100)}
        assert len(results) == 100
        if lazy.is_ordered:
            assert results == set(range(0, 200, 2))
        await close(stream)

    lazy.run(main)


def test_nothing_is_read_and_nothing_starts_before_the_first_next(lazy: LazyWay) -> None:
    happened: list[str] = []

    class Inputs(Iterable[int]):
        def __iter__(self) -> Iterator[int]:
            happened.append("iter")
            yield 1

        def __len__(self) -> int:
            happened.append("len")
            return 1

        def __length_hint__(self) -> int:
            happened.append("hint")
            return 1

    async def call(item: int) -> int:
        happened.append("call")
        return item

    async def main() -> None:
        stream = lazy(call, Inputs(), limit=2)
        if lazy.is_async:
            await asyncio.sleep(0)
        assert happened == []
        assert len(await rest(stream)) == 1
        assert happened == ["iter", "call"]

    lazy.run(main)


def test_an_async_input_is_not_touched_before_the_first_next() -> None:
    happened: list[str] = []

    class Inputs(AsyncIterable[int]):
        async def __aiter__(self) -> AsyncIterator[int]:
            happened.append("aiter")
            yield 1

    async def main() -> None:
        stream = Concurrent.a_stream(double, Inputs())
        await asyncio.sleep(0)
        assert happened == []
        assert await rest(stream) == [2]
        assert happened == ["aiter"]

    in_loop(main)


def test_an_async_stream_is_made_without_a_loop() -> None:
    """And belongs to the one in which it is first iterated."""
    stream = Concurrent.a_stream(double, [1, 2])

    async def main() -> None:
        assert await rest(stream) == [2, 4]

    in_loop(main)


def test_inputs_are_read_where_next_is_called(lazy: LazyWay) -> None:
    idents: set[int] = set()

    def inputs() -> Iterator[int]:
        for item in range(20):
            idents.add(threading.get_ident())
            yield item

    async def main() -> None:
        assert len(await rest(lazy(double, inputs(), limit=3))) == 20
        assert idents == {threading.get_ident()}

    lazy.run(main)


def test_calls_see_the_context_of_the_call_of_the_operation(lazy: LazyWay) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def call(item: int) -> str:
        before = variable.get()
        variable.set(f"set by {item}")
        return before

    async def main() -> None:
        variable.set("ours")
        stream = lazy(call, range(4), limit=1)
        variable.set("later")
        assert [lazy.result(taken) for taken in await rest(stream)] == ["ours"] * 4
        assert variable.get() == "later"

    contextvars.copy_context().run(lambda: lazy.run(main))


# Kinds


def test_streams_are_iterators_and_context_managers(lazy: LazyWay) -> None:
    async def main() -> None:
        stream = lazy(double, [1])
        assert isinstance(stream, AsyncStream if lazy.is_async else Stream)
        assert isinstance(stream, AsyncIterator if lazy.is_async else Iterator)
        if isinstance(stream, AsyncStream):
            assert aiter(stream) is stream
            async with stream as entered:
                assert entered is stream
        else:
            assert iter(stream) is stream
            with stream as same:
                assert same is stream
        await close(stream)

    lazy.run(main)


def test_a_stream_works_with_what_takes_iterators() -> None:
    assert list(islice(Concurrent.stream(abs, count()), 5)) == [0, 1, 2, 3, 4]
    assert dict(Concurrent.as_completed(str, range(3))) == {0: "0", 1: "1", 2: "2"}
    assert next(Concurrent.as_completed(str, [7])) == (7, "7")
    assert sum(Concurrent.stream(abs, Concurrent.stream(abs, range(5)))) == 10


def test_streams_of_decorated_functions_are_the_same_operations() -> None:
    @concurrent(limit=1)
    def plain(item: int) -> int:
        return item * 2

    @concurrent(limit=1)
    async def coroutine(item: int) -> int:
        return item * 2

    async def main() -> None:
        assert await rest(coroutine.a_stream(range(9))) == list(range(0, 18, 2))
        assert await rest(coroutine.a_as_completed(range(9))) == [(item, item * 2) for item in range(9)]

    assert list(plain.stream(range(9))) == list(range(0, 18, 2))
    assert list(plain.as_completed(range(9))) == [(item, item * 2) for item in range(9)]  # in order, since one by one
    in_loop(main)


def test_defaults_of_decorated_functions_hold_for_streams() -> None:
    @concurrent(timeout=0)
    def plain(item: int) -> int:
        return item

    @concurrent(timeout=0)
    async def coroutine(item: int) -> int:
        return item

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await anext(coroutine.a_stream([1]))
        assert await anext(coroutine.a_as_completed([1], timeout=None)) == (1, 1)

    with pytest.raises(TimeoutError):
        next(plain.stream([1]))
    assert list(Concurrent.stream(plain, [1], timeout=None)) == [1]
    in_loop(main)


# Bad input


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"limit": True}, TypeError, "limit must be an integer"),
        ({"buffersize": 0}, ValueError, "buffersize must be at least 1, got 0"),
        ({"buffersize": -3}, ValueError, "buffersize must be at least 1, got -3"),
        ({"buffersize": 1.5}, TypeError, "buffersize must be an integer"),
        ({"buffersize": False}, TypeError, "buffersize must be an integer"),
        ({"timeout": -1}, ValueError, "timeout must be finite and not negative"),
        ({"timeout": float("nan")}, ValueError, "timeout must be finite and not negative"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"catch": BaseException}, TypeError, "catch must be"),
        ({"catch": [ValueError]}, TypeError, "catch must be"),
        ({"strict": 1}, TypeError, "strict must be True or False"),
        ({"buffer_size": 1}, TypeError, r"unexpected option 'buffer_size'.*buffersize"),
    ],
)
def test_a_wrong_option_raises_at_the_call(lazy: LazyWay, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    async def main() -> None:
        some: list[Any] = [[], count()]
        for inputs in some:
            with pytest.raises(kind, match=message):
                lazy(double, inputs, **options)

    lazy.run(main)


def test_the_wrong_colour_raises_at_the_call_and_teaches_the_fix() -> None:
    with pytest.raises(TypeError, match=r"double is a coroutine function: async for … in Concurrent\.a_stream\(double, …\)"):
        Concurrent.stream(double, [])  # type: ignore[arg-type,unused-ignore]
    with pytest.raises(TypeError, match=r"async for … in Concurrent\.a_as_completed\(double, …\)"):
        Concurrent.as_completed(double, [])

    @concurrent
    def plain(item: int) -> int:
        return item

    with pytest.raises(TypeError, match=r"plain is a plain function: Concurrent\.stream\(plain, …\)"):
        Concurrent.a_stream(plain, [])  # type: ignore[arg-type]


def test_the_wrong_colour_may_show_only_in_a_result() -> None:
    def looks_plain(item: int) -> Coroutine[Any, Any, int]:
        return double(item)  # closed by whom it surprises: else a warning, and so a failure of this test

    with pytest.raises(TypeError, match=r"looks_plain is a coroutine function: async for … in Concurrent\.a_stream"):
        list(Concurrent.stream(looks_plain, [1, 2, 3]))

    async def main() -> None:
        with pytest.raises(TypeError, match=r"abs is a plain function: Concurrent\.stream"):
            await rest(Concurrent.a_stream(abs, [1]))  # type: ignore[arg-type]

    in_loop(main)


def test_what_cannot_be_iterated_raises_at_the_call(lazy: LazyWay) -> None:
    async def main() -> None:
        operation: Callable[..., Any] = getattr(Concurrent, lazy.operation)
        function: Any = double if lazy.is_async else abs
        with pytest.raises(TypeError, match=rf"{lazy.operation}\(\) needs at least one iterable"):
            operation(function)
        with pytest.raises(TypeError, match=r"iterable 2 of .* must be an? .*iterable, got int"):
            operation(function, [], 3)

    lazy.run(main)


def test_an_async_iterable_on_threads_raises_at_the_call() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"iterable 1 of abs\.stream\(\) is async"):
        Concurrent.stream(abs, items())  # type: ignore[arg-type,call-overload,unused-ignore]


# catch


def test_caught_exceptions_come_in_the_place_of_results(lazy: LazyWay) -> None:
    async def call(item: int) -> int:
        if item % 3 == 0:
            raise ValueError(item)
        return item

    async def main() -> None:
        taken = await rest(lazy(call, range(9), limit=2, catch=(KeyError, ValueError)))
        results = [lazy.result(each) for each in taken]
        assert sorted(result for result in results if type(result) is int) == [1, 2, 4, 5, 7, 8]
        failures = [result for result in results if type(result) is ValueError]
        assert sorted(failure.args[0] for failure in failures) == [0, 3, 6]
        assert all(getattr(failure, "__notes__", []) == [] for failure in failures)
        if lazy.is_ordered:
            assert [type(result) is ValueError for result in results] == [True, False, False] * 3
        else:
            assert all(item == (result.args[0] if type(result) is ValueError else result) for item, result in taken)

    lazy.run(main)


def test_what_is_not_to_be_caught_ends_the_stream(lazy: LazyWay) -> None:
    async def call(item: int) -> int:
        if item == 1:
            raise ValueError(item)
        if item == 2:
            raise LookupError(item)
        return item

    async def main() -> None:
        stream = lazy(call, count(), limit=1, buffersize=1, catch=ValueError)
        assert lazy.result(await take(stream)) == 0
        assert type(lazy.result(await take(stream))) is ValueError
        with pytest.raises(LookupError):
            await take(stream)

    lazy.run(main)


# timeout


def test_after_the_timeout_come_the_results_that_are_there_then_timeout_error_again_and_again(
    lazy: LazyWay, clock: SkippingClock
) -> None:
    read, gate = lazy.gate(), lazy.gate()
    ended: list[int] = []

    async def call(item: int) -> int:
        await (read if item < 3 else gate).wait()
        ended.append(item)
        return item

    async def main() -> None:
        stream = lazy(call, [0, 1, 2, 3], limit=4, timeout=1000)

        async def consume() -> Any:
            return lazy.result(await take(stream))

        async def fill() -> None:
            await lazy.until(lambda: run_of(stream) is not None and run_of(stream).read == 4)
            read.set()

        taken, _ = await lazy.apart(consume, fill)
        await lazy.until(lambda: len(ended) == 3 and ended_in(stream) == 3)
        clock.skip(1000)
        if lazy.is_async:
            await lazy.until(lambda: has_stopped(stream))
        results = {taken, lazy.result(await take(stream)), lazy.result(await take(stream))}
        assert results == {0, 1, 2}
        errors = []
        for _ in range(3):
            with pytest.raises(TimeoutError) as caught:
                await take(stream)
            errors.append(caught.value)
        assert errors[0] is errors[1] is errors[2]
        assert str(errors[0]) == f"call.{lazy.operation} timed out after 1000 s, {unfinished(lazy)}"
        assert sorted(ended) == [0, 1, 2]
        gate.set()

    lazy.run(main)


def unfinished(lazy: LazyWay) -> str:
    """With an async source nobody knows how many there would have been."""
    if lazy.has_async_source:
        return "1 of the 4 calls begun unfinished"
    return "1 of 4 calls unfinished"


def test_the_timeout_counts_from_the_call_not_from_the_first_next(lazy: LazyWay, clock: SkippingClock) -> None:
    started: list[int] = []

    async def call(item: int) -> int:
        started.append(item)
        return item

    async def main() -> None:
        stream = lazy(call, count(), timeout=1000)
        clock.skip(1001)
        for _ in range(2):
            with pytest.raises(TimeoutError, match="timed out after 1000 s"):
                await take(stream)
        assert started == []

    lazy.run(main)


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if name.startswith("a_")])
@pytest.mark.parametrize("seed", range(20))
def test_a_time_slice_may_end_at_any_moment(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy: LazyWay = LAZY_WAYS[name]()
    random = Random(seed)
    often = random.choice([0.1, 0.3, 0.6])
    for pace in (_pace.EagerPace, _pace.QueuedPace):
        monkeypatch.setattr(pace, "spent", lambda pace: random.random() < often)

    async def call(item: int) -> int:
        if random.random() < 0.3:
            await asyncio.sleep(0)
        return item

    async def main() -> None:
        for limit, buffersize in ((1, 1), (1, 2), (2, 3), (9, 9)):
            stream = lazy(call, range(30), limit=limit, buffersize=buffersize)
            async with asyncio.timeout(PATIENCE):
                assert sorted(map(lazy.result, await rest(stream))) == list(range(30))

    lazy.run(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_async_inputs_may_fail_while_their_reader_is_made(operation: str) -> None:
    """As those do that never suspend, where the loop has an eager task factory."""

    class Failing:
        def __aiter__(self) -> "Failing":
            return self

        async def __anext__(self) -> int:
            raise ValueError

    async def call(item: int) -> int:
        return item

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ValueError):
                await anext(getattr(Concurrent, operation)(call, Failing()))

    in_loop(main, eager_task_factory)


def test_the_timeout_wakes_a_consumer_that_waits(lazy: LazyWay, clock: SkippingClock) -> None:
    gate = lazy.gate()
    started: list[int] = []

    async def call(item: int) -> int:
        started.append(item)
        await gate.wait()
        return item

    async def main() -> None:
        stream = lazy(call, [1, 2, 3], limit=1, buffersize=3, timeout=1000)

        async def consume() -> str:
            with pytest.raises(TimeoutError, match="3 of the 3 calls" if lazy.has_async_source else "3 of 3 calls"):
                await take(stream)
            return "timed out"

        async def pass_time() -> None:
            await lazy.until(lambda: run_of(stream) is not None and run_of(stream).read == 3)
            await lazy.until(lambda: started == [1])
            clock.skip(1000)

        assert await lazy.apart(consume, pass_time) == ["timed out", None]
        gate.set()
        assert started == [1]

    lazy.run(main)


def test_on_threads_the_timeout_does_not_wait_for_the_hung_call(clock: SkippingClock) -> None:
    gate, hung = threading.Event(), threading.Event()
    started: list[int] = []

    def call(item: int) -> int:
        started.append(item)
        hung.set()
        assert gate.wait(20)
        return item

    stream = Concurrent.stream(call, count(), limit=1, timeout=1000)

    def pass_time() -> None:
        assert hung.wait(20)
        clock.skip(1000)

    consumer = threading.Thread(target=pass_time)
    consumer.start()
    with pytest.raises(TimeoutError):  # although nobody has opened the gate
        next(stream)
    consumer.join()
    gate.set()
    until(lambda: not any(thread.name.startswith("concurrency-extra") for thread in threading.enumerate()))
    assert started == [0]


def test_a_call_s_own_timeout_error_is_not_the_stream_s(lazy: LazyWay) -> None:
    async def call(item: int) -> int:
        raise TimeoutError("the call's own")

    async def main() -> None:
        with pytest.raises(TimeoutError, match="the call's own") as caught:
            await take(lazy(call, [1], timeout=1000))
        assert caught.value.__notes__ == [f"concurrency: call 0 of call.{lazy.operation} failed, with 1"]

    lazy.run(main)


def test_a_stream_that_is_complete_does_not_time_out(lazy: LazyWay, clock: SkippingClock) -> None:
    """However late its consumer asks whether there is more."""

    async def main() -> None:
        stream = lazy(double, [1, 2], limit=1, buffersize=1, timeout=1000)
        assert {lazy.result(await take(stream)), lazy.result(await take(stream))} == {2, 4}
        if lazy.has_async_source:
            await lazy.until(lambda: run_of(stream).exhausted)
        clock.skip(1001)
        if lazy.is_async:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await take(stream) is END

    lazy.run(main)
