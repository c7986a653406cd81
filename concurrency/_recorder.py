"""What a timeline keeps of each call, and how it comes by it: clocks around the call, and one tuple at its end."""

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from itertools import count
from threading import get_ident
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, NamedTuple

from concurrency._brief import brief
from concurrency._observing import Observer, Span
from concurrency._options import UNBOUNDED
from concurrency._outcomes import as_outcome, is_caught

if TYPE_CHECKING:
    from concurrency._calls import Job

LONGEST = 200
"""Characters of a string that is kept as it is; of a longer one its short repr is."""

PATIENCE = 0.05
"""Seconds that the reprs of one type may take in a map, where they take long: from then on only the type is shown."""

LONG = 0.0005
"""Seconds: a repr that takes so long on average takes long. Thousands of calls a second would feel it."""


class Outcome(Enum):
    """How a call has ended."""

    RESULT = "result"
    FAILURE = "failed"
    CAUGHT = "caught"
    CANCELLED = "cancelled"
    RUNNING = "running"  # it has not, as yet


class Begun(NamedTuple):
    """A call from its start on. Made as a plain tuple where calls run, since that is five times as fast."""

    number: int  # its place among the inputs, from 0
    ready: float
    start: float
    worker: object  # what tells the workers of a map apart; None if nothing does
    shown: Any  # the input, if it is small and cannot change; else its repr, as a `Text`


Ended = tuple[int, "Watch", Begun | tuple[int, float, float, object, Any], float, Outcome]
"""The number of the record, its map, the call, when it ended and how."""


class Text(str):
    """A repr, to be told from an input that is a string."""

    __slots__ = ()


class Recorder:
    """The calls of all maps that begin while it is open, at most the last `keep`. Any thread may add to it."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.is_open = False
        self.origin = perf_counter()
        self.began_at = time()
        self._numbers = count()
        self._ended: deque[Ended] = deque(maxlen=keep)
        self._maps: deque[Watch] = deque(maxlen=keep)

    def snapshot(self) -> "tuple[list[Watch], list[Ended]]":
        """Everything so far. `copy` of a deque is one step, whereas to iterate over it is not."""
        return list(self._maps.copy()), list(self._ended.copy())

    def add_map(self, watch: "Watch") -> None:
        """A map begins."""
        self._maps.append(watch)

    def add(self, watch: "Watch", begun: Any, end: float, outcome: Outcome) -> None:
        """A call has ended."""
        self._ended.append((next(self._numbers), watch, begun, end, outcome))


class Watch(Observer):
    """The observer of one map. It stays for as long as its calls are kept, and holds neither function nor inputs."""

    def __init__(self, job: "Job", recorders: Sequence[Recorder]) -> None:
        options = job.options
        self.name = job.name
        self.kind = "asyncio" if job.operation.is_async else "threads" if options.executor is None else "executor"
        self.limit = None if options.limit == UNBOUNDED else options.limit
        self.rate = None if options.rate is None else repr(options.rate)
        self.begun = perf_counter()
        self.running: dict[int, Any] = {}
        self._ready: dict[int, float] = {}
        self._catch = options.catch
        self._reprs = _Reprs()
        self._recorders = recorders
        for recorder in recorders:
            recorder.add_map(self)

    def read(self, index: int) -> None:
        self._ready[index] = perf_counter()

    def calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        running, ready, since, show, end = self.running, self._ready, self.begun, self._reprs.show, self._end
        add = self._recorders[0].add if len(self._recorders) == 1 else self._add
        now, me, result = perf_counter, get_ident, Outcome.RESULT

        def observed(index: int, *inputs: Any) -> Any:
            try:
                shown = inputs[0] if len(inputs) == 1 else inputs
                if type(shown) is not int:
                    shown = show(shown)
                begun: Any = (index, ready.pop(index, since), now(), me(), shown)
                running[index] = begun
                value = function(*inputs)
                add(self, begun, now(), result)
                del running[index]
                return value
            except BaseException as error:
                end(index, error)
                raise
            finally:
                shown = begun = value = None
                del inputs  # the frame of a call that fails holds this one

        return observed

    def a_calling(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        running, ready, since, show, end = self.running, self._ready, self.begun, self._reprs.show, self._end
        add = self._recorders[0].add if len(self._recorders) == 1 else self._add
        now, result = perf_counter, Outcome.RESULT

        async def observed(index: int, *inputs: Any) -> Any:
            try:
                shown = inputs[0] if len(inputs) == 1 else inputs
                if type(shown) is not int:
                    shown = show(shown)
                begun: Any = (index, ready.pop(index, since), now(), None, shown)
                running[index] = begun
                value = await function(*inputs)
                add(self, begun, now(), result)
                del running[index]
                return value
            except BaseException as error:
                end(index, error)
                raise
            finally:
                shown = begun = value = None
                del inputs

        return observed

    def sent(self, index: int, inputs: tuple[Any, ...]) -> None:
        shown = self._reprs.show(inputs[0] if len(inputs) == 1 else inputs)
        self.running[index] = (index, self._ready.pop(index, self.begun), perf_counter(), None, shown)

    def returned(self, index: int, error: BaseException | None, span: Span | None) -> None:
        now = perf_counter()
        begun = self.running.get(index)
        if begun is None:
            return
        if span is not None:
            self.running[index] = Begun(*begun)._replace(start=span.start, worker=span.worker)
        self._end(index, error, now if span is None else span.end)

    def _add(self, watch: "Watch", begun: Any, end: float, outcome: Outcome) -> None:
        for recorder in self._recorders:
            recorder.add(watch, begun, end, outcome)

    def _end(self, index: int, error: BaseException | None, end: float | None = None) -> None:
        begun = self.running.pop(index, None)
        if begun is not None:
            self._add(self, begun, perf_counter() if end is None else end, self._outcome(error))

    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            return Outcome.RESULT
        if self.kind == "asyncio" and _is_cancellation(error):
            return Outcome.CANCELLED
        return Outcome.CAUGHT if is_caught(as_outcome(error), self._catch) else Outcome.FAILURE


class _Reprs:
    """What is shown of inputs: nothing that is large, that can change, or that was the user's object."""

    def __init__(self) -> None:
        self._slow: dict[int, list[float]] = {}  # by the `id` of a type: how many reprs, and how long they took in all

    def show(self, value: Any) -> Any:
        """The value itself, if it is small and cannot change; else its repr, made now, while it is what the call is given."""
        kind: Any = type(value)
        if kind is str or kind is bytes:
            return value if len(value) <= LONGEST else Text(brief(value))
        if kind is int or kind is float or kind is bool or value is None:
            return value
        return self._repr(value)

    def _repr(self, value: Any) -> Text:
        kind: Any = type(value)
        spent = self._slow.setdefault(id(kind), [0, 0.0])
        if spent[1] > PATIENCE and spent[1] > LONG * spent[0]:
            return Text(f"<{kind.__name__}>")
        start = perf_counter()
        text = Text(brief(value))
        spent[0] += 1
        spent[1] += perf_counter() - start
        return text


def text_of(shown: Any) -> str:
    """What is shown of an input."""
    return str(shown) if type(shown) is Text else brief(shown)


def _is_cancellation(error: BaseException) -> bool:
    from asyncio import CancelledError  # noqa: PLC0415  loaded already, by whoever runs on it

    return issubclass(type(error), CancelledError | GeneratorExit)  # the latter when the loop has been abandoned
