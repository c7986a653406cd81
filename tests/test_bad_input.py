"""What is refused before anything starts, in which words. Every refusal holds for empty inputs too."""

import asyncio
import operator
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache, partial
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import AsyncItems, in_loop


def plain(*items: object) -> object:
    return items


async def a_coroutine(*items: object) -> object:
    return items


Refuse = Callable[..., BaseException]


class Operation:
    """`map` or `a_map`, as it is called; with a function of its colour."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fn: Callable[..., Any] = plain if name == "map" else a_coroutine
        self.called = f"{self.fn.__name__}.{name}"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        result = getattr(Concurrent, self.name)(*arguments, **options)
        return result if self.name == "map" else in_loop(lambda: result)

    def refused(self, *arguments: Any, **options: Any) -> str:
        """What it says when it refuses; `ValueError` or `TypeError` in front."""
        with pytest.raises((TypeError, ValueError)) as caught:
            self(*arguments, **options)
        kind = TypeError if isinstance(caught.value, TypeError) else ValueError
        return f"{kind.__name__}: {caught.value}"


@pytest.fixture(params=["map", "a_map"])
def operation(request: pytest.FixtureRequest) -> Operation:
    return Operation(request.param)


inputs = pytest.mark.parametrize("items", [[], [1, 2]], ids=["empty", "not empty"])


class NeverRead:
    """An iterable that must not be asked for anything."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("read")

    def __len__(self) -> int:
        raise AssertionError("measured")

    def __bool__(self) -> bool:
        raise AssertionError("truth-tested")


class Untouchable:
    """A value that can be shown, and nothing else."""

    def __repr__(self) -> str:
        return "<untouchable>"

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __lt__ = __gt__ = __le__ = __ge__ = __eq__
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise AssertionError("truth-tested")

    def __len__(self) -> int:
        raise AssertionError("measured")


class Unshowable:
    def __repr__(self) -> str:
        raise AssertionError("shown")


class Indexable:
    def __init__(self, index: int) -> None:
        self.index = index

    def __index__(self) -> int:
        return self.index


COUNTS: list[tuple[Any, str]] = [
    (0, "ValueError: {option} must be at least 1, got 0"),
    (-1, "ValueError: {option} must be at least 1, got -1"),
    (Indexable(0), "ValueError: {option} must be at least 1, got 0"),
    (True, "TypeError: {option} must be an integer or None, got True"),
    (False, "TypeError: {option} must be an integer or None, got False"),
    (1.0, "TypeError: {option} must be an integer or None, got 1.0"),
    ("2", "TypeError: {option} must be an integer or None, got '2'"),
    (Untouchable(), "TypeError: {option} must be an integer or None, got <untouchable>"),
]


@inputs
@pytest.mark.parametrize(("value", "message"), COUNTS)
def test_limit(operation: Operation, items: list[int], value: object, message: str) -> None:
    assert operation.refused(operation.fn, items, limit=value) == message.format(option="limit")


def test_limit_may_be_huge(operation: Operation) -> None:
    for limit in (sys.maxsize, 10**30):
        assert operation(operation.fn, [1], limit=limit) == [(1,)]


@inputs
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "ValueError: timeout must be finite and not negative, got -1"),
        (-0.001, "ValueError: timeout must be finite and not negative, got -0.001"),
        (float("inf"), "ValueError: timeout must be finite and not negative, got inf"),
        (float("nan"), "ValueError: timeout must be finite and not negative, got nan"),
        (Decimal(-1), "ValueError: timeout must be finite and not negative, got Decimal('-1')"),
        (True, "TypeError: timeout must be a number of seconds or None, got True"),
        ("5", "TypeError: timeout must be a number of seconds or None, got '5'"),
        (5j, "TypeError: timeout must be a number of seconds or None, got 5j"),
        (Untouchable(), "TypeError: timeout must be a number of seconds or None, got <untouchable>"),
    ],
)
def test_timeout(operation: Operation, items: list[int], value: object, message: str) -> None:
    assert operation.refused(operation.fn, items, timeout=value) == message


def test_timeout_beyond_any_float(operation: Operation) -> None:
    assert operation.refused(operation.fn, [], timeout=10**400).startswith(
        "ValueError: timeout must be finite and not negative"
    )


def test_timeout_that_is_no_number_at_all(operation: Operation) -> None:
    assert operation.refused(operation.fn, [], timeout=Decimal("sNaN")).startswith("ValueError: timeout must be finite")


class Seconds:
    def __float__(self) -> float:
        return 60.0


