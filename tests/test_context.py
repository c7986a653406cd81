"""Promise 5: in which context, task and thread a call runs."""

import asyncio
import contextvars
import gc
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import LOOP, Map, Way, eager_task_factory, free, in_loop, task_factory

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")


def test_a_call_sees_the_values_of_the_caller(way: Way) -> None:
    async def story(mapping: Map) -> None:
        async def call(item: int) -> str:
            return variable.get()

        token = variable.set("the caller's")
        assert await mapping(call, list(range(20)), limit=3) == ["the caller's"] * 20
        variable.set("another")
        assert await mapping(call, list(range(20)), limit=3) == ["another"] * 20
        variable.reset(token)
        assert await mapping(call, list(range(20)), limit=3) == ["unset"] * 20

    way.tell(story)


def test_what_a_call_sets_is_seen_by_nobody_else(way: Way) -> None:
    async def story(mapping: Map) -> None:
        seen: list[str] = []

        async def call(item: int) -> str:
            seen.append(variable.get())
            variable.set(f"set by call {item}")
            if way.operation == "a_map":
                await asyncio.sleep(0)
            return variable.get()

        token = variable.set("the caller's")
        assert await mapping(call, list(range(20)), limit=3) == [f"set by call {item}" for item in range(20)]
        assert seen == ["the caller's"] * 20
        assert variable.get() == "the caller's"
        variable.reset(token)

    way.tell(story)


def test_a_call_sees_the_values_at_the_time_when_the_map_was_called(way: Way) -> None:
    """What the caller's own inputs set while they are read is not yet there, or was not there in time for the first calls."""

    async def story(mapping: Map) -> None:
        async def call(item: int) -> str:
            return variable.get()

        def source() -> Any:
            for item in range(10):
                variable.set(f"set by input {item}")
                yield item

        token = variable.set("the caller's")
        assert await mapping(call, source(), limit=2) == ["the caller's"] * 10
        variable.reset(token)

    way.tell(story)


def test_a_nested_call_sees_the_values_of_the_outer_one(way: Way) -> None:
    def inner(item: int) -> str:
        return variable.get()

    async def outer(name: str) -> list[str]:
        variable.set(name)
        return Concurrent.map(inner, [1, 2])

    assert way(outer, ["a", "b"]) == [["a", "a"], ["b", "b"]]


def test_a_failing_call_leaks_no_value_either(way: Way) -> None:
    async def story(mapping: Map) -> None:
        async def call(item: int) -> None:
            assert variable.get() == "unset"
            variable.set("leaked")
            raise ValueError

        assert len(await mapping(call, list(range(10)), limit=2, catch=ValueError)) == 10
        with suppress(ValueError):
            await mapping(call, [1])
        assert variable.get() == "unset"

    way.tell(story)


def test_threads_started_by_a_map_keep_no_value_of_its_caller() -> None:
    """On Pythons where threads inherit the context in which they are started, a pool's thread would keep it for ever."""

    class Thing:
        pass

    def once() -> Any:
        import weakref

        thing: Any = Thing()
        variable.set(thing)
        Concurrent.map(abs, range(20), limit=40)
        Concurrent.map(abs, iter(range(20)), limit=40)
        return weakref.ref(thing)

    gc.disable()
    try:
        reference = contextvars.copy_context().run(once)
        free()
        assert reference() is None
    finally:
        gc.enable()


