"""What `@concurrent` makes: of which kind, called how, bound to what."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, assert_type

from tenacity import retry, stop_after_attempt

from concurrency import AsyncConcurrentFunction, AsyncStream, Concurrent, ConcurrentFunction, Rate, Stream, concurrent

if TYPE_CHECKING:  # only there may a body be missing

    @concurrent
    def plain(a: int, b: str = "", *, c: bool = False) -> float: ...

    @concurrent
    async def coroutine(a: int, b: str = "", *, c: bool = False) -> float: ...

    @concurrent(limit=8, rate=2.5, timeout=60)
    def with_options(a: int, b: str = "") -> float: ...

    @concurrent(limit=None, rate=Rate(10, per=60), timeout=None)
    async def coroutine_with_options(a: int, b: str = "") -> float: ...

    @concurrent()
    def with_no_options(a: int) -> float: ...

    @concurrent
    def nothing() -> None: ...

    @concurrent
    def never(a: int) -> NoReturn: ...

    @concurrent
    async def a_never(a: int) -> NoReturn: ...

    @concurrent
    async def a_any(a: int) -> Any: ...

    @concurrent
    @retry(stop=stop_after_attempt(3))
    def retried(a: int) -> float: ...

    @concurrent
    @retry(stop=stop_after_attempt(3))
    async def a_retried(a: int) -> float: ...


async def calls() -> None:
    assert_type(plain(1), float)
    assert_type(plain(1, "", c=True), float)
    assert_type(plain(a=1, b=""), float)
    assert_type(await coroutine(1, b="", c=True), float)
    _ = assert_type(coroutine(1), Coroutine[Any, Any, float])
    assert_type(with_options(1, b=""), float)
    assert_type(await coroutine_with_options(1, b=""), float)
    assert_type(with_no_options(1), float)
    assert_type(retried(1), float)
    assert_type(await a_retried(1), float)
    assert_type(await a_any(1), Any)


async def kinds() -> None:
    assert_type(plain.map([1], [""]), list[float])
    assert_type(await coroutine.a_map([1], [""]), list[float])
    assert_type(with_options.map([1], [""]), list[float])
    assert_type(await coroutine_with_options.a_map([1], [""]), list[float])
    assert_type(with_no_options.map([1]), list[float])
    assert_type(retried.map([1]), list[float])
    assert_type(await a_retried.a_map([1]), list[float])
    assert_type(await a_any.a_map([1]), list[Any])
    assert_type(never.map([1]), list[NoReturn])
    assert_type(await a_never.a_map([1]), list[NoReturn])


async def given_functions(function: Callable[[int], float], a_function: Callable[[int], Coroutine[Any, Any, float]]) -> None:
    assert_type(concurrent(function), ConcurrentFunction[[int], float])
    assert_type(concurrent(limit=8)(function), ConcurrentFunction[[int], float])
    assert_type(concurrent(a_function), AsyncConcurrentFunction[[int], float])
    assert_type(concurrent(limit=8)(a_function), AsyncConcurrentFunction[[int], float])
    assert_type(concurrent(partial(with_options, b="")).map([1]), list[float])
    assert_type(await concurrent(partial(coroutine_with_options, b="")).a_map([1]), list[float])
    assert_type(concurrent(executor=ThreadPoolExecutor(), chunksize=8, limit=4)(function), ConcurrentFunction[[int], float])
    assert_type(concurrent(str.upper).map("abc"), list[str])
    assert_type(concurrent(Fetcher).map([1]), list["Fetcher"])


async def annotations() -> None:
    function: ConcurrentFunction[..., float] = plain
    a_function: AsyncConcurrentFunction[..., float] = coroutine
    as_function: Callable[[int], float] = plain
    as_a_function: Callable[[int], Coroutine[Any, Any, float]] = coroutine
    assert_type(function.map([1]), list[float])
    assert_type(await a_function.a_map([1]), list[float])
    assert_type(as_function(1), float)
    assert_type(await as_a_function(1), float)
    assert_type((plain.__name__, coroutine.__qualname__), tuple[str, str])


class Fetcher:
    def __init__(self, depth: int) -> None:
        self.depth = depth

    @concurrent
    def method(self, a: int, b: str = "") -> float:
        assert_type(self.depth, int)
        return a + len(b)

    @concurrent
    async def a_method(self, a: int, b: str = "") -> float:
        return a + len(b)

    @concurrent(limit=8)
    def method_with_options(self, a: int) -> float:
        return a

    @concurrent
    @classmethod
    def class_method(cls, a: int, b: str = "") -> float:
        return cls(a).method(a, b)

    @concurrent(limit=8)
    @classmethod
    async def a_class_method(cls, a: int) -> float:
        return a

    @concurrent
    @staticmethod
    def static_method(a: int, b: str = "") -> float:
        return a + len(b)

    @concurrent(limit=8)
    @staticmethod
    async def a_static_method(a: int) -> float:
        return a

    def maps_methods(self) -> list[float]:
        assert_type(self.static_method.map([1]), list[float])
        return self.method.map([1, 2], ["a", "b"])


class Child(Fetcher):
    def maps_methods_of_its_parent(self) -> list[float]:
        return super().method.map([1])


async def methods(fetcher: Fetcher, child: Child) -> None:
    assert_type(fetcher.method(1), float)
    assert_type(fetcher.method(1, b=""), float)
    assert_type(fetcher.method.map([1]), list[float])
    assert_type(fetcher.method.map([1], [""], catch=ValueError), list[float | ValueError])
    assert_type(fetcher.method.stream([1], [""]), Stream[float])
    assert_type(fetcher.method.as_completed([1], [""]), Stream[tuple[tuple[int, str], float]])
    assert_type(fetcher.method_with_options.map([1]), list[float])
    assert_type(child.method.map([1]), list[float])
    assert_type(Fetcher.method(fetcher, 1), float)
    assert_type(Fetcher.method.map([fetcher, child], [1, 2]), list[float])
    assert_type(await fetcher.a_method(1), float)
    assert_type(await fetcher.a_method.a_map([1]), list[float])
    assert_type(fetcher.a_method.a_stream([1], [""]), AsyncStream[float])
    assert_type(await Fetcher.a_method.a_map([fetcher], [1]), list[float])
    assert_type(Concurrent.map(fetcher.method, [1]), list[float])


async def class_methods(fetcher: Fetcher) -> None:
    assert_type(Fetcher.class_method(1), float)
    assert_type(Fetcher.class_method.map([1]), list[float])
    assert_type(Child.class_method.map([1], [""]), list[float])
    assert_type(fetcher.class_method(1, ""), float)
    assert_type(fetcher.class_method.map([1]), list[float])
    assert_type(await Fetcher.a_class_method(1), float)
    assert_type(await Child.a_class_method.a_map([1]), list[float])
    assert_type(await fetcher.a_class_method.a_map([1]), list[float])


async def static_methods(fetcher: Fetcher) -> None:
    assert_type(Fetcher.static_method(1), float)
    assert_type(Fetcher.static_method.map([1]), list[float])
    assert_type(Child.static_method.map([1], [""]), list[float])
    assert_type(fetcher.static_method(1, ""), float)
    assert_type(fetcher.static_method.map([1]), list[float])
    assert_type(await Fetcher.a_static_method.a_map([1]), list[float])
    assert_type(await fetcher.a_static_method.a_map([1]), list[float])


@dataclass
class Point:
    x: int

    @concurrent
    def plus(self, a: int) -> int:
        return self.x + a


class Color(Enum):
    RED = 1
    BLUE = 2

    @concurrent
    def mixed(self, other: "Color") -> str:
        return f"{self.name}-{other.name}"


class Base(ABC):
    @concurrent
    @abstractmethod
    def required(self, a: int) -> str: ...


def classes_of_all_kinds(base: Base) -> None:
    assert_type(Point(1).plus.map([1]), list[int])
    assert_type(Color.RED.mixed.map(Color), list[str])
    assert_type(Color.mixed.map(Color, Color), list[str])
    assert_type(base.required.map([1]), list[str])
