"""Races whose every order is forced: by events, or by time that passes between any two looks at it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.lazy_ways import LAZY_WAYS, LazyWay, rest
from tests.ways import PATIENCE, WAYS, Way


class JumpingClock:
    """Time stands still, but for one long moment right before the look with this number."""

    def __init__(self, jump_at: int) -> None:
        self.looks = 0
        self._jump_at = jump_at

    def __call__(self) -> float:
        self.looks += 1
        return 1000.0 if self.looks > self._jump_at else 0.0


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Runs a story again and again, with the long moment of it at every look at the time."""

    def run(story: Callable[[], Any]) -> None:
        for moment in range(10_000):
            clock = JumpingClock(moment)
            with monkeypatch.context() as patch:
                patch.setattr("concurrency._pace.monotonic", clock)
                story()
            if clock.looks <= moment:
                return
        raise AssertionError("it never ends")

    return run


@pytest.mark.parametrize("name", [name for name in LAZY_WAYS if name.startswith("a_")])
@pytest.mark.parametrize("buffersize", [1, 3])
@pytest.mark.parametrize("count", [1, 7])
def test_a_stream_loses_nothing_and_goes_on_whenever_its_time_slice_ends(
    name: str, jumping: Callable[[Callable[[], Any]], None], count: int, buffersize: int
) -> None:
    """Between seeing that there is time left and taking a result, the slice may end: the result has to wait, not to be lost."""
    lazy: LazyWay = LAZY_WAYS[name]()

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            stream = lazy(call, range(count), limit=2, buffersize=buffersize)
            assert sorted(map(lazy.result, await rest(stream))) == list(range(count))

    jumping(lambda: lazy.run(main))


@pytest.mark.parametrize("name", [name for name in WAYS if name.startswith("asyncio")])
def test_a_map_goes_on_whenever_its_time_slice_ends(name: str, jumping: Callable[[Callable[[], Any]], None]) -> None:
    way: Way = WAYS[name]()

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    def story() -> None:
        assert way(call, list(range(7)), limit=2) == list(range(7))

    jumping(story)
