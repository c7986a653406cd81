"""A timeline as a page: one file with all it needs, which asks nobody for anything.

Nothing of the user's is ever markup or code there: it stands in a block of JSON without a `<`, or goes through `escape`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from concurrency._map_stats import Stats, duration, headline, omission, stats_of
from concurrency._picture import Call, Picture, Section
from concurrency._recorder import Outcome
from concurrency._timeline_table import Column, columns_of

_OUTCOMES = list(Outcome)

_UNSAFE = {ord(each): f"\\u{ord(each):04x}" for each in "<>&"}

HEIGHT = 640
"""Pixels of the page within a notebook."""


def page(picture: Picture) -> str:
    """The whole page."""
    parts = files("concurrency").joinpath("_page")
    pieces = {
        name.replace(".", "_"): parts.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "chart.js", "page.js")
    }
    template = Template(parts.joinpath("page.html").read_text(encoding="utf-8"))
    return _ascii(
        template.substitute(
            pieces,
            headline=escape(headline(picture)),
            began=datetime.fromtimestamp(picture.began_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            omission=escape(omission(picture)),
            table=_table(picture),
            data=_data(picture),
        )
    )


def frame(picture: Picture) -> str:
    """The page within another, of which it can neither see nor change anything: for Jupyter."""
    return (
        f'<iframe srcdoc="{escape(page(picture))}" sandbox="allow-scripts" title="Timeline" '
        f'style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
    )


def _ascii(text: str) -> str:
    """With characters named where they are not ASCII: a page that is read in the wrong encoding still says the same."""
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _data(picture: Picture) -> str:
    """What the script draws from, in columns; times in nanoseconds, which are whole numbers."""
    data = {
        "outcomes": [outcome.value for outcome in _OUTCOMES],
        "maps": [{"name": each.name, "limit": each.limit, "begun": _nano(each.begun)} for each in picture.maps],
        "start": _nano(picture.start),
        "end": _nano(picture.end),
        "sections": [_section(section, picture) for section in picture.sections],
    }
    return json.dumps(data, separators=(",", ":")).translate(_UNSAFE)


def _section(section: Section, picture: Picture) -> dict[str, Any]:
    calls: list[tuple[int, int, Call]] = [
        (place, lane, call)
        for place, lanes in zip(section.maps, section.lane_of, strict=True)
        for call, lane in zip(picture.maps[place].calls, lanes, strict=True)
    ]
    calls.sort(key=lambda each: each[2].start)
    return {
        "name": section.name,
        "lanes": section.lanes,
        "map": [place for place, _, _ in calls],
        "lane": [lane for _, lane, _ in calls],
        "index": [call.number for _, _, call in calls],
        "shown": [call.shown for _, _, call in calls],
        "ready": [_nano(call.ready) for _, _, call in calls],
        "start": [_nano(call.start) for _, _, call in calls],
        "end": [_nano(call.end) for _, _, call in calls],
        "outcome": [_OUTCOMES.index(call.outcome) for _, _, call in calls],
    }


def _nano(seconds: float) -> int:
    return round(seconds * 1e9)


def _table(picture: Picture) -> str:
    everything = [stats_of(each) for each in picture.maps]
    columns = columns_of(everything)
    head = "".join(f'<th scope="col" title="{escape(column.meaning)}">{escape(column.heading)}</th>' for column in columns)
    rows = "".join(_row(place, stats, columns) for place, stats in enumerate(everything))
    head += '<th scope="col" title="The five slowest calls.">slowest</th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(place: int, stats: Stats, columns: Sequence[Column]) -> str:
    name, *cells = (column.cell(stats) for column in columns)
    first = f'<th scope="row"><button data-map="{place}">{escape(name)}</button></th>'
    others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    slowest = "".join(
        f'<li><button data-map="{place}" data-index="{call.number}" title="call {call.number}: {escape(call.shown)}">'
        f"{escape(duration(call.end - call.start))}</button></li>"
        for call in stats.slowest
    )
    return f"<tr>{first}{others}<td><ol>{slowest}</ol></td></tr>"
