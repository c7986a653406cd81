"""What was measured, as Markdown, as JSON, and in a page between two markers."""

import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.cases.parallel import has_gil
from benchmarks.harness import Case, Outcome, TableOutcome, Unit

_HEAD = ("case", "ours", "peer", "its cost", "ratio", "bar", "")


def circumstances(rounds: int, quick: bool) -> dict[str, str]:
    """Everything that a number depends on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "Python": f"{platform.python_version()} ({platform.python_implementation()}, GIL {'on' if has_gil() else 'off'})",
        "system": f"{platform.system()} {platform.machine()}, {usable} CPUs",
        "rounds": f"{rounds}{', a tenth of the items that the bars are meant for' if quick else ''}",
        "date": datetime.now(UTC).date().isoformat(),
        **peers.versions(),
    }


def title(about: dict[str, str]) -> str:
    """The circumstances, in two lines."""
    first, *rest = about.items()
    machine = "; ".join(f"{name} {value}" for name, value in (first, *rest[:3]))
    return f"{machine}\\\n{', '.join(f'{name} {value}' for name, value in rest[3:])}"


def header() -> Sequence[str]:
    """The first two lines of the one table."""
    return _line(_HEAD), "|---|---:|---|---:|---:|---:|---|"


def rows(outcome: Outcome) -> Iterator[str]:
    """A row of the one table for each peer of a case."""
    case = outcome.case
    ours = case.unit.show(outcome.cost(0), case.items)
    for place, peer in enumerate(case.peers, 1):
        theirs = case.unit.show(outcome.cost(place), case.items)
        bar = "" if peer.bar is None else f"≤ {peer.bar:g}"
        verdict = "" if peer.bar is None else "met" if outcome.ratio(place) <= peer.bar else "**missed**"
        yield _line((case.name, ours, peer.name, theirs, f"{outcome.ratio(place):.3g}", bar, verdict))


def failure(case: Case, error: Exception) -> str:
    """The row of a case that could not be measured."""
    return _line((case.name, f"{type(error).__name__}: {str(error)[:80]}", "", "", "", "", "**failed**"))


def table(outcome: TableOutcome) -> Iterator[str]:
    """A table of its own."""
    described = outcome.table
    yield f"**{described.name}**"
    yield ""
    yield _line((described.corner, *described.columns))
    yield f"|---|{'---:|' * len(described.columns)}"
    for row, costs in zip(described.rows, outcome.costs, strict=True):
        cells = [
            "" if cell is None or cost is None else row.unit.show(cost, cell[0]).removesuffix(f" {Unit.PER_ITEM.value}")
            for cell, cost in zip(row.cells, costs, strict=True)
        ]
        yield _line((row.name, *cells))


def as_data(about: dict[str, str], outcomes: Sequence[Outcome], tables: Sequence[TableOutcome]) -> dict[str, Any]:
    """All of it, every round too, for `json`. Costs are seconds or bytes of a whole run."""
    return {
        "about": about,
        "cases": [
            {
                "name": outcome.case.name,
                "items": outcome.case.items,
                "unit": outcome.case.unit.value,
                "ours": list(outcome.costs[0]),
                "peers": [
                    {"name": peer.name, "costs": list(outcome.costs[place]), "ratio": outcome.ratio(place), "bar": peer.bar}
                    for place, peer in enumerate(outcome.case.peers, 1)
                ],
            }
            for outcome in outcomes
        ],
        "tables": [
            {
                "name": outcome.table.name,
                "columns": list(outcome.table.columns),
                "rows": {
                    f"{number}. {row.name}": [
                        None if cell is None or cost is None else cost / cell[0]
                        for cell, cost in zip(row.cells, costs, strict=True)
                    ]
                    for number, (row, costs) in enumerate(zip(outcome.table.rows, outcome.costs, strict=True), 1)
                },
            }
            for outcome in tables
        ],
    }


def put_into(page: Path, text: str) -> None:
    """Replace what a page has between the markers of this Python, as `<!-- 3.11 -->` and `<!-- end 3.11 -->`."""
    name = f"{sys.version_info[0]}.{sys.version_info[1]}{'' if has_gil() else 't'}"
    old = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(old):
        raise SystemExit(f"{page} has no markers <!-- {name} --> and <!-- end {name} -->")
    page.write_text(pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
