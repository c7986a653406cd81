"""The driver for any `concurrent.futures.Executor`: its `submit`, and the futures that gives, are all that is used of it.

Tasks are submitted in the caller's thread alone, and cancelled there or in a thread of our own: a callback runs in a thread of
the executor's, often the one that all its futures depend on, from which it may not be called again (dask's event loop is one).
"""

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from contextvars import Context
from functools import partial
from itertools import islice
from math import inf
from threading import Lock, Thread, get_ident
from typing import Any

from concurrency import pacing
from concurrency._calls import Inputs, Job, name_of
from concurrency._delivery import AsCompleted, AtTheEnd, Delivery, InOrder
from concurrency._depth import check_depth
from concurrency._in_flight import InFlight
from concurrency._landing import Chunk, land, refuse
from concurrency._nesting import Frame, check_not_nested, is_in_call_of
from concurrency._options import UNBOUNDED
from concurrency._pulls import Pull, results_of
from concurrency._runs import GLANCE, Run
from concurrency._sent import LocalTask

GRACE = 0.1
"""Seconds without the end of a future after which those of a broken executor are cancelled."""


def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs."""
    delivery = AtTheEnd()
    pull = _ExecutorPull(job, _ExecutorRun(job, delivery))
    del job
    try:
        return results_of(pull, delivery)
    finally:
        del pull, delivery


def run_stream(job: Job, delivery: InOrder | AsCompleted) -> Pull:
    """Results as the consumer takes them; nothing starts before that."""
    return _ExecutorPull(job, _ExecutorRun(job, delivery), window=job.options.buffersize)


class _ExecutorRun(Run):
    """A run whose calls an executor runs, one or more to a task.

    A task counts as in flight from the moment when it is numbered, under the lock, until its callback has left its
    outcomes: so whoever sees none in flight, under the lock, has seen all outcomes.
    """

    def __init__(self, job: Job, delivery: Delivery) -> None:
        super().__init__(job, delivery)
        executor, options = job.options.executor, job.options
        assert executor is not None  # else another driver would have been asked
        check_not_nested(executor, job.name)
        self._executor = executor
        self._map_name, self._name = job.name, name_of(job.function)
        # Under a rate each call is a task of its own: a chunk would be a burst.
        self.size = 1 if options.rate is not None else options.chunksize
        if job.operation.is_lazy:
            self.size = min(self.size, max(1, options.buffersize // 2))  # one half is taken while the other is made
        self._is_single = job.is_single
        self.in_flight = InFlight(options.limit)
        self._cancelled = False
        self._is_broken = False
        self._submitters: set[int] = set()  # threads that are in `submit`
        self._is_inline = False
        # For the tasks:
        self.sent = job.sent
        self.catch = options.catch if self.size > 1 else ()  # a task of one call ends with it in any case
        self.executor_id = id(executor)
        self.is_timed = job.observer is not None

    def admit(self, source: Iterator[Inputs], room: float) -> bool:
        inputs: Inputs = ()
        until = pacing.clock.now() + GLANCE
        try:
            for inputs in islice(source, int(room)):
                self._admit(inputs)
                room -= 1
                if self.stopped or pacing.clock.now() >= until:
                    return False
            return room >= 1
        finally:
            del self, source, inputs  # the frame of an input that fails holds this one

    def _admit(self, inputs: Inputs) -> None:
        check_depth()  # before a task is counted as in flight: of one that was not submitted, nobody would hear the end
        chunk = Chunk(self.read, inputs, self._is_single)
        try:
            with self.lock:
                self.delivery.expect_all(len(inputs))
                self.in_flight.enter(chunk.start)
                self.read += len(inputs)
            if self.stopped:
                self._landed(chunk)
            else:
                self._submit(chunk)
        except BaseException:  # what a signal's handler raises, or the executor: nobody else would hear the end of it
            if not chunk.is_sent:
                self._landed(chunk)
            raise

    def running(self) -> bool:
        return self.in_flight.count > 0

    def wait(self, bell: Lock, until: float = inf) -> bool:
        if not self.stopped:
            check_not_nested(self._executor, self._map_name)  # a stream may be made in one place and consumed in another
        elif not self._cancelled:
            # One that breaks ends all its futures itself, and that of the standard library stumbles over a cancelled one.
            if self._is_broken and super().wait(bell, min(until, pacing.clock.now() + GRACE)):
                return True
            self._cancel()
        if self.stopped or self.exhausted:
            return super().wait(bell, until)
        before = self.in_flight.count
        rang = super().wait(bell, min(until, pacing.clock.now() + self.in_flight.next_look()))
        with self.lock:
            self.in_flight.waited(before)
        return rang

    def is_worker(self) -> bool:
        return is_in_call_of(self)

    def leave(self, wait: bool) -> None:
        if not wait:
            self._cancel()
        # A cancelled task may stay in the executor's queue for long. It must not hold on to what was the user's.
        self.context = Context()
        self.delivery = AsCompleted()
        self.function = self.sent = _nothing

    def frame(self) -> Frame:
        """What stands for a task in the contexts of its calls. In the thread that runs it."""
        if get_ident() in self._submitters:
            self._is_inline = True  # it has no workers: nobody can wait for one in vain
        return Frame(None if self._is_inline else self.executor_id, owner=id(self))

    def _submit(self, chunk: Chunk) -> None:
        me = get_ident()
        task = LocalTask(self, self._name)
        self._submitters.add(me)
        try:
            if self.observer is not None:
                self.observer.sent(chunk.start, chunk.inputs)
            future = self._executor.submit(task, *chunk.columns())
        except Exception as error:  # noqa: BLE001  it is shut down, broken, or cannot send this: whatever it says
            refuse(self, chunk, error)
            # One that could not start a thread for the task has queued it all the same, and a thread that it has may run it.
            task.tell_end(partial(self._landed, chunk))
            return
        finally:
            self._submitters.discard(me)
        with self.lock:
            self.in_flight.add(chunk.start, future)
        future.add_done_callback(partial(self._done, chunk))
        chunk.is_sent = True
        # Another thread may have cancelled all others meanwhile, without knowing of this one.
        if self.stopped:
            future.cancel()

    def _done(self, chunk: Chunk, future: "Future[Any]") -> None:
        """A future has ended. In whatever thread, so nothing may be raised here, nor waited for."""
        try:
            if not future.cancelled() and isinstance(future.exception(), BrokenExecutor):
                self._is_broken = True
            land(self, chunk, future)
        except BaseException as error:  # noqa: BLE001  a fault of ours: the caller must not wait for ever
            with self.lock:
                self.give_up(error)
        finally:
            self._landed(chunk)

    def _landed(self, chunk: Chunk) -> None:
        """All is known of a task that was in flight."""
        chunk.inputs = []  # the future may live on in its executor, and with it this callback
        with self.lock:
            self.in_flight.remove(chunk.start)
            if self.stopped or self.delivery.ready() or not self.running() or (self.in_flight.is_low() and not self.exhausted):
                self.notify()
            # A consumer that is busy with other things, or gone, does not see that it is over.
            is_seen = self.watched or self._cancelled or self._is_broken
            deserted = self.operation.is_lazy and self.stopped and not is_seen and self.running()
            self._cancelled = self._cancelled or deserted
        if deserted:
            self._cancel_apart()

    def _cancel(self) -> None:
        """Cancel what has not begun to run."""
        with self.lock:
            self._cancelled = True
            futures = self.in_flight.newest_first()
        for future in futures:
            future.cancel()

    def _cancel_apart(self) -> None:
        """As `_cancel`, where the caller is elsewhere, and the current thread may be the executor's."""
        try:
            Thread(target=self._cancel, name="concurrency-cancel", daemon=True).start()
        except RuntimeError:  # no more threads: then those that have been sent run to their end
            pass


