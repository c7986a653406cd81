"""The driver for asyncio: a plain task per call. `TaskGroup` and `wait_for` lose cancellations on some Pythons.

A `TaskRun` holds what its tasks share and never awaits. `run_map` and `AsyncPull` are the caller's side: they alone hold the
iterator of inputs. Everything belongs to one event loop and runs in its thread, so there is nothing to lock.
"""

import inspect
import sys
from asyncio import AbstractEventLoop, CancelledError, Future, Task, TimerHandle, current_task, get_running_loop, sleep
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context
from functools import partial
from math import inf
from typing import Any

from concurrency import pacing
from concurrency._calls import Inputs, Job, plain_in_asyncio
from concurrency._delivery import AtTheEnd, Delivery
from concurrency._options import Operation
from concurrency._outcomes import Failures, timed_out
from concurrency._pace import EagerPace, QueuedPace
from concurrency._progress import INTERVAL, Progress
from concurrency.pacing import Rate


class TaskRun:
    """The calls of one map or stream as tasks: which are running, what failed, what is ready."""

    def __init__(self, job: Job, delivery: Delivery) -> None:
        self.loop = get_running_loop()
        self.name = job.name
        self.timeout = job.options.timeout
        self.total = job.total()
        self.limit = job.options.limit
        self.buffersize = job.options.buffersize
        self.delivery = delivery
        self._expect, self._put, self._takes_late = delivery.expect, delivery.put, delivery.takes_late
        self.failures = Failures(job)
        self.read = 0
        self.finished = 0
        self.taken = 0
        self.exhausted = False
        self.stopped = False  # no further call starts, and those that run have been cancelled
        self.late: TimeoutError | None = None
        self.running: dict[Future[Any], tuple[int, Inputs]] = {}
        self.waiting: deque[tuple[int, Inputs]] = deque()
        self.reader: Task[Any] | None = None  # waits for an async input, and is to be interrupted by a failure
        self.interrupted = False
        self._context = job.context
        self._create = _creator(self.loop, self.name)
        self._queued = None if _is_eager(self.loop) else QueuedPace(self.loop)
        self.pace: EagerPace | QueuedPace = self._queued or EagerPace()
        self._make: Callable[..., Coroutine[Any, Any, Any]] = _coroutine_of(job.function, job.operation)
        self._waiters: list[Future[None]] = []
        self._room: Future[None] | None = None
        self._wake_at = 0
        self._pumping = False
        self.rate = job.options.rate
        self._place: pacing.Place | None = None  # in the line for `rate`
        self._due: TimerHandle | None = None
        self._timer: TimerHandle | None = None
        self._progress = job.progress
        self._look: TimerHandle | None = None
        if self._progress is not None:
            self._show(self._progress)
        if job.deadline != inf:
            remaining = job.deadline - pacing.clock.now()
            if remaining > 0:
                self._timer = self.loop.call_later(remaining, self._time_out)
            else:
                self._time_out()

    def admit(self, inputs: Inputs) -> tuple[int, Inputs]:
        """Number a call whose input has just been read."""
        index = self.read
        self.read += 1
        self._expect()
        return index, inputs

    def start(self, index: int, inputs: Inputs) -> None:
        """Start a call, in a task and a copy of the caller's context of its own.

        What an eager start calls has this frame behind it, and `_feed`'s or whichever: an exception that is kept keeps them. So
        all of these let go of what they know before they end.
        """
        task: Future[Any] | None = None
        try:
            if self._queued is not None:
                self._queued.count()
            task = self._create(self._make(*inputs), self._context.copy())
            if task.done():
                self._end(task, index, inputs)
            else:
                self.running[task] = index, inputs
                task.add_done_callback(self._done, context=self._context)
        except BaseException as error:  # noqa: BLE001  a function that refuses its arguments, a factory that refuses the task
            self._fail(index, inputs, error)
        finally:
            del self, task, inputs

    def begin(self, inputs: Inputs) -> None:
        """Start a call now, if `limit` and the time slice allow, or as soon as they do."""
        try:
            if self.rate is None and len(self.running) < self.limit and not self.waiting and not self.pace.spent():
                self.start(*self.admit(inputs))
                return
            self.waiting.append(self.admit(inputs))
            if len(self.running) < self.limit and not self._pumping:
                self._pump_soon()
        finally:
            del self, inputs  # see `start`

    def has_room(self) -> bool:
        """Whether one more input may be read ahead of the consumer."""
        return self.read - self.taken < self.buffersize and not self.exhausted and not self.stopped

    def take(self) -> Any:
        """Hand out a result that is ready, which makes room."""
        self.taken += 1
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return self.delivery.take()

    async def wait_for_room(self) -> None:
        """Wait until a result has been taken."""
        self._room = self.loop.create_future()
        await self._room

    def is_over(self) -> bool:
        """Whether nothing is running and nothing will come."""
        if self.stopped:
            return not self.running and self.reader is None
        return self.exhausted and self.finished == self.read

    def pump(self) -> None:
        """Start the calls that wait, as many as `limit` and the time slice allow; the rest in a later turn of the loop."""
        self._pumping = False
        self.pace.open()
        try:
            while self.waiting and len(self.running) < self.limit and not self.stopped:
                if self.pace.spent():
                    self._pump_soon()
                    break
                if self.rate is not None and not self._is_due(self.rate):
                    break
                self.start(*self.waiting.popleft())
            self.pace.close()
            if self.rate is not None and not self.waiting:
                self.notify()  # `_feed` waits for its call to be started
        finally:
            del self  # see `start`

    def _is_due(self, rate: Rate) -> bool:
        """Take a start from `rate`, if one is due; else `pump` is called when it is."""
        if self._due is not None:
            self._due.cancel()
        if self._place is None:
            pump = partial(self.loop.call_soon_threadsafe, self.pump, context=self._context)
            self._place = rate.queue(pump, self.loop.is_running)
        delay = self._place.claim()
        if delay > 0:
            self._due = None if delay == inf else self.loop.call_later(delay, self.pump, context=self._context)
            return False
        self._place = None
        return True

    def stop(self) -> None:
        """No further call starts; running ones are cancelled, once: a second time would interrupt their clean-up."""
        if self.stopped:
            return
        self.stopped = True
        self.waiting.clear()
        for timer in (self._timer, self._due, self._look):
            if timer is not None:
                timer.cancel()
        if self._place is not None:
            self._place.leave()
        self.cancel()
        if self.reader is not None and not self.interrupted:
            self.interrupted = self.reader.cancel()
        self.notify()

    def cancel(self) -> None:
        """Cancel the running calls, once more if they have been already."""
        for task in list(self.running):
            task.cancel()

    def give_up(self, error: BaseException, index: int | None = None, inputs: Inputs | None = None) -> None:
        """Stop, for this reason: a call's, or, without inputs, the input's."""
        self.failures.add(index, inputs, error)
        self.stop()

    async def wait(self, running: int) -> None:
        """Wait until at most so many calls are running, a result is ready, or the run is stopped. May return before."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        self._wake_at = running
        self.pace.close()
        try:
            await waiter
        finally:
            self.pace.open()
            if waiter in self._waiters:  # cancelled
                self._waiters.remove(waiter)

    async def turn(self) -> None:
        """Let the loop turn once."""
        self.pace.close()
        try:
            await sleep(0)
        finally:
            self.pace.open()

    def notify(self) -> None:
        """Wake whoever waits."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def is_mine(self) -> bool:
        """Whether the current task is one of the calls, or reads their inputs."""
        task = current_task()
        return task in self.running or task is self.reader

    async def drain(self, cancelled: CancelledError | None = None) -> CancelledError | None:
        """Wait for cancelled calls, however long they take. If this task is cancelled meanwhile, pass that on and return it."""
        while self.running or self.reader is not None:
            try:
                await self.wait(0)
            except CancelledError as again:
                cancelled = again
                self.cancel()
        return cancelled

    def outcome(self) -> BaseException | None:
        """What the run has to raise, now that nothing is running any more."""
        if self.late is not None:  # then nothing had failed before
            self.failures.note_on(self.late)
            return self.late
        return self.failures.first() if self.failures else None

    def abandon(self) -> None:
        """As `stop`, where nobody is left to see how it ends."""
        self.stop()
        self.close_bar()

    def close_bar(self) -> Exception | None:
        """The run has ended, in whatever way. What the bar raises is returned."""
        return None if self._progress is None else self._progress.close(self.finished, self.failures.caught)

    def _show(self, progress: Progress) -> None:
        self._look = self.loop.call_later(INTERVAL, self._look_again, progress, context=self._context)
        progress.show(self.finished, self.failures.caught)

    def _look_again(self, progress: Progress) -> None:
        try:
            self._show(progress)
        except BaseException as error:  # noqa: BLE001  the bar's: the loop would only report it
            self.give_up(error)

    def _done(self, task: Future[Any]) -> None:
        try:
            self._end(task, *self.running.pop(task))
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the loop would only report it
            self.give_up(error)
            self.notify()
        if self.waiting and not self._pumping:
            self._pump_soon()

    def _pump_soon(self) -> None:
        self._pumping = True
        self.loop.call_soon(self.pump, context=self._context)

    def _end(self, task: Future[Any], index: int, inputs: Inputs) -> None:
        try:
            value = task.result()
        except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
            self._fail(index, inputs, error)
            return
        self.finished += 1
        if not self.stopped or self._takes_late:
            self._put(index, inputs, value)
        if self._waiters:
            self._wake()

    def _wake(self) -> None:
        if len(self.running) <= self._wake_at or self.delivery.ready():
            self.notify()

    def _fail(self, index: int, inputs: Inputs, error: BaseException) -> None:
        error = self.failures.seen(error)
        if self.failures.catches(error):
            self.finished += 1
            self.failures.caught += 1
            self._put(index, inputs, error)
            self.loop.call_soon(self.failures.forget)  # when all tasks that have ended in this turn have been seen
        elif not (self.stopped and isinstance(error, CancelledError)):  # else it was us who cancelled it
            self.finished += 1
            self.give_up(error, index, inputs)
        self._wake()

    def _time_out(self) -> None:
        if not self.stopped and not (self.exhausted and self.finished == self.read) and self.finished != self.total:
            self.late = timed_out(self.name, self.timeout, self.finished, self.read, self.total)
            self.stop()


