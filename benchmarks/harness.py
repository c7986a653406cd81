"""What a case is, and how it is measured: every entrant once a round, the order rotated from round to round."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")

Run = Callable[[], Any]
"""One run of an entrant: plain, or with something to await."""

Measure = Callable[[Run, int], float]
"""From a run, and how often to repeat it, to its cost in seconds or bytes."""


class Unit(Enum):
    """In what a cost is shown."""

    PER_ITEM = "µs per item"
    WHOLE = "ms"
    MEMORY = "MB"

    def show(self, cost: float, items: int) -> str:
        """A cost in seconds or bytes, in this unit."""
        number = {Unit.PER_ITEM: 1e6 / items, Unit.WHOLE: 1e3, Unit.MEMORY: 1e-6}[self] * cost
        return f"{number:.3g} {self.value}" if number < 100 else f"{number:,.0f} {self.value}"


@dataclass(frozen=True)
class Entrant:
    """One side of a comparison.

    - `opened`: gives the run, with what it needs and what is kept from run to run, a pool say. Making that costs nothing here.
    - `bar`: ours may cost at most so many times as much as this one.
    """

    name: str
    opened: Callable[[], AbstractContextManager[Run]]
    bar: float | None = None


def entrant(name: str, run: Run, bar: float | None = None) -> Entrant:
    """One that needs nothing."""
    return Entrant(name, lambda: nullcontext(run), bar)


def entrant_with(
    make: Callable[[], AbstractContextManager[T]], name: str, run: Callable[[T], Any], bar: float | None = None
) -> Entrant:
    """One that keeps what `make` makes from run to run."""

    @contextmanager
    def opened() -> Generator[Run, None, None]:
        with make() as kept:
            yield partial(run, kept)

    return Entrant(name, opened, bar)


@dataclass(frozen=True)
class Case:
    """One comparison: this library beside its peers.

    - `repeat`: how often a run is repeated within one measurement, where one alone is too short to be measured.
    - `rounds`: at most so many rounds, where one takes long; 0 for as many as are asked for.
    - `is_pictured`: whether the picture shows it, which is for other ways to run calls.
    """

    name: str
    items: int
    unit: Unit
    measure: Measure
    ours: Entrant
    peers: Sequence[Entrant]
    repeat: int = 1
    rounds: int = 0
    is_pictured: bool = True


@dataclass(frozen=True)
class Table:
    """Costs without a comparison: a row of cells for each thing measured."""

    name: str
    corner: str
    columns: Sequence[str]
    rows: Sequence["Row"]


@dataclass(frozen=True)
class Row:
    """What one row of a `Table` measures: for each cell, how many items, and the run. An empty cell is None."""

    name: str
    cells: Sequence[tuple[int, Run] | None]
    measure: Measure
    unit: Unit = Unit.PER_ITEM


@dataclass(frozen=True)
class Size:
    """How many items a case takes: a tenth if a quick look is all that is wanted."""

    quick: bool = False

    def __call__(self, items: int) -> int:
        """So many of these many."""
        return max(1, items // 10) if self.quick else items


@dataclass(frozen=True)
class Outcome:
    """The costs of each entrant, round by round; ours first."""

    case: Case
    costs: Sequence[Sequence[float]]

    def cost(self, place: int) -> float:
        """The median cost of an entrant."""
        return median(self.costs[place])

    def ratio(self, place: int) -> float:
        """The median of what ours costs in proportion to this entrant, within each round: other load then hits both."""
        return median(ours / theirs for ours, theirs in zip(self.costs[0], self.costs[place], strict=True))


@dataclass(frozen=True)
class TableOutcome:
    """The median of each cell."""

    table: Table
    costs: Sequence[Sequence[float | None]]


def clocked(run: Run, repeat: int) -> float:
    """Seconds that a plain run takes."""
    start = perf_counter()
    for _ in range(repeat):
        run()
    return (perf_counter() - start) / repeat


def on_one_core(run: Run, repeat: int) -> float:
    """The same with all threads of the process on one core, so that none has to be woken on another that has gone to sleep."""
    cores = os.sched_getaffinity(0)
    _keep_to({min(cores)})
    try:
        return clocked(run, repeat)
    finally:
        _keep_to(cores)


def _keep_to(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), cores)


def in_a_loop(run: Callable[[], Awaitable[Any]], repeat: int) -> float:
    """Seconds that an asyncio run takes, in an event loop that is there already."""

    async def main() -> float:
        start = perf_counter()
        for _ in range(repeat):
            await run()
        return (perf_counter() - start) / repeat

    return asyncio.run(main())


def with_one_core(case: Case) -> Sequence[Case]:
    """A case of threads that hand over to one another, and the same on one core where the system lets us choose: on Linux."""
    if not hasattr(os, "sched_setaffinity"):
        return [case]
    peers = [replace(peer, bar=None) for peer in case.peers]  # the bars are for the machine as it is
    return [case, replace(case, name=f"{case.name}, on one core", measure=on_one_core, peers=peers)]


def told(run: Callable[[], float], repeat: int) -> float:
    """What the run itself has measured, in a process of its own say."""
    return median(run() for _ in range(repeat))


def measure_case(case: Case, rounds: int) -> Outcome:
    """Run a case: once to warm up, then so many rounds."""
    entrants = (case.ours, *case.peers)
    with ExitStack() as stack:
        runs = [stack.enter_context(each.opened()) for each in entrants]
        costs: list[list[float]] = [[] for _ in runs]
        for number in range((min(rounds, case.rounds) if case.rounds else rounds) + 1):
            for place in _rotated(len(runs), number):
                gc.collect()
                cost = case.measure(runs[place], case.repeat)
                if number:
                    costs[place].append(cost)
    return Outcome(case, costs)


def measure_table(table: Table, rounds: int) -> TableOutcome:
    """Measure every cell once a round, so that other load hits all of them."""
    costs: list[list[list[float]]] = [[[] for _ in row.cells] for row in table.rows]
    for number in range(rounds + 1):
        for row, row_costs in zip(table.rows, costs, strict=True):
            for cell, cell_costs in zip(row.cells, row_costs, strict=True):
                if cell is None:
                    continue
                gc.collect()
                cost = row.measure(cell[1], 1)
                if number:
                    cell_costs.append(cost)
    return TableOutcome(table, [[median(cell) if cell else None for cell in row] for row in costs])


def _rotated(length: int, by: int) -> Sequence[int]:
    return [(place + by) % length for place in range(length)]
