"""Peak memory over what the process held before, each run in a fresh process.

It is the resident memory that counts, as the system sees it: with thread stacks, with what C allocates, with what the allocator
wastes. `tracemalloc` would see none of these, and would slow the runs down so much that queues fill in other ways. Linux tells
it in `VmHWM`, and can be told to forget the peak of importing; `ru_maxrss` begins with the peak of whoever started the process.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks.fresh import measured_in_fresh
from benchmarks.harness import Case, Entrant, Size, Unit, entrant, told

_STATUS = "/proc/self/status"

_PROGRAM = """\
import asyncio
from collections import deque
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from benchmarks.cases.memory import forget_peak, peak
from benchmarks.functions import a_identity, identity, one_turn
from concurrency.core import Concurrent

items = {items}
inputs = iter(range(items))

def drop(results):
    deque(results, maxlen=0)

async def a_drop(results):
    async for _ in results:
        pass

async def gather():
    return await asyncio.gather(*map(one_turn, inputs))

def executor_map():
    with ThreadPoolExecutor(8) as executor:
        return list(executor.map(identity, inputs))

def through_processes():
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        drop(Concurrent.stream(identity, inputs, executor=executor, chunksize=100))

def a_nothing():
    return asyncio.sleep(0)

Concurrent.map(identity, iter([0]))
asyncio.run(a_nothing())
forget_peak()
base = peak()
kept = {expression}
print(peak() - base)
"""

_MAP = "Concurrent.map(identity, inputs, limit=8)"
_EXECUTOR = "executor_map()"
_A_MAP = "asyncio.run(Concurrent.a_map(one_turn, inputs, limit=100))"
_GATHER = "asyncio.run(gather())"
_STREAM = "drop(Concurrent.stream(identity, inputs, limit=8))"
_A_STREAM = "asyncio.run(a_drop(Concurrent.a_stream(one_turn, inputs)))"
_PROCESSES = "through_processes()"


def cases(size: Size) -> Sequence[Case]:
    """Maps beside what they replace, streams beside a list of their inputs."""
    if find_spec("resource") is None:  # Windows
        return []
    items, many = size(300_000), size(1_000_000)
    return [
        _case("map", items, _MAP, entrant("Executor.map", partial(_bytes, _EXECUTOR, items), bar=0.15)),
        _case("a_map, limit 100", items, _A_MAP, entrant("gather", partial(_bytes, _GATHER, items), bar=0.1)),
        _case("stream", items, _STREAM, _list(items, 1.0)),
        _case("a_stream", items, _A_STREAM, _list(items, 1.0)),
        _case("stream", many, _STREAM, _list(many, 0.1)),
        _case("a_stream", many, _A_STREAM, _list(many, 0.1)),
        # What does not grow is as large with a tenth of the inputs. Of both the pool itself takes most: it is made within.
        _case("stream through two processes", many, _PROCESSES, _list(many, 0.1), _tenth(many, 2)),
    ]


def peak() -> float:
    """Most bytes that this process has held in memory so far."""
    if Path(_STATUS).exists():
        with open(_STATUS, encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024.0 for line in status if line.startswith("VmHWM"))
    resource = import_module("resource")  # not on Windows
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def forget_peak() -> None:
    """Begin again at what is held now, where the system can do that."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as switch:
        switch.write("5")


def _case(operation: str, items: int, ours: str, *peers: Entrant) -> Case:
    return Case(
        name=f"memory: {operation}, {items:,} inputs",
        is_pictured=False,
        items=items,
        unit=Unit.MEMORY,
        measure=told,
        ours=entrant("ours", partial(_bytes, ours, items)),
        peers=peers,
        rounds=3,
    )


def _list(items: int, bar: float) -> Entrant:
    return entrant("a list of the inputs", partial(_bytes, "list(inputs)", items), bar=bar)


def _tenth(items: int, bar: float) -> Entrant:
    return entrant(f"the same with {items // 10:,}", partial(_bytes, _PROCESSES, items // 10), bar=bar)


def _bytes(expression: str, items: int) -> float:
    return measured_in_fresh(_PROGRAM.format(expression=expression, items=items))
