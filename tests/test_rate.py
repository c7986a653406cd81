import asyncio
import gc
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import chain, count, repeat
from multiprocessing import get_context
from random import Random
from threading import Event, Lock, Thread
from typing import Any

import pytest
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrency import Concurrent, Rate, concurrent, pacing
from concurrency.pacing import Place
from tests.conftest import Run
from tests.virtual_time import (
    EXACT,
    SAFETY,
    FastClock,
    SteppedClock,
    VirtualClock,
    VirtualLoop,
    check_spacing,
    run_virtually,
    until,
)
from tests.ways import HAS_GIL

# ---------------------------------------------------------------------------------------------------------------------------
# What the tests are made of
# ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    """Waiting takes no time."""
    clock = FastClock()
    monkeypatch.setattr(pacing, "clock", clock)
    return clock


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    """Time that passes in steps that the test takes."""
    clock = SteppedClock()
    monkeypatch.setattr(pacing, "clock", clock)
    return clock


def near(times: list[float]) -> Any:
    return pytest.approx(times, abs=EXACT)


class InThread(Thread):
    """A thread whose result, or exception, is `join`ed."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)  # one that hangs must not keep the tests from ending
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(SAFETY)
        assert not self.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._result


class Way:
    """One of the six operations, by a clock of ours. It keeps the times at which calls start."""

    clock: VirtualClock

    def __init__(self, operation: str) -> None:
        self.operation = getattr(Concurrent, operation)
        self.times: list[float] = []
        self.failing: int | None = None  # the input of a call that fails

    def __call__(self, inputs: Any, *, starts: int | None = None, **options: Any) -> None:
        """Run it to its end, with calls that do nothing else. Unless `inputs` tell how many there are, `starts` does."""
        raise NotImplementedError

    def idle(self, seconds: float) -> None:
        self.clock.time += seconds


class InThreads(Way):
    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.clock: SteppedClock = SteppedClock()

    def __call__(self, inputs: Any, *, starts: int | None = None, **options: Any) -> None:
        begun, rate = len(self.times), options["rate"]
        at_once = not isinstance(rate, Rate) or rate._next <= self.clock.now()
        thread = InThread(lambda: list(self.operation(self._call, inputs, **options)))
        self.watch(thread, begun - (not at_once), begun + (len(inputs) if starts is None else starts))
        thread.result()

    def watch(self, thread: Thread, seen: int, starts: int) -> None:
        """Let time pass when more than `seen` calls have started: to the next start, until there were so many."""
        while True:
            until(lambda seen=seen: len(self.times) > seen or not thread.is_alive())  # type: ignore[misc]  # a lambda's default
            seen = len(self.times)
            if seen >= starts or not thread.is_alive():
                return
            self.clock.step()

    def _call(self, number: int) -> None:
        self.times.append(self.clock.now())
        if number == self.failing:
            raise LookupError


class InLoop(Way):
    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.clock: FastClock = FastClock()

    def __call__(self, inputs: Any, *, starts: int | None = None, **options: Any) -> None:
        async def main() -> None:
            running = self.operation(self._call, inputs, **options)
            if isinstance(running, AsyncIterator):
                async for _ in running:
                    pass
            else:
                await running

        run_virtually(self.clock, main())

    async def _call(self, number: int) -> None:
        self.times.append(self.clock.now())
        if number == self.failing:
            raise LookupError


SYNC = ["map", "stream", "as_completed"]
ASYNC = ["a_map", "a_stream", "a_as_completed"]


@pytest.fixture(params=SYNC + ASYNC)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    way = (InLoop if request.param in ASYNC else InThreads)(request.param)
    monkeypatch.setattr(pacing, "clock", way.clock)
    return way


@pytest.fixture(params=SYNC)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InThreads:
    way = InThreads(request.param)
    monkeypatch.setattr(pacing, "clock", way.clock)
    return way


def waits(rate: Rate, clock: VirtualClock, number: int) -> list[float]:
    """The times at which this thread may start."""
    times = []
    for _ in range(number):
        rate.wait()
        times.append(clock.now())
    return times


def line_up(rate: Rate, ring: Callable[[], object] = lambda: None, is_there: Callable[[], bool] | None = None) -> Place:
    """A place in line, where no start is due."""
    place = rate.queue(ring, is_there)
    assert place.claim() > 0
    return place


async def a_waits(rate: Rate, number: int, times: list[float] | None = None) -> list[float]:
    """The same, for this task."""
    own = []
    for _ in range(number):
        await rate.a_wait()
        own.append(pacing.clock.now())
        if times is not None:
            times.append(own[-1])
    return own


# ---------------------------------------------------------------------------------------------------------------------------
# `wait` and `a_wait`
# ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "per", "interval"), [(2, 1.0, 0.5), (0.5, 1.0, 2), (600, 60, 0.1), (3, 0.5, 1 / 6), (Fraction(1, 4), 1, 4)]
)
def test_starts_are_evenly_spaced_and_the_first_is_at_once(clock: FastClock, calls: float, per: float, interval: float) -> None:
    assert waits(Rate(calls, per), clock, 5) == near([0, interval, 2 * interval, 3 * interval, 4 * interval])


def test_a_thousand_starts_take_their_time_and_no_more(clock: FastClock) -> None:
    times = waits(Rate(500), clock, 1001)
    assert times[0] == pytest.approx(0, abs=EXACT)
    assert times[-1] == pytest.approx(2, abs=EXACT)
    check_spacing(times, 0.002)


def test_a_wait_does_the_same(clock: FastClock) -> None:
    times = run_virtually(clock, a_waits(Rate(500), 1001))
    assert times[0] == pytest.approx(0, abs=EXACT)
    assert times[-1] == pytest.approx(2, abs=EXACT)
    check_spacing(times, 0.002)


def test_an_idle_time_saves_nothing_up(clock: FastClock) -> None:
    rate = Rate(2)
    rate.wait()
    clock.time = 100
    assert waits(rate, clock, 3) == near([100, 100.5, 101])


def test_an_idle_time_on_asyncio_saves_nothing_up(clock: FastClock) -> None:
    rate = Rate(2)

    async def main() -> list[float]:
        await rate.a_wait()
        await asyncio.sleep(100)
        return await a_waits(rate, 3)

    assert run_virtually(clock, main()) == near([100, 100.5, 101])


@pytest.mark.parametrize("late", [0.0005, 0.003, 0.0099])
def test_a_late_wake_up_is_made_up_for(clock: FastClock, late: float) -> None:
    assert late <= pacing.SLACK
    clock.late = late
    times = waits(Rate(500), clock, 1001)
    assert times[-1] == pytest.approx(2, abs=pacing.SLACK + EXACT)
    due = [0.002 * place for place in range(1001)]
    assert all(-EXACT <= time - moment <= late + EXACT for time, moment in zip(times, due, strict=True))


@pytest.mark.parametrize("late", [0.011, 0.5, 60])
def test_a_wake_up_that_is_too_late_is_not_made_up_for(clock: FastClock, late: float) -> None:
    assert late > pacing.SLACK
    rate = Rate(500)
    rate.wait()
    clock.late = late
    rate.wait()
    assert clock.now() == pytest.approx(0.002 + late, abs=EXACT)
    clock.late = 0
    held_up = clock.now()
    assert waits(rate, clock, 3) == near([held_up + 0.002, held_up + 0.004, held_up + 0.006])


def test_an_idle_time_after_a_late_wake_up_saves_nothing_up(clock: FastClock) -> None:
    rate = Rate(500)
    rate.wait()
    clock.late = 0.0099
    rate.wait()
    clock.late = 0
    clock.time = 100
    assert waits(rate, clock, 3) == near([100, 100.002, 100.004])


@pytest.mark.parametrize("calls", [500, 20, 1])
@pytest.mark.parametrize("idle", [0.001, 0.008, 0.06, 2])
def test_no_idle_time_is_too_short_to_be_gone(clock: FastClock, calls: float, idle: float) -> None:
    rate = Rate(calls)
    rate.wait()
    begin = max(1 / calls, idle)
    clock.time = idle
    assert waits(rate, clock, 3) == near([begin, begin + 1 / calls, begin + 2 / calls])


@pytest.mark.parametrize("calls", [2000, 500, 20, 1])
def test_no_window_holds_more_however_late_the_wake_ups_come(clock: FastClock, calls: float) -> None:
    random = Random(calls)
    rate = Rate(calls)
    times = []
    for _ in range(1000):
        clock.late = random.choice([0, 0.0005, 0.003, 0.012, 0.1, 3])
        times += waits(rate, clock, 1)
        clock.time += random.choice([0, 0, 0.0001, 0.004, 0.02, 5])
    check_spacing(times, 1 / calls, pacing.SLACK)


def test_other_tasks_run_while_one_waits(clock: FastClock) -> None:
    rate = Rate(1)
    seen = []

    async def other() -> None:
        for _ in range(3):
            await asyncio.sleep(0.25)
            seen.append(pacing.clock.now())

    async def main() -> None:
        await asyncio.gather(a_waits(rate, 2), other())

    run_virtually(clock, main())
    assert seen == near([0.25, 0.5, 0.75])


def test_tasks_take_turns_in_the_order_in_which_they_came(clock: FastClock) -> None:
    rate = Rate(10)
    order: list[str] = []

    async def client(name: str) -> None:
        for _ in range(3):
            await rate.a_wait()
            order.append(name)

    async def main() -> None:
        await rate.a_wait()
        await asyncio.gather(*map(client, "abcd"))

    run_virtually(clock, main())
    assert "".join(order) == "abcdabcdabcd"
    assert clock.now() == pytest.approx(1.2, abs=EXACT)


@pytest.mark.parametrize("victims", [[1], [2], [4], [1, 2], [1, 2, 3, 4], [2, 3], [4, 3, 2, 1]])
@pytest.mark.parametrize("when", [0, 0.1, 0.25])
def test_who_gives_up_costs_the_others_nothing(clock: FastClock, victims: list[int], when: float) -> None:
    rate = Rate(4)
    times: dict[int, float] = {}

    async def client(place: int) -> None:
        await rate.a_wait()
        times[place] = pacing.clock.now()

    async def main() -> None:
        tasks = [asyncio.create_task(client(place)) for place in range(6)]
        await asyncio.sleep(when)
        before = dict(times)
        for victim in victims:
            tasks[victim].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, asyncio.CancelledError)]
        assert cancelled == sorted(set(victims) - set(before))

    run_virtually(clock, main())
    assert list(times.values()) == near([0.25 * place for place in range(len(times))])
    assert list(times) == sorted(times)


def test_whoever_is_cancelled_when_its_start_is_due_wastes_at_most_that_one(clock: FastClock) -> None:
    rate = Rate(4)

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        await rate.a_wait()
        victim = asyncio.create_task(rate.a_wait())
        await asyncio.sleep(0)
        loop.call_later(0.25, victim.cancel)
        follower = asyncio.create_task(a_waits(rate, 2))
        with suppress(asyncio.CancelledError):
            await victim
        return await follower

    first, second = run_virtually(clock, main())
    assert first in (pytest.approx(0.25, abs=EXACT), pytest.approx(0.5, abs=EXACT))
    assert second - first == pytest.approx(0.25, abs=EXACT)


def test_a_timeout_interrupts_a_wait(clock: FastClock) -> None:
    rate = Rate(0.1)

    async def main() -> None:
        await rate.a_wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await rate.a_wait()
        assert pacing.clock.now() == pytest.approx(1, abs=EXACT)
        await rate.a_wait()
        assert pacing.clock.now() == pytest.approx(10, abs=EXACT)

    run_virtually(clock, main())


def test_ctrl_c_interrupts_a_wait(clock: FastClock) -> None:
    rate = Rate(1)
    rate.wait()
    clock.meanwhile = [lambda: signal.raise_signal(signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        rate.wait()
    assert clock.now() == pytest.approx(0, abs=EXACT)
    assert waits(rate, clock, 3) == near([1, 2, 3])


# ---------------------------------------------------------------------------------------------------------------------------
# One `Rate` for threads, event loops and plain code
# ---------------------------------------------------------------------------------------------------------------------------


def test_threads_loops_and_maps_share_one_rate(steps: SteppedClock) -> None:
    rate, each = Rate(10), 25
    times: list[float] = []

    def plain() -> None:
        for _ in range(each):
            rate.wait()
            times.append(steps.now())

    def record(_: object) -> None:
        times.append(steps.now())

    async def a_record(_: object) -> None:
        record(_)

    users = [
        plain,
        plain,
        lambda: Concurrent.map(record, range(each), rate=rate),
        lambda: list(Concurrent.stream(record, range(each), rate=rate)),
        lambda: run_virtually(steps, a_waits(rate, each, times)),
        lambda: run_virtually(steps, Concurrent.a_map(a_record, range(each), rate=rate)),
    ]
    everybody = [InThread(user) for user in users]
    for place in range(each * len(users)):
        until(lambda place=place: len(times) > place)  # type: ignore[misc]
        if place + 1 < each * len(users):
            steps.step(0.1 * (place + 1), lambda: sum(user.is_alive() for user in everybody))
    for user in everybody:
        user.result()
    assert times == near([0.1 * place for place in range(each * len(users))])


def test_threads_take_turns_in_the_order_in_which_they_came(steps: SteppedClock) -> None:
    rate = Rate(1)
    order: list[int] = []

    def client(place: int) -> None:
        rate.wait()
        order.append(place)

    rate.wait()
    clients = []
    for place in range(6):
        clients.append(InThread(lambda place=place: client(place)))  # type: ignore[misc]
        until(lambda place=place: len(rate._line) > place)  # type: ignore[misc]
    for place in range(6):
        steps.step(place + 1, lambda place=place: 6 - place)  # type: ignore[misc]
        until(lambda place=place: len(order) > place)  # type: ignore[misc]
    for one in clients:
        one.result()
    assert order == [0, 1, 2, 3, 4, 5]


def test_who_waits_in_a_loop_that_is_closed_is_passed_over(steps: SteppedClock) -> None:
    """It is neither the first in line, nor told that its loop has gone."""
    rate = Rate(1)
    rate.wait()
    first = InThread(rate.wait)
    until(lambda: len(rate._line) == 1)
    loop = asyncio.new_event_loop()
    gone = loop.create_task(rate.a_wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(rate._line) == 2
    last = InThread(rate.wait)
    until(lambda: len(rate._line) == 3)
    steps.step(1, lambda: 2)
    first.result()
    steps.step(2)
    last.result()
    assert steps.now() == pytest.approx(2, abs=EXACT)
    _abandon(gone)


@pytest.mark.parametrize("comes", ["before", "after"])
def test_the_first_in_line_in_a_loop_that_is_closed_does_not_block_the_others(clock: FastClock, comes: str) -> None:
    rate = Rate(1)
    rate.wait()
    loop = asyncio.new_event_loop()
    gone = loop.create_task(rate.a_wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    if comes == "after":
        loop.close()

    async def main() -> list[float]:
        waiting = asyncio.create_task(a_waits(rate, 2))
        await asyncio.sleep(0)
        if comes == "before":
            loop.close()
        return await waiting

    first, second = run_virtually(clock, main())
    assert first <= 3, "it may take a moment to see that the first has gone"
    assert second - first == pytest.approx(1, abs=EXACT)
    _abandon(gone)


def test_who_comes_back_when_its_loop_runs_again_goes_to_the_end_of_the_line(clock: FastClock) -> None:
    """A loop that is stopped, but not closed, keeps nobody waiting meanwhile."""
    rate = Rate(1)
    rate.wait()
    loop = VirtualLoop(clock)
    times: list[float] = []
    task = loop.create_task(a_waits(rate, 1, times))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert waits(rate, clock, 3) == near([1, 2, 3])
    behind = line_up(rate)
    loop.call_soon(behind.leave)
    loop.run_until_complete(task)
    assert times == near([4])
    loop.close()


def test_many_who_give_up_leave_no_hole(clock: FastClock) -> None:
    rate = Rate(1)

    async def main() -> list[float]:
        await rate.a_wait()
        crowd = [asyncio.create_task(rate.a_wait()) for _ in range(1000)]
        last = asyncio.create_task(a_waits(rate, 1))
        await asyncio.sleep(0.5)
        for one in reversed(crowd):
            one.cancel()
        assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*crowd, return_exceptions=True))
        return await last + await a_waits(rate, 1)

    assert run_virtually(clock, main()) == near([1, 2])


def test_nobody_has_to_be_called_while_everybody_is_in_time(clock: FastClock) -> None:
    """One bell per start would cost a switch of threads, or a system call, for each."""
    rate = Rate(1)
    rate.wait()
    rung: list[int] = []
    places = [line_up(rate, partial(rung.append, number)) for number in range(5)]
    for number, place in enumerate(places):
        clock.time = number + 1
        assert place.claim() == 0
    assert rung == []


def test_who_overtakes_a_first_one_that_is_late_waits_for_it(clock: FastClock) -> None:
    """And looks again from time to time, since it may never come: but seldom."""
    rate = Rate(1000)
    rate.wait()
    rung: list[bool] = []
    first, second = line_up(rate), line_up(rate, lambda: rung.append(True))
    clock.time = 0.005
    assert second.claim() == pytest.approx(pacing.NAP)
    assert first.claim() == 0
    assert rung == [True]
    assert second.claim() == 0


def _abandon(task: "asyncio.Task[None]") -> None:
    """Let go of a task whose loop is closed, without the complaint that it makes then."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()


