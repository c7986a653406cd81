"""The `executor` option on processes: of the standard library under each start method, and loky's."""

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextvars import Context
from itertools import count, islice
from pickle import PicklingError
from traceback import format_exception
from typing import Any

import pytest

from concurrency import Concurrent
from tests.executor_functions import (
    LOCAL,
    FalsyError,
    OneWayError,
    Scorer,
    add,
    buffered,
    change_context,
    decorated,
    die_at_5,
    double,
    exit_at_5,
    fail_at_5,
    fail_where_odd,
    identity,
    is_child,
    lock_at_5,
    look_at_context,
    one_way_at_5,
    raise_falsy_at_5,
    raise_locked_at_5,
    raise_one_way_at_5,
    raise_stop_at_5,
)
from tests.ways import free

# A child may be forked while threads of other tests are idle: a warning from 3.12 on. These children only run our functions.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

METHODS = [method for method in ("fork", "spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]


def make(kind: str) -> Executor:
    if kind == "loky":
        loky = pytest.importorskip("loky")
        executor: Executor = loky.ProcessPoolExecutor(2)
        return executor
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))


@pytest.fixture(scope="module", params=[*METHODS, "loky"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One for all tests that leave it whole. Its workers start here: forked ones keep the context that they are forked in."""
    with make(request.param) as executor:
        Context().run(executor.submit, bool).result()
        yield executor


@pytest.fixture(params=[*METHODS, "loky"])
def fragile(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One for a single test."""
    with make(request.param) as executor:
        yield executor


either = pytest.mark.parametrize("chunksize", [1, 4])


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("limit", [None, 1, 3])
def test_equals_the_builtin_map(pool: Executor, limit: int | None, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": pool, "chunksize": chunksize, "limit": limit}
    assert Concurrent.map(double, range(20), **options) == list(range(0, 40, 2))
    assert Concurrent.map(add, range(20), count(), **options) == list(range(0, 40, 2))
    assert list(Concurrent.stream(double, range(20), **options)) == list(range(0, 40, 2))
    assert dict(Concurrent.as_completed(double, range(20), **options)) == {each: 2 * each for each in range(20)}


def test_runs_in_other_processes(pool: Executor) -> None:
    assert all(Concurrent.map(is_child, range(4), executor=pool)) or type(pool).__module__.startswith("loky")


def test_infinite_input(pool: Executor) -> None:
    with Concurrent.stream(double, count(), executor=pool, chunksize=10) as stream:
        assert list(islice(stream, 100)) == list(range(0, 200, 2))


@either
def test_results_with_buffers_of_their_own(pool: Executor, chunksize: int) -> None:
    assert Concurrent.map(buffered, range(9), executor=pool, chunksize=chunksize) == [bytes([each]) * 100 for each in range(9)]


@either
def test_decorated_functions_travel_by_reference(pool: Executor, chunksize: int) -> None:
    assert decorated.map(range(10), executor=pool, chunksize=chunksize) == list(range(0, 30, 3))
    assert Concurrent.map(decorated, range(10), executor=pool, chunksize=chunksize) == list(range(0, 30, 3))


@either
def test_methods_of_objects_that_can_be_pickled(pool: Executor, chunksize: int) -> None:
    scorer = Scorer(5)
    for method in (scorer.plain, scorer.score):
        assert Concurrent.map(method, range(10), executor=pool, chunksize=chunksize) == list(range(0, 50, 5))
    assert scorer.score.map(range(10), executor=pool, chunksize=chunksize) == list(range(0, 50, 5))
    assert Scorer.twice.map(range(10), executor=pool, chunksize=chunksize) == list(range(0, 20, 2))


@either
def test_contexts_do_not_travel_and_nothing_breaks(pool: Executor, chunksize: int) -> None:
    token = LOCAL.set("mine")
    try:
        assert Concurrent.map(look_at_context, range(9), executor=pool, chunksize=chunksize) == ["nothing"] * 9
        assert Concurrent.map(change_context, "abcdefgh", executor=pool, chunksize=chunksize) == ["nothing"] * 8
    finally:
        LOCAL.reset(token)


class TestFailure:
    @either
    def test_says_which_call_it_was_and_where(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(ValueError, match="five") as caught:
            Concurrent.map(fail_at_5, range(9), executor=pool, chunksize=chunksize, limit=1)
        assert caught.value.__notes__ == ["concurrency: call 5 of fail_at_5.map failed, with 5"]
        assert "in fail_at_5" in "".join(format_exception(caught.value))

    @either
    def test_catch(self, pool: Executor, chunksize: int) -> None:
        results = Concurrent.map(fail_where_odd, range(9), executor=pool, chunksize=chunksize, catch=ValueError)
        assert [each if isinstance(each, int) else each.args[0] for each in results] == list(range(9))
        assert isinstance(results[3], ValueError)

    def test_results_before_it_in_its_own_chunk_come_first(self, pool: Executor) -> None:
        stream = Concurrent.stream(fail_at_5, range(100), executor=pool, chunksize=10)
        assert list(islice(stream, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="five"):
            next(stream)

    @either
    def test_a_falsy_exception_is_one(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(FalsyError):
            Concurrent.map(raise_falsy_at_5, range(9), executor=pool, chunksize=chunksize)

    @either
    def test_stop_iteration_does_not_shorten_the_result(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(RuntimeError, match="the call raised StopIteration"):
            Concurrent.map(raise_stop_at_5, range(9), executor=pool, chunksize=chunksize)

    @either
    def test_system_exit_arrives(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(SystemExit):
            Concurrent.map(exit_at_5, range(9), executor=pool, chunksize=chunksize, catch=Exception)
        assert Concurrent.map(double, [1], executor=pool) == [2]


class TestWhatCannotBeSent:
    """It gives an error at the right input, with the pool as good as before."""

    @pytest.fixture(autouse=True)
    def whole(self, pool: Executor) -> Iterator[None]:
        yield
        assert Concurrent.map(double, [1], executor=pool) == [2]

    @either
    def test_input(self, pool: Executor, chunksize: int) -> None:
        inputs = [0, 1, 2, 3, 4, threading.Lock(), 6]
        options: dict[str, Any] = {"executor": pool, "chunksize": chunksize, "catch": Exception}
        with pytest.raises((TypeError, PicklingError)) as caught:
            Concurrent.map(identity, inputs, **options)
        note = caught.value.__notes__[-1]  # behind those that pickle has from 3.14 on
        if type(pool).__module__.startswith("loky") and chunksize > 1:  # its message does not say why
            assert note.startswith("concurrency: one of the calls 4 to 6 of identity.map failed")
        else:
            assert note.startswith("concurrency: call 5 of identity.map failed, with <unlocked _thread.lock")

    def test_function(self, pool: Executor) -> None:
        lock = threading.Lock()
        with pytest.raises((TypeError, AttributeError, PicklingError)) as caught:
            Concurrent.map(lambda _: lock, range(9), executor=pool, limit=1, catch=Exception)
        assert caught.value.__notes__[-1].startswith("concurrency: call 0 of <lambda>.map failed, with 0")

    @either
    def test_result(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(TypeError, match="cannot pickle") as caught:
            Concurrent.map(lock_at_5, range(9), executor=pool, chunksize=chunksize, limit=2, catch=Exception)
        assert caught.value.__notes__ == ["concurrency: call 5 of lock_at_5.map failed, with 5"]

    @either
    def test_result_that_cannot_be_unpickled(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(ValueError, match="no number") as caught:
            Concurrent.map(one_way_at_5, range(9), executor=pool, chunksize=chunksize, limit=2, catch=Exception)
        which = "call 5 of one_way_at_5.map failed, with 5" if chunksize == 1 else "one of the calls 4 to 7 of one_way_at_5.map"
        assert caught.value.__notes__[0].startswith(f"concurrency: {which}")

    def test_results_before_it_come_first(self, pool: Executor) -> None:
        stream = Concurrent.stream(lock_at_5, range(9), executor=pool, chunksize=8, buffersize=16)
        assert list(islice(stream, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(TypeError, match="cannot pickle"):
            next(stream)

    @either
    def test_exception(self, pool: Executor, chunksize: int) -> None:
        with pytest.raises(PicklingError, match="LockedError, raised by the call, cannot be sent") as caught:
            Concurrent.map(raise_locked_at_5, range(9), executor=pool, chunksize=chunksize, limit=2)
        assert caught.value.__notes__ == ["concurrency: call 5 of raise_locked_at_5.map failed, with 5"]

    @either
    def test_exception_that_cannot_be_unpickled(self, pool: Executor, chunksize: int) -> None:
        # Where dask has been imported, and the child been forked since, pickle has learned to do it all the same.
        with pytest.raises(
            (PicklingError, OneWayError), match=r"OneWayError, raised by the call, cannot be sent|1 and 2"
        ) as caught:
            Concurrent.map(raise_one_way_at_5, range(9), executor=pool, chunksize=chunksize, limit=2)
        assert caught.value.__notes__ == ["concurrency: call 5 of raise_one_way_at_5.map failed, with 5"]
        assert "1 and 2" in "".join(format_exception(caught.value))


@either
def test_a_worker_that_dies(fragile: Executor, chunksize: int) -> None:
    with pytest.raises(BrokenExecutor) as caught:
        Concurrent.map(die_at_5, range(9), executor=fragile, chunksize=chunksize, limit=1, catch=Exception)
    which = "call 5 of die_at_5.map failed, with 5" if chunksize == 1 else "one of the calls 4 to 7 of die_at_5.map failed"
    assert caught.value.__notes__ == [f"concurrency: {which}"]
    with pytest.raises(BrokenExecutor):
        Concurrent.map(double, range(9), executor=fragile)


def test_a_worker_that_dies_under_a_stream(fragile: Executor) -> None:
    stream = Concurrent.stream(die_at_5, count(), executor=fragile)
    with pytest.raises(BrokenExecutor):
        list(stream)


def test_idle_pool_threads_do_not_hold_on_to_the_run(pool: Executor) -> None:
    """The executor is the caller's, and may live long."""
    import gc
    import weakref

    class Bar:
        def update(self, more: float) -> None: ...
        def set_postfix(self, *, refresh: bool, failed: int) -> None: ...
        def close(self) -> None: ...

    bars: list[weakref.ref[Bar]] = []

    def make_bar(**_: Any) -> Bar:
        bar = Bar()
        bars.append(weakref.ref(bar))
        return bar

    gc.collect()
    Concurrent.map(double, range(9), executor=pool, progress=make_bar)
    assert not any(bar() for bar in bars)


@pytest.mark.skipif(sys.platform == "win32", reason="measures with resource")
def test_memory_is_flat() -> None:
    import tracemalloc

    with make("spawn") as pool:
        stream = Concurrent.stream(double, range(100_000), executor=pool, chunksize=100)
        peaks = []
        tracemalloc.start()
        try:
            for taken, _ in enumerate(stream):
                if taken in (20_000, 99_000):
                    free()  # without a GIL outgrown tables of dictionaries are kept for a while, too
                    peaks.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000
