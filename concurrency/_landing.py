"""The calls of one task, and how what has come of them gets into their run."""

import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from concurrency._calls import END, Inputs
from concurrency._parcels import CallError, Outcomes, unpack
from concurrency._runs import Run


class Chunk:
    """The calls of one task, of which the first is the one at `start`.

    `inputs` has those of each call.
    """

    __slots__ = ("_is_single", "inputs", "is_sent", "start")

    def __init__(self, start: int, inputs: Sequence[Any], is_single: bool) -> None:
        self.start = start
        self.inputs = inputs
        self.is_sent = False  # the executor has it, and tells when it has ended
        self._is_single = is_single

    def columns(self) -> Iterable[list[Any]]:
        """One list for each iterable: they pickle smaller than tuples do, and dask finds its own futures in them."""
        return [list(self.inputs)] if self._is_single else map(list, zip(*self.inputs, strict=True))

    def culprit(self, error: BaseException) -> tuple[int | range, Inputs]:
        """Which call the executor could not send; if that does not show, all of them."""
        if len(self.inputs) == 1:
            return self.start, self.inputs[0]
        for index, inputs in enumerate(self.inputs, self.start):
            try:
                pickle.dumps(inputs)
            except Exception as reason:  # noqa: BLE001  whatever pickling raises
                if type(reason) is type(error) and reason.args == error.args:
                    return index, inputs
        return range(self.start, self.start + len(self.inputs)), END


def land(run: Run, chunk: Chunk, future: "Future[Any]") -> None:
    """A future has ended: leave in its run what has come of the calls. Without the lock, in whatever thread; never waits."""
    if future.cancelled():
        if run.observer is not None:
            run.observer.returned(chunk.start, (), None)
        if not run.stopped:  # nothing is cancelled by us before that: the executor has been shut down, say
            refuse(run, chunk, CancelledError("the executor has cancelled the call"))
        return
    error = future.exception()
    if error is not None and not isinstance(error, CallError):
        refuse(run, chunk, error)
        return
    outcomes: Any = future.result() if error is None else error.parcel
    if isinstance(outcomes, bytes):
        try:
            outcomes = unpack(outcomes)
        except Exception as reason:  # noqa: BLE001  whatever unpickling raises
            refuse(run, chunk, reason)
            return
    if run.observer is not None:
        errors = [outcomes.raised.get(place) for place in range(len(outcomes.values))]
        errors += [] if outcomes.unsendable is None else [outcomes.unsendable]
        run.observer.returned(chunk.start, errors, outcomes.times)
    _settle(run, chunk, outcomes)
    outcomes.forget()


def refuse(run: Run, chunk: Chunk, error: BaseException) -> None:
    """The executor has not run a task, or not to its end."""
    if run.observer is not None:
        run.observer.lost(chunk.start)
    _give_up(run, error, *chunk.culprit(error))


def _settle(run: Run, chunk: Chunk, outcomes: Outcomes) -> None:
    values, raised, unsendable, _ = outcomes
    if not raised:
        with run.lock:
            run.finished += len(values)
            if not run.stopped or run.delivery.slots is not None:
                run.delivery.put_all(chunk.start, chunk.inputs, values)
    else:
        # A task that has been cut short has fewer outcomes than inputs.
        for place, (inputs, value) in enumerate(zip(chunk.inputs, values, strict=False)):
            if place in raised:
                run.fail(chunk.start + place, inputs, raised[place])
            else:
                with run.lock:
                    run.settle(chunk.start + place, inputs, value)
    if unsendable is not None:
        _give_up(run, unsendable, chunk.start + len(values), chunk.inputs[len(values)])


def _give_up(run: Run, error: BaseException, index: int | range, inputs: Inputs) -> None:
    """It is the executor that has failed, not the call, so `catch` has no say in it."""
    error = run.failures.seen(error)
    with run.lock:
        run.give_up(error, index, inputs)
