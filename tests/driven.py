"""Lines of calls driven by hand: the test says which call ends next, and how. What runs them is one of three worlds.

A line is one operation under way: its inputs, its consumer and an account of what it has read, begun and ended. A world waits
for it to settle: until it has answered, or does what it promises to do while it waits for calls. Where that never comes, a
wake-up has been lost, and a safety net fails the test.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any, Final

from concurrency import Concurrent
from tests.executor_functions import Driven
from tests.virtual_time import FastClock, VirtualLoop

PATIENCE = 20
"""Seconds after which a line that does not settle has failed: a safety net alone."""

END: Final = object()
"""The answer of a line that has given everything."""


class Expected(Exception):
    """What calls fail with, and `catch` takes."""


class Fatal(Exception):
    """What calls fail with, and no `catch` takes."""


def serial(index: int) -> int:
    """What a call returns that ends well."""
    return 3 * index + 1


class Line:
    """One operation, its consumer and its account."""

    def __init__(self, operation: str, count: int, limit: int, buffersize: int, catch: bool) -> None:
        self.operation = operation
        self.count = count
        self.limit = limit
        self.buffersize = buffersize
        self.is_lazy = not operation.endswith("map")
        self.is_ordered = not operation.endswith("as_completed")
        self.catch: Any = Expected if catch else ()
        self.read = 0
        self.begun: list[int] = []
        self.flying: dict[int, Any] = {}  # calls that have begun and not ended
        self.ended: dict[int, Any] = {}  # what ended calls stand for in the result, by the order in which they were told to
        self.failures: list[BaseException] = []
        self.answers: list[Any] = []
        self.asked = False  # whether the consumer waits for an answer
        self.closing = False
        self.closed = False
        self.faults: list[str] = []
        self.lock = threading.RLock()
        self.stream: Any = None
        self.races = False  # whether a call may begin while another is failing

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"limit": self.limit, "catch": self.catch}
        if self.is_lazy:
            options["buffersize"] = self.buffersize
        return options

    def inputs(self) -> Iterator[int]:
        for index in range(self.count):
            if index != self.read:
                self.faults.append(f"input {index} after {self.read}")
            self.read += 1
            yield index

    def begin(self, index: int, handle: Any) -> None:
        with self.lock:
            if index in self.begun:
                self.faults.append(f"call {index} has begun twice")
            if self.is_over() or (self.failures and not self.races):
                self.faults.append(f"call {index} begins after the end")
            self.begun.append(index)
            self.flying[index] = handle
            if len(self.flying) > self.limit:
                self.faults.append(f"{len(self.flying)} calls at once, {self.limit} allowed")
            if self.is_lazy and len(self.begun) - self.taken() > self.buffersize:
                self.faults.append(f"{len(self.begun)} calls begun, {self.taken()} taken, {self.buffersize} allowed between")

    def end(self, index: int) -> None:
        with self.lock:
            del self.flying[index]

    def told(self, index: int, outcome: Any) -> None:
        """The test has told a call how to end."""
        with self.lock:
            if isinstance(outcome, Fatal) or (isinstance(outcome, Expected) and self.catch == ()):
                self.failures.append(outcome)
            else:
                self.ended[index] = outcome

    def taken(self) -> int:
        return sum(1 for answer in self.answers if answer is not END and not _is_raised(answer)) if self.is_lazy else 0

    def is_over(self) -> bool:
        last = self.answers[-1] if self.answers else None
        return self.closed or bool(self.answers and (not self.is_lazy or last is END or _is_raised(last)))

    def is_stopping(self) -> bool:
        return bool(self.failures) or self.closing

    def ready(self) -> bool:
        """Whether there is something to answer with, though further calls were running."""
        if not self.is_lazy:
            return len(self.ended) == self.count
        if self.is_ordered:
            return self.taken() in self.ended or self.taken() == self.count
        return len(self.ended) > self.taken() or self.taken() == self.count

    def wanted(self) -> int:
        """How many calls run at once while the consumer waits."""
        left = self.count - len(self.ended)
        room = self.buffersize - (len(self.ended) - self.taken()) if self.is_lazy else left
        return min(self.limit, left, room)

    def is_settled(self) -> bool:
        with self.lock:
            if self.closing and not self.flying:
                return self.closed and not self.asked
            if not (self.asked or (self.closing and not self.closed)):
                return True
            if self.is_stopping():
                return bool(self.flying) and all(map(self.is_unstoppable, self.flying.values()))
            return not self.ready() and len(self.flying) == self.wanted()

    def is_unstoppable(self, handle: Any) -> bool:
        """Whether a call that has begun has to run to its end."""
        return not isinstance(handle, tuple) or handle[1].running()

    def check(self) -> None:
        """What holds at every moment."""
        with self.lock:
            assert not self.faults, self.faults
            given = [answer for answer in self.answers if answer is not END and not _is_raised(answer)]
            if not self.is_lazy:
                for answer in given:
                    assert answer == [self.ended[index] for index in range(self.count)]
            elif self.is_ordered:
                assert given == [self.ended[index] for index in range(len(given))]
            else:
                assert len({index for index, _ in given}) == len(given)
                assert all(self.ended[index] == value for index, value in given)
            errors = [answer.error for answer in self.answers if _is_raised(answer)]
            if self.operation.endswith("stream") and errors and not self.closing:
                assert len(given) not in self.ended, "a result that was there has not come before the failure"
            assert all(error is errors[0] for error in errors)
            assert all(error in self.failures for error in errors), errors
            if END in self.answers and not self.closing:
                assert not self.failures
                assert len(given) == self.count
            if errors or END in self.answers:
                assert not self.flying, "a call outlives its operation"


class Raised:
    """An answer that is an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _is_raised(answer: Any) -> bool:
    return isinstance(answer, Raised)


