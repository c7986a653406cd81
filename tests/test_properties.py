"""What holds for every input, limit, delay, failure, operation and executor: hypothesis looks for the one for which it does not."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrency import Concurrent
from tests.executor_functions import Inline
from tests.virtual_time import FastClock, run_virtually
from tests.ways import AsyncItems, Gauge

many = settings(
    max_examples=60 * int(os.environ.get("CONCURRENCY_TEST_FACTOR", "1")),
    deadline=None,
    derandomize="CONCURRENCY_TEST_FACTOR" not in os.environ,  # the same examples in every run, unless it is to find new ones
    database=None,
)


class Expected(Exception):
    """`catch` takes it."""


class Fatal(Exception):
    """`catch` does not."""


WELL, EXPECTED, FATAL = "well", "expected", "fatal"


class Plan:
    """Inputs, and what the call of each does; then an account of what has happened."""

    def __init__(self, calls: list[tuple[int, str]], limit: int, fails_at: int | None) -> None:
        self.calls = calls
        self.limit = limit
        self.fails_at = fails_at  # the input, not a call
        self.read = 0
        self.begun: list[int] = []
        self.gauge = Gauge()
        self.errors: dict[int, BaseException] = {}
        self.input_error = Fatal("input")

    def __repr__(self) -> str:
        return f"Plan({self.calls}, limit={self.limit}, fails_at={self.fails_at})"

    def inputs(self) -> Iterator[int]:
        for index in range(len(self.calls)):
            if index == self.fails_at:
                raise self.input_error
            self.read += 1
            yield index

    def begin(self, index: int) -> float:
        self.begun.append(index)
        return self.calls[index][0]

    def end(self, index: int) -> int:
        how = self.calls[index][1]
        if how == WELL:
            return index * index
        error = self.errors[index] = (Expected if how == EXPECTED else Fatal)(index)
        raise error

    def serial(self) -> list[Any]:
        """What the built-in `map` gives, with caught exceptions in their places, up to the first failure in order."""
        results: list[Any] = []
        for index, (_, how) in enumerate(self.calls):
            if index == self.fails_at or how == FATAL:
                break
            results.append(index * index if how == WELL else index)
        return results

    def is_fatal(self) -> bool:
        return self.fails_at is not None or any(how == FATAL for _, how in self.calls)

    def plain(self, index: int) -> int:
        with self.gauge:
            delay = self.begin(index)
            if delay:
                time.sleep(0.0001 * delay)
            return self.end(index)

    async def a_plain(self, index: int) -> int:
        with self.gauge:
            delay = self.begin(index)
            if delay:
                await asyncio.sleep(delay)
            return self.end(index)

    def check(self, results: list[Any], error: BaseException | None, is_ordered: bool, is_lazy: bool) -> None:
        assert self.gauge.now == 0, "a call is running"
        assert self.gauge.peak <= self.limit
        assert len(set(self.begun)) == len(self.begun), "an input has been used twice"
        assert self.read <= len(self.calls)
        if not is_ordered:
            results = [result for _, result in sorted(results, key=lambda pair: pair[0])]
        shown = [result.args[0] if isinstance(result, Expected) else result for result in results]
        if error is None:
            assert not self.is_fatal()
            assert shown == self.serial()
            assert sorted(self.begun) == list(range(len(self.calls)))
        else:
            assert isinstance(error, Fatal)
            assert error is self.input_error or error in self.errors.values()
            if is_lazy and is_ordered:
                assert shown == self.serial()[: len(shown)]


delays = st.sampled_from([0, 0, 1, 3, 10])
plans = st.builds(
    Plan,
    st.lists(st.tuples(delays, st.sampled_from([WELL] * 8 + [EXPECTED] * 2 + [FATAL])), max_size=25),
    st.integers(1, 6),
    st.one_of(st.none(), st.none(), st.integers(0, 24)),
).filter(lambda plan: plan.fails_at is None or plan.fails_at < len(plan.calls))

EXECUTORS: dict[str, Callable[[], Any]] = {
    "threads": lambda: None,
    "executor": lambda: ThreadPoolExecutor(3),
    "inline": Inline,
}


@pytest.mark.parametrize("operation", ["map", "stream", "as_completed"])
@pytest.mark.parametrize("kind", EXECUTORS)
@given(plan=plans, chunksize=st.integers(1, 5), buffersize=st.integers(1, 12), as_list=st.booleans())
@many
def test_on_threads(*, kind: str, operation: str, plan: Plan, chunksize: int, buffersize: int, as_list: bool) -> None:
    options: dict[str, Any] = {"limit": plan.limit, "catch": Expected}
    executor = EXECUTORS[kind]()
    is_lazy = operation != "map"
    if executor is not None:
        options |= {"executor": executor, "chunksize": chunksize}
    if is_lazy:
        options["buffersize"] = buffersize
    inputs: Any = list(range(len(plan.calls))) if as_list and plan.fails_at is None else plan.inputs()
    results: list[Any] = []
    error: BaseException | None = None
    try:
        if is_lazy:
            with closing(getattr(Concurrent, operation)(plan.plain, inputs, **options)) as stream:
                for result in stream:
                    results.append(result)
                    assert len(plan.begun) - len(results) <= buffersize
        else:
            results = Concurrent.map(plan.plain, inputs, **options)
    except Fatal as raised:
        error = raised
    begun = len(plan.begun)
    plan.check(results, error, operation != "as_completed", is_lazy)
    if executor is not None:
        executor.shutdown()
    assert len(plan.begun) == begun


@pytest.mark.parametrize("operation", ["a_map", "a_stream", "a_as_completed"])
@pytest.mark.parametrize("factory", ["none", "eager", "queued"])
@given(plan=plans, buffersize=st.integers(1, 12), is_async=st.booleans(), cancel_at=st.one_of(st.none(), st.integers(0, 40)))
@many
def test_on_asyncio(
    *, factory: str, operation: str, plan: Plan, buffersize: int, is_async: bool, cancel_at: int | None
) -> None:
    options: dict[str, Any] = {"limit": plan.limit, "catch": Expected}
    is_lazy = operation != "a_map"
    if is_lazy:
        options["buffersize"] = buffersize
    results: list[Any] = []
    complaints: list[Any] = []

    async def consume() -> None:
        inputs = AsyncItems(plan.inputs()) if is_async else plan.inputs()
        if is_lazy:
            async with aclosing(getattr(Concurrent, operation)(plan.a_plain, inputs, **options)) as stream:
                async for result in stream:
                    results.append(result)  # noqa: PERF401  one by one: what came before a failure counts
        else:
            results.extend(await Concurrent.a_map(plan.a_plain, inputs, **options))

    async def main() -> BaseException | None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        if factory == "queued":
            loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options))
        elif factory == "eager":
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        task = asyncio.create_task(consume())
        if cancel_at is not None:
            await asyncio.sleep(cancel_at)
            task.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
        if task.cancelled():
            assert cancel_at is not None
            return asyncio.CancelledError()
        return task.exception()

    if factory == "eager" and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("Python has no eager tasks before 3.12")
    error = run_virtually(FastClock(), main())
    if isinstance(error, asyncio.CancelledError):
        assert plan.gauge.now == 0
        assert len(set(plan.begun)) == len(plan.begun)
    else:
        if error is not None and not isinstance(error, Fatal):
            raise error
        plan.check(results, error, operation != "a_as_completed", is_lazy)
    assert not complaints