def test_each_call_on_asyncio_is_a_task_of_its_own(way: Way) -> None:
    tasks: list[Any] = []

    async def call(item: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        async with asyncio.timeout(20):  # needs a task
            await asyncio.sleep(0)
        assert asyncio.current_task() is task

    if way.operation == "a_map":
        way(call, list(range(10)))
        assert len(set(tasks)) == 10


def test_a_call_may_cancel_its_own_task_and_go_on() -> None:
    async def call(item: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        task.uncancel()
        return item

    async def main() -> None:
        assert await Concurrent.a_map(call, [1, 2]) == [1, 2]
        caller = asyncio.current_task()
        assert caller is not None
        assert caller.cancelling() == 0

    in_loop(main)


def test_the_task_of_a_call_is_never_the_callers() -> None:
    async def call(item: int) -> object:
        return asyncio.current_task()

    async def main() -> None:
        for source in ([1], iter([1])):
            (task,) = await Concurrent.a_map(call, source)
            assert task is not asyncio.current_task()

    in_loop(main)
    in_loop(main, task_factory)


@eager
@pytest.mark.skipif(LOOP == "eager", reason="only where the loop has no task factory of its own")
def test_a_call_begins_before_the_next_is_started() -> None:
    """A first step that needs no waiting costs no turn of the loop."""
    log: list[str] = []

    async def call(item: int) -> int:
        log.append(f"begun {item}")
        return item

    async def main() -> None:
        turned = False

        def turn() -> None:
            nonlocal turned
            turned = True

        def source() -> Any:
            for item in range(3):
                log.append(f"read {item}")
                yield item

        asyncio.get_running_loop().call_soon(turn)
        assert await Concurrent.a_map(call, source()) == [0, 1, 2]
        assert log == ["read 0", "begun 0", "read 1", "begun 1", "read 2", "begun 2"]
        assert not turned

    in_loop(main)


def test_calls_are_made_by_the_task_factory_of_the_loop() -> None:
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def call(item: int) -> str:
        value = variable.get()
        variable.set("leaked")
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        variable.set("the caller's")
        assert await Concurrent.a_map(call, range(5)) == ["the caller's"] * 5
        assert variable.get() == "the caller's"
        assert len(made) == 5

    in_loop(main, factory)


def test_a_task_factory_that_takes_no_options_will_do() -> None:
    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coroutine, loop=loop)

    async def call(item: int) -> str:
        return variable.get()

    async def main() -> None:
        variable.set("the caller's")
        assert await Concurrent.a_map(call, range(5)) == ["the caller's"] * 5

    in_loop(main, factory)


def test_a_task_factory_that_fails_fails_the_map() -> None:
    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
        coroutine.close()
        raise LookupError("no tasks today")

    async def call(item: int) -> None:
        pass

    with pytest.raises(LookupError, match="no tasks today"):
        in_loop(lambda: Concurrent.a_map(call, range(5)), factory)


@eager
def test_an_eager_task_factory_will_do() -> None:
    async def call(item: int) -> str:
        value = variable.get()
        variable.set("leaked")
        if item % 2:
            await asyncio.sleep(0)
        return value

    async def main() -> None:
        variable.set("the caller's")
        assert await Concurrent.a_map(call, range(50), limit=3) == ["the caller's"] * 50
        assert variable.get() == "the caller's"

    in_loop(main, eager_task_factory)


def test_each_call_on_threads_runs_in_a_worker_thread_and_never_in_the_callers() -> None:
    def call(item: int) -> int:
        return threading.get_ident()

    for kind in (list, iter, tuple):
        items: Any = kind(range(500))
        assert threading.get_ident() not in Concurrent.map(call, items, limit=2)
    assert threading.get_ident() not in Concurrent.map(call, [1])


def test_a_nested_map_runs_no_call_in_the_thread_of_the_outer_one() -> None:
    def outer(item: int) -> bool:
        return threading.get_ident() in Concurrent.map(lambda _: threading.get_ident(), range(20))

    assert Concurrent.map(outer, range(20)) == [False] * 20


def test_a_plain_function_that_returns_awaitables_runs_in_the_calls_own_task_and_context() -> None:
    seen: list[Any] = []

    def request(item: int) -> Any:
        seen.append(asyncio.current_task())
        variable.set("leaked")
        return asyncio.sleep(0, variable.get())

    async def main() -> None:
        assert await Concurrent.a_map(request, [1, 2]) == ["leaked"] * 2
        assert variable.get() == "unset"
        assert len({*seen, asyncio.current_task()}) == 3

    in_loop(main)
