"""The driver for any `concurrent.futures.Executor`: its `submit`, and the futures that gives, are all that is used of it.

Tasks are submitted in the caller's thread alone, and cancelled there or in a thread of our own: a callback runs in a thread of
the executor's, often the one that all its futures depend on, from which it may not be called again (dask's event loop is one).
"""

import pickle
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextvars import Context
from functools import partial
from itertools import islice
from math import inf
from threading import Lock, Thread, get_ident
from typing import Any

from concurrency import pacing
from concurrency._calls import Inputs, Job, name_of
from concurrency._delivery import AsCompleted, AtTheEnd, Delivery, InOrder
from concurrency._options import UNBOUNDED
from concurrency._outcomes import traceback_of
from concurrency._pulls import Pull, results_of
from concurrency._runs import Run
from concurrency._sent import Frame, LocalTask, Mixed, Parcel, Raised, RemoteTask, Unsendable, frames, teach_cloudpickle

QUEUE = 8
"""Tasks that wait in an executor of which as yet nothing is known: a new pool takes them up at once, and asks for more."""

LONGEST_QUEUE = 1000
"""Tasks in flight on an executor whose futures never say that they run, as dask's: enough for a cluster of that many threads,
and few enough to cancel. More takes a `limit`."""

TICK = 0.01
"""Seconds after which an executor that has not said that anything runs is given twice as many tasks."""

LONGEST_TICK = 0.1
"""Seconds between two looks whether an executor has grown, when nothing else happens."""


