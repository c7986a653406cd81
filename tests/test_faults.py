"""Faults that no test of one subject has: the recursion limit, memory, forks and refused threads under streams, odd exceptions."""

import asyncio
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from itertools import count
from textwrap import dedent
from typing import Any
from weakref import ref

import pytest

from concurrency import Concurrent, concurrent
from concurrency._pace import RatePace
from tests import children
from tests.executor_functions import Driven, Inline
from tests.lazy_ways import END, LazyWay, close, no_collector, rest, take, until_free
from tests.test_failure import (
    ComparesNothing,
    ReprIsHuge,
    ReprRaises,
    ReprRecurses,
    ReprReturnsNoStr,
    Strong,
    fail,
    strange,
)
from tests.test_resources import FORKING, default_size, threads_refused
from tests.ways import PATIENCE, in_loop, raises_one_object_at_once, until

# At the recursion limit

SYNC = {
    "map of a list": "Concurrent.map(negative, [1, 2, 3], limit=2)",
    "map of an iterator": "Concurrent.map(negative, iter([1, 2, 3]), limit=2)",
    "stream": "list(Concurrent.stream(negative, [1, 2, 3], limit=2))",
    "as_completed": "[-item for item in sorted(item for item, _ in Concurrent.as_completed(negative, [1, 2, 3], limit=2))]",
    "map on an executor": "Concurrent.map(negative, [1, 2, 3], limit=2, executor=executor)",
    "stream on an executor": "list(Concurrent.stream(negative, [1, 2, 3], limit=2, executor=executor))",
}


@pytest.mark.parametrize("way", SYNC)
def test_at_the_recursion_limit_it_works_or_says_so(way: str) -> None:
    """With every number of frames left, up to more than are needed."""
    output = children.run(f"""
    import faulthandler, inspect, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from concurrency import Concurrent

    faulthandler.dump_traceback_later(10, exit=True)
    executor = ThreadPoolExecutor(2)

    def negative(item):
        return -item

    def work():
        return {SYNC[way]}

    def deep(frames):
        return deep(frames - 1) if frames else work()

    assert work() == [-1, -2, -3]
    refused = 0
    for left in range(80):
        try:
            assert deep(sys.getrecursionlimit() - len(inspect.stack()) - left) == [-1, -2, -3]
        except RecursionError:
            refused += 1
        assert work() == [-1, -2, -3]
    executor.shutdown()
    print(0 < refused < 80)
    """)
    assert output == "True\n"


ASYNC = {
    "a_map": "await Concurrent.a_map(negative, [1, 2, 3], limit=2)",
    "a_map of an async iterator": "await Concurrent.a_map(negative, source(), limit=2)",
    "a_stream": "[each async for each in Concurrent.a_stream(negative, [1, 2, 3], limit=2)]",
    "a_stream of an async iterator": "[each async for each in Concurrent.a_stream(negative, source(), limit=2)]",
}


@pytest.mark.parametrize("way", ASYNC)
def test_at_the_recursion_limit_no_task_is_left(way: str) -> None:
    output = children.run(f"""
    import asyncio, inspect, sys
    from concurrency import Concurrent

    async def negative(item):
        await asyncio.sleep(0)
        return -item

    async def source():
        for item in (1, 2, 3):
            yield item

    async def work():
        return {ASYNC[way]}

    async def deep(frames):
        return await (deep(frames - 1) if frames else work())

    async def main():
        refused, complaints = 0, []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        for left in range(80):
            async with asyncio.timeout(10):
                try:
                    assert await deep(sys.getrecursionlimit() - len(inspect.stack()) - left) == [-1, -2, -3]
                except RecursionError:
                    refused += 1
                await asyncio.sleep(0)
                assert asyncio.all_tasks() == {{asyncio.current_task()}}, left
                assert await work() == [-1, -2, -3]
        assert not complaints, complaints
        print(0 < refused < 80)

    import logging
    logging.getLogger("asyncio").addFilter(lambda record: "Executing" not in record.msg)  # a slow machine is no fault
    asyncio.run(main())
    """)
    assert output == "True\n"