def test_timeout_may_be_whatever_is_a_number(operation: Operation) -> None:
    for timeout in (Decimal(60), Seconds(), 60):
        assert operation(operation.fn, [1], timeout=timeout) == [(1,)]


@inputs
@pytest.mark.parametrize(
    "value",
    [
        ValueError(),
        [ValueError],
        (ValueError, KeyboardInterrupt),
        (ValueError, "KeyError"),
        ((ValueError,), KeyError),
        BaseException,
        KeyboardInterrupt,
        SystemExit,
        asyncio.CancelledError,
        BaseExceptionGroup,
        int,
        None,
        True,
        "ValueError",
        Untouchable(),
        list[int],
    ],
    ids=repr,
)
def test_catch(operation: Operation, items: list[int], value: object) -> None:
    message = f"TypeError: catch must be a subclass of Exception or a tuple of such, got {value!r}"
    assert operation.refused(operation.fn, items, catch=value) == message


@inputs
@pytest.mark.parametrize("value", [None, 0, 1, "yes", Untouchable()], ids=repr)
def test_strict(operation: Operation, items: list[int], value: object) -> None:
    assert operation.refused(operation.fn, items, strict=value) == f"TypeError: strict must be True or False, got {value!r}"


@inputs
def test_options_that_are_not_known(operation: Operation, items: list[int]) -> None:
    for option in ("limits", "buffersize", "max_workers", "return_exceptions", "fn", "iterables"):
        message = operation.refused(operation.fn, items, **{option: 3})
        assert message.startswith(
            f"TypeError: {operation.called}() got an unexpected option {option!r}; its options are limit, "
        )
        for known in ("limit", "timeout", "catch", "strict"):
            assert known in message


@pytest.mark.parametrize("value", [None, 5, "function", [], Untouchable()], ids=repr)
@inputs
def test_what_is_not_callable(operation: Operation, items: list[int], value: object) -> None:
    assert operation.refused(value, items) == f"TypeError: the function must be callable, got {value!r}"


def test_no_iterable_at_all(operation: Operation) -> None:
    assert operation.refused(operation.fn) == f"TypeError: {operation.called}() needs at least one iterable of inputs"


def test_nothing_at_all(operation: Operation) -> None:
    assert operation.refused().startswith("TypeError: ")


@pytest.mark.parametrize("value", [None, 5, len, Unshowable(), object()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_what_is_not_iterable(operation: Operation, value: object, place: int) -> None:
    iterables: list[Any] = [[], [], []]
    iterables[place - 1] = value
    wanted = "an iterable" if operation.name == "map" else "a sync or async iterable"
    message = f"TypeError: iterable {place} of {operation.called}() must be {wanted}, got {type(value).__name__}"
    assert operation.refused(operation.fn, *iterables) == message


class NotIterable:
    __iter__ = None

    def __getitem__(self, index: int) -> int:
        return index


def test_what_says_that_it_is_not_iterable(operation: Operation) -> None:
    assert operation.refused(operation.fn, NotIterable()).endswith("iterable, got NotIterable")


def test_an_async_iterable_on_threads() -> None:
    message = "TypeError: iterable 2 of plain.map() is async: only the operations on asyncio, as a_map, take async iterables"
    assert Operation("map").refused(plain, [], AsyncItems([])) == message


def coroutine_functions() -> list[tuple[str, Any]]:
    class Client:
        async def get(self, url: str) -> str:
            return url

        async def __call__(self, url: str) -> str:
            return url

        @classmethod
        async def shared(cls, url: str) -> str:
            return url

    return [
        ("a_coroutine", a_coroutine),
        ("a_coroutine", partial(a_coroutine, 1)),
        ("a_coroutine", partial(partial(a_coroutine))),
        ("a_coroutine", cache(a_coroutine)),
        ("get", Client().get),
        ("get", partial(Client().get)),
        ("shared", Client.shared),
        ("Client", Client()),
        ("Client", partial(Client())),
        ("sleep", asyncio.sleep),
    ]


@inputs
def test_a_coroutine_function_on_threads(items: list[int]) -> None:
    for name, function in coroutine_functions():
        message = f"TypeError: {name} is a coroutine function: await Concurrent.a_map({name}, …)"
        assert Operation("map").refused(function, items) == message


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("catch", [(), TypeError, Exception])
@pytest.mark.parametrize("limit", [1, 3])
def test_a_coroutine_function_that_only_its_result_shows(kind: Callable[..., Any], catch: Any, limit: int) -> None:
    """Its coroutines are closed: none of them is "never awaited"."""
    function: Any = lambda item: a_coroutine(item)  # noqa: E731
    message = "TypeError: <lambda> is a coroutine function: await Concurrent.a_map(<lambda>, …)"
    assert Operation("map").refused(function, kind(range(50)), catch=catch, limit=limit) == message


@pytest.mark.parametrize("catch", [(), TypeError, Exception])
@pytest.mark.parametrize("function", [plain, operator.neg, lambda item: item, partial(plain), str])
def test_a_plain_function_on_asyncio(catch: Any, function: Any) -> None:
    name = getattr(function, "__name__", "plain")
    message = Operation("a_map").refused(function, [1, 2], catch=catch)
    assert message == (
        f"TypeError: {name} is a plain function: Concurrent.map({name}, …); "
        f"from async code, give functools.partial(asyncio.to_thread, {name}) to a_map"
    )


def generator_function(*items: object) -> Iterator[object]:
    yield items


async def async_generator_function(*items: object) -> AsyncIterator[object]:
    yield items


class Generating:
    def __call__(self, item: object) -> Iterator[object]:
        yield item


@inputs
@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        (generator_function, "generator_function", "a generator function"),
        (partial(generator_function, 1), "generator_function", "a generator function"),
        (Generating(), "Generating", "a generator function"),
        (async_generator_function, "async_generator_function", "an async generator function"),
        (partial(async_generator_function, 1), "async_generator_function", "an async generator function"),
    ],
)
def test_generator_functions(operation: Operation, items: list[int], function: Any, name: str, kind: str) -> None:
    message = f"TypeError: {name} is {kind}, and a call of it runs nothing yet: return a list instead of yielding"
    assert operation.refused(function, items) == message


