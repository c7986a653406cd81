"""The consumer's half of a lazy operation on asyncio."""

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from concurrency._calls import END, AsyncInputs, Inputs, Job
from concurrency._delivery import AsCompleted, InOrder
from concurrency._depth import check_depth
from concurrency._outcomes import traceback_of
from concurrency._task_runs import TaskRun


class AsyncPull:
    """The consumer's half of a lazy operation: it reads inputs, hands out results and ends the run.

    Sync inputs are read in the task that asks for a result. Async ones are read by a task of their own, from the first `next`
    on: only so can a slow one neither delay a result that is there, nor lose an input when the consumer is cancelled.
    """

    def __init__(self, job: Job, delivery: InOrder | AsCompleted) -> None:
        self._job: Job | None = job
        self._delivery: InOrder | AsCompleted | None = delivery
        self._name = job.name
        self._buffersize = job.options.buffersize
        self._taken = 0
        self._run: TaskRun | None = None
        self._source: Iterator[Inputs] | None = None
        self._room: Future[None] | None = None  # what the reader of async inputs waits for
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None

    def poll(self) -> Any:
        """The next result if it is there, and the loop need not turn first. Else `END`, and `next` has to be awaited."""
        run = self._run
        try:
            if run is None or run.loop is not get_running_loop() or run.pace.spent():
                return END
            return self._take(run)
        finally:
            del self, run  # see `TaskRun.start`

    def _take(self, run: TaskRun) -> Any:
        """The next result, or `END` if none is there.

        As in `Pull.next`, each result taken makes room for one input; more are read only while there is nothing to hand out.
        """
        delivery, result = self._delivery, END
        assert delivery is not None  # for as long as there is a run
        try:
            if self._source is not None and self._has_room(run):
                self._read(run, self._source)
            result = delivery.poll()
            if result is not END:
                self._taken += 1
                if self._room is not None and not self._room.done():
                    self._room.set_result(None)
            return result
        finally:
            del self, run, delivery, result  # see `TaskRun.start`

    async def next(self) -> Any:
        """The next result, or `END`. Between its last await and its return it only takes: cancelled, it has lost nothing."""
        if self._job is not None and self._delivery is not None:
            self._open(self._job, self._delivery)
        run: TaskRun | None = None
        result = END
        try:
            while (run := self._run) is not None:
                if run.loop is not get_running_loop():
                    raise RuntimeError(f"{self._name} began in another event loop: iterate it there")
                if run.pace.spent():
                    await run.turn()
                elif (result := self._take(run)) is not END:
                    return result
                elif self._source is None or not self._has_room(run):
                    if run.is_over():
                        self._end(run)
                    else:
                        await run.wait(0)
            return END
        finally:
            del self, run, result  # see `TaskRun.start`

    def error(self) -> BaseException | None:
        """What ended the run before its inputs did: each time the same object, with the traceback of its call alone."""
        if self._error is not None:
            BaseException.with_traceback(self._error, self._traceback)  # whatever the class makes of the method's name
        return self._error

    async def close(self) -> None:
        """No further input is read, no further call starts, running calls are cancelled; returns when they have ended."""
        self._job = None
        run = self._run
        if run is None:
            self._delivery = None
            return
        if run.loop.is_closed():
            self._run = self._source = self._delivery = None  # its calls are gone with it
            return
        if run.loop is not get_running_loop():
            raise RuntimeError(f"{self._name} began in another event loop: close it there")
        run.stop()
        if run.is_mine():
            return  # it would wait for itself; whoever comes from outside ends the run
        cancelled = await run.drain()
        if self._run is not None:
            self._end(run)
        if cancelled is not None:
            raise cancelled

    def abandon(self) -> None:
        """As `close`, without waiting: for the garbage collector, which may run in any thread."""
        run = self._run
        if run is not None:
            try:
                run.loop.call_soon_threadsafe(run.abandon)
            except RuntimeError:  # the loop is closed, and its tasks are gone with it
                run.close_bar()

    def _open(self, job: Job, delivery: InOrder | AsCompleted) -> None:
        check_depth()  # before any task is made
        self._job = None
        try:
            self._run = run = TaskRun(job, delivery)
            run.end_with_loop()
        except BaseException as error:
            self._error, self._traceback = error, traceback_of(error)
            raise
        try:
            if not job.is_async():
                self._source = job.inputs()
            elif not run.stopped:
                reading = self._read_ahead(run, job.async_inputs())
                run.read_by(job.context.copy().run(run.loop.create_task, reading))
        except BaseException as error:  # noqa: BLE001  the input's
            run.give_up(run.failures.seen(error), index=0)

    def _has_room(self, run: TaskRun) -> bool:
        """Whether one more input may be read ahead of the consumer."""
        return run.read - self._taken < self._buffersize and not run.exhausted and not run.stopped

    def _read(self, run: TaskRun, source: Iterator[Inputs]) -> None:
        inputs: Inputs = None
        try:
            inputs = next(source, END)
        except BaseException as error:  # noqa: BLE001  whatever the input raises ends the run as a failing call does
            run.give_up(run.failures.seen(error), index=run.read)
        else:
            if inputs is END:
                run.exhausted = True
            else:
                run.begin(inputs)
        finally:
            del self, run, source, inputs  # see `TaskRun.start`

    async def _read_ahead(self, run: TaskRun, source: AsyncInputs) -> None:
        """Read async inputs, as far ahead of the consumer as `buffersize` allows."""
        inputs: Inputs = None
        try:
            while not run.stopped:
                if not self._has_room(run):
                    self._room = run.loop.create_future()
                    await self._room
                    continue
                inputs = await anext(source, END)
                if inputs is END:
                    run.exhausted = True
                    break
                if not run.stopped:
                    run.begin(inputs)
                if run.waiting or run.pace.spent():
                    await run.turn()  # the source may never suspend
        except BaseException as error:  # noqa: BLE001  the input's, unless it is our own interruption
            if not (run.interrupted and isinstance(error, CancelledError)):
                run.give_up(run.failures.seen(error), index=run.read)
        finally:
            inputs = None
            del self, run, source  # see `TaskRun.start`

    def _end(self, run: TaskRun) -> None:
        """Keep why it ended, and nothing else."""
        run.stop()
        fault = run.close_bar()
        self._error = run.outcome()
        if self._error is None:
            self._error = fault
        self._traceback = traceback_of(self._error)
        self._run = self._source = self._delivery = self._room = None
        run.notify()
