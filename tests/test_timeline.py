"""`timeline`: what it records of the calls of every operation, and that nothing else changes."""

import asyncio
import contextvars
import gc
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from concurrency import Concurrent, Timeline, concurrent, timeline
from concurrency._observing import watching
from concurrency._picture import Call, Map
from concurrency._recorder import Outcome
from tests.ways import PATIENCE, until

OPERATIONS = ["map", "stream", "as_completed", "a_map", "a_stream", "a_as_completed"]


class OddError(LookupError):
    """An exception that one may point to."""


class Item:
    """An input that a weak reference may point to."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Item({self.number})"


def one_by_one(items: list[Any]) -> Iterator[Any]:
    yield from items


async def a_one_by_one(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


SOURCES: dict[str, Callable[[list[Any]], Any]] = {"list": list, "generator": one_by_one, "async": a_one_by_one}
WAYS = [
    (operation, source) for operation in OPERATIONS for source in SOURCES if source != "async" or operation.startswith("a_")
]


def run(operation: str, function: Callable[..., Any], *iterables: Any, **options: Any) -> list[Any]:
    """All that an operation gives. A plain function is made one of the right colour."""
    if not operation.startswith("a_"):
        return list(getattr(Concurrent, operation)(function, *iterables, **options))

    async def call(*inputs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*inputs)

    call.__name__ = call.__qualname__ = function.__name__

    async def main() -> list[Any]:
        if operation == "a_map":
            return await Concurrent.a_map(call, *iterables, **options)
        return [result async for result in getattr(Concurrent, operation)(call, *iterables, **options)]

    return asyncio.run(main())


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> Any:
    operation, source = request.param

    def way(function: Callable[..., Any], items: list[Any], **options: Any) -> list[Any]:
        return run(operation, function, SOURCES[source](items), **options)

    way.operation = operation  # type: ignore[attr-defined]
    return way


def maps_of(seen: Timeline) -> list[Map]:
    return list(seen._picture().maps)


def calls_of(seen: Timeline) -> list[Call]:
    return sorted((call for each in maps_of(seen) for call in each.calls), key=lambda call: call.number)


def double(value: int) -> int:
    return 2 * value


def test_every_call_of_every_operation_is_recorded(way: Any) -> None:
    with timeline() as seen:
        way(double, [3, 4, 5], limit=2)
    (each,) = maps_of(seen)
    assert (each.name, each.limit, each.rate) == (f"double.{way.operation}", 2, None)
    assert each.kind == ("asyncio" if way.operation.startswith("a_") else "threads")
    assert [(call.number, call.shown, call.outcome) for call in calls_of(seen)] == [
        (place, str(place + 3), Outcome.RESULT) for place in range(3)
    ]


def test_results_are_the_same(way: Any) -> None:
    items = [*range(50)]
    plain = way(double, items)
    with timeline():
        observed = way(double, items)
    assert sorted(map(str, observed)) == sorted(map(str, plain))


def test_a_call_is_within_its_start_and_end_and_not_before_its_input(way: Any) -> None:
    moments: dict[int, float] = {}
    with timeline() as seen:
        way(lambda value: moments.update({value: perf_counter()}), [*range(10)], limit=3)
    origin = seen._recorder.origin
    calls = calls_of(seen)
    assert len(calls) == 10
    for call in calls:
        assert 0 <= call.ready <= call.start <= moments[call.number] - origin <= call.end


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_call_is_ready_when_its_input_has_been_read(operation: str) -> None:
    read: list[float] = []

    def inputs() -> Iterator[int]:
        for number in range(10):
            read.append(perf_counter())
            yield number

    with timeline() as seen:
        run(operation, double, inputs(), limit=2)
    for moment, call in zip(read, calls_of(seen), strict=True):
        assert moment - seen._recorder.origin <= call.ready


def test_inputs_of_several_iterables_are_shown_together() -> None:
    with timeline() as seen:
        Concurrent.map(pow, [2, 3], [4, 5])
        asyncio.run(Concurrent.a_map(asyncio.sleep, [0, 0], "ab"))
    assert [call.shown for each in maps_of(seen) for call in each.calls] == ["(2, 4)", "(3, 5)", "(0, 'a')", "(0, 'b')"]


def test_threads_are_told_apart() -> None:
    barrier = threading.Barrier(3)
    with timeline() as seen:
        Concurrent.map(lambda _: barrier.wait(PATIENCE), range(6), limit=3)
    (section,) = seen._picture().sections
    assert section.lanes == ["thread 1", "thread 2", "thread 3"]
    assert len({call.worker for call in calls_of(seen)}) == 3


@pytest.mark.parametrize("limit", [1, 3, None])
def test_calls_on_asyncio_have_slots(limit: int | None) -> None:
    async def call(_: int) -> None:
        await asyncio.sleep(0.001)

    with timeline() as seen:
        asyncio.run(Concurrent.a_map(call, range(6), limit=limit))
    (section,) = seen._picture().sections
    assert section.lanes == [f"slot {number + 1}" for number in range(limit or 6)]


def fail(value: int) -> int:
    if value == 1:
        raise LookupError(value)
    return value


def test_a_failure_is_recorded_as_one(way: Any) -> None:
    with timeline() as seen, pytest.raises(LookupError):
        way(fail, [0, 1], limit=1)
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.FAILURE]


def test_what_catch_takes_is_recorded_as_caught(way: Any) -> None:
    with timeline() as seen:
        way(fail, [0, 1, 2], catch=LookupError)
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.CAUGHT, Outcome.RESULT]


def test_a_stop_iteration_is_what_it_becomes(way: Any) -> None:
    def stop(_: int) -> None:
        raise StopIteration

    with timeline() as seen:
        way(stop, [0], catch=RuntimeError)
    assert [call.outcome for call in calls_of(seen)] == [Outcome.CAUGHT]


async def _for_ever(value: int) -> None:
    if value == 2:
        raise LookupError
    await asyncio.Event().wait()


def test_calls_that_are_cancelled_are_recorded_as_such() -> None:
    with timeline() as seen, pytest.raises(LookupError):
        asyncio.run(Concurrent.a_map(_for_ever, range(3)))
    assert [call.outcome for call in calls_of(seen)] == [Outcome.CANCELLED, Outcome.CANCELLED, Outcome.FAILURE]


def test_closing_a_stream_cancels_what_it_has_begun() -> None:
    async def call(value: int) -> int:
        if value:
            begun.set()
            await asyncio.Event().wait()
        await begun.wait()
        return value

    begun = asyncio.Event()

    async def main() -> None:
        async with Concurrent.a_stream(call, [0, 1]) as results:
            await anext(results)

    with timeline() as seen:
        asyncio.run(main())
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.CANCELLED]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_is_as_without(operation: str) -> None:
    def text() -> str:
        with pytest.raises(LookupError) as caught:
            run(operation, fail, [0, 1], limit=1)
        lines = traceback.format_exception(caught.value)
        return "".join(line for line in lines if __file__ not in line or "in fail" in line)

    plain = text()
    with timeline():
        assert text() == plain
    assert "failed, with 1" in plain


def test_the_wrong_colour_is_found_all_the_same() -> None:
    async def coroutine(_: int) -> None: ...

    for source in SOURCES["list"], SOURCES["generator"]:
        with timeline(), pytest.raises(TypeError, match="<lambda> is a coroutine function"):
            Concurrent.map(lambda value: coroutine(value), source([1]))
    with timeline(), pytest.raises(TypeError, match="<lambda> is a plain function"):
        plain: Any = lambda value: value  # noqa: E731  its name is what the message has
        asyncio.run(Concurrent.a_map(plain, [1]))


def test_a_function_that_refuses_its_arguments_fails_its_call() -> None:
    async def none() -> None: ...

    function: Any = none
    with timeline() as seen, pytest.raises(TypeError, match="takes 0 positional arguments"):
        asyncio.run(Concurrent.a_map(function, [1]))
    assert [call.outcome for call in calls_of(seen)] == [Outcome.FAILURE]


def test_nested_maps_are_recorded_too() -> None:
    @concurrent
    def inner(value: int) -> int:
        return value

    @concurrent
    def outer(value: int) -> int:
        return sum(inner.map(range(value)))

    with timeline() as seen:
        assert outer.map([1, 2, 3]) == [0, 1, 3]
    assert sorted((each.name, len(each.calls)) for each in maps_of(seen)) == [
        ("inner.map", 1),
        ("inner.map", 2),
        ("inner.map", 3),
        ("outer.map", 3),
    ]


async def test_nested_maps_across_colours() -> None:
    async def crawl(value: int) -> int:
        return sum(await asyncio.to_thread(lambda: Concurrent.map(double, range(value))))

    with timeline() as seen:
        await Concurrent.a_map(crawl, [1, 2])
    assert sorted(each.name for each in maps_of(seen)) == ["crawl.a_map", "double.map", "double.map"]


def test_a_timeline_within_another_is_in_both() -> None:
    with timeline() as outer:
        Concurrent.map(double, [1])
        with timeline() as inner:
            Concurrent.map(double, one_by_one([2]))
            asyncio.run(Concurrent.a_map(asyncio.sleep, [0]))
        Concurrent.map(fail, [1], catch=LookupError)
    assert [call.shown for each in maps_of(inner) for call in each.calls] == ["2", "0"]
    assert [call.shown for each in maps_of(outer) for call in each.calls] == ["1", "2", "0", "1"]
    assert outer._picture().dropped == inner._picture().dropped == 0


def test_another_context_is_not_recorded() -> None:
    elsewhere = contextvars.copy_context()
    with timeline() as seen:
        elsewhere.run(lambda: Concurrent.map(double, [1]))
        thread = threading.Thread(target=contextvars.Context().run, args=(lambda: Concurrent.map(double, [2]),))
        thread.start()
        thread.join()
    assert maps_of(seen) == []


async def test_tasks_record_apart() -> None:
    entered = asyncio.Barrier(2)

    async def task(value: int) -> list[str]:
        with timeline() as seen:
            async with asyncio.timeout(PATIENCE):
                await entered.wait()
            await Concurrent.a_map(asyncio.sleep, [0], [value])
        return [call.shown for call in calls_of(seen)]

    assert [*await asyncio.gather(task(1), task(2))] == [["(0, 1)"], ["(0, 2)"]]


def test_nothing_is_recorded_after_the_block() -> None:
    with timeline() as seen:
        pass
    Concurrent.map(double, [1])
    assert maps_of(seen) == []
    assert watching.get() is None


async def test_a_task_that_outlives_the_block_is_not_recorded_after_it() -> None:
    over = asyncio.Event()

    async def task() -> None:
        await over.wait()
        Concurrent.map(double, [1])

    with timeline() as seen:
        left = asyncio.create_task(task())
        await asyncio.sleep(0)
    over.set()
    await left
    assert maps_of(seen) == []


def test_a_forked_child_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with timeline() as seen:
        monkeypatch.setattr("concurrency._recorder.getpid", lambda: -1)
        assert Concurrent.map(double, [1]) == [2]
    assert maps_of(seen) == []


def test_what_has_begun_in_the_block_is_recorded_to_its_end() -> None:
    with timeline() as seen:
        results = Concurrent.stream(double, one_by_one([1, 2]))
        assert next(results) == 2
    assert list(results) == [4]
    assert [call.number for call in calls_of(seen)] == [0, 1]


def test_it_may_go_on() -> None:
    seen = timeline()
    for value in (1, 2):
        with seen:
            Concurrent.map(double, [value])
    assert [call.shown for each in maps_of(seen) for call in each.calls] == ["1", "2"]


def test_it_cannot_be_within_itself() -> None:
    with timeline() as seen:
        with pytest.raises(RuntimeError, match="open already"), seen:
            pass
        Concurrent.map(double, [1])
    assert len(calls_of(seen)) == 1


@pytest.mark.parametrize("operation", ["map", "stream"])
def test_a_call_that_is_running_is_seen_from_within_the_block(operation: str) -> None:
    looked = threading.Event()
    seen = timeline()

    def call(value: int) -> None:
        if value == 1:
            assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.RUNNING]
            looked.set()

    with seen:
        run(operation, call, one_by_one([0, 1]), limit=1)
    assert looked.is_set()
    assert [call.outcome for call in calls_of(seen)] == [Outcome.RESULT, Outcome.RESULT]


def test_a_call_that_outlives_its_map_is_shown_as_running() -> None:
    begun, end = threading.Event(), threading.Event()

    def call(_: int) -> None:
        begun.set()
        end.wait(PATIENCE)

    with timeline() as seen:
        with pytest.raises(TimeoutError):
            Concurrent.map(call, [0], timeout=0.05)
        if begun.is_set():
            assert [call.outcome for call in calls_of(seen)] == [Outcome.RUNNING]
    end.set()
    until(lambda: [call.outcome for call in calls_of(seen)] in ([], [Outcome.RESULT]))


@pytest.mark.parametrize("operation", ["map", "stream", "a_map", "a_stream"])
def test_a_call_that_waits_for_the_rate_has_waited(operation: str) -> None:
    with timeline() as seen:
        run(operation, double, one_by_one([1, 2, 3]), rate=50)
    waited = [call.start - call.ready for call in calls_of(seen)]
    assert len(waited) == 3
    assert max(waited[1:]) > 0.01
    assert maps_of(seen)[0].rate == "Rate(50, per=1)"


def test_nothing_is_held_but_text(way: Any) -> None:
    items = [Item(0), Item(1)]
    left: list[weakref.ref[Any]] = [weakref.ref(item) for item in items]

    def call(item: Item) -> Item:
        result = Item(item.number + 10)
        left.append(weakref.ref(result))
        if item.number:
            error = OddError(result)
            left.append(weakref.ref(error))
            raise error
        return result

    left.append(weakref.ref(call))
    with timeline() as seen:
        try:
            way(call, items, limit=1)
        except LookupError:
            pass
    del items, call
    gc.collect()
    assert [ref() for ref in left] == [None] * 6
    assert [call.shown for call in calls_of(seen)] == ["Item(0)", "Item(1)"]


@pytest.mark.parametrize("operation", ["map", "map of an iterator", "a_map"])
def test_a_kept_exception_does_not_keep_the_input(operation: str) -> None:
    items = [Item(0)]
    left = weakref.ref(items[0])

    def call(item: Item) -> None:
        del item
        raise OddError

    async def a_call(item: Item) -> None:
        del item
        raise OddError

    kept: list[OddError] = []
    with timeline():
        try:
            if operation == "a_map":
                asyncio.run(Concurrent.a_map(a_call, items))
            else:
                Concurrent.map(call, items if operation == "map" else iter(items))
        except OddError as error:
            kept.append(error)
    items.clear()
    gc.collect()
    assert len(kept) == 1
    assert left() is None


def test_what_is_shown_is_how_the_input_was_when_the_call_began() -> None:
    with timeline() as seen:
        Concurrent.map(list.clear, [[1, 2]])
    assert [call.shown for call in calls_of(seen)] == ["[1, 2]"]


@pytest.mark.parametrize("suffix", [".html", ".json"])
def test_it_is_saved_at_the_end_of_the_block(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"calls{suffix}"
    with timeline(file):
        Concurrent.map(double, [12345])
        assert not file.exists()
    assert "12345" in file.read_text()
    with pytest.raises(LookupError), timeline(str(file)):
        Concurrent.map(fail, [1])
    assert "12345" not in file.read_text()
    assert "failed" in file.read_text()


def test_it_can_be_saved_later(tmp_path: Path) -> None:
    with timeline() as seen:
        Concurrent.map(double, [12345])
    seen.save(tmp_path / "calls.json")
    assert "12345" in (tmp_path / "calls.json").read_text()


@pytest.mark.parametrize("path", ["calls.txt", "calls", "html", "calls.html.gz"])
def test_another_suffix_is_refused_at_once(path: str) -> None:
    for refusing in (timeline, timeline().save):
        with pytest.raises(ValueError, match=f"path must end in .html or .json, got '{path}'"):
            refusing(path)


def test_a_missing_directory_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the directory of path does not exist"):
        timeline(tmp_path / "nowhere" / "calls.html")


@pytest.mark.parametrize(
    ("keep", "kind", "message"),
    [
        (0, ValueError, "keep must be at least 1, got 0"),
        (True, TypeError, "keep must be an integer, got True"),
        (1.5, TypeError, "keep must be an integer, got 1.5"),
    ],
)
def test_what_cannot_be_kept(keep: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        timeline(keep=keep)


def test_a_failure_to_save_hides_no_other(tmp_path: Path) -> None:
    file = tmp_path / "calls.html"
    file.mkdir()
    with pytest.raises(LookupError) as caught, timeline(file):
        raise LookupError
    assert "the timeline could not be saved" in caught.value.__notes__[0]
    with pytest.raises(OSError, match=r"calls\.html"), timeline(file):
        pass


def test_the_oldest_calls_go() -> None:
    with timeline(keep=10) as seen:
        Concurrent.map(double, range(100), limit=1)
    assert [call.number for call in calls_of(seen)] == [*range(90, 100)]
    assert seen._picture().dropped == 90


def test_a_map_that_outlasts_a_thousand_others_is_not_forgotten() -> None:
    def outer(_: int) -> None:
        for _ in range(30):
            Concurrent.map(double, [1], limit=1)

    with timeline(keep=5) as seen:
        Concurrent.map(outer, [0])
    assert [each.name for each in maps_of(seen)].count("outer.map") == 1


def test_an_input_whose_repr_is_interrupted() -> None:
    class Interrupted:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with timeline() as seen, pytest.raises(KeyboardInterrupt):
        Concurrent.map(id, [Interrupted()])
    assert calls_of(seen) == []


def test_to_end_it_twice_is_to_end_it_once() -> None:
    seen = timeline()
    with seen:
        Concurrent.map(abs, [-1])
    seen.__exit__(None, None, None)
    assert len(calls_of(seen)) == 1
    assert watching.get() is None


def test_without_maps_there_is_a_headline_alone() -> None:
    with timeline() as seen:
        pass
    assert str(seen).startswith("Timeline: ")
    assert "\n" not in str(seen)
