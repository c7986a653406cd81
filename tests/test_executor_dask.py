"""The `executor` option on a dask cluster of two worker processes, on loopback."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from pickle import PicklingError
from traceback import format_exception
from typing import Any

import pytest

from concurrency import Concurrent
from tests.executor_functions import (
    LOCAL,
    OneWayError,
    Scorer,
    buffered,
    change_context,
    decorated,
    die_at_5,
    die_once,
    double,
    fail_at_5,
    fail_once,
    fail_where_odd,
    identity,
    leave_a_trace,
    lock_at_5,
    one_way_at_5,
    process_id,
    raise_one_way_at_5,
    raise_stop_at_5,
)
from tests.ways import until

distributed = pytest.importorskip("distributed")

# distributed's own affair: sockets and loops that it closes late, and warnings of the libraries beneath it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(120),
]

either = pytest.mark.parametrize("chunksize", [1, 4])


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    # It logs what it is told to cancel, and what fails, as errors.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL + 1)
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def executor(client: Any) -> Executor:
    result: Executor = client.get_executor(pure=False)
    return result


@pytest.mark.parametrize("chunksize", [1, 7, 100])
@pytest.mark.parametrize("limit", [None, 3])
def test_equals_the_builtin_map(executor: Executor, limit: int | None, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": executor, "chunksize": chunksize, "limit": limit}
    assert Concurrent.map(double, range(20), **options) == list(range(0, 40, 2))
    assert list(Concurrent.stream(double, range(20), **options)) == list(range(0, 40, 2))
    assert dict(Concurrent.as_completed(double, range(20), **options)) == {each: 2 * each for each in range(20)}


def test_runs_on_both_workers(executor: Executor) -> None:
    assert len(set(Concurrent.map(process_id, range(40), executor=executor))) == 2


@either
def test_decorated_functions_and_methods(executor: Executor, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": executor, "chunksize": chunksize}
    assert decorated.map(range(10), **options) == list(range(0, 30, 3))
    assert Scorer(5).score.map(range(10), **options) == list(range(0, 50, 5))
    assert Concurrent.map(Scorer(5).plain, range(10), **options) == list(range(0, 50, 5))


@either
def test_a_call_that_fails(executor: Executor, chunksize: int) -> None:
    with pytest.raises(ValueError, match="five") as caught:
        Concurrent.map(fail_at_5, range(9), executor=executor, chunksize=chunksize, limit=1)
    assert caught.value.__notes__ == ["concurrency: call 5 of fail_at_5.map failed, with 5"]
    assert "in fail_at_5" in "".join(format_exception(caught.value))
    assert [entry.name for entry in caught.traceback][-1] == "fail_at_5"  # dask teaches pickle to send tracebacks


@either
def test_a_call_that_fails_is_a_failed_task_which_dask_may_run_again(client: Any, tmp_path: Path, chunksize: int) -> None:
    paths = [str(tmp_path / name) for name in "abcd"]
    executor = client.get_executor(pure=False, retries=len(paths))
    assert Concurrent.map(fail_once, paths, executor=executor, chunksize=chunksize) == ["survived"] * len(paths)


def test_after_a_failure_no_further_call_starts_and_those_that_run_are_left_to_end(executor: Executor, tmp_path: Path) -> None:
    """Its futures never tell that they run, and let themselves be cancelled though they do."""
    with pytest.raises(ValueError, match="zero"):
        Concurrent.map(partial(leave_a_trace, str(tmp_path)), range(50), executor=executor)
    (tmp_path / "go").touch()
    assert Concurrent.map(double, range(50), executor=executor) == list(range(0, 100, 2))  # by now the others would have begun
    assert len(list(tmp_path.iterdir())) < 50  # those that had been sent to a worker may not be recalled in time


@either
def test_contexts_do_not_travel_and_nothing_breaks(executor: Executor, chunksize: int) -> None:
    token = LOCAL.set("mine")
    try:
        assert Concurrent.map(change_context, "abcdefgh", executor=executor, chunksize=chunksize) == ["nothing"] * 8
    finally:
        LOCAL.reset(token)


@either
def test_results_with_buffers_of_their_own(executor: Executor, chunksize: int) -> None:
    results = Concurrent.map(buffered, range(9), executor=executor, chunksize=chunksize)
    assert results == [bytes([each]) * 100 for each in range(9)]


@either
def test_catch(executor: Executor, chunksize: int) -> None:
    results = Concurrent.map(fail_where_odd, range(9), executor=executor, chunksize=chunksize, catch=ValueError)
    assert [each if isinstance(each, int) else each.args[0] for each in results] == list(range(9))


@either
def test_stop_iteration_does_not_shorten_the_result(executor: Executor, chunksize: int) -> None:
    with pytest.raises(RuntimeError, match="the call raised StopIteration"):
        Concurrent.map(raise_stop_at_5, range(9), executor=executor, chunksize=chunksize)


@either
def test_what_cannot_be_sent(executor: Executor, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": executor, "chunksize": chunksize, "limit": 2, "catch": TypeError}
    with pytest.raises(TypeError, match="serialize"):
        Concurrent.map(identity, [0, 1, 2, 3, 4, threading.Lock()], **options)
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        Concurrent.map(lock_at_5, range(9), **options)
    assert caught.value.__notes__ == ["concurrency: call 5 of lock_at_5.map failed, with 5"]
    with pytest.raises(ValueError, match="no number"):
        Concurrent.map(one_way_at_5, range(9), **options)
    with pytest.raises((PicklingError, OneWayError), match=r"OneWayError, raised by the call, cannot be sent|1 and 2"):
        Concurrent.map(raise_one_way_at_5, range(9), **options)
    assert Concurrent.map(double, [1], executor=executor) == [2]


def test_pure_runs_equal_calls_once(client: Any, tmp_path: Path) -> None:
    """As long as it knows the first of them."""
    go = tmp_path / "go"

    def equal() -> Iterator[str]:
        yield from [str(go)] * 10
        go.touch()  # none ends before all have been sent

    assert len(set(Concurrent.map(_random, equal(), executor=client.get_executor(pure=True)))) == 1
    assert len(set(Concurrent.map(_random, equal(), executor=client.get_executor(pure=False)))) == 10


def _random(go: str) -> float:
    from random import random

    until(Path(go).exists)
    return random()


def test_a_worker_killed_in_the_middle_is_replaced_and_its_calls_run_again(executor: Executor, tmp_path: Path) -> None:
    paths = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert Concurrent.map(die_once, paths, executor=executor, limit=1) == ["survived"] * 2
    assert Concurrent.map(double, range(9), executor=executor) == list(range(0, 18, 2))


def test_a_call_that_kills_every_worker(executor: Executor) -> None:
    with pytest.raises(distributed.scheduler.KilledWorker) as caught:
        Concurrent.map(die_at_5, range(9), executor=executor, limit=1)
    assert caught.value.__notes__ == ["concurrency: call 5 of die_at_5.map failed, with 5"]


def test_shut_down_in_the_middle(client: Any) -> None:
    executor = client.get_executor(pure=False)
    stream = Concurrent.stream(double, range(100), executor=executor, limit=2)
    assert next(stream) == 0
    executor.shutdown(wait=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(stream)
