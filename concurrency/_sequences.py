"""The faster path of the driver for threads: a map over a list, a tuple or a range."""

from collections.abc import Iterator
from itertools import islice
from math import inf
from operator import length_hint
from threading import Lock
from typing import Any

from concurrency._calls import Job, coroutine_in_threads, is_coroutine
from concurrency._delivery import AtTheEnd
from concurrency._observing import Numbered, with_number
from concurrency._pulls import Pull
from concurrency._runs import HAS_GIL, Run
from concurrency._workers import Crew


class SequenceRun(Run):
    """A run whose workers take the next index themselves, with neither queue nor lock, and leave when there is none left."""

    def __init__(self, job: Job, delivery: AtTheEnd, inputs: "list[object] | tuple[object, ...] | range") -> None:
        super().__init__(job, delivery)
        self._limit = job.options.limit
        self._inputs = inputs.copy() if isinstance(inputs, list) else inputs  # as it is now, whatever the calls do to it
        self.read = len(inputs)
        delivery.expect_all(self.read)
        self._results = delivery.slots
        self._indices = _shared(self.read)
        self._skipped: list[int] = []  # taken, and not begun
        self._crew = Crew(self._limit)
        self._hired = 0

    def hire(self) -> None:
        """Start a worker, which starts the next before its own first call: so trivial calls are all done by one or two.

        If the system gives fewer threads than asked for, those will do, unless there is none at all.
        """
        if self.stopped or self._hired >= self._limit or not length_hint(self._indices):
            return
        self._hired += 1  # without a lock: the one who was started last is the only one to come here
        refusal = self._crew.hire(self._work)
        if refusal is not None and self._hired == 1:
            with self.lock:
                self.give_up(refusal)

    def wait(self, bell: Lock, until: float = inf) -> bool:
        return self._crew.wait(until)

    def running(self) -> bool:
        return self._crew.size() > 0

    def has_ended(self) -> bool:
        return not self._crew.size()

    def count(self) -> int:
        left = length_hint(self._indices) + len(self._skipped) + self._crew.size()
        return max(self.read - left, 0)

    def leave(self, wait: bool) -> None:
        self._crew.dismiss(wait)

    def _work(self) -> None:
        """What a worker does. The first call of each worker shows whether the function returns coroutines."""
        function, copy, inputs, results = self.function, self.context.copy, self._inputs, self._results
        given: Any = inputs
        if self.observer is not None:
            function, given = with_number(self.observer.calling(function)), Numbered(inputs)
        try:
            self.hire()
            for indices in (islice(self._indices, 1), self._indices):
                index = None
                for index in indices:
                    if self.stopped:
                        self._skipped.append(index)
                        return
                    try:
                        results[index] = copy().run(function, given[index])
                    except BaseException as error:  # noqa: BLE001  whatever a call raises is its outcome
                        self.fail(index, inputs[index], error)
                if index is not None and is_coroutine(results[index]):
                    results[index].close()
                    self.fail(index, inputs[index], coroutine_in_threads(self.function, self.operation))
        except BaseException as error:  # noqa: BLE001  a fault of ours, a MemoryError say: the map must not lose it
            with self.lock:
                self.give_up(error)
        finally:
            # The frames of failed calls hold this one: whoever keeps an exception would keep all of this.
            del self, function, copy, inputs, given, results


class SequencePull(Pull):
    """A pull with nothing to read: it has the workers hired instead."""

    def _read(self, run: Run, room: float) -> None:
        assert isinstance(run, SequenceRun)
        try:
            run.hire()
        finally:
            self._exhausted = True
            self._done_reading(run)


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
    return iter(range(stop)) if HAS_GIL else _Claims(stop)
