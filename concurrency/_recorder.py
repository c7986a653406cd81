"""What a timeline keeps of each call, and how it comes by it: clocks around the call, and one tuple at its end."""

from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import Enum
from itertools import count, repeat
from os import getpid
from threading import RLock, get_ident
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, NamedTuple

from concurrency._observing import Observer, Times
from concurrency._options import UNBOUNDED
from concurrency._outcomes import as_outcome, is_caught
from concurrency._runs import HAS_GIL
from concurrency._shown import Reprs

if TYPE_CHECKING:
    from concurrency._calls import Job


class Outcome(Enum):
    """How a call has ended."""

    RESULT = "result"
    FAILURE = "failed"
    CAUGHT = "caught"
    CANCELLED = "cancelled"
    RUNNING = "running"  # it has not, as yet


class Begun(NamedTuple):
    """A call from its start on. Made as a plain tuple where calls run, since that is five times as fast."""

    number: int  # its place among the inputs, from 0
    ready: float
    start: float
    worker: object  # what tells the workers of a map apart; None if nothing does
    shown: Any  # the input, if it is small and cannot change; else its repr, as a `Text`


Ended = tuple[int, int, tuple[int, float, float, object, Any], float, int]
"""The number of the record, that of its map, a `Begun`, when the call has ended, and the place of its `Outcome`.

Nothing but numbers and strings, so the garbage collector soon leaves it alone: to go through a hundred thousand of them again
and again would cost more than all the rest.
"""

_OUTCOMES = list(Outcome)
_RESULT = _OUTCOMES.index(Outcome.RESULT)