def test_nothing_is_read_and_nothing_is_called_when_something_is_refused(operation: Operation) -> None:
    called: list[object] = []

    def function(item: object) -> Any:
        called.append(item)
        return asyncio.sleep(0)

    for options in ({"limit": 0}, {"timeout": -1}, {"catch": 5}, {"strict": 5}, {"unknown": 5}):
        operation.refused(function, NeverRead(), **options)
    operation.refused(function, NeverRead(), 5)
    assert called == []


def test_a_map_on_asyncio_refuses_without_starting_a_task() -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        with pytest.raises(ValueError):
            await Concurrent.a_map(a_coroutine, [1], limit=0)
        assert asyncio.all_tasks() == before

    in_loop(main)


@pytest.mark.parametrize("option", ["limit", "timeout", "catch", "strict"])
def test_a_value_whose_repr_raises_is_refused_all_the_same(operation: Operation, option: str) -> None:
    message = operation.refused(operation.fn, [], **{option: Unshowable()})
    assert message.startswith(f"TypeError: {option} must be ")
    assert "Unshowable" in message


def test_a_function_whose_repr_raises_is_refused_all_the_same(operation: Operation) -> None:
    message = operation.refused(Unshowable(), [])
    assert message.startswith("TypeError: the function must be callable, got ")
    assert "Unshowable" in message


@pytest.mark.parametrize("option", ["limit", "timeout", "catch", "strict"])
def test_a_value_whose_repr_is_huge_is_named_in_short(operation: Operation, option: str) -> None:
    assert len(operation.refused(operation.fn, [], **{option: "x" * 1_000_000})) < 1000


class NoTruth:
    """An iterable whose truth, length and equality are nobody's business."""

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])

    def __bool__(self) -> bool:
        raise AssertionError("truth-tested")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __hash__ = None  # type: ignore[assignment]


class NoTruthFunction(NoTruth):
    def __call__(self, item: int) -> Any:
        return -item

    def __len__(self) -> int:
        raise AssertionError("measured")


class NoTruthCoroutineFunction(NoTruth):
    async def __call__(self, item: int) -> Any:
        return -item


def test_functions_and_iterables_are_never_compared_hashed_or_truth_tested() -> None:
    assert Concurrent.map(NoTruthFunction(), NoTruth()) == [-1, -2]
    assert in_loop(lambda: Concurrent.a_map(NoTruthCoroutineFunction(), NoTruth())) == [-1, -2]


def test_an_executor_is_not_an_option_of_a_map_on_asyncio() -> None:
    with ThreadPoolExecutor(1) as executor:
        message = Operation("a_map").refused(a_coroutine, [], executor=executor)
    assert message.startswith("TypeError: a_coroutine.a_map() got an unexpected option 'executor'")
