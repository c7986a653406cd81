"""`map` with `executor=`: two processes, made and warmed up beforehand."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.functions import small
from benchmarks.harness import Case, Size, Unit, clocked, entrant_with
from concurrency.core import Concurrent

_CHUNK = 200


def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, get_context("spawn"))


def cases(size: Size) -> Sequence[Case]:
    """Small calls in chunks, as `Executor.map` does it."""
    items = size(20_000)
    inputs = list(range(items))
    return [
        Case(
            name=f"map, {items:,} small calls, two processes, chunksize {_CHUNK}",
            items=items,
            unit=Unit.PER_ITEM,
            measure=clocked,
            ours=entrant_with(_processes, "map", lambda pool: Concurrent.map(small, inputs, executor=pool, chunksize=_CHUNK)),
            peers=(
                entrant_with(_processes, "Executor.map", lambda pool: list(pool.map(small, inputs, chunksize=_CHUNK)), bar=1.1),
            ),
        )
    ]
