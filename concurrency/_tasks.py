"""The driver for asyncio: a plain task per call. `TaskGroup` and `wait_for` lose cancellations on some Pythons."""

from asyncio import CancelledError, current_task
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from concurrency._calls import END, AsyncInputs, Inputs, Job
from concurrency._delivery import AtTheEnd
from concurrency._depth import check_depth
from concurrency._task_runs import TaskRun


async def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs. The inputs are read here, in the task that awaits the map."""
    check_depth()  # whatever this task does here, it does as deep as now: no task is to be left behind
    delivery = AtTheEnd()
    run = TaskRun(job, delivery)
    cancelled: CancelledError | None = None
    outcome: BaseException | None = None
    fault: Exception | None = None
    try:
        try:
            if job.is_async():
                await _feed_async(run, job.async_inputs(), delivery.slots)
            else:
                await _feed(run, job.inputs(), delivery.slots)
            while run.running and not run.stopped:
                await run.wait(0)
        except CancelledError as error:
            cancelled = error
        except GeneratorExit:  # the loop has been abandoned, and nothing may be awaited any more
            with suppress(RuntimeError):
                run.stop()
            raise
        except BaseException as raised:  # noqa: BLE001  the input's
            run.give_up(run.failures.seen(raised), index=run.read)
        run.stop()
        cancelled = await run.drain(cancelled)
        fault = run.close_bar()
        if cancelled is not None:
            run.failures.note_on(cancelled)
            raise cancelled
        outcome = run.outcome()
        if outcome is None:
            outcome = fault
        if outcome is not None:
            raise outcome
        return delivery.slots
    finally:
        del job, delivery, run, cancelled, outcome, fault  # see `TaskRun.start`


async def _feed(run: TaskRun, source: Iterator[Inputs], results: list[Any]) -> None:
    """Begin a call for each input, as `limit` and `rate` allow."""
    running, waiting, limit, spent, append = run.running, run.waiting, run.limit, run.pace.spent, results.append
    # There is room for each call here, so only a `rate` can make one wait.
    begin = run.start if run.rate is None else run.begin
    inputs: Inputs = None
    run.pace.open()
    try:
        while not run.stopped:
            if len(running) >= limit or spent():
                await _turn(run)
                continue
            inputs = next(source, END)
            if inputs is END:
                run.exhausted = True
                break
            append(None)  # its slot
            begin(inputs)
            if waiting:
                await _until_started(run)
        run.yielding()
    finally:
        del run, source, running, waiting, spent, append, begin, inputs, results  # see `TaskRun.start`


async def _feed_async(run: TaskRun, source: AsyncInputs, results: list[Any]) -> None:
    """As `_feed`, where reading may take its time: a failure interrupts it, by cancelling this task and taking that back."""
    task = current_task()
    assert task is not None  # we are in a coroutine
    cancellations = task.cancelling()
    inputs: Inputs = None
    run.pace.open()
    try:
        while not run.stopped:
            if len(run.running) >= run.limit or run.pace.spent():
                await _turn(run)
                continue
            run.reader = task
            try:
                inputs = await anext(source, END)
            except CancelledError:
                if not run.interrupted:
                    raise
                inputs = END
            finally:
                run.reader = None
                # Of two cancellations, ours and another's, one exception has come: what is left after ours is the other's.
                if run.interrupted and task.uncancel() > cancellations:
                    raise CancelledError
            if inputs is END:
                run.exhausted = not run.interrupted
                break
            if not run.stopped:
                results.append(None)
                run.begin(inputs)
                await _until_started(run)
        run.yielding()
    finally:
        del run, source, task, inputs, results  # see `TaskRun.start`


async def _until_started(run: TaskRun) -> None:
    """Wait until `rate` has allowed the start of the call just begun: a map reads no further ahead than that."""
    while run.waiting and not run.stopped:
        await run.wait(-1)


async def _turn(run: TaskRun) -> None:
    """Let the loop turn; where `limit` is reached, until a call has ended."""
    if len(run.running) >= run.limit:
        await run.wait(run.limit - 1)
    else:
        await run.turn()
