import asyncio
import fcntl
import gc
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, Thread, get_ident
from typing import Any, ClassVar

import pytest
from tqdm import tqdm

from concurrency import Concurrent, concurrent, pacing
from concurrency._progress import Progress
from concurrency.pacing import Clock
from tests.conftest import as_coroutine_function
from tests.virtual_time import SAFETY, FastClock, SteppedClock, run_virtually, until

SYNC = ["map", "stream", "as_completed"]
ASYNC = ["a_map", "a_stream", "a_as_completed"]
LAZY = ["stream", "as_completed"]

every_operation = pytest.mark.parametrize("operation", SYNC + ASYNC)


class Bar:
    """Keeps what it is told."""

    def __init__(self, total: int | None, desc: str) -> None:
        self.total = total
        self.desc = desc
        self.updates: list[float] = []
        self.postfix: dict[str, Any] = {}
        self.closed = 0
        self.threads = {get_ident()}

    @property
    def n(self) -> float:
        return sum(self.updates)

    def update(self, n: float) -> None:
        assert not self.closed
        assert n > 0
        self.threads.add(get_ident())
        self.updates.append(n)

    def set_postfix(self, *, refresh: bool, **postfix: Any) -> None:
        assert not self.closed
        assert not refresh, "the update that follows draws it"
        self.postfix = postfix

    def close(self) -> None:
        self.threads.add(get_ident())
        self.closed += 1


class Bars:
    """A factory of bars."""

    def __init__(self, kind: Callable[..., Bar] = Bar) -> None:
        self._kind = kind
        self.made: list[Bar] = []

    def __call__(self, *, total: int | None, desc: str) -> Bar:
        self.made.append(self._kind(total, desc))
        return self.made[-1]

    @property
    def one(self) -> Bar:
        (bar,) = self.made
        return bar


async def _consume(operation: str, *arguments: Any, **options: Any) -> list[Any]:
    running = getattr(Concurrent, operation)(*arguments, **options)
    return [result async for result in running] if isinstance(running, AsyncIterator) else list(await running)


