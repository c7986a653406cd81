"""The numbers of a timeline, its lanes and its table in the terminal: each from calls fed by hand."""

import gc
import weakref
from typing import Any

import pytest

from concurrency._map_stats import duration, stats_of
from concurrency._recorder import Outcome
from concurrency._shown import PATIENCE, Reprs, Text, text_of
from tests.timeline_hand import Hand


def fetch(url: str) -> None: ...


async def a_fetch(url: str) -> None: ...


def _stats(hand: Hand) -> Any:
    (each,) = hand.picture().maps
    return stats_of(each)


def test_the_numbers_of_a_map() -> None:
    hand = Hand()
    each = hand.map(fetch, begun=1, limit=8)
    outcomes = [*[Outcome.RESULT] * 16, Outcome.FAILURE, Outcome.CAUGHT, Outcome.CAUGHT, Outcome.CANCELLED]
    for place, outcome in enumerate(outcomes):
        each.call(place, 2, 2 + place + 1, outcome=outcome)
    each.call(20, 21.5, None)
    stats = _stats(hand)
    assert stats.calls == 21
    counts = [stats.counts[outcome] for outcome in Outcome]
    assert counts == [16, 1, 2, 1, 1]
    assert (stats.median, stats.p95, stats.longest) == (10, 19, 20)
    ended = [call.number for call in stats.slowest if call.outcome is not Outcome.RUNNING]
    assert ended[:4] == [19, 18, 17, 16]


def test_what_concurrency_has_achieved() -> None:
    hand = Hand()
    hand.map(fetch, begun=1).calls([(2, 4), (2, 5), (3, 5)])
    stats = _stats(hand)
    assert (stats.wall, stats.busy, stats.at_once) == (4, 7, 1.75)


def test_a_map_without_calls() -> None:
    hand = Hand()
    hand.map(fetch, limit=3)
    stats = _stats(hand)
    assert (stats.calls, stats.wall, stats.at_once, stats.median, stats.at_limit) == (0, 0, 0, 0, 0)
    assert "0 calls in 0 s" in repr(hand.timeline)


@pytest.mark.parametrize(
    ("limit", "lost"),
    [
        (1, 6),  # from 0 to 6, when the last one starts
        (2, 2),  # where two overlap, and another is to come
        (3, 0),
        (None, None),
    ],
)
def test_time_lost_to_the_limit(limit: int | None, lost: float | None) -> None:
    hand = Hand()
    each = hand.map(a_fetch, operation="a_map", limit=limit)
    for place, (start, end) in enumerate([(0, 4), (1, 3), (4, 6), (6, 8), (6, 9)]):
        each.call(place, start, end)
    each.call(5, 6.0, 7.0)
    assert _stats(hand).at_limit == lost


def test_time_lost_to_the_rate_is_where_the_limit_is_not_reached() -> None:
    hand = Hand()
    each = hand.map(fetch, limit=2, rate=1.0)
    each.call(0, 0, 3, ready=0)
    each.call(1, 1, 3, ready=0)  # waits for the rate from 0 to 1
    each.call(2, 4, 5, ready=1)  # for the limit from 1 to 3, then for the rate
    each.call(3, 8, 9, ready=7.5)  # the source is slow from 4 to 7.5
    stats = _stats(hand)
    assert (stats.at_limit, stats.for_rate) == (2, 2.5)


def test_without_a_rate_nothing_is_lost_to_it() -> None:
    hand = Hand()
    hand.map(fetch, limit=2).call(0, 3, 4, ready=0)
    assert _stats(hand).for_rate is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (2e-9, "2 ns"), (1.5e-6, "1.50 µs"), (0.0124, "12.4 ms"), (0.9999, "1.00 s"), (99.96, "100 s"), (4321, "4,321 s"), (None, "-")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def _lanes(hand: Hand) -> list[tuple[str, list[str]]]:
    picture = hand.picture()
    return [
        (section.name, [section.lanes[lane] for lanes in section.lane_of for lane in lanes]) for section in picture.sections
    ]


def test_each_worker_has_a_lane() -> None:
    hand = Hand()
    each = hand.map(fetch)
    for place, worker in enumerate([7, 8, 7, 8, 9]):
        each.call(place, place, place + 1.5 if worker == 9 else place + 1, worker=worker)
    assert _lanes(hand) == [("fetch.map", ["thread 1", "thread 2", "thread 1", "thread 2", "thread 3"])]


def test_calls_on_asyncio_take_the_first_free_slot() -> None:
    hand = Hand()
    hand.map(a_fetch, operation="a_map").calls([(0, 5), (0, 2), (1, 3), (2, 4), (5, 6), (5, 6)])
    assert _lanes(hand) == [("a_fetch.a_map", ["slot 1", "slot 2", "slot 3", "slot 2", "slot 1", "slot 2"])]


def test_calls_of_one_worker_that_overlap_do_not_share_a_lane() -> None:
    hand = Hand()
    hand.map(fetch).calls([(0, 5), (1, 2), (3, 4)], worker=1)
    assert _lanes(hand) == [("fetch.map", ["thread 1", "thread 2", "thread 2"])]


