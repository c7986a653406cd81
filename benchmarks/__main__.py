"""Measures this library beside its peers, in one run."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import peers, plot, report
from benchmarks.cases import CASES, TABLES
from benchmarks.harness import Case, Outcome, Size, Table, TableOutcome, measure_case, measure_table

_Thing = TypeVar("_Thing", Case, Table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", metavar="TEXT", help="only what has this in its name; may be repeated")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each case (default: 7, with --quick 3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the items")
    parser.add_argument("--list", action="store_true", help="name the cases and tables, and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the report between this Python's markers there")
    return parser.parse_args()


def _main() -> int:
    arguments = _arguments()
    size = Size(arguments.quick)
    cases = list(_chosen((case for make in CASES for case in make(size)), arguments.case))
    tables = list(_chosen((table for make in TABLES for table in make(size)), arguments.case))
    if arguments.list:
        print(*(case.name for case in cases), *(table.name for table in tables), sep="\n")
        return 0
    if not cases and not tables:
        print("nothing has that in its name; --list tells the names", file=sys.stderr)
        return 2
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    about = report.circumstances(rounds, arguments.quick)
    lines = _Lines(report.title(about), "")
    outcomes = _compare(cases, rounds, lines)
    table_outcomes = _tabulate(tables, rounds, lines)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_data(about, outcomes, table_outcomes), indent=1), encoding="utf-8")
    if arguments.plot:
        plot.draw(outcomes, arguments.plot, about["Python"])
    if arguments.page:
        report.put_into(arguments.page, "\n".join(lines.all))
    return 0 if len(outcomes) == len(cases) else 1


class _Lines:
    """What is printed, as it comes, and kept."""

    def __init__(self, *lines: str) -> None:
        self.all: list[str] = []
        self.add(lines)

    def add(self, lines: Iterable[str]) -> None:
        """Print these as well."""
        for line in lines:
            print(line, flush=True)
            self.all.append(line)


def _compare(cases: Sequence[Case], rounds: int, lines: _Lines) -> list[Outcome]:
    """All cases, in the one table."""
    outcomes: list[Outcome] = []
    if cases:
        lines.add(report.header())
    for case in cases:
        try:
            outcomes.append(measure_case(case, rounds))
        except Exception as error:  # noqa: BLE001  the other cases are still worth the time
            lines.add([report.failure(case, error)])
        else:
            lines.add(report.rows(outcomes[-1]))
    if peers.missing:
        lines.add(["", f"Skipped, since they are not installed: {', '.join(sorted(peers.missing))}."])
    return outcomes


def _tabulate(tables: Sequence[Table], rounds: int, lines: _Lines) -> list[TableOutcome]:
    """All tables of costs, each by itself."""
    outcomes: list[TableOutcome] = []
    for table in tables:
        outcomes.append(measure_table(table, min(rounds, 3)))
        lines.add(["", *report.table(outcomes[-1])])
    return outcomes


def _chosen(things: Iterable[_Thing], wanted: Sequence[str] | None) -> Iterator[_Thing]:
    return (thing for thing in things if not wanted or any(text in thing.name for text in wanted))


if __name__ == "__main__":
    sys.exit(_main())