def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs."""
    delivery = AtTheEnd()
    pull = _BatchPull(job, _ExecutorRun(job, delivery))
    del job
    try:
        return results_of(pull, delivery)
    finally:
        del pull, delivery


def run_stream(job: Job, delivery: InOrder | AsCompleted) -> Pull:
    """Results as the consumer takes them; nothing starts before that."""
    return _BatchPull(job, _ExecutorRun(job, delivery), window=job.options.buffersize)


class _Chunk:
    """The calls of one task. Of a single iterable there are its items here, of several there are tuples."""

    __slots__ = ("inputs", "start")

    def __init__(self, start: int, inputs: Sequence[Any]) -> None:
        self.start = start  # the index of the first
        self.inputs = inputs


class _ExecutorRun(Run):
    """A run whose calls an executor runs, one or more to a task.

    How many tasks are in flight: `limit`, if there is one. Else what runs, by its futures' own account, and a queue of as many
    behind that, so that whoever ends a task finds another; a pool that grows makes the queue shorter, and gets more. There are
    executors of which no future says that it runs before it has ended: those get ever more, up to `LONGEST_QUEUE`.

    A task is in flight from the moment when it is put into `_outbox`, under the lock, until its callback has left its outcomes:
    so whoever sees none in flight, under the lock, has seen all outcomes.
    """

    def __init__(self, job: Job, delivery: Delivery) -> None:
        super().__init__(job, delivery)
        executor = job.options.executor
        if executor is None:
            raise TypeError("executor is missing")
        _check_not_nested(executor, job.name)
        teach_cloudpickle()
        self._executor = executor
        self._name = name_of(job.function)
        self._limit = job.options.limit
        # Under a rate each call is a task of its own: a chunk would be a burst.
        self._size = 1 if job.options.rate is not None else job.options.chunksize
        if job.operation.is_lazy:
            self._size = min(self._size, max(1, job.options.buffersize // 2))  # one half is taken while the other is made
        self._is_single = len(job.iterables) == 1
        self._chunk: list[Any] = []  # what has been read and not been sent
        self._outbox: deque[_Chunk] = deque()
        self._in_flight = 0
        self._flying: dict[int, Future[Any]] = {}
        self._queued: OrderedDict[int, Future[Any]] = OrderedDict()  # of these, those that have not been seen to run
        self._has_run = False  # whether one has been seen to
        self._depth = QUEUE
        self._patience = TICK
        self._cancelled = False
        self._submitters: set[int] = set()  # threads that are in `submit`
        self._is_inline = False
        self.batch = 1  # how many inputs to read next
        self.exhausted = False
        # For the tasks:
        self.sent = job.sent
        self.catch = job.options.catch if self._size > 1 else ()  # a task of one call ends with it in any case
        self.executor_id = id(executor)

    # What `Pull` asks for. With the lock.

    def room(self) -> bool:
        """Whether one more task may be in flight."""
        if self._in_flight < self._allowed():
            return True
        return self._limit == UNBOUNDED and self._look() and self._in_flight < self._allowed()

    def wanted(self) -> int:
        """How many inputs the task that is being filled can still take."""
        return self._size - len(self._chunk)

    def capacity(self) -> int:
        """How many inputs are in flight when there is no room left."""
        return self._allowed() * self._size

    def flush(self) -> None:
        """Send what there is, though it is no full chunk. Without the lock."""
        with self.lock:
            if not self._chunk or self.stopped or not self.room():
                return
            self._pack()
        self._start()

    def running(self) -> bool:
        return self._in_flight > 0

    # Without the lock.

    def admit(self, inputs: Inputs) -> None:
        with self.lock:
            self.delivery.expect_all(len(inputs))
            self._chunk.extend(inputs)
            self.read += len(inputs)
            if len(self._chunk) < self._size:
                return
            self._pack()
        self._start()

    def wait(self, bell: Lock, until: float = inf) -> bool:
        if self.stopped:
            if self._flying and not self._cancelled:
                self._cancel()
        elif self._chunk:
            self.flush()
        if self.stopped or self._limit != UNBOUNDED or self.exhausted:
            return super().wait(bell, until)
        # No future tells when it begins to run, so look from time to time.
        before = self._in_flight
        rang = super().wait(bell, min(until, pacing.clock.now() + self._patience))
        with self.lock:
            if self._in_flight < before or self._look():
                self._patience = TICK
            else:
                self._patience = min(2 * self._patience, LONGEST_TICK)
                if not self._has_run:
                    self._depth = min(2 * self._depth, LONGEST_QUEUE)
        return rang

    def _start(self) -> None:
        """Submit what is in the outbox."""
        while True:
            with self.lock:
                if not self._outbox:
                    return
                chunk = self._outbox.popleft()
                if self.stopped:
                    self._in_flight -= 1
                    self.notify()
                    continue
            self._submit(chunk)

    def is_worker(self) -> bool:
        return any(frame.owner == id(self) for frame in frames())

    def leave(self, wait: bool) -> None:
        if not wait:
            self._cancel()
        # A cancelled task may stay in the executor's queue for long. It must not hold on to what was the user's.
        self.context = Context()
        self.delivery = AsCompleted()
        self.function = self.sent = _nothing

    def frame(self) -> Frame:
        """What stands for the executor in the contexts of a task's calls. In the thread that runs the task."""
        if get_ident() in self._submitters:
            self._is_inline = True  # it has no workers: nobody can wait for one in vain
        return Frame(None if self._is_inline else self.executor_id, owner=id(self))

    def _allowed(self) -> int:
        if self._limit != UNBOUNDED:
            return self._limit
        running = self._in_flight - len(self._queued)
        return running + (max(QUEUE, running) if self._has_run else self._depth)

    def _look(self) -> bool:
        """See which of the waiting tasks run by now; whether any does. The oldest run first, so only those are asked."""
        before = len(self._queued)
        while self._queued:
            oldest = next(iter(self._queued))
            if self._queued[oldest].running():
                self._has_run = True
            elif not self._queued[oldest].done():
                break
            del self._queued[oldest]
        return len(self._queued) < before

    def _pack(self) -> None:
        chunk, self._chunk = self._chunk, []
        self._outbox.append(_Chunk(self.read - len(chunk), chunk))
        self._in_flight += 1

    def _submit(self, chunk: _Chunk) -> None:
        me = get_ident()
        self._submitters.add(me)
        try:
            future = self._executor.submit(LocalTask(self, self._name), *self._columns(chunk))
        except Exception as error:  # noqa: BLE001  it is shut down, broken, or cannot send this: whatever it says
            self._fail_all(chunk, error)
            self._landed(chunk)
            return
        except BaseException:
            self._landed(chunk)
            raise
        finally:
            self._submitters.discard(me)
        with self.lock:
            self._flying[chunk.start] = future
            if self._limit == UNBOUNDED:
                self._queued[chunk.start] = future
        future.add_done_callback(partial(self._done, chunk))
        # Another thread may have cancelled all others meanwhile, without knowing of this one.
        if self.stopped:
            future.cancel()

    def _columns(self, chunk: _Chunk) -> Iterable[list[Any]]:
        """One list for each iterable: they pickle smaller than tuples do, and dask finds its own futures in them."""
        return [list(chunk.inputs)] if self._is_single else map(list, zip(*chunk.inputs, strict=True))

    def _rows(self, chunk: _Chunk) -> Sequence[Inputs]:
        """The arguments of each call."""
        return [(value,) for value in chunk.inputs] if self._is_single else chunk.inputs

    def _done(self, chunk: _Chunk, future: "Future[Any]") -> None:
        """A future has ended. In whatever thread, so nothing may be raised here, nor waited for."""
        try:
            self._record(chunk, future)
        except BaseException as error:  # noqa: BLE001  a fault of ours: the caller must not wait for ever
            with self.lock:
                self.give_up(error)
        finally:
            self._landed(chunk)

    def _landed(self, chunk: _Chunk) -> None:
        """All is known of a task that was in flight."""
        chunk.inputs = []  # the future may live on in its executor, and with it this callback
        with self.lock:
            self._flying.pop(chunk.start, None)
            self._queued.pop(chunk.start, None)
            self._in_flight -= 1
            if self.stopped or self.delivery.ready() or self._is_hungry():
                self.notify()
            # A consumer that is busy with other things, or gone, does not see that it is over.
            deserted = self.operation.is_lazy and self.stopped and not (self.watched or self._cancelled) and bool(self._flying)
            self._cancelled = self._cancelled or deserted
        if deserted:
            self._cancel_apart()

    def _is_hungry(self) -> bool:
        """Whether it is time to wake the caller, for more tasks or since all is done."""
        if self._in_flight == 0:
            return True
        if self.exhausted and not self._chunk:
            return False
        if self._limit != UNBOUNDED:
            return True
        self._look()
        return self._in_flight <= self._allowed() - QUEUE // 4

    def _record(self, chunk: _Chunk, future: "Future[Any]") -> None:
        if future.cancelled():
            if not self.stopped:  # we cancel nothing before: it has been shut down, say
                self._fail_all(chunk, CancelledError(f"{type(self._executor).__name__} has cancelled the call"))
            return
        error = future.exception()
        if error is None:
            outcomes = future.result()
            if isinstance(outcomes, Parcel):
                try:
                    outcomes = outcomes.open()
                except Exception as reason:  # noqa: BLE001  whatever unpickling raises
                    self._fail_all(chunk, reason)
                    return
            self._record_outcomes(chunk, outcomes)
        elif len(chunk.inputs) == 1 and not isinstance(error, BrokenExecutor):
            self.fail(chunk.start, self._rows(chunk)[0], _cut(error))
        else:
            self._fail_all(chunk, error)

    def _record_outcomes(self, chunk: _Chunk, outcomes: "list[Any] | Mixed") -> None:
        if not isinstance(outcomes, Mixed):
            with self.lock:
                self.finished += len(outcomes)
                if not self.stopped or self.delivery.takes_late:
                    self.delivery.put_all(chunk.start, chunk.inputs, outcomes)
            return
        # A task that has been cut short has fewer outcomes than inputs.
        for index, (inputs, value) in enumerate(zip(self._rows(chunk), outcomes.outcomes, strict=False), chunk.start):
            if isinstance(value, Unsendable):
                error = self.failures.seen(value.error)
                with self.lock:
                    self.give_up(error, index, inputs)
            elif isinstance(value, Raised):
                self.fail(index, inputs, value.error)
            else:
                with self.lock:
                    self.settle(index, inputs, value)

    def _fail_all(self, chunk: _Chunk, error: BaseException) -> None:
        """The executor has not run a task, or not to its end. That is no call's failure, so `catch` has no say in it."""
        index, inputs = _culprit(chunk.start, self._rows(chunk), error)
        error = self.failures.seen(error)
        with self.lock:
            self.give_up(error, index, inputs)

    def _cancel(self) -> None:
        """Cancel what has not begun to run: the newest first, or others would begin as fast as those before them go."""
        with self.lock:
            self._cancelled = True
            flying = list(self._flying.values())
        for future in reversed(flying):
            future.cancel()

    def _cancel_apart(self) -> None:
        """As `_cancel`, where the caller is elsewhere, and the current thread may be the executor's."""
        try:
            Thread(target=self._cancel, name="concurrency-cancel", daemon=True).start()
        except RuntimeError:  # no more threads: then those that have been sent run to their end
            pass


