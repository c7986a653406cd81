"""Streams that are open when the interpreter ends, and Ctrl-C, each in a process of its own: prompt, and without a word."""

import signal
import sys
from _thread import interrupt_main
from textwrap import dedent
from threading import Event, Thread

import pytest

from concurrency import Concurrent
from tests.children import Child, run
from tests.lazy_ways import run_of
from tests.ways import PATIENCE, interrupted_at_any_moment, until

pytestmark = interrupted_at_any_moment

COUNT = """
    from itertools import count
    from concurrency import Concurrent
"""

SYNC = [
    """
    stream = Concurrent.{operation}(str, count())
    print(next(stream) is not None)
    """,
    """
    def main():
        stream = Concurrent.{operation}(str, count())
        for _ in stream:
            return
    main()
    print(True)
    """,
    """
    import builtins
    builtins.stream = Concurrent.{operation}(str, count())  # outlives the modules
    print(next(builtins.stream) is not None)
    """,
    """
    import gc
    gc.disable()
    class Knot: pass
    knot = Knot()
    knot.me, knot.stream = knot, Concurrent.{operation}(str, count())
    print(next(knot.stream) is not None)
    del knot  # never collected before the end
    """,
    """
    stream = Concurrent.{operation}(str, count())
    print(stream is not None)  # never begun
    """,
    """
    import atexit
    stream = Concurrent.{operation}(str, count())
    next(stream)
    atexit.register(stream.close)
    print(True)
    """,
]


@pytest.mark.parametrize("operation", ["stream", "as_completed"])
@pytest.mark.parametrize("program", range(len(SYNC)))
def test_the_interpreter_ends_with_a_stream_open(program: int, operation: str) -> None:
    assert run(_join(COUNT, SYNC[program].format(operation=operation))) == "True\n"


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("state", ["parked", "blocked", "ended"])
def test_the_interpreter_ends_with_a_stream_open_in_another_thread(daemon: bool, state: str) -> None:
    """Parked between two results; blocked in `next`; ended, with the stream left behind."""
    if state == "parked" and not daemon:
        pytest.skip("a thread that waits for ever keeps every program from ending")
    program = """
        import sys, threading
        begun, never, ending = threading.Event(), threading.Event(), threading.Event()
        threading._register_atexit(ending.set)  # a call that is running is waited for, so it has to end

        def call(item):
            if item:
                begun.set()
                ending.wait()
            return item

        def consume():
            global stream
            stream = Concurrent.stream(call, count(), limit=2)
            next(stream)
            if STATE == "parked":
                begun.set()
                never.wait()
            elif STATE == "blocked":
                try:
                    for _ in stream: pass
                except RuntimeError: pass  # said to whom goes on after the end: no further call starts
            else:
                begun.set()

        thread = threading.Thread(target=consume, daemon=DAEMON)
        thread.start()
        begun.wait()
        print(True)
    """.replace("STATE", repr(state)).replace("DAEMON", repr(daemon))
    assert run(_join(COUNT, program)) == "True\n"


def test_no_further_call_starts_when_the_interpreter_ends() -> None:
    """The call that is running may end; of the thousand that wait behind it none may begin, once the end has been seen."""
    program = """
        import atexit, threading, concurrent.futures.thread
        import concurrency._threads
        concurrency._threads.PROBE = 0  # look before each call
        full, ending = threading.Event(), threading.Event()
        started = []

        def call(item):
            started.append(item)
            if item == 0:
                full.wait()
            if item == 1:
                ending.wait()
                while not concurrent.futures.thread._shutdown:  # until the pools know that this is the end
                    pass
            return item

        def inputs():
            for item in count():
                if item == 999:
                    full.set()
                yield item

        stream = Concurrent.stream(call, inputs(), limit=1, buffersize=1000)
        next(stream)
        while len(started) < 2:
            pass
        threading._register_atexit(ending.set)
        atexit.register(lambda: print(started))
    """
    assert run(_join(COUNT, program)) == "[0, 1]\n"


QUIET = """
    import logging
    logging.getLogger("asyncio").addFilter(lambda record: "Executing" not in record.msg)  # a slow machine is no fault
"""

