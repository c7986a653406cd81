"""How many calls run at once: as many as `limit` says, and never more. Each test looks at both sides."""

import asyncio
import os
import threading
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import Gauge, Way, in_loop


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 40])
def test_as_many_calls_run_at_once_as_the_limit_says_and_never_more(way: Way, limit: int) -> None:
    gauge = Gauge()
    together = way.barrier(limit)

    async def call(item: int) -> int:
        with gauge:
            await together.wait()  # only opens for `limit` at once
        return item

    items = list(range(4 * limit))
    assert way(call, items, limit=limit) == items
    assert gauge.peak == limit


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_the_limit_may_be_less_than_the_inputs_or_as_many_or_more(way: Way, limit: int, count: int) -> None:
    gauge = Gauge()
    together = way.barrier(min(limit, count) or 1)
    rounds = count - count % (min(limit, count) or 1)  # those after the last full round find nobody to meet

    async def call(item: int) -> int:
        with gauge:
            if item < rounds:
                await together.wait()
        return -item

    items = list(range(count))
    assert way(call, items, limit=limit) == [-item for item in items]
    assert gauge.peak == min(limit, count)


def test_calls_that_fail_make_room_for_others_and_no_more(way: Way) -> None:
    gauge = Gauge()
    together = way.barrier(3)

    async def call(item: int) -> None:
        with gauge:
            await together.wait()
        raise ValueError(item)

    errors = way(call, list(range(30)), limit=3, catch=ValueError)
    assert [error.args for error in errors] == [(item,) for item in range(30)]
    assert gauge.peak == 3


def test_a_call_that_ends_makes_room_at_once(way: Way) -> None:
    """A slow call holds one place, and the others go on without it."""
    gauge = Gauge()
    last = way.gate()

    async def call(item: int) -> int:
        with gauge:
            if item == 0:
                await last.wait()
            if item == 99:
                last.set()
        return item

    assert way(call, list(range(100)), limit=2) == list(range(100))
    assert gauge.peak <= 2


def test_threads_run_as_many_calls_at_once_as_a_thread_pool_does() -> None:
    cpus: int | None = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    default = min(32, (cpus or 1) + 4)
    for options in ({}, {"limit": None}):
        for kind in (list, iter):
            gauge = Gauge()
            together = threading.Barrier(default)

            def call(item: int, gauge: Gauge = gauge, together: threading.Barrier = together) -> int:
                with gauge:
                    together.wait(20)
                return item

            items: Any = kind(range(3 * default))
            assert Concurrent.map(call, items, **options) == list(range(3 * default))  # type: ignore[call-overload]
            assert gauge.peak == default


def test_a_map_on_asyncio_has_no_limit_of_its_own() -> None:
    gauge = Gauge()

    async def main() -> None:
        together = asyncio.Barrier(500)

        async def call(item: int) -> int:
            with gauge:
                await together.wait()
            return item

        assert await Concurrent.a_map(call, range(500)) == list(range(500))

    in_loop(main)
    assert gauge.peak == 500


class Three:
    def __index__(self) -> int:
        return 3


def test_the_limit_may_be_anything_that_is_an_integer(way: Way) -> None:
    gauge = Gauge()
    together = way.barrier(3)

    async def call(item: int) -> None:
        with gauge:
            await together.wait()

    way(call, list(range(9)), limit=Three())
    assert gauge.peak == 3


def test_a_limit_holds_for_one_map(way: Way) -> None:
    """Two maps at once have two limits: together they run the sum."""
    gauge = Gauge()
    together = way.barrier(4)

    async def call(item: int) -> None:
        with gauge:
            await together.wait()

    if way.operation == "map":
        threads = [threading.Thread(target=way, args=(call, list(range(8))), kwargs={"limit": 2}) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    else:

        async def main() -> None:
            await asyncio.gather(*(Concurrent.a_map(call, range(8), limit=2) for _ in range(2)))

        in_loop(main)
    assert gauge.peak == 4


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_limit_is_kept_by_very_many_trivial_calls(way: Way, limit: int) -> None:
    gauge = Gauge()

    async def call(item: int) -> int:
        with gauge:
            return item

    items = list(range(1000))
    assert way(call, items, limit=limit) == items
    assert gauge.peak <= limit