class _ExecutorPull(Pull):
    """A pull whose inputs are the tuples of whole tasks: to read them one by one would cost more than many a call."""

    _resume = 0  # how many results are to be taken before a task is read rather than one more of them handed out

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        assert isinstance(self._run, _ExecutorRun)
        chunks = _chunks(self._run, job.inputs())
        return chunks if job.observer is None or self._run.size > 1 else job.observer.reading(chunks)

    def _room(self, run: Run, has_result: bool) -> float:
        assert isinstance(run, _ExecutorRun)
        if super()._room(run, has_result) < 1:
            return 0
        if self._taken < self._resume and (has_result or run.delivery.ready()):
            return 0
        window = self._window
        if window >= UNBOUNDED and run.operation.is_lazy:
            window = 2 * run.in_flight.most() * run.size
        return run.exhausted or (run.read - self._taken + run.size <= window and run.in_flight.room())

    def _read(self, run: Run, room: float) -> None:
        assert isinstance(run, _ExecutorRun)
        self._resume = self._taken + run.size
        super()._read(run, room)


def _chunks(run: _ExecutorRun, source: Iterator[Any]) -> Iterator[Inputs]:
    """Inputs, as many at a time as go into a task. What comes before an input that raises is sent."""
    error: BaseException | None = None
    while not run.exhausted:
        chunk: list[Any] = []
        try:
            chunk.extend(islice(source, run.size))
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001  whatever the input raises
            error = raised
        run.exhausted = len(chunk) < run.size
        if chunk:
            yield tuple(chunk)
    try:
        if error is not None:
            raise error
    finally:
        del error


def _nothing() -> None:
    """In place of the user's function, when a run is over."""
