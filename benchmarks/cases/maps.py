"""`map`, on threads. The peers' pools are made beforehand, unless making one is the point."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import sleep

from benchmarks import peers
from benchmarks.functions import identity, nap
from benchmarks.harness import Case, Size, Unit, clocked, entrant, entrant_with, with_one_core
from benchmarks.peers import thread_executor, thread_pool
from concurrency.core import Concurrent

_LIMIT = 8


def cases(size: Size) -> Sequence[Case]:
    """Trivial calls show the cost of the library itself, short sleeps what it adds to waiting."""
    return [
        _from_list(size(20_000)),
        *with_one_core(_from_generator(size(20_000))),
        _letters(),
        _naps(size(2_000)),
        _progress(size(100_000)),
    ]


def _generator(items: int) -> Iterator[int]:
    yield from range(items)


def _from_list(items: int) -> Case:
    inputs = list(range(items))
    return Case(
        name=f"map, list of {items:,} trivial calls, limit {_LIMIT}",
        items=items,
        unit=Unit.PER_ITEM,
        measure=clocked,
        ours=entrant("map", lambda: Concurrent.map(identity, inputs, limit=_LIMIT)),
        peers=(
            entrant_with(thread_executor(_LIMIT), "Executor.map", lambda pool: list(pool.map(identity, inputs)), bar=0.05),
            entrant_with(thread_pool(_LIMIT), "ThreadPool.map", lambda pool: pool.map(identity, inputs), bar=1.5),
            *peers.only_with(
                "streamable", entrant("streamable", partial(peers.streamable_map, identity, inputs, _LIMIT), bar=0.05)
            ),
            *peers.only_with(
                "tqdm", entrant("tqdm thread_map", partial(peers.tqdm_thread_map, identity, inputs, _LIMIT), bar=0.05)
            ),
            *peers.only_with("joblib", entrant("joblib threads", partial(peers.joblib_map, identity, inputs, _LIMIT))),
        ),
    )


def _from_generator(items: int) -> Case:
    return Case(
        name=f"map, generator of {items:,} trivial calls, limit {_LIMIT}",
        items=items,
        unit=Unit.PER_ITEM,
        measure=clocked,
        ours=entrant("map", lambda: Concurrent.map(identity, _generator(items), limit=_LIMIT)),
        peers=(
            entrant_with(
                thread_executor(_LIMIT), "Executor.map", lambda pool: list(pool.map(identity, _generator(items))), bar=0.2
            ),
            entrant_with(
                thread_pool(_LIMIT), "ThreadPool.imap", lambda pool: list(pool.imap(identity, _generator(items))), bar=1.5
            ),
            *peers.only_with(
                "streamable",
                entrant("streamable", lambda: peers.streamable_map(identity, _generator(items), _LIMIT)),
            ),
        ),
    )


def _letters() -> Case:
    def with_executor() -> list[str]:
        with ThreadPoolExecutor(3) as executor:
            return list(executor.map(str.lower, "ABC"))

    return Case(
        name="map of three letters",
        items=3,
        unit=Unit.WHOLE,
        measure=clocked,
        ours=entrant("map", lambda: Concurrent.map(str.lower, "ABC")),
        peers=(entrant("with ThreadPoolExecutor(3)", with_executor, bar=0.4),),
        repeat=100,
    )


def _naps(items: int) -> Case:
    limit = 32
    turns = -(-items // limit)

    def in_a_row() -> None:
        for _ in range(turns):
            sleep(0.001)

    inputs = range(items)
    return Case(
        name=f"map, {items:,} sleeps of 1 ms, limit {limit}",
        items=items,
        unit=Unit.WHOLE,
        measure=clocked,
        ours=entrant("map", lambda: Concurrent.map(nap, inputs, limit=limit)),
        peers=(
            entrant(f"{turns} sleeps in a row", in_a_row, bar=1.08),
            entrant_with(thread_executor(limit), "Executor.map", lambda pool: list(pool.map(nap, inputs))),
            entrant_with(thread_pool(limit), "ThreadPool.imap", lambda pool: list(pool.imap(nap, inputs))),
        ),
    )


def _progress(items: int) -> Case:
    inputs = range(items)
    bar = peers.tqdm_bar() if peers.have("tqdm") else False
    return Case(
        name=f"map, range of {items:,} trivial calls, with a progress bar",
        is_pictured=False,
        items=items,
        unit=Unit.PER_ITEM,
        measure=clocked,
        ours=entrant("map", lambda: Concurrent.map(identity, inputs, limit=_LIMIT, progress=bar)),
        peers=(entrant("the same without a bar", lambda: Concurrent.map(identity, inputs, limit=_LIMIT), bar=1.05),),
    )
