"""`Rate`: how often calls may start, shared by whoever starts them.

Whoever is first in line takes the next start when that is due, and only then goes: so starts are evenly spaced and in turn.
Everybody sleeps until its own time, counted by the places ahead, so nobody depends on being woken by anybody; a bell only
brings forward whoever comes to the front before its time. A place whose owner has gone is dropped when it comes to the front.
"""

# `Rate` and `Place` are two halves of one thing.
# pyright: reportPrivateUsage=false

import os
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from math import inf, isfinite
from threading import Lock, RLock
from time import monotonic
from weakref import WeakSet

from concurrency._brief import brief

NAP = 1.0
"""Seconds after which a thread that waits wakes up for a moment: Python only notes a signal that comes just before the thread
falls asleep, and Ctrl-C would go unheard."""

SLACK = 0.01
"""Seconds by which a start may be late without delaying those after it: asyncio's timers round up to 1 ms, and a thread may
wait 5 ms for the GIL. Whatever is later has been held up, and to make up for that would be a burst."""

EARLY = 0.001
"""Seconds of sleep that are not worth a bell: timers are no more exact."""


class Clock:
    """Where time comes from. Tests put another one in the place of `clock`."""

    def now(self) -> float:
        """Seconds, from a clock that never goes back."""
        return monotonic()

    def acquire(self, bell: Lock, seconds: float) -> bool:
        """Wait for a lock, at most so long; whether it was released. May return before."""
        return bell.acquire(timeout=min(seconds, NAP))


clock = Clock()
"""What every wait with an end in this package goes by, but for asyncio's: those go by their loop."""


class Rate:
    """At most `calls` starts per `per` seconds, evenly spaced: the first at once, the next `per / calls` seconds later.

    Evenly means that there is no burst, neither at the beginning nor after an idle time, whereas over a long run no time is
    lost: no window of `length` seconds holds more than `calls / per * length + 1` starts. A start whose thread or event loop
    wakes up late, by up to 10 ms, does not delay those after it.

    One `Rate` may be given to any number of maps, and waited for in plain code, in any threads and event loops of a process: it
    stands for what the other side allows. Whoever came first starts first, and who gives up costs others nothing.

    A copy that is pickled and sent to another process starts anew there: processes do not share a rate.

    Args:
        calls: how many starts; any positive number, 0.5 say.
        per: in how many seconds.

    Raises:
        TypeError, ValueError: if one of them is no positive, finite number.

    >>> from concurrency import Concurrent, Rate
    >>> api = Rate(600, per=60)
    >>> Concurrent.map(str.upper, "abc", rate=api)
    ['A', 'B', 'C']

    """

    __slots__ = ("__weakref__", "_calls", "_interval", "_is_behind", "_line", "_lock", "_next", "_numbers", "_per")

    def __init__(self, calls: float, per: float = 1.0) -> None:
        self._calls = positive("calls", calls)
        self._per = positive("per", per)
        self._interval = self._per / self._calls
        self._reset()
        _rates.add(self)

    def wait(self) -> None:
        """Wait in this thread until one more call may start. For use inside functions, so that retries are metered too."""
        bell = Lock()
        bell.acquire()

        def ring() -> None:
            try:
                bell.release()
            except RuntimeError:  # pragma: no cover  rung already, and not heard yet
                pass

        place = self.queue(ring)
        try:
            while (delay := place.claim()) > 0:
                clock.acquire(bell, delay)
        finally:
            place.leave()

    async def a_wait(self) -> None:
        """As `wait`, on asyncio: other tasks run meanwhile."""
        from asyncio import get_running_loop  # noqa: PLC0415  heavy, and loaded already by whoever awaits

        loop = get_running_loop()
        turn = loop.create_future()

        def ring() -> None:
            if not turn.done():
                turn.set_result(None)

        place = self.queue(partial(loop.call_soon_threadsafe, ring), loop.is_running)
        try:
            while (delay := place.claim()) > 0:
                timer = loop.call_later(delay, ring)
                try:
                    await turn
                finally:
                    timer.cancel()
                turn = loop.create_future()
        finally:
            place.leave()

    def queue(self, ring: Callable[[], object], is_there: Callable[[], bool] | None = None) -> "Place":
        """A place in the line, which begins to count with its first `claim`.

        Args:
            ring: called when `claim` should be called sooner than it has said, from any thread, perhaps in vain.
            is_there: whether somebody is behind the place now. An event loop that does not run is not, and must not keep others
                waiting: when it runs again, the place goes to the end of the line.

        """
        return Place(self, ring, is_there)

    def __reduce__(self) -> tuple[type["Rate"], tuple[float, float]]:
        return Rate, (self._calls, self._per)

    def __repr__(self) -> str:
        return f"Rate({self._calls:g}, per={self._per:g})"

    def _reset(self) -> None:
        self._lock = RLock()  # re-entrant, since finalizers and signal handlers come here wherever they happen to run
        self._next = -inf  # when the next start is due
        self._is_behind = False  # whether that was in the past already when the last call started
        self._line: deque[Place] = deque()
        self._numbers = count()

    def _first(self) -> "Place | None":
        """Who is first in line, past those who have gone. With the lock."""
        while self._line:
            first = self._line[0]
            if first._is_there():
                return first
            self._line.popleft()._in_line = False
        return None

    def _call_first(self) -> None:
        """Ring for the first in line, if it would sleep too long: those ahead of it have gone before their time, or late."""
        while True:
            with self._lock:
                first = self._first()
                if first is None or first._until <= self._next + EARLY:
                    return
                first._until = self._next
            # Without the lock: a bell may take one of its own. If nobody hears it any more, another one is the first.
            try:
                first._ring()
                return
            except RuntimeError:  # the event loop has been closed just now
                continue


