"""The operations, and `Concurrent`, which holds them.

Each has one table of overloads: for one to five iterables, and a last one for more, where inputs are no longer matched with
parameters. The table serves `Concurrent.map(fn, xs)` and, since `fn` comes first, `fn.map(xs)` of a decorated function too.
"""

# ruff: noqa: A001  `map` keeps the law of the built-in, and its name

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Final, Generic, Never, TypeVar, Unpack, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from concurrency import _threads
from concurrency._calls import Job
from concurrency._delivery import AsCompleted, InOrder
from concurrency._options import LazyOptions, MapOptions, Operation, SyncLazyOptions, SyncMapOptions
from concurrency.streams import AsyncStream, Stream

A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
R = TypeVar("R")
F = TypeVar("F")
# Without `catch` there is nothing to infer it from: the default makes `list[R | E]` the same as `list[R]`. That `catch` may be
# `tuple[()]` goes without saying, but pyright would take `E` for `Any` if it went unsaid.
E = TypeVarWithDefault("E", bound=Exception, default=Never)

Source = Iterable[A1] | AsyncIterable[A1]

_MAP: Final = Operation("map")
_STREAM: Final = Operation("stream", is_lazy=True)
_AS_COMPLETED: Final = Operation("as_completed", is_lazy=True)
_A_MAP: Final = Operation("a_map", is_async=True)
_A_STREAM: Final = Operation("a_stream", is_async=True, is_lazy=True)
_A_AS_COMPLETED: Final = Operation("a_as_completed", is_async=True, is_lazy=True)


