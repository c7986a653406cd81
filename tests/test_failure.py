"""Promises 8 and 9: what a map raises when a call fails, what its note says, what becomes of the other calls."""

import asyncio
import inspect
import pickle
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from types import TracebackType
from typing import Any, NoReturn

import pytest

from concurrency import Concurrent
from tests.ways import LOOP, Barrier, Way, raises_one_object_at_once


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def functions_in(error: BaseException) -> list[str]:
    """Which functions of this module the traceback runs through, outermost first."""
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_globals is globals()]


def length_of(trace: TracebackType | None) -> int:
    return len(list(traceback.walk_tb(trace)))


def fail(error: BaseException) -> NoReturn:
    raise error


def test_the_exception_of_the_call_is_raised_itself(way: Way) -> None:
    error = ValueError("the one")

    async def call(item: int) -> int:
        return item if item != 2 else fail(error)

    with pytest.raises(ValueError) as caught:
        way(call, [0, 1, 2, 3])
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_the_traceback_leads_from_the_caller_to_where_it_was_raised(way: Way) -> None:
    async def call(item: int) -> int:
        return fail(ValueError(item))

    def ask() -> None:
        way(call, [0])

    with pytest.raises(ValueError) as caught:
        ask()
    functions = functions_in(caught.value)
    assert functions[0] == inspect.stack()[0].function
    assert functions[1] == "ask"
    assert functions[-2:] == ["call", "fail"]
    assert functions.count("call") == functions.count("fail") == 1


def test_cause_and_context_of_the_exception_stay(way: Way) -> None:
    async def call(item: int) -> None:
        try:
            raise KeyError(item)
        except KeyError as error:
            if item == 0:
                raise ValueError from error
            raise

    with pytest.raises(ValueError) as caught:
        way(call, [0])
    assert type(caught.value.__cause__) is KeyError
    assert caught.value.__context__ is caught.value.__cause__


def test_a_note_says_which_call_it_was(way: Way) -> None:
    async def fetch(url: str) -> str:
        return fail(OSError()) if url == "https://c" else url

    with pytest.raises(OSError) as caught:
        way(fetch, ["https://a", "https://b", "https://c"], limit=1)
    assert notes_of(caught.value) == [f"concurrency: call 2 of fetch.{way.operation} failed, with 'https://c'"]


def test_the_note_shows_the_inputs_of_all_iterables(way: Way) -> None:
    async def fetch(url: str, tries: int) -> str:
        return fail(OSError()) if tries == 2 else url

    with pytest.raises(OSError) as caught:
        way(fetch, ["a", "b"], [1, 2], limit=1)
    assert notes_of(caught.value) == [f"concurrency: call 1 of fetch.{way.operation} failed, with ('b', 2)"]


def test_the_note_comes_after_those_of_the_call(way: Way) -> None:
    async def call(item: int) -> None:
        error = ValueError()
        error.add_note("its own")
        raise error

    with pytest.raises(ValueError) as caught:
        way(call, [0])
    assert notes_of(caught.value) == ["its own", f"concurrency: call 0 of call.{way.operation} failed, with 0"]


class ReprRaises:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class ReprReturnsNoStr:
    def __repr__(self) -> str:
        return 1  # type: ignore[return-value]


class ReprIsHuge:
    def __repr__(self) -> str:
        return "x" * 1_000_000


class ReprRecurses:
    def __repr__(self) -> str:
        return repr(self)


class ComparesNothing:
    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __lt__ = __gt__ = __eq__
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise AssertionError("truth-tested")

    def __len__(self) -> int:
        raise AssertionError("measured")


def contains_itself() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    "item",
    [
        ReprRaises(),
        ReprReturnsNoStr(),
        ReprIsHuge(),
        ReprRecurses(),
        ComparesNothing(),
        [ReprRaises()],
        {1: ReprRaises()},
        {ReprIsHuge(): ReprIsHuge()},
        contains_itself(),
        "x" * 1_000_000,
        10**5000,
        list(range(100_000)),
        set(range(100_000)),
        {number: number for number in range(100_000)},
        [[[[[[[["deep"] * 100] * 100] * 100]]]]],
        {1, "of two kinds", None},
    ],
    ids=lambda item: type(item).__name__,
)
def test_an_input_that_is_hard_to_show_does_not_hide_the_exception(way: Way, item: object) -> None:
    error = ValueError()

    async def call(item: object) -> None:
        raise error

    with pytest.raises(ValueError) as caught:
        way(call, [item])
    assert caught.value is error
    (note,) = notes_of(error)
    assert note.startswith(f"concurrency: call 0 of call.{way.operation} failed, with ")
    assert len(note) < 1000


@dataclass(frozen=True)
class Frozen(Exception):
    """`dataclass(frozen=True)` refuses every attribute, `__traceback__` and `__notes__` too."""

    code: int = 0