def test_who_is_collected_while_it_waits_gives_its_place_back(clock: FastClock) -> None:
    rate = Rate(1)
    rate.wait()

    async def main() -> list[float]:
        waiting = rate.a_wait()
        waiting.send(None)
        cycle: list[Any] = [waiting]
        cycle.append(cycle)
        del waiting, cycle
        gc.collect()
        return await a_waits(rate, 1)

    assert run_virtually(clock, main()) == near([1])


def test_who_is_collected_rings_nobody(clock: FastClock) -> None:
    """The collector may have interrupted the very thread that holds the lock of the next one's bell."""
    rate = Rate(1)
    rate.wait()
    lock = Lock()

    def ring() -> None:
        assert lock.acquire(blocking=False), "a deadlock"
        lock.release()

    async def main() -> None:
        waiting = rate.a_wait()
        waiting.send(None)
        behind = line_up(rate, ring)
        with lock:
            waiting.close()  # as the collector does
        clock.time = 1
        assert behind.claim() == 0

    run_virtually(clock, main())


def test_a_place_can_be_left_by_a_finalizer_wherever_it_runs(clock: FastClock) -> None:
    """In the middle of a step of the same thread, for one."""
    rate = Rate(1)
    rate.wait()
    first, second, third = (line_up(rate) for _ in range(3))
    clock.time = 1

    def leave() -> float:
        with rate._lock:
            first.leave()
            third.leave()
            return second.claim()

    assert InThread(leave).result() == 0


