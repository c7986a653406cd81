"""What `import concurrency` costs, in fresh interpreters, beside what it needs at least."""

from collections.abc import Sequence
from functools import partial

from benchmarks.fresh import measured_in_fresh
from benchmarks.harness import Case, Size, Unit, entrant, told

_NEEDED = "import concurrent.futures.thread, contextvars, functools, typing_extensions"


def cases(size: Size) -> Sequence[Case]:
    """`typing_extensions` is its one dependency; the rest is the standard library's."""
    return [
        Case(
            name="import concurrency",
            is_pictured=False,
            items=1,
            unit=Unit.WHOLE,
            measure=told,
            ours=entrant("concurrency", partial(_seconds, "import concurrency")),
            peers=(
                entrant("what it needs at least", partial(_seconds, _NEEDED), bar=1.6),
                entrant("asyncio", partial(_seconds, "import asyncio")),
            ),
            repeat=size(50) // 10 * 2 + 1,
        )
    ]


def _seconds(statement: str) -> float:
    return measured_in_fresh(
        f"from time import perf_counter\nstart = perf_counter()\n{statement}\nprint(perf_counter() - start)",
    )