# Forks while a stream is open


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
@pytest.mark.parametrize("executor", ["None", "ThreadPoolExecutor(2)"])
@pytest.mark.parametrize("state", ["calls run", "at rest", "not begun", "lock held"])
def test_a_stream_that_a_forked_child_inherits_hangs_nowhere(operation: str, executor: str, state: str) -> None:
    """Its calls run in the parent, whose stream goes on as if nothing had been. The child is told so, or leaves it."""
    if not hasattr(os, "fork"):
        pytest.skip("forks are not known here")
    children.run(f"""{FORKING}
    import signal
    from concurrent.futures import ThreadPoolExecutor

    state, running, release = {state!r}, threading.Event(), threading.Event()

    def call(item):
        if state == "calls run" and item == 0:
            assert running.wait(20)
        if state == "calls run" and item == 1:
            running.set()
            assert release.wait(20)
        return item

    stream = Concurrent.{operation}(call, range(6), limit=2, buffersize=2, executor={executor})
    first = [] if state == "not begun" else [next(stream)]

    def asks():
        for _ in range(2):
            try:
                next(stream)
            except RuntimeError as error:
                assert "before the fork" in str(error)
            else:
                raise AssertionError
        maps()

    def closes():
        stream.close()
        with stream:
            pass

    def drops():
        global stream
        del stream

    def guarded(work):
        def alarmed():
            signal.alarm(10)
            work()
        in_child(alarmed)

    for work in (asks, closes, drops):
        if state == "lock held":
            with stream._pull._run.lock:
                guarded(work)
        else:
            guarded(work)
    release.set()
    results = [each if isinstance(each, int) else each[1] for each in [*first, *stream]]
    assert sorted(results) == list(range(6)), results
    """)


# Exceptions with ideas of their own


def outcome(function: Callable[[], Any]) -> Any:
    """What a function returns or raises; `pytest.raises` would look into the exception."""
    try:
        return function()
    except BaseException as error:
        return error