def test_who_is_called_twice_comes_once(clock: FastClock) -> None:
    """Of two who leave at nearly the same time both may call the next one, before it has woken."""
    rate = Rate(1)
    rate.wait()

    def leave_and_vanish() -> None:
        second.leave()
        raise RuntimeError("Event loop is closed")

    first, second = line_up(rate), line_up(rate, leave_and_vanish)
    clock.meanwhile = [first.leave]
    assert waits(rate, clock, 2) == near([1, 2])


def test_those_behind_one_who_wakes_late_do_not_add_to_it(clock: FastClock) -> None:
    clock.late = 0.003
    rate = Rate(500)

    async def main() -> list[float]:
        return sorted(chain.from_iterable(await asyncio.gather(*(a_waits(rate, 200) for _ in range(5)))))

    times = run_virtually(clock, main())
    assert times[-1] == pytest.approx(999 * 0.002, abs=pacing.SLACK)


def test_who_wakes_late_after_a_call_to_the_front_does_not_add_to_it_either(clock: FastClock) -> None:
    rate = Rate(500)
    rate.wait()
    ahead = line_up(rate)

    def start_ahead_and_be_slow() -> None:
        clock.time = 0.002
        assert ahead.claim() == 0
        clock.time = 0.0055

    clock.meanwhile = [start_ahead_and_be_slow]
    assert waits(rate, clock, 3) == near([0.0055, 0.006, 0.008])


