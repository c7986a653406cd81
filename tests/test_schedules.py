"""Races whose every order is forced: by events, by time that passes between two looks at it, by threads that are held up."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from types import FrameType
from typing import Any

import pytest

from concurrency import Concurrent, _workers
from concurrency._calls import Job
from concurrency._delivery import AtTheEnd
from concurrency._options import Operation
from concurrency._runs import Run
from concurrency._threads import _ThreadRun
from tests.lazy_ways import LAZY_WAYS, LazyWay, SkippingClock, ended_in, has_stopped, rest, run_of, take
from tests.ways import PATIENCE, WAYS, Way, until


class JumpingClock:
    """Time stands still, but for one long moment right before the look with this number."""

    def __init__(self, jump_at: int) -> None:
        self.looks = 0
        self._jump_at = jump_at

    def __call__(self) -> float:
        self.looks += 1
        return 1000.0 if self.looks > self._jump_at else 0.0


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Runs a story again and again, with the long moment of it at every look at the time."""

    def run(story: Callable[[], Any]) -> None:
        for moment in range(10_000):
            clock = JumpingClock(moment)
            with monkeypatch.context() as patch:
                patch.setattr("concurrency._pace.monotonic", clock)
                story()
            if clock.looks <= moment:
                return
        raise AssertionError("it never ends")

    return run


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if name.startswith("a_")])
@pytest.mark.parametrize("buffersize", [1, 3])
@pytest.mark.parametrize("count", [1, 7])
def test_a_stream_loses_nothing_and_goes_on_whenever_its_time_slice_ends(
    name: str, jumping: Callable[[Callable[[], Any]], None], count: int, buffersize: int
) -> None:
    """Between seeing that there is time left and taking a result, the slice may end: the result has to wait, not to be lost."""
    lazy: LazyWay = LAZY_WAYS[name]()

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            stream = lazy(call, range(count), limit=2, buffersize=buffersize)
            assert sorted(map(lazy.result, await rest(stream))) == list(range(count))

    jumping(lambda: lazy.run(main))


@pytest.mark.parametrize("name", [name for name in WAYS if name.startswith("asyncio")])
def test_a_map_goes_on_whenever_its_time_slice_ends(name: str, jumping: Callable[[Callable[[], Any]], None]) -> None:
    way: Way = WAYS[name]()

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    def story() -> None:
        assert way(call, list(range(7)), limit=2) == list(range(7))

    jumping(story)


class Stall:
    """Holds up, once, the thread of a kind that comes to its n-th line of this package, while all others go on."""

    def __init__(self, moment: int, prefix: str) -> None:
        self.left = moment
        self.begun = threading.Event()
        self.where = "nowhere"
        self._prefix = prefix
        self._lock = threading.Lock()

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        name = str(frame.f_globals.get("__name__"))
        if not name.startswith("concurrency.") or name in NOT_SHARED:
            return None
        if self.left <= 0 or not threading.current_thread().name.startswith(self._prefix):
            return None
        if event == "line":
            with self._lock:
                self.left -= 1
                is_it = self.left == 0
            if is_it:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                self.begun.set()
                threading.Event().wait(STALL)  # nothing depends on how long it is, but what there is to find
        return self.trace


class Bar:
    """A bar that nobody sees."""

    def __init__(self, **_: Any) -> None: ...
    def update(self, more: float) -> None: ...
    def set_postfix(self, *, refresh: bool, failed: int) -> None: ...
    def close(self) -> None: ...


NOT_SHARED = {"concurrency.core", "concurrency._calls", "concurrency._options", "concurrency._sent", "concurrency.streams"}
"""Modules that know nothing of what threads share: who is held up there holds up nobody."""

STALL = 0.001
"""Seconds for which a thread is held up: enough for others to come as far as they can."""


@contextmanager
def held_up() -> Iterator[list[Stall]]:
    """Threads that begin in the block are held up as the one stall in the list says."""
    current: list[Stall] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return current[0].trace(frame, event, argument) if current else None

    threading.settrace(trace)
    try:
        yield current
    finally:
        threading.settrace(None)  # type: ignore[arg-type,unused-ignore]
        current.clear()


