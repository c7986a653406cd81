"""When calls may start: so that they do not starve the other tasks of the event loop, and as a `rate` allows."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from contextvars import Context
from functools import partial
from math import inf
from time import monotonic

from concurrency.pacing import Place, Rate

SLICE = 0.002
"""Seconds for which calls that never suspend may hold the event loop before it turns."""


class EagerPace:
    """How long the loop has not turned, where the first step of a call runs as it is started: the clock tells."""

    def __init__(self) -> None:
        self._until = 0.0

    def open(self) -> None:
        """The loop has turned."""
        self._until = monotonic() + SLICE

    def spent(self) -> bool:
        """Whether it is time for the loop to turn; asked before each start."""
        return monotonic() >= self._until

    def close(self) -> None:
        """The loop is about to turn."""


class QueuedPace:
    """The same where first steps are queued, to run one after the other in the next turn: so many a turn as fit in a slice.

    The loop runs its queue in order, so what it runs right before and right after them can tell how long they took.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._started = 0  # those whose first steps are queued
        self._share = 16
        self._until = 0.0
        self._since = 0.0

    def open(self) -> None:
        """The loop has turned."""
        self._until = monotonic() + SLICE

    def spent(self) -> bool:
        """Whether it is time for the loop to turn; asked before each start."""
        return self._started >= self._share or monotonic() >= self._until

    def starts(self) -> None:
        """A call is about to be started."""
        if not self._started:
            self._loop.call_soon(self._begin)
        self._started += 1

    def close(self) -> None:
        """The loop is about to turn."""
        if self._started:
            self._loop.call_soon(self._measure, self._started)

    def _begin(self) -> None:
        self._started = 0
        self._since = monotonic()

    def _measure(self, started: int) -> None:
        took = monotonic() - self._since
        if took > SLICE:
            self._share = max(1, int(started * SLICE / took))
        elif started >= self._share and took < SLICE / 2:
            self._share *= 2


class RatePace:
    """The starts of one run under a `rate`, which others may share."""

    def __init__(self, rate: Rate, loop: AbstractEventLoop, context: Context) -> None:
        self._rate = rate
        self._loop = loop
        self._context = context
        self._place: Place | None = None  # in the line for `rate`
        self._timer: TimerHandle | None = None

    def is_due(self, retry: Callable[[], None]) -> bool:
        """Take a start, if one is due; else `retry` is called when it is."""
        if self._timer is not None:
            self._timer.cancel()
        if self._place is None:
            ring = partial(self._loop.call_soon_threadsafe, retry, context=self._context)
            self._place = self._rate.queue(ring, self._loop.is_running)
        delay = self._place.claim()
        if delay > 0:
            self._timer = None if delay == inf else self._loop.call_later(delay, retry, context=self._context)
            return False
        self._place = None
        return True

    def leave(self) -> None:
        """No further start is wanted."""
        if self._timer is not None:
            self._timer.cancel()
        if self._place is not None:
            self._place.leave()
