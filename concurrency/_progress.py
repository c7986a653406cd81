"""Progress bars: how many calls of a run have ended, on a bar of tqdm or of its kind."""

from collections.abc import Callable
from math import inf
from operator import length_hint
from threading import Lock
from typing import Any, Protocol

from concurrency import pacing

INTERVAL = 0.1
"""Seconds between two looks at a run: tqdm's own `mininterval`, since it would not draw more often."""


class Bar(Protocol):
    """What is used of a bar."""

    def update(self, n: float, /) -> object:
        """So many more have ended."""

    def set_postfix(self, *, refresh: bool, failed: int) -> object:
        """What to show behind the bar."""

    def close(self) -> object:
        """No more will come."""


class Progress:
    """The bar of one run. It looks at counts that are there anyhow, from time to time, so that a call costs nothing more."""

    def __init__(self, progress: "bool | str | Callable[..., Bar]", name: str, iterables: tuple[Any, ...]) -> None:
        self._make: Callable[..., Bar] = _tqdm() if isinstance(progress, bool | str) else progress
        self._title = progress if isinstance(progress, str) else name
        self._total = _total(iterables)
        self._lock = Lock()  # one at a time draws: threads that share a stream share its bar
        self._bar: Bar | None = None
        self._closed = False
        self._shown = 0
        self._failed = 0
        self.due = -inf  # when to look again

    def show(self, finished: int, failed: int) -> None:
        """Bring the bar up to date. Opens it the first time."""
        with self._lock:
            if not self._closed:
                self._show(finished, failed)

    def close(self, finished: int, failed: int) -> Exception | None:
        """The run has ended, in whatever way. What the bar raises is returned: it must not hide how the run has ended."""
        with self._lock:
            return self._close(finished, failed)

    def abandon(self, finished: int, failed: int) -> None:
        """As `close`, for the garbage collector, which may run while the bar is being drawn in this very thread."""
        if self._lock.acquire(blocking=False):  # pragma: no branch  who draws it mostly holds the stream, too
            try:
                self._close(finished, failed)
            finally:
                self._lock.release()

    def _show(self, finished: int, failed: int) -> None:
        if self._bar is None:
            self._bar = self._make(total=self._total, desc=self._title)
        self.due = pacing.clock.now() + INTERVAL
        if failed > self._failed:
            self._failed = failed
            self._bar.set_postfix(refresh=False, failed=failed)
        if finished > self._shown:
            more, self._shown = finished - self._shown, finished
            self._bar.update(more)

    def _close(self, finished: int, failed: int) -> Exception | None:
        bar, self._closed = self._bar, True
        if bar is None:
            return None
        try:
            try:
                self._show(finished, failed)
            finally:
                self._bar = None
                bar.close()
        except Exception as error:  # noqa: BLE001  a broken pipe, say
            return error
        return None


def _tqdm() -> Callable[..., Bar]:
    try:
        from tqdm import tqdm  # noqa: PLC0415  an extra, and heavy
    except ImportError:
        raise ImportError("progress needs tqdm: pip install 'concurrent-construct[progress]'") from None
    bar: Callable[..., Bar] = tqdm
    return bar


def _total(iterables: tuple[Any, ...]) -> int | None:
    """How many calls there will be at most: the shortest iterable of those that know their length."""
    known = [length for length in map(_length, iterables) if length is not None]
    return min(known, default=None)


def _length(iterable: Any) -> int | None:
    try:
        length = length_hint(iterable, -1)
    except Exception:  # noqa: BLE001  a bar without a total is no reason to fail
        return None
    return None if length < 0 else length
