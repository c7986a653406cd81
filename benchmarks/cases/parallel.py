"""Computing in threads, where Python lets them run at once. It takes two idle cores to show."""

import sys
from collections.abc import Sequence

from benchmarks.functions import heavy
from benchmarks.harness import Case, Size, Unit, clocked, entrant, entrant_with
from benchmarks.peers import thread_executor
from concurrency.core import Concurrent


def has_gil() -> bool:
    """Whether only one thread at a time runs Python."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def cases(size: Size) -> Sequence[Case]:
    """None where there is a GIL."""
    if has_gil():
        return []
    items = size(100)
    inputs = range(items)
    return [
        Case(
            name=f"map, {items:,} calls that compute for milliseconds, two threads, no GIL",
            items=items,
            unit=Unit.WHOLE,
            measure=clocked,
            ours=entrant("map", lambda: Concurrent.map(heavy, inputs, limit=2)),
            peers=(
                entrant("one after the other", lambda: list(map(heavy, inputs)), bar=0.55),
                entrant_with(thread_executor(2), "Executor.map", lambda pool: list(pool.map(heavy, inputs))),
            ),
        )
    ]
