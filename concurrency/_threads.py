"""The driver for threads: workers that take calls themselves, so that a call costs no future.

A worker runs calls until none is left. Then it returns to its pool rather than wait for more: nothing here blocks a pool thread
for long, so the interpreter can always end, and an open stream costs no thread.
"""

import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from math import inf
from operator import length_hint
from threading import Lock
from typing import Any

from concurrency import pacing
from concurrency._calls import Inputs, Job, coroutine_in_threads, is_coroutine
from concurrency._delivery import AsCompleted, AtTheEnd, Delivery, InOrder
from concurrency._observing import Numbered, with_number
from concurrency._outcomes import Failures, timed_out
from concurrency._progress import Progress
from concurrency._runs import Pull, Run
from concurrency._workers import Crew, is_ending


def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs."""
    sequence = job.sequence()
    if sequence is not None and job.options.rate is None:
        return _map_sequence(job, sequence)
    delivery = AtTheEnd()
    limit = job.options.limit
    # As many calls wait as run; the caller is woken when none waits any more, so once for `limit` calls. Under a `rate` none
    # waits: when a start is due, it is to be one.
    ahead, refill = (2 * limit, limit) if job.options.rate is None else (limit, limit - 1)
    pull = Pull(job, _ThreadRun(job, delivery, ahead, refill), window=inf)
    del job
    pull.next()
    error = pull.error()
    if error is None:
        return delivery.results
    del delivery, pull
    try:
        raise error
    finally:
        del error  # its traceback holds this frame, which must not hold it in turn


def run_stream(job: Job, delivery: InOrder | AsCompleted) -> Pull:
    """Results as the consumer takes them; nothing starts before that."""
    ahead, refill = (inf, -1) if job.options.rate is None else (job.options.limit, job.options.limit - 1)
    return Pull(job, _ThreadRun(job, delivery, ahead, refill), window=job.options.buffersize)


PATIENCE = 0.0002
"""Seconds that a waiting caller gives one worker to be done with everything, before more are sent for."""


PROBE = 0.05
"""Seconds between two looks of an open stream whether the interpreter is about to end, which waits for its calls then."""

LINGER = 0.01
"""Seconds that a worker without a call waits for one before it returns to its pool, which costs more than a wait does."""


class _ThreadRun(Run):
    """A run on workers, which take the calls that wait.

    Whenever a call waits and `limit` allows another worker, one is on its way: `begin` and every worker that takes a call send
    for the next (`_may_hire`, under the lock), unless one is arriving, and that one will look again when it takes its call. A
    worker leaves only under the same lock, on seeing that nothing waits, so no call is left behind. One arrival at a time also
    means that trivial calls are all done by the first worker, while slow ones soon have `limit` of them.
    """

    def __init__(self, job: Job, delivery: Delivery, ahead: float, refill: int) -> None:
        super().__init__(job, delivery, ahead, refill)
        self._limit = job.options.limit
        self._deadline = job.deadline
        self._is_lazy = job.operation.is_lazy
        self._waiting: deque[tuple[int, Inputs]] = deque()
        self._active = 0
        self._arriving = False
        self._slow = False
        self._probe_at = 0.0
        self._lounge: list[Lock] = []
        self._crew = Crew(self._limit)

    def admit(self, inputs: Inputs) -> bool:
        self.delivery.expect()
        self._waiting.append((self.read, inputs))
        self.read += 1
        return self._may_hire()

    def start(self) -> None:
        with self.lock:
            if self._lounge:
                self._lounge.pop().release()
                return
        refusal = self._crew.hire(self._work)
        if refusal is None:
            return
        with self.lock:
            self._arriving = False
            self._active -= 1
            if self._active or self._lounge:
                # The system gives no more threads: go on with those that are there, and with who has just run out of calls.
                self._limit = self._active + len(self._lounge)
                if self._lounge and self._may_hire():
                    self._lounge.pop().release()
            else:
                self.give_up(refusal)

    def wait(self, deadline: float = inf) -> None:
        if self._waiting and not self._slow and self._active < self._limit:
            tick = pacing.clock.now() + PATIENCE
            super().wait(min(tick, deadline))
            self._slow = bool(self._waiting) and pacing.clock.now() >= tick
        else:
            super().wait(deadline)
            self._slow = self._slow and bool(self._waiting)
        if self._may_hire():
            try:
                self.lock.release()  # within: Ctrl-C right after it must find it taken again
                self.start()
            finally:
                self.lock.acquire()

    def running(self) -> bool:
        return self._active > 0

    def is_worker(self) -> bool:
        return self._crew.includes_me()

    def leave(self, wait: bool) -> None:
        with self.lock:
            self._active += len(self._lounge)
            while self._lounge:
                self._lounge.pop().release()
        if wait:
            self._crew.wait()
        self._crew.dismiss(wait)

    def _may_hire(self) -> bool:
        if self._arriving or self._active >= self._limit or not self._waiting or self.stopped:
            return False
        self._arriving = True
        self._active += 1
        return True

    def _work(self) -> None:  # noqa: PLR0912, PLR0915  one loop, in which order is what matters
        """What a worker does: end one call and take the next in one step, then, without the lock, run it."""
        lock, function, copy = self.lock, self.function, self.context.copy
        observed = None if self.observer is None else self.observer.calling(function)
        index = 0
        inputs: Inputs | None = None
        value: Any = None
        ended_inputs: Inputs | None = None
        ended_value: Any = None
        bell = Lock()
        bell.acquire()
        arriving = True
        try:
            while True:
                ended_inputs, ended_value = inputs, value
                with lock:
                    if arriving:
                        self._arriving = arriving = False
                    if inputs is not None:
                        self.settle(index, inputs, value)
                    inputs = value = None
                    send = False
                    if self._waiting and not self.stopped and self._may_start():
                        index, inputs = self._waiting.popleft()
                        send = (self._slow or not self.watched) and self._may_hire()
                    else:
                        # One step with seeing that nothing waits: a call that came in between would be left behind.
                        self._leave()
                        if self.stopped:
                            return
                        self._lounge.append(bell)
                # The last reference to an input or a result may run its code: not under the lock, and not kept while waiting.
                ended_inputs = ended_value = None
                if inputs is None:
                    arriving = True
                    if not self._rung(bell):
                        return
                    continue
                if send:
                    self.start()
                try:
                    value = copy().run(function, *inputs) if observed is None else copy().run(observed, index, *inputs)
                    if is_coroutine(value):
                        value.close()
                        raise coroutine_in_threads(function, self.operation)
                except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                    self.fail(index, inputs, error)
                    inputs = None
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the caller must not wait for ever
            with lock:
                self._leave()
                self.give_up(error)
        finally:
            # The frames of failed calls hold this one: whoever keeps an exception would keep all of this.
            inputs = value = None
            del self, function, observed, copy, ended_inputs, ended_value

    def _rung(self, bell: Lock) -> bool:
        """Linger for a call to come; False when none has."""
        if bell.acquire(timeout=LINGER):
            return True
        with self.lock:
            if bell in self._lounge:
                self._lounge.remove(bell)
                return False
        # It is being rung: take that ring, or the next wait would end at once. Unless Ctrl-C has come in between.
        while not bell.acquire(timeout=LINGER) and not self.stopped:
            pass
        return True

    def _leave(self) -> None:
        self._active -= 1
        if not self._active:
            self.notify()

    def _may_start(self) -> bool:
        """Whether the time for further calls is not over. With the lock."""
        if self._deadline != inf and pacing.clock.now() >= self._deadline:
            self.stopped = True
        elif self._is_lazy and pacing.clock.now() >= self._probe_at:
            self._probe_at = pacing.clock.now() + PROBE
            if is_ending():
                self.give_up(RuntimeError("the interpreter is shutting down: no further call starts"))
        return not self.stopped


class _Sequence:
    """A map over a list, a tuple or a range: its workers take the next index themselves, with neither queue nor lock."""

    def __init__(self, job: Job, inputs: "list[Any] | tuple[Any, ...] | range") -> None:
        self.function = job.function
        self.context = job.context
        self.operation = job.operation
        self.observer = job.observer
        self.inputs = inputs
        self.results: list[Any] = [None] * len(inputs)
        self.indices = _shared(len(inputs))
        self.failures = Failures(job)
        self.stopped: list[bool] = []  # no further call starts once anything is in it: a list is the cheapest flag to share
        self.skipped: list[int] = []  # taken, and not begun
        self._lock = Lock()

    def work(self) -> None:
        """What a worker does. The first call of each worker shows whether the function returns coroutines."""
        function, copy, results, stopped = self.function, self.context.copy, self.results, self.stopped
        inputs: Any = self.inputs
        if self.observer is not None:
            function, inputs = with_number(self.observer.calling(function)), Numbered(inputs)
        try:
            for indices in (islice(self.indices, 1), self.indices):
                index = None
                for index in indices:
                    if stopped:
                        self.skipped.append(index)
                        return
                    try:
                        results[index] = copy().run(function, inputs[index])
                    except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                        self._fail(index, error)
                if index is not None and is_coroutine(results[index]):
                    results[index].close()
                    self._fail(index, coroutine_in_threads(self.function, self.operation))
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the map must not lose it
            with self._lock:
                self.failures.add(None, None, error)
                self.stop()
        finally:
            # The frames of failed calls hold this one: whoever keeps an exception would keep all of this.
            del self, function, copy, inputs, results, stopped

    def stop(self) -> None:
        """No further call starts."""
        self.stopped.append(True)

    def finished(self, running: int) -> int:
        """How many calls have ended, while each of the workers is in one."""
        return max(len(self.results) - length_hint(self.indices) - len(self.skipped) - running, 0)

    def _fail(self, index: int, error: BaseException) -> None:
        error = self.failures.seen(error)
        with self._lock:
            self.failures.forget()
            if self.failures.catches(error):
                self.failures.caught += 1
                self.results[index] = error
            else:
                self.failures.add(index, (self.inputs[index],), error)
                self.stop()


def _map_sequence(job: Job, inputs: "list[Any] | tuple[Any, ...] | range") -> list[Any]:
    limit, deadline, name, timeout = job.options.limit, job.deadline, job.name, job.options.timeout
    run = _Sequence(job, inputs.copy() if isinstance(inputs, list) else inputs)  # as it is now, whatever the calls do to it
    crew = Crew(limit)
    refusal: BaseException | None = None
    try:
        for _ in range(min(limit, len(inputs))):
            if not length_hint(run.indices) or refusal is not None:
                break
            refusal = crew.hire(run.work)
        ended = _wait(crew, deadline, run, job.progress)
        crew.dismiss(wait=ended)
    except KeyboardInterrupt as interrupt:
        run.stop()
        crew.dismiss(wait=False)
        run.failures.note_on(interrupt)
        raise
    except BaseException:  # a bar's, or a fault of ours
        run.stop()
        crew.wait()
        crew.dismiss(wait=True)
        raise
    finally:
        fault = None if job.progress is None else job.progress.close(run.finished(crew.size()), run.failures.caught)
    error: BaseException | None = fault
    if run.failures:
        error = run.failures.first()
    elif not ended:
        run.stop()
        error = timed_out(name, timeout, run.finished(crew.size()), len(inputs), len(inputs))
    elif length_hint(run.indices):
        error = refusal  # not one worker could be had
    if error is None:
        return run.results
    del job, inputs, run
    try:
        raise error
    finally:
        del error, refusal, fault  # the traceback holds this frame, which must not hold it in turn


def _wait(crew: Crew, deadline: float, run: _Sequence, progress: Progress | None) -> bool:
    """Wait until all workers have gone, at most until `deadline`, with an eye on the bar; whether they have."""
    if progress is None:
        return crew.wait(deadline)
    while True:
        progress.show(run.finished(crew.size()), run.failures.caught)
        if crew.wait(min(deadline, progress.due)):
            return True
        if pacing.clock.now() >= deadline:
            return False


class _Claims:
    """Each index once, to whichever thread asks next, for builds without a GIL: there a range's own iterator may repeat one."""

    def __init__(self, stop: int) -> None:
        self._indices = iter(range(stop))
        self._lock = Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._indices)

    def __length_hint__(self) -> int:
        return length_hint(self._indices)


def _shared(stop: int) -> Iterator[int]:
    """An iterator over indices that many threads may advance at once.

    With a GIL a range's own iterator is one: its `__next__` runs in C without ever letting go of the GIL.
    """
    gil = getattr(sys, "_is_gil_enabled", None)
    return iter(range(stop)) if gil is None or gil() else _Claims(stop)