def test_a_loop_that_is_closed_just_when_it_is_called_is_passed_over(clock: FastClock) -> None:
    rate = Rate(1)
    rate.wait()
    gone: list[bool] = []

    def ring() -> None:
        gone.append(True)
        raise RuntimeError("Event loop is closed")

    first = line_up(rate)
    line_up(rate, ring, lambda: not gone)
    clock.meanwhile = [first.leave]
    assert waits(rate, clock, 2) == near([1, 2])


clients = st.lists(
    st.tuples(st.integers(0, 40), st.none() | st.integers(0, 40)),  # comes at, gives up after; in tenths of an interval
    min_size=1,
    max_size=12,
)


@given(clients)
@settings(deadline=None, database=None)
def test_any_clients_get_what_a_line_would_give_them(clients: list[tuple[int, int | None]]) -> None:
    clock = FastClock()
    rate = Rate(1)
    real, pacing.clock = pacing.clock, clock
    times: dict[int, float] = {}

    async def client(place: int, comes: int, gives_up: int | None) -> None:
        await asyncio.sleep(comes / 10 + place / 1000)  # no two at once
        with suppress(TimeoutError):
            # A twentieth more: never at the very time of a start.
            async with asyncio.timeout(None if gives_up is None else gives_up / 10 + 0.05):
                await rate.a_wait()
                times[place] = clock.now()

    async def main() -> None:
        await asyncio.gather(*(client(place, *each) for place, each in enumerate(clients)))

    try:
        run_virtually(clock, main())
    finally:
        pacing.clock = real
    expected: dict[int, float] = {}
    due = 0.0
    for place, (comes, gives_up) in sorted(enumerate(clients), key=lambda each: each[1][0]):
        moment = comes / 10 + place / 1000
        start = max(moment, due)
        if gives_up is None or start < moment + gives_up / 10 + 0.05:
            expected[place] = start
            due = start + 1
    assert times == pytest.approx(expected, abs=EXACT)


