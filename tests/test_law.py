"""The law: `Concurrent.map(f, xs, ys) == list(map(f, xs, ys))`, whatever ends first."""

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import WAYS, AsyncItems, Way, in_loop, plain

KINDS: dict[str, Callable[[], Any]] = {
    "list": lambda: [3, 1, 2],
    "tuple": lambda: (3, 1, 2),
    "range": lambda: range(5),
    "backwards": lambda: range(10, 0, -3),
    "str": lambda: "letters",
    "bytes": lambda: b"bytes",
    "dict": lambda: {"a": 1, "b": 2},
    "keys and values": lambda: {"a": 1, "b": 2}.items(),
    "set": lambda: {5, 6, 7},
    "frozenset": lambda: frozenset("abc"),
    "generator": lambda: (number for number in range(7)),
    "iterator": lambda: iter([1, 2, 3]),
    "enumerate": lambda: enumerate("abc"),
    "zip": lambda: zip("abc", range(5), strict=False),
    "map": lambda: map(str, range(4)),
    "slice": lambda: itertools.islice(itertools.count(), 6),
    "nothing": list,
    "an exhausted iterator": lambda: iter(()),
    "one item": lambda: [7],
    "None among them": lambda: [None, 0, None, False],
    "exceptions": lambda: [int, ValueError],
}


def shown(*items: object) -> str:
    return repr(items)


async def a_shown(*items: object) -> str:
    return repr(items)


def both(*iterables: Callable[[], Any], **options: Any) -> Iterator[list[str]]:
    """What `map` and `a_map` return, both with iterables of their own."""
    yield Concurrent.map(shown, *(each() for each in iterables), **options)
    yield in_loop(lambda: Concurrent.a_map(a_shown, *(each() for each in iterables), **options))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("limit", [None, 1, 3])
def test_it_equals_the_built_in_map_on_every_kind_of_iterable(kind: str, limit: int | None) -> None:
    expected = list(map(shown, KINDS[kind]()))
    for results in both(KINDS[kind], limit=limit):
        assert type(results) is list
        assert results == expected


@pytest.mark.parametrize("first", ["list", "str", "generator", "nothing", "one item"])
@pytest.mark.parametrize("second", ["tuple", "dict", "iterator", "nothing", "one item"])
def test_it_equals_the_built_in_map_on_several_iterables(first: str, second: str) -> None:
    expected = list(map(shown, KINDS[first](), KINDS[second](), itertools.count()))
    for results in both(KINDS[first], KINDS[second], itertools.count):
        assert results == expected


def test_any_number_of_iterables_is_zipped(way: Way) -> None:
    for count in range(1, 9):
        assert way(a_shown, *([1, 2, 3] for _ in range(count))) == [repr((item,) * count) for item in (1, 2, 3)]


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_it_equals_the_built_in_map_whatever_the_limit(way: Way, limit: int, count: int) -> None:
    async def square(item: int) -> int:
        return item * item

    assert way(square, list(range(count)), limit=limit) == [item * item for item in range(count)]


@pytest.mark.parametrize("limit", [2, 3, 7])
def test_results_are_in_order_though_calls_end_in_reverse(way: Way, limit: int) -> None:
    """Of each `limit` calls, every one waits for the next."""
    count = 3 * limit
    ended: list[int] = []
    done = [way.gate() for _ in range(count + 1)]
    done[count].set()

    async def call(item: int) -> str:
        if item % limit != limit - 1:
            await done[item + 1].wait()
        ended.append(item)
        done[item].set()
        return f"result {item}"

    assert way(call, list(range(count)), limit=limit) == [f"result {item}" for item in range(count)]
    assert ended != sorted(ended)
    assert ended[:limit] == list(reversed(range(limit)))


def test_each_result_stands_where_its_input_stood_among_a_thousand(way: Way) -> None:
    async def call(item: int) -> int:
        if way.operation == "a_map":
            for _ in range(item * 7919 % 5):
                await asyncio.sleep(0)
        return -item

    assert way(call, list(range(1000)), limit=20) == [-item for item in range(1000)]


def test_equal_and_identical_inputs_are_inputs_of_their_own(way: Way) -> None:
    called: list[object] = []

    async def call(item: object) -> object:
        called.append(item)
        return item

    same = object()
    results = way(call, [same] * 100, limit=3)
    assert len(called) == 100
    assert all(result is same for result in results)


