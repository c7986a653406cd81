"""Promise 11: Ctrl-C and timeouts, the two ways in which a call on a thread can outlive its map."""

import asyncio
import dis
import inspect
import itertools
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from threading import get_ident
from types import FrameType
from typing import Any, cast

import pytest

from concurrency import Concurrent, _workers
from tests.children import Child
from tests.lazy_ways import SkippingClock
from tests.ways import PATIENCE, Way, in_loop, interrupted_at_any_moment, until

pytestmark = interrupted_at_any_moment

kinds = pytest.mark.parametrize("kind", ["list", "iter"])

SETUP = """
    import atexit, os, signal, sys, threading
    from concurrency import Concurrent

    kind = {"list": list, "iter": iter}[sys.argv[1]]
    started, ended = [], []
    release = threading.Event()

    def say(*words):
        os.write(1, " ".join(map(str, words)).encode() + b"\\n")

    # after the pool's threads have ended
    atexit.register(lambda: say("at exit", len(started), "started", len(ended), "ended"))
"""


@kinds
def test_ctrl_c_is_raised_at_once_while_calls_run(kind: str) -> None:
    program = f"""{SETUP}
    def call(item):
        started.append(item)
        if item == 1:
            say("ready")
        assert release.wait(30)
        ended.append(item)

    try:
        Concurrent.map(call, kind(range(100)), limit=2)
    except KeyboardInterrupt:
        say("interrupted", len(started), "started", len(ended), "ended")
    release.set()
    """
    with Child(program, kind) as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "interrupted 2 started 0 ended"
        assert child.end() == (0, "at exit 2 started 2 ended\n", "")


@kinds
def test_after_ctrl_c_further_maps_work(kind: str) -> None:
    """Although the calls of the interrupted one still hold their threads."""
    program = f"""{SETUP}
    def call(item):
        started.append(item)
        if len(started) == 40:
            say("ready")
        assert release.wait(30)
        ended.append(item)

    try:
        Concurrent.map(call, kind(range(100)), limit=40)
    except KeyboardInterrupt:
        say(Concurrent.map(abs, kind([1, -2]), limit=4))
        say(Concurrent.map(lambda item: Concurrent.map(abs, kind([item, -2])), kind([1, -2])))
    release.set()
    """
    with Child(program, kind) as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "[1, 2]"
        assert child.line() == "[[1, 2], [2, 2]]"
        assert child.end() == (0, "at exit 40 started 40 ended\n", "")


def test_ctrl_c_is_raised_at_once_while_an_input_is_read() -> None:
    program = f"""{SETUP}
    def source():
        yield 0
        try:
            say("ready")
            release.wait(30)
        finally:
            say("input closed")
        yield 1

    def call(item):
        started.append(item)

    try:
        Concurrent.map(call, source(), limit=2)
    except KeyboardInterrupt:
        say("interrupted")
    """
    with Child(program, "iter") as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "input closed"
        assert child.line() == "interrupted"
        status, stdout, stderr = child.end()
        assert (status, stderr) == (0, "")
        assert stdout.startswith("at exit")


@kinds
def test_ctrl_c_names_the_calls_that_had_failed(kind: str) -> None:
    program = f"""{SETUP}
    failing = []

    def seen():
        frame = sys._current_frames().get(failing[0])
        while frame is not None:
            if frame.f_globals["__name__"] == "concurrency._threads":
                return False
            frame = frame.f_back
        return True

    def call(item):
        started.append(item)
        if item == 0:
            while not len(started) == 2:
                release.wait(0.001)
            failing.append(threading.get_ident())
            raise ValueError(item)
        while not failing or not seen():
            release.wait(0.001)
        say("ready")
        assert release.wait(30)
        ended.append(item)

    try:
        Concurrent.map(call, kind(range(100)), limit=2)
    except KeyboardInterrupt as interrupt:
        say(*interrupt.__notes__)
    release.set()
    """
    with Child(program, kind) as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "concurrency: 1 of call.map had failed: call 0, with 0: ValueError(0)"
        assert child.end() == (0, "at exit 2 started 1 ended\n", "")


@kinds
def test_ctrl_c_ends_maps_within_maps(kind: str) -> None:
    """It is raised in the main thread alone: what runs there is left, what runs elsewhere ends in the background."""
    program = f"""{SETUP}
    def inner(item):
        started.append(item)
        if len(started) == 4:
            say("ready")
        assert release.wait(30)
        ended.append(item)

    def outer(item):
        return Concurrent.map(inner, kind([item, item]), limit=2)

    try:
        Concurrent.map(outer, kind([1, 2, 3, 4]), limit=2)
    except KeyboardInterrupt:
        say("interrupted", len(ended))
    release.set()
    """
    with Child(program, kind) as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "interrupted 0"
        assert child.end() == (0, "at exit 4 started 4 ended\n", "")


