"""What the drivers share about calls that end badly: what `catch` takes, which failure a map raises, what its note says."""

from collections.abc import Iterator, Sequence
from itertools import count
from math import inf
from types import FrameType, TracebackType
from typing import Any

from concurrency._brief import brief
from concurrency._calls import END, Inputs, Job, WrongColourError

FURTHER = 3
"""How many of the further failures a note names: enough to see a pattern, few enough to read."""

_Failed = tuple[int | range | None, Inputs, BaseException]

_TRACEBACK: Any = vars(BaseException)["__traceback__"]

_moments = count()
"""Orders the starts of maps and the notes they leave: what a note says is older than a map cannot be about its calls."""


class Failures:
    """The failed calls of one map, in the order in which they failed.

    Not thread-safe: the driver calls `add` and `first` under the lock of the map, or from its event loop alone.
    """

    __slots__ = ("_catch", "_failed", "_last", "_mark", "_moment", "_name", "caught")

    def __init__(self, job: Job) -> None:
        self._name = job.name
        self._catch = job.options.catch
        self._moment = next(_moments)
        self._mark: FrameType | None = None
        self._last: TracebackType | None = None  # of the last outcome seen, without the mark
        self._failed: list[_Failed] = []
        self.caught = 0

    def __bool__(self) -> bool:
        return bool(self._failed)

    def seen(self, error: BaseException) -> BaseException:
        """`error` as a call's outcome: without frames of the driver, and never one that means "the end" to who iterates."""
        try:
            self._last = own = _own_part(error, self._moment, self._last)
            generator: Any = _call_of_a_map(self._moment)
            mark: FrameType = self._mark or generator.gi_frame
            self._mark = mark
            marked = TracebackType(own, mark, mark.f_lasti, mark.f_lineno)
            BaseException.with_traceback(error, marked)  # an assignment would ask `__setattr__`, which may refuse
        except Exception:  # noqa: BLE001  an exception with ideas of its own about its attributes must still arrive
            pass
        return as_outcome(error)

    def forget(self) -> None:
        """No other call has raised the last object seen meanwhile: do not hold on to its frames."""
        self._last = None

    def catches(self, error: BaseException) -> bool:
        """Whether `error` is to be returned in its call's place."""
        return is_caught(error, self._catch)

    def add(self, index: int | range | None, inputs: Inputs, error: BaseException) -> None:
        """A call has failed; if `inputs` is `END`, reading those for it has; without an index, something that is no call's.

        A range of indices stands for the calls that were sent together, where it is not known which of them it was.
        """
        self._failed.append((index, inputs, error))

    def first(self) -> BaseException:
        """The failure that came first, with a note that names it and those after it. From now on it is the caller's alone."""
        failed, self._failed, self._last = self._failed, [], None
        (index, inputs, error), further = failed[0], failed[1:]
        what = f"{self._name} failed"
        if isinstance(index, range):
            what = f"{_place(index, inputs)} of {self._name} failed"
        elif inputs is not END:
            what = f"call {index} of {self._name} failed, with {brief(inputs)}"
        elif index is not None:
            what = f"reading input {index} of {self._name} failed"
        _add_note(error, f"{what}{f'; {len(further)} more failed{_list(further)}' if further else ''}")
        return error

    def note_on(self, error: BaseException) -> None:
        """Name all failures on an error that goes before them, a `KeyboardInterrupt` say, so that none is lost."""
        failed, self._failed, self._last = self._failed, [], None
        if failed:
            _add_note(error, f"{len(failed)} of {self._name} had failed{_list(failed)}")


def as_outcome(error: BaseException) -> BaseException:
    """`error`, unless it means "the end" to who iterates: then a `RuntimeError`, as PEP 479 has it for generators."""
    if not issubclass(type(error), StopIteration | StopAsyncIteration):  # `isinstance` would ask its `__class__`
        return error
    outcome = RuntimeError(f"the call raised {type(error).__name__}")
    outcome.__cause__ = error
    return outcome


def is_caught(error: BaseException, catch: tuple[type[Exception], ...]) -> bool:
    """Whether `catch` takes this outcome of a call."""
    return issubclass(type(error), catch) and not issubclass(type(error), WrongColourError)


def timed_out(name: str, timeout: float | None, finished: int, read: int, total: int | None) -> TimeoutError:
    """The map's own `TimeoutError`, which says so, to be told from one that a call has raised."""
    if total is None:
        return TimeoutError(f"{name} timed out after {timeout:g} s, {read - finished} of the {read} calls begun unfinished")
    return TimeoutError(f"{name} timed out after {timeout:g} s, {total - finished} of {total} calls unfinished")


def traceback_of(error: BaseException | None) -> TracebackType | None:
    """Its `__traceback__`, whatever its class makes of that name."""
    return None if error is None else _TRACEBACK.__get__(error)


class _Note(str):
    """A note of ours, which knows when it was made."""

    moment: int

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def _add_note(error: BaseException, text: str) -> None:
    note = _Note(f"concurrency: {text}")
    note.moment = next(_moments)
    try:
        error.add_note(note)
    except Exception:  # noqa: BLE001  an exception that takes no notes must still arrive
        pass


def _own_part(error: BaseException, moment: int, last: TracebackType | None) -> TracebackType | None:
    """Of a traceback, what belongs to the call that has just raised `error`; the rest is cut off.

    An object that many calls raise gathers traceback upon traceback, and the notes of earlier maps too. Where a mark of ours
    stands that is not younger than this map, or what was the traceback of the `last` outcome, an earlier raise begins. Younger
    marks are of maps within this call. The frames of the driver at the top go too: they would keep inputs and results alive.
    """
    notes: Any = getattr(error, "__notes__", None)
    if issubclass(type(notes), list):
        notes[:] = [note for note in notes if type(note) is not _Note or note.moment > moment]
    entry = traceback_of(error)
    while entry is not None and is_ours(entry.tb_frame) and not _is_mark(entry.tb_frame):
        entry = entry.tb_next
    own: list[TracebackType] = []
    while entry is not None and entry is not last and _moment_of(entry.tb_frame) > moment:
        own.append(entry)
        entry = entry.tb_next
    if entry is not None:
        while own and is_ours(own[-1].tb_frame):
            own.pop()
        if own:
            own[-1].tb_next = None
    return own[0] if own else None


def is_ours(frame: FrameType) -> bool:
    """Whether it is a frame of this library, which a traceback need not begin with."""
    return str(frame.f_globals.get("__name__")).startswith("concurrency.")


def _call_of_a_map(moment: int) -> Iterator[int]:
    """Its frame stands in tracebacks where a driver has run a call. A generator's: that keeps no other frame alive."""
    yield moment  # pragma: no cover  it never runs


def _is_mark(frame: FrameType) -> bool:
    return frame.f_code is _call_of_a_map.__code__


def _moment_of(frame: FrameType) -> float:
    moment: float = frame.f_locals["moment"] if _is_mark(frame) else inf
    return moment


def _list(failed: Sequence[_Failed]) -> str:
    named = [f"{_place(index, inputs)}: {brief(error)}" for index, inputs, error in failed[:FURTHER]]
    return f": {'; '.join(named)}{'; …' if len(failed) > FURTHER else ''}"


def _place(index: int | range | None, inputs: Inputs) -> str:
    if isinstance(index, range):
        return f"one of the calls {index[0]} to {index[-1]}"
    if inputs is not END:
        return f"call {index}, with {brief(inputs)}"
    return "" if index is None else f"reading input {index}"
