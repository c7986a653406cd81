"""What the lazy operations return: `Stream` from those on threads, `AsyncStream` from those on asyncio."""

import os
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self
from weakref import WeakSet

from typing_extensions import TypeVar

from concurrency._calls import END

if TYPE_CHECKING:
    from concurrency._async_pulls import AsyncPull
    from concurrency._pulls import Pull

T_co = TypeVar("T_co", covariant=True)


class Stream(Iterator[T_co], Generic[T_co]):
    """The results of `stream` or `as_completed`: an iterator that runs calls as it is consumed.

    Nothing is read before the first `next`. From then on calls run ahead of the consumer, as far as `buffersize` allows; a
    consumer that stops taking results stops the calls. In threads, calls that have proved trivial are started when the consumer
    has run out of results: to wake a thread earlier would cost more than they do. An error ends the stream, and a further
    `next` raises it again. Threads may share a stream: each result goes to exactly one of them.

    Leaving early stops it: no further input is read, no further call starts. `close`, or the end of a `with` block, waits for
    the calls that are running; garbage collection does not.

    >>> from concurrency import Concurrent
    >>> with Concurrent.stream(str.upper, "abc") as letters:
    ...     next(letters)
    'A'
    """

    __slots__ = ("__weakref__", "_pull", "_ready")

    def __init__(self, pull: "Pull") -> None:
        self._pull = pull
        self._ready = pull.ready
        _streams.add(self)

    def __next__(self) -> T_co:
        result: Any = END
        try:
            result = self._ready.popleft()
        except IndexError:
            pass  # and only then go on: an error from there would have this one in its context
        if result is END:
            result = self._pull.next()
        if result is not END:
            value: T_co = result  # `cast` would be a call
            return value
        error = self._pull.error()
        if error is None:  # not "if not error": an exception may be falsy
            raise StopIteration
        del self  # the traceback of what is raised here holds this frame, and the stream holds what is raised
        try:
            raise error
        finally:
            del error

    def close(self) -> None:
        """Stop: no further input is read and no further call starts. Returns when the running calls have ended."""
        self._pull.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be copied or pickled: its calls are running here")

    def __del__(self) -> None:
        try:
            pull = self._pull
        except AttributeError:  # Ctrl-C while it was being made
            return
        pull.abandon()


class _Elsewhere:
    """In a forked child, in place of the calls of a stream of its parent: who waited for them there would wait for ever."""

    def next(self) -> Any:
        return END

    def error(self) -> BaseException:
        return RuntimeError("the stream was opened before the fork of this process: its calls run in the parent")

    def close(self) -> None: ...

    def abandon(self) -> None: ...


_streams: WeakSet[Stream[Any]] = WeakSet()


def _after_fork() -> None:
    elsewhere: Any = _Elsewhere()
    for stream in list(_streams):
        stream._ready.clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        stream._pull = elsewhere  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):  # pragma: no branch  not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class AsyncStream(AsyncIterator[T_co], Generic[T_co]):
    """As `Stream`, on asyncio: the results of `a_stream` or `a_as_completed`.

    An `anext` that is cancelled, by `asyncio.timeout` say, loses nothing: the next one goes on. `aclose`, or the end of an
    `async with` block, cancels the running calls and waits for them; garbage collection cancels them without waiting.

    >>> import asyncio
    >>> from concurrency import Concurrent
    >>> async def upper(letter):
    ...     return letter.upper()
    >>> async def main():
    ...     async with Concurrent.a_stream(upper, "abc") as letters:
    ...         return await anext(letters)
    >>> asyncio.run(main())
    'A'
    """

    __slots__ = ("__weakref__", "_pull")

    def __init__(self, pull: "AsyncPull") -> None:
        self._pull = pull

    async def __anext__(self) -> T_co:
        value: T_co = self._pull.poll()
        try:
            if value is END:
                value = await self._pull.next()
            if value is not END:
                return value
            error = self._pull.error()
            if error is None:
                raise StopAsyncIteration
            try:
                raise error
            finally:
                del error
        finally:
            # As in `Stream`; and a call that starts eagerly has this frame behind it, and so has what is caught of it.
            del self, value

    async def aclose(self) -> None:
        """Stop: no further input is read, no further call starts, running calls are cancelled. Returns when they have ended."""
        await self._pull.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncStream cannot be copied or pickled: its calls are running here")

    def __del__(self) -> None:
        try:
            pull = self._pull
        except AttributeError:  # Ctrl-C while it was being made
            return
        pull.abandon()
