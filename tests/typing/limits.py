"""What a type checker cannot do here, and why. A `type: ignore` stands for the checker that its comment names.

When mypy learns one of these, its ignore is unused, and fails.
"""

from asyncio import Future
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, assert_type

from concurrency import Concurrent, concurrent

T = TypeVar("T")

if TYPE_CHECKING:  # only there may a body be missing

    def generic(a: T) -> list[T]: ...
    def of_int(a: int) -> str: ...
    async def a_of_int(a: int) -> str: ...
    def six(a: int, b: int, c: int, d: int, e: int, f: int) -> str: ...  # noqa: PLR0917
    def returns_future(a: int) -> Future[str]: ...

    @concurrent
    def decorated_generic(a: T) -> list[T]: ...

    @concurrent
    def returns_any(a: int) -> Any: ...

    @concurrent
    @cache
    def cached(a: int) -> str: ...


def generic_functions() -> None:
    # A class cannot hold type variables that only a call binds. `Concurrent.map` keeps them.
    assert_type(Concurrent.map(generic, [1]), list[list[int]])
    assert_type(decorated_generic.map([1]), list[list[int]])  # type: ignore[assert-type, arg-type]  # mypy, pyrefly


def several_types_in_catch() -> None:
    # mypy joins them to their common base. With an annotation, it does not: see `WRONG` in operations.py.
    assert_type(Concurrent.map(of_int, [1], catch=(ValueError, KeyError)), list[str | ValueError | KeyError])  # type: ignore[assert-type]  # mypy


def functions_that_return_any() -> None:
    # All overloads of the decorator fit. mypy and pyrefly then say `Any`, and check nothing: pyright takes the first.
    assert_type(returns_any.map([1]), list[Any])  # type: ignore[assert-type]  # mypy, pyrefly


def overloaded_functions() -> None:
    # A `Callable` has one signature. mypy takes the overload that fits, the others may give up on the result.
    words: list[str] = Concurrent.map(str, [1, 2])
    sums: list[int] = Concurrent.map(sum, [[1, 2]])
    assert_type((words, sums), tuple[list[str], list[int]])


def cached_functions() -> None:
    # To typeshed, a cached function takes any arguments at all.
    cached("wrong")
    assert_type(cached.map(["wrong"]), list[str])
    # What is not declared is not there, though at run time the function's own attributes are.
    cached.cache_clear()  # type: ignore[attr-defined]  # all


def more_than_five_iterables() -> None:
    # They are accepted, of whatever elements: the table of overloads has to end.
    strs = ["1"]
    assert_type(Concurrent.map(six, strs, strs, strs, strs, strs, strs), list[str])


def awaitables_that_are_no_coroutines() -> None:
    # A plain function, to checkers and at run time alike: nothing but its first result could tell.
    assert_type(concurrent(returns_future).map([1]), list[Future[str]])


def executors_for_coroutine_functions(executor: Executor) -> None:
    # There is no type for "any function but a coroutine function". At run time it is a `TypeError`.
    concurrent(executor=executor)(a_of_int)


def strings_of_strings(text: str) -> None:
    # A `str` is an iterable of `str`, and so is a `Sequence[str]`: no checker can tell a forgotten bracket.
    assert_type(Concurrent.map(len, text), list[int])
    sequence: Sequence[str] = text
    assert_type(Concurrent.map(len, sequence), list[int])


class Vector:
    @concurrent
    @staticmethod
    def add(a: "Vector", b: "Vector") -> "Vector": ...  # type: ignore[empty-body]  # mypy

    @classmethod
    @concurrent
    def wrong_order(cls, a: int) -> str:
        return str(a)


def static_methods(vectors: list[Vector]) -> None:
    # A decorator is told no more of a static method than its parameters. Where the first one is of the class itself, it looks
    # like a method, through an instance. Through the class all is well.
    assert_type(Vector.add.map(vectors, vectors), list[Vector])
    vectors[0].add.map(vectors, vectors)  # type: ignore[call-overload]  # all


def wrong_order() -> None:
    # `@concurrent` below `@classmethod`: to a checker the two commute. At run time it is an error up to Python 3.12.
    assert_type(Vector.wrong_order.map([1]), list[str])
