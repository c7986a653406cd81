"""Promise 7: a map inside a mapped call always gets threads, however deep."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from concurrency import Concurrent
from tests.ways import PATIENCE, in_loop

kinds = pytest.mark.parametrize("kind", [list, iter])


@kinds
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_a_map_within_each_call_of_a_map(kind: Callable[..., Any], limit: int | None) -> None:
    def inner(item: int) -> int:
        return item + 1

    def outer(item: int) -> list[int]:
        return Concurrent.map(inner, kind(range(item)), limit=limit)

    assert Concurrent.map(outer, kind(range(50)), limit=limit) == [list(range(1, item + 1)) for item in range(50)]


@kinds
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_maps_within_maps_as_deep_as_one_likes(kind: Callable[..., Any], limit: int | None) -> None:
    """Deeper than the shared pool has threads, each level waiting for the next."""

    def deep(depth: int) -> int:
        return 0 if depth == 0 else 1 + max(Concurrent.map(deep, kind([depth - 1]), limit=limit))

    assert deep(60) == 60


@kinds
@pytest.mark.parametrize("limit", [None, 2])
def test_a_tree_of_maps(kind: Callable[..., Any], limit: int | None) -> None:
    def leaves(depth: int) -> int:
        return 1 if depth == 0 else sum(Concurrent.map(leaves, kind([depth - 1] * 3), limit=limit))

    assert leaves(5) == 3**5


@kinds
def test_every_call_of_the_outer_map_is_in_an_inner_one_at_once(kind: Callable[..., Any]) -> None:
    """More threads wait in the middle than the shared pool has, so the inner ones need others."""
    width = 40
    together = threading.Barrier(width * 2)

    def inner(item: int) -> int:
        together.wait(PATIENCE)
        return item

    def outer(item: int) -> list[int]:
        return Concurrent.map(inner, kind([item, -item]), limit=2)

    expected = [[item, -item] for item in range(width)]
    assert Concurrent.map(outer, kind(range(width)), limit=width) == expected


@kinds
def test_a_map_that_waits_for_another_map_that_began_later(kind: Callable[..., Any]) -> None:
    """What holds all shared threads waits for a map that has none of them."""
    free = threading.Event()
    inside = threading.Semaphore(0)

    def wait(item: int) -> bool:
        inside.release()
        return free.wait(PATIENCE)

    results: list[list[bool]] = []
    thread = threading.Thread(target=lambda: results.append(Concurrent.map(wait, kind(range(50)), limit=50)))
    thread.start()
    for _ in range(50):
        assert inside.acquire(timeout=PATIENCE)
    assert Concurrent.map(abs, kind(range(10))) == list(range(10))
    assert Concurrent.map(lambda _: free.set(), kind([1])) == [None]
    thread.join(PATIENCE)
    assert results == [[True] * 50]


def test_a_limit_holds_for_each_nested_map_alone() -> None:
    lock = threading.Lock()
    now: dict[int, int] = {}
    peak: dict[int, int] = {}

    def inner(group: int) -> None:
        with lock:
            now[group] = now.get(group, 0) + 1
            peak[group] = max(peak.get(group, 0), now[group])
        together[group].wait(PATIENCE)
        with lock:
            now[group] -= 1

    together = [threading.Barrier(2) for _ in range(3)]

    def outer(group: int) -> None:
        Concurrent.map(inner, [group] * 10, limit=2)

    Concurrent.map(outer, range(3), limit=3)
    assert peak == {0: 2, 1: 2, 2: 2}


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_maps_on_asyncio_within_each_other(limit: int | None) -> None:
    async def deep(depth: int) -> int:
        await asyncio.sleep(0)
        return 1 if depth == 0 else sum(await Concurrent.a_map(deep, [depth - 1] * 3, limit=limit))

    assert in_loop(lambda: deep(5)) == 3**5


def test_maps_of_both_colours_within_each_other() -> None:
    async def colour_of_asyncio(depth: int) -> int:
        return 1 if depth == 0 else sum(await asyncio.to_thread(lambda: Concurrent.map(colour_of_threads, [depth - 1] * 2)))

    def colour_of_threads(depth: int) -> int:
        return 1 if depth == 0 else sum(asyncio.run(Concurrent.a_map(colour_of_asyncio, [depth - 1] * 2)))

    assert in_loop(lambda: colour_of_asyncio(4)) == 2**4
    assert colour_of_threads(4) == 2**4


def test_threads_from_within_asyncio() -> None:
    async def main() -> None:
        blocking: Any = partial(asyncio.to_thread, Concurrent.map, abs)  # type: ignore[arg-type]  # to_thread takes no overloads
        assert await Concurrent.a_map(blocking, [[-1, -2], [-3]]) == [[1, 2], [3]]

    in_loop(main)


def test_an_input_that_maps_while_calls_run() -> None:
    def source() -> Any:
        for item in range(20):
            yield Concurrent.map(abs, [item, -item])

    assert Concurrent.map(sum, source(), limit=2) == [2 * item for item in range(20)]