@kinds
@pytest.mark.parametrize("limit", [2, 50], ids=["threads of the pool", "threads of its own too"])
def test_ctrl_c_while_a_thread_is_being_started_leaves_none_that_python_waits_for(kind: str, limit: int) -> None:
    """A pool does not know of a thread that it was interrupted in starting, and so does not tell it to end."""
    program = f"""{SETUP}
    start, rest = threading.Thread.start, iter(range({limit}))

    def interrupted(thread):
        start(thread)
        if threading.current_thread() is threading.main_thread() and next(rest, None) is not None:
            raise KeyboardInterrupt

    threading.Thread.start = interrupted
    for _ in range({limit}):
        try:
            Concurrent.map(abs, kind(range(60)), limit={limit})
        except KeyboardInterrupt:
            pass
    say("done")
    """
    with Child(program, kind) as child:
        assert child.line() == "done"
        assert child.end() == (0, "at exit 0 started 0 ended\n", "")


OPERATIONS = {
    "map of a list": "Concurrent.map(call, list(range(30)), limit=3)",
    "map of an iterator": "Concurrent.map(call, iter(range(30)), limit=3)",
    "stream": "list(Concurrent.stream(call, range(30), limit=3))",
    "as_completed": "[-item for item in sorted(item for item, _ in Concurrent.as_completed(call, range(30), limit=3))]",
    "map on an executor": "Concurrent.map(call, range(30), limit=3, executor=executor)",
    "stream on an executor": "list(Concurrent.stream(call, range(30), executor=executor, chunksize=4))",
}
operations = pytest.mark.parametrize("operation", OPERATIONS)

SIGNALLED = f"""{SETUP}
    from concurrent.futures import ThreadPoolExecutor
    executor = ThreadPoolExecutor(2)

    def call(item):
        return -item

    def forever(operation):
        while True:
            assert operation() == [-item for item in range(30)]
"""


@operations
def test_ctrl_c_at_any_moment_is_a_keyboard_interrupt(operation: str) -> None:
    """The moments are those at which the signals happen to arrive; `Interrupter` below goes through them one by one."""
    program = f"""{SIGNALLED}
    lost = []  # those that came while a stream was being collected, where nothing can be raised
    sys.unraisablehook = lambda _: lost.append(1)

    def operation():
        if lost:
            lost.clear()
            say("ready")
        return {OPERATIONS[operation]}

    for _ in range(20):
        try:
            say("ready")
            forever(operation)
        except KeyboardInterrupt:
            pass
    say("done")
    """
    with Child(program, "list") as child:
        while (line := child.line()) == "ready":
            child.interrupt()
        assert line == "done"
        status, _, stderr = child.end()
        assert (status, stderr) == (0, "")


@operations
def test_sigterm_ends_the_process_at_once(operation: str) -> None:
    """Although calls are running, as it does without this package."""
    program = f"""{SIGNALLED}
    def call(item):
        say("ready")
        assert release.wait(30)

    {OPERATIONS[operation]}
    """
    with Child(program, "list") as child:
        assert child.line() == "ready"
        child.terminate()
        status, _, stderr = child.end()
        assert (status, stderr) == (-signal.SIGTERM, "")


@operations
def test_what_a_handler_of_sigterm_raises_is_raised_by_the_operation(operation: str) -> None:
    """No further call starts, and the interpreter ends when those have ended that were running."""
    program = f"""{SIGNALLED}
    def handle(*_):
        release.set()
        sys.exit(7)

    def call(item):
        started.append(item)
        if len(started) == 2:
            say("ready")
        assert release.wait(30)
        ended.append(item)

    signal.signal(signal.SIGTERM, handle)
    try:
        {OPERATIONS[operation]}
    finally:
        say("raised")
    """
    with Child(program, "list") as child:
        assert child.line() == "ready"
        child.terminate()
        assert child.line() == "raised"
        status, stdout, stderr = child.end()
        assert (status, stderr) == (7, "")
        started, ended = (int(word) for word in stdout.split() if word.isdigit())
        assert started == ended < 20


def test_ctrl_c_in_a_loop_cancels_the_calls_and_awaits_them() -> None:
    program = f"""{SETUP}
    import asyncio

    async def call(item):
        started.append(item)
        try:
            if item == 4:
                say("ready")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(item)

    try:
        asyncio.run(Concurrent.a_map(call, kind(range(5))))
    except KeyboardInterrupt:
        say("interrupted", len(started), "started", len(ended), "ended")
    """
    with Child(program, "list") as child:
        assert child.line() == "ready"
        child.interrupt()
        assert child.line() == "interrupted 5 started 5 ended"
        assert child.end() == (0, "at exit 5 started 5 ended\n", "")


