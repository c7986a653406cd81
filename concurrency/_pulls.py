"""The caller's half of a map or stream on threads or on an executor."""

from collections import deque
from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Any

from concurrency import pacing
from concurrency._calls import END, Inputs, Job
from concurrency._delivery import AtTheEnd
from concurrency._gates import Gate
from concurrency._outcomes import timed_out, traceback_of
from concurrency._progress import INTERVAL, Progress
from concurrency._runs import Run

DRAIN = 64
"""Results taken out of a run at a time: more would save nothing."""


def results_of(pull: "Pull", delivery: AtTheEnd) -> list[Any]:
    """All results of a map."""
    pull.next()
    error = pull.error()
    if error is None:
        return delivery.slots
    del delivery, pull
    try:
        raise error
    finally:
        del error  # its traceback holds this frame, which must not hold it in turn


_READ, _PASS, _HAND_OUT, _WAIT, _END, _OVER = range(6)
"""What a caller does next: read inputs, let one through the gate, hand out what it has taken, wait, end the run, or nothing."""


class Pull:
    """Reads inputs, hands out results and ends the run. It alone holds the iterator of inputs: no worker advances or drops it.

    Several threads may pull at once. The lock of the run guards the fields here as well; `_reading` makes sure that one thread
    at a time is in the iterator of inputs, `_ending` that one ends the run and the others wait for it.

    Each round of `next` decides under the lock what to do, and does it without. Who decides to wait hangs up a bell in the same
    step, and whoever changes something rings all bells under the lock: so no change goes unheard.
    """

    def __init__(self, job: Job, run: Run, window: float = inf) -> None:
        rate = job.options.rate
        self._run: Run | None = run
        self._job: Job | None = job
        self._name = job.name
        self._timeout = job.options.timeout
        self._deadline = job.deadline
        self._gate = None if rate is None else Gate(rate, run)
        self._total = job.total()
        self._window = window
        # Inputs are read for a quarter of the window at a time while there is something to hand out: the other calls of the
        # window are ready, running or waiting, and to wake a worker for each would cost more than many a call. For trivial
        # calls none is woken before the consumer needs their results.
        self._step = 1 if rate is not None or window == inf else max(1, window // 4)
        self._read_at = -inf  # how many results are taken when it is time to read again
        self._source: Iterator[Inputs] | None = None
        self._reading = False
        self._present = 0  # threads that wait for a start under `rate`, or might
        self._exhausted = False
        self.ready: deque[Any] = deque()  # results on their way to consumers, who take them without the lock
        self._drained = 0  # how many were put there
        self._in_hand = 0  # of these, those that are handed out as soon as inputs have been read
        self._progress = job.progress
        # Whether it waits for calls alone; and whether for nothing but room for more inputs, as a map on threads does, which
        # alone reads no further than `ahead`: then it need not go round to find out what to do next.
        self._is_timeless = self._deadline == inf and rate is None and job.progress is None
        self._is_plain = self._is_timeless and run.ahead < inf
        self._ending = False
        self._is_late = False  # why it was ended
        self._over = False
        self._was_interrupted = False
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None

    def next(self) -> Any:
        """The next result, when none is in `ready`, or `END`. Whether that is the end of the inputs or a failure, `error` says.

        A result that has been handed out makes room for inputs, which are read before the next is handed out: so calls go on
        under a slow consumer, and never more of them than it allows for.
        """
        run, gate, result = self._run, self._gate, END
        if run is None:
            return END
        try:
            with run.lock:
                self._present += gate is not None
                result = self._take(run)
                if result is not END and self._taken <= self._read_at:
                    self._made_room(run)
                    return result
                self._in_hand += result is not END
            return self._advance(run, result)
        except KeyboardInterrupt as interrupt:
            self._interrupt(run, interrupt)
            raise
        except BaseException as fault:  # a bar's, or one of ours
            with run.lock:
                run.give_up(fault)
            self.close()
            raise
        finally:
            if gate is not None:
                self._leave_line(run, gate)
            del self, run, gate, result  # the frames of an input that fails hold this one

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
        self.ready.clear()
        if run is None:
            return
        try:
            run.stop()
            while True:
                with run.lock:
                    if run.is_worker():
                        return  # it would wait for itself; whoever comes from outside ends the run
                    if not run.running():
                        is_ended_elsewhere, self._ending = self._ending, True
                        break
                    bell = run.hang_bell()
                run.wait(bell)
            if not is_ended_elsewhere:
                self._end(run)
        except KeyboardInterrupt as interrupt:
            self._interrupt(run, interrupt)
            raise

    def abandon(self) -> None:
        """As `close`, without waiting and without any lock: for the garbage collector."""
        run, progress = self._run, self._progress
        if run is not None:
            run.stopped = True
            if progress is not None:
                progress.abandon(run.count(), run.failures.caught)

    def _advance(self, run: Run, result: Any) -> Any:
        """Read, start and wait, until there is something to hand out: at once, if a result has been taken already."""
        gate = self._gate
        try:
            while True:
                progress = self._progress
                if progress is not None:
                    self._show(run, progress)  # opens the bar before any call starts: Ctrl-C from one would tear it
                bell = None
                with run.lock:
                    # Both before the look at what is ready: a worker may end a call without the lock at any time.
                    ended, has_ended = run.count(), self._has_ended(run)
                    if result is END:
                        result = self._take(run)
                        self._in_hand += result is not END
                    step, room = self._decide(run, result is not END, has_ended)
                    if step == _WAIT:
                        bell = run.hang_bell()
                        if run.count() != ended:  # by a worker that may not have seen the bell
                            run.take_down(bell)
                            continue
                if step == _READ:
                    self._read_on(run, room)
                elif step == _PASS and gate is not None:
                    self._pass(run, gate)
                elif step == _END:
                    self._end(run)
                    return END
                elif step == _OVER:
                    return END
                if result is not END:
                    with run.lock:
                        self._in_hand -= 1
                        self._read_at = self._next_reading(run)
                        self._made_room(run)
                    return result
                if bell is not None:
                    run.wait(bell, inf if self._is_timeless else self._next_look(run))
        finally:
            del self, run, gate, result  # the frames of an input that fails hold this one

    def _decide(self, run: Run, has_result: bool, has_ended: bool) -> tuple[int, float]:
        """What to do next, and how many inputs to read. With the lock."""
        late = self._deadline != inf and pacing.clock.now() >= self._deadline
        if not (late or self._reading or run.stopped):
            if self._gate is not None and self._gate.may_open():
                self._reading = True
                return _PASS, 0
            room = self._room(run, has_result)
            if room > 0:
                self._reading = True
                return _READ, room
        if has_result:
            return _HAND_OUT, 0
        if self._over:
            return _OVER, 0
        if not self._ending and (late or has_ended):
            self._ending, self._is_late = True, late
            return _END, 0
        return _WAIT, 0

    @property
    def _taken(self) -> int:
        """How many results consumers have taken. With the lock."""
        return self._drained - len(self.ready) - self._in_hand

    def _take(self, run: Run) -> Any:
        """The next result, or `END`; and have more in `ready`, up to where it is time to read again. With the lock.

        Other consumers may take from there meanwhile, without the lock. What they have taken counts as taken at once.
        """
        ready, delivery = self.ready, run.delivery
        while ready or delivery.ready():
            if not ready:
                self._drained += delivery.drain(ready, int(max(1, min(self._read_at - self._taken, DRAIN))))
            try:
                return ready.popleft()
            except IndexError:  # another consumer was faster
                pass
        return END

    def _made_room(self, run: Run) -> None:
        """A result goes out, and its consumer may not come again: one that waits is to read in its place. With the lock."""
        if run.watched:
            run.notify()

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        return job.inputs() if job.observer is None else job.observer.reading(job.inputs())

    def _room(self, run: Run, has_result: bool) -> float:
        """How many inputs may be read, while a result waits for that to be done, or none does. With the lock."""
        if self._exhausted or (self._gate is not None and self._gate.inputs is not END):
            return 0
        ahead = run.ahead - run.read + run.count()
        return ahead if self._window == inf else min(ahead, self._window - run.read + self._taken)

    def _read_on(self, run: Run, room: float) -> None:
        """Read inputs: for a plain map all, since there is nothing else to do meanwhile."""
        try:
            self._read(run, room)
            while self._is_plain and not (self._exhausted or run.stopped):
                self._read(run, run.await_room())
        finally:
            del self, run  # the frames of an input that fails hold this one

    def _read(self, run: Run, room: float) -> None:
        """Read inputs, one after the other, and have their calls started. By the thread that has set `_reading`."""
        inputs: Inputs = None
        source: Iterator[Inputs] | None = None
        try:
            if self._source is None and self._job is not None:
                self._source, self._job = self._inputs(self._job), None
            source = self._source
            if source is None:  # pragma: no cover  another consumer has been interrupted in between
                pass
            elif self._gate is None:
                self._exhausted = run.admit(source, room)
            else:
                inputs = next(source, END)
                if inputs is END:
                    self._exhausted = True
                else:
                    with run.lock:
                        self._gate.hold(inputs)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001  whatever the input raises ends the run as a failing call does
            error = run.failures.seen(raised)
            with run.lock:
                run.give_up(error, index=run.read)
            del error
        finally:
            self._done_reading(run)
            del self, run, source, inputs  # the frame of an input that fails holds this one

    def _done_reading(self, run: Run) -> None:
        with run.lock:
            self._reading = False
            run.exhausted = run.exhausted or self._exhausted
            run.notify()  # another consumer may be the one to read on

    def _next_reading(self, run: Run) -> float:
        """How many results are to be taken before inputs are read again. With the lock."""
        if self._gate is not None or self._progress is not None:
            return -inf
        if self._exhausted:
            return inf
        return run.read - self._window + (self._window if run.is_trivial() else self._step)

    def _pass(self, run: Run, gate: Gate) -> None:
        """Start the call that waits for `rate`, if it is due. By the thread that has set `_reading`."""
        try:
            inputs = gate.ask()
            if inputs is not END:
                run.admit(iter((inputs,)), 1)
        finally:
            self._done_reading(run)

    def _has_ended(self, run: Run) -> bool:
        if run.stopped:
            return not run.running()
        return self._exhausted and run.has_ended() and (self._gate is None or self._gate.inputs is END)

    def _show(self, run: Run, progress: Progress) -> None:
        """Bring the bar up to date, if it is time: of several consumers one draws."""
        with run.lock:
            if pacing.clock.now() < progress.due:
                return
            progress.due = pacing.clock.now() + INTERVAL
            finished, failed = run.count(), run.failures.caught
        progress.show(finished, failed)

    def _next_look(self, run: Run) -> float:
        """When there will be something to do though nothing has changed."""
        gate, progress = self._gate, self._progress  # another consumer may be ending the run
        due = inf if run.stopped or gate is None or self._reading else gate.due
        return min(self._deadline, due, inf if progress is None else progress.due)

    def _leave_line(self, run: Run, gate: Gate) -> None:
        with run.lock:
            self._present -= 1
            is_last = not self._present
            run.notify()  # another consumer looks anew when the start is due
        if is_last and gate.is_in_line():
            gate.leave()

    def _end(self, run: Run) -> None:
        """Give everything back, and keep why. Only the thread that has set `_ending` comes here."""
        run.stopped = True
        with run.lock:
            is_all_read = self._exhausted and (self._gate is None or self._gate.inputs is END)
            complete = run.count() == (run.read if is_all_read else self._total)
        # Only a timeout leaves calls behind. Else none is running, but a worker that came for nothing may not have gone yet.
        run.leave(wait=not self._is_late)
        if run.failures:
            self._error = run.failures.first()
        elif self._is_late and not complete:
            self._error = timed_out(self._name, self._timeout, run.count(), run.read, self._total)
        self._over_with(run)

    def _interrupt(self, run: Run, interrupt: KeyboardInterrupt) -> None:
        """Ctrl-C, in our code or in the input's: at once, so the running calls are left to end in the background."""
        run.stopped = self._ending = self._was_interrupted = True
        self.ready.clear()
        run.leave(wait=False)
        run.failures.note_on(interrupt)
        self._over_with(run)

    def _over_with(self, run: Run) -> None:
        progress, self._progress = self._progress, None
        fault = None if progress is None else progress.close(run.count(), run.failures.caught)
        if self._error is None:
            self._error = fault
        self._traceback = traceback_of(self._error)
        self._run = self._source = self._job = self._gate = None
        with run.lock:
            self._over = True
            run.notify()
