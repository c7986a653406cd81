"""The `executor` and `chunksize` options, on executors that live in the test's own process."""

import gc
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from typing import Any

import pytest

from concurrency import Concurrent, _executors, concurrent
from concurrency._in_flight import InFlight
from concurrency._options import UNBOUNDED
from concurrency._parcels import Outcomes, pack
from tests.executor_functions import (
    LOCAL,
    Driven,
    FalsyError,
    Inline,
    add,
    change_context,
    coroutine,
    counting,
    decorated,
    double,
    fail_at_5,
    fail_where_odd,
    look_at_context,
    make_coroutine,
    raise_falsy_at_5,
    raise_stop_at_5,
)
from tests.lazy_ways import until_free
from tests.ways import PATIENCE, Gauge, until


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(params=[ThreadPoolExecutor, Inline])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with request.param() as result:
        yield result


@contextmanager
def in_thread(function: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run a function in a thread of its own; what it returns or raises is in the list when the block ends."""
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(function())
        except BaseException as error:
            outcomes.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcomes
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("limit", [None, 1, 3, 100])
@pytest.mark.parametrize("inputs", [[], [7], list(range(30))])
def test_equals_the_builtin_map(executor: Executor, inputs: list[int], limit: int | None, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": executor, "chunksize": chunksize, "limit": limit}
    assert Concurrent.map(double, inputs, **options) == list(map(double, inputs))
    assert Concurrent.map(double, iter(inputs), **options) == list(map(double, inputs))
    assert Concurrent.map(add, inputs, count(), **options) == list(map(add, inputs, count()))
    assert list(Concurrent.stream(double, inputs, **options)) == list(map(double, inputs))
    assert list(Concurrent.stream(add, inputs, count(), buffersize=2, **options)) == list(map(add, inputs, count()))
    assert dict(Concurrent.as_completed(double, inputs, **options)) == {each: double(each) for each in inputs}
    pairs = Concurrent.as_completed(add, inputs, count(), **options)
    assert dict(pairs) == {pair: add(*pair) for pair in zip(inputs, count(), strict=False)}


def test_keeps_the_order_of_the_inputs_whatever_ends_first() -> None:
    executor = Driven()
    with in_thread(lambda: Concurrent.map(double, range(6), executor=executor, chunksize=2, limit=3)) as outcomes:
        executor.wait_for(3)
        for place in (2, 1, 0):
            executor.end(place)
    assert outcomes == [[0, 2, 4, 6, 8, 10]]


def test_as_completed_gives_a_chunk_as_it_ends() -> None:
    executor = Driven()
    stream = Concurrent.as_completed(double, range(6), executor=executor, chunksize=2, limit=3)
    with in_thread(lambda: list(islice(stream, 4))) as outcomes:
        executor.wait_for(3)
        executor.end(2)
        executor.end(0)
    assert outcomes == [[(4, 8), (5, 10), (0, 0), (1, 2)]]
    executor.end(1)
    assert list(stream) == [(2, 4), (3, 6)]


def test_infinite_input(threads: ThreadPoolExecutor) -> None:
    with Concurrent.stream(double, count(), executor=threads, chunksize=10) as stream:
        assert list(islice(stream, 100)) == list(range(0, 200, 2))


@pytest.mark.parametrize("chunksize", [1, 4])
def test_limit_is_reached_and_never_passed(threads: ThreadPoolExecutor, chunksize: int) -> None:
    gauge, together = Gauge(), threading.Barrier(3)

    def call(_: int) -> None:
        with gauge:
            together.wait(PATIENCE)

    Concurrent.map(call, range(3 * 4), executor=threads, limit=3, chunksize=chunksize)
    assert gauge.peak == 3


def test_limit_counts_tasks_that_have_been_submitted() -> None:
    executor = Driven()
    with in_thread(lambda: Concurrent.map(double, range(5), executor=executor, limit=2)) as outcomes:
        executor.wait_for(2)
        for place in range(5):
            assert executor.states().count("waiting") <= 2
            executor.end(place)
            executor.wait_for(min(place + 3, 5))
    assert outcomes == [[0, 2, 4, 6, 8]]


@pytest.mark.parametrize(("chunksize", "buffersize"), [(1, 4), (10, 4), (100, 7), (2, 1)])
def test_buffersize_counts_inputs_and_is_never_passed(executor: Executor, chunksize: int, buffersize: int) -> None:
    seen: list[int] = []
    stream = Concurrent.stream(double, counting(50, seen), executor=executor, chunksize=chunksize, buffersize=buffersize)
    assert not seen
    for taken, result in enumerate(stream):
        assert result == 2 * taken
        assert len(seen) - taken <= buffersize


def test_a_slow_source_does_not_hold_back_results_that_are_there() -> None:
    seen: list[int] = []
    for taken, result in enumerate(Concurrent.stream(double, counting(500, seen), executor=Inline(), chunksize=10)):
        assert result == 2 * taken
        assert len(seen) <= taken + 20


def test_without_limit_a_pool_of_any_size_is_kept_busy() -> None:
    together = threading.Barrier(60)
    with ThreadPoolExecutor(60) as executor:
        Concurrent.map(lambda _: together.wait(PATIENCE), range(120), executor=executor)


def test_without_limit_a_pool_that_does_not_tell_what_runs_is_kept_busy() -> None:
    executor = Driven()
    with in_thread(lambda: Concurrent.map(double, range(5000), executor=executor)) as outcomes:
        executor.wait_for(1000)
        assert executor.submitted == 1000  # and no more: it is to be cancelled, some day
        place = 0
        while not outcomes:
            executor.wait_for(min(place + 1, 5000))
            if place < 5000:
                executor.end(place)
                place += 1
    assert outcomes == [list(range(0, 10000, 2))]


def test_without_limit_what_waits_is_bounded() -> None:
    executor, seen = Driven(), list[int]()
    with in_thread(lambda: Concurrent.map(double, counting(1000, seen), executor=executor)) as outcomes:
        executor.wait_for(8)
        for place in range(1000):
            executor.wait_for(place + 1)
            executor.end(place)
            assert len(seen) <= place + 1 + 1000
    assert outcomes == [list(range(0, 2000, 2))]


def test_inputs_are_read_and_tasks_submitted_in_the_calling_thread() -> None:
    here = threading.get_ident()
    where: set[int] = set()

    class Pool(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            where.add(threading.get_ident())
            return super().submit(fn, *args, **kwargs)

    def inputs() -> Iterator[int]:
        for number in range(100):
            where.add(threading.get_ident())
            yield number

    with Pool(3) as executor:
        Concurrent.map(double, inputs(), executor=executor, limit=2)
        list(Concurrent.stream(double, inputs(), executor=executor, chunksize=3))
    assert where == {here}


def test_submit_and_its_futures_are_all_that_is_used() -> None:
    names: set[str] = set()

    class Watched(Executor):
        def __getattribute__(self, name: str) -> Any:
            names.add(name)
            return object.__getattribute__(self, name)

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return WatchedFuture(threads.submit(fn, *args, **kwargs))

    class WatchedFuture:
        def __init__(self, future: "Future[Any]") -> None:
            self.future = future

        def __getattr__(self, name: str) -> Any:
            names.add(name)
            return getattr(self.future, name)

    with ThreadPoolExecutor(2) as threads:
        assert Concurrent.map(double, range(100), executor=Watched()) == list(range(0, 200, 2))
        with pytest.raises(ValueError, match="five"):
            Concurrent.map(fail_at_5, range(100), executor=Watched(), chunksize=2)
        with Concurrent.stream(double, count(), executor=Watched()) as stream:
            assert next(stream) == 0
    assert names <= {"submit", "add_done_callback", "cancel", "done", "running"}


def test_the_executor_stays_the_callers(threads: ThreadPoolExecutor) -> None:
    Concurrent.map(double, range(5), executor=threads)
    with pytest.raises(ValueError, match="five"):
        Concurrent.map(fail_at_5, range(9), executor=threads)
    assert threads.submit(double, 4).result() == 8


class TestFailure:
    @pytest.mark.parametrize("chunksize", [1, 4, 50])
    def test_says_which_call_it_was(self, executor: Executor, chunksize: int) -> None:
        with pytest.raises(ValueError, match="five") as caught:
            Concurrent.map(fail_at_5, range(9), executor=executor, chunksize=chunksize, limit=1)
        assert caught.value.__notes__ == ["concurrency: call 5 of fail_at_5.map failed, with 5"]

    def test_is_the_same_object_with_the_traceback_of_its_call_alone(self, threads: ThreadPoolExecutor) -> None:
        error = ValueError("mine")

        def call(_: int) -> None:
            raise error

        with pytest.raises(ValueError, match="mine") as caught:
            Concurrent.map(call, [0], executor=threads)
        assert caught.value is error
        names = [entry.name for entry in caught.traceback]
        assert names[-1] == "call"
        assert not {"run", "_run_calls", "__call__"} & set(names)

    @pytest.mark.parametrize("chunksize", [1, 4])
    def test_catch(self, executor: Executor, chunksize: int) -> None:
        results = Concurrent.map(fail_where_odd, range(9), executor=executor, chunksize=chunksize, catch=ValueError)
        assert [each if isinstance(each, int) else each.args[0] for each in results] == list(range(9))
        assert isinstance(results[3], ValueError)

    @pytest.mark.parametrize("chunksize", [1, 4])
    def test_catch_in_a_stream(self, executor: Executor, chunksize: int) -> None:
        pairs = dict(
            Concurrent.as_completed(fail_where_odd, range(9), executor=executor, chunksize=chunksize, catch=ValueError)
        )
        assert [type(pairs[each]) for each in range(9)] == [int, ValueError] * 4 + [int]

    def test_results_before_it_in_its_own_chunk_come_first(self, executor: Executor) -> None:
        stream = Concurrent.stream(fail_at_5, count(), executor=executor, chunksize=10)
        assert list(islice(stream, 5)) == [0, 1, 2, 3, 4]
        for _ in range(2):
            with pytest.raises(ValueError, match="five") as caught:
                next(stream)
        assert caught.value.__notes__ == ["concurrency: call 5 of fail_at_5.stream failed, with 5"]

    def test_it_is_by_time_and_cancels_what_has_not_begun_and_waits_for_what_runs(self) -> None:
        executor = Driven()
        with in_thread(lambda: Concurrent.map(fail_at_5, range(9), executor=executor, limit=7)) as outcomes:
            executor.wait_for(7)
            executor.start(0)
            executor.end(5)
            until(lambda: executor.states() == ["running", *["cancelled"] * 4, "done", "cancelled"])
            assert not outcomes
            executor.end(0)
        assert isinstance(outcomes[0], ValueError)
        assert executor.submitted == 7

    def test_the_newest_is_cancelled_first_so_that_none_begins_meanwhile(self) -> None:
        executor = Driven()
        cancelled: list[int] = []
        with in_thread(lambda: Concurrent.map(fail_at_5, [5, 1, 2, 3], executor=executor, limit=4)) as outcomes:
            executor.wait_for(4)
            for place, (future, _) in enumerate(executor.tasks[1:], 1):
                future.add_done_callback(lambda _, place=place: cancelled.append(place))  # type: ignore[misc]
            executor.end(0)
        assert isinstance(outcomes[0], ValueError)
        assert cancelled == [3, 2, 1]

    def test_a_result_that_comes_later_but_stands_before_it_comes_first(self) -> None:
        running, failed = threading.Event(), threading.Event()

        def call(number: int) -> int:
            if number:
                raise ValueError("five")
            running.set()
            assert failed.wait(PATIENCE)
            return number

        executor = Driven()
        stream = Concurrent.stream(call, [0, 5], executor=executor, limit=2)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(2)
            with in_thread(lambda: executor.end(0)):
                assert running.wait(PATIENCE)
                executor.end(1)
                failed.set()
        assert outcomes == [0]
        with pytest.raises(ValueError, match="five"):
            next(stream)

    def test_ctrl_c_in_the_input_sends_nothing_more(self) -> None:
        executor = Driven()

        def inputs() -> Iterator[int]:
            yield 1
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Concurrent.map(double, inputs(), executor=executor, chunksize=4)
        assert executor.submitted == 0

    def test_the_rest_of_a_running_chunk_is_not_begun(self) -> None:
        running, failed = threading.Event(), threading.Event()
        called: list[int] = []

        def call(number: int) -> None:
            called.append(number)
            if number == 10:
                raise ValueError
            running.set()
            assert failed.wait(PATIENCE)

        executor = Driven()
        with in_thread(lambda: Concurrent.map(call, range(20), executor=executor, chunksize=10, limit=2)) as outcomes:
            executor.wait_for(2)
            with in_thread(lambda: executor.end(0)):
                assert running.wait(PATIENCE)
                executor.end(1)
                failed.set()
        assert isinstance(outcomes[0], ValueError)
        assert called == [0, 10]

    @pytest.mark.parametrize("chunksize", [1, 4])
    def test_a_falsy_exception_is_one(self, executor: Executor, chunksize: int) -> None:
        with pytest.raises(FalsyError):
            Concurrent.map(raise_falsy_at_5, range(9), executor=executor, chunksize=chunksize)

    @pytest.mark.parametrize("chunksize", [1, 4])
    def test_stop_iteration_does_not_shorten_the_result(self, executor: Executor, chunksize: int) -> None:
        with pytest.raises(RuntimeError, match="the call raised StopIteration") as caught:
            Concurrent.map(raise_stop_at_5, range(9), executor=executor, chunksize=chunksize)
        assert isinstance(caught.value.__cause__, StopIteration)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
    def test_base_exceptions_arrive_and_no_worker_dies_of_them(self, executor: Executor, kind: type[BaseException]) -> None:
        def call(_: int) -> None:
            raise kind

        with pytest.raises(kind):
            Concurrent.map(call, range(9), executor=executor, catch=Exception)
        assert Concurrent.map(double, [1], executor=executor) == [2]

    @pytest.mark.parametrize("chunksize", [1, 4])
    @pytest.mark.parametrize("place", [0, 3, 4, 5])
    def test_of_the_input(self, executor: Executor, chunksize: int, place: int) -> None:
        def inputs() -> Iterator[int]:
            yield from range(place)
            raise OSError("no more")

        with pytest.raises(OSError, match="no more") as caught:
            Concurrent.map(double, inputs(), executor=executor, chunksize=chunksize)
        assert caught.value.__notes__ == [f"concurrency: reading input {place} of double.map failed"]

    def test_a_function_that_returns_coroutines(self, executor: Executor) -> None:
        with pytest.raises(TypeError, match=r"await Concurrent\.a_map"):
            Concurrent.map(make_coroutine, range(3), executor=executor, chunksize=2)


class TestTheExecutorFails:
    def test_shut_down_before(self) -> None:
        executor = ThreadPoolExecutor()
        executor.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown") as caught:
            Concurrent.map(double, range(3), executor=executor, catch=Exception)
        assert caught.value.__notes__ == ["concurrency: call 0 of double.map failed, with 0"]

    def test_shut_down_in_the_middle_with_its_futures_cancelled(self) -> None:
        executor = Driven()
        with in_thread(lambda: Concurrent.map(double, range(3), executor=executor, limit=3, catch=Exception)) as outcomes:
            executor.wait_for(3)
            executor.tasks[1][0].cancel()
            until(lambda: executor.states() == ["cancelled"] * 3)
        assert isinstance(outcomes[0], CancelledError)
        assert outcomes[0].__notes__ == ["concurrency: call 1 of double.map failed, with 1"]

    def test_real_shutdown_in_the_middle(self) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def call(_: int) -> None:
            begun.set()
            assert go_on.wait(PATIENCE)

        executor = ThreadPoolExecutor(1)
        with in_thread(lambda: Concurrent.map(call, range(100), executor=executor)) as outcomes:
            assert begun.wait(PATIENCE)
            executor.shutdown(wait=False, cancel_futures=True)
            go_on.set()
        assert isinstance(outcomes[0], CancelledError | RuntimeError)

    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_broken(self, chunksize: int) -> None:
        executor = Driven()
        options: dict[str, Any] = {"limit": 2, "chunksize": chunksize, "catch": Exception}
        with in_thread(lambda: Concurrent.map(double, range(9), executor=executor, **options)) as outcomes:
            executor.wait_for(2)
            executor.start(1).set_exception(BrokenExecutor("broken"))
        assert isinstance(outcomes[0], BrokenExecutor)
        which = "call 1 of double.map failed, with 1" if chunksize == 1 else "one of the calls 2 to 3 of double.map failed"
        assert outcomes[0].__notes__ == [f"concurrency: {which}"]

    def test_submit_raises_what_it_likes(self) -> None:
        class Refusing(Executor):
            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
                raise LookupError("no workers")

        with pytest.raises(LookupError, match="no workers"):
            Concurrent.map(double, range(3), executor=Refusing())

    def test_its_initializer_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        def initialize() -> None:
            raise OSError("not today")

        with ThreadPoolExecutor(2, initializer=initialize) as executor, pytest.raises(BrokenExecutor):
            Concurrent.map(double, range(30), executor=executor)
        assert "not today" in caplog.text


class TestEnding:
    def test_timeout_does_not_wait_for_what_runs(self) -> None:
        executor = Driven()
        with in_thread(lambda: Concurrent.map(double, range(5), executor=executor, limit=3, timeout=0.05)) as outcomes:
            executor.wait_for(3)
            executor.start(0)
        assert isinstance(outcomes[0], TimeoutError)
        assert str(outcomes[0]) == "double.map timed out after 0.05 s, 5 of 5 calls unfinished"
        assert executor.states() == ["running", "cancelled", "cancelled"]
        executor.end(0)  # ends in the background, and disturbs nobody

    def test_close_cancels_and_waits(self) -> None:
        executor = Driven()
        stream = Concurrent.stream(double, count(), executor=executor, limit=3)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(3)
            executor.end(0)
            executor.start(1)
        assert outcomes == [0]
        with in_thread(stream.close):
            until(lambda: executor.states()[2] == "cancelled")
            executor.end(1)
        assert list(stream) == []

    def test_a_stream_that_is_dropped_starts_nothing_more(self) -> None:
        executor = Driven()
        stream = Concurrent.stream(double, count(), executor=executor, limit=3)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(3)
            executor.end(0)
        assert outcomes == [0]
        before = executor.submitted
        stream.__del__()  # what dropping it does, but not before the test has let go of every reference
        executor.end(1)  # with this it shows that nobody is there any more
        until(lambda: set(executor.states()) == {"done", "cancelled"})
        assert executor.submitted == before

    def test_a_busy_consumer_does_not_delay_the_cancelling(self) -> None:
        executor = Driven()
        stream = Concurrent.stream(fail_at_5, [0, 5, 1, 2], executor=executor, limit=4)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(4)
            executor.end(0)
        assert outcomes == [0]
        executor.end(1)
        until(lambda: executor.states() == ["done", "done", "cancelled", "cancelled"])
        with pytest.raises(ValueError, match="five"):
            next(stream)

    def test_closed_by_one_of_its_own_calls(self, threads: ThreadPoolExecutor) -> None:
        def call(number: int) -> int:
            if number == 3:
                stream.close()
            return number

        stream = Concurrent.stream(call, count(), executor=threads)
        assert len(list(stream)) < 100

    @pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a thread")
    def test_ctrl_c_does_not_wait_for_what_runs(self) -> None:
        executor = Driven()

        def interrupt() -> None:
            executor.wait_for(3)
            executor.start(0)
            while not raised.is_set():
                # A signal is lost on a thread that is on its way into a lock, so it may take another. Not too soon: one that
                # comes after the first has been seen would end another test.
                signal.pthread_kill(main, signal.SIGINT)
                raised.wait(2)

        main = threading.main_thread().ident or 0
        raised = threading.Event()
        with in_thread(interrupt):
            with pytest.raises(KeyboardInterrupt):
                Concurrent.map(double, range(5), executor=executor, limit=3)
            raised.set()
        assert executor.states() == ["running", "cancelled", "cancelled"]
        executor.end(0)

    @pytest.mark.parametrize("chunksize", [1, 3])
    def test_nothing_holds_on_to_inputs_and_results(self, threads: ThreadPoolExecutor, chunksize: int) -> None:
        class Thing:
            pass

        gc.disable()
        try:
            things = [Thing() for _ in range(9)]
            results = Concurrent.map(lambda thing: (thing, Thing()), things, executor=threads, chunksize=chunksize)
            alive = [weakref.ref(each) for result in results for each in result]
            del things, results
            until_free(lambda: not any(each() for each in alive))
        finally:
            gc.enable()

    def test_a_cancelled_task_in_the_executors_queue_holds_on_to_nothing(self) -> None:
        class Thing:
            pass

        executor = Driven()
        inputs = [Thing() for _ in range(3)]
        alive = [weakref.ref(each) for each in inputs]
        stream = Concurrent.stream(lambda thing: thing, inputs, executor=executor, limit=3)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(3)
            executor.end(0)
        assert outcomes == [inputs[0]]
        del outcomes[:], inputs
        stream.close()
        executor.tasks[1:] = [(future, lambda: None) for future, _ in executor.tasks[1:]]  # the arguments are the executor's
        executor.tasks[0] = (Future(), lambda: None)
        until(lambda: not any(each() for each in alive))

    def test_nor_on_to_the_function(self) -> None:
        class Doubler:
            def __call__(self, number: int) -> int:
                return 2 * number

        executor, function = Driven(), Doubler()
        alive = weakref.ref(function)
        stream = Concurrent.stream(function, range(3), executor=executor, limit=3)
        with in_thread(lambda: next(stream)) as outcomes:
            executor.wait_for(3)
            executor.end(0)
        assert outcomes == [0]
        stream.close()
        del function
        until(lambda: alive() is None)


class TestContexts:
    def test_each_call_has_its_own_copy_of_the_callers(self, executor: Executor) -> None:
        token = LOCAL.set("mine")
        try:
            for chunksize in (1, 4):
                assert Concurrent.map(change_context, "abcdefgh", executor=executor, chunksize=chunksize) == ["mine"] * 8
            assert LOCAL.get() == "mine"
        finally:
            LOCAL.reset(token)

    def test_it_is_the_context_of_the_operation_not_of_the_thread(self, threads: ThreadPoolExecutor) -> None:
        token = LOCAL.set("first")
        try:
            stream = Concurrent.stream(look_at_context, range(3), executor=threads)
            LOCAL.set("second")
            assert list(stream) == ["first"] * 3
        finally:
            LOCAL.reset(token)


class TestRate:
    def test_each_call_is_a_task_of_its_own(self) -> None:
        executor = Driven()
        with in_thread(lambda: Concurrent.map(double, range(4), executor=executor, chunksize=4, rate=1000)) as outcomes:
            for place in range(4):
                executor.wait_for(place + 1)
                executor.end(place)
        assert outcomes == [[0, 2, 4, 6]]


class TestProgress:
    @pytest.mark.parametrize("chunksize", [1, 4])
    def test_counts_inputs(self, executor: Executor, chunksize: int) -> None:
        bars: list[Any] = []

        class Bar:
            def __init__(self, total: int | None, desc: str) -> None:
                self.total, self.desc, self.done, self.failed = total, desc, 0, 0
                bars.append(self)

            def update(self, more: float) -> None:
                self.done += int(more)

            def set_postfix(self, *, refresh: bool, failed: int) -> None:
                self.failed = failed

            def close(self) -> None:
                pass

        options: dict[str, Any] = {"executor": executor, "chunksize": chunksize, "progress": Bar}
        Concurrent.map(fail_where_odd, range(10), catch=ValueError, **options)
        assert [(bar.total, bar.desc, bar.done, bar.failed) for bar in bars] == [(10, "fail_where_odd", 10, 5)]


class TestOptions:
    @pytest.mark.parametrize("operation", [Concurrent.map, Concurrent.stream, Concurrent.as_completed])
    def test_what_is_no_executor(self, operation: Any) -> None:
        with pytest.raises(TypeError, match=r"^executor must be a concurrent\.futures\.Executor or None, got 4$"):
            operation(double, [], executor=4)
        with pytest.raises(TypeError, match=r"^executor must be an Executor, got the class itself: ProcessPoolExecutor\(\)$"):
            operation(double, [], executor=ProcessPoolExecutor)

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (0, "chunksize must be at least 1, got 0"),
            (1.5, "chunksize must be an integer or None, got 1.5"),
            (True, "got True"),
        ],
    )
    def test_chunksize(self, value: Any, error: str) -> None:
        with pytest.raises((TypeError, ValueError), match=error):
            Concurrent.map(double, [], chunksize=value)

    def test_chunksize_alone_changes_nothing(self) -> None:
        assert Concurrent.map(double, range(5), chunksize=2) == [0, 2, 4, 6, 8]

    async def test_not_on_asyncio(self, threads: ThreadPoolExecutor) -> None:
        async def call(_: int) -> None: ...

        options: Any = {"executor": threads}
        with pytest.raises(TypeError, match=r"^call\.a_map\(\) got an unexpected option 'executor'"):
            await Concurrent.a_map(call, [1], **options)
        with pytest.raises(TypeError, match=r"^concurrent\(\) got an unexpected option 'executor'"):
            concurrent(**options)(call)

    def test_of_the_decorator(self) -> None:
        executor = Driven()
        tripled = concurrent(executor=executor, chunksize=2)(lambda number: 3 * number)
        with in_thread(lambda: tripled.map(range(4))) as outcomes:
            executor.wait_for(2)
            executor.end(0)
            executor.end(1)
        assert outcomes == [[0, 3, 6, 9]]
        assert tripled.map(range(4), executor=None) == [0, 3, 6, 9]
        assert executor.submitted == 2

    def test_a_decorated_function(self, executor: Executor) -> None:
        assert decorated.map(range(10), executor=executor) == list(range(0, 30, 3))
        assert Concurrent.map(decorated, range(10), executor=executor) == list(range(0, 30, 3))


def test_two_threads_share_a_stream(threads: ThreadPoolExecutor) -> None:
    stream = Concurrent.stream(double, range(500), executor=threads, chunksize=3)
    with in_thread(lambda: list(stream)) as first, in_thread(lambda: list(stream)) as second:
        pass
    assert sorted(first[0] + second[0]) == list(range(0, 1000, 2))


def test_an_input_that_is_read_while_a_call_fails_is_not_sent() -> None:
    executor = Driven()

    def source() -> Iterator[int]:
        yield 5
        executor.end(0)  # its callback runs here, in the thread that reads
        yield 6

    with pytest.raises(ValueError, match="five"):
        Concurrent.map(fail_at_5, source(), executor=executor, limit=2)
    assert executor.submitted == 1


def test_ctrl_c_right_after_a_task_has_been_sent() -> None:
    class Interrupted(Future[Any]):
        def cancel(self) -> bool:
            raise KeyboardInterrupt

    class Sending(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            future = Interrupted()
            future.set_result(fn(*args, **kwargs))
            return future

    with pytest.raises(KeyboardInterrupt) as caught:
        Concurrent.map(fail_at_5, [5], executor=Sending())
    assert caught.value.__notes__[0].startswith("concurrency: 1 of fail_at_5.map had failed: call 0, with 5: ")


def test_a_broken_executor_is_left_the_time_to_end_its_futures_itself() -> None:
    executor = Driven()
    stream = Concurrent.stream(double, range(2), executor=executor, limit=2)
    run: Any = stream._pull._run

    def breaks() -> None:
        executor.wait_for(2)
        executor.start(0)
        executor.start(1).set_exception(BrokenExecutor("broken"))
        until(lambda: run.stopped and run.watched)
        executor.tasks[0][0].set_exception(BrokenExecutor("broken"))

    breaking = threading.Thread(target=breaks)
    breaking.start()
    with pytest.raises(BrokenExecutor):
        next(stream)
    breaking.join()
    assert executor.states() == ["done", "done"]


def test_no_memory_for_what_a_call_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(_executors, "land", no_memory)
    with pytest.raises(MemoryError):
        Concurrent.map(double, range(3), executor=Inline())


def test_the_call_of_a_chunk_that_cannot_be_sent_is_named() -> None:
    class Pickling(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            pickle.dumps(args)
            return super().submit(fn, *args, **kwargs)

    with pytest.raises((pickle.PicklingError, AttributeError)) as caught:
        Concurrent.map(type, [0, 1, lambda: 2, 3], executor=Pickling(), chunksize=4)
    assert caught.value.__notes__[-1].startswith(
        "concurrency: call 2 of type.map failed, with <function "
    )  # pickle has its own


def test_of_coroutines_and_others_all_coroutines_are_closed() -> None:
    """Else they would be "never awaited", which is an error here."""
    with pytest.raises(TypeError, match="is a coroutine function"):
        Concurrent.map(lambda item: item or coroutine(item), range(2), executor=Inline(), chunksize=2)


def check_arrives(error: Exception) -> None:
    """What an executor has a task end with is raised, and its note says of which call."""
    executor = Driven()
    with in_thread(lambda: Concurrent.map(double, [7], executor=executor)) as outcomes:
        executor.wait_for(1)
        executor.start(0).set_exception(error)
    assert outcomes == [error]
    assert error.__notes__ == ["concurrency: call 0 of double.map failed, with 7"]


def test_an_exception_of_an_earlier_map_as_an_executors_own() -> None:
    error = LookupError()

    def fail(_: int) -> None:
        raise error

    with pytest.raises(LookupError):
        Concurrent.map(fail, [0])
    check_arrives(error)


def test_results_that_can_be_pickled_one_by_one_but_not_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)  # it would be asked next

    class OnSecondThought:
        refuses = True

        def __reduce__(self) -> Any:
            if self.refuses:
                self.refuses = False
                raise MemoryError
            return int, ()

    with pytest.raises(MemoryError):
        pack(Outcomes([1, OnSecondThought()], {}))


def test_a_task_that_runs_although_it_was_refused_is_waited_for() -> None:
    """As where no further thread can be started, but one that there is takes the task."""
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def call(item: int) -> int:
        begun.set()
        assert gate.wait(PATIENCE)
        ended.set()
        return item

    class Full(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            threading.Thread(target=fn, args=args).start()
            assert begun.wait(PATIENCE)
            raise RuntimeError("can't start new thread")

    stream = Concurrent.stream(call, range(3), executor=Full())
    run: Any = stream._pull._run

    def open_gate() -> None:
        until(lambda: run.stopped and run.watched)
        gate.set()

    opener = threading.Thread(target=open_gate)
    opener.start()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(stream)
    assert ended.is_set()
    opener.join()
    assert not run.running()


def test_a_task_that_was_refused_before_it_ran_calls_nothing() -> None:
    calls: list[int] = []
    tasks: list[Callable[[], Any]] = []

    class Full(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            tasks.append(partial(fn, *args))
            raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        Concurrent.map(calls.append, range(3), executor=Full())
    tasks[0]()
    assert calls == []


def test_a_task_that_has_ended_and_not_been_heard_of_counts_as_no_longer_waiting() -> None:
    flight = InFlight(UNBOUNDED)
    futures: list[Future[Any]] = [Future(), Future()]
    for start, future in enumerate(futures):
        flight.enter(start)
        flight.add(start, future)
    futures[0].set_result(None)
    before = flight.most()
    assert flight.is_low()
    assert flight.most() == before, "no future has said that it runs"
    assert list(flight._queued.values()) == futures[1:]


def test_a_falsy_error_of_the_executor_is_an_error() -> None:
    """The `result` of such a future gives None."""
    check_arrives(FalsyError())