ASYNC = [
    """
    async def main():
        async for _ in Concurrent.{operation}(call, source()):
            return
    asyncio.run(main())
    """,
    """
    async def main():
        global stream
        stream = Concurrent.{operation}(call, source())
        await anext(stream)
    asyncio.run(main())
    """,
    """
    async def main():
        import builtins
        builtins.stream = Concurrent.{operation}(call, source())
        await anext(builtins.stream)
    asyncio.run(main())
    """,
    """
    async def main():
        global task
        async def consume():
            async for _ in Concurrent.{operation}(call, source()):
                pass
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
    asyncio.run(main())
    """,
    """
    async def main():
        stream = Concurrent.{operation}(call, source())
        await anext(stream)
        raise SystemExit
    try: asyncio.run(main())
    except SystemExit: pass
    """,
    """
    async def main():
        stream = Concurrent.{operation}(fail, source())
        await anext(stream)
    try: asyncio.run(main())
    except ValueError: pass
    """,
    """
    import threading
    def thread():
        async def main():
            global stream
            stream = Concurrent.{operation}(call, source())
            await anext(stream)
        asyncio.run(main())
    t = threading.Thread(target=thread)
    t.start()
    t.join()
    """,
]


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("source", ["count", "a_count"])
@pytest.mark.parametrize("program", range(len(ASYNC)))
def test_a_loop_ends_with_a_stream_open(program: int, source: str, operation: str) -> None:
    preamble = """
    import asyncio
    from itertools import count
    from concurrency import Concurrent

    async def call(item):
        await asyncio.sleep(1000 if item else 0)
        return item

    async def fail(item):
        await asyncio.sleep(0 if item > 2 else 1000)
        raise ValueError(item)

    async def a_count():
        for item in count():
            await asyncio.sleep(0)
            yield item
    """
    main = ASYNC[program].format(operation=operation).replace("source()", f"{source}()")
    assert run(_join(QUIET, preamble, main, "print(True)\n")) == "True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a child alone")
@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_ctrl_c_during_next_is_raised_at_once_and_again(operation: str) -> None:
    """Although a call is running that goes on until it has been raised: it is left to end in the background."""
    program = f"""
        import threading, sys
        gate = threading.Event()

        def call(item):
            if item == 0:
                return item
            print("running", flush=True)
            gate.wait()
            print("ended", flush=True)
            return item

        stream = Concurrent.{operation}(call, count(), limit=1, buffersize=2)
        try:
            while True:
                next(stream)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        try:
            next(stream)
        except KeyboardInterrupt as error:
            print(error, flush=True)
        stream.close()
        gate.set()
        sys.exit(7)
    """
    with Child(_join(COUNT, program)) as child:
        assert child.line() == "running"
        child.interrupt()
        assert child.line() == "interrupted"
        assert child.line() == f"call.{operation} has been interrupted"
        assert child.end() == (7, "ended\n", "")  # "running" only once: no further call has started


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a child alone")
@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_ctrl_c_that_nobody_catches_ends_the_program(operation: str) -> None:
    program = f"""
        import threading
        gate = threading.Event()
        threading._register_atexit(gate.set)

        def call(item):
            print("running", flush=True)
            gate.wait()

        for _ in Concurrent.{operation}(call, count(), limit=1):
            pass
    """
    with Child(_join(COUNT, program)) as child:
        assert child.line() == "running"
        child.interrupt()
        status, stdout, stderr = child.end()
    assert stdout == ""
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert stderr.count("Traceback") == 1
    assert status == -signal.SIGINT


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a child alone")
@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_ctrl_c_in_a_loop_cancels_the_calls(operation: str) -> None:
    program = f"""
        import asyncio, logging
        logging.getLogger("asyncio").addFilter(lambda record: "Executing" not in record.msg)  # a slow machine is no fault
        ended = []

        async def call(item):
            print("running", flush=True)
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(item)

        async def main():
            async for _ in Concurrent.{operation}(call, count(), limit=2):
                pass

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print(sorted(ended), flush=True)
    """
    with Child(_join(COUNT, program)) as child:
        assert child.line() == child.line() == "running"
        child.interrupt()
        assert child.line() == "[0, 1]"
        assert child.end() == (0, "", "")


def _join(*parts: str) -> str:
    return "\n".join(dedent(part) for part in parts)


@pytest.mark.skipif(sys.version_info[:2] == (3, 14), reason="it would hang, for the reason of `interrupted_at_any_moment`")
@pytest.mark.parametrize("operation", ["stream", "as_completed"])
def test_ctrl_c_while_it_is_being_closed_is_raised_at_once(operation: str) -> None:
    begun, gate, ended = Event(), Event(), Event()

    def call(item: int) -> int:
        if item:
            begun.set()
            gate.wait(PATIENCE)
            ended.set()
        return item

    stream = getattr(Concurrent, operation)(call, range(2), limit=1)
    assert next(stream) in {0, (0, 0)}
    assert begun.wait(PATIENCE)
    run = run_of(stream)

    def interrupt() -> None:
        until(lambda: run.stopped and run.watched)
        interrupt_main()

    interrupter = Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    interrupter.join()
    assert not ended.is_set()
    with pytest.raises(KeyboardInterrupt, match=f"call.{operation} has been interrupted"):
        next(stream)
    gate.set()
    assert ended.wait(PATIENCE)