def asking(line: Line) -> Callable[[], Any]:
    """What a consumer on threads does for an answer."""
    stream = line.stream

    def ask() -> Any:
        try:
            return stream() if not line.is_lazy else next(stream, END)
        except BaseException as error:
            return Raised(error)

    return ask


class _Threaded:
    """What the worlds on threads have in common: each consumer has a thread of its own."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def executor(self) -> Any:
        return None

    def function(self, line: Line, executor: Any) -> Callable[[int], Any]:
        raise NotImplementedError

    def open(self, line: Line) -> None:
        executor = self.executor()
        operation: Any = getattr(Concurrent, line.operation)
        function = self.function(line, executor)
        if line.is_lazy:
            line.stream = operation(function, line.inputs(), executor=executor, **line.options())
        else:
            line.stream = partial(operation, function, line.inputs(), executor=executor, **line.options())

    def ask(self, line: Line) -> None:
        line.asked = True
        self._apart(asking(line), partial(self._answered, line))

    def close(self, line: Line) -> None:
        line.closing = True
        self._apart(line.stream.close, partial(self._closed, line))

    def drop(self, line: Line) -> None:
        line.closing = line.closed = True
        line.stream = None

    def settle(self, line: Line) -> None:
        end = monotonic() + PATIENCE
        while not line.is_settled():
            assert monotonic() < end, f"it does not settle: {vars(line)}"
            sleep(0.0001)

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _apart(self, action: Callable[[], Any], tell: Callable[[Any], None]) -> None:
        thread = threading.Thread(target=lambda: tell(action()))
        self.threads.append(thread)
        thread.start()

    def _answered(self, line: Line, answer: Any) -> None:
        with line.lock:
            line.answers.append(answer)
            line.asked = False

    def _closed(self, line: Line, _: Any) -> None:
        with line.lock:
            line.closed = True


class Threads(_Threaded):
    """Calls in worker threads."""

    operations = ("map", "stream", "as_completed")

    def function(self, line: Line, executor: Any) -> Callable[[int], Any]:
        line.races = True

        def call(index: int) -> Any:
            decision: SimpleQueue[Any] = SimpleQueue()
            line.begin(index, decision)
            try:
                outcome = decision.get(timeout=PATIENCE)
            finally:
                line.end(index)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return call

    def tell(self, line: Line, index: int, outcome: Any) -> None:
        """End a call."""
        decision = line.flying[index]
        line.told(index, outcome)
        decision.put(outcome)
        end = monotonic() + PATIENCE
        while index in line.flying:
            assert monotonic() < end, "a call that has been told to end does not"
            sleep(0.0001)

    def start(self, line: Line, index: int) -> None:
        """They all run."""


class _Noting(Driven):
    """A driven executor that knows which call of a line each task is."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line
        self.outcome: Any = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        with self.arrived:
            index = self.submitted  # a task is a call, and they are submitted in order
            future = super().submit(fn, *args, **kwargs)
        self.line.begin(index, (self, future))
        future.add_done_callback(lambda _: self.line.end(index) if index in self.line.flying else None)
        return future