# ---------------------------------------------------------------------------------------------------------------------------
# `rate` as an option
# ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_every_operation_keeps_to_it(way: Way, kind: Callable[[Any], Any]) -> None:
    way(kind(range(6)), starts=6, rate=2)
    assert way.times == near([0, 0.5, 1, 1.5, 2, 2.5])


def test_it_is_exact_over_the_long_run(way: Way) -> None:
    way(range(1001), rate=500)
    assert way.times[-1] == pytest.approx(2, abs=EXACT)
    check_spacing(way.times, 0.002)


def test_there_is_no_burst_at_the_seam_of_two_maps_that_share_a_rate(way: Way) -> None:
    rate = Rate(2)
    way([0, 1], rate=rate)
    way([2, 3, 4], rate=rate)
    way([5], rate=rate)
    assert way.times == near([0, 0.5, 1, 1.5, 2, 2.5])


def test_there_is_no_burst_after_an_idle_time(way: Way) -> None:
    rate = Rate(2)
    way([0, 1], rate=rate)
    way.idle(100)
    begin = way.clock.now()
    way([2, 3, 4], rate=rate)
    assert way.times[2:] == near([begin, begin + 0.5, begin + 1])


def test_a_number_is_for_one_map_alone(way: Way) -> None:
    way([0, 1], rate=2)
    way([2, 3], rate=2)
    assert way.times == near([0, 0.5, 0.5, 1])


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_limit_holds_as_well(way: Way, limit: int) -> None:
    way([0, 1, 2, 3], rate=2, limit=limit)
    assert way.times == near([0, 0.5, 1, 1.5])


def test_a_map_that_had_to_wait_for_its_limit_does_not_burst_on_threads(threads: InThreads) -> None:
    gate = Event()

    def call(number: int) -> None:
        threads.times.append(threads.clock.now())
        if number < 2:
            gate.wait(SAFETY)

    thread = InThread(lambda: list(threads.operation(call, range(6), rate=10, limit=2)))
    threads.watch(thread, 0, 2)
    threads.idle(100)
    begin = threads.clock.now()
    assert len(threads.times) == 2
    gate.set()
    threads.watch(thread, 2, 6)
    thread.result()
    assert threads.times == near([0, 0.1, begin, begin + 0.1, begin + 0.2, begin + 0.3])


@pytest.mark.parametrize("operation", ASYNC)
def test_a_map_that_had_to_wait_for_its_limit_does_not_burst_on_asyncio(clock: FastClock, operation: str) -> None:
    times: list[float] = []

    async def call(number: int) -> None:
        times.append(clock.now())
        await asyncio.sleep(100 if number < 2 else 0.01)

    run_virtually(clock, _consume(operation, call, range(6), rate=10, limit=2))
    assert times == near([0, 0.1, 100, 100.1, 100.2, 100.3])


