"""A timeline as Chrome trace events, held against the fields that the format has."""

import json
from typing import Any

from concurrency._recorder import Outcome
from concurrency._trace_events import trace_events
from tests.timeline_hand import Hand


def fetch(url: str) -> None: ...


async def a_fetch(url: str) -> None: ...


# Of the format, what is used here: for each phase, the fields that an event has to have and those that it may have.
# https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
NUMBER = (int, float)
COMMON: dict[str, Any] = {"ph": str, "pid": int, "name": str, "args": dict}
PHASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "X": ({**COMMON, "ts": NUMBER, "dur": NUMBER, "tid": int, "cat": str}, {"cname": str}),
    "C": ({**COMMON, "ts": NUMBER}, {}),
    "M": (COMMON, {"tid": int}),
}
METADATA = {"process_name": {"name": str}, "process_sort_index": {"sort_index": int}, "thread_name": {"name": str}, "thread_sort_index": {"sort_index": int}}  # fmt: skip
COLOURS = {"good", "bad", "terrible", "grey", "white"}  # of the viewers' own list


def _events(hand: Hand) -> list[dict[str, Any]]:
    trace = json.loads(trace_events(hand.picture()))
    assert trace.keys() == {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = trace["traceEvents"]
    for event in events:
        _check(event)
    return events


def _check(event: dict[str, Any]) -> None:
    required, optional = PHASES[event["ph"]]
    assert required.keys() <= event.keys() <= required.keys() | optional.keys(), event
    for field, value in event.items():
        assert isinstance(value, {**required, **optional}[field]), (field, value)
        assert not isinstance(value, bool)
    if event["ph"] == "M":
        assert {key: type(value) for key, value in event["args"].items()} == METADATA[event["name"]]
        assert ("tid" in event) is event["name"].startswith("thread_")
    elif event["ph"] == "C":
        assert all(isinstance(value, NUMBER) for value in event["args"].values())
    else:
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        assert event["cname"] in COLOURS


def _hand() -> Hand:
    hand = Hand()
    each = hand.map(fetch)
    each.call(0, 0.5, 1.5, worker=1, ready=0.25, shown="a")
    each.call(1, 1, 2, worker=2, outcome=Outcome.FAILURE)
    each.call(2, 1.5, 1.75, worker=1, outcome=Outcome.CAUGHT)
    hand.map(a_fetch, 3, operation="a_map").call(0, 3, 4, outcome=Outcome.CANCELLED)
    return hand


def test_calls_are_complete_events_in_microseconds() -> None:
    calls = [event for event in _events(_hand()) if event["ph"] == "X"]
    assert [(each["name"], each["pid"], each["tid"], each["ts"], each["dur"]) for each in calls] == [
        ("'a'", 1, 1, 500_000, 1_000_000),
        ("1", 1, 2, 1_000_000, 1_000_000),
        ("2", 1, 1, 1_500_000, 250_000),
        ("0", 2, 1, 3_000_000, 1_000_000),
    ]
    assert [each["cat"] for each in calls] == ["result", "failed", "caught", "cancelled"]
    assert calls[0]["args"] == {
        "map": "fetch.map (map 0 of this timeline)",
        "index": 0,
        "outcome": "result",
        "waited µs": 250_000,
    }


def test_sections_are_processes_and_lanes_are_threads() -> None:
    names = [(event["pid"], event.get("tid"), event["args"]["name"]) for event in _events(_hand()) if "name" in event["args"]]
    assert names == [
        (1, None, "fetch.map"),
        (1, 1, "thread 1"),
        (1, 2, "thread 2"),
        (2, None, "a_fetch.a_map"),
        (2, 1, "slot 1"),
    ]


def test_events_of_one_thread_never_overlap() -> None:
    hand = Hand()
    each = hand.map(fetch)
    for place in range(200):
        each.call(place, place * 0.7 % 13, place * 0.7 % 13 + place % 7, worker=place % 3)
    until: dict[int, float] = {}
    for event in sorted((event for event in _events(hand) if event["ph"] == "X"), key=lambda event: event["ts"]):
        assert event["ts"] >= until.get(event["tid"], 0) - 0.002  # to the nanosecond
        until[event["tid"]] = event["ts"] + event["dur"]


def test_calls_in_flight_are_a_counter() -> None:
    counted = [
        (event["ts"] / 1e6, event["args"]["calls"]) for event in _events(_hand()) if event["ph"] == "C" and event["pid"] == 1
    ]
    assert counted == [(0.5, 1), (1, 2), (1.5, 1), (1.5, 2), (1.75, 1), (2, 0)]


def test_whatever_the_inputs_are_it_is_plain_text() -> None:
    hand = Hand()
    texts = ["\ud800", "\u2028", '"', "</script>", "\x00", "é"]
    each = hand.map(fetch)
    for place, text in enumerate(texts):
        each.call(place, place, place + 1, shown=text)
    assert trace_events(hand.picture()).isascii()
    assert [event["name"] for event in _events(hand) if event["ph"] == "X"] == [repr(text) for text in texts]


def test_it_says_what_it_does_not_show() -> None:
    hand = Hand(keep=1)
    hand.map(fetch).calls([(0, 1), (1, 2)])
    assert "The oldest call is not shown: keep=1" in json.loads(trace_events(hand.picture()))["otherData"]["omitted"]