def run(operation: str, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
    """Any of the six operations, to its end."""
    if operation in ASYNC:
        return asyncio.run(_consume(operation, as_coroutine_function(function), *iterables, **options))
    return list(getattr(Concurrent, operation)(function, *iterables, **options))


class Items:
    """Items whose number is told as the test wants."""

    def __init__(self, number: int, hint: Any = NotImplemented) -> None:
        self._items = iter(range(number))
        self._hint = hint

    def __iter__(self) -> Iterator[int]:
        return self._items

    def __length_hint__(self) -> Any:
        if isinstance(self._hint, Exception):
            raise self._hint
        return self._hint


class AsyncItems:
    def __init__(self, number: int) -> None:
        self._number = number

    async def __aiter__(self) -> AsyncIterator[int]:
        for item in range(self._number):
            yield item


class SizedAsyncItems(AsyncItems):
    def __len__(self) -> int:
        return self._number


def fail(*_: object) -> None:
    raise LookupError


# ---------------------------------------------------------------------------------------------------------------------------
# What the bar shows
# ---------------------------------------------------------------------------------------------------------------------------


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_a_bar_counts_all_calls_and_closes(operation: str, kind: Callable[[Any], Any]) -> None:
    bars = Bars()
    assert len(run(operation, abs, kind(list(range(50))), progress=bars)) == 50
    assert (bars.one.n, bars.one.total, bars.one.desc, bars.one.closed, bars.one.postfix) == (50, 50, "abs", 1, {})


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_a_bar_is_drawn_in_the_thread_of_the_caller_alone(operation: str, kind: Callable[[Any], Any]) -> None:
    bars = Bars()
    run(operation, abs, kind(range(50)), progress=bars)
    assert bars.one.threads == {get_ident()}


@every_operation
@pytest.mark.parametrize(
    ("iterables", "total"),
    [
        ([[1, 2, 3]], 3),
        ([[]], 0),
        ([(number for number in range(3))], None),
        ([Items(3, 3)], 3),
        ([Items(3, 5)], 5),
        ([Items(3)], None),
        ([Items(3, ZeroDivisionError())], None),
        ([Items(3, "three")], None),
        ([range(9), range(2), range(5)], 2),
        ([range(9), Items(3)], 9),
    ],
    ids=["list", "empty", "generator", "hint", "wrong hint", "no hint", "hint raises", "no number", "shortest", "partly known"],
)
def test_the_total_is_that_of_the_shortest_iterable(operation: str, iterables: list[Any], total: int | None) -> None:
    iterables = [Items(3, each._hint) if isinstance(each, Items) else each for each in iterables]
    iterables = [(number for number in range(3)) if isinstance(each, Iterator) else each for each in iterables]
    bars = Bars()
    results = run(operation, lambda *inputs: inputs, *iterables, progress=bars)
    assert (bars.one.total, bars.one.n, bars.one.closed) == (total, len(results), 1)


@pytest.mark.parametrize("operation", ASYNC)
@pytest.mark.parametrize(
    ("iterables", "total"), [([AsyncItems(3)], None), ([SizedAsyncItems(3)], 3), ([AsyncItems(3), [1, 2]], 2)]
)
def test_the_total_of_async_iterables(operation: str, iterables: list[Any], total: int | None) -> None:
    bars = Bars()
    results = run(operation, lambda *inputs: inputs, *iterables, progress=bars)
    assert (bars.one.total, bars.one.n, bars.one.closed) == (total, len(results), 1)


@every_operation
def test_a_bar_has_the_name_of_the_function_or_a_title(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Recorded(tqdm):  # type: ignore[type-arg]  # it is generic in the stubs alone
        def __init__(self, **options: Any) -> None:
            made.append(options["desc"])
            super().__init__(disable=True, **options)

    monkeypatch.setattr("tqdm.tqdm", Recorded)
    run(operation, pow, [1], [1], progress=True)
    run(operation, abs, [1], progress="Pages")
    run(operation, abs, [1], progress="")
    run(operation, abs, [1], progress=False)
    assert made == ["pow", "Pages", ""]


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_caught_failures_are_shown(operation: str, kind: Callable[[Any], Any]) -> None:
    bars = Bars()

    def odd(number: int) -> None:
        if number % 2:
            raise LookupError

    run(operation, odd, kind(range(7)), catch=LookupError, progress=bars)
    assert (bars.one.n, bars.one.postfix) == (7, {"failed": 3})


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("operation", SYNC)
def test_calls_count_when_they_end_in_whatever_order_on_threads(
    operation: str, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppedClock()
    monkeypatch.setattr(pacing, "clock", clock)
    bars, gate, ended = Bars(), Event(), [0] * 6

    def call(number: int) -> None:
        if number == 0:
            assert gate.wait(SAFETY)
        ended[number] = 1

    thread = Thread(target=lambda: run(operation, call, kind(range(6)), limit=3, progress=bars))
    thread.start()
    try:
        until(lambda: ended == [0, 1, 1, 1, 1, 1])
        for _ in range(20):  # a call may have ended a moment before it counts
            clock.step()
            if bars.one.n == 5:
                break
        assert bars.one.n == 5
    finally:
        gate.set()
        thread.join(SAFETY)
    assert (bars.one.n, bars.one.closed) == (6, 1)


@pytest.mark.parametrize("operation", ASYNC)
def test_calls_count_when_they_end_in_whatever_order_on_asyncio(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FastClock()
    monkeypatch.setattr(pacing, "clock", clock)
    bars = Bars()

    async def main() -> float:
        calls = asyncio.create_task(_consume(operation, asyncio.sleep, [10, 1, 2, 3.5], progress=bars))
        await asyncio.sleep(3)
        seen = bars.one.n
        await calls
        return seen

    assert run_virtually(clock, main()) == 2
    assert (bars.one.n, bars.one.closed) == (4, 1)


@pytest.mark.parametrize("operation", LAZY)
def test_the_bar_of_a_stream_counts_calls_rather_than_results_taken(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FastClock()
    monkeypatch.setattr(pacing, "clock", clock)
    bars, ended = Bars(), [0] * 10

    def call(number: int) -> None:
        ended[number] = 1

    with getattr(Concurrent, operation)(call, range(10), buffersize=6, progress=bars) as stream:
        assert bars.made == []
        next(stream)
        clock.time += 1
        until(lambda: sum(ended) >= 1)
        next(stream)
        clock.time += 1
    assert bars.one.n == sum(ended)
    assert bars.one.closed == 1


@pytest.mark.parametrize("chunksize", [1, 4, 100])
@pytest.mark.parametrize("operation", SYNC)
def test_a_chunk_counts_as_so_many_calls(operation: str, chunksize: int) -> None:
    bars = Bars()
    with ThreadPoolExecutor(2) as pool:
        run(operation, abs, range(10), executor=pool, chunksize=chunksize, progress=bars)
    assert (bars.one.n, bars.one.total, bars.one.closed) == (10, 10, 1)


class FrozenClock(Clock):
    """Time stands still, so whatever is drawn is drawn for the number of calls."""

    def now(self) -> float:
        return 0.0


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_many_calls_take_few_updates(operation: str, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "clock", FrozenClock())
    bars = Bars()
    if operation in ASYNC:
        run_virtually(FastClock(), _consume(operation, as_coroutine_function(abs), kind(range(5000)), progress=bars))
    else:
        run(operation, abs, kind(range(5000)), progress=bars)
    assert bars.one.n == 5000
    assert len(bars.one.updates) <= 2


def test_a_decorated_function_may_have_a_bar_of_its_own() -> None:
    bars = Bars()

    @concurrent(progress=bars)
    def fetch(number: int) -> int:
        return number

    assert fetch.map([1, 2]) == [1, 2]
    assert (bars.one.n, bars.one.desc) == (2, "fetch")
    assert fetch.map([1, 2], progress=False) == [1, 2]
    assert len(bars.made) == 1


# ---------------------------------------------------------------------------------------------------------------------------
# Every way out
# ---------------------------------------------------------------------------------------------------------------------------


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_it_closes_when_a_call_fails(operation: str, kind: Callable[[Any], Any]) -> None:
    bars = Bars()
    with pytest.raises(LookupError):
        run(operation, fail, kind(range(5)), limit=1, progress=bars)
    assert (bars.one.n, bars.one.closed) == (1, 1)


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_the_bar_counts_calls_that_have_ended_and_no_others(kind: Callable[[Any], Any]) -> None:
    """Those that run when one fails end a little later, and count. The rest do not even start."""
    bars, barrier, errors = Bars(), Barrier(4), list[LookupError]()

    def call(number: int) -> None:
        barrier.wait(SAFETY)
        if number == 2:
            errors.append(LookupError())
            raise errors[0]
        until(lambda: errors and _was_seen(errors[0]))

    with pytest.raises(LookupError):
        Concurrent.map(call, kind(range(20)), limit=4, progress=bars)
    assert (bars.one.n, bars.one.closed) == (4, 1)


def _was_seen(error: BaseException) -> bool:
    """A map that has seen a failure has put a frame of its own into the traceback."""
    return error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename.endswith("_outcomes.py")


@every_operation
def test_it_closes_when_reading_an_input_fails(operation: str) -> None:
    bars = Bars()

    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        run(operation, abs, inputs(), progress=bars)
    assert bars.one.closed == 1


@pytest.mark.parametrize("operation", SYNC)
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_it_closes_when_time_has_run_out_on_threads(operation: str, kind: Callable[[Any], Any]) -> None:
    bars, gate = Bars(), Event()
    with pytest.raises(TimeoutError, match="timed out after 0 s"):
        run(operation, lambda _: gate.wait(SAFETY), kind(range(5)), timeout=0, progress=bars)
    assert all(bar.closed == 1 for bar in bars.made)
    gate.set()


@pytest.mark.parametrize("operation", ASYNC)
def test_it_closes_when_time_has_run_out_on_asyncio(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bars, clock = Bars(), FastClock()
    monkeypatch.setattr(pacing, "clock", clock)
    with pytest.raises(TimeoutError, match="timed out after 5 s, 1 of 3 calls unfinished"):
        run_virtually(clock, _consume(operation, asyncio.sleep, [1, 3, 9], timeout=5, progress=bars))
    assert (bars.one.n, bars.one.closed) == (2 if operation == "a_map" else bars.one.n, 1)


@pytest.mark.parametrize("operation", SYNC)
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_it_closes_at_ctrl_c_in_threads(operation: str, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    bars, gate = Bars(), Event()
    clock = FastClock()
    monkeypatch.setattr(pacing, "clock", clock)
    clock.meanwhile = [lambda: None, lambda: signal.raise_signal(signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        run(operation, lambda _: gate.wait(SAFETY), kind(range(5)), limit=2, progress=bars)
    assert bars.one.closed == 1
    gate.set()


@pytest.mark.parametrize("operation", ASYNC)
@pytest.mark.parametrize("how", ["cancel", "ctrl-c"])
def test_it_closes_when_asyncio_is_interrupted(operation: str, how: str) -> None:
    bars, clock = Bars(), FastClock()

    async def main() -> None:
        running = asyncio.create_task(_consume(operation, asyncio.sleep, [1, 2, 30], progress=bars))
        await asyncio.sleep(2.5)
        if how == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            clock.meanwhile = [lambda: signal.raise_signal(signal.SIGINT)]
            await running

    if how == "cancel":
        run_virtually(clock, main())
    else:
        with pytest.raises(KeyboardInterrupt):
            run_virtually(clock, main())
    gc.collect()  # of a lazy operation that was cancelled, the stream is left open
    assert bars.one.closed == 1
    assert bars.one.n >= 2


@pytest.mark.parametrize("operation", LAZY)
@pytest.mark.parametrize("leave", ["close", "with", "collect"])
def test_it_closes_when_a_stream_is_left(operation: str, leave: str) -> None:
    bars = Bars()
    stream = getattr(Concurrent, operation)(abs, range(10), progress=bars)
    next(stream)
    if leave == "close":
        stream.close()
    elif leave == "with":
        with stream:
            pass
    else:
        del stream
    assert bars.one.closed == 1


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("leave", ["close", "with", "collect"])
def test_it_closes_when_an_async_stream_is_left(operation: str, leave: str) -> None:
    bars = Bars()

    async def main() -> None:
        stream = getattr(Concurrent, operation)(asyncio.sleep, [0] * 10, progress=bars)
        await anext(stream)
        if leave == "close":
            await stream.aclose()
        elif leave == "with":
            async with stream:
                pass
        else:
            del stream
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert bars.one.closed == 1

    asyncio.run(main())


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("ready", [True, False], ids=["in the loop body", "in anext"])
def test_it_closes_with_the_loop_though_its_stream_is_kept(operation: str, ready: bool) -> None:
    """As the traceback of Ctrl-C keeps it, which is printed right after the bar."""
    bars, kept = Bars(), list[Any]()

    async def main() -> None:
        kept.append(getattr(Concurrent, operation)(asyncio.sleep, [0, 0 if ready else 60], progress=bars))
        await anext(kept[0])
        if ready:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        else:
            asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)
            await anext(kept[0])

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert bars.one.closed == 1
    kept.clear()
    assert bars.one.closed == 1


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
def test_it_closes_when_an_async_stream_is_left_after_a_call_has_failed(operation: str) -> None:
    bars, ended = Bars(), list[int]()

    async def main() -> None:
        gate = asyncio.Event()

        async def call(number: int) -> None:
            await asyncio.sleep(0)  # or the first result is there before the second input is read
            if number:
                await gate.wait()
                ended.append(number)
                raise LookupError

        stream = getattr(Concurrent, operation)(call, range(2), progress=bars)
        await anext(stream)
        gate.set()
        while not ended:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        del stream
        await asyncio.sleep(0)
        assert bars.one.closed == 1

    asyncio.run(main())


@every_operation
@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"rate": -1}, {"timeout": -1}, {"no_such": 1}], ids=lambda each: next(iter(each))
)
def test_bad_input_opens_none(operation: str, options: dict[str, Any]) -> None:
    bars = Bars()
    with pytest.raises((TypeError, ValueError)):
        run(operation, abs, [1], progress=bars, **options)
    with pytest.raises(TypeError):
        run(operation, abs, 1, progress=bars)
    assert bars.made == []


def test_a_stream_that_is_never_iterated_opens_none() -> None:
    bars = Bars()
    with Concurrent.stream(abs, [1], progress=bars):
        pass
    assert bars.made == []


@every_operation
@pytest.mark.parametrize("value", [None, 1, 0, [], b"title"])
def test_what_is_no_bar_is_refused(operation: str, value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        run(operation, abs, [], progress=value)
    assert str(caught.value) == f"progress must be True, False, a title or a class like tqdm, got {value!r}"


def test_consumers_that_share_a_stream_share_its_bar() -> None:
    """Also while one of them is drawing it for the first time."""
    results: list[int] = []

    class Slow(Bar):
        others: ClassVar[list[Thread]] = []

        def __init__(self, total: int | None, desc: str) -> None:
            if not self.others:
                other = Thread(target=lambda: results.extend(stream))
                self.others.append(other)
                other.start()
                other.join(0.1)  # it ends, or it waits for this one; a third way, and there are two bars
            super().__init__(total, desc)

    bars = Bars(Slow)
    stream = Concurrent.stream(abs, range(10), progress=bars)
    results.extend(stream)
    for other in Slow.others:
        other.join(SAFETY)
    assert sorted(results) == list(range(10))
    assert (bars.one.n, bars.one.closed) == (10, 1)


def test_a_consumer_that_draws_too_late_opens_no_second_bar() -> None:
    """It had seen that it was time to draw; then another one has ended the stream."""
    bars = Bars()
    progress = Progress(bars, "abs", ([1, 2],))
    progress.show(1, 0)
    progress.close(2, 0)
    progress.show(2, 0)
    assert (bars.one.n, bars.one.closed) == (2, 1)


class BrokenBarError(RuntimeError):
    pass


class FailsToOpen(Bar):
    def __init__(self, total: int | None, desc: str) -> None:
        raise BrokenBarError


class FailsToUpdate(Bar):
    def update(self, n: float) -> None:
        raise BrokenBarError


class FailsToClose(Bar):
    def close(self) -> None:
        super().close()
        raise BrokenBarError


@every_operation
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("broken", [FailsToOpen, FailsToUpdate, FailsToClose])
def test_a_bar_that_raises_leaves_no_call_running(operation: str, kind: Callable[[Any], Any], broken: type[Bar]) -> None:
    running: set[int] = set()

    def call(number: int) -> None:
        running.add(number)
        gc.collect(0)
        running.remove(number)

    bars = Bars(broken)
    with pytest.raises(BrokenBarError):
        run(operation, call, kind(range(20)), limit=4, progress=bars)
    assert running == set()
    assert [bar.closed for bar in bars.made] == [1] * len(bars.made)


@pytest.mark.parametrize("operation", LAZY)
@pytest.mark.parametrize("broken", [FailsToOpen, FailsToUpdate, FailsToClose])
def test_a_stream_whose_bar_raises_never_ends_normally(operation: str, broken: type[Bar]) -> None:
    stream = getattr(Concurrent, operation)(abs, range(5), progress=Bars(broken))
    for _ in range(3):
        with pytest.raises(BrokenBarError):
            list(stream)
    stream.close()


@pytest.mark.parametrize("operation", ["a_stream", "a_as_completed"])
@pytest.mark.parametrize("broken", [FailsToOpen, FailsToUpdate, FailsToClose])
def test_an_async_stream_whose_bar_raises_never_ends_normally(operation: str, broken: type[Bar]) -> None:
    async def main() -> None:
        stream = getattr(Concurrent, operation)(asyncio.sleep, [0] * 5, progress=Bars(broken))
        for _ in range(3):
            with pytest.raises(BrokenBarError):
                _ = [None async for _ in stream]
        await stream.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("operation", ASYNC)
def test_a_bar_that_raises_in_between_ends_the_calls_at_once(operation: str) -> None:
    clock = FastClock()

    async def main() -> None:
        with pytest.raises(BrokenBarError):
            await _consume(operation, asyncio.sleep, [0.05, 1000], progress=Bars(FailsToUpdate))
        assert clock.now() < 1

    run_virtually(clock, main())


@every_operation
def test_a_call_that_fails_goes_before_a_bar_that_does(operation: str) -> None:
    """The bar of a map that fails is brought up to date a last time: what it raises then must not hide why."""
    with pytest.raises(LookupError):
        run(operation, fail, range(3), progress=Bars(FailsToUpdate))


# ---------------------------------------------------------------------------------------------------------------------------
# tqdm itself
# ---------------------------------------------------------------------------------------------------------------------------


def python(script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What a program of its own writes."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        timeout=60,
        capture_output=True,
        text=True,
    )


def in_terminal(script: str) -> str:
    """What a program writes to a terminal of 80 by 24."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdin=its, stdout=its, stderr=its)
    os.close(its)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # Linux: there is nobody at the other end any more
        pass
    finally:
        os.close(ours)
    assert program.wait(SAFETY) == 0, written.decode()
    return written.decode()


class Screen:
    """What is to be seen in the end, of what tqdm uses: new lines, returns, and moves up by lines."""

    def __init__(self, written: str) -> None:
        self.lines: list[str] = [""]
        row = column = 0
        while written:
            if written.startswith("\x1b[A"):
                row, written = row - 1, written[3:]
                continue
            letter, written = written[0], written[1:]
            if letter == "\n":
                row += 1
                self.lines += [""] * (row + 1 - len(self.lines))
            elif letter == "\r":
                column = 0
            else:
                assert letter.isprintable(), repr(letter)
                line = self.lines[row].ljust(column)
                self.lines[row] = line[:column] + letter + line[column + 1 :]
                column += 1
        self.lines = [line.rstrip() for line in self.lines]


def test_a_bar_leaves_one_whole_line_on_a_terminal() -> None:
    lines = Screen(
        in_terminal("""
            import asyncio
            from concurrency import Concurrent
            print("before")
            Concurrent.map(abs, range(3), progress=True)
            asyncio.run(Concurrent.a_map(asyncio.sleep, [0, 0], progress="Pages"))
            print("after")
        """)
    ).lines
    assert [line.split("|")[0] for line in lines] == ["before", "abs: 100%", "Pages: 100%", "after", ""]
    assert "| 3/3 [" in lines[1]
    assert "| 2/2 [" in lines[2]


def test_every_way_out_leaves_the_terminal_at_the_beginning_of_a_line() -> None:
    lines = Screen(
        in_terminal("""
            import asyncio, os, signal
            from concurrency import Concurrent
            from threading import Event
            gate = Event()
            def interrupt(number):
                if number == 0:
                    return  # the bar is drawn between the reading of the first input and that of the second
                os.kill(os.getpid(), signal.SIGINT)
                gate.wait(9)
            def fail(_): raise LookupError
            for how in (
                lambda: Concurrent.map(fail, range(3), progress="failure"),
                lambda: Concurrent.map(fail, iter(range(3)), progress="failure"),
                lambda: list(Concurrent.stream(fail, range(3), progress="failure")),
                lambda: asyncio.run(Concurrent.a_map(asyncio.sleep, ["x"], progress="failure")),
                lambda: Concurrent.map(interrupt, iter([0, 1]), progress="Ctrl-C"),
                lambda: Concurrent.map(gate.wait, [9], timeout=0, progress="timeout"),
                lambda: next(Concurrent.stream(abs, iter(range(3)), progress="break")) and None,
                lambda: Concurrent.map(fail, range(3), progress="caught", catch=LookupError),
            ):
                gate.clear()
                try:
                    how()
                except BaseException as error:
                    print(type(error).__name__)
                gate.set()
        """)
    ).lines
    assert lines[-1] == ""
    said = [line for line in lines if line.isalpha()]
    assert said == ["LookupError", "LookupError", "LookupError", "TypeError", "KeyboardInterrupt", "TimeoutError"]
    bars = [line for line in lines if not line.isalpha() and line]
    assert all(line.endswith("]") for line in bars), bars
    assert "failed=3]" in bars[-1]


def test_a_bar_nests_under_an_outer_one() -> None:
    lines = Screen(
        in_terminal("""
            from tqdm import tqdm
            from concurrency import Concurrent
            for number in tqdm(range(2), desc="outer"):
                Concurrent.map(abs, range(3), progress="inner")
                list(Concurrent.stream(abs, range(4), progress="stream"))
            print("after")
        """)
    ).lines
    assert [line.split(":")[0] for line in lines] == ["inner", "stream", "inner", "stream", "outer", "after", ""]
    assert all(": 100%|" in line and line.endswith("]") for line in lines[:5])  # as tqdm's own do when nested


def test_it_is_silent_where_tqdm_is_told_to_be() -> None:
    done = python(
        """
        import asyncio
        from concurrency import Concurrent
        print(Concurrent.map(abs, [-1], progress=True), list(Concurrent.stream(abs, iter([-2]), progress="title")))
        print(asyncio.run(Concurrent.a_map(asyncio.sleep, [0], progress=True)))
        """,
        TQDM_DISABLE="1",
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[1] [2]\n[None]\n")


def test_it_goes_to_stderr() -> None:
    done = python("from concurrency import Concurrent; Concurrent.map(abs, [-1], progress='title')")
    assert (done.returncode, done.stdout) == (0, "")
    assert "title: 100%" in done.stderr


def test_tqdm_is_not_imported_before_it_is_needed() -> None:
    done = python("""
        import sys
        from concurrency import Concurrent, concurrent
        concurrent(progress=True)(abs)
        Concurrent.map(abs, [1])
        Concurrent.map(abs, [1], progress=lambda **_: type("Bar", (), {"update": print, "close": print}))
        assert "tqdm" not in sys.modules
        Concurrent.map(abs, [1], progress=True)
        assert "tqdm" in sys.modules
    """)
    assert done.returncode == 0, done.stderr


def test_without_tqdm_the_error_says_what_to_install() -> None:
    done = python("""
        import asyncio, sys
        class Hidden:
            def find_spec(name, path=None, target=None):
                if name.partition(".")[0] == "tqdm":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Hidden)
        from concurrency import Concurrent
        started = []
        async def a_start(number): started.append(number)
        for progress in (True, "title"):
            for run in (
                lambda: Concurrent.map(started.append, [1], progress=progress),
                lambda: Concurrent.stream(started.append, [1], progress=progress),
                lambda: Concurrent.as_completed(started.append, [1], progress=progress),
                lambda: asyncio.run(Concurrent.a_map(a_start, [1], progress=progress)),
                lambda: Concurrent.a_stream(a_start, [1], progress=progress),
                lambda: Concurrent.a_as_completed(a_start, [1], progress=progress),
            ):
                try:
                    run()
                except ImportError as error:
                    assert str(error) == "progress needs tqdm: pip install 'concurrent-construct[progress]'", error
                else:
                    raise AssertionError
        assert started == []
        assert Concurrent.map(abs, [-1], progress=False) == [1]
    """)
    assert done.returncode == 0, done.stderr


class OwnKind(tqdm):  # type: ignore[type-arg]
    """A subclass, as there are many: notebooks, chats, files."""

    made: ClassVar[list[Any]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made.append(self)


@every_operation
@pytest.mark.parametrize("how", [OwnKind, partial(OwnKind, leave=False, unit="page", ncols=60)], ids=["subclass", "partial"])
def test_subclasses_and_partials_will_do(operation: str, how: Any, capsys: pytest.CaptureFixture[str]) -> None:
    OwnKind.made.clear()
    run(operation, abs, range(20), progress=how)
    (bar,) = OwnKind.made
    assert (bar.n, bar.total, bar.desc) == (20, 20, "abs: " if bar.desc.endswith(" ") else "abs")
    assert "abs: " in capsys.readouterr().err


@pytest.mark.parametrize("operation", ["map", "a_map"])
def test_rich_bars_will_do(operation: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    from tqdm.rich import tqdm_rich

    with pytest.warns(Warning, match="rich is experimental"):
        run(operation, fail, range(20), progress=tqdm_rich, catch=LookupError)
    assert "fail" in capsys.readouterr().out + capsys.readouterr().err