class _Inline(Executor):
    """Runs each call where it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("operation", SYNC)
def test_executors_keep_to_it_too_and_chunks_make_no_bursts(clock: FastClock, operation: str, chunksize: int) -> None:
    times: list[float] = []

    def call(_: int) -> None:
        times.append(clock.now())

    assert len(list(getattr(Concurrent, operation)(call, range(7), rate=2, executor=_Inline(), chunksize=chunksize))) == 7
    assert times == near([0, 0.5, 1, 1.5, 2, 2.5, 3])


async def _consume(operation: str, *arguments: Any, **options: Any) -> list[Any]:
    running = getattr(Concurrent, operation)(*arguments, **options)
    return [result async for result in running] if isinstance(running, AsyncIterator) else list(await running)


@pytest.mark.parametrize("operation", ASYNC)
def test_async_inputs_keep_to_it_too(clock: FastClock, operation: str) -> None:
    times: list[float] = []

    async def inputs() -> AsyncIterator[int]:
        for number in range(6):
            yield number
            await asyncio.sleep(1.75 if number == 3 else 0)

    async def call(_: int) -> None:
        times.append(clock.now())

    run_virtually(clock, _consume(operation, call, inputs(), rate=2))
    assert times == near([0, 0.5, 1, 1.5, 3.25, 3.75] if operation == "a_map" else [0, 0.5, 1, 1.5, 2, 2.5])


def test_maps_that_run_at_once_take_turns(clock: FastClock) -> None:
    rate = Rate(10)
    order: list[str] = []

    async def call(name: str) -> None:
        order.append(name)

    async def main() -> None:
        await asyncio.gather(*(Concurrent.a_map(call, name * 4, rate=rate) for name in "abc"))

    run_virtually(clock, main())
    assert "".join(order) == "abcabcabcabc"
    assert clock.now() == pytest.approx(1.1, abs=EXACT)


def test_infinite_inputs_are_read_no_further_than_needed(way: Way) -> None:
    read: list[int] = []

    def inputs() -> Iterator[int]:
        for number in count():
            read.append(number)
            yield number

    with pytest.raises(TimeoutError):
        way(inputs(), starts=4, rate=1, limit=2, timeout=2.5)
    assert len(read) <= len(way.times) + 2 * 2


# ---------------------------------------------------------------------------------------------------------------------------
# Leaving while waiting
# ---------------------------------------------------------------------------------------------------------------------------


def test_a_timeout_interrupts_the_wait(way: Way) -> None:
    rate = Rate(0.1)
    with pytest.raises(TimeoutError, match="timed out after 1 s, 2 of 3 calls unfinished"):
        way([0, 1, 2], rate=rate, timeout=1)
    assert way.clock.now() == pytest.approx(1, abs=EXACT)
    way([3], rate=rate)
    assert way.times == near([0, 10])


def test_a_failing_call_interrupts_the_wait(way: Way) -> None:
    rate = Rate(1)
    way.failing = 1
    with pytest.raises(LookupError):
        way([0, 1, 2, 3], starts=2, rate=rate)
    assert way.clock.now() == pytest.approx(1, abs=EXACT)
    way([4, 5], rate=rate)
    assert way.times == near([0, 1, 2, 3])


def test_a_failing_input_leaves_the_line(way: Way) -> None:
    def inputs() -> Iterator[int]:
        yield 0
        yield 1
        raise LookupError

    rate = Rate(1)
    with pytest.raises(LookupError):
        way(inputs(), starts=2, rate=rate)
    way([4, 5], rate=rate)
    check_spacing(way.times, 1)
    *before, last = way.times
    assert before[-1] == pytest.approx(last - 1, abs=EXACT)
    assert last <= 3 + EXACT  # as if calls 0 and 1 had taken their starts, whether or not the failure was faster


@pytest.mark.parametrize("operation", SYNC)
def test_ctrl_c_interrupts_the_wait_of_a_map_on_threads(clock: FastClock, operation: str) -> None:
    rate = Rate(1)
    rate.wait()
    clock.meanwhile = [lambda: signal.raise_signal(signal.SIGINT)]
    started: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        list(getattr(Concurrent, operation)(started.append, [0, 1, 2], rate=rate))
    assert clock.now() == pytest.approx(0, abs=EXACT)
    assert started == []
    assert waits(rate, clock, 2) == near([1, 2])


@pytest.mark.parametrize("operation", ASYNC)
def test_ctrl_c_interrupts_the_wait_of_a_map_on_asyncio(clock: FastClock, operation: str) -> None:
    rate = Rate(1)
    rate.wait()
    clock.meanwhile = [lambda: signal.raise_signal(signal.SIGINT)]
    started: list[int] = []

    async def call(number: int) -> None:
        started.append(number)

    with pytest.raises(KeyboardInterrupt):
        run_virtually(clock, _consume(operation, call, [0, 1, 2], rate=rate))
    assert clock.now() == pytest.approx(0, abs=EXACT)
    assert started == []
    assert waits(rate, clock, 2) == near([1, 2])


@pytest.mark.parametrize("operation", ASYNC)
def test_cancelling_interrupts_the_wait(clock: FastClock, operation: str) -> None:
    rate = Rate(1)
    started: list[int] = []

    async def call(number: int) -> None:
        started.append(number)

    async def main() -> list[float]:
        running = asyncio.create_task(_consume(operation, call, range(10), rate=rate))
        await asyncio.sleep(1.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert clock.now() == pytest.approx(1.5, abs=EXACT)
        return await a_waits(rate, 3)

    assert run_virtually(clock, main()) == near([2, 3, 4])
    assert started == [0, 1]


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
@pytest.mark.parametrize("leave", ["close", "collect", "stay"])
def test_an_open_stream_does_not_stand_in_line(clock: FastClock, operation: str, leave: str) -> None:
    """Whoever has a result does other things meanwhile, waits for the same rate perhaps."""
    rate = Rate(1)
    stream = getattr(Concurrent, operation)(abs, count(), rate=rate, limit=1)
    next(stream)
    if leave == "close":
        stream.close()
    elif leave == "collect":
        del stream
    begin = clock.now()
    first, second, third = waits(rate, clock, 3)
    assert first <= begin + 1 + EXACT
    assert [second, third] == near([first + 1, first + 2])
    if leave == "stay":
        next(stream)
        stream.close()


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("leave", ["close", "collect"])
def test_an_async_stream_that_is_left_leaves_the_line(clock: FastClock, operation: str, leave: str) -> None:
    rate = Rate(1)

    async def main() -> list[float]:
        stream = getattr(Concurrent, operation)(asyncio.sleep, repeat(0), rate=rate)
        await anext(stream)
        if leave == "close":
            await stream.aclose()
        del stream
        return await a_waits(rate, 3)

    assert run_virtually(clock, main()) == near([1, 2, 3])


def test_an_open_stream_of_a_closed_loop_does_not_block_the_rate(clock: FastClock) -> None:
    """The frame of a coroutine that failed is kept by its exception, and keeps the stream."""
    rate = Rate(1)

    async def main() -> None:
        async for _ in Concurrent.a_stream(asyncio.sleep, repeat(0), rate=rate):
            raise LookupError

    times = []
    errors = []
    for _ in range(3):
        with pytest.raises(LookupError) as caught:
            run_virtually(clock, main())
        errors.append(caught.value)
        times.append(clock.now())
    assert times[-1] <= 2 * 3
    del errors, caught


def test_a_call_up_at_the_worst_moment_is_not_lost(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one ahead leaves right after the map was told that it is not the first."""
    rate = Rate(1)
    rate.wait()
    ahead = line_up(rate)
    claim = Place.claim

    def claim_and_be_called(place: Place) -> float:
        delay = claim(place)
        if delay > 0:
            ahead.leave()
        return delay

    monkeypatch.setattr(Place, "claim", claim_and_be_called)
    way([0, 1, 2], rate=rate)
    assert way.times == near([1, 2, 3])