STEP = "opcode" if sys.version_info < (3, 12) else "call"
"""Python 3.12.1 crashes when what traces instructions raises. There it is at the beginning of each function."""


class Interrupter:
    """Raises in this thread where Python would look for signals: the n-th time, in this package's code."""

    def __init__(self, moment: int, kind: type[BaseException]) -> None:
        self.left = moment
        self._kind = kind
        self._last: dict[FrameType, str] = {}  # the instruction that each frame has run
        self.where = "nowhere"

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not str(frame.f_globals.get("__name__")).startswith("concurrency."):
            return None
        if frame.f_code.co_name in ("__del__", "abandon") or frame.f_code.co_flags & inspect.CO_GENERATOR:
            return None  # there Python itself would only report it
        if event == STEP and (event == "call" or self._looks_for_signals(frame)):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                raise self._kind
        if event == "return":
            self._last.pop(frame, None)
        frame.f_trace_opcodes = STEP == "opcode"
        return self.trace

    def _looks_for_signals(self, frame: FrameType) -> bool:
        """Whether the instruction that has just been run does so when it is done."""
        before, now = self._last.get(frame, ""), _names(frame.f_code)[frame.f_lasti]
        self._last[frame] = now
        return before.startswith(("CALL", "JUMP_BACKWARD", "RESUME")) and now != "PUSH_EXC_INFO"  # after a call that has raised

    def __enter__(self) -> "Interrupter":
        self.previous = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self.previous)
        self._last.clear()


@cache
def _names(code: Any) -> dict[int, str]:
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


@pytest.mark.parametrize(
    ("operation", "source", "on", "step"),
    [
        ("map", list, "threads", 1),
        ("map", iter, "threads", 1),
        ("stream", iter, "threads", 1),
        ("as_completed", iter, "threads", 3),
        ("map", iter, "executor", 5),  # slower: of the moments a fifth each, and not the same
        ("stream", iter, "executor", 6),
    ],
)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit], ids=["ctrl-c", "what a handler of a signal raises"])
def test_interrupted_at_each_moment_it_leaves_nothing_behind(
    operation: str, source: Callable[..., Any], on: str, step: int, kind: type[BaseException]
) -> None:
    """Wherever it comes: no input is used twice, every thread is given back, nothing hangs, and the next map works."""
    begun: list[int] = []
    interrupters: list[Interrupter] = []
    outcomes: list[Any] = []
    expected = [-item for item in range(5)]

    def call(item: int) -> int:
        begun.append(item)
        return -item

    def work() -> Any:
        inputs = source(range(5))
        if operation == "map":
            return Concurrent.map(call, inputs, limit=2, executor=executor)
        with getattr(Concurrent, operation)(call, inputs, limit=2, buffersize=3, executor=executor) as stream:
            results = list(stream)
        return results if operation == "stream" else [result for _, result in sorted(results)]

    def is_at_rest() -> bool:
        pool = _workers._shared_pool()
        extra = [thread for thread in threading.enumerate() if thread.name.startswith("concurrency-extra")]
        return pool._free == pool._size and not extra

    def each_moment() -> None:
        assert work() == expected
        for moment in itertools.count(1, step):
            interrupters[:] = [interrupter := Interrupter(moment, kind)]
            begun.clear()
            try:
                with interrupter:
                    assert work() == expected
            except kind:
                pass
            if interrupter.left > 0:
                break
            until(is_at_rest)
            assert len(set(begun)) == len(begun), interrupter.where
            assert work() == expected, interrupter.where
        assert moment > 20

    def watched() -> None:
        try:
            each_moment()
            outcomes.append("well")
        except BaseException as error:
            outcomes.append(error)

    with ThreadPoolExecutor(2) if on == "executor" else nullcontext() as executor:
        if kind is KeyboardInterrupt:  # which comes in the main thread alone
            each_moment()
        else:
            thread = threading.Thread(target=watched, daemon=True)
            thread.start()
            thread.join(PATIENCE)
            assert outcomes == ["well"], f"after {interrupters[0].where}"


