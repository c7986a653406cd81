"""Where an input waits until `rate` lets its call start, on threads and on executors."""

from math import inf

from concurrency import pacing
from concurrency._calls import END, Inputs
from concurrency._runs import Run
from concurrency.pacing import Rate


class Gate:
    """Holds one input of a run at a time. Its fields are guarded by the lock of the run."""

    def __init__(self, rate: Rate, run: Run) -> None:
        self._rate = rate
        self._run = run
        self._place: pacing.Place | None = None
        self.inputs: Inputs = END
        self.due = inf  # when to ask for the start, if not called before

    def hold(self, inputs: Inputs) -> None:
        """An input has been read. With the lock."""
        self.inputs = inputs
        self.due = -inf

    def may_open(self) -> bool:
        """Whether it is time to ask. With the lock."""
        return self.inputs is not END and pacing.clock.now() >= self.due

    def ask(self) -> Inputs:
        """The inputs of a call, if it is to start now, or `END`. By one thread at a time.

        Without the lock: whoever goes from the line calls the next, which may be in another run, under the lock of that.
        """
        with self._run.lock:
            self.due = inf  # before the place is asked: a call to the front that comes meanwhile is not to be overwritten
        place = self._place
        try:
            if place is None:
                place = self._rate.queue(self._call_up)
            delay = place.claim()
        except BaseException:  # Ctrl-C
            if place is not None:
                place.leave()
            raise
        with self._run.lock:
            if delay > 0:
                self._place = place
                self.due = min(self.due, pacing.clock.now() + delay)
                return END
            inputs, self.inputs, self._place, self.due = self.inputs, END, None, inf
        return inputs

    def leave(self) -> None:
        """Nobody is there to take a start: leave it to others. The input stays, to be asked for anew."""
        with self._run.lock:
            place, self._place = self._place, None
            self.due = inf if self.inputs is END else -inf
        if place is not None:  # pragma: no branch  it may have come to its turn in between
            place.leave()

    def is_in_line(self) -> bool:
        """Whether it stands in the line for the rate."""
        return self._place is not None

    def _call_up(self) -> None:
        """It has come to the front of the line. From any thread."""
        with self._run.lock:
            self.due = -inf
            self._run.notify()
