"""How the cost of a call grows with the number of inputs and with the limit: ideally, not at all."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks.functions import identity, one_turn
from benchmarks.harness import Measure, Row, Size, Table, clocked, in_a_loop
from concurrency.core import Concurrent

_INPUTS = (100, 1_000, 10_000, 100_000, 1_000_000)
_LIMITS = (1, 10, 100, 1_000)


def tables(size: Size) -> Sequence[Table]:
    """One table for each of the two directions."""
    items = size(20_000)
    return [
        Table(
            "growth: µs per call, by number of inputs",
            "limit 8, or 100 with asyncio",
            [f"{size(inputs):,}" for inputs in _INPUTS],
            [
                Row(name, [(size(inputs), partial(run, size(inputs), limit)) for inputs in _INPUTS], measure)
                for name, limit, run, measure in _OPERATIONS
            ],
        ),
        Table(
            "growth: µs per call, by limit",
            f"{items:,} inputs",
            [f"{limit:,}" for limit in _LIMITS],
            [
                Row(name, [(items, partial(run, items, limit)) for limit in _LIMITS], measure)
                for name, _, run, measure in _OPERATIONS
            ],
        ),
    ]


def _often(measure: Measure) -> Measure:
    """Short runs often, so that they last long enough to be measured."""

    def measured(run: Callable[[], Any], repeat: int) -> float:
        first = measure(run, repeat)
        return first if first > 0.05 else measure(run, int(0.05 / first) + 1)

    return measured


def _generator(inputs: int) -> Iterator[int]:
    yield from range(inputs)


def _map(inputs: int, limit: int) -> None:
    Concurrent.map(identity, range(inputs), limit=limit)


def _map_generator(inputs: int, limit: int) -> None:
    Concurrent.map(identity, _generator(inputs), limit=limit)


def _stream(inputs: int, limit: int) -> None:
    deque(Concurrent.stream(identity, _generator(inputs), limit=limit, buffersize=max(64, 2 * limit)), maxlen=0)


async def _a_map(inputs: int, limit: int) -> None:
    await Concurrent.a_map(one_turn, range(inputs), limit=limit)


async def _a_stream(inputs: int, limit: int) -> None:
    async for _ in Concurrent.a_stream(one_turn, range(inputs), limit=limit):
        pass


_OPERATIONS: Sequence[tuple[str, int, Callable[[int, int], Any], Measure]] = (
    ("map, range", 8, _map, _often(clocked)),
    ("map, generator", 8, _map_generator, _often(clocked)),
    ("stream, buffersize at least 64", 8, _stream, _often(clocked)),
    ("a_map, one loop turn", 100, _a_map, _often(in_a_loop)),
    ("a_stream, one loop turn", 100, _a_stream, _often(in_a_loop)),
)