class _BatchPull(Pull):
    """A pull whose inputs are batches: reading them one by one would cost more than many a call that an executor runs."""

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        first, *others = job.iterables
        source = job.inputs() if others else iter(first)
        return _Batches(self._run, source) if isinstance(self._run, _ExecutorRun) else source

    def _room(self, run: Run) -> float:
        if not isinstance(run, _ExecutorRun) or not super()._room(run):
            return 0
        window = self._window
        if window >= UNBOUNDED and run.operation.is_lazy:
            window = 2 * run.capacity()
        free = window - (run.read - self._taken)
        if free < 1 or not run.room():
            return 0
        # One at a time while there is something to hand out: a slow source must not hold that back.
        run.batch = 1 if run.delivery.ready() else int(min(run.wanted(), free))
        return 1

    def _done_reading(self, run: Run) -> None:
        if self._exhausted and isinstance(run, _ExecutorRun) and not run.exhausted:
            run.exhausted = True
            run.flush()
        super()._done_reading(run)
        self._read_at = -inf  # how much room there is depends on the executor too


class _Batches(Iterator[Inputs]):
    """Inputs in tuples, each as long as the run asks for; the last may be shorter."""

    def __init__(self, run: _ExecutorRun, source: Iterator[Any]) -> None:
        self._run = run
        self._source = source
        self._error: BaseException | None = None

    def __next__(self) -> Inputs:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        batch: list[Any] = []
        try:
            batch.extend(islice(self._source, self._run.batch))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not batch:
                raise
            self._error = error
        if not batch:
            raise StopIteration
        return tuple(batch)


