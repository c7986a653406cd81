"""How the outcomes of a task come back from another process: as bytes, pickled and unpickled by ourselves.

Left to the executor, a result that cannot be unpickled breaks a whole process pool, and one that cannot be pickled takes the
other results of its task with it; on dask, the future of either never ends. And an exception that the executor brings could be
the call's or its own.
"""

import pickle
import sys
from typing import Any, NamedTuple

from concurrency._observing import Times


class Outcomes(NamedTuple):
    """What has come of the calls of a task, one after the other, as far as it got."""

    values: list[Any]
    """The results; something else in the place of a call that has raised."""
    raised: dict[int, BaseException]
    """What such calls have raised, by their places."""
    unsendable: BaseException | None = None
    """Why the result behind all these cannot be pickled."""
    times: Times | None = None
    """When the calls ran, if that was asked for."""

    def forget(self) -> None:
        """They are where they belong. The frames behind what has been raised hold the future, and that holds these."""
        self.values.clear()
        self.raised.clear()


class CallError(Exception):
    """Raised by a task that a call has ended: an executor may run failed tasks again, or list them."""

    parcel = b""
    """All outcomes of the task. No argument, which logs would show."""


class RemoteTracebackError(Exception):
    """The cause of an exception from another process: what its traceback was there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def pack(outcomes: Outcomes) -> bytes:
    """To be unpacked in the caller's process. Raises what pickling raises only where no single result is to blame."""
    values = outcomes.values
    # Pickle keeps of an exception neither traceback nor cause, so they come along as text, as `ProcessPoolExecutor` has it.
    raised = {place: (_sendable(error), _text(error)) for place, error in outcomes.raised.items()}
    try:
        return _dumps((values, raised, None, outcomes.times))
    except Exception:
        for place, value in enumerate(values):
            try:
                _dumps(value)
            except Exception as reason:  # noqa: BLE001  whatever pickling raises
                before = {earlier: raised[earlier] for earlier in raised if earlier < place}
                return _dumps((values[:place], before, _sendable(reason), outcomes.times))
        raise


def unpack(parcel: bytes) -> Outcomes:
    """What is in it. Raises whatever unpickling raises."""
    values, raised, unsendable, times = pickle.loads(parcel)
    for error, text in raised.values():
        BaseException.__setattr__(error, "__cause__", RemoteTracebackError(text))  # its own may refuse
    return Outcomes(values, {place: error for place, (error, _) in raised.items()}, unsendable, times)


def _sendable(error: BaseException) -> BaseException:
    """`error`, or what says why it cannot be pickled and unpickled."""
    try:
        pickle.loads(_dumps(error))
    except Exception as reason:  # noqa: BLE001  whatever pickling raises
        return pickle.PicklingError(f"{type(error).__name__}, raised by the call, cannot be sent: {reason}")
    return error


def _dumps(value: Any) -> bytes:
    """Pickle, or, where that does not do and an executor has brought it, cloudpickle."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        cloudpickle = sys.modules.get("cloudpickle")
        if cloudpickle is None:
            raise
        data: bytes = cloudpickle.dumps(value)
        return data


def _text(error: BaseException) -> str:
    from traceback import format_exception  # noqa: PLC0415  heavy, and only for failures

    return "".join(format_exception(error))