def test_a_consumer_that_leaves_a_shared_stream_does_not_take_the_place_of_another(
    steps: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Event()
    taken: list[int] = []
    claim = Place.claim

    def call(number: int) -> int:
        if number == 0:
            gate.wait(SAFETY)
        return number

    def claim_slowly(place: Place) -> float:
        if rate._next > 0 and not taken:
            gate.set()
            taken.append(InThread(lambda: next(stream)).result())
        return claim(place)

    rate = Rate(1)
    stream = Concurrent.stream(call, range(2), rate=rate, limit=2)
    monkeypatch.setattr(Place, "claim", claim_slowly)
    other = InThread(lambda: next(stream))
    steps.step()
    assert (taken, other.result()) == ([0], 1)
    stream.close()


def test_a_consumer_that_takes_a_result_does_not_cost_the_others_their_place_in_line(steps: SteppedClock) -> None:
    gate = Event()
    times: dict[str, float] = {}

    def call(number: int) -> int:
        if number == 0:
            gate.wait(SAFETY)
        else:
            times["stream"] = steps.now()
        return number

    def other() -> None:
        rate.wait()
        times["other"] = steps.now()

    rate = Rate(1)
    stream = Concurrent.stream(call, range(2), rate=rate, limit=2)
    consumers = [InThread(lambda: next(stream)) for _ in range(2)]
    until(lambda: len(rate._line) == 1)
    until(lambda: stream._pull._run is not None and stream._pull._run.watched == 2)
    behind = InThread(other)
    until(lambda: len(rate._line) == 2)
    gate.set()
    until(lambda: not all(consumer.is_alive() for consumer in consumers))
    steps.step(1, lambda: 2)
    until(lambda: len(times) == 1)
    steps.step(2)
    behind.result()
    assert sorted(consumer.result() for consumer in consumers) == [0, 1]
    assert (list(times), list(times.values())) == (["stream", "other"], near([1, 2]))
    stream.close()


def test_consumers_that_share_a_stream_lose_nothing(clock: FastClock) -> None:
    stream = Concurrent.stream(abs, range(1000), rate=100_000)
    consumers = [InThread(lambda: list(stream)) for _ in range(6)]
    assert sorted(chain.from_iterable(consumer.result() for consumer in consumers)) == list(range(1000))


# ---------------------------------------------------------------------------------------------------------------------------
# On the decorator, inside functions, in other processes
# ---------------------------------------------------------------------------------------------------------------------------


def test_a_number_on_the_decorator_is_one_rate_for_all_maps_of_the_function(clock: FastClock) -> None:
    times: list[float] = []

    @concurrent(rate=2)
    async def call(_: int) -> None:
        times.append(clock.now())

    async def main() -> None:
        await call.a_map([0, 1])
        await Concurrent.a_map(call, [2, 3])
        await asyncio.gather(call.a_map([4]), call.a_map([5]))
        assert len([None async for _ in call.a_stream([6, 7])]) == 2

    run_virtually(clock, main())
    assert times == near([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])


def test_the_rate_of_a_call_goes_before_that_of_the_decorator(clock: FastClock) -> None:
    times: list[float] = []

    @concurrent(rate=1)
    async def call(_: int) -> None:
        times.append(clock.now())

    async def main() -> None:
        await call.a_map([0, 1], rate=4)
        await call.a_map([2, 3], rate=None)

    run_virtually(clock, main())
    assert times == near([0, 0.25, 0.25, 0.25])


def test_calling_the_function_itself_is_not_metered(clock: FastClock) -> None:
    @concurrent(rate=1)
    def call(number: int) -> int:
        return number

    assert [call(number) for number in range(5)] == [0, 1, 2, 3, 4]
    assert clock.now() == 0


@pytest.mark.skipif(not HAS_GIL, reason="tenacity's calls clear each other's statistics, and fail: jd/tenacity#701")
def test_retries_are_metered_by_a_wait_in_the_function_on_threads(steps: SteppedClock) -> None:
    rate = Rate(2)
    times: list[float] = []
    tries = Counter[int]()

    @concurrent(limit=3)
    @tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)
    def call(number: int) -> int:
        rate.wait()
        times.append(steps.now())
        tries[number] += 1
        if tries[number] < 3:
            raise ConnectionError
        return number

    running = InThread(lambda: call.map([0, 1, 2]))
    for place in range(9):
        until(lambda place=place: len(times) > place)  # type: ignore[misc]
        if place < 8:
            steps.step(0.5 * (place + 1), lambda: sum(tries[number] < 3 for number in range(3)))
    assert running.result() == [0, 1, 2]
    assert times == near([0.5 * place for place in range(9)])


def test_retries_are_metered_by_a_wait_in_the_function_on_asyncio(clock: FastClock) -> None:
    rate = Rate(2)
    times: list[float] = []
    tries = Counter[int]()

    @concurrent(rate=rate)
    @tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)
    async def call(number: int) -> int:
        if tries[number]:
            await rate.a_wait()  # the map has waited for the first
        times.append(clock.now())
        tries[number] += 1
        if tries[number] < 3:
            raise ConnectionError
        return number

    assert run_virtually(clock, call.a_map([0, 1, 2])) == [0, 1, 2]
    assert times == near([0.5 * place for place in range(9)])