def test_a_timeout_says_what_was_not_done(way: Way, clock: SkippingClock) -> None:
    release = threading.Event()
    ended: list[int] = []
    started: list[int] = []
    lock = threading.Lock()

    async def fetch(item: int) -> None:
        with lock:
            started.append(item)
            blocked = sum(item >= 7 for item in started)
        if item < 7:
            return
        if blocked == 3:
            clock.skip(5)
        if way.operation == "map":
            assert release.wait(PATIENCE)
        else:
            await asyncio.Event().wait()
        ended.append(item)

    with pytest.raises(TimeoutError) as caught:
        way(fetch, list(range(10)), limit=3, timeout=5)
    assert type(caught.value) is TimeoutError
    counted = "of 10 calls" if isinstance(cast(Any, way).inputs([0]), list) else "of the 10 calls begun"
    assert str(caught.value) == f"fetch.{way.operation} timed out after 5 s, 3 {counted} unfinished"
    assert not hasattr(caught.value, "__notes__")
    assert ended == []
    release.set()
    if way.operation == "map":
        until(lambda: sorted(ended) == [7, 8, 9])
    assert len(started) == 10


def test_after_a_timeout_no_further_call_starts(way: Way, clock: SkippingClock) -> None:
    release = threading.Event()
    started: list[int] = []
    threads: list[int] = []
    together = way.barrier(2)

    async def call(item: int) -> None:
        started.append(item)
        threads.append(get_ident())
        await together.wait()
        clock.skip(3.5)
        if way.operation == "map":
            assert release.wait(PATIENCE)
        else:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="timed out after 2.5 s"):
        way(call, list(range(100)), limit=2, timeout=2.5)
    release.set()
    if way.operation == "map":
        until(lambda: _workers._shared_pool()._free == _workers._shared_pool().executor._max_workers)
    assert sorted(started) == [0, 1]


def test_a_timeout_of_a_call_is_told_apart(way: Way) -> None:
    error = TimeoutError("the call's own")

    async def call(item: int) -> None:
        raise error

    with pytest.raises(TimeoutError) as caught:
        way(call, [1], timeout=60)
    assert caught.value is error
    assert error.__notes__ == [f"concurrency: call 0 of call.{way.operation} failed, with 1"]


def test_catch_takes_a_calls_timeout_and_never_the_maps(way: Way, clock: SkippingClock) -> None:
    release = threading.Event()

    async def call(item: int) -> None:
        if item == 0:
            raise TimeoutError("the call's own")
        clock.skip(60)
        if way.operation == "map":
            assert release.wait(PATIENCE)
        else:
            await asyncio.Event().wait()

    assert [type(error) for error in way(call, [0], timeout=50, catch=TimeoutError)] == [TimeoutError]
    with pytest.raises(TimeoutError, match="timed out after 50 s"):
        way(call, [0, 1], timeout=50, catch=TimeoutError)
    release.set()


def test_a_map_that_is_done_in_time_is_not_late(way: Way) -> None:
    async def call(item: int) -> int:
        return item

    for timeout in (60, 60.5, 1e9, 1e300, sys.float_info.max):
        assert way(call, [1, 2], timeout=timeout) == [1, 2]


def test_a_map_with_no_time_at_all_is_late_if_it_has_anything_to_do(way: Way) -> None:
    release = threading.Event()

    async def call(item: int) -> None:
        if way.operation == "map":
            release.wait(PATIENCE)
        else:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="timed out after 0 s"):
        way(call, [1, 2], timeout=0)
    release.set()


def test_calls_that_a_timeout_has_cancelled_are_awaited(clock: SkippingClock) -> None:
    ended: list[int] = []

    async def call(item: int) -> None:
        try:
            clock.skip(30)
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.append(item)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await Concurrent.a_map(call, range(3), timeout=60)
        assert sorted(ended) == [0, 1, 2]

    in_loop(main)


def test_a_timeout_is_raised_though_the_calls_that_it_cancels_fail(clock: SkippingClock) -> None:
    async def call(item: int) -> None:
        try:
            clock.skip(30)
            await asyncio.Event().wait()
        finally:
            raise ValueError(item)

    with pytest.raises(TimeoutError, match=r"call\.a_map timed out after 60 s") as caught:
        in_loop(lambda: Concurrent.a_map(call, range(2), timeout=60))
    (note,) = caught.value.__notes__
    assert note.startswith("concurrency: 2 of call.a_map had failed: call 0, with 0: ValueError(0); call 1")


def test_a_failure_before_the_timeout_is_raised_though_another_call_goes_on(way: Way, clock: SkippingClock) -> None:
    """A thread cannot be stopped, so a map that has failed waits for its other calls, but no longer than its timeout."""
    error = ValueError()
    release = threading.Event()
    failing: list[int] = []
    together = way.barrier(2)

    async def call(item: int) -> None:
        await together.wait()
        if item == 0:
            failing.append(get_ident())
            raise error
        await way.outlast(failing)
        clock.skip(60)
        assert release.wait(PATIENCE)

    with pytest.raises(ValueError) as caught:
        way(call, [0, 1], limit=2, timeout=30)
    assert caught.value is error
    release.set()