async def a_outcome(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except BaseException as error:
        return error


@strange
@pytest.mark.parametrize("place", [0, 2])
def test_a_stream_raises_an_exception_with_ideas_of_its_own_again_and_again(
    lazy: LazyWay, kind: type[Exception], place: int
) -> None:
    error = kind()

    async def call(item: int) -> int:
        return item if item != place else fail(error)

    async def main() -> None:
        stream = lazy(call, range(4), limit=1)
        for item in range(place):
            assert lazy.result(await take(stream)) == item
        for _ in range(3):
            assert await a_outcome(take(stream)) is error
        await close(stream)
        assert await a_outcome(take(stream)) is error

    lazy.run(main)


@strange
def test_a_stream_gives_an_exception_with_ideas_of_its_own_that_is_caught(lazy: LazyWay, kind: type[Exception]) -> None:
    errors = {item: kind() for item in (1, 2)}

    async def call(item: int) -> int:
        return item if item not in errors else fail(errors[item])

    async def main() -> None:
        stream = lazy(call, range(4), limit=1, catch=kind)
        for item in range(4):
            result = lazy.result(await take(stream))
            assert result is errors[item] if item in errors else result == item
        assert await take(stream) is END

    lazy.run(main)


@strange
@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("make", [Inline, lambda: ThreadPoolExecutor(2)], ids=["inline", "threads"])
def test_an_executor_brings_an_exception_with_ideas_of_its_own(
    make: Callable[[], Executor], kind: type[Exception], chunksize: int
) -> None:
    error = kind()

    def call(item: int) -> int:
        return item if item != 2 else fail(error)

    with make() as executor:
        options: dict[str, Any] = {"executor": executor, "chunksize": chunksize}
        assert outcome(lambda: Concurrent.map(call, range(5), **options)) is error
        zero, one, two, three = Concurrent.map(call, range(4), catch=kind, **options)
        assert two is error
        assert (zero, one, three) == (0, 1, 3)
        stream = Concurrent.as_completed(call, range(5), **options)
        assert outcome(lambda: list(stream)) is error
        assert outcome(lambda: next(stream)) is error


@pytest.mark.parametrize("kind", [Strong, GeneratorExit, BaseExceptionGroup, MemoryError, RecursionError, KeyboardInterrupt])
def test_what_no_catch_takes_ends_a_stream_as_itself(lazy: LazyWay, kind: type[BaseException]) -> None:
    if lazy.is_async and kind is KeyboardInterrupt:
        pytest.skip("asyncio ends the loop")
    error = kind("several", [Strong()]) if kind is BaseExceptionGroup else kind("it")

    async def call(item: int) -> int:
        return item if item != 1 else fail(error)

    async def main() -> None:
        stream = lazy(call, range(4), limit=1, catch=(ValueError, LookupError))
        assert lazy.result(await take(stream)) == 0
        for _ in range(3):
            assert await a_outcome(take(stream)) is error

    lazy.run(main)


@raises_one_object_at_once
def test_an_object_that_every_call_raises_does_not_grow_in_a_stream(lazy: LazyWay) -> None:
    single = ValueError("single")

    async def call(item: int) -> None:
        raise single

    async def once(**options: Any) -> int:
        stream = lazy(call, range(20), **options)
        results = await rest(stream)
        assert all(lazy.result(each) is single for each in results)
        return len(list(traceback.walk_tb(single.__traceback__)))

    async def main() -> None:
        lengths = [await once(catch=ValueError) for _ in range(5)]
        assert lengths == lengths[:1] * 5
        for _ in range(3):
            assert await a_outcome(once(limit=1)) is single
            assert single.__notes__ == [f"concurrency: call 0 of call.{lazy.operation} failed, with 0"]
            lengths.append(len(list(traceback.walk_tb(single.__traceback__))))
        assert lengths[-1] == lengths[-2]

    lazy.run(main)


@pytest.mark.parametrize("kind", [ReprRaises, ReprReturnsNoStr, ReprIsHuge, ReprRecurses, ComparesNothing])
def test_an_input_that_is_hard_to_show_does_not_hide_what_ends_a_stream(lazy: LazyWay, kind: type) -> None:
    error = ValueError()

    async def call(item: object) -> None:
        raise error

    async def main() -> None:
        stream = lazy(call, [kind()])
        assert await a_outcome(take(stream)) is error
        (note,) = error.__notes__
        assert note.startswith(f"concurrency: call 0 of call.{lazy.operation} failed, with ")
        assert len(note) < 1000

    lazy.run(main)


# Threads that the system refuses


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
@pytest.mark.parametrize("threads", range(4))
def test_a_stream_goes_on_with_the_threads_that_it_gets(monkeypatch: pytest.MonkeyPatch, operation: str, threads: int) -> None:
    """Refused the first, the second, the third or the last."""
    called: list[int] = []
    with threads_refused(monkeypatch, beyond=threads) as refused:

        def call(item: int) -> int:
            called.append(item)
            assert refused.wait(PATIENCE)
            return item

        stream = getattr(Concurrent, operation)(call, range(50), limit=4)
        if threads == 0:
            for _ in range(3):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    next(stream)
            assert called == []
        else:
            results = [each if operation == "stream" else each[1] for each in stream]
            assert sorted(results) == sorted(called) == list(range(50))
        del stream


class Refusing(Driven):
    """Queues what it refuses, as a `ThreadPoolExecutor` does that cannot start a thread."""

    def __init__(self, place: int, error: BaseException) -> None:
        super().__init__()
        self._place = place
        self._error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future = super().submit(fn, *args, **kwargs)
        if self.submitted == self._place + 1:
            raise self._error
        return future


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("place", [0, 1, 3], ids=["first", "middle", "last"])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_what_an_executor_queues_though_it_refuses_it_does_not_run(
    kind: type[BaseException], place: int, chunksize: int
) -> None:
    called: list[int] = []
    error = kind("can't start new thread")
    executor = Refusing(place, error)
    inputs = range(4 * chunksize)
    assert outcome(lambda: Concurrent.map(called.append, inputs, executor=executor, limit=4, chunksize=chunksize)) is error
    assert len(executor.tasks) == place + 1
    assert executor.states() == ["cancelled"] * place + ["waiting"]
    executor.end(place)
    assert called == []


def test_a_failure_is_raised_though_there_is_no_thread_to_cancel_the_others_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer is busy elsewhere, so it takes a thread of its own to cancel what waits in the executor."""
    executor = Driven()

    def call(item: int) -> int:
        return item if item != 1 else fail(ValueError("one"))

    def start(thread: threading.Thread) -> None:
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    refused: list[str] = []
    stream = Concurrent.stream(call, range(4), executor=executor, limit=4)
    first: list[int] = []
    consumer = threading.Thread(target=lambda: first.append(next(stream)))
    consumer.start()
    executor.wait_for(4)
    executor.end(0)
    consumer.join(PATIENCE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        executor.end(1)
    assert (first, refused) == ([0], ["concurrency-cancel"])
    executor.end(2)
    executor.end(3)
    with pytest.raises(ValueError, match="one"):
        next(stream)


# Executors that end in the middle of a stream


@pytest.mark.parametrize("operation", ["map", "stream", "as_completed"])
@pytest.mark.parametrize("cancel", [True, False])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_an_executor_that_is_shut_down_in_the_middle_never_shortens_the_results(
    operation: str, cancel: bool, chunksize: int
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    results: list[Any] = []

    def call(item: int) -> int:
        if item == 3:
            begun.set()
            assert go_on.wait(PATIENCE)
        return item

    def consume() -> None:
        for result in getattr(Concurrent, operation)(call, count(), executor=executor, limit=4, chunksize=chunksize):
            results.append(result)

    def shut_down() -> None:
        assert begun.wait(PATIENCE)
        executor.shutdown(wait=False, cancel_futures=cancel)
        go_on.set()

    executor = ThreadPoolExecutor(2)
    other = threading.Thread(target=shut_down)
    other.start()
    error = outcome(consume)
    other.join()
    assert isinstance(error, CancelledError | RuntimeError)
    taken = [each if operation != "as_completed" else each[1] for each in results]
    assert len(set(taken)) == len(taken)
    if operation == "stream":
        assert taken == list(range(len(taken)))
    executor.shutdown()


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_closing_ends_a_next_that_waits_for_an_executor(operation: str) -> None:
    executor = Driven()
    stream = getattr(Concurrent, operation)(abs, range(9), executor=executor, limit=3)
    outcomes: list[Any] = []
    consumer = threading.Thread(target=lambda: outcomes.append(next(stream, END)))
    consumer.start()
    executor.wait_for(3)
    executor.start(0)
    closer = threading.Thread(target=stream.close)
    closer.start()
    until(lambda: executor.states() == ["running", "cancelled", "cancelled"])
    assert not outcomes, "the running call has not ended"
    executor.end(0)
    consumer.join(PATIENCE)
    closer.join(PATIENCE)
    assert not consumer.is_alive()
    assert not closer.is_alive()
    assert outcomes[0] in {END, 0, (0, 0)}
    assert next(stream, END) is END


# One loop after the other, and times beyond any clock


def test_what_a_decorator_shares_works_in_one_loop_after_the_other_and_in_two_at_once() -> None:
    @concurrent(rate=10_000, limit=2)
    async def negative(item: int) -> int:
        await asyncio.sleep(0)
        return -item

    async def main() -> list[list[int]]:
        return [
            await negative.a_map(range(5)),
            [each async for each in negative.a_stream(range(5))],
            sorted([each async for _, each in negative.a_as_completed(range(5))], reverse=True),
        ]

    def in_loop() -> None:
        results.append(asyncio.run(main()))

    results: list[list[list[int]]] = []
    for _ in range(3):
        in_loop()
    threads = [threading.Thread(target=in_loop) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [[[0, -1, -2, -3, -4]] * 3] * 6


@pytest.mark.parametrize("timeout", [1e10, 1e300, sys.float_info.max])
def test_a_timeout_may_be_longer_than_any_clock_can_wait(lazy: LazyWay, timeout: float) -> None:
    gate = lazy.gate()

    async def call(item: int) -> int:
        if item == 0:
            await gate.wait()
        gate.set()
        return item

    async def main() -> None:
        stream = lazy(call, range(5), limit=2, timeout=timeout)
        assert sorted(map(lazy.result, await rest(stream))) == list(range(5))

    lazy.run(main)
    with ThreadPoolExecutor(2) as executor:
        assert Concurrent.map(abs, range(5), timeout=timeout, executor=executor) == list(range(5))


# Leaks


class Thing:
    """Something to hold on to."""


@pytest.mark.parametrize("catch", [(), ValueError])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_what_a_call_on_an_executor_has_raised_dies_without_the_collector(chunksize: int, catch: Any) -> None:
    """Frames behind it lead to the future, which must not lead to it."""
    alive: list[ref[Any]] = []

    def call(item: int) -> Thing:
        thing = Thing()
        alive.append(ref(thing))
        if item == 4:
            raise WatchedError(alive)
        return thing

    with no_collector(), ThreadPoolExecutor(2) as executor:
        for operation in (Concurrent.map, Concurrent.stream, Concurrent.as_completed):
            options: dict[str, Any] = {"executor": executor, "chunksize": chunksize, "catch": catch}
            assert outcome(lambda: len(list(operation(call, range(6), **options)))) is not None  # noqa: B023
        until_free(lambda: not any(each() for each in alive))


def test_what_a_call_of_a_stream_has_raised_dies_without_the_collector(lazy: LazyWay) -> None:
    """Also where an eager task raises it, so that the frames of the consumer's half are behind it."""
    alive: list[ref[Any]] = []

    async def call(item: int) -> Thing:
        if item % 3 == 1:
            raise WatchedError(alive)
        thing = Thing()
        alive.append(ref(thing))
        return thing

    async def main() -> None:
        stream = lazy(call, range(7), limit=2, catch=ValueError)
        while (taken := await take(stream)) is not END:
            del taken
        del taken

    async def story() -> None:
        await main()
        await lazy.until(lambda: not any(each() for each in alive))
        assert len(alive) == 7

    with no_collector():
        lazy.run(story)


class WatchedError(ValueError):
    def __init__(self, alive: list[Any]) -> None:
        super().__init__()
        alive.append(ref(self))


ALL_OPERATIONS = """
    import asyncio, gc, itertools, os, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from concurrency import Concurrent

    executor = ThreadPoolExecutor(2)

    class Thing:
        pass

    def call(item):
        if item == 2:
            raise ValueError(item)
        return Thing()

    async def a_call(item):
        if item % 2:
            await asyncio.sleep(0)
        return call(item)

    def sync(number):
        options = {"executor": executor} if number % 8 == 0 else {}
        inputs = range(number % 5) if number % 2 else iter(range(number % 5))  # a failure in two of five
        operation = (Concurrent.map, Concurrent.stream, Concurrent.as_completed)[number % 3]
        try:
            list(operation(call, inputs, limit=2, catch=ValueError if number % 7 else (), **options))
        except ValueError:
            pass

    async def a_sync(number):
        inputs = range(number % 5) if number % 2 else iter(range(number % 5))
        catch = ValueError if number % 7 else ()
        try:
            if number % 3 == 0:
                await Concurrent.a_map(a_call, inputs, limit=2, catch=catch)
            else:
                operation = (Concurrent.a_stream, Concurrent.a_as_completed)[number % 3 - 1]
                async for result in operation(a_call, inputs, limit=2, catch=catch):
                    del result  # what an eager task has raised has the frame behind it that has started it: this one
                    if number % 11 == 0:
                        break
        except ValueError:
            pass

    def many(numbers):
        for number in numbers:
            sync(number)
        async def main():
            for number in numbers:
                await a_sync(number)
        asyncio.run(main())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory and files are counted where Linux shows them")
def test_memory_threads_and_files_stay_flat() -> None:
    """Without the garbage collector. With a factor of 10 it is 100,000 operations."""
    times = 5_000 * int(os.environ.get("CONCURRENCY_TEST_FACTOR", "1"))
    program = f"""{ALL_OPERATIONS}
    def memory():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files():
        return len(os.listdir("/proc/self/fd"))

    gc.disable()
    many(range(2_000))  # what pools and caches take once, they do not take again
    before = memory(), files()
    many(range({times}))
    after = memory(), files()
    print(after[0] - before[0], after[1] - before[1], threading.active_count())
    executor.shutdown()
    """
    environment = {**children.environment(), "PYTHONASYNCIODEBUG": ""}
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(program)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=children.ROOT,
    )
    assert (child.returncode, child.stderr) == (0, "")
    memory, files, threads = map(int, child.stdout.split())
    assert memory < 1_000_000, "more than 100 bytes for each of them"
    assert files == 0
    assert threads <= default_size() + 3, "the pool, those of the executor, and the main one"


@pytest.mark.parametrize("operation", ["a_map", "a_stream"])
def test_a_fault_while_calls_are_being_started_is_raised(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were started just before end, and are waited for."""
    genuine, asked = RatePace.is_due, count()

    def is_due(pace: RatePace, retry: Callable[[], None]) -> bool:
        if next(asked) == 3:
            raise MemoryError
        return genuine(pace, retry)

    monkeypatch.setattr(RatePace, "is_due", is_due)

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            if operation == "a_map":
                await Concurrent.a_map(call, range(8), rate=1e6)
            else:
                async for _ in Concurrent.a_stream(call, range(8), rate=1e6, buffersize=8):
                    pass

    with pytest.raises(MemoryError):
        in_loop(main)
