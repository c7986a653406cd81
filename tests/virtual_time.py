"""Time that tests control: it passes when they say so, or when everybody waits for it. None of their verdicts depends on how
fast the machine is."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from math import inf
from threading import Lock
from time import monotonic, sleep
from typing import Any, TypeVar

from concurrency.pacing import Clock

T = TypeVar("T")

TICK = 1e-9
"""Seconds that pass whenever somebody looks for what is to be done next: where none pass at all, a wait that is too short by a
rounding error is repeated for ever."""

EXACT = 1e-5
"""Seconds by which times may differ that ought to be the same: a few thousand ticks."""

SAFETY = 10
"""Real seconds after which a test gives up. No test waits so long unless it fails."""

REAL = 0.0005
"""Real seconds between two looks at a clock that another thread sets."""

SWITCH = 0.001
"""Seconds of a wait that is for threads to be switched rather than for a time."""

Wake = Callable[[float], bool]
"""Waits for real, at most so many seconds; whether there is a reason to wake up."""


class VirtualClock(Clock):
    """What the clocks here have in common: all waits, those of event loops included, are `sleep`."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def acquire(self, bell: Lock, seconds: float) -> bool:
        return self.sleep(seconds, lambda real: bell.acquire(timeout=real))

    def sleep(self, seconds: float, wake: Wake) -> bool:
        """Wait for time to pass or for `wake`; whether it was the latter."""
        raise NotImplementedError


class FastClock(VirtualClock):
    """For one thread, or one event loop: nobody else could wake it, so the time that it waits for has come at once.

    Every wait ends `late` seconds after its time. What is in `meanwhile` happens during the next waits, one in each.
    """

    def __init__(self, late: float = 0.0) -> None:
        super().__init__()
        self.late = late
        self.meanwhile: list[Callable[[], object]] = []

    def sleep(self, seconds: float, wake: Wake) -> bool:
        self.time += TICK
        moment = self.time + seconds + self.late
        if seconds > 0 and self.meanwhile:
            self.meanwhile.pop(0)()
        if wake(0):
            return True
        if seconds <= 0:
            return False
        if seconds == inf:
            raise AssertionError("a deadlock: it waits for ever, and nobody is there to wake it")
        self.time = max(self.time, moment)
        return False


class SteppedClock(VirtualClock):
    """For several threads: time passes in steps, each to the next moment that one of them waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._moments: list[float] = []

    def sleep(self, seconds: float, wake: Wake) -> bool:
        if seconds == inf:
            return wake(SAFETY)
        moment = self.time + seconds
        with self._registered(moment, seconds):
            while not wake(REAL):
                if self.time >= moment or seconds < SWITCH:
                    return False
            return True

    @contextmanager
    def _registered(self, moment: float, seconds: float) -> Iterator[None]:
        if seconds < SWITCH:
            yield
            return
        self._moments.append(moment)
        try:
            yield
        finally:
            self._moments.remove(moment)

    def step(self, to: float | None = None, sleepers: Callable[[], int] = int) -> None:
        """Go to this moment, or to the next one, as soon as somebody waits for it.

        Of several threads, all have to be asleep: one that has just found out how long to sleep would begin too late.
        """
        next_moment = until(lambda: self._next_moment(to) if len(self._moments) >= sleepers() else None)
        self.time = next_moment + TICK

    def _next_moment(self, to: float | None) -> float | None:
        moments = [moment for moment in self._moments if moment > self.time and (to is None or abs(moment - to) < EXACT)]
        return min(moments, default=None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that goes by such a clock, and sleeps as that does."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual_clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual_clock.now()


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        events: list[Any] = []

        def wake(real: float) -> bool:
            events.extend(super(_Selector, self).select(real))
            return bool(events)

        self._clock.sleep(inf if timeout is None else timeout, wake)
        return events


def run_virtually(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, by this clock."""
    with asyncio.Runner(loop_factory=partial(VirtualLoop, clock)) as runner:
        return runner.run(main)


def until(condition: Callable[[], T | None]) -> T:
    """Wait, for real, for what other threads do."""
    end = monotonic() + SAFETY
    while not (outcome := condition()):
        assert monotonic() < end, "it has not happened"
        sleep(0.0002)
    return outcome


def check_spacing(times: list[float], interval: float, slack: float = 0.0) -> None:
    """No window of any length holds more starts than `(length + slack) / interval + 1`."""
    times = sorted(times)
    assert all(
        later - earlier >= count * interval - slack - EXACT
        for count in range(1, len(times))
        for earlier, later in zip(times, times[count:], strict=False)
    ), f"too close: {min(after - before for before, after in pairwise(times))} s, instead of {interval} s"
