"""`timeline`: which calls of a block have run when, to be looked at."""

import os
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from concurrency._brief import brief
from concurrency._observing import Observer, watching

if TYPE_CHECKING:
    from concurrency._calls import Job
    from concurrency._picture import Picture
    from concurrency._recorder import Recorder

KEEP = 100_000
"""Calls that are kept by default: some 30 MB, and as many as a browser draws without a delay."""


def timeline(path: "str | os.PathLike[str] | None" = None, *, keep: int = KEEP) -> "Timeline":
    """Record every call that the operations run within a block, to see what ran when, and what waited for what.

    Maps and streams that begin in the block are recorded, in the same context alone: in this thread or task, in the tasks it
    starts, and in mapped calls, so nested maps are recorded too. Nothing has to be changed where they are called. With a `path`
    the timeline is saved there at the end of the block, also when that raises.

    A call costs half a microsecond more, and the `repr` of an input that is neither number nor string. It is made right before
    the call. A type whose repr takes long is soon shown by its name alone.

    - `path`: a file ending in `.html`, a page that needs nothing else, or in `.json`, Chrome trace events for Perfetto and
      `chrome://tracing`. Its directory has to exist.
    - `keep`: how many calls are kept, of those that have ended. When there are more the oldest go, and the timeline says so.

    Raises `TypeError` or `ValueError` where an argument cannot be right, `FileNotFoundError` if the directory is missing.

    >>> from concurrency import Concurrent, timeline
    >>> with timeline() as seen:
    ...     Concurrent.map(str.upper, "abc")
    ['A', 'B', 'C']
    >>> print(seen)  # doctest: +ELLIPSIS
    Timeline: 3 calls in ...
    """
    return Timeline(path, keep=keep)


class Timeline:
    """What `timeline` returns: what has been recorded so far. Printed it is a short table, in Jupyter the page.

    It may be looked at and saved at any time, also within the block: calls that have not ended are shown as running. It may be
    entered again, and then goes on.

    >>> from concurrency import Concurrent, timeline
    >>> seen = timeline(keep=2)
    >>> with seen:
    ...     Concurrent.map(str.upper, "abc", limit=1)
    ['A', 'B', 'C']
    >>> print(seen)  # doctest: +ELLIPSIS
    Timeline: 2 calls in ...
    The oldest call is not shown: keep=2. All numbers are of those that are.
    map        calls  ...
    """

    def __init__(self, path: "str | os.PathLike[str] | None" = None, *, keep: int = KEEP) -> None:
        self._path = None if path is None else _checked_path(path)
        if type(keep) is not int:
            raise TypeError(f"keep must be an integer, got {brief(keep)}")
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        from concurrency._recorder import Recorder  # noqa: PLC0415  importing the package must stay light

        self._recorder = Recorder(keep)
        self._token: Token[Any] | None = None

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write what there is to a file: `.html` or `.json`, as with `timeline`."""
        _write(self._picture(), _checked_path(path))

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("the timeline is open already")
        outer = watching.get()
        others = outer.recorders if isinstance(outer, _Watchers) else ()
        self._recorder.is_open = True
        self._token = watching.set(_Watchers((*others, self._recorder)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._recorder.is_open = False
        if self._token is not None:
            token, self._token = self._token, None
            watching.reset(token)
        if self._path is None:
            return
        try:
            _write(self._picture(), self._path)
        except Exception as fault:
            if error is None:
                raise
            error.add_note(f"concurrency: the timeline could not be saved: {fault}")

    def __repr__(self) -> str:
        from concurrency._timeline_table import text_table  # noqa: PLC0415  only who looks needs it

        return text_table(self._picture())

    def _repr_html_(self) -> str:
        from concurrency._timeline_page import frame  # noqa: PLC0415  as above

        return frame(self._picture())

    def _picture(self) -> "Picture":
        from concurrency._picture import picture_of  # noqa: PLC0415  as above

        return picture_of(self._recorder)


class _Watchers:
    """The timelines that a context is in, nested in one another: what begins there is in each of them."""

    def __init__(self, recorders: "tuple[Recorder, ...]") -> None:
        self.recorders = recorders

    def __call__(self, job: "Job") -> Observer | None:
        from concurrency._recorder import Watch  # noqa: PLC0415  as above

        # A task may outlive the block that it was started in: then nobody watches it any more.
        recorders = [recorder for recorder in self.recorders if recorder.listens()]
        return Watch(job, recorders) if recorders else None


def _checked_path(path: "str | os.PathLike[str]") -> str:
    checked = os.fspath(path)
    if not checked.endswith((".html", ".json")):
        raise ValueError(f"path must end in .html or .json, got {brief(checked)}")
    if not os.path.isdir(os.path.dirname(checked) or "."):
        raise FileNotFoundError(f"the directory of path does not exist, got {brief(checked)}")
    return checked


def _write(picture: "Picture", path: str) -> None:
    if path.endswith(".json"):
        from concurrency._trace_events import trace_events  # noqa: PLC0415  as above

        text = trace_events(picture)
    else:
        from concurrency._timeline_page import page  # noqa: PLC0415  as above

        text = page(picture)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
