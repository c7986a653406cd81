"""What a timeline shows, whatever the form: calls in seconds from its beginning, each in a lane with others of its kind."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from time import perf_counter
from typing import Any, NamedTuple

from concurrency._recorder import Begun, Outcome, Recorder, Watch
from concurrency._shown import text_of


class Call(NamedTuple):
    """One call. Times are seconds from the beginning of the timeline; one that is still running ends now."""

    number: int  # its place among the inputs, from 0
    shown: str
    ready: float
    start: float
    end: float
    outcome: Outcome
    worker: object


class Map(NamedTuple):
    """One map and its calls, in the order of their starts."""

    name: str
    kind: str
    limit: int | None
    rate: str | None
    begun: float
    calls: Sequence[Call]


class Section(NamedTuple):
    """All maps of one name: one set of lanes, in which no two calls overlap."""

    name: str
    lanes: Sequence[str]
    maps: Sequence[int]  # places in `Picture.maps`
    lane_of: Sequence[Sequence[int]]  # for each of these maps, the lane of each call


class Picture(NamedTuple):
    """A timeline, as it is at a moment."""

    began_at: float  # seconds since the epoch
    start: float  # of the first map
    end: float  # of the last call
    maps: Sequence[Map]
    sections: Sequence[Section]
    dropped: int  # how many of the oldest calls are not kept any more
    keep: int


_OUTCOMES = list(Outcome)


def picture_of(recorder: Recorder) -> Picture:
    """What has been recorded so far. Other threads may go on recording."""
    watches, _ = recorder.snapshot()
    running = [(number, begun) for number, watch in watches.items() for begun in watch.running.copy().values()]
    watches, ended = recorder.snapshot()  # after what runs: a call that ends in between is there twice rather than not at all
    now, origin = perf_counter(), recorder.origin
    calls: dict[int, dict[int, Call]] = defaultdict(dict)
    for number, begun in running:
        calls[number][begun[0]] = _call(begun, now, Outcome.RUNNING, origin)
    for _, number, begun, end, outcome in ended:
        calls[number][begun[0]] = _call(begun, end, _OUTCOMES[outcome], origin)
    dropped = max(record[0] for record in ended) + 1 - len(ended) if ended else 0
    maps = [
        _map(watch, calls[number].values(), origin)
        for number, watch in sorted(watches.items())
        if calls[number] or not dropped  # else there may have been some
    ]
    start = maps[0].begun if maps else 0.0
    end = max((call.end for each in maps for call in each.calls), default=start)
    return Picture(recorder.began_at, start, end, maps, _sections(maps), dropped, recorder.keep)


def _map(watch: Watch, calls: Iterable[Call], origin: float) -> Map:
    return Map(
        watch.name,
        watch.kind,
        watch.limit,
        watch.rate,
        max(watch.begun - origin, 0.0),
        sorted(calls, key=lambda call: (call.start, call.number)),
    )


def _call(begun: Any, end: float, outcome: Outcome, origin: float) -> Call:
    number, ready, start, worker, shown = Begun(*begun)
    start, end = max(start - origin, 0.0), max(end - origin, 0.0)
    return Call(number, text_of(shown), min(max(ready - origin, 0.0), start), start, max(end, start), outcome, worker)


def _sections(maps: Sequence[Map]) -> list[Section]:
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, each in enumerate(maps):
        if each.calls:
            places[each.name, each.kind].append(place)
    return [_section(name, kind, here, [maps[place] for place in here]) for (name, kind), here in places.items()]


def _section(name: str, kind: str, places: Sequence[int], maps: Sequence[Map]) -> Section:
    lanes = _Lanes(kind)
    lane_of = [[0] * len(each.calls) for each in maps]
    everything = [(call.start, number, place) for number, each in enumerate(maps) for place, call in enumerate(each.calls)]
    for _, number, place in sorted(everything):
        lane_of[number][place] = lanes.take(maps[number].calls[place])
    return Section(name, lanes.labels, places, lane_of)


class _Lanes:
    """The calls of one worker in a lane of its own. Where workers are not known, or overlap, the first lane that is free."""

    def __init__(self, kind: str) -> None:
        self.labels: list[str] = []
        self._kind = kind
        self._busy: dict[object, list[tuple[float, int]]] = defaultdict(list)
        self._free: dict[object, list[int]] = defaultdict(list)

    def take(self, call: Call) -> int:
        """The lane of a call, which starts no sooner than those before."""
        busy, free = self._busy[call.worker], self._free[call.worker]
        while busy and busy[0][0] <= call.start:
            heappush(free, heappop(busy)[1])
        if not free:
            heappush(free, len(self.labels))
            self.labels.append(self._label(call.worker))
        lane = heappop(free)
        heappush(busy, (call.end, lane))
        return lane

    def _label(self, worker: object) -> str:
        number = len(self.labels) + 1
        if isinstance(worker, str):
            return worker
        if worker is not None:
            return f"thread {number}"
        return f"{'slot' if self._kind == 'asyncio' else 'executor'} {number}"