async def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs. The inputs are read here, in the task that awaits the map."""
    delivery = AtTheEnd()
    run = TaskRun(job, delivery)
    cancelled: CancelledError | None = None
    outcome: BaseException | None = None
    fault: Exception | None = None
    try:
        try:
            if job.is_async():
                await _feed_async(run, job.async_inputs())
            else:
                await _feed(run, job.inputs())
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
        return delivery.results
    finally:
        del job, delivery, run, cancelled, outcome, fault  # see `TaskRun.start`


async def _feed(run: TaskRun, source: Iterator[Inputs]) -> None:
    """Start a call for each input, as `limit` allows."""
    running, limit, pace, admit, start = run.running, run.limit, run.pace, run.admit, run.start
    inputs: Inputs | None = None
    pace.open()
    try:
        while not run.stopped:
            if len(running) >= limit or pace.spent():
                await _turn(run)
                continue
            inputs = next(source, None)
            if inputs is None:
                run.exhausted = True
                break
            if run.rate is None:
                start(*admit(inputs))
            else:
                await _start_when_due(run, inputs)
        pace.close()
    finally:
        del run, source, running, admit, start, inputs  # see `TaskRun.start`


async def _feed_async(run: TaskRun, source: AsyncIterator[Inputs]) -> None:
    """As `_feed`, where reading may take its time: a failure interrupts it, by cancelling this task and taking that back."""
    task = current_task()
    assert task is not None  # we are in a coroutine
    cancellations = task.cancelling()
    inputs: Inputs | None = None
    run.pace.open()
    try:
        while not run.stopped:
            if len(run.running) >= run.limit or run.pace.spent():
                await _turn(run)
                continue
            run.reader = task
            try:
                inputs = await anext(source, None)
            except CancelledError:
                if not run.interrupted:
                    raise
                inputs = None
            finally:
                run.reader = None
                # Of two cancellations, ours and another's, one exception has come: what is left after ours is the other's.
                if run.interrupted and task.uncancel() > cancellations:
                    raise CancelledError
            if inputs is None:
                run.exhausted = not run.interrupted
                break
            if run.rate is not None:
                await _start_when_due(run, inputs)
            elif not run.stopped:
                run.start(*run.admit(inputs))
        run.pace.close()
    finally:
        del run, source, task, inputs  # see `TaskRun.start`


async def _start_when_due(run: TaskRun, inputs: Inputs) -> None:
    """Start a call as soon as `rate` allows."""
    run.begin(inputs)
    while run.waiting and not run.stopped:
        await run.wait(-1)


async def _turn(run: TaskRun) -> None:
    """Let the loop turn; where `limit` is reached, until a call has ended."""
    if len(run.running) >= run.limit:
        await run.wait(run.limit - 1)
    else:
        await run.turn()


def _is_eager(loop: AbstractEventLoop) -> bool:
    return sys.version_info >= (3, 12) and loop.get_task_factory() is None


def _creator(loop: AbstractEventLoop, name: str) -> Callable[[Coroutine[Any, Any, Any], Context], Future[Any]]:
    """What makes the task of a call, as the loop itself would, but eager where Python can and the loop has no factory."""

    def by_factory(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        try:
            return context.run(loop.create_task, coroutine)  # not every factory takes a context or a name
        except BaseException:
            coroutine.close()
            raise

    def queued(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        return Task(coroutine, loop=loop, name=name, context=context)

    def eager(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        # In two steps, for there to be a task also when a KeyboardInterrupt comes out of its eager start: that is the task's
        # outcome, and asyncio complains of one whose outcome nobody asks for.
        task: Task[Any] = new(Task)
        try:
            initialize(task, coroutine, loop=loop, name=name, context=context, eager_start=True)
            return task
        except (KeyboardInterrupt, SystemExit):
            if not task.done():
                raise
            return task
        finally:
            del task, coroutine, context  # see `TaskRun.start`

    new: Any = Task.__new__
    initialize: Any = getattr(Task, "__init__")  # noqa: B009  of an overloaded `__init__` pyright knows no type
    if loop.get_task_factory() is not None:
        return by_factory
    return eager if _is_eager(loop) else queued


def _coroutine_of(function: Callable[..., Any], operation: Operation) -> Callable[..., Coroutine[Any, Any, Any]]:
    """What makes the coroutine of a call. Making it runs nobody's code: that belongs into the call's own task and context."""
    inner = function.__func__ if inspect.ismethod(function) else function
    if inspect.isfunction(inner) and inspect.iscoroutinefunction(inner) and inner.__code__.co_flags & inspect.CO_COROUTINE:
        return function

    async def call(*inputs: Any) -> Any:
        result = function(*inputs)
        if not inspect.isawaitable(result):
            raise plain_in_asyncio(function, operation)
        return await result

    return call
