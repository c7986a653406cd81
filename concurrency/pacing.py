"""`Rate`: how often calls may start, shared by whoever starts them."""

# `Rate` and `Place` are two halves of one thing.
# pyright: reportPrivateUsage=false

import math
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import TIMEOUT_MAX, Condition, Lock, RLock
from time import monotonic
from weakref import WeakSet

from concurrency._brief import brief


class Clock:
    """Where time comes from. Tests put another one in the place of `clock`."""

    def now(self) -> float:
        """Seconds, from a clock that never goes back."""
        return monotonic()

    def acquire(self, bell: Lock, seconds: float) -> bool:
        """Wait for a lock, at most so long; whether it was released."""
        return bell.acquire(timeout=min(seconds, TIMEOUT_MAX))

    def wait(self, condition: Condition, seconds: float) -> None:
        """Wait for a condition, at most so long."""
        condition.wait(min(seconds, TIMEOUT_MAX))


clock = Clock()
"""What every wait with an end in this package goes by, but for asyncio's: those go by their loop."""

NAP = 1.0
"""Seconds after which a thread that waits for ever wakes up for a moment: Python only notes a signal that comes just before the
thread falls asleep, and Ctrl-C would go unheard."""

SLACK = 0.01
"""Seconds of delay that are made up for: asyncio's timers round up to 1 ms, and a thread may wait 5 ms for the GIL."""


class Rate:
    """At most `calls` starts per `per` seconds, evenly spaced: the first at once, the next `per / calls` seconds later.

    Evenly means that there is no burst, neither at the beginning nor after an idle time, whereas over a long run no time is
    lost. One `Rate` may be given to any number of maps, and waited for in plain code, in any threads and event loops of a
    process: it stands for what the other side allows. Whoever came first starts first, and who gives up costs others nothing.

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

    __slots__ = ("__weakref__", "_behind", "_calls", "_interval", "_line", "_lock", "_next", "_per")

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
            with suppress(RuntimeError):  # rung already, and not heard yet
                bell.release()

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

        place = self.queue(partial(loop.call_soon_threadsafe, ring), loop.is_closed)
        try:
            while (delay := place.claim()) > 0:
                timer = None if delay == math.inf else loop.call_later(delay, ring)
                try:
                    await turn
                finally:
                    if timer is not None:
                        timer.cancel()
                turn = loop.create_future()
        finally:
            place.leave()

    def queue(self, ring: Callable[[], object], is_gone: Callable[[], bool] = bool) -> "Place":
        """A place at the end of the line.

        Args:
            ring: called when the place has become the first, from whichever thread left the line, perhaps more than once.
            is_gone: whether nobody is behind `ring` any more, since its event loop has been closed.

        """
        place = Place(self, ring, is_gone)
        with self._lock:
            self._line.append(place)
        self._call_first(place)
        return place

    def __reduce__(self) -> tuple[type["Rate"], tuple[float, float]]:
        return Rate, (self._calls, self._per)

    def __repr__(self) -> str:
        return f"Rate({self._calls:g}, per={self._per:g})"

    def _reset(self) -> None:
        # Re-entrant, since a place is also left by finalizers, which run wherever the garbage collector happens to.
        self._lock = RLock()
        self._next = -math.inf  # when the next start is due
        self._behind = 0.0  # how long that was ago already when the last call started
        self._line: deque[Place] = deque()

    def _call_first(self, newest: "Place | None" = None) -> None:
        """Ring for the first in line, past those of closed event loops, of whom nobody would ever hear again."""
        while True:
            with self._lock:
                first = self._line[0] if self._line else None
                if first is not None and first._is_gone():
                    self._line.popleft()
                    newest = None  # whoever is the first now has not heard of it
                    continue
            if first is None or newest is not None:
                return
            try:
                first._ring()
            except RuntimeError:  # closed just now
                continue
            return


class Place:
    """A place in the line for a `Rate`. Only the first in line looks at the clock, and when it goes it calls the next.

    So nobody polls, and nobody holds a start that others could use: one who leaves has taken nothing.
    """

    __slots__ = ("_has_waited", "_is_gone", "_rate", "_ring")

    def __init__(self, rate: Rate, ring: Callable[[], object], is_gone: Callable[[], bool]) -> None:
        self._rate = rate
        self._ring = ring
        self._is_gone = is_gone
        self._has_waited = False

    def claim(self) -> float:
        """Take the start if it is due and one's turn: 0. Else in how many seconds to ask again, if not called before."""
        rate = self._rate
        with rate._lock:
            if rate._line[0] is not self:
                self._has_waited = True
                return math.inf
            now = clock.now()
            if now < rate._next:
                self._has_waited = True
                return rate._next - now
            # The schedule goes on from when this start was due, not from now: the delays of late wake-ups would add up. But
            # time in which nobody was there, or the process was held up, is gone: to make up for it would be a burst.
            due = rate._next if self._has_waited else now - rate._behind
            if now - due > max(rate._interval, SLACK):
                due = now
            rate._next = due + rate._interval
            rate._behind = max(now - rate._next, 0.0)
        self.leave()
        return 0

    def leave(self) -> None:
        """Give the place up. May be called again, and after the start has been taken."""
        rate = self._rate
        with rate._lock:
            if self not in rate._line:
                return
            was_first = rate._line[0] is self
            rate._line.remove(self)
        if was_first:
            rate._call_first()


def _after_fork() -> None:
    """Those who stood in line are threads of the parent, and one of them may have held the lock."""
    for rate in _rates:
        rate._reset()


_rates: WeakSet[Rate] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def positive(name: str, value: float) -> float:
    """`value` as a float, if it is a positive, finite number."""
    rule = f"{name} must be a number, got {brief(value)}"
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        number = float(value) if math.isfinite(value) else 0.0
    except TypeError:
        raise TypeError(rule) from None
    except (OverflowError, ValueError):  # an int beyond any float, a signaling NaN
        number = 0.0
    if number <= 0:
        raise ValueError(f"{name} must be positive and finite, got {brief(value)}")
    return number
