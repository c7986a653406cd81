"""When calls that are being started have to let the event loop turn, so that they do not starve its other tasks."""

from asyncio import AbstractEventLoop
from time import monotonic

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
        self._share = 16
        self._started = 0
        self._until = 0.0
        self._since = 0.0

    def open(self) -> None:
        """The loop has turned."""
        self._started = 0
        self._until = monotonic() + SLICE

    def spent(self) -> bool:
        """Whether it is time for the loop to turn; asked before each start."""
        return self._started >= self._share or monotonic() >= self._until

    def count(self) -> None:
        """A call is about to be started."""
        if not self._started:
            self._loop.call_soon(self._begin)
        self._started += 1

    def close(self) -> None:
        """The loop is about to turn."""
        if self._started:
            self._loop.call_soon(self._measure, self._started)

    def _begin(self) -> None:
        self._since = monotonic()

    def _measure(self, started: int) -> None:
        took = monotonic() - self._since
        if took > SLICE:
            self._share = max(1, int(started * SLICE / took))
        elif started >= self._share and took < SLICE / 2:
            self._share *= 2
