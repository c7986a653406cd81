"""A map in numbers: how many calls, how long, how many at once, and what they waited for."""

from collections.abc import Sequence
from heapq import nlargest
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from concurrency._picture import Call, Map, Picture
from concurrency._recorder import Outcome

SLOWEST = 5
"""How many of the slowest calls are named."""


class Stats(NamedTuple):
    """One map. Times in seconds. Those of single calls are of calls that have ended."""

    name: str
    limit: int | None
    counts: dict[Outcome, int]
    wall: float  # from the map's beginning to the end of its last call
    busy: float  # the sum of all calls
    median: float
    p95: float
    longest: float
    slowest: Sequence[Call]
    at_limit: float | None  # as many calls as `limit` allows were running, and more were to come; None without a limit
    for_rate: float | None  # a call was there, and nothing but `rate` kept it from starting; None without a rate

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    @property
    def at_once(self) -> float:
        """How many calls were running on average: what concurrency has achieved."""
        return self.busy / self.wall if self.wall else 0.0


def stats_of(each: Map) -> Stats:
    """The numbers of a map."""
    counts = dict.fromkeys(Outcome, 0)
    for call in each.calls:
        counts[call.outcome] += 1
    took = sorted(call.end - call.start for call in each.calls if call.outcome is not Outcome.RUNNING)
    at_limit, for_rate = _lost(each)
    return Stats(
        each.name,
        each.limit,
        counts,
        max((call.end for call in each.calls), default=each.begun) - each.begun,
        sum(call.end - call.start for call in each.calls),
        _percentile(took, 0.5),
        _percentile(took, 0.95),
        took[-1] if took else 0.0,
        nlargest(SLOWEST, each.calls, key=lambda call: call.end - call.start),
        None if each.limit is None else at_limit,
        None if each.rate is None else for_rate,
    )


def headline(picture: Picture) -> str:
    """The whole timeline in one sentence."""
    calls = [call for each in picture.maps for call in each.calls]
    counts = {outcome: sum(call.outcome is outcome for call in calls) for outcome in Outcome}
    others = [f"{counts[outcome]:,} {_WORDS[outcome]}" for outcome in _WORDS if counts[outcome]]
    what = f"{len(calls):,} {'call' if len(calls) == 1 else 'calls'} in {duration(picture.end - picture.start)}"
    return ", ".join([what, *others])


def omission(picture: Picture) -> str:
    """What the timeline does not show, if anything."""
    if not picture.dropped:
        return ""
    what = "call is" if picture.dropped == 1 else f"{picture.dropped:,} calls are"
    return f"The oldest {what} not shown: keep={picture.keep}. All numbers are of those that are."


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size * 0.9995:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0 s"


def three_digits(number: float) -> str:
    """A positive number, not more precisely than anybody reads it."""
    return f"{number:,.0f}" if number >= 99.95 else f"{number:#.3g}"


_WORDS = {
    Outcome.FAILURE: "failed",
    Outcome.CAUGHT: "caught",
    Outcome.CANCELLED: "cancelled",
    Outcome.RUNNING: "still running",
}


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest that so large a share does not exceed."""
    return ordered[ceil(share * len(ordered)) - 1] if ordered else 0.0


def _lost(each: Map) -> tuple[float, float]:
    """Seconds in which the map ran at its limit with more to come, and in which a call waited below it, so for the rate."""
    changes = [(call.ready, 0) for call in each.calls]
    changes += [(call.start, 1) for call in each.calls]
    changes += [(call.end, -1) for call in each.calls]
    changes.sort()
    at_limit = for_rate = 0.0
    ready = running = started = 0
    total = len(each.calls)
    for (moment, change), (following, _) in pairwise(changes):
        ready += change == 0
        started += change == 1
        running += change
        if started == total:
            break
        if each.limit is not None and running >= each.limit:
            at_limit += following - moment
        elif ready > started:
            for_rate += following - moment
    return at_limit, for_rate
