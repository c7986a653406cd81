"""What goes to an executor: the calls of one task.

A task cannot ask its executor where it will run. It notices: to be sent elsewhere it has to be pickled, and what is pickled is
a `RemoteTask`, which has neither the caller's context nor the run. Where nothing is pickled, a `LocalTask` runs.
"""

from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from functools import partial
from itertools import takewhile
from os import getpid
from threading import get_ident
from time import perf_counter
from typing import Any, Protocol

from concurrency._brief import brief
from concurrency._calls import Decorated, coroutine_in_threads, is_coroutine, name_of, taking_inputs
from concurrency._nesting import HERE, Frame, enter
from concurrency._observing import Times
from concurrency._options import Operation
from concurrency._outcomes import as_outcome, is_caught, is_ours, traceback_of
from concurrency._parcels import CallError, Outcomes, pack


class Work(Protocol):
    """What the calls of a task have in common."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def catch(self) -> tuple[type[Exception], ...]: ...
    @property
    def operation(self) -> Operation: ...
    @property
    def is_timed(self) -> bool: ...


class Owner(Work, Protocol):
    """What a task in the caller's process knows of its run."""

    context: Context
    stopped: bool
    sent: Any  # the function as it is to be pickled
    executor_id: int

    def frame(self) -> Frame:
        """What stands for the task in the contexts of its calls. In the thread that runs it."""
        ...


class LocalTask:
    """What is submitted. Called in the caller's process, it knows the caller's context, and whether the run is over."""

    __slots__ = ("__name__", "_has_begun", "_has_ended", "_run", "_when_ended")

    def __init__(self, run: Owner, name: str) -> None:
        self._run = run
        self.__name__ = name  # what an executor with a dashboard calls the task
        self._has_begun = self._has_ended = False
        self._when_ended: Callable[[], None] | None = None

    def __call__(self, *columns: list[Any]) -> Outcomes:
        run = self._run
        self._has_begun = True  # before any look whether the run has been stopped: see `tell_end`
        try:
            # What a call raises is returned here, not raised: so what the future raises is known to be the executor's own.
            rows = takewhile(lambda _: not run.stopped, _rows(columns))
            return _run_calls(run, rows, len(columns), run.context.copy(), run.frame())
        finally:
            self._has_ended = True
            if self._when_ended is not None:
                self._when_ended()

    def tell_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when none of the calls runs or will: once or twice. For a run that has been stopped.

        Each side says what it has done before it looks at the other's: so a task that was not seen to have begun sees that the
        run has been stopped, and calls nothing, and one that ends meanwhile sees the callback, if it is not seen to have ended.
        """
        self._when_ended = callback
        if self._has_ended or not self._has_begun:
            callback()

    def __reduce__(self) -> Any:
        run = self._run
        return RemoteTask, (run.sent, run.catch, run.operation, (HERE, run.executor_id), run.is_timed)


class RemoteTask:
    """What a `LocalTask` becomes by being pickled."""

    __slots__ = ("__name__", "_origin", "_sent", "catch", "function", "is_timed", "operation")

    def __init__(
        self, sent: Any, catch: tuple[type[Exception], ...], operation: Operation, origin: tuple[bytes, int], is_timed: bool
    ) -> None:
        self.__name__ = name_of(sent)
        self._sent = sent
        self._origin = origin
        self.function: Callable[..., Any] = sent.__wrapped__ if isinstance(sent, Decorated) else sent
        self.catch = catch
        self.operation = operation
        self.is_timed = is_timed

    def __call__(self, *columns: list[Any]) -> bytes:
        home, executor_id = self._origin
        # In a forked child the caller's executor is there too, without its threads: a map on it would wait for ever.
        frame = Frame(executor_id if home == HERE else None)
        outcomes = _run_calls(self, _rows(columns), len(columns), copy_context(), frame)
        parcel = pack(outcomes)
        last = outcomes.raised.get(len(outcomes.values) - 1)
        message = brief(last) if last is not None and _ends_task(last, self.catch) else None
        last = None
        outcomes.forget()
        if message is None:
            return parcel
        error = CallError(message)
        error.parcel = parcel
        try:
            raise error
        finally:
            del error

    def __reduce__(self) -> Any:
        return RemoteTask, (self._sent, self.catch, self.operation, self._origin, self.is_timed)


def _rows(columns: tuple[list[Any], ...]) -> Iterator[Any]:
    """What each call is given: a tuple only if that is several things."""
    return iter(columns[0]) if len(columns) == 1 else zip(*columns, strict=True)


def _run_calls(work: Work, rows: Iterator[Any], width: int, context: Context, frame: Frame) -> Outcomes:
    """Make the calls one after the other, up to the first failure that `catch` does not take."""
    function = work.function
    call = taking_inputs(function, width == 1)
    times: Times | None = None
    if work.is_timed:
        times = Times(f"process {getpid()}" if isinstance(work, RemoteTask) else get_ident(), [])
        call = partial(_timed, times.spans, call)
    values: list[Any] = []
    raised: dict[int, BaseException] = {}
    context.run(enter, frame)
    copy, append = context.copy, values.append
    try:
        while True:
            try:
                for row in rows:
                    append(copy().run(call, row))
                break
            except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                raised[len(values)] = _without_frames_of_ours(error)
                append(None)
                if _ends_task(error, work.catch):
                    break
    finally:
        frame.over = True
    if values and is_coroutine(values[0]):
        for value in values:
            if is_coroutine(value):
                value.close()
        return Outcomes([None], {0: coroutine_in_threads(function, work.operation)})
    return Outcomes(values, raised, None, times)


def _timed(spans: list[tuple[float, float]], call: Callable[..., Any], row: Any) -> Any:
    start = perf_counter()
    try:
        return call(row)
    finally:
        spans.append((start, perf_counter()))


def _ends_task(error: BaseException, catch: tuple[type[Exception], ...]) -> bool:
    return not is_caught(as_outcome(error), catch)


def _without_frames_of_ours(error: BaseException) -> BaseException:
    """They hold the outcomes, one of which is this."""
    traceback = traceback_of(error)
    while traceback is not None and is_ours(traceback.tb_frame):
        traceback = traceback.tb_next
    return BaseException.with_traceback(error, traceback)
