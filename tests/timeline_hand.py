"""Timelines fed by hand, for tests of what is made of them: each call is when and what the test says."""

from collections.abc import Callable, Sequence
from typing import Any

from concurrency import Timeline
from concurrency._calls import Job
from concurrency._options import Operation
from concurrency._recorder import Outcome, Watch


class Hand:
    """Feeds one timeline. Times are seconds from its beginning."""

    def __init__(self, keep: int = 100_000) -> None:
        self.timeline = Timeline(keep=keep)
        self._recorder = self.timeline._recorder
        self._recorder.origin = 0.0

    def map(self, function: Callable[..., Any], begun: float = 0.0, *, operation: str = "map", **options: Any) -> "HandMap":
        job = Job(Operation(operation, is_async=operation.startswith("a_")), function, ([],), options)
        watch = Watch(job, [self._recorder])
        watch.begun = begun
        return HandMap(self, watch)

    def picture(self) -> Any:
        return self.timeline._picture()


class HandMap:
    """Feeds one map of it."""

    def __init__(self, hand: Hand, watch: Watch) -> None:
        self._hand = hand
        self.watch = watch

    def call(
        self,
        index: int,
        start: float,
        end: float | None,
        *,
        ready: float | None = None,
        outcome: Outcome = Outcome.RESULT,
        worker: object = None,
        shown: Any = None,
    ) -> None:
        """One call; without an end it is still running."""
        begun = (index, start if ready is None else ready, start, worker, index if shown is None else shown)
        if end is None:
            self.watch.running[index] = begun
        else:
            recorder = self._hand._recorder
            recorder.append((next(recorder.numbers), self.watch.number, begun, end, list(Outcome).index(outcome)))

    def calls(self, spans: Sequence[tuple[float, float]], worker: object = None) -> None:
        """A call for each start and end."""
        for index, (start, end) in enumerate(spans):
            self.call(index, start, end, worker=worker)
