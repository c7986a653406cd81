"""All cases, by subject."""

from collections.abc import Callable, Sequence

from benchmarks.cases import (
    calls,
    executors,
    floor,
    growth,
    importing,
    maps,
    memory,
    parallel,
    streams,
    tasks,
)
from benchmarks.harness import Case, Size, Table

CASES: Sequence[Callable[[Size], Sequence[Case]]] = (
    maps.cases,
    tasks.cases,
    streams.cases,
    executors.cases,
    calls.cases,
    memory.cases,
    importing.cases,
    parallel.cases,
)

TABLES: Sequence[Callable[[Size], Sequence[Table]]] = (growth.tables, floor.tables)
