"""Faults that no test of one subject has: the recursion limit, memory, forks and refused threads under streams, odd exceptions."""

import os

import pytest

from tests import children
from tests.test_resources import FORKING

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
