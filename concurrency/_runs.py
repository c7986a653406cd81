"""What one map or stream on threads or on an executor is made of, whatever runs its calls.

A `Run` is what its caller and its workers share. A `Pull` is the caller's half: it alone holds the iterator of inputs, so that
no worker can advance it, nor be the one that drops it.
"""

from collections.abc import Iterator
from functools import partial
from math import inf
from threading import Condition, Lock
from types import TracebackType
from typing import Any

from concurrency import pacing
from concurrency._calls import Inputs, Job
from concurrency._delivery import END, Delivery
from concurrency._outcomes import Failures, timed_out, traceback_of
from concurrency._progress import INTERVAL, Progress
from concurrency.pacing import Rate


class Run:
    """The calls of one map or stream: how many were read and have ended, what failed, what is ready.

    `lock` guards every field but `stopped`, which the garbage collector may set wherever it happens to run: a lock taken there
    could be one that the interrupted thread holds. The user's code never runs under the lock.
    """

    def __init__(self, job: Job, delivery: Delivery, ahead: float, refill: int) -> None:
        self.function = job.function
        self.context = job.context
        self.operation = job.operation
        self.observer = job.observer
        self.delivery = delivery
        self.failures = Failures(job)
        self.lock = Lock()
        self.changed = Condition(self.lock)
        self.watched = 0  # threads in `wait`
        self._asleep = False  # whether one of them has not been woken yet
        self.ahead = ahead  # how many inputs may be read ahead of the calls that have ended
        self.refill = refill  # when so few are left, the caller is woken to read more
        self.read: int = 0
        self.finished = 0
        self.stopped = False  # no further call may start

    def admit(self, inputs: Inputs) -> bool:
        """Number a call whose input has just been read; whether `start` has something to do now. With the lock."""
        raise NotImplementedError

    def start(self) -> None:
        """What has to be done for calls to start, if anything. Without the lock."""
        raise NotImplementedError

    def running(self) -> bool:
        """Whether a call may still be running. With the lock."""
        raise NotImplementedError

    def is_worker(self) -> bool:
        """Whether the current thread is running a call of this run."""
        return False

    def leave(self, wait: bool) -> None:
        """Give back what was borrowed: after the last call, or, without waiting, while calls are still running."""

    def stop(self) -> None:
        """No further call starts."""
        self.stopped = True
        with self.lock:
            self.notify()

    def wait(self, deadline: float = inf) -> None:
        """Wait for a change, at most until `deadline`. With the lock; returns with it."""
        self._asleep = True
        self.watched += 1
        try:
            if deadline == inf:
                self.changed.wait(pacing.NAP)  # whoever calls this asks again
            else:
                pacing.clock.wait(self.changed, max(deadline - pacing.clock.now(), 0))
        finally:
            self.watched -= 1

    def notify(self) -> None:
        """Wake whoever waits. With the lock."""
        if self._asleep:
            self._asleep = False
            self.changed.notify_all()

    def settle(self, index: int, inputs: Inputs, value: Any) -> None:
        """A call has ended with what stands for it in the result. With the lock."""
        self.finished += 1
        if not self.stopped or self.delivery.takes_late:
            self.delivery.put(index, inputs, value)
        if self._asleep and (self.read - self.finished <= self.refill or self.delivery.ready()):
            self.notify()

    def fail(self, index: int, inputs: Inputs, error: BaseException) -> None:
        """A call has raised. Without the lock, since looking at an exception may run its code."""
        error = self.failures.seen(error)
        caught = self.failures.catches(error)
        with self.lock:
            self.failures.forget()
            if caught:
                self.failures.caught += 1
                self.settle(index, inputs, error)
            else:
                self.finished += 1
                self.give_up(error, index, inputs)

    def give_up(self, error: BaseException, index: int | range | None = None, inputs: Inputs | None = None) -> None:
        """No further call starts, for this reason: a call's, the input's, or, without an index, neither's. With the lock."""
        self.failures.add(index, inputs, error)
        self.stopped = True
        self.notify()