def test_every_input_is_used_once_and_no_result_is_looked_at(way: Way) -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

        def __bool__(self) -> bool:
            raise AssertionError("truth-tested")

        def __repr__(self) -> str:
            raise AssertionError("shown")

    odd = [Odd() for _ in range(50)]
    used: list[Odd] = []

    async def call(item: Odd) -> Odd:
        used.append(item)
        return item

    results = way(call, odd, limit=4)
    assert [id(result) for result in results] == [id(item) for item in odd]
    assert sorted(map(id, used)) == sorted(map(id, odd))


def test_iterables_end_with_the_shortest(way: Way) -> None:
    async def pair(number: int, letter: str) -> str:
        return f"{number}{letter}"

    assert way(pair, [1, 2, 3], ["a", "b"]) == ["1a", "2b"]
    assert way(pair, [1], ["a", "b"]) == ["1a"]
    assert way(pair, [], ["a", "b"]) == []
    assert way(pair, [1, 2], []) == []


@pytest.mark.parametrize("lengths", list(itertools.product([0, 1, 3], repeat=3)))
def test_iterables_are_advanced_no_further_than_zip_does(way: Way, lengths: tuple[int, int, int]) -> None:
    """Also the one item that `zip` takes from the first iterables before it sees that another has ended."""
    expected = [iter(range(length)) for length in lengths]
    list(zip(*expected, strict=False))
    sources = [iter(range(length)) for length in lengths]
    way(a_shown, *sources)
    assert [list(source) for source in sources] == [list(source) for source in expected]


@pytest.mark.parametrize("lengths", list(itertools.product([0, 1, 2], repeat=3)))
def test_strict_raises_what_zip_raises(way: Way, lengths: tuple[int, ...]) -> None:
    iterables = [list(range(length)) for length in lengths]
    if len(set(lengths)) == 1:
        assert way(a_shown, *iterables, strict=True) == list(map(shown, *iterables))
        return
    with pytest.raises(ValueError) as expected:
        list(zip(*iterables, strict=True))
    with pytest.raises(ValueError) as caught:
        way(a_shown, *iterables, strict=True)
    assert str(caught.value) == str(expected.value)
    assert caught.value.__notes__ == [f"concurrency: reading input {min(lengths)} of a_shown.{way.operation} failed"]


def test_strict_says_nothing_about_one_iterable(way: Way) -> None:
    assert way(a_shown, [1, 2], strict=True) == ["(1,)", "(2,)"]


@pytest.mark.parametrize("strict", [False, True])
def test_sync_and_async_iterables_may_be_mixed(strict: bool) -> None:
    async def generator() -> AsyncIterator[str]:
        for letter in "abc":
            await asyncio.sleep(0)
            yield letter

    async def main() -> None:
        sources: tuple[Any, ...] = ([1, 2, 3], generator(), range(3), AsyncItems("xyz"))
        assert await Concurrent.a_map(a_shown, *sources, strict=strict) == [
            "(1, 'a', 0, 'x')",
            "(2, 'b', 1, 'y')",
            "(3, 'c', 2, 'z')",
        ]

    in_loop(main)


def test_an_async_iterable_may_end_first_or_last() -> None:
    async def main() -> None:
        assert await Concurrent.a_map(a_shown, AsyncItems("ab"), itertools.count()) == ["('a', 0)", "('b', 1)"]
        assert await Concurrent.a_map(a_shown, "ab", AsyncItems(itertools.count())) == ["('a', 0)", "('b', 1)"]
        assert await Concurrent.a_map(a_shown, AsyncItems(""), "ab") == []

    in_loop(main)


class BothKinds:
    """What is iterable in both colours, as some clients' results are."""

    def __iter__(self) -> Iterator[str]:
        return iter(["sync"])

    def __aiter__(self) -> AsyncIterator[str]:
        return AsyncItems(["async"])


def test_what_is_iterable_in_both_colours_is_iterated_in_that_of_the_map() -> None:
    assert Concurrent.map(str, BothKinds()) == ["sync"]
    assert in_loop(lambda: Concurrent.a_map(a_shown, BothKinds())) == ["('async',)"]