def test_a_map_inside_a_call_may_share_the_rate(threads: InThreads) -> None:
    rate = Rate(2)

    def inner(_: object) -> None:
        threads.times.append(threads.clock.now())

    def outer(number: int) -> None:
        Concurrent.map(inner, [number, number], rate=rate, limit=1)

    running = InThread(lambda: list(threads.operation(outer, range(2), limit=1)))
    threads.watch(running, 0, 4)
    running.result()
    assert threads.times == near([0, 0.5, 1, 1.5])


def test_a_rate_is_pickled_as_what_it_allows(clock: FastClock) -> None:
    sent = pickle.loads(pickle.dumps(Rate(3, per=2)))
    assert repr(sent) == repr(Rate(3, per=2)) == "Rate(3, per=2)"
    assert waits(sent, clock, 3) == near([0, 2 / 3, 4 / 3])


def test_a_rate_in_use_is_pickled_without_those_who_wait(clock: FastClock) -> None:
    rate = Rate(2)
    rate.wait()
    place = line_up(rate)
    sent = pickle.loads(pickle.dumps(rate))
    assert waits(sent, clock, 2) == near([0, 0.5])
    place.leave()


@concurrent(rate=1000, limit=2)
def _double(number: int) -> int:
    return 2 * number


def _map_there(function: Any, numbers: list[int], rate: Rate) -> tuple[list[int], list[int]]:
    return function.map(numbers), Concurrent.map(abs, numbers, rate=rate)


def test_a_decorated_function_with_a_rate_can_be_sent_to_a_process() -> None:
    _double.map([0])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_map_there, _double, [1, 2, 3], Rate(1000)).result(SAFETY) == ([2, 4, 6], [1, 2, 3])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs os.fork")
def test_a_forked_child_begins_anew() -> None:
    """Those who stood in line, and perhaps held the lock, are threads of the parent. The next start here is in an hour."""
    script = """
        import os, sys, threading, warnings
        from concurrency import Concurrent, Rate
        warnings.simplefilter("ignore", DeprecationWarning)  # to fork with threads is what this is about
        rate = Rate(1, per=3600)
        rate.wait()
        threading.Thread(target=rate.wait, daemon=True).start()
        while not rate._line:
            pass
        child = 0
        with rate._lock:
            child = os.fork()
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(Concurrent.map(abs, [-7], rate=rate)[0])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=SAFETY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


# ---------------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------------


class _Mute:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "kind", "rule"),
    [
        (0, ValueError, "must be positive and finite, got 0"),
        (-1.5, ValueError, "must be positive and finite, got -1.5"),
        (math.nan, ValueError, "must be positive and finite, got nan"),
        (math.inf, ValueError, "must be positive and finite, got inf"),
        (10**400, ValueError, "must be positive and finite, got 1"),
        (Decimal(0), ValueError, "must be positive and finite, got Decimal"),
        (True, TypeError, "must be a number, got True"),
        ("fast", TypeError, "must be a number, got 'fast'"),
        ([1], TypeError, "must be a number, got [1]"),
        (1j, TypeError, "must be a number, got 1j"),
        (_Mute(), TypeError, "must be a number, got "),
    ],
    ids=["0", "negative", "nan", "inf", "huge", "Decimal", "bool", "str", "list", "complex", "mute"],
)
class TestRefused:
    def test_as_calls(self, value: Any, kind: type[Exception], rule: str) -> None:
        with pytest.raises(kind) as caught:
            Rate(value)
        assert str(caught.value).startswith(f"calls {rule}")

    def test_as_per(self, value: Any, kind: type[Exception], rule: str) -> None:
        with pytest.raises(kind) as caught:
            Rate(1, per=value)
        assert str(caught.value).startswith(f"per {rule}")

    @pytest.mark.parametrize("inputs", [[], [1]])
    def test_by_operations_before_anything_starts(
        self, every: Run, inputs: Any, value: Any, kind: type[Exception], rule: str
    ) -> None:
        with pytest.raises(kind) as caught:
            every(_never, inputs, rate=value)
        assert str(caught.value).startswith(f"rate {rule}")

    def test_by_the_decorator(self, value: Any, kind: type[Exception], rule: str) -> None:
        with pytest.raises(kind) as caught:
            concurrent(rate=value)(abs)
        assert str(caught.value).startswith(f"rate {rule}")


def _never(_: object) -> None:
    raise AssertionError("nothing may start")


def test_none_stands_for_both(every: Run) -> None:
    assert every(abs, [1], rate=None) == [1]
    with pytest.raises(TypeError, match="calls must be a number, got None"):
        Rate(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("calls", [2, 2.0, Decimal(2), Fraction(2)])
def test_any_number_will_do(clock: FastClock, calls: Any) -> None:
    assert waits(Rate(calls), clock, 2) == near([0, 0.5])
    assert repr(Rate(calls)) == "Rate(2, per=1)"


@pytest.mark.parametrize(("kind", "step"), [(Rate, "queue"), (Place, "claim")])
def test_ctrl_c_while_a_start_is_asked_for_leaves_the_line(kind: Any, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Rate(1000)

    def interrupted(*_: Any) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            Concurrent.map(abs, [1], rate=rate)
    assert Concurrent.map(abs, [1, -2], rate=rate, timeout=30) == [1, 2]