class Pull:
    """The caller's half of a run: it reads inputs, hands out results and ends the run.

    Several threads may pull at once. `run.lock` guards the fields here as well; `_reading` makes sure that one thread at a time
    is in the iterator of inputs, `_ending` that one ends the run and the others wait for it.
    """

    def __init__(self, job: Job, run: Run, window: float) -> None:
        self._run: Run | None = run
        self._job: Job | None = job
        self._name = job.name
        self._timeout = job.options.timeout
        self._deadline = job.deadline
        self._rate = job.options.rate
        self._held: Inputs | None = None  # an input that has been read and waits for `rate` to start its call
        self._place: pacing.Place | None = None
        self._due = inf  # when to ask for the start again
        self._total = job.total()
        self._window = window
        self._source: Iterator[Inputs] | None = None
        self._reading = False
        self._exhausted = False
        self._taken = 0
        self._progress = job.progress
        self._ending = False
        self._over = False
        self._was_interrupted = False
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None

    def next(self) -> Any:  # noqa: PLR0912  one table of what to do next, and what ends it
        """The next result, or `END`. Whether that is the end of the inputs or a failure, `error` says.

        Each result taken makes room for one input, which is read first; more are read only while there is nothing to hand out.
        So the calls in flight keep their number under a slow consumer, and a slow source holds back no buffer of results.
        """
        run, has_read, has_asked = self._run, False, False
        if run is None:
            return END
        try:
            with run.lock:
                while True:
                    late = self._deadline != inf and pacing.clock.now() >= self._deadline
                    ready = run.delivery.ready()
                    if not late and not (has_read and ready) and self._may_read(run):
                        has_read = True
                        self._read(run)
                    elif self._rate is not None and not late and not (has_asked and ready) and self._may_ask(run):
                        has_asked = True
                        self._ask(run, self._rate)
                    elif ready:
                        self._taken += 1
                        return run.delivery.take()
                    elif self._ending:
                        if self._over:
                            return END
                        run.wait()
                    elif late or self._ended(run):
                        self._ending = True
                        break
                    else:
                        run.wait(self._next_look(run))
                    if self._progress is not None:
                        self._show(run, self._progress)
            self._end(run, late)
        except KeyboardInterrupt as interrupt:
            self._interrupt(run, interrupt)
            raise
        except BaseException as fault:  # a bar's, or one of ours
            with run.lock:
                run.give_up(fault)
            self.close()
            raise
        finally:
            if self._place is not None:
                self._leave_line(run)
        return END

    def error(self) -> BaseException | None:
        """What ended the run before its inputs did: each time the same object, with the traceback of its call alone."""
        if self._was_interrupted:
            return KeyboardInterrupt(f"{self._name} has been interrupted")
        if self._error is not None:
            BaseException.with_traceback(self._error, self._traceback)  # whatever the class makes of the method's name
        return self._error

    def close(self) -> None:
        """No further input is read and no further call starts; returns when the running calls have ended."""
        run = self._run
        if run is None:
            return
        try:
            run.stop()
            with run.lock:
                if run.is_worker():
                    return  # it would wait for itself; whoever comes from outside ends the run
                while run.running():
                    run.wait()
                if self._ending:
                    return
                self._ending = True
            self._end(run, late=False)
        except KeyboardInterrupt as interrupt:
            self._interrupt(run, interrupt)
            raise

    def abandon(self) -> None:
        """As `close`, without waiting and without any lock: for the garbage collector."""
        run, progress = self._run, self._progress
        if run is not None:
            run.stopped = True
            if progress is not None:
                progress.abandon(run.finished, run.failures.caught)

    def _may_read(self, run: Run) -> bool:
        return (
            run.read - self._taken < self._window
            and run.read - run.finished < run.ahead
            and not (self._exhausted or self._reading or run.stopped or self._held is not None)
        )

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        return job.inputs() if job.observer is None else job.observer.reading(job.inputs())

    def _ended(self, run: Run) -> bool:
        return not run.running() if run.stopped else self._exhausted and run.finished == run.read and self._held is None

    def _read(self, run: Run) -> None:
        """Read one input, and have its call started. With the lock, but without it wherever code of others runs."""
        self._reading = True
        inputs: Inputs | None = None
        error: BaseException | None = None
        try:
            run.lock.release()  # within: Ctrl-C right after it must find it taken again
            if self._source is None and self._job is not None:
                self._source, self._job = self._inputs(self._job), None
            inputs = None if self._source is None else next(self._source, None)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001  whatever the input raises ends the run as a failing call does
            error = run.failures.seen(raised)
        finally:
            run.lock.acquire()
            self._reading = False
        try:
            if error is not None:
                run.give_up(error, index=run.read)
            elif inputs is None:
                self._exhausted = True
            elif self._rate is not None:
                self._held = inputs
            else:
                self._begin(run, inputs)
            run.notify()  # another consumer may be the one to read on
        finally:
            del self, run, inputs, error  # the frame of an input that fails holds this one

    def _begin(self, run: Run, inputs: Inputs) -> None:
        if run.admit(inputs):
            try:
                run.lock.release()  # within: Ctrl-C right after it must find it taken again
                run.start()
            finally:
                run.lock.acquire()

    def _show(self, run: Run, progress: Progress) -> None:
        """Bring the bar up to date, if it is time. With the lock, but without it while the bar is drawn."""
        if pacing.clock.now() < progress.due:
            return
        progress.due = pacing.clock.now() + INTERVAL  # before the lock is let go: of several consumers one draws
        finished, failed = run.finished, run.failures.caught
        try:
            run.lock.release()  # within: Ctrl-C right after it must find it taken again
            progress.show(finished, failed)
        finally:
            run.lock.acquire()

    def _next_look(self, run: Run) -> float:
        """When there will be something to do though nothing has changed."""
        due = inf if run.stopped else self._due
        return min(self._deadline, due, inf if self._progress is None else self._progress.due)

    def _may_ask(self, run: Run) -> bool:
        return self._held is not None and not (
            self._reading or run.stopped or (self._place is not None and pacing.clock.now() < self._due)
        )

    def _ask(self, run: Run, rate: Rate) -> None:
        """Start the call that waits for `rate`, if it is due; else `_due` tells when to ask again.

        Without the lock: whoever goes from the line calls the next, which may be in another run, under the lock of that.
        """
        # `_due` is set before the lock is let go: a call to the front that comes meanwhile is not to be overwritten.
        place, self._due, self._reading = self._place, inf, True
        try:
            run.lock.release()  # within: Ctrl-C right after it must find it taken again
            if place is None:
                place = rate.queue(partial(self._call_up, run))
            delay = place.claim()
        except BaseException:  # Ctrl-C
            if place is not None:
                place.leave()
            raise
        finally:
            run.lock.acquire()
            self._reading = False
        if delay > 0:
            self._place = place
            self._due = min(self._due, pacing.clock.now() + delay)
            return
        inputs, self._held, self._place, self._due = self._held, None, None, inf
        if inputs is not None:
            self._begin(run, inputs)

    def _call_up(self, run: Run) -> None:
        """The run has come to the front of the line. From any thread."""
        with run.lock:
            self._due = -inf
            run.notify()

    def _leave_line(self, run: Run) -> None:
        """Nobody is there to take a start: leave it to others."""
        with run.lock:
            if self._reading or run.watched:
                run.notify()  # another consumer is there: it looks anew when the start is due
                return
            place, self._place, self._due = self._place, None, inf
            run.notify()
        if place is not None:
            place.leave()

    def _end(self, run: Run, late: bool) -> None:
        """Give everything back, and keep why. Only the thread that has set `_ending` comes here."""
        run.stopped = True
        with run.lock:
            complete = run.finished == (run.read if self._exhausted and self._held is None else self._total)
            quiet = not run.running()
        run.leave(wait=quiet)
        if run.failures:
            self._error = run.failures.first()
        elif late and not complete:
            self._error = timed_out(self._name, self._timeout, run.finished, run.read, self._total)
        self._over_with(run)

    def _interrupt(self, run: Run, interrupt: KeyboardInterrupt) -> None:
        """Ctrl-C, in our code or in the input's: at once, so the running calls are left to end in the background."""
        run.stopped = self._ending = self._was_interrupted = True
        run.leave(wait=False)
        run.failures.note_on(interrupt)
        self._over_with(run)

    def _over_with(self, run: Run) -> None:
        progress, self._progress = self._progress, None
        fault = None if progress is None else progress.close(run.finished, run.failures.caught)
        if self._error is None:
            self._error = fault
        self._traceback = traceback_of(self._error)
        self._run = self._source = self._job = self._held = None
        with run.lock:
            self._over = True
            run.notify()