# The overloads of an operation are a table: one row for each number of iterables.
# fmt: off
@overload
def map(
    fn: Callable[[A1], R], first: Iterable[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
@overload
def map(
    fn: Callable[[A1, A2], R], first: Iterable[A1], second: Iterable[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
@overload
def map(
    fn: Callable[[A1, A2, A3], R], first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
@overload
def map(
    fn: Callable[[A1, A2, A3, A4], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
@overload
def map(
    fn: Callable[[A1, A2, A3, A4, A5], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], fifth: Iterable[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
@overload
def map(
    fn: Callable[..., R],
    first: Iterable[object], second: Iterable[object], third: Iterable[object],
    fourth: Iterable[object], fifth: Iterable[object], sixth: Iterable[object], /, *iterables: Iterable[object],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncMapOptions],
) -> list[R | E]: ...
# fmt: on


def map(fn: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any) -> list[Any]:
    """Equals `list(map(fn, *iterables))`, with the calls overlapping in time, in threads.

    Results are in the order of the inputs, whatever ends first. Several iterables are zipped, as by the built-in `map`, ending
    with the shortest. They are read here, in the calling thread, never further ahead than twice the limit. Each call runs in a
    worker thread, and in its own copy of the caller's `contextvars` context.

    At the first call that fails no further call starts; those that run are waited for, since a thread cannot be stopped. Then
    that call's own exception is raised, with a note that says which call it was. An input that raises ends the map likewise.

    - `fn`: a plain function, or any other callable but a coroutine function. Its parameters are filled in order, one from each
      iterable.
    - `iterables`: the inputs, at least one iterable.
    - `limit`: most calls in flight at once. Default: as many as `ThreadPoolExecutor` has threads.
    - `rate`: most calls started per second, evenly spaced. A number is for this map alone, a `Rate` is shared by all that are
      given it. Default: no bound.
    - `timeout`: seconds for the whole map, counted from the call. Calls still running then end in the background.
    - `catch`: an exception type, or a tuple of them. A call that raises one of these does not fail the map: its exception
      stands in the place of its result.
    - `strict`: whether iterables of unequal length are a `ValueError`, as with `zip(strict=True)`.
    - `executor`: any `concurrent.futures.Executor`, to run the calls in its threads, processes, interpreters or machines. It
      stays the caller's, and is not shut down here. Default: threads of this library's own.
    - `chunksize`: with an executor, how many inputs are sent to it at a time, which its processes then call `fn` with one after
      the other. Worth its while where calls are short; under a `rate` it is 1. Default: 1.

    On an executor a `limit` is for its tasks, each of which runs one call at a time. Without it, so much is in flight that a
    pool of any size has work: what runs, and as much again waiting for it, at least 16 tasks; or up to 1000, where futures do
    not tell what runs, as dask's. Executors that pickle need functions, inputs, results and exceptions that can be pickled, and
    the context does not travel. When a call fails, what has not begun is cancelled; a chunk that another process has begun runs
    to its end, and is waited for. Not so on dask: its futures can be cancelled while they run, so the map does not know of the
    calls that do, and these end in the background. An executor that breaks, or cannot send a call, raises its own error,
    whatever `catch` says. A map on the very executor that runs the call it is made in would wait for ever, so it is a
    `RuntimeError` where that can be seen.

    Raises `TypeError` or `ValueError` before anything starts where an argument cannot be right, `TimeoutError` when `timeout`
    has passed, and otherwise what a call or an input has raised: the same object.

    Threads are reused: a map costs less than making a thread pool, a call about a microsecond. It pays where calls wait: for a
    network, a disk, another process.

    >>> Concurrent.map(pow, [2, 3, 4], [5, 6, 7])
    [32, 729, 16384]
    >>> Concurrent.map(int, ["1", "two"], catch=ValueError)
    [1, ValueError("invalid literal for int() with base 10: 'two'")]
    """
    return _run_map(Job(_MAP, fn, iterables, options))


# fmt: off
@overload
def stream(
    fn: Callable[[A1], R], first: Iterable[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
@overload
def stream(
    fn: Callable[[A1, A2], R], first: Iterable[A1], second: Iterable[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
@overload
def stream(
    fn: Callable[[A1, A2, A3], R], first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
@overload
def stream(
    fn: Callable[[A1, A2, A3, A4], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
@overload
def stream(
    fn: Callable[[A1, A2, A3, A4, A5], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], fifth: Iterable[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
@overload
def stream(
    fn: Callable[..., R],
    first: Iterable[object], second: Iterable[object], third: Iterable[object],
    fourth: Iterable[object], fifth: Iterable[object], sixth: Iterable[object], /, *iterables: Iterable[object],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[R | E]: ...
# fmt: on


def stream(fn: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any) -> Stream[Any]:
    """As `map`, one result after the other: an iterator equal to `map(fn, *iterables)`, for what is large or does not end.

    Arguments are checked at once; nothing is read before the first `next`. From then on calls run ahead of the consumer, as far
    as `buffersize` allows. Results before a failing call are yielded before its exception is raised. To leave early, `close`
    it, end its `with` block, or drop it.

    - `buffersize`: most calls started whose results have not been taken. Default: twice the limit, so that one slow call does
      not idle the others; on an executor, twice what is in flight. A chunk is at most half of it.

    >>> from itertools import count, islice
    >>> list(islice(Concurrent.stream(abs, count(-2)), 4))
    [2, 1, 0, 1]
    """
    return _stream(Job(_STREAM, fn, iterables, options), InOrder())


# fmt: off
@overload
def as_completed(
    fn: Callable[[A1], R], first: Iterable[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[A1, R | E]]: ...
@overload
def as_completed(
    fn: Callable[[A1, A2], R], first: Iterable[A1], second: Iterable[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[tuple[A1, A2], R | E]]: ...
@overload
def as_completed(
    fn: Callable[[A1, A2, A3], R], first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[tuple[A1, A2, A3], R | E]]: ...
@overload
def as_completed(
    fn: Callable[[A1, A2, A3, A4], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[tuple[A1, A2, A3, A4], R | E]]: ...
@overload
def as_completed(
    fn: Callable[[A1, A2, A3, A4, A5], R],
    first: Iterable[A1], second: Iterable[A2], third: Iterable[A3], fourth: Iterable[A4], fifth: Iterable[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[tuple[A1, A2, A3, A4, A5], R | E]]: ...
@overload
def as_completed(
    fn: Callable[..., R],
    first: Iterable[A1], second: Iterable[A1], third: Iterable[A1],
    fourth: Iterable[A1], fifth: Iterable[A1], sixth: Iterable[A1], /, *iterables: Iterable[A1],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[SyncLazyOptions],
) -> Stream[tuple[tuple[A1, ...], R | E]]: ...
# fmt: on


def as_completed(fn: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any) -> Stream[tuple[Any, Any]]:
    """As `stream`, but as calls end, each input with its result. Several iterables make the input a tuple.

    Completion order costs no identity: `for url, page in fetch.as_completed(urls)`, `dict(fetch.as_completed(urls))`.

    >>> sorted(Concurrent.as_completed(len, ["to", "three"]))
    [('three', 5), ('to', 2)]
    """
    return _stream(Job(_AS_COMPLETED, fn, iterables, options), AsCompleted())


# fmt: off
@overload
async def a_map(
    fn: Callable[[A1], Awaitable[R]], first: Source[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
@overload
async def a_map(
    fn: Callable[[A1, A2], Awaitable[R]], first: Source[A1], second: Source[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
@overload
async def a_map(
    fn: Callable[[A1, A2, A3], Awaitable[R]], first: Source[A1], second: Source[A2], third: Source[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
@overload
async def a_map(
    fn: Callable[[A1, A2, A3, A4], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
@overload
async def a_map(
    fn: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], fifth: Source[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
@overload
async def a_map(
    fn: Callable[..., Awaitable[R]],
    first: Source[object], second: Source[object], third: Source[object],
    fourth: Source[object], fifth: Source[object], sixth: Source[object], /, *iterables: Source[object],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[MapOptions],
) -> list[R | E]: ...
# fmt: on


async def a_map(fn: Callable[..., Awaitable[Any]], /, *iterables: Source[Any], **options: Any) -> list[Any]:
    """As `map`, on asyncio: each call is a task of its own.

    Iterables may be sync and async, mixed. They are read in the calling task. At the first call that fails those that run are
    cancelled and awaited, and likewise when `timeout` has passed or the caller is cancelled.

    - `fn`: a coroutine function, or any other callable that returns awaitables.
    - `limit`: most calls in flight at once. Default: no bound, as with `asyncio.gather`.

    >>> import asyncio
    >>> asyncio.run(Concurrent.a_map(asyncio.sleep, [0, 0], "ab"))
    ['a', 'b']
    """
    from concurrency import _tasks  # noqa: PLC0415  importing the package must not load asyncio

    running = _tasks.run_map(Job(_A_MAP, fn, iterables, options))
    del fn, iterables, options  # see `TaskRun.start`
    return await running


# fmt: off
@overload
def a_stream(
    fn: Callable[[A1], Awaitable[R]], first: Source[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
@overload
def a_stream(
    fn: Callable[[A1, A2], Awaitable[R]], first: Source[A1], second: Source[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
@overload
def a_stream(
    fn: Callable[[A1, A2, A3], Awaitable[R]], first: Source[A1], second: Source[A2], third: Source[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
@overload
def a_stream(
    fn: Callable[[A1, A2, A3, A4], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
@overload
def a_stream(
    fn: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], fifth: Source[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
@overload
def a_stream(
    fn: Callable[..., Awaitable[R]],
    first: Source[object], second: Source[object], third: Source[object],
    fourth: Source[object], fifth: Source[object], sixth: Source[object], /, *iterables: Source[object],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[R | E]: ...
# fmt: on


def a_stream(fn: Callable[..., Awaitable[Any]], /, *iterables: Source[Any], **options: Any) -> AsyncStream[Any]:
    """As `stream`, on asyncio: an async iterator, with the calls and iterables of `a_map`.

    To leave early, `aclose` it or end its `async with` block: that cancels the running calls and waits for them.

    - `limit`: most calls in flight at once. Default: 100, since what is lazy has to be bounded.

    >>> import asyncio
    >>> async def main():
    ...     return [letter async for letter in Concurrent.a_stream(asyncio.sleep, [0, 0], "ab")]
    >>> asyncio.run(main())
    ['a', 'b']
    """
    from concurrency._async_pulls import AsyncPull  # noqa: PLC0415  importing the package must not load asyncio

    return AsyncStream(AsyncPull(Job(_A_STREAM, fn, iterables, options), InOrder()))


# fmt: off
@overload
def a_as_completed(
    fn: Callable[[A1], Awaitable[R]], first: Source[A1], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[A1, R | E]]: ...
@overload
def a_as_completed(
    fn: Callable[[A1, A2], Awaitable[R]], first: Source[A1], second: Source[A2], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[tuple[A1, A2], R | E]]: ...
@overload
def a_as_completed(
    fn: Callable[[A1, A2, A3], Awaitable[R]], first: Source[A1], second: Source[A2], third: Source[A3], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[tuple[A1, A2, A3], R | E]]: ...
@overload
def a_as_completed(
    fn: Callable[[A1, A2, A3, A4], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[tuple[A1, A2, A3, A4], R | E]]: ...
@overload
def a_as_completed(
    fn: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
    first: Source[A1], second: Source[A2], third: Source[A3], fourth: Source[A4], fifth: Source[A5], /, *,
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[tuple[A1, A2, A3, A4, A5], R | E]]: ...
@overload
def a_as_completed(
    fn: Callable[..., Awaitable[R]],
    first: Source[A1], second: Source[A1], third: Source[A1],
    fourth: Source[A1], fifth: Source[A1], sixth: Source[A1], /, *iterables: Source[A1],
    catch: type[E] | tuple[type[E], ...] | tuple[()] = (), **options: Unpack[LazyOptions],
) -> AsyncStream[tuple[tuple[A1, ...], R | E]]: ...
# fmt: on


def a_as_completed(
    fn: Callable[..., Awaitable[Any]], /, *iterables: Source[Any], **options: Any
) -> AsyncStream[tuple[Any, Any]]:
    """As `as_completed`, on asyncio, with the options of `a_stream`.

    >>> import asyncio
    >>> async def main():
    ...     return [pair async for pair in Concurrent.a_as_completed(asyncio.sleep, [0, 0], "a")]
    >>> asyncio.run(main())
    [((0, 'a'), 'a')]
    """
    from concurrency._async_pulls import AsyncPull  # noqa: PLC0415  importing the package must not load asyncio

    return AsyncStream(AsyncPull(Job(_A_AS_COMPLETED, fn, iterables, options), AsCompleted()))


def _run_map(job: Job) -> list[Any]:
    try:
        if job.options.executor is None:
            return _threads.run_map(job)
        from concurrency import _executors  # noqa: PLC0415  importing the package must not load pickle

        return _executors.run_map(job)
    finally:
        del job  # the traceback of what it raises holds this frame


def _stream(job: Job, delivery: InOrder | AsCompleted) -> Stream[Any]:
    if job.options.executor is None:
        return Stream(_threads.run_stream(job, delivery))
    from concurrency import _executors  # noqa: PLC0415  as above

    return Stream(_executors.run_stream(job, delivery))


class _Static(Generic[F]):
    """As `staticmethod`, of which type checkers take the first overload alone."""

    __slots__ = ("_function",)

    def __init__(self, function: F) -> None:
        self._function = function

    def __get__(self, instance: object, owner: object) -> F:
        return self._function


class Concurrent:
    """The operations, for any function: `map`, `stream`, `as_completed`, and on asyncio `a_map`, `a_stream`, `a_as_completed`.

    For functions that cannot be decorated. The methods of a decorated function are the same operations, and its defaults hold
    here too.

    >>> Concurrent.map(str.upper, "abc")
    ['A', 'B', 'C']
    """

    __slots__ = ()

    map = _Static(map)
    stream = _Static(stream)
    as_completed = _Static(as_completed)
    a_map = _Static(a_map)
    a_stream = _Static(a_stream)
    a_as_completed = _Static(a_as_completed)