class Recorder:
    """The calls of all maps that begin while it is open, at most the last `keep`. Any thread may add to it."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.is_open = False
        self.origin = perf_counter()
        self.began_at = time()
        self.numbers = count()
        self._ended: deque[Ended] = deque(maxlen=keep)
        self._maps: dict[int, Watch] = {}
        self._lock = RLock()  # an object that the garbage collector finalizes meanwhile may run a map
        self._process = getpid()
        # With a GIL to append is one step, and so is to copy. Without it a copy may find the deque changed under its hands.
        self.append: Callable[[Ended], None] = self._ended.append if HAS_GIL else self._append_locked

    def listens(self) -> bool:
        """Whether maps that begin now are recorded. In a forked child nobody would ever see them."""
        return self.is_open and self._process == getpid()

    def snapshot(self) -> "tuple[dict[int, Watch], list[Ended]]":
        """The maps by their numbers, and the calls so far."""
        with self._lock:
            return self._maps.copy(), list(self._ended.copy())  # a copy, since to iterate is not one step

    def add_map(self, watch: "Watch") -> None:
        """A map begins."""
        with self._lock:
            self._maps[watch.number] = watch
            if len(self._maps) > 2 * self.keep:
                self._forget_maps()

    def _append_locked(self, record: Ended) -> None:  # pragma: no cover  without a GIL alone
        with self._lock:
            self._ended.append(record)

    def _forget_maps(self) -> None:
        """Those of which nothing is kept and nothing is running, but for the newest."""
        kept = {record[1] for record in self._ended.copy()}
        newest = [*self._maps][-self.keep :]
        kept.update(newest, (number for number, watch in self._maps.copy().items() if watch.running))
        for number in self._maps.copy().keys() - kept:
            del self._maps[number]


class Watch(Observer):
    """The observer of one map. It stays for as long as its calls are kept, and holds neither function nor inputs."""

    def __init__(self, job: "Job", recorders: Sequence[Recorder]) -> None:
        options = job.options
        self.number = next(_maps)
        self.name = job.name
        self.kind = "asyncio" if job.operation.is_async else "threads" if options.executor is None else "executor"
        self.limit = None if options.limit == UNBOUNDED else options.limit
        self.rate = None if options.rate is None else repr(options.rate)
        self.begun = perf_counter()
        self.running: dict[int, Any] = {}
        self._ready: dict[int, float] = {}
        self._sent: dict[int, int] = {}  # by the first call of a task, how many there are
        self._is_single = job.is_single
        self._catch = options.catch
        self._reprs = Reprs()
        self._recorders = recorders
        for recorder in recorders:
            recorder.add_map(self)

    def reading(self, inputs: Iterator[Any]) -> Iterator[Any]:
        return map(self._read, inputs, count())

    def waits(self, index: int) -> None:
        self._ready[index] = perf_counter()

    def _read(self, inputs: Any, index: int) -> Any:
        self._ready[index] = perf_counter()
        return inputs

    def calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        worker = get_ident()
        running, ready, since, show, fail, now, this = self._tools()
        append, numbers = self._sink()
        is_single = self._is_single

        def observed(index: int, inputs: Any) -> Any:
            try:
                shown = inputs
                if type(shown) is not int:
                    shown = show(shown)
                begun: Any = (index, ready.pop(index, since), now(), worker, shown)
                running[index] = begun
                value = function(inputs) if is_single else function(*inputs)
                append((next(numbers), this, begun, now(), _RESULT))
                del running[index]
                return value
            except BaseException as error:
                fail(index, error)
                shown = begun = None
                del inputs  # the frame of a call that fails holds this one
                raise

        return observed

    def a_calling(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        running, ready, _, show, fail, now, this = self._tools()
        append, numbers = self._sink()
        is_single = self._is_single

        async def observed(index: int, inputs: Any) -> Any:
            try:
                shown = inputs
                if type(shown) is not int:
                    shown = show(shown)
                start = now()
                begun: Any = (index, ready.pop(index, start) if ready else start, start, None, shown)
                running[index] = begun
                value = await (function(inputs) if is_single else function(*inputs))
                append((next(numbers), this, begun, now(), _RESULT))
                del running[index]
                return value
            except BaseException as error:
                fail(index, error)
                shown = begun = None
                del inputs  # as above, from Python 3.12 on
                raise

        return observed

    def sent(self, start: int, inputs: Sequence[Any]) -> None:
        now = perf_counter()
        for number, each in enumerate(inputs, start):
            self.running[number] = (number, self._ready.pop(number, now), now, None, self._reprs.show(each))
        self._sent[start] = len(inputs)

    def returned(self, start: int, outcomes: Sequence[BaseException | None], times: Times | None) -> None:
        now = perf_counter()
        calls = [self.running.pop(number) for number in range(start, start + self._sent.pop(start, 0))]
        worker: int | str | None = None
        spans: Sequence[tuple[float, float]] = ()
        if times is not None:
            worker, spans = times.worker, _by_our_clock(times.spans, calls[0][2], now)
        for place, (begun, error) in enumerate(zip(calls, outcomes, strict=False)):
            number, ready, sent, _, shown = begun
            since, until = spans[place] if place < len(spans) else (sent, now)
            self._keep((number, ready, since, worker, shown), until, self._outcome(error))

    def lost(self, start: int) -> None:
        now = perf_counter()
        for number in range(start, start + self._sent.pop(start, 0)):
            self._keep(self.running.pop(number), now, Outcome.FAILURE)

    def _tools(self) -> Any:
        """What is needed for each call, to be held in local names."""
        return self.running, self._ready, self.begun, self._reprs.show, self._fail, perf_counter, self.number

    def _sink(self) -> tuple[Callable[[Ended], object], Iterator[int]]:
        """What takes the record of a call that has ended, and what numbers it."""
        if len(self._recorders) == 1:
            return self._recorders[0].append, self._recorders[0].numbers
        return self._append_to_all, repeat(0)

    def _append_to_all(self, record: Ended) -> None:
        for recorder in self._recorders:
            recorder.append((next(recorder.numbers), *record[1:]))

    def _fail(self, index: int, error: BaseException) -> None:
        begun = self.running.pop(index, None)
        if begun is not None:  # else it was a repr that failed
            self._keep(begun, perf_counter(), self._outcome(error))

    def _keep(self, begun: Any, end: float, outcome: Outcome) -> None:
        self._append_to_all((0, self.number, begun, end, _OUTCOMES.index(outcome)))

    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            return Outcome.RESULT
        if self.kind == "asyncio" and _is_cancellation(error):
            return Outcome.CANCELLED
        return Outcome.CAUGHT if is_caught(as_outcome(error), self._catch) else Outcome.FAILURE


_maps = count()
"""Numbers the maps of all timelines."""


def _by_our_clock(spans: Sequence[tuple[float, float]], sent: float, now: float) -> Sequence[tuple[float, float]]:
    """What a worker says of its calls, if it can be: all that it ran lies between sending and now.

    Processes of one machine share a clock. Of another machine what lasted how long is known: the last call ended just now.
    """
    if not spans or (sent <= spans[0][0] and spans[-1][1] <= now):
        return spans
    ahead = spans[-1][1] - now
    return [(start - ahead, end - ahead) for start, end in spans]


def _is_cancellation(error: BaseException) -> bool:
    from asyncio import CancelledError  # noqa: PLC0415  loaded already, by whoever runs on it

    return issubclass(type(error), CancelledError | GeneratorExit)  # the latter when the loop has been abandoned