def callables() -> Iterable[Callable[..., Any]]:
    """Things that take a str and return it in upper case."""

    class Upper:
        def __call__(self, text: str) -> str:
            return text.upper()

        def method(self, text: str) -> str:
            return text.upper()

        @classmethod
        def class_method(cls, text: str) -> str:
            return text.upper()

        @staticmethod
        def static_method(text: str) -> str:
            return text.upper()

    def keyword_only(text: str, *, upper: bool = False) -> str:
        return text.upper() if upper else text

    yield lambda text: text.upper()
    yield str.upper
    yield Upper()
    yield from (Upper().method, Upper.class_method, Upper.static_method, Upper().static_method)
    yield partial(keyword_only, upper=True)
    yield partial(partial(keyword_only, upper=True))
    yield cache(str.upper)


def test_any_callable_is_a_function() -> None:
    for function in callables():
        assert Concurrent.map(function, ["a", "b"]) == ["A", "B"]
        assert Concurrent.map(function, iter(["a", "b"])) == ["A", "B"]
    assert Concurrent.map(str, [1, 2]) == ["1", "2"]
    assert Concurrent.map(dict, [[(1, 2)]]) == [{1: 2}]
    assert Concurrent.map(os.path.basename, ["a/b"]) == ["b"]


class Client:
    async def get(self, text: str) -> str:
        return text.upper()

    async def __call__(self, text: str) -> str:
        return text.upper()

    def request(self, text: str) -> Any:
        """Returns an awaitable, and is no coroutine function, as the methods of many clients are."""
        return self.get(text)

    def later(self, text: str) -> "asyncio.Future[str]":
        future = asyncio.get_running_loop().create_future()
        future.set_result(text.upper())
        return future

    def awaitable(self, text: str) -> "Awaitable":
        return Awaitable(text)

    @classmethod
    async def class_method(cls, text: str) -> str:
        return text.upper()


class Awaitable:
    def __init__(self, text: str) -> None:
        self.text = text

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self.text.upper()


def test_any_callable_that_returns_awaitables_is_a_function_for_asyncio() -> None:
    client = Client()
    functions: list[Callable[..., Any]] = [
        client.get,
        client,
        client.request,
        client.later,
        client.awaitable,
        Client.class_method,
        partial(Client.get, client),
        partial(client),
        lambda text: client.get(text),
        lambda text: asyncio.ensure_future(client.get(text)),
        partial(asyncio.to_thread, str.upper),  # type: ignore[call-arg]  # mypy takes it for a call
    ]

    async def main() -> None:
        for function in functions:
            assert await Concurrent.a_map(function, ["a", "b"]) == ["A", "B"]

    in_loop(main)


def test_results_may_be_anything(way: Way) -> None:
    results: list[Any] = [None, ValueError(), [], asyncio.CancelledError, NotImplemented, ..., StopIteration()]

    async def call(index: int) -> Any:
        return results[index]

    assert way(call, list(range(len(results)))) == results


def test_a_generator_may_be_a_result(way: Way) -> None:
    async def call(item: int) -> Iterator[int]:
        return iter(range(item))

    assert [list(result) for result in way(call, [1, 2])] == [[0], [0, 1]]


def test_threads_work_for_every_caller_at_once() -> None:
    """Maps from several threads overlap, and each gets its own results."""
    together = threading.Barrier(6)

    def call(item: int) -> int:
        together.wait(20)
        return -item

    results: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda start=start: results.update({start: Concurrent.map(call, [start, start + 1], limit=2)}))
        for start in (10, 20, 30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {start: [-start, -start - 1] for start in (10, 20, 30)}


def test_maps_in_one_loop_overlap() -> None:
    async def main() -> None:
        together = asyncio.Barrier(6)

        async def call(item: int) -> int:
            async with asyncio.timeout(20):
                await together.wait()
            return -item

        maps = [Concurrent.a_map(call, [start, start + 1]) for start in (10, 20, 30)]
        assert await asyncio.gather(*maps) == [[-10, -11], [-20, -21], [-30, -31]]

    in_loop(main)


def test_every_way_is_tried_with_real_functions_of_its_own_colour() -> None:
    """The tests of this suite would not notice if they all ran on the same driver."""
    here = threading.current_thread()
    seen: dict[str, bool] = {}
    for name, make in WAYS.items():

        async def call(item: int, name: str = name) -> None:
            seen[name] = threading.current_thread() is here

        make()(call, [1])
    assert seen == {name: name.startswith("asyncio") for name in WAYS}
    assert plain(a_shown)(1) == "(1,)"
