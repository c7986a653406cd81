"""The driver for threads: workers that take calls themselves, so that a call costs no future.

A worker runs calls until none is left. Then it returns to its pool rather than wait for more: nothing here blocks a pool thread
for long, so the interpreter can always end, and an open stream costs no thread.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from math import inf
from threading import Lock
from time import monotonic
from types import CoroutineType
from typing import Any, Final

from concurrency import pacing
from concurrency._calls import END, Inputs, Job, coroutine_in_threads, taking_inputs
from concurrency._delivery import AsCompleted, AtTheEnd, Delivery, InOrder
from concurrency._pulls import Pull, results_of
from concurrency._runs import GLANCE, HAS_GIL, Run
from concurrency._sequences import SequencePull, SequenceRun
from concurrency._workers import Crew, is_ending

_COROUTINE: Final[Any] = CoroutineType  # compared with in place: to call `is_coroutine` takes as long as a trivial call

PATIENCE = 0.0002
"""Seconds that a waiting caller gives one worker to be done with everything, before more are sent for."""

MANY = 16
"""Waits in a row, all within its patience, after which a caller takes calls for trivial again."""

PROBE = 0.05
"""Seconds between two looks of an open stream whether the interpreter is about to end, which waits for its calls then."""

LINGER = 0.01
"""Seconds that a worker without a call waits for one before it returns to its pool, which costs more than a wait does."""


def run_map(job: Job) -> list[Any]:
    """All results, in the order of the inputs."""
    delivery = AtTheEnd()
    sequence = job.sequence() if job.options.rate is None else None
    if sequence is not None:
        pull: Pull = SequencePull(job, SequenceRun(job, delivery, sequence))
    else:
        # As many calls wait as run, and the caller is woken when half as many do, so that no worker waits for it. Under a
        # `rate` no call waits: when a start is due, it is to be one.
        limit = job.options.limit
        ahead, refill = (2 * limit, limit + limit // 2) if job.options.rate is None else (limit, limit - 1)
        pull = Pull(job, _ThreadRun(job, delivery, ahead, refill))
    del job, sequence
    try:
        return results_of(pull, delivery)
    finally:
        del pull, delivery


def run_stream(job: Job, delivery: InOrder | AsCompleted) -> Pull:
    """Results as the consumer takes them; nothing starts before that."""
    ahead, refill = (inf, -1) if job.options.rate is None else (job.options.limit, job.options.limit - 1)
    return Pull(job, _ThreadRun(job, delivery, ahead, refill), window=job.options.buffersize)


class _ThreadRun(Run):
    """A run on workers, which take the calls that wait.

    A worker runs call after call without the lock: it takes each from one deque, and counts it into one list when it has ended,
    and both are atomic. All else is decided under the lock, and two arguments make that safe:

    - No call is left behind. Whenever one waits and `limit` allows another worker, one is sent for: by `admit`, by each worker
      that takes a call, or by a caller whose patience is at its end. One arrives at a time, takes its mark from `_arriving` and
      then looks what waits. A worker leaves only under the lock, on seeing there that nothing waits.
    - No end of a call goes unheard. A worker counts it and then looks for bells; the caller hangs its bell and then looks what
      has ended. So one of the two sees the other.

    Without a GIL a processor may swap such a step and the look after it. There the looks at `_arriving` and for bells are under
    the lock. `_trivial`, `_rousing` and `_short_waits` are hints, read and set without it: a stale one costs time, at most
    until a waiting caller looks again by itself (`pacing.NAP`), or, in the one case below, is none.

    While calls are trivial, one worker is done with all of them before another could arrive. So in the beginning, and again
    when a worker that another has sent for finds nothing to do, workers send for no others while the caller waits, and ring for
    it when they arrive and when they have run out of calls alone. Calls that outlast the caller's patience end that.

    To wait with a limit of time may cost as much again as to wait. So in a map of trivial calls both sides do without where the
    other is certain to ring: a caller that waits for a worker on its way, which rings when it arrives; and a worker that runs
    out of calls when the caller has been rung and has not come yet. The caller then runs nobody's code before it has called
    that worker back. Or it ends the run, and whatever does that empties the lounge, too. That rests on three things:

    - The caller has hung its bell under the lock when it sees the mark of who arrives, who takes the mark and rings in one step
      under the lock. Both look at `_trivial`, which the caller alone makes false.
    - The worker reads `_rousing` under the lock. The caller clears it on its way, before it takes the lock: so if it has passed
      there before the worker, the worker sees that; if not, it sees the worker.
    - All calls have ended then, so there is room, and the caller does not wait again before it reads. One worker waits so at a
      time, and nobody else arrives, since nothing waits.
    """

    def __init__(self, job: Job, delivery: Delivery, ahead: float, refill: float) -> None:
        super().__init__(job, delivery, ahead, refill)
        self._limit = job.options.limit
        self._deadline = job.deadline
        self._is_lazy = job.operation.is_lazy
        # Until then no call has to ask whether it may start. It may always, but for a deadline, or at the interpreter's end.
        self._probe_at = 0.0
        self._unasked_until = inf if self._deadline == inf and not self._is_lazy else -inf
        self._call = taking_inputs(job.function, job.is_single)
        # Those of a map are made in place, as each input is read: a method for it would cost as much as the rest of reading.
        self._grow = delivery.slots.append if isinstance(delivery, AtTheEnd) else None
        self._waiting: deque[tuple[int, Inputs]] = deque()
        self._uncounted: list[None] = []  # one for each call that has ended and is not in `finished`
        self._active = 0  # workers that have come: of one that was sent for, Ctrl-C may have been faster
        self._arriving = False
        self._is_chained = False  # whether a worker has sent for the one that is arriving
        self._trivial = True
        self._short_waits = 0  # how many in a row
        self._rousing = False  # a worker has rung for the caller, which has not come yet
        self._lounge: list[Lock] = []
        # Whether its caller does nothing but read and wait: for such a one a worker can wait, however long it takes to come.
        self._is_steady = not self._is_lazy and job.options.rate is None and job.progress is None
        self._expectant: Lock | None = None  # of the worker that waits so: in the lounge, others could be sent for in its place
        self._crew = Crew(self._limit)

    def admit(self, source: Iterator[Inputs], room: float) -> bool:
        grow, append, until = self._grow, self._waiting.append, monotonic() + GLANCE
        inputs: Inputs = None
        first = index = self.read
        try:
            if self._expectant is not None:
                self._call_back()
            for inputs in islice(source, int(room)):
                if grow is not None:
                    grow(None)
                append((index, inputs))
                index += 1
                self.read = index
                # Without the lock, since one thread at a time reads inputs. Whoever arrives takes its mark from `_arriving`
                # before it looks what waits: if the mark still stands after our `append`, its look is yet to come. It comes as
                # soon as a slow source lets go of the GIL, or has it taken away: so until then there is no need for the clock.
                if HAS_GIL and self._arriving and not self.stopped:
                    continue
                self._send_on(is_chained=False)
                if self.stopped or monotonic() >= until:
                    return False
            return index - first < room
        finally:
            del self, source, inputs, grow, append  # the frame of an input that fails holds this one

    def wait(self, bell: Lock, until: float = inf) -> bool:
        began = monotonic()
        if self._trivial and self._is_steady and until == inf and self._arriving and not self.exhausted:
            rang = bell.acquire()  # who arrives rings it: see `_arrive`
        elif self._trivial:
            rang = bell.acquire(timeout=PATIENCE)
            if not rang:
                with self.lock:
                    self.take_down(bell)
        else:
            rang = super().wait(bell, until)
        self._rousing = False
        if self._waiting:
            self._send_on(is_chained=False)  # a worker that has seen the mark has sent for no other
        if rang and monotonic() < began + PATIENCE:
            self._short_waits += 1
            self._trivial = self._trivial or self._short_waits >= MANY
            return True
        self._short_waits = 0
        self._trivial = False
        return rang

    def is_trivial(self) -> bool:
        return self._short_waits >= MANY

    def running(self) -> bool:
        return self._active > 0

    def has_ended(self) -> bool:
        return self.count() == self.read

    def count(self) -> int:
        return self.finished + len(self._uncounted)

    def is_awaited(self) -> bool:
        return self.read - self.count() <= self.refill or self.delivery.ready()

    def is_worker(self) -> bool:
        return self._crew.includes_me()

    def leave(self, wait: bool) -> None:
        with self.lock:
            self._empty_lounge()
        if wait:
            self._crew.wait()
        self._crew.dismiss(wait)

    def give_up(self, error: BaseException, index: int | range | None = None, inputs: Inputs = END) -> None:
        super().give_up(error, index, inputs)
        self._empty_lounge()

    def _empty_lounge(self) -> None:
        """Who waits for calls there is to go. With the lock."""
        while self._lounge:
            self._lounge.pop().release()
        if self._expectant is not None and self._expectant.locked():  # else Ctrl-C has come between the two steps of ringing it
            self._expectant.release()
        self._expectant = None

    def _send_on(self, is_chained: bool) -> None:
        """Send for another worker, from the lounge or a new one, if there is work for it; `is_chained` if a worker does so."""
        if HAS_GIL and (self._active >= self._limit or self._arriving):
            return
        with self.lock:
            if self._arriving or self._active >= self._limit or not self._waiting or self.stopped:
                return
            self._arriving, self._is_chained = True, is_chained
            if self._lounge:
                self._lounge.pop().release()
                return
        refusal = self._crew.hire(self._work)
        if refusal is not None:
            self._do_without(refusal)

    def _call_back(self) -> None:
        """Send for the worker that waits for the caller: before any input is read, since a source may take its time."""
        with self.lock:
            if self._expectant is not None and not self._arriving and self._active < self._limit:
                self._arriving, self._is_chained = True, False
                self._expectant.release()
                self._expectant = None

    def _do_without(self, refusal: BaseException) -> None:
        """The system gives no more threads: go on with those that are there, and with who has just run out of calls."""
        with self.lock:
            self._arriving = False
            if not (self._active or self._lounge):
                self.give_up(refusal)
                return
            self._limit = self._active + len(self._lounge)
            self.notify()  # nobody arrives, to ring for a caller that waits for that
        self._send_on(is_chained=False)

    def _work(self) -> None:  # noqa: PLR0912  a step that was a function of its own would cost as much as a trivial call
        """What a worker does: run calls until none waits, linger for more, and go."""
        call, copy, waiting, bells = self._call, self.context.copy, self._waiting, self._bells
        slots, put, has_ended = self.delivery.slots, self.delivery.put, self._uncounted.append
        observed = None if self.observer is None else self.observer.calling(self.function)
        asks = self._unasked_until < inf
        inputs: Inputs = None
        value: Any = None
        bell = Lock()
        bell.acquire()
        try:
            self._arrive()
            while True:
                try:
                    index, inputs = waiting.popleft()
                except IndexError:
                    if self._goes(bell):
                        return
                    continue
                if self.stopped or (asks and monotonic() >= self._unasked_until and not self._may_start()):
                    inputs = None
                    waiting.clear()
                    continue
                # A caller that neither waits nor is about to look is not there to lose its patience.
                if waiting and not (self._trivial and (bells or self._rousing)):
                    self._send_on(is_chained=True)
                try:
                    value = copy().run(call, inputs) if observed is None else copy().run(observed, index, inputs)
                    if type(value) is _COROUTINE:
                        value.close()
                        raise coroutine_in_threads(self.function, self.operation)
                except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                    self.fail(index, inputs, error)
                else:
                    if slots is not None:
                        slots[index] = value
                    elif not self.stopped:  # what has no slots takes nothing late
                        put(index, inputs, value)
                    has_ended(None)
                    if not self._trivial and (bells or not HAS_GIL):
                        self._ring()
                inputs = value = None
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the caller must not wait for ever
            with self.lock:
                self._active -= 1
                self.give_up(error)
        finally:
            # The frames of failed calls hold this one: whoever keeps an exception would keep all of this.
            inputs = value = None
            del self, call, observed, copy, waiting, slots, put, has_ended

    def _arrive(self) -> None:
        with self.lock:
            self._arriving = False  # before the look at what waits: see `admit`
            self._active += 1
            self._trivial = self._trivial or (self._is_chained and not self._waiting)
            self._is_chained = False
            if self._trivial and self._bells and not self.exhausted:
                # The worker will be done with all calls before the caller is awake, to read more.
                self._rousing = True
                self.notify()

    def _ring(self) -> None:
        """Wake the caller, if it has something to do now."""
        with self.lock:
            self._count()
            if self._bells and self.is_awaited():
                self.notify()

    def _count(self) -> None:
        """With the lock."""
        more = len(self._uncounted)
        del self._uncounted[:more]
        self.finished += more

    def _goes(self, bell: Lock) -> bool:
        """Leave, if nothing waits, and linger for a call to come. False when one has."""
        with self.lock:
            if self._waiting and not self.stopped:
                return False
            self._count()
            # One step with seeing that nothing waits: a call that came in between would be left behind.
            self._active -= 1
            self.notify()
            if self.stopped or self.exhausted:
                return True
            # The caller has been rung and is on its way: it will read, since all calls have ended, or end the run.
            caller_comes = self._is_steady and self._rousing and self.finished == self.read
            caller_comes = caller_comes and self._expectant is None and not self._arriving  # it calls one back
            if caller_comes:
                self._expectant = bell
            else:
                self._lounge.append(bell)
        if caller_comes:
            bell.acquire()
        elif not self._rung(bell):
            return True
        self._arrive()
        return False

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
            pass  # pragma: no cover  few instructions lie between the two steps of ringing it
        return True

    def _may_start(self) -> bool:
        """Whether the time for further calls is not over."""
        with self.lock:  # so that none starts while another worker is still looking
            if self._deadline != inf and pacing.clock.now() >= self._deadline:
                self.stopped = True
            elif self._is_lazy and monotonic() >= self._probe_at:
                if is_ending():
                    self.give_up(RuntimeError("the interpreter is shutting down: no further call starts"))
                self._probe_at = monotonic() + PROBE
                if self._deadline == inf:
                    self._unasked_until = self._probe_at
        return not self.stopped
