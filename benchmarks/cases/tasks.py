"""`a_map`, on asyncio tasks."""

import sys
from asyncio import Semaphore, gather
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import peers
from benchmarks.functions import a_identity, one_turn
from benchmarks.harness import Case, Size, Unit, entrant, in_a_loop
from concurrency.core import Concurrent

_CAN_BE_EAGER = sys.version_info >= (3, 12)  # a task that starts eagerly costs no turn of the loop


def cases(size: Size) -> Sequence[Case]:
    """Calls that never suspend, and calls that do so once, with and without a limit."""
    items = size(10_000)
    return [_never_suspending(items), _one_turn(items), _one_turn_limited(items)]


async def _gather(function: Callable[[int], Awaitable[int]], inputs: Sequence[int]) -> list[int]:
    return await gather(*map(function, inputs))


async def _gather_with_semaphore(function: Callable[[int], Awaitable[int]], inputs: Sequence[int], limit: int) -> list[int]:
    semaphore = Semaphore(limit)

    async def call(value: int) -> int:
        async with semaphore:
            return await function(value)

    return await gather(*map(call, inputs))


def _never_suspending(items: int) -> Case:
    inputs = list(range(items))
    return Case(
        name=f"a_map, {items:,} calls that never suspend",
        items=items,
        unit=Unit.PER_ITEM,
        measure=in_a_loop,
        ours=entrant("a_map", lambda: Concurrent.a_map(a_identity, inputs)),
        peers=(
            entrant("gather", partial(_gather, a_identity, inputs), bar=0.4 if _CAN_BE_EAGER else 1.0),
            *peers.only_with("aiometer", entrant("aiometer", partial(peers.aiometer_map, a_identity, inputs, None), bar=0.1)),
            *peers.only_with("anyio", entrant("anyio.amap", partial(peers.anyio_map, a_identity, inputs))),
        ),
    )


def _one_turn(items: int) -> Case:
    inputs = list(range(items))
    return Case(
        name=f"a_map, {items:,} calls of one loop turn",
        items=items,
        unit=Unit.PER_ITEM,
        measure=in_a_loop,
        ours=entrant("a_map", lambda: Concurrent.a_map(one_turn, inputs)),
        peers=(
            entrant("gather", partial(_gather, one_turn, inputs), bar=1.05),
            *peers.only_with("aiometer", entrant("aiometer", partial(peers.aiometer_map, one_turn, inputs, None))),
            *peers.only_with("anyio", entrant("anyio.amap", partial(peers.anyio_map, one_turn, inputs))),
        ),
    )


def _one_turn_limited(items: int) -> Case:
    inputs, limit = list(range(items)), 100
    arguments: tuple[Any, ...] = (one_turn, inputs, limit)
    return Case(
        name=f"a_map, {items:,} calls of one loop turn, limit {limit}",
        items=items,
        unit=Unit.PER_ITEM,
        measure=in_a_loop,
        ours=entrant("a_map", lambda: Concurrent.a_map(one_turn, inputs, limit=limit)),
        peers=(
            entrant("gather with a semaphore", partial(_gather_with_semaphore, *arguments), bar=0.55),
            *peers.only_with("aiometer", entrant("aiometer", partial(peers.aiometer_map, *arguments), bar=0.2)),
            *peers.only_with("streamable", entrant("streamable", partial(peers.streamable_a_map, *arguments), bar=0.9)),
        ),
    )