class Place:
    """A place in the line for a `Rate`. One who leaves has taken nothing."""

    __slots__ = ("_has_left", "_in_line", "_number", "_owner_is_there", "_rate", "_ring", "_until")

    def __init__(self, rate: Rate, ring: Callable[[], object], is_there: Callable[[], bool] | None) -> None:
        self._rate = rate
        self._ring = ring
        self._owner_is_there = is_there
        self._in_line = False
        self._has_left = False
        self._number = 0
        self._until = -inf  # when `claim` will be called, as far as it has said

    def claim(self) -> float:
        """Take the start if it is due and one's turn: 0. Else in how many seconds to ask again, if not called before."""
        rate = self._rate
        with rate._lock:
            delay = self._claim(rate, clock.now())
        rate._call_first()
        return delay

    def leave(self) -> None:
        """Give the place up. May be called again, and after the start has been taken."""
        self._has_left = True
        # A coroutine that is collected is closed wherever the collector happens to run, under a lock perhaps that the bell of
        # the next one takes too. That one is not called then: it wakes up by itself when its own time has come.
        if self._in_line and not isinstance(sys.exception(), GeneratorExit):
            self._rate._call_first()

    def _claim(self, rate: Rate, now: float) -> float:
        if not self._in_line:
            self._number = next(rate._numbers)
            self._in_line = True
            rate._line.append(self)
        first = rate._first() or self
        late = now - rate._next
        if first is not self or late < 0:
            # Own time comes when those ahead have started in time. If the first is overdue, it will call the next when it goes;
            # unless its event loop stops before, of which nobody is told: so the others look at it once in a while.
            ahead = self._number - first._number
            self._until = rate._next + ahead * rate._interval if late < 0 else now + ahead * max(rate._interval, NAP)
            return self._until - now
        # The schedule goes on from when this start was due, not from now, or the delays of late wake-ups would add up. This is
        # for those who have waited, and who come right after a start that was late by more than the interval. Others come after
        # an idle time, and that is gone.
        has_waited = self._until > -inf
        due = rate._next if late <= SLACK and (has_waited or rate._is_behind) else now
        rate._next = due + rate._interval
        rate._is_behind = rate._next < now
        rate._line.popleft()
        self._in_line = False
        return 0.0

    def _is_there(self) -> bool:
        return not self._has_left and (self._owner_is_there is None or self._owner_is_there())


def _after_fork() -> None:
    """Those who stood in line are threads of the parent, and one of them may have held the lock."""
    for rate in _rates:
        rate._reset()


_rates: WeakSet[Rate] = WeakSet()
if hasattr(os, "register_at_fork"):  # pragma: no branch  not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def positive(name: str, value: float) -> float:
    """`value` as a float, if it is a positive, finite number."""
    rule = f"{name} must be a number, got {brief(value)}"
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        number = float(value) if isfinite(value) else 0.0
    except TypeError:
        raise TypeError(rule) from None
    except (OverflowError, ValueError):  # an int beyond any float, a signaling NaN
        number = 0.0
    if number <= 0:
        raise ValueError(f"{name} must be positive and finite, got {brief(value)}")
    return number
