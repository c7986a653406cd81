"""What the operations return, by every number of iterables and kind of parameter, as functions and as methods."""

# ruff: noqa: PLR0917  as many parameters as there may be iterables

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

from concurrency import AsyncStream, Concurrent, Rate, Stream, Timeline, concurrent, timeline

if TYPE_CHECKING:  # only there may a body be missing

    def f1(a: int) -> str: ...
    def f2(a: int, b: str) -> bytes: ...
    def f3(a: int, b: str, c: float) -> bool: ...
    def f4(a: int, b: str, c: float, d: bytes) -> Decimal: ...
    def f5(a: int, b: str, c: float, d: bytes, e: bool) -> int: ...
    def f6(a: int, b: str, c: float, d: bytes, e: bool, f: Decimal) -> complex: ...
    def f7(a: int, b: str, c: float, d: bytes, e: bool, f: Decimal, g: complex) -> None: ...

    async def a1(a: int) -> str: ...
    async def a2(a: int, b: str) -> bytes: ...
    async def a3(a: int, b: str, c: float) -> bool: ...
    async def a4(a: int, b: str, c: float, d: bytes) -> Decimal: ...
    async def a5(a: int, b: str, c: float, d: bytes, e: bool) -> int: ...
    async def a6(a: int, b: str, c: float, d: bytes, e: bool, f: Decimal) -> complex: ...
    async def a7(a: int, b: str, c: float, d: bytes, e: bool, f: Decimal, g: complex) -> None: ...


async def source() -> AsyncIterator[int]:
    yield 1


ints = [1, 2]
strs: tuple[str, ...] = ("1", "2")
floats: Iterator[float] = iter([1.0])
byte_strings: set[bytes] = set()
bools = {True: None}
decimals: list[Decimal] = []
complexes: list[complex] = []
Wrong = ValueError | KeyError
WRONG: tuple[type[Wrong], ...] = (ValueError, KeyError)


def arities_of_map() -> None:
    assert_type(Concurrent.map(f1, ints), list[str])
    assert_type(Concurrent.map(f2, ints, strs), list[bytes])
    assert_type(Concurrent.map(f3, ints, strs, floats), list[bool])
    assert_type(Concurrent.map(f4, ints, strs, floats, byte_strings), list[Decimal])
    assert_type(Concurrent.map(f5, ints, strs, floats, byte_strings, bools), list[int])
    assert_type(Concurrent.map(f6, ints, strs, floats, byte_strings, bools, decimals), list[complex])
    assert_type(Concurrent.map(f7, ints, strs, floats, byte_strings, bools, decimals, complexes), list[None])


def arities_of_stream() -> None:
    assert_type(Concurrent.stream(f1, count()), Stream[str])
    assert_type(Concurrent.stream(f2, ints, strs), Stream[bytes])
    assert_type(Concurrent.stream(f3, ints, strs, floats), Stream[bool])
    assert_type(Concurrent.stream(f4, ints, strs, floats, byte_strings), Stream[Decimal])
    assert_type(Concurrent.stream(f5, ints, strs, floats, byte_strings, bools), Stream[int])
    assert_type(Concurrent.stream(f6, ints, strs, floats, byte_strings, bools, decimals), Stream[complex])


def arities_of_as_completed() -> None:
    assert_type(Concurrent.as_completed(f1, ints), Stream[tuple[int, str]])
    assert_type(Concurrent.as_completed(f2, ints, strs), Stream[tuple[tuple[int, str], bytes]])
    assert_type(Concurrent.as_completed(f3, ints, strs, floats), Stream[tuple[tuple[int, str, float], bool]])
    assert_type(
        Concurrent.as_completed(f4, ints, strs, floats, byte_strings),
        Stream[tuple[tuple[int, str, float, bytes], Decimal]],
    )
    assert_type(
        Concurrent.as_completed(f5, ints, strs, floats, byte_strings, bools),
        Stream[tuple[tuple[int, str, float, bytes, bool], int]],
    )
    # From six iterables on, one type for the elements of all.
    assert_type(Concurrent.as_completed(variadic, ints, ints, ints, ints, ints, ints), Stream[tuple[tuple[int, ...], float]])


async def arities_of_a_map() -> None:
    assert_type(await Concurrent.a_map(a1, ints), list[str])
    assert_type(await Concurrent.a_map(a1, source()), list[str])
    assert_type(await Concurrent.a_map(a2, source(), strs), list[bytes])
    assert_type(await Concurrent.a_map(a3, ints, strs, floats), list[bool])
    assert_type(await Concurrent.a_map(a4, ints, strs, floats, byte_strings), list[Decimal])
    assert_type(await Concurrent.a_map(a5, ints, strs, floats, byte_strings, bools), list[int])
    assert_type(await Concurrent.a_map(a6, ints, strs, floats, byte_strings, bools, decimals), list[complex])
    assert_type(await Concurrent.a_map(a7, source(), strs, floats, byte_strings, bools, decimals, complexes), list[None])