class RefusesNotes(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("no notes")


class HasOtherNotes(Exception):
    __notes__ = "not a list"  # type: ignore[assignment]


class NotesRaise(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise ZeroDivisionError


class NoteOfOddKind(Exception):
    def __init__(self) -> None:
        self.__notes__ = [ComparesNothing()]  # type: ignore[list-item]


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


class Slots(Exception):
    __slots__ = ("code",)


class ComparesAndHashesNothing(ComparesNothing, Exception):
    pass


class StrRaises(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class TracebackRefused(Exception):
    def with_traceback(self, trace: TracebackType | None) -> "TracebackRefused":
        raise ZeroDivisionError


class SetattrRaises(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise ZeroDivisionError(name)


STRANGE = [
    Frozen,
    RefusesNotes,
    HasOtherNotes,
    NotesRaise,
    NoteOfOddKind,
    Falsy,
    Slots,
    ComparesAndHashesNothing,
    StrRaises,
    TracebackRefused,
    SetattrRaises,
]
strange = pytest.mark.parametrize("kind", STRANGE, ids=lambda kind: kind.__name__)


class ClassRaises(Exception):
    """Not among the others: asyncio asks each exception for its `__class__`."""

    @property  # type: ignore[misc]  # read-only, unlike object's
    def __class__(self) -> Any:
        raise ZeroDivisionError


def outcome_of(function: Callable[[], Any]) -> Any:
    """What a function returns or raises; `pytest.raises` would look into the exception."""
    try:
        return function()
    except BaseException as error:
        return error


@strange
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_an_exception_with_ideas_of_its_own_is_raised_all_the_same(way: Way, kind: type[Exception], place: int) -> None:
    error = kind()

    async def call(item: int) -> int:
        return item if item != place else fail(error)

    assert outcome_of(lambda: way(call, [0, 1, 2])) is error


@strange
def test_an_exception_with_ideas_of_its_own_is_caught_all_the_same(way: Way, kind: type[Exception]) -> None:
    error = kind()

    async def call(item: int) -> int:
        return item if item != 1 else fail(error)

    zero, one, two = way(call, [0, 1, 2], catch=kind)
    assert one is error
    assert (zero, two) == (0, 2)


@strange
def test_an_exception_with_ideas_of_its_own_comes_through_a_nested_map(way: Way, kind: type[Exception]) -> None:
    error = kind()

    def inner(item: int) -> int:
        return fail(error)

    async def outer(item: int) -> list[int]:
        return Concurrent.map(inner, [item])

    assert outcome_of(lambda: way(outer, [0])) is error


@pytest.mark.parametrize("inputs", [list, iter])
@pytest.mark.parametrize("catch", [(), KeyError])
def test_an_exception_whose_class_cannot_be_asked_for_is_raised(inputs: Callable[..., Any], catch: Any) -> None:
    error = ClassRaises()

    def call(item: int) -> int:
        return item if item != 1 else fail(error)

    outcome = outcome_of(lambda: Concurrent.map(call, inputs([0, 1, 2]), catch=catch))
    is_itself = outcome is error
    assert is_itself


def test_further_failures_are_named(way: Way) -> None:
    together = way.barrier(6)

    async def call(item: int) -> None:
        try:
            await together.wait()
        finally:  # also when it is cancelled for the failure of another
            raise ValueError(item)

    with pytest.raises(ValueError) as caught:
        way(call, list(range(6)), limit=6)
    (note,) = notes_of(caught.value)
    (index,) = caught.value.args
    first, further = note.split("; 5 more failed: ")
    assert first == f"concurrency: call {index} of call.{way.operation} failed, with {index}"
    *named, rest = further.split("; ")
    assert len(set(named)) == 3
    assert set(named) <= {f"call {other}, with {other}: ValueError({other})" for other in range(6) if other != index}
    assert rest == "…"


def test_the_first_failure_in_time_is_raised_while_a_slow_call_runs(way: Way) -> None:
    started: list[int] = []
    ended: list[int] = []
    failing: list[int] = []
    both_run = way.barrier(2)

    async def call(item: int) -> None:
        started.append(item)
        try:
            await both_run.wait()
            if item == 1:
                failing.append(get_ident())
                raise ValueError(item)
            await way.outlast(failing)
        finally:
            ended.append(item)

    with pytest.raises(ValueError) as caught:
        way(call, list(range(100)), limit=2)
    assert notes_of(caught.value) == [f"concurrency: call 1 of call.{way.operation} failed, with 1"]
    assert sorted(started) == [0, 1], "a call has started after the failure"
    assert ended == [1, 0], "the map has not waited for the slow call"


def test_cancelled_calls_are_awaited_however_long_they_take() -> None:
    cleaned: list[int] = []

    async def call(item: int) -> None:
        if item == 2:
            raise ValueError
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(item + 3):
                await asyncio.sleep(0)
            cleaned.append(item)

    async def main() -> None:
        with pytest.raises(ValueError):
            await Concurrent.a_map(call, [0, 1, 2])
        assert sorted(cleaned) == [0, 1]

    asyncio.run(main())


class Strong(BaseException):
    pass


@pytest.mark.parametrize("kind", [Strong, KeyboardInterrupt, SystemExit, GeneratorExit, BaseExceptionGroup])
def test_what_is_no_exception_propagates_as_itself_and_is_never_caught(way: Way, kind: type[BaseException]) -> None:
    is_eager = LOOP == "eager" and way.operation == "a_map" and getattr(way, "factory", None) is None
    if is_eager and issubclass(kind, KeyboardInterrupt | SystemExit):
        pytest.skip("asyncio's eager factory raises it and keeps the task to itself, and then complains about it")
    error = kind("several", [Strong()]) if issubclass(kind, BaseExceptionGroup) else kind("it")

    async def call(item: int) -> int:
        return item if item != 1 else fail(error)

    assert outcome_of(lambda: way(call, [0, 1, 2], catch=(Exception, ValueError))) is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_is_raised_though_it_comes_after_a_suspension(kind: type[BaseException]) -> None:
    error = kind("it")
    ended: list[int] = []
    begun = asyncio.Barrier(3)

    async def call(item: int) -> None:
        try:
            await begun.wait()
            if item == 1:
                raise error
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    assert outcome_of(lambda: asyncio.run(Concurrent.a_map(call, [0, 1, 2], catch=Exception))) is error
    assert sorted(ended) == [0, 1, 2]


def test_a_call_that_is_cancelled_from_within_cancels_the_map() -> None:
    ended: list[int] = []

    async def call(item: int) -> None:
        try:
            await asyncio.sleep(0)
            if item == 1:
                raise asyncio.CancelledError
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(asyncio.CancelledError):
            await Concurrent.a_map(call, [0, 1, 2], catch=Exception)
        assert sorted(ended) == [0, 1, 2]
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_a_call_on_a_thread_may_raise_cancelled_error() -> None:
    def call(item: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        Concurrent.map(call, [0], catch=Exception)


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("inputs", [list, iter])
def test_what_means_the_end_arrives_as_runtime_error(kind: type[Exception], place: int, inputs: Callable[..., Any]) -> None:
    error = kind(5)

    def call(item: int) -> int:
        if item == place:
            raise error
        return item

    async def a_call(item: int) -> int:
        return call(item)

    def returns_awaitable(item: int) -> Any:
        call(item)
        return asyncio.sleep(0, item)

    for attempt in (
        lambda: Concurrent.map(call, inputs([0, 1, 2])),
        lambda: asyncio.run(Concurrent.a_map(a_call, inputs([0, 1, 2]))),
        lambda: asyncio.run(Concurrent.a_map(returns_awaitable, inputs([0, 1, 2]))),
    ):
        with pytest.raises(RuntimeError) as caught:
            attempt()
        assert type(caught.value) is RuntimeError
        assert caught.value.__cause__ is error
        assert len(notes_of(caught.value)) == 1


def test_catch_returns_exceptions_in_the_place_of_their_calls(way: Way) -> None:
    errors = {1: KeyError(1), 3: IndexError(3), 4: ValueError(4)}

    async def call(item: int) -> int:
        if item in errors:
            raise errors[item]
        return item

    assert way(call, list(range(6)), catch=(LookupError, ValueError)) == [0, errors[1], 2, errors[3], errors[4], 5]
    assert all(notes_of(error) == [] for error in errors.values())
    assert all(functions_in(error) == ["call"] for error in errors.values())


def test_catch_takes_no_other_types(way: Way) -> None:
    async def call(item: int) -> None:
        raise KeyError(item) if item == 0 else ValueError(item)

    with pytest.raises(ValueError):
        way(call, [0, 1], limit=1, catch=KeyError)


def test_nothing_is_caught_without_catch(way: Way) -> None:
    async def call(item: int) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        way(call, [0], catch=())


def test_an_exception_group_raised_by_a_call_stays_what_it_is(way: Way) -> None:
    group = ExceptionGroup("several", [ValueError(), KeyError()])

    async def call(item: int) -> None:
        raise group

    assert outcome_of(lambda: way(call, [0])) is group
    assert way(call, [0], catch=ExceptionGroup) == [group]


@raises_one_object_at_once
def test_an_object_that_every_call_raises_gets_one_note_and_one_traceback(way: Way) -> None:
    single = ValueError("single")

    async def call(item: int) -> None:
        raise single

    lengths = []
    for _ in range(20):
        with pytest.raises(ValueError) as caught:
            way(call, list(range(5)), limit=1)
        assert caught.value is single
        assert notes_of(single) == [f"concurrency: call 0 of call.{way.operation} failed, with 0"]
        assert functions_in(single).count("call") == 1
        lengths.append(length_of(single.__traceback__))
    assert len(set(lengths[1:])) == 1, "it grows"


@raises_one_object_at_once
def test_an_object_that_many_calls_raise_at_once_gets_one_note(way: Way) -> None:
    single = ValueError("single")

    for _ in range(5):
        together = way.barrier(4)

        async def call(item: int, together: Barrier = together) -> None:
            await together.wait()
            raise single

        with pytest.raises(ValueError):
            way(call, list(range(4)), limit=4)
        assert len(notes_of(single)) == 1
        assert functions_in(single).count("call") <= 4, "it grows from map to map"


@raises_one_object_at_once
def test_an_object_that_every_call_raises_does_not_grow_when_it_is_caught(way: Way) -> None:
    single = ValueError("single")

    async def call(item: int) -> None:
        raise single

    for _ in range(5):
        assert way(call, list(range(20)), catch=ValueError) == [single] * 20
        assert functions_in(single) == ["call"]
    assert notes_of(single) == []


def test_an_exception_that_has_been_raised_before_keeps_its_own_notes(way: Way) -> None:
    single = ValueError("single")
    single.add_note("its own")

    async def call(item: int) -> None:
        raise single

    for _ in range(3):
        with pytest.raises(ValueError):
            way(call, [0])
    assert notes_of(single) == ["its own", f"concurrency: call 0 of call.{way.operation} failed, with 0"]


def test_a_failure_in_a_nested_map_is_named_by_both(way: Way) -> None:
    def inner(item: int) -> int:
        return fail(ValueError())

    async def outer(item: str) -> list[int]:
        return Concurrent.map(inner, [7])

    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            way(outer, ["a"])
        assert notes_of(caught.value) == [
            "concurrency: call 0 of inner.map failed, with 7",
            f"concurrency: call 0 of outer.{way.operation} failed, with 'a'",
        ]
        assert functions_in(caught.value)[-3:] == ["outer", "inner", "fail"]


def test_a_failure_in_an_a_map_within_an_a_map_is_named_by_both() -> None:
    async def inner(item: int) -> int:
        await asyncio.sleep(0)
        return fail(ValueError())

    async def outer(item: str) -> list[int]:
        return await Concurrent.a_map(inner, [7])

    with pytest.raises(ValueError) as caught:
        asyncio.run(Concurrent.a_map(outer, ["a"]))
    assert notes_of(caught.value) == [
        "concurrency: call 0 of inner.a_map failed, with 7",
        "concurrency: call 0 of outer.a_map failed, with 'a'",
    ]
    assert functions_in(caught.value)[-3:] == ["outer", "inner", "fail"]


def test_what_an_inner_map_has_caught_keeps_its_traceback(way: Way) -> None:
    def inner(item: int) -> int:
        return fail(ValueError())

    async def outer(item: int) -> None:
        (error,) = Concurrent.map(inner, [item], catch=ValueError)
        assert isinstance(error, ValueError)
        raise error

    with pytest.raises(ValueError) as caught:
        way(outer, [0])
    assert functions_in(caught.value)[-3:] == ["outer", "inner", "fail"]


def test_a_fault_that_no_call_has_raised_is_raised_and_never_lost(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out while a failure is being noted, say."""

    def out_of_memory(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("concurrency._outcomes.Failures.seen", out_of_memory)

    async def call(item: int) -> int:
        return item if item != 1 else fail(ValueError())

    with pytest.raises(MemoryError):
        way(call, [0, 1, 2])


def test_a_failing_map_leaves_no_note_of_it_in_the_thread(way: Way) -> None:
    """What a worker thread has handled does not become the context of what it raises next."""

    async def call(item: int) -> None:
        raise ValueError(item)

    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            way(call, [0, 1, 2])
        assert caught.value.__context__ is None


def test_the_call_that_closes_the_map_has_ended_in_every_thread() -> None:
    """A failing call is over, in its thread too, when the map raises."""
    threads: list[int] = []
    entered = threading.Barrier(4)

    def call(item: int) -> None:
        threads.append(get_ident())
        entered.wait(20)
        raise ValueError(item)

    with pytest.raises(ValueError):
        Concurrent.map(call, range(4), limit=4)
    assert len(set(threads)) == 4


def test_a_note_is_plain_text_wherever_its_exception_is_sent() -> None:
    with pytest.raises(ValueError) as caught:
        Concurrent.map(int, ["x"])
    (note,) = pickle.loads(pickle.dumps(caught.value)).__notes__
    assert type(note) is str
    assert note == "concurrency: call 0 of int.map failed, with 'x'"
