"""Wrong uses: an error for each, in every checker. One that is an error no longer is an unused `type: ignore`, and fails too."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, assert_type

from concurrency import AsyncStream, Concurrent, Rate, Stream, concurrent, timeline

if TYPE_CHECKING:  # only there may a body be missing

    def plain(a: int) -> str: ...
    def two(a: int, b: str) -> bytes: ...
    def default(a: int, b: str = "") -> bytes: ...
    def required_keyword(a: int, *, b: str) -> bytes: ...
    def no_parameter() -> str: ...
    async def coroutine(a: int) -> str: ...
    async def a_two(a: int, b: str) -> bytes: ...
    async def source() -> AsyncIterator[int]: ...

    @concurrent
    def fetch(a: int) -> str: ...
    @concurrent
    def fetch_two(a: int, b: str = "") -> bytes: ...
    @concurrent(limit=8)
    async def a_fetch(a: int) -> str: ...
    @concurrent
    async def a_fetch_two(a: int, b: str) -> bytes: ...


class Fetcher:
    @concurrent
    def method(self, a: int) -> str:
        return str(a)

    @concurrent
    async def a_method(self, a: int) -> str:
        return str(a)

    @concurrent
    @classmethod
    def class_method(cls, a: int) -> str:
        return str(a)

    @concurrent
    @staticmethod
    def static_method(a: int) -> str:
        return str(a)


fetcher = Fetcher()
ints = [1, 2]
strs = ["1", "2"]


async def wrong_kind() -> None:
    fetch.a_map(ints)  # type: ignore[attr-defined]
    fetch.a_stream(ints)  # type: ignore[attr-defined]
    fetch.a_as_completed(ints)  # type: ignore[attr-defined]
    a_fetch.map(ints)  # type: ignore[attr-defined]
    a_fetch.stream(ints)  # type: ignore[attr-defined]
    a_fetch.as_completed(ints)  # type: ignore[attr-defined]
    fetcher.method.a_map(ints)  # type: ignore[attr-defined]
    fetcher.a_method.map(ints)  # type: ignore[attr-defined]
    plain.map(ints)  # type: ignore[attr-defined]
    await Concurrent.a_map(plain, ints)  # type: ignore[arg-type]
    Concurrent.a_stream(plain, ints)  # type: ignore[arg-type]
    Concurrent.a_as_completed(plain, ints)  # type: ignore[arg-type]
    await Concurrent.a_map(fetch, ints)  # type: ignore[arg-type]


async def wrong_elements() -> None:
    Concurrent.map(plain, strs)  # type: ignore[arg-type]
    Concurrent.map(two, ints, ints)  # type: ignore[arg-type]
    Concurrent.map(default, ints, ints)  # type: ignore[arg-type]
    Concurrent.stream(plain, strs)  # type: ignore[arg-type]
    Concurrent.as_completed(plain, strs)  # type: ignore[arg-type]
    await Concurrent.a_map(coroutine, strs)  # type: ignore[arg-type]
    Concurrent.a_stream(a_two, ints, ints)  # type: ignore[arg-type]
    Concurrent.a_as_completed(coroutine, [None])  # type: ignore[misc]
    fetch.map(strs)  # type: ignore[arg-type]
    fetch_two.map(ints, ints)  # type: ignore[arg-type]
    fetch.stream(strs)  # type: ignore[arg-type]
    fetch.as_completed([b""])  # type: ignore[list-item]
    await a_fetch.a_map(strs)  # type: ignore[arg-type]
    a_fetch_two.a_stream(ints, ints)  # type: ignore[arg-type]
    fetcher.method.map(strs)  # type: ignore[arg-type]
    await fetcher.a_method.a_map(strs)  # type: ignore[arg-type]
    Fetcher.method.map(ints, ints)  # type: ignore[arg-type]
    Fetcher.class_method.map(strs)  # type: ignore[arg-type]
    fetcher.class_method.map(strs)  # type: ignore[arg-type]
    Fetcher.static_method.map(strs)  # type: ignore[arg-type]


async def wrong_iterables() -> None:
    Concurrent.map(plain)  # type: ignore[call-overload]
    Concurrent.map(plain, 1)  # type: ignore[call-overload]
    Concurrent.map(plain, ints, strs)  # type: ignore[arg-type]
    Concurrent.map(two, ints)  # type: ignore[arg-type]
    Concurrent.map(required_keyword, ints)  # type: ignore[arg-type]
    Concurrent.map(no_parameter, ints)  # type: ignore[arg-type]
    Concurrent.map(plain, source())  # type: ignore[call-overload]
    Concurrent.stream(plain, source())  # type: ignore[call-overload]
    await Concurrent.a_map(coroutine)  # type: ignore[call-overload]
    await Concurrent.a_map(coroutine, 1)  # type: ignore[call-overload]
    fetch.map()  # type: ignore[call-overload]
    fetch.map(1)  # type: ignore[call-overload]
    fetch.map(ints, ints)  # type: ignore[call-overload]
    fetch.map(source())  # type: ignore[call-overload]
    fetch.map(iterable=ints)  # type: ignore[call-overload]
    a_fetch_two.a_stream(ints)  # type: ignore[call-overload]
    Concurrent.map(fn=plain)  # type: ignore[call-overload]
    Concurrent.map(None, ints)  # type: ignore[call-overload]
    Fetcher.method.map(ints)  # type: ignore[call-overload]


async def wrong_options() -> None:
    Concurrent.map(plain, ints, limit="8")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, limit=1.5)  # type: ignore[call-overload]
    Concurrent.map(plain, ints, limits=8)  # type: ignore[call-overload]
    Concurrent.map(plain, ints, rate="fast")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, timeout="5")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, strict=None)  # type: ignore[call-overload]
    Concurrent.map(plain, ints, buffersize=8)  # type: ignore[call-overload]
    Concurrent.stream(plain, ints, buffersize="8")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, catch="ValueError")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, catch=ValueError())  # type: ignore[call-overload]
    Concurrent.map(plain, ints, catch=KeyboardInterrupt)  # type: ignore[type-var]
    Concurrent.map(plain, ints, catch=(ValueError, int))  # type: ignore[type-var]
    Concurrent.map(plain, ints, catch=[ValueError])  # type: ignore[call-overload]
    Concurrent.map(plain, ints, catch=None)  # type: ignore[call-overload]
    await Concurrent.a_map(coroutine, ints, buffersize=8)  # type: ignore[call-overload]
    await Concurrent.a_map(coroutine, ints, limit="8")  # type: ignore[call-overload]
    Concurrent.map(plain, ints, executor=8)  # type: ignore[call-overload]
    Concurrent.map(plain, ints, chunksize="8")  # type: ignore[call-overload]
    await Concurrent.a_map(coroutine, ints, executor=None)  # type: ignore[call-overload]
    Concurrent.a_stream(coroutine, ints, chunksize=8)  # type: ignore[call-overload]
    await a_fetch.a_map(ints, executor=None)  # type: ignore[call-overload]
    fetch.map(ints, limit="8")  # type: ignore[call-overload]
    fetch.map(ints, limits=8)  # type: ignore[call-overload]
    fetch.map(ints, catch=int)  # type: ignore[type-var]
    await a_fetch.a_map(ints, timeout="5")  # type: ignore[call-overload]
    fetch.stream(ints, chunk=8)  # type: ignore[call-overload]


def wrong_decoration() -> None:
    concurrent(1)  # type: ignore[call-overload]
    concurrent(None)  # type: ignore[call-overload]
    concurrent(limit="8")  # type: ignore[call-overload]
    concurrent(limits=8)  # type: ignore[call-overload]
    concurrent(executor=8)  # type: ignore[call-overload]
    concurrent(catch=ValueError)  # type: ignore[call-overload]
    concurrent(strict=True)  # type: ignore[call-overload]
    concurrent(buffersize=8)  # type: ignore[call-overload]
    concurrent(plain, limit=8)  # type: ignore[call-overload]
    concurrent(limit=8)(1)  # type: ignore[call-overload]
    Rate("fast")  # type: ignore[arg-type]
    timeline(3)  # type: ignore[arg-type]
    timeline("calls.html", 100)  # type: ignore[call-arg]
    timeline(keep="100")  # type: ignore[arg-type]
    timeline().save()  # type: ignore[call-arg]


async def wrong_calls() -> None:
    fetch("1")  # type: ignore[arg-type]
    fetch()  # type: ignore[call-arg]
    fetch(1, 2)  # type: ignore[call-arg]
    fetch(b=1)  # type: ignore[call-arg]
    await a_fetch("1")  # type: ignore[arg-type]
    fetcher.method("1")  # type: ignore[arg-type]
    Fetcher.method(1)  # type: ignore[arg-type, call-arg]
    Fetcher.class_method("1")  # type: ignore[arg-type]
    fetcher.static_method("1")  # type: ignore[arg-type]
    fetch.unknown  # type: ignore[attr-defined]


async def wrong_results() -> None:
    assert_type(Concurrent.map(plain, ints), list[int])  # type: ignore[assert-type]
    assert_type(fetch.map(ints), list[int])  # type: ignore[assert-type]
    assert_type(fetch.stream(ints), list[str])  # type: ignore[assert-type]
    assert_type(fetch.as_completed(ints), Stream[str])  # type: ignore[assert-type]
    assert_type(fetch.map(ints, catch=ValueError), list[str])  # type: ignore[assert-type]
    assert_type(await a_fetch.a_map(ints), list[int])  # type: ignore[assert-type]
    assert_type(a_fetch.a_stream(ints), Stream[str])  # type: ignore[assert-type]
    assert_type(Concurrent.a_as_completed(coroutine, ints), AsyncStream[str])  # type: ignore[assert-type]
    next(a_fetch.a_stream(ints))  # type: ignore[call-overload]
    async for _ in fetch.stream(ints):  # type: ignore[attr-defined]
        pass