def arities_of_a_stream() -> None:
    assert_type(Concurrent.a_stream(a1, source()), AsyncStream[str])
    assert_type(Concurrent.a_stream(a2, source(), strs), AsyncStream[bytes])
    assert_type(Concurrent.a_stream(a3, ints, strs, floats), AsyncStream[bool])
    assert_type(Concurrent.a_stream(a4, ints, strs, floats, byte_strings), AsyncStream[Decimal])
    assert_type(Concurrent.a_stream(a5, ints, strs, floats, byte_strings, bools), AsyncStream[int])
    assert_type(Concurrent.a_stream(a6, ints, strs, floats, byte_strings, bools, decimals), AsyncStream[complex])


def arities_of_a_as_completed() -> None:
    assert_type(Concurrent.a_as_completed(a1, source()), AsyncStream[tuple[int, str]])
    assert_type(Concurrent.a_as_completed(a2, source(), strs), AsyncStream[tuple[tuple[int, str], bytes]])
    assert_type(Concurrent.a_as_completed(a3, ints, strs, floats), AsyncStream[tuple[tuple[int, str, float], bool]])
    assert_type(
        Concurrent.a_as_completed(a4, ints, strs, floats, byte_strings),
        AsyncStream[tuple[tuple[int, str, float, bytes], Decimal]],
    )
    assert_type(
        Concurrent.a_as_completed(a5, ints, strs, floats, byte_strings, bools),
        AsyncStream[tuple[tuple[int, str, float, bytes, bool], int]],
    )
    assert_type(
        Concurrent.a_as_completed(a_variadic, ints, ints, ints, ints, ints, source()),
        AsyncStream[tuple[tuple[int, ...], float]],
    )


def arities_of_methods() -> None:
    assert_type(concurrent(f1).map(ints), list[str])
    assert_type(concurrent(f2).map(ints, strs), list[bytes])
    assert_type(concurrent(f3).map(ints, strs, floats), list[bool])
    assert_type(concurrent(f4).map(ints, strs, floats, byte_strings), list[Decimal])
    assert_type(concurrent(f5).map(ints, strs, floats, byte_strings, bools), list[int])
    assert_type(concurrent(f6).map(ints, strs, floats, byte_strings, bools, decimals), list[complex])
    assert_type(concurrent(f1).stream(count()), Stream[str])
    assert_type(concurrent(f5).stream(ints, strs, floats, byte_strings, bools), Stream[int])
    assert_type(concurrent(f1).as_completed(ints), Stream[tuple[int, str]])
    assert_type(concurrent(f2).as_completed(ints, strs), Stream[tuple[tuple[int, str], bytes]])
    assert_type(dict(concurrent(f1).as_completed(ints)), dict[int, str])


async def arities_of_async_methods() -> None:
    assert_type(await concurrent(a1).a_map(source()), list[str])
    assert_type(await concurrent(a2).a_map(ints, strs), list[bytes])
    assert_type(await concurrent(a3).a_map(ints, strs, floats), list[bool])
    assert_type(await concurrent(a4).a_map(ints, strs, floats, byte_strings), list[Decimal])
    assert_type(await concurrent(a5).a_map(ints, strs, floats, byte_strings, bools), list[int])
    assert_type(await concurrent(a6).a_map(ints, strs, floats, byte_strings, bools, decimals), list[complex])
    assert_type(concurrent(a1).a_stream(source()), AsyncStream[str])
    assert_type(concurrent(a5).a_stream(ints, strs, floats, byte_strings, bools), AsyncStream[int])
    assert_type(concurrent(a1).a_as_completed(source()), AsyncStream[tuple[int, str]])
    assert_type(concurrent(a2).a_as_completed(ints, strs), AsyncStream[tuple[tuple[int, str], bytes]])


if TYPE_CHECKING:  # only there may a body be missing

    def default(a: int, b: str = "") -> str: ...
    def keyword_only(a: int, *, b: str = "") -> str: ...
    def variadic(*numbers: int) -> float: ...
    def mixed(a: int, *rest: str, **options: bytes) -> float: ...
    async def a_default(a: int, b: str = "") -> str: ...
    async def a_keyword_only(a: int, *, b: str = "") -> str: ...
    async def a_variadic(*numbers: int) -> float: ...


