"""How many tasks an executor is given at once, and which these are."""

from collections import OrderedDict
from concurrent.futures import Future
from math import inf
from typing import Any

from concurrency._options import UNBOUNDED

QUEUE = 16
"""Tasks that wait in an executor of which as yet nothing is known: a new pool takes them up at once, and asks for more."""

REFILL = QUEUE // 2
"""How many tasks go to the executor at a time, but at the beginning: to wake the caller takes longer than to submit one."""

LONGEST_QUEUE = 1000
"""Tasks in flight on an executor whose futures never say that they run, as dask's: enough for a cluster of that many threads,
and few enough to cancel. More takes a `limit`."""

TICK = 0.01
"""Seconds after which an executor that has not said that anything runs is given twice as many tasks."""

LONGEST_TICK = 0.1
"""Seconds between two looks whether an executor has grown, when nothing else happens."""


class InFlight:
    """The tasks that have been submitted and have not ended. Used under the lock of their run.

    How many these are: `limit`, if there is one. Else what runs, by its futures' own account, and a queue of as many behind
    that, so that whoever ends a task finds another; a pool that grows makes the queue shorter, and gets more. There are
    executors of which no future says that it runs before it has ended: those get ever more, up to `LONGEST_QUEUE`.
    """

    def __init__(self, limit: int) -> None:
        self._starts: set[int] = set()  # of each task its first call; also while it is on its way to the executor, or from it
        self._limit = limit
        self._is_open = limit == UNBOUNDED
        self._futures: dict[int, Future[Any]] = {}
        self._queued: OrderedDict[int, Future[Any]] = OrderedDict()  # of these, those that have not been seen to run
        self._has_run = False  # whether one has been seen to
        self._depth = QUEUE
        self._tick = TICK

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._starts)

    def room(self) -> bool:
        """Whether there may be one more."""
        return self.count < self.most() or (self._look() and self.count < self.most())

    def most(self) -> int:
        """How many there may be, by what is known now."""
        if not self._is_open:
            return self._limit
        running = len(self._futures) - len(self._queued)
        return running + max(QUEUE, running) if self._has_run else self._depth

    def is_low(self) -> bool:
        """Whether it is time to wake who submits: not for each task that ends, where others wait."""
        self._look()
        return self.count <= self.most() - (REFILL if self._is_open else 1)

    def next_look(self) -> float:
        """Seconds until `room` is to be asked again though nothing has ended: no future tells when it begins to run."""
        return self._tick if self._is_open else inf

    def waited(self, before: int) -> None:
        """So many were in flight before the wait that is over now."""
        if self.count < before or self._look():
            self._tick = TICK
            return
        self._tick = min(2 * self._tick, LONGEST_TICK)
        if not self._has_run:
            self._depth = min(2 * self._depth, LONGEST_QUEUE)

    def enter(self, start: int) -> None:
        """A task is to be submitted, whose first call is the one at `start`."""
        self._starts.add(start)

    def add(self, start: int, future: Future[Any]) -> None:
        """It has been submitted."""
        self._futures[start] = future
        if self._is_open:
            self._queued[start] = future

    def remove(self, start: int) -> None:
        """It has ended, or has not been submitted in the end. May be said twice."""
        self._starts.discard(start)
        self._futures.pop(start, None)
        self._queued.pop(start, None)

    def newest_first(self) -> list[Future[Any]]:
        """In the order in which to cancel them: else others would begin as fast as those before them go."""
        return list(reversed(self._futures.values()))

    def _look(self) -> bool:
        """See which of those in the queue run by now; whether any does. The oldest run first, so only these are asked."""
        before = len(self._queued)
        while self._queued:
            start, future = next(iter(self._queued.items()))
            if future.running():
                self._has_run = True
            elif not future.done():
                break
            del self._queued[start]
        return len(self._queued) < before
