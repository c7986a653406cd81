"""The short table of a timeline: a row for each map. Its columns serve the terminal and the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from concurrency._map_stats import Stats, duration, headline, omission, stats_of, three_digits
from concurrency._picture import Picture
from concurrency._recorder import Outcome

ROWS = 20
"""Maps that are shown in a terminal, the longest first where there are more: about a screenful."""


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and what stands below it."""

    heading: str
    meaning: str
    cell: Callable[[Stats], str]


COLUMNS = (
    Column("map", "The function and the operation.", lambda stats: stats.name),
    Column("calls", "Calls that have begun.", lambda stats: f"{stats.calls:,}"),
    Column("failed", "Calls that failed the map.", lambda stats: _count(stats, Outcome.FAILURE)),
    Column("caught", "Calls whose exception was taken by catch.", lambda stats: _count(stats, Outcome.CAUGHT)),
    Column("cancelled", "Calls that were cancelled.", lambda stats: _count(stats, Outcome.CANCELLED)),
    Column("wall", "From the beginning of the map to the end of its last call.", lambda stats: duration(stats.wall)),
    Column("sum", "All its calls, one after the other.", lambda stats: duration(stats.busy)),
    Column("at once", "Calls running on average: sum divided by wall.", lambda stats: three_digits(stats.at_once)),
    Column(
        "limit", "Most calls at once, as given or by default.", lambda stats: "-" if stats.limit is None else f"{stats.limit:,}"
    ),
    Column("p50", "Half of the calls took no longer.", lambda stats: duration(stats.median)),
    Column("p95", "19 of 20 calls took no longer.", lambda stats: duration(stats.p95)),
    Column("max", "The slowest call.", lambda stats: duration(stats.longest)),
    Column(
        "lost to limit",
        "Time in which as many calls were running as limit allows, and more were to come.",
        lambda stats: duration(stats.at_limit),
    ),
    Column(
        "lost to rate",
        "Time in which a call could have started, and nothing but rate kept it from that.",
        lambda stats: duration(stats.for_rate),
    ),
)


def text_table(picture: Picture) -> str:
    """For a terminal: the headline, and a row for each map."""
    everything = [stats_of(each) for each in picture.maps]
    shown = everything
    if len(everything) > ROWS:
        shown = sorted(everything, key=lambda stats: -stats.wall)[:ROWS]
    lines = [f"Timeline: {headline(picture)}", *filter(None, [omission(picture)])]
    if shown:
        lines += _aligned([[column.heading for column in columns_of(everything)], *rows_of(shown, columns_of(everything))])
    if len(shown) < len(everything):
        lines.append(f"and {len(everything) - len(shown):,} shorter maps")
    return "\n".join(lines)


def columns_of(everything: Sequence[Stats]) -> list[Column]:
    """Those in which something stands."""
    return [column for column in COLUMNS if any(column.cell(stats) not in ("", "-") for stats in everything)]


def rows_of(everything: Sequence[Stats], columns: Sequence[Column]) -> list[list[str]]:
    """The cells."""
    return [[column.cell(stats) for column in columns] for stats in everything]


def _count(stats: Stats, outcome: Outcome) -> str:
    return f"{stats.counts[outcome]:,}" if stats.counts[outcome] else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