async def kinds_of_parameters() -> None:
    assert_type(Concurrent.map(default, ints), list[str])
    assert_type(Concurrent.map(default, ints, strs), list[str])
    assert_type(Concurrent.map(keyword_only, ints), list[str])
    assert_type(Concurrent.map(variadic, ints), list[float])
    assert_type(Concurrent.map(variadic, ints, ints, ints), list[float])
    assert_type(Concurrent.map(mixed, ints, strs, strs), list[float])
    assert_type(concurrent(default).map(ints), list[str])
    assert_type(concurrent(default).map(ints, strs), list[str])
    assert_type(concurrent(default).as_completed(ints), Stream[tuple[int, str]])
    assert_type(concurrent(keyword_only).map(ints), list[str])
    assert_type(concurrent(variadic).map(ints), list[float])
    assert_type(concurrent(variadic).map(ints, ints, ints), list[float])
    assert_type(concurrent(mixed).map(ints, strs, strs), list[float])
    assert_type(await concurrent(a_default).a_map(ints), list[str])
    assert_type(await concurrent(a_default).a_map(ints, strs), list[str])
    assert_type(await concurrent(a_keyword_only).a_map(ints), list[str])
    assert_type(await concurrent(a_variadic).a_map(ints, ints, ints), list[float])


async def kinds_of_callables(function: Callable[[int], str]) -> None:
    assert_type(Concurrent.map(function, ints), list[str])
    assert_type(Concurrent.map(int, strs), list[int])
    assert_type(Concurrent.map("-".join, [["a", "b"]]), list[str])
    assert_type(Concurrent.map(lambda number: number / 2, ints), list[float])
    assert_type(Concurrent.map(partial(f2, b=""), ints), list[bytes])
    assert_type(await Concurrent.a_map(partial(a2, b=""), ints), list[bytes])
    assert_type(Concurrent.map(concurrent(f1), ints), list[str])
    assert_type(await Concurrent.a_map(concurrent(a1), ints), list[str])


async def options() -> None:
    assert_type(Concurrent.map(f1, ints, executor=ThreadPoolExecutor(), chunksize=8), list[str])
    assert_type(concurrent(f1).stream(ints, executor=ThreadPoolExecutor(), chunksize=8, buffersize=16), Stream[str])
    assert_type(Concurrent.map(f1, ints, limit=8, rate=Rate(5), timeout=1.5, strict=True), list[str])
    assert_type(concurrent(f1).map(ints, limit=None, rate=None, timeout=None), list[str])
    assert_type(Concurrent.stream(f1, ints, limit=8, rate=2.5, timeout=1, strict=True, buffersize=4), Stream[str])
    assert_type(concurrent(f1).as_completed(ints, buffersize=None), Stream[tuple[int, str]])
    assert_type(await Concurrent.a_map(a1, ints, limit=8, rate=2, timeout=1.5, strict=True), list[str])
    assert_type(concurrent(a1).a_stream(ints, limit=8, timeout=1.5, buffersize=4), AsyncStream[str])


async def catch() -> None:
    assert_type(Concurrent.map(f1, ints, catch=ValueError), list[str | ValueError])
    assert_type(Concurrent.map(f1, ints, catch=(ValueError,)), list[str | ValueError])
    assert_type(Concurrent.map(f1, ints, catch=WRONG), list[str | ValueError | KeyError])
    assert_type(Concurrent.map(f1, ints, catch=Exception), list[str | Exception])
    assert_type(Concurrent.map(f1, ints, catch=()), list[str])
    assert_type(Concurrent.stream(f1, ints, catch=ValueError), Stream[str | ValueError])
    assert_type(Concurrent.as_completed(f2, ints, strs, catch=WRONG), Stream[tuple[tuple[int, str], bytes | Wrong]])
    assert_type(Concurrent.map(f6, ints, strs, floats, byte_strings, bools, decimals, catch=OSError), list[complex | OSError])
    assert_type(concurrent(f1).map(ints, catch=ValueError), list[str | ValueError])
    assert_type(concurrent(f1).as_completed(ints, catch=WRONG), Stream[tuple[int, str | ValueError | KeyError]])
    assert_type(await Concurrent.a_map(a1, ints, catch=ValueError), list[str | ValueError])
    assert_type(await concurrent(a1).a_map(ints, catch=WRONG), list[str | ValueError | KeyError])
    assert_type(concurrent(a1).a_stream(ints, catch=ValueError), AsyncStream[str | ValueError])
    assert_type(concurrent(a1).a_as_completed(ints, catch=ValueError), AsyncStream[tuple[int, str | ValueError]])


async def streams() -> None:
    with Concurrent.stream(f1, ints) as stream:
        assert_type(stream, Stream[str])
        assert_type(next(stream), str)
        assert_type(list(stream), list[str])
    async with Concurrent.a_stream(a1, ints) as a_stream:
        assert_type(a_stream, AsyncStream[str])
        assert_type(await anext(a_stream), str)
        assert_type([text async for text in a_stream], list[str])
    for number, text in Concurrent.as_completed(f1, ints):
        assert_type((number, text), tuple[int, str])


def recorded() -> None:
    with timeline() as seen:
        assert_type(Concurrent.map(f1, ints), list[str])
    assert_type(seen, Timeline)
    assert_type(timeline("calls.html", keep=10), Timeline)
    assert_type(timeline(Path("calls.json")), Timeline)
    seen.save(Path("calls.html"))