@pytest.mark.parametrize("who", ["caller", "worker"])
@pytest.mark.parametrize(
    ("operation", "on"),
    [("map", "threads"), ("stream", "threads"), ("as_completed", "threads"), ("map", "executor"), ("stream", "executor")],
)
def test_no_call_is_lost_whoever_is_held_up_at_whatever_line(
    operation: str, on: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input comes at that very moment, as the next does whenever nobody has asked for one for a while."""
    executor = None
    options: dict[str, Any] = {"limit": 2} if operation == "map" else {"limit": 2, "buffersize": 3}

    def source(stall: Stall) -> Iterator[int]:
        for item in range(4):
            yield item
            stall.begun.wait(0.0003)

    def work(stall: Stall) -> Any:
        given = {**options, "executor": executor}
        results: Any = getattr(Concurrent, operation)(lambda item: -item, source(stall), **given)
        return sorted(-each if isinstance(each, int) else -each[1] for each in results)

    def once(stall: Stall) -> list[Any]:
        results: list[Any] = []
        current[:] = [stall]
        caller = threading.Thread(target=lambda: results.append(work(stall)), name="caller", daemon=True)
        caller.start()
        caller.join(PATIENCE)
        assert not caller.is_alive(), f"it hangs after {stall.where}"
        return results

    monkeypatch.setattr(_workers, "_pool", None)  # one whose threads are traced
    try:
        with held_up() as current:
            if on == "executor":
                executor = ThreadPoolExecutor(2, "worker")
            for moment in itertools.count(1, 1 if who == "worker" else 3):  # a caller has many more lines
                stall = Stall(moment, "caller" if who == "caller" else "worker" if on == "executor" else "concurrency")
                assert once(stall) == [list(range(4))], stall.where
                if stall.left > 0:
                    break
        assert moment > 20
    finally:
        if executor is not None:
            executor.shutdown()


@pytest.mark.parametrize("bar", [False, Bar], ids=["no bar", "bar"])
def test_consumers_that_share_a_stream_lose_nothing_when_one_is_held_up_at_whatever_line(bar: Any) -> None:
    """The other takes all that is left, and ends the stream, meanwhile."""

    def once(stall: Stall) -> list[Any]:
        outcomes: list[Any] = []

        def consume() -> None:
            try:
                for result in stream:
                    outcomes.append(result)
            except BaseException as error:
                outcomes.append(error)

        stream = Concurrent.stream(abs, range(5), limit=2, buffersize=3, progress=bar)
        current[:] = [stall]
        consumers = [threading.Thread(target=consume, name=f"consumer {number}", daemon=True) for number in range(2)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join(PATIENCE)
            assert not consumer.is_alive(), f"it hangs after {stall.where}"
        return sorted(outcomes, key=repr)

    with held_up() as current:
        for moment in itertools.count(1):
            stall = Stall(moment, "consumer 0")
            assert once(stall) == list(range(5)), stall.where
            if stall.left > 0:
                break
    assert moment > 20


# Two ends at once, in each order


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_failures_the_first_in_time_is_raised_and_the_other_named(way: Way, first: int) -> None:
    """The other fails when the map has seen the first: on asyncio because of it, as it is cancelled."""
    failing: list[int] = []
    together = way.barrier(2)

    async def call(item: int) -> None:
        try:
            await together.wait()
            if item == first:
                failing.append(threading.get_ident())
            else:
                await way.outlast(failing)
        finally:
            raise ValueError(item)

    with pytest.raises(ValueError) as caught:
        way(call, [0, 1], limit=2)
    other = 1 - first
    assert caught.value.args == (first,)
    (note,) = caught.value.__notes__
    named, further = note.split("; 1 more failed: ")
    assert named == f"concurrency: call {first} of call.{way.operation} failed, with {first}"
    assert further == f"call {other}, with {other}: ValueError({other})"


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_failures_the_first_in_time_ends_a_stream(lazy: LazyWay, first: int) -> None:
    together, gate = lazy.barrier(2), lazy.gate()

    async def call(item: int) -> None:
        try:
            await together.wait()
            if item != first:
                await gate.wait()
        finally:
            raise ValueError(item)

    async def main() -> None:
        stream = lazy(call, [0, 1], limit=2)
        with lazy.let_go(gate, lambda: has_stopped(stream)):
            for _ in range(3):
                with pytest.raises(ValueError) as caught:
                    await take(stream)
                assert caught.value.args == (first,)
        (note,) = caught.value.__notes__
        assert note.startswith(f"concurrency: call {first} of call.{lazy.operation} failed, with {first}; 1 more failed: call ")

    lazy.run(main)


@pytest.mark.parametrize("name", [name for name in WAYS if name.startswith("threads")])
def test_a_failure_after_the_timeout_disturbs_nobody(name: str, clock: SkippingClock) -> None:
    way: Way = WAYS[name]()
    release, ended = threading.Event(), threading.Event()

    async def call(item: int) -> None:
        clock.skip(60)
        assert release.wait(PATIENCE)
        ended.set()
        raise ValueError(item)

    with pytest.raises(TimeoutError, match="timed out after 30 s") as caught:
        way(call, [0], timeout=30)
    release.set()
    assert ended.wait(PATIENCE)
    until(lambda: _workers._shared_pool().is_free())
    assert not hasattr(caught.value, "__notes__")


def test_a_stream_that_has_failed_and_one_that_has_timed_out_stay_so(lazy: LazyWay, clock: SkippingClock) -> None:
    """Whichever comes first: that is what is raised from then on."""

    async def failed_first() -> None:
        gate = lazy.gate()
        together = lazy.barrier(2)

        async def call(item: int) -> int:
            await together.wait()
            if item == 1:
                raise ValueError(item)
            await gate.wait()
            return item

        stream = lazy(call, [0, 1], limit=2, timeout=30)
        with lazy.let_go(gate, lambda: has_stopped(stream)):
            for _ in range(2):
                with pytest.raises(ValueError):
                    await rest(stream)
                clock.skip(60)

    async def late_first() -> None:
        release = lazy.gate()

        async def call(item: int) -> int:
            clock.skip(60)
            try:
                await release.wait()
            finally:
                raise ValueError(item)

        stream = lazy(call, [0], limit=1, timeout=30)
        for _ in range(3):
            with pytest.raises(TimeoutError, match="timed out after 30 s"):
                await rest(stream)
            release.set()

    lazy.run(failed_first)
    lazy.run(late_first)


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_a_call_that_ends_right_after_a_look_at_what_is_ready_is_not_lost(operation: str) -> None:
    """The last one: its consumer has seen that nothing is ready, and has yet to see that all have ended."""
    gate = threading.Event()
    looks: list[bool] = []

    def call(item: int) -> int:
        if item == 1:
            gate.wait()
        return item

    stream = getattr(Concurrent, operation)(call, range(2), limit=1, buffersize=3)  # so that the end is known
    run = run_of(stream)
    ready = run.delivery.ready

    class Delivery(type(run.delivery)):  # type: ignore[misc]  # of whichever kind it is
        __slots__ = ()

        def ready(self) -> bool:
            is_ready: bool = ready()
            if threading.current_thread() is not threading.main_thread():
                return is_ready
            if not is_ready and ended_in(stream) == 1 and run.exhausted:
                looks.append(is_ready)
            if len(looks) == 2:  # the first look is at the beginning of `next`, and nothing is decided by it
                gate.set()
                until(lambda: ended_in(stream) == 2)
            return is_ready

    run.delivery.__class__ = Delivery
    assert len(list(stream)) == 2
    assert looks[:2] == [False, False]


def run_of_two(**fields: Any) -> _ThreadRun:
    """One that nobody runs, with these fields."""
    run = _ThreadRun(Job(Operation("map"), abs, (iter(()),), {"limit": 2}), AtTheEnd(), ahead=4, refill=2)
    for name, value in fields.items():
        setattr(run, name, value)
    return run


@pytest.mark.parametrize(
    "end", [_ThreadRun._call_back, lambda run: run.leave(wait=False), lambda run: run.give_up(LookupError())]
)
def test_of_two_workers_that_run_out_while_the_caller_comes_none_is_forgotten(end: Callable[[_ThreadRun], None]) -> None:
    """One waits for the caller without a limit of time; of another it would never hear."""
    run = run_of_two(_rousing=True, _active=2)  # the caller has been rung, and has not come yet
    went: list[bool] = []

    def runs_out() -> None:
        bell = threading.Lock()
        bell.acquire()
        went.append(run._goes(bell))

    workers = [threading.Thread(target=runs_out, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    until(lambda: len(went) == 1)
    assert went == [True], "the other has lingered, and gone"
    end(run)
    for worker in workers:
        worker.join(PATIENCE)
    assert went == [True, False]
    run._call_back()  # there is none any more
    assert not run._arriving


def test_a_call_that_ends_right_after_the_caller_has_looked_for_room_makes_room() -> None:
    """Its worker may not have seen the bell."""
    counts = [0, 1, 1]

    class Counted(Run):
        def count(self) -> int:
            return counts.pop(0)

        def wait(self, bell: threading.Lock, until: float = inf) -> bool:
            raise AssertionError("there is nothing to wait for")

    run = Counted(Job(Operation("map"), abs, (iter(()),), {}), AtTheEnd(), ahead=1)
    run.read = 1
    assert run.await_room() == 1
    assert not run.watched


def test_a_worker_that_runs_out_while_others_still_run_lingers_and_goes() -> None:
    """The caller is on its way, but may have no room to read, and wait for the others, however long these take."""
    run = run_of_two(_rousing=True, _active=2, read=1)
    bell = threading.Lock()
    bell.acquire()
    went: list[bool] = []
    worker = threading.Thread(target=lambda: went.append(run._goes(bell)), daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert went == [True]


def test_a_caller_that_waits_for_a_worker_hears_that_the_system_gives_none() -> None:
    """Another goes on with its call, which may take long."""
    waits, lock = threading.Event(), threading.Lock()
    lock.acquire()

    class Bell:
        def acquire(self, timeout: float = -1) -> bool:
            waits.set()
            return lock.acquire(timeout=timeout)

        def release(self) -> None:
            lock.release()

    run = run_of_two(_arriving=True, _active=1, _bells=[Bell()])
    caller = threading.Thread(target=run.wait, args=(run._bells[0],), daemon=True)
    caller.start()
    assert waits.wait(PATIENCE)
    run._do_without(RuntimeError("can't start new thread"))
    caller.join(PATIENCE)
    assert not caller.is_alive()
