"""What goes to an executor: the calls of one task, and how what they raise comes back.

A task cannot ask its executor where it will run. It notices: to be sent elsewhere it has to be pickled, and what is pickled is
a `RemoteTask`, which has neither the caller's context nor the run. Where nothing is pickled, a `LocalTask` runs.
"""

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import CoroutineType
from typing import Any, Protocol

from concurrency._calls import Decorated, coroutine_in_threads, name_of
from concurrency._options import Operation
from concurrency._outcomes import as_outcome, is_caught, traceback_of

_HERE = os.urandom(8)
"""Tells this process, and those forked from it, from all others: only among them an `id` means the same object."""


class Raised:
    """In the place of a result: what the call raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        # Pickle keeps of an exception neither traceback nor cause, so they come along as text, as `ProcessPoolExecutor` has it.
        return _arrived, (type(self), _sendable(self.error), _text(self.error))


class Unsendable(Raised):
    """In the place of a result that cannot be pickled: why."""

    __slots__ = ()


class Mixed:
    """The outcomes of a task of which not all are results. A list says the same of one where all are, at no cost."""

    __slots__ = ("outcomes",)

    def __init__(self, outcomes: list[Any]) -> None:
        self.outcomes = outcomes


class Parcel:
    """Outcomes on their way from another process, pickled by ourselves, to be unpickled by ourselves.

    Left to the executor, a result that cannot be unpickled breaks a whole process pool, and one that cannot be pickled takes
    the other results of its task with it; on dask, the future of either never ends.
    """

    __slots__ = ("_buffers", "_data", "_outcomes")

    def __init__(self, outcomes: list[Any] | Mixed, data: bytes = b"", buffers: Sequence[Any] = ()) -> None:
        self._outcomes = outcomes
        self._data = data
        self._buffers = buffers

    def open(self) -> list[Any] | Mixed:
        """What is in it. Raises whatever unpickling raises."""
        outcomes: list[Any] = pickle.loads(self._data, buffers=self._buffers) if self._data else []
        return Mixed(outcomes) if isinstance(self._outcomes, Mixed) else outcomes

    def __reduce__(self) -> Any:
        is_mixed = isinstance(self._outcomes, Mixed)
        outcomes = self._outcomes.outcomes if isinstance(self._outcomes, Mixed) else self._outcomes
        buffers: list[Any] = []
        try:
            data = _dumps(outcomes, buffers)
        except Exception:  # noqa: BLE001  whatever pickling raises
            is_mixed = True
            data = _dumps(_sendable_part(outcomes), [])
            buffers = []
        return _delivered, (is_mixed, data, buffers)


def _delivered(is_mixed: bool, data: bytes, buffers: Sequence[Any]) -> Parcel:
    return Parcel(Mixed([]) if is_mixed else [], data, buffers)


def _sendable_part(outcomes: list[Any]) -> list[Any]:
    """The outcomes up to the first that cannot be pickled, and why not."""
    for place, outcome in enumerate(outcomes):
        try:
            _dumps(outcome, [])
        except Exception as reason:  # noqa: BLE001  whatever pickling raises
            return [*outcomes[:place], Unsendable(reason)]
    return outcomes


class RemoteTracebackError(Exception):
    """The cause of an exception from another process: what its traceback was there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Frame:
    """Stands, in the contexts of a task's calls, for the executor that runs them."""

    __slots__ = ("executor", "over", "owner")

    def __init__(self, executor: int | None, owner: int = 0) -> None:
        self.executor = executor  # its `id`; None if it has no workers that could be waited for in vain
        self.owner = owner  # the `id` of the run
        self.over = False


_frames: ContextVar[tuple[Frame, ...]] = ContextVar("concurrency_frames", default=())
"""The tasks that the current code runs in, also through threads and tasks that calls have started with their context."""


def frames() -> list[Frame]:
    """The tasks that the current code runs in and that have not ended."""
    return [frame for frame in _frames.get() if not frame.over]


class Work(Protocol):
    """What the calls of a task have in common."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def catch(self) -> tuple[type[Exception], ...]: ...
    @property
    def operation(self) -> Operation: ...


class Owner(Work, Protocol):
    """What a task in the caller's process knows of its run."""

    context: Context
    stopped: bool
    sent: Any  # the function as it is to be pickled
    executor_id: int

    def frame(self) -> Frame:
        """What stands for the executor in the contexts of the calls. In the thread that runs the task."""
        ...


class LocalTask:
    """What is submitted. Called in the caller's process, it knows the caller's context, and whether the run is over."""

    __slots__ = ("__name__", "_run")

    def __init__(self, run: Owner, name: str) -> None:
        self._run = run
        self.__name__ = name  # what an executor with a dashboard calls the task

    def __call__(self, *columns: list[Any]) -> list[Any] | Mixed:
        run = self._run
        # What a call raises is returned here, not raised: so what the future raises is known to be the executor's own error.
        return _run_calls(run, columns, run.context.copy(), run.frame(), run)

    def __reduce__(self) -> Any:
        run = self._run
        return RemoteTask, (run.sent, run.catch, run.operation, (_HERE, run.executor_id))


