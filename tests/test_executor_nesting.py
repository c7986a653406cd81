"""A map on the executor that runs the call it is made in: an error, since with all workers waiting nobody would be left to work."""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import pytest

from concurrency import Concurrent
from tests import executor_functions
from tests.executor_functions import Inline, double, map_on_inherited
from tests.ways import PATIENCE

refused = partial(pytest.raises, RuntimeError, match="leave executor out")


@pytest.fixture
def single() -> Iterator[ThreadPoolExecutor]:
    """Its one worker must not wait for another."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def on(executor: Executor) -> Callable[[int], list[int]]:
    """A call that maps on an executor."""
    return lambda number: Concurrent.map(double, [number], executor=executor)


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize(
    "inner",
    [
        lambda executor: Concurrent.map(double, [1], executor=executor),
        lambda executor: list(Concurrent.stream(double, [1], executor=executor)),
        lambda executor: list(Concurrent.as_completed(double, [1], executor=executor)),
    ],
    ids=["map", "stream", "as_completed"],
)
def test_it_says_what_to_do(single: Executor, inner: Callable[[Executor], Any], chunksize: int) -> None:
    with refused() as caught:
        Concurrent.map(lambda _: inner(single), range(3), executor=single, chunksize=chunksize)
    assert str(caught.value).startswith("double.")
    assert "is given the executor that runs the call it is made in" in str(caught.value)
    assert caught.value.__notes__ == ["concurrency: call 0 of <lambda>.map failed, with 0"]


def test_through_a_map_on_threads_in_between(single: Executor) -> None:
    with refused():
        Concurrent.map(lambda number: Concurrent.map(on(single), [number]), range(3), executor=single)


def test_through_another_executor_in_between(single: Executor) -> None:
    with ThreadPoolExecutor(1) as other, refused():
        Concurrent.map(lambda number: Concurrent.map(on(single), [number], executor=other), range(3), executor=single)


def test_through_asyncio_in_between(single: Executor) -> None:
    with refused():
        Concurrent.map(lambda number: asyncio.run(asyncio.to_thread(on(single), number)), range(3), executor=single)


def test_in_a_copy_of_the_context_in_another_thread(single: Executor) -> None:
    def call(number: int) -> list[int]:
        with ThreadPoolExecutor(1) as other:
            return other.submit(copy_context().run, on(single), number).result(PATIENCE)

    with refused():
        Concurrent.map(call, range(3), executor=single)


def test_in_a_copy_of_the_context_that_outlives_the_call(single: Executor) -> None:
    contexts: list[Context] = Concurrent.map(lambda _: copy_context(), range(2), executor=single, chunksize=2)
    assert [context.run(on(single), 4) for context in contexts] == [[8], [8]]


def test_by_the_consumer_of_a_stream_that_was_made_elsewhere(single: Executor) -> None:
    stream = Concurrent.stream(double, range(3), executor=single)
    with refused():
        Concurrent.map(lambda _: list(stream), range(3), executor=single)
    with refused():  # it has failed, which is no end
        next(stream)


def test_an_open_stream_is_closed_within_a_call(single: Executor) -> None:
    stream = Concurrent.stream(double, range(3), executor=single)
    assert next(stream) == 0
    Concurrent.map(lambda _: stream.close(), range(3), executor=single)
    assert list(stream) == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing is inherited without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("chunksize", [1, 2])
def test_on_a_pool_inherited_through_fork(chunksize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        monkeypatch.setattr(executor_functions, "inherited", pool)
        messages = Concurrent.map(map_on_inherited, [1, 2], executor=pool, chunksize=chunksize)
    assert all("leave executor out" in message for message in messages)


def test_on_another_executor_and_on_threads(single: Executor) -> None:
    with ThreadPoolExecutor(1) as other:
        assert Concurrent.map(on(other), range(3), executor=single) == [[0], [2], [4]]
    assert Concurrent.map(lambda number: Concurrent.map(double, [number]), range(3), executor=single) == [[0], [2], [4]]


def test_one_after_the_other(single: Executor) -> None:
    assert Concurrent.map(double, Concurrent.stream(double, range(3), executor=single), executor=single) == [0, 4, 8]


def test_of_the_inputs_which_are_read_in_the_calling_thread(single: Executor) -> None:
    inputs = (on(single)(number)[0] for number in range(3))
    assert Concurrent.map(double, inputs, executor=single) == [0, 4, 8]


def test_an_inline_executor_has_no_workers_to_wait_for() -> None:
    assert Concurrent.map(on(Inline()), range(3), executor=Inline()) == [[0], [2], [4]]
    executor = Inline()
    assert Concurrent.map(on(executor), range(3), executor=executor) == [[0], [2], [4]]


def test_two_threads_of_which_neither_is_in_a_call() -> None:
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as executor, ThreadPoolExecutor(2) as callers:
        wait: Callable[[float], int] = together.wait
        maps = [callers.submit(lambda: Concurrent.map(wait, [PATIENCE], executor=executor)) for _ in range(2)]
        assert sorted(each.result(PATIENCE) for each in maps) == [[0], [1]]
