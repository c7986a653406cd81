"""The lazy operations, each result taken and dropped."""

from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks import peers
from benchmarks.functions import a_identity, identity, one_turn
from benchmarks.harness import Case, Size, Unit, clocked, entrant, entrant_with, in_a_loop, with_one_core
from benchmarks.peers import thread_pool
from concurrency.core import Concurrent

_LIMIT = 8


def cases(size: Size) -> Sequence[Case]:
    """Threads, then asyncio."""
    items = size(20_000)
    return [
        *with_one_core(_stream(items)),
        _as_completed(items),
        _a_stream(items, "trivial calls", a_identity),
        _a_stream(items, "calls of one loop turn", one_turn),
    ]


def _drop(results: Iterable[Any]) -> None:
    deque(results, maxlen=0)


async def _a_drop(results: AsyncIterable[Any]) -> None:
    async for _ in results:
        pass


def _generator(items: int) -> Iterator[int]:
    yield from range(items)


def _stream(items: int) -> Case:
    return Case(
        name=f"stream, {items:,} trivial calls, limit {_LIMIT}, buffersize 64",
        items=items,
        unit=Unit.PER_ITEM,
        measure=clocked,
        ours=entrant("stream", lambda: _drop(Concurrent.stream(identity, _generator(items), limit=_LIMIT, buffersize=64))),
        peers=(
            entrant_with(
                thread_pool(_LIMIT), "ThreadPool.imap", lambda pool: _drop(pool.imap(identity, _generator(items))), bar=1.5
            ),
            *peers.only_with(
                "streamable",
                entrant("streamable", lambda: peers.streamable_map(identity, _generator(items), _LIMIT), bar=0.15),
            ),
        ),
    )


def _as_completed(items: int) -> Case:
    return Case(
        name=f"as_completed, {items:,} trivial calls, limit {_LIMIT}, buffersize 64",
        items=items,
        unit=Unit.PER_ITEM,
        measure=clocked,
        ours=entrant(
            "as_completed",
            lambda: _drop(Concurrent.as_completed(identity, _generator(items), limit=_LIMIT, buffersize=64)),
        ),
        peers=(
            entrant_with(
                thread_pool(_LIMIT),
                "ThreadPool.imap_unordered",
                lambda pool: _drop(pool.imap_unordered(identity, _generator(items))),
            ),
        ),
    )


def _a_stream(items: int, what: str, function: Callable[[int], Awaitable[int]]) -> Case:
    limit = 100
    return Case(
        name=f"a_stream, {items:,} {what}, limit {limit}",
        items=items,
        unit=Unit.PER_ITEM,
        measure=in_a_loop,
        ours=entrant("a_stream", lambda: _a_drop(Concurrent.a_stream(function, range(items), limit=limit))),
        peers=(
            *peers.only_with(
                "streamable", entrant("streamable", partial(peers.streamable_a_map, function, range(items), limit), bar=0.9)
            ),
            *peers.only_with(
                "aiometer",
                entrant("aiometer.amap", lambda: peers.aiometer_stream(function, list(range(items)), limit), bar=0.25),
            ),
        ),
    )