class RemoteTask:
    """What a `LocalTask` becomes by being pickled."""

    __slots__ = ("__name__", "_origin", "_sent", "catch", "function", "operation")

    def __init__(
        self, function: Any, catch: tuple[type[Exception], ...], operation: Operation, origin: tuple[bytes, int]
    ) -> None:
        self._sent = function
        self.function: Callable[..., Any] = function.__wrapped__ if isinstance(function, Decorated) else function
        self.catch = catch
        self.operation = operation
        self._origin = origin
        self.__name__ = name_of(function)

    def __call__(self, *columns: list[Any]) -> Parcel:
        home, executor_id = self._origin
        # In a forked child the caller's executor is there too, without its threads: a map on it would wait for ever.
        frame = Frame(executor_id if home == _HERE else None)
        outcomes = _run_calls(self, columns, copy_context(), frame, None)
        if isinstance(outcomes, Mixed) and len(columns[0]) == 1:
            # Raised, so that the executor sees a failed task: it may have retries, and its own way to bring tracebacks.
            error = outcomes.outcomes[0].error
            if not _is_falsy(error):  # `ProcessPoolExecutor` takes a falsy exception for none, and gives None as the result
                raise _sendable(error)
        return Parcel(outcomes)

    def __reduce__(self) -> Any:
        return RemoteTask, (self._sent, self.catch, self.operation, self._origin)


def _run_calls(
    work: Work, columns: tuple[list[Any], ...], context: Context, frame: Frame, run: Owner | None
) -> list[Any] | Mixed:
    """The outcomes of the calls one after the other, up to the first failure that `catch` does not take."""
    function, catch, operation = work.function, work.catch, work.operation
    outcomes: list[Any] = []
    has_raised = False
    context.run(_enter, frame)
    copy = context.copy
    # To spread a tuple over a method's parameters costs as much as all the rest here: done only where there are several.
    rows, call = (columns[0], function) if len(columns) == 1 else (zip(*columns, strict=True), partial(_spread, function))
    try:
        for row in rows:
            if run is not None and run.stopped:
                break
            try:
                value = copy().run(call, row)
                if type(value) is CoroutineType:
                    value.close()
                    raise coroutine_in_threads(function, operation)
            except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                has_raised = True
                _forget_frame(error)
                outcome = as_outcome(error)
                # Elsewhere an exception that means "the end" must not even be raised: a worker may iterate, or await, our task.
                outcomes.append(Raised(error if run is not None else outcome))
                if not is_caught(outcome, catch):
                    break
            else:
                outcomes.append(value)
    finally:
        frame.over = True
    return Mixed(outcomes) if has_raised else outcomes


def _spread(function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    return function(*row)


def _forget_frame(error: BaseException) -> None:
    """Drop our own from the traceback: `_run_calls` holds the outcomes, one of which is this."""
    traceback = traceback_of(error)
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    BaseException.with_traceback(error, traceback)


def _enter(frame: Frame) -> None:
    _frames.set((*frames(), frame))


def _arrived(kind: type[Raised], error: BaseException, text: str) -> Raised:
    error.__cause__ = RemoteTracebackError(text)
    return kind(error)


def _sendable(error: BaseException) -> BaseException:
    """`error`, or what says why it cannot be pickled and unpickled.

    Left to the executor, the one kills a worker of loky's, and takes the other outcomes of the task with it; the other breaks a
    whole process pool, and leaves a future of dask's without an end.
    """
    try:
        buffers: list[Any] = []
        pickle.loads(_dumps(error, buffers), buffers=buffers)
    except Exception as reason:  # noqa: BLE001  whatever pickling raises
        substitute = pickle.PicklingError(f"{type(error).__name__}, raised by the call, cannot be sent: {reason}")
        substitute.__cause__ = RemoteTracebackError(_text(error))  # not `error`: dask sends causes too
        return substitute
    return error


def _dumps(value: Any, buffers: list[Any]) -> bytes:
    """Pickle, or, where that does not do and an executor has brought it, cloudpickle. Large buffers stay as they are."""
    try:
        return pickle.dumps(value, 5, buffer_callback=buffers.append)
    except Exception:
        cloudpickle = sys.modules.get("cloudpickle")
        if cloudpickle is None:
            raise
        buffers.clear()
        data: bytes = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
        return data


def teach_cloudpickle() -> None:
    """Have it send a decorated function as the function itself: by value where that is defined in `__main__`.

    By reference, as pickle does it, would not find it there: the `__main__` of dask's and loky's workers is another one.
    """
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None:
        for kind in Decorated.__subclasses__():
            for each in (kind, *kind.__subclasses__()):
                cloudpickle.CloudPickler.dispatch_table[each] = _reduce_for_cloudpickle


def _reduce_for_cloudpickle(function: Any) -> Any:
    reduced = function.__reduce__()
    if isinstance(reduced, str) and function.__module__ == "__main__":
        return type(function), (function.__wrapped__, {})
    return reduced


def _text(error: BaseException) -> str:
    from traceback import format_exception  # noqa: PLC0415  heavy, and only for failures

    return "".join(format_exception(error))


def _is_falsy(error: BaseException) -> bool:
    value: object = error
    try:
        return not value
    except Exception:  # noqa: BLE001  what raises is in the eyes of nobody false
        return False