def test_maps_of_one_name_share_their_lanes() -> None:
    hand = Hand()
    hand.map(fetch).calls([(0, 1)], worker=1)
    hand.map(a_fetch, operation="a_map").calls([(0, 1)])
    hand.map(fetch, begun=2).calls([(2, 3)], worker=1)
    assert _lanes(hand) == [("fetch.map", ["thread 1", "thread 1"]), ("a_fetch.a_map", ["slot 1"])]


def test_the_oldest_go_and_the_timeline_says_so() -> None:
    hand = Hand(keep=10)
    old, new = hand.map(fetch), hand.map(fetch, begun=4)
    old.calls([(place, place + 1) for place in range(20)])
    new.calls([(place, place + 1) for place in range(100, 108)])
    picture = hand.picture()
    assert [[call.number for call in each.calls] for each in picture.maps] == [[18, 19], [*range(8)]]
    assert picture.dropped == 18
    assert "oldest 18 calls" in repr(hand.timeline)


def test_a_map_of_which_nothing_is_kept_is_not_shown_as_empty() -> None:
    hand = Hand(keep=2)
    for begun in (0, 10):
        hand.map(fetch, begun).calls([(begun, begun + 1), (begun, begun + 1)])
    assert [each.begun for each in hand.picture().maps] == [10]


def test_what_is_recorded_is_bounded_in_maps_too() -> None:
    hand = Hand(keep=5)
    watches = [weakref.ref(hand.map(fetch).watch) for _ in range(50)]
    gc.collect()
    assert sum(watch() is not None for watch in watches) <= 10


def test_a_call_that_runs_is_shown_up_to_now() -> None:
    hand = Hand()
    hand.map(fetch).call(3, 1, None)
    ((call,),) = [each.calls for each in hand.picture().maps]
    assert call.outcome is Outcome.RUNNING
    assert call.end > 1
    assert "1 still running" in repr(hand.timeline)


def test_the_table_in_a_terminal() -> None:
    hand = Hand()
    each = hand.map(fetch, limit=2)
    each.call(0, 0, 1)
    each.call(1, 0, 2, outcome=Outcome.FAILURE)
    hand.map(a_fetch, 2, operation="a_map").call(0, 2, 2.5)
    assert repr(hand.timeline).splitlines() == [
        "Timeline: 3 calls in 2.50 s, 1 failed",
        "map            calls  failed    wall     sum  at once  limit     p50     p95     max  lost to limit",
        "fetch.map          2       1  2.00 s  3.00 s     1.50      2  1.00 s  2.00 s  2.00 s            0 s",
        "a_fetch.a_map      1          500 ms  500 ms     1.00      -  500 ms  500 ms  500 ms              -",
    ]


def test_of_many_maps_the_longest_are_shown() -> None:
    hand = Hand()
    for place in range(30):
        hand.map(fetch).call(0, 0, place + 1)
    lines = repr(hand.timeline).splitlines()
    assert len(lines) == 23
    assert "30.0 s" in lines[2]
    assert lines[-1] == "and 10 shorter maps"


class _Odd:
    def __init__(self, repr_: str = "odd") -> None:
        self._repr = repr_

    def __repr__(self) -> str:
        return self._repr


class _Broken:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("x", "'x'"),
        (None, "None"),
        (b"x", "b'x'"),
        (_Odd(), "odd"),
        (_Odd("y" * 1000), f"{'y' * 98}...{'y' * 99}"),
        ([*range(1000)], "[0, 1, 2, 3, 4, 5, ...]"),
        (("a", 2), "('a', 2)"),
    ],
)
def test_what_is_shown_of_an_input(value: object, text: str) -> None:
    assert text_of(Reprs().show(value)) == text


def test_a_repr_that_raises_is_no_failure() -> None:
    assert text_of(Reprs().show(_Broken())).startswith("<_Broken ")


def test_a_long_string_is_not_kept() -> None:
    shown = Reprs().show("x" * 100_000)
    assert type(shown) is Text
    assert len(text_of(shown)) <= 200


def test_an_object_is_not_kept() -> None:
    value = _Odd()
    shown, gone = Reprs().show(value), weakref.ref(value)
    del value
    gc.collect()
    assert gone() is None
    assert text_of(shown) == "odd"


def test_a_type_whose_repr_takes_long_is_shown_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("concurrency._shown.perf_counter", lambda: now[0])

    class Slow:
        def __repr__(self) -> str:
            now[0] += PATIENCE / 4
            return "slow"

    class Quick:
        def __repr__(self) -> str:
            now[0] += 1e-6
            return "quick"

    reprs = Reprs()
    assert [text_of(reprs.show(Slow())) for _ in range(7)] == ["slow"] * 5 + ["<Slow>"] * 2
    assert {text_of(reprs.show(Quick())) for _ in range(100_000)} == {"quick"}