class Executors(_Threaded):
    """Tasks on an executor that runs nothing by itself."""

    operations = ("map", "stream", "as_completed")

    def open(self, line: Line) -> None:
        self._next = _Noting(line)
        super().open(line)

    def executor(self) -> Any:
        return self._next

    def function(self, line: Line, executor: Any) -> Callable[[int], Any]:
        def call(index: int) -> Any:
            outcome = executor.outcome
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return call

    def tell(self, line: Line, index: int, outcome: Any) -> None:
        executor, future = line.flying[index]
        if not future.running() and not future.set_running_or_notify_cancel():
            return  # it has just been cancelled
        executor.outcome = outcome
        line.told(index, outcome)
        future.set_result(executor.tasks[index][1]())

    def start(self, line: Line, index: int) -> None:
        """A worker takes it up."""
        _, future = line.flying[index]
        if not future.running():
            future.set_running_or_notify_cancel()


class Loop:
    """Calls on asyncio, in a loop on virtual time: it has settled when nothing is left to do but to wait."""

    operations = ("a_map", "a_stream", "a_as_completed")

    def __init__(self) -> None:
        self.loop = VirtualLoop(FastClock())
        self.complaints: list[Any] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))

    def open(self, line: Line) -> None:
        operation: Any = getattr(Concurrent, line.operation)

        async def call(index: int) -> Any:
            decision = self.loop.create_future()
            line.begin(index, decision)
            try:
                outcome = await decision
            finally:
                line.end(index)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        line.stream = partial(operation, call, line.inputs(), **line.options())
        if line.is_lazy:
            line.stream = line.stream()

    def ask(self, line: Line) -> None:
        line.asked = True
        self._apart(self._answer(line, line.stream))

    def close(self, line: Line) -> None:
        line.closing = True
        self._apart(self._close(line))

    def drop(self, line: Line) -> None:
        line.closing = line.closed = True
        line.stream = None

    def tell(self, line: Line, index: int, outcome: Any) -> None:
        decision = line.flying[index]
        if not decision.done():
            line.told(index, outcome)
            decision.set_result(outcome)
        self._turn()

    def start(self, line: Line, index: int) -> None:
        """They all run."""

    def settle(self, line: Line) -> None:
        self._turn()
        if line.is_stopping():
            assert not line.flying, "they have not been cancelled"
        assert line.is_settled(), vars(line)

    def finish(self) -> None:
        self._turn()
        assert all(task.done() for task in self.tasks)
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not self.complaints, self.complaints

    def _apart(self, coroutine: Any) -> None:
        self.tasks.append(self.loop.create_task(coroutine))
        self._turn()

    def _turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(1))

    async def _answer(self, line: Line, stream: Any) -> None:
        try:
            answer = await (anext(stream, END) if line.is_lazy else stream())
        except BaseException as error:
            answer = Raised(error)
        line.answers.append(answer)
        line.asked = False

    async def _close(self, line: Line) -> None:
        await line.stream.aclose()
        line.closed = True
