"""Timelines of calls that an executor runs: when they ran there, where that can be known, and else what is seen from here."""

import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context
from itertools import pairwise
from multiprocessing import get_context
from threading import Thread
from typing import Any

import pytest

from concurrency import Concurrent, timeline
from concurrency._observing import Times
from concurrency._recorder import Outcome
from tests.executor_functions import Driven, Inline, add, die_at_5, double, fail_at_5, fail_where_odd, lock_at_5, process_id
from tests.test_timeline import calls_of, maps_of
from tests.timeline_hand import Hand

OPERATIONS = ["map", "stream", "as_completed"]
either = pytest.mark.parametrize("chunksize", [1, 4])


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        Context().run(executor.submit, bool).result()
        yield executor


@pytest.fixture
def fragile() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(params=["threads", "inline", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        yield request.getfixturevalue("processes")
        return
    with ThreadPoolExecutor(2) if request.param == "threads" else Inline() as executor:
        yield executor


@either
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_is_recorded(pool: Executor, operation: str, chunksize: int) -> None:
    with timeline() as seen:
        list(getattr(Concurrent, operation)(double, range(10), executor=pool, chunksize=chunksize))
    (each,) = maps_of(seen)
    assert (each.name, each.kind, each.limit) == (f"double.{operation}", "executor", None)
    assert [(call.number, call.shown, call.outcome) for call in calls_of(seen)] == [
        (place, str(place), Outcome.RESULT) for place in range(10)
    ]
    for call in each.calls:
        assert 0 <= call.ready <= call.start <= call.end


@either
def test_calls_of_one_worker_come_one_after_the_other(pool: Executor, chunksize: int) -> None:
    with timeline() as seen:
        Concurrent.map(double, range(40), executor=pool, chunksize=chunksize)
    (each,) = maps_of(seen)
    for worker in {call.worker for call in each.calls}:
        mine = [call for call in each.calls if call.worker == worker]
        assert all(one.end <= other.start for one, other in pairwise(mine))


def test_processes_are_told_apart(processes: Executor) -> None:
    with timeline() as seen:
        where = Concurrent.map(process_id, range(50), executor=processes)
    assert [call.worker for call in calls_of(seen)] == [f"process {pid}" for pid in where]
    assert os.getpid() not in where


def test_several_iterables(pool: Executor) -> None:
    with timeline() as seen:
        Concurrent.map(add, [1, 2], [3, 4], executor=pool)
    assert [call.shown for call in calls_of(seen)] == ["(1, 3)", "(2, 4)"]


@either
def test_a_failure(pool: Executor, chunksize: int) -> None:
    with timeline() as seen, pytest.raises(ValueError, match="5"):
        Concurrent.map(fail_at_5, range(10), executor=pool, chunksize=chunksize, limit=1)
    outcomes = {call.number: call.outcome for call in calls_of(seen)}
    assert outcomes == {**dict.fromkeys(range(5), Outcome.RESULT), 5: Outcome.FAILURE}
    assert calls_of(seen)[5].worker is not None, "that it failed is no reason not to know where"


@either
def test_what_catch_takes(pool: Executor, chunksize: int) -> None:
    with timeline() as seen:
        Concurrent.map(fail_where_odd, range(8), executor=pool, chunksize=chunksize, catch=ValueError)
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.CAUGHT] * 4


def test_a_result_that_cannot_be_sent(processes: Executor) -> None:
    with timeline() as seen, pytest.raises(TypeError, match="pickle"):
        Concurrent.map(lock_at_5, range(6), executor=processes, chunksize=6)
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT] * 5 + [Outcome.FAILURE]


def test_calls_whose_worker_has_died(fragile: Executor) -> None:
    with timeline() as seen, pytest.raises(BrokenExecutor):
        Concurrent.map(die_at_5, [5], executor=fragile, catch=Exception)
    ((call,),) = [each.calls for each in maps_of(seen)]
    assert (call.outcome, call.worker) == (Outcome.FAILURE, None)
    assert seen._picture().sections[0].lanes == ["executor 1"]


def test_calls_that_have_been_cancelled_before_they_began_are_not_shown() -> None:
    with ThreadPoolExecutor(1) as executor, timeline() as seen:
        with Concurrent.stream(double, range(1000), executor=executor) as results:
            next(results)
        assert not maps_of(seen)[0].calls or all(call.outcome is Outcome.RESULT for call in calls_of(seen))


def test_nothing_runs_elsewhere_for_a_timeline_that_is_not_there(processes: Executor) -> None:
    with timeline() as seen:
        pass
    Concurrent.map(double, [1], executor=processes)
    assert maps_of(seen) == []


def _returned(*spans: tuple[float, float]) -> list[tuple[float, float]]:
    hand = Hand()
    watch = hand.map(double).watch
    watch.sent(0, [(0,), (1,)])
    watch.returned(0, [None, None], Times("elsewhere", [*spans]))
    assert watch.running == {}
    return [(call.start, call.end) for call in calls_of(hand.timeline)]


def test_the_clock_of_another_machine_is_not_taken_for_ours() -> None:
    first, second = _returned((-500.0, -400.0), (-400.0, -250.0))
    assert first[1] == second[0]
    assert second[1] - second[0] == pytest.approx(150)
    (one, two) = _returned((1e9, 1e9 + 1), (1e9 + 1, 1e9 + 3))
    assert two[1] < 1e8
    assert two[1] - one[0] == pytest.approx(3)


def test_a_task_that_tells_no_times_is_shown_as_seen_from_here() -> None:
    hand = Hand()
    watch = hand.map(double).watch
    watch.sent(0, [(0,)])
    watch.returned(0, [None], None)
    ((call,),) = [each.calls for each in maps_of(hand.timeline)]
    assert call.worker is None
    assert call.start < call.end


def test_an_executor_with_a_rate(pool: Executor) -> None:
    with timeline() as seen:
        Concurrent.map(double, iter([1, 2, 3]), executor=pool, rate=50)
    waited = [call.start - call.ready for call in calls_of(seen)]
    assert max(waited[1:]) > 0.01


def test_results_and_errors_are_as_without(pool: Executor) -> None:
    def outcomes() -> list[Any]:
        caught = Concurrent.map(fail_where_odd, range(8), executor=pool, chunksize=3, catch=ValueError)
        return [repr(each) for each in caught]

    plain = outcomes()
    with timeline():
        assert outcomes() == plain


def test_a_call_that_its_executor_has_cancelled_is_not_shown_as_running() -> None:
    executor = Driven()

    def cancel() -> None:
        executor.wait_for(3)
        executor.tasks[1][0].cancel()

    with timeline() as seen:
        stream = Concurrent.stream(double, range(3), executor=executor, limit=3)
        canceller = Thread(target=cancel)
        canceller.start()
        with pytest.raises(CancelledError):
            list(stream)
        canceller.join()
    assert calls_of(seen) == []