def _check_not_nested(executor: Executor, name: str) -> None:
    """Refuse to wait for workers in one of them: when all of them do so, none is left to end any of it."""
    if any(frame.executor == id(executor) for frame in frames()):
        raise RuntimeError(
            f"{name} is given the executor that runs the call it is made in, and would wait for that to end: "
            "leave executor out, so that it gets threads of its own, or give it another one"
        )


def _culprit(start: int, rows: Sequence[Inputs], error: BaseException) -> tuple[int | range, Inputs]:
    """Which call of a chunk the executor could not send; if that does not show, all of them."""
    if len(rows) == 1:
        return start, rows[0]
    for index, inputs in enumerate(rows, start):
        try:
            pickle.dumps(inputs)
        except Exception as reason:  # noqa: BLE001  whatever pickling raises
            if type(reason) is type(error) and reason.args == error.args:
                return index, inputs
    return range(start, start + len(rows)), ()


def _cut(error: BaseException) -> BaseException:
    """Without the frames of the executor's around the call, where it brings any: they hold on to what it was working with."""
    entry = traceback_of(error)
    while entry is not None and entry.tb_frame.f_globals.get("__name__") != RemoteTask.__module__:
        entry = entry.tb_next
    return error if entry is None else BaseException.with_traceback(error, entry)


def _nothing() -> None:
    """In place of the user's function, when a run is over."""
