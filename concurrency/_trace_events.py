"""A timeline as Chrome trace events, which Perfetto and `chrome://tracing` open.

A process stands for a section, its threads for the lanes. https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import json
from collections.abc import Iterator
from typing import Any

from concurrency._map_stats import omission
from concurrency._picture import Call, Map, Picture, Section
from concurrency._recorder import Outcome

_COLOURS = {  # of those that the viewers know by name
    Outcome.RESULT: "good",
    Outcome.FAILURE: "terrible",
    Outcome.CAUGHT: "bad",
    Outcome.CANCELLED: "grey",
    Outcome.RUNNING: "white",
}


def trace_events(picture: Picture) -> str:
    """The JSON text: all ASCII, whatever the inputs are."""
    events: list[dict[str, Any]] = []
    for number, section in enumerate(picture.sections, 1):
        events += _names(number, section)
        events += _calls(number, section, picture)
        events += _in_flight(number, section, picture)
    about = {"began": picture.began_at, **({"omitted": omission(picture)} if picture.dropped else {})}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}, separators=(",", ":"))


def _names(pid: int, section: Section) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": section.name}}
    yield {"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}
    for tid, label in enumerate(section.lanes, 1):
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": label}}
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}


def _calls(pid: int, section: Section, picture: Picture) -> Iterator[dict[str, Any]]:
    for place, lanes in zip(section.maps, section.lane_of, strict=True):
        for call, lane in zip(picture.maps[place].calls, lanes, strict=True):
            yield {"ph": "X", "pid": pid, "tid": lane + 1, **_call(picture.maps[place], place, call)}


def _call(each: Map, place: int, call: Call) -> dict[str, Any]:
    return {
        "name": call.shown,
        "cat": call.outcome.value,
        "ts": _micro(call.start),
        "dur": _micro(call.end - call.start),
        "cname": _COLOURS[call.outcome],
        "args": {
            "map": f"{each.name} (map {place} of this timeline)",
            "index": call.number,
            "outcome": call.outcome.value,
            "waited µs": _micro(call.start - call.ready),
        },
    }


def _in_flight(pid: int, section: Section, picture: Picture) -> Iterator[dict[str, Any]]:
    calls = [call for place in section.maps for call in picture.maps[place].calls]
    changes = sorted([(call.start, 1) for call in calls] + [(call.end, -1) for call in calls])
    running = 0
    for moment, change in changes:
        running += change
        yield {"ph": "C", "pid": pid, "name": "in flight", "ts": _micro(moment), "args": {"calls": running}}


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)
