"""The calls of one map or stream as asyncio tasks: which wait for their start, which run, what has become of them.

A `TaskRun` never reads inputs: those who do, `run_map` and `AsyncPull`, are the caller's side. Everything belongs to one event
loop and runs in its thread, so there is nothing to lock.
"""

from asyncio import CancelledError, Future, Task, TimerHandle, current_task, get_running_loop, sleep
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any

from concurrency import pacing
from concurrency._calls import END, Inputs, Job
from concurrency._delivery import Delivery
from concurrency._outcomes import Failures, timed_out
from concurrency._pace import EagerPace, QueuedPace, RatePace
from concurrency._progress import INTERVAL, Progress
from concurrency._spawn import coroutine_of, creator, is_eager

Call = tuple[int, Inputs]
"""A call's number and its inputs."""


class TaskRun:
    """What the tasks of one map or stream share."""

    def __init__(self, job: Job, delivery: Delivery) -> None:
        self.loop = get_running_loop()
        self.name = job.name
        self.limit = job.options.limit
        self.failures = Failures(job)
        self.read = 0
        self.finished = 0
        self.exhausted = False
        self.stopped = False  # no further call starts, and those that run have been cancelled
        self.running: dict[Future[Any], Call] = {}
        self.waiting: deque[Call] = deque()  # read, and not yet started
        self.reader: Task[Any] | None = None  # waits for an async input, and is to be interrupted by a failure
        self.interrupted = False
        self._context = job.context
        self._copy = job.context.copy
        self._create = creator(self.loop, self.name)
        self._make: Callable[..., Coroutine[Any, Any, Any]] = coroutine_of(job.function, job.operation)
        self._is_single = job.is_single
        self._observer = job.observer
        self._observed = None if job.observer is None else job.observer.a_calling(self._make)
        self._fresh: list[Future[Any]] = []  # started, and not looked at yet: `yielding` or `_watch` will have that done
        self._is_watched = False
        # With a limit of 1 no two first steps are queued together, so the clock tells there as well.
        queued = QueuedPace(self.loop) if not is_eager(self.loop) and self.limit > 1 else None
        self.pace: EagerPace | QueuedPace = EagerPace() if queued is None else queued
        self._starts = None if queued is None else queued.starts
        rate = job.options.rate
        self.rate = None if rate is None else RatePace(rate, self.loop, self._context)
        self._pumping = False
        self._starting = False  # a call is being started: where that is eager, what runs now is its first step
        self._slots, self._put, self._ready = delivery.slots, delivery.put, delivery.ready
        self._waiters: list[Future[None]] = []
        self._wake_at = 0
        self._late: TimeoutError | None = None
        self._timeout = job.options.timeout
        self._total = job.total()
        self._timer: TimerHandle | None = None
        self._progress = job.progress
        self._bar: TimerHandle | None = None
        self._loop_end: AsyncGenerator[None, None] | None = None
        if self._progress is not None:
            self._show(self._progress)
        if job.deadline != inf:
            remaining = job.deadline - pacing.clock.now()
            if remaining > 0:
                self._timer = self.loop.call_later(remaining, self._time_out)
            else:
                self._time_out()

    # From inputs to calls

    def read_by(self, reader: Task[Any]) -> None:
        """Have this task interrupted by a failure. An eager task factory may have had it meet one already, or its end."""
        if not reader.done():
            self.reader = reader
            reader.add_done_callback(self._has_read, context=self._context)
            self.interrupted = self.stopped and reader.cancel()

    def _has_read(self, _: Task[Any]) -> None:
        """No reader is left. It cannot say so itself: cancelled before its first step, it never runs."""
        self.reader = None
        self.notify()

    def begin(self, inputs: Inputs) -> None:
        """Number the call for inputs that have just been read, and start it, or put it in line for as long as it has to wait.

        Whether the loop has to turn first is for the caller to ask, before reading. It need not call `yielding` after that.
        """
        try:
            if len(self.running) < self.limit:
                if not self.waiting and self.rate is None:
                    self.start(inputs)
                    if self._fresh and not self._is_watched:
                        self.loop.call_soon(self._watch, context=self._context)
                        self._is_watched = True
                    return
                self._pump_soon()
            index = self.read
            self.read = index + 1
            if self._observer is not None:
                self._observer.waits(index)
            self.waiting.append((index, inputs))
        finally:
            del self, inputs  # see `start`

    def start(self, inputs: Inputs, index: int = -1) -> None:
        """Start a call, in a task and a copy of the caller's context of its own; number it, if it has no number yet.

        Before the loop turns, `yielding` is to be called, or `wait` or `turn`, which do so; also after an exception.

        What an eager start calls has this frame behind it, and all that led here: an exception that is kept keeps them. So all
        of these let go of what they know before they end.
        """
        if index < 0:
            index = self.read
            self.read = index + 1
        task: Future[Any] | None = None
        coroutine: Coroutine[Any, Any, Any] | None = None
        value: Any = None
        outer = self._starting
        self._starting = True
        try:
            if self._starts is not None:
                self._starts()
            if self._observed is not None:
                coroutine = self._observed(index, inputs)
            else:
                coroutine = self._make(inputs) if self._is_single else self._make(*inputs)
            task = self._create(coroutine, self._copy())
            if task.done():
                # As `_settle` does: to call it would cost a tenth of such a call.
                value = task.result()
                if self._slots is not None:
                    self._slots[index] = value
                elif not self.stopped:
                    self._put(index, inputs, value)
                self.finished += 1
                if self._waiters:
                    self._wake()
            else:
                self.running[task] = index, inputs
                self._fresh.append(task)
                if self.stopped:  # by its own first step
                    task.cancel()
        except BaseException as error:  # noqa: BLE001  a function that refuses its arguments, a factory that refuses the task
            self._fail(index, inputs, error)
        finally:
            self._starting = outer
            del self, task, coroutine, inputs, value

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self.loop.call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        """Start the calls that wait, as many as `limit` and the time slice allow; the rest in a later turn of the loop."""
        self._pumping = False
        self.pace.open()
        inputs: Inputs = None
        try:
            while self.waiting and len(self.running) < self.limit and not self.stopped:
                if self.pace.spent():
                    self._pump_soon()
                    break
                if self.rate is not None and not self.rate.is_due(self._pump):
                    break
                index, inputs = self.waiting.popleft()
                self.start(inputs, index)
            if self.rate is not None and not self.waiting:
                self.notify()  # `run_map` waits for its call to be started
        except BaseException as error:  # noqa: BLE001  as in `_done`
            self.give_up(error)
        finally:
            self.yielding()
            del self, inputs  # see `start`

    # From calls to outcomes

    def yielding(self) -> None:
        """The loop is about to turn: have the calls just started looked at behind the steps that they take in that turn."""
        self.pace.close()
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self.loop.call_soon(self._look, fresh, True, context=self._context)

    def _watch(self) -> None:
        """The same where whoever had calls started has not called `yielding`: they have taken these steps by now.

        How long these took is not measured then. That matters where a turn is full, and who finds it full calls `turn`.
        """
        self._is_watched = False
        fresh, self._fresh = self._fresh, []
        self._look(fresh, True)

    def _look(self, tasks: list[Future[Any]], is_first: bool) -> None:
        """Settle the calls that have ended, and have those looked at a second time that have not.

        Most calls that suspend no more than once have ended by then. A callback for each would cost as much again, and come a
        turn of the loop later.
        """
        running: list[Future[Any]] = []
        for task in tasks:
            if task.done():
                self._done(task)
            elif is_first:
                running.append(task)
            else:
                task.add_done_callback(self._done, context=self._context)
        if running:
            self.loop.call_soon(self._look, running, False, context=self._context)

    def _done(self, task: Future[Any]) -> None:
        try:
            index, inputs = self.running.pop(task)
            try:
                value = task.result()
            except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                self._fail(index, inputs, error)
            else:
                self._settle(index, inputs, value)
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the loop would only report it
            self.give_up(error)
            self.notify()
        if self.waiting:
            self._pump_soon()

    def _settle(self, index: int, inputs: Inputs, value: Any) -> None:
        """A call has ended with this result."""
        if self._slots is not None:
            self._slots[index] = value
        elif not self.stopped:  # what has no slots takes nothing late
            self._put(index, inputs, value)
        self.finished += 1
        if self._waiters:
            self._wake()

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

    def is_over(self) -> bool:
        """Whether nothing is running and nothing will come."""
        if self.stopped:
            return not self.running and self.reader is None and not self._starting
        return self.exhausted and self.finished == self.read

    def outcome(self) -> BaseException | None:
        """What the run has to raise, now that nothing is running any more."""
        if self._late is not None:  # then nothing had failed before
            self.failures.note_on(self._late)
            return self._late
        return self.failures.first() if self.failures else None

    # The end

    def give_up(self, error: BaseException, index: int | None = None, inputs: Inputs = END) -> None:
        """Stop, for this reason: a call's, or, without inputs, the input's."""
        self.failures.add(index, inputs, error)
        self.stop()

    def stop(self) -> None:
        """No further call starts; running ones are cancelled, once: a second time would interrupt their clean-up."""
        if self.stopped:
            return
        self.stopped = True
        self.waiting.clear()
        for timer in (self._timer, self._bar):
            if timer is not None:
                timer.cancel()
        if self.rate is not None:
            self.rate.leave()
        self._cancel()
        if self.reader is not None and not self.interrupted:
            self.interrupted = self.reader.cancel()
        self.notify()

    def abandon(self) -> None:
        """As `stop`, where nobody is left to see how it ends."""
        self.stop()
        self.close_bar()

    async def drain(self, cancelled: CancelledError | None = None) -> CancelledError | None:
        """Wait for cancelled calls, however long they take. If this task is cancelled meanwhile, pass that on and return it."""
        while self.running or self.reader is not None:
            try:
                await self.wait(0)
            except CancelledError as again:
                cancelled = again
                self._cancel()
        return cancelled

    def is_mine(self) -> bool:
        """Whether the current task is one of the calls, or reads their inputs."""
        task = current_task()
        return task in self.running or task is self.reader or self._starting

    def _cancel(self) -> None:
        for task in list(self.running):
            task.cancel()

    def _time_out(self) -> None:
        if not self.stopped and not self.is_over() and self.finished != self._total:
            self._late = timed_out(self.name, self._timeout, self.finished, self.read, self._total)
            self.stop()

    # Waiting

    async def wait(self, running: int) -> None:
        """Wait until at most so many calls are running, a result is ready, or the run is stopped. May return before."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        self._wake_at = running
        self.yielding()
        try:
            await waiter
        finally:
            self.pace.open()
            if waiter in self._waiters:  # cancelled
                self._waiters.remove(waiter)

    async def turn(self) -> None:
        """Let the loop turn once."""
        self.yielding()
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

    def _wake(self) -> None:
        if len(self.running) <= self._wake_at or self._ready():
            self.notify()

    # The end of the loop, and the bar

    def end_with_loop(self) -> None:
        """Have the run end with its loop, wherever its consumer is then: else calls would be left behind, and a bar be open."""
        self._loop_end = self._until_loop_ends()
        with suppress(StopIteration):  # it has yielded
            anext(self._loop_end).send(None)

    async def _until_loop_ends(self) -> AsyncGenerator[None, None]:
        """What ends a loop cancels the tasks that it finds, and waits for these alone. A call may begin after that.

        One has ended, say, and made room for another, which was waiting in the loop for its turn. But then the loop closes the
        async generators that were begun in it, and waits for them as well.
        """
        try:
            yield
        finally:
            if self._loop_end is not None:  # else it is `close_bar` that closes it
                self._loop_end = None
                self.abandon()
                await self.drain()

    def close_bar(self) -> Exception | None:
        """The run has ended, in whatever way. What the bar raises is returned."""
        loop_end, self._loop_end = self._loop_end, None
        if loop_end is not None:
            with suppress(StopIteration):  # it has ended
                loop_end.aclose().send(None)
        return None if self._progress is None else self._progress.close(self.finished, self.failures.caught)

    def _show(self, progress: Progress) -> None:
        self._bar = self.loop.call_later(INTERVAL, self._look_again, progress, context=self._context)
        progress.show(self.finished, self.failures.caught)

    def _look_again(self, progress: Progress) -> None:
        try:
            self._show(progress)
        except BaseException as error:  # noqa: BLE001  the bar's: the loop would only report it
            self.give_up(error)
