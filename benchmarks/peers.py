"""The peers that may be missing: each is imported if it is there, and used in the way its documentation shows.

They are imported by name, since the type checkers run where they are not installed.
"""

import os
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.pool import ThreadPool
from typing import Any

from benchmarks.harness import Entrant

DISTRIBUTIONS = ("aiometer", "anyio", "joblib", "streamable", "tqdm")

missing: set[str] = set()
"""Those that a case has asked for in vain."""


def versions() -> dict[str, str]:
    """The version of each peer, and of this library."""
    found: dict[str, str] = {}
    for name in ("concurrent-construct", *DISTRIBUTIONS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def have(*names: str) -> bool:
    """Whether these modules can be imported; if not, remembers them as missing."""
    absent = {name for name in names if _module(name) is None}
    missing.update(absent)
    return not absent


def only_with(name: str, *entrants: Entrant) -> tuple[Entrant, ...]:
    """These entrants, if their module is there."""
    return entrants if have(name) else ()


def thread_executor(workers: int) -> Callable[[], ThreadPoolExecutor]:
    """What makes a pool of `concurrent.futures`."""
    return lambda: ThreadPoolExecutor(workers)


def thread_pool(workers: int) -> Callable[[], ThreadPool]:
    """What makes a pool of `multiprocessing`, of threads."""
    return lambda: ThreadPool(workers)


@cache
def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def streamable_map(function: Callable[..., Any], inputs: Iterable[Any], concurrency: int) -> list[Any]:
    """`stream(...).map(..., concurrency=...)`: ordered, on threads."""
    return list(_module("streamable").stream(inputs).map(function, concurrency=concurrency))


async def streamable_a_map(function: Callable[..., Awaitable[Any]], inputs: Iterable[Any], concurrency: int) -> list[Any]:
    """The same over a coroutine function, on asyncio."""
    return [each async for each in _module("streamable").stream(inputs).map(function, concurrency=concurrency)]


def tqdm_thread_map(function: Callable[..., Any], inputs: Iterable[Any], workers: int, **bar: Any) -> list[Any]:
    """`tqdm.contrib.concurrent.thread_map`, without a bar unless one is asked for."""
    results: list[Any] = import_module("tqdm.contrib.concurrent").thread_map(
        function, inputs, max_workers=workers, **(bar or {"disable": True})
    )
    return results


def tqdm_bar() -> Callable[..., Any]:
    """`tqdm` itself, drawing for nobody."""
    return partial(_module("tqdm").tqdm, file=open(os.devnull, "w", encoding="utf-8"))


def joblib_map(function: Callable[..., Any], inputs: Iterable[Any], jobs: int) -> list[Any]:
    """`Parallel(prefer="threads")`, which batches short calls by itself."""
    joblib = _module("joblib")
    results: list[Any] = joblib.Parallel(n_jobs=jobs, prefer="threads")(joblib.delayed(function)(each) for each in inputs)
    return results


async def aiometer_map(function: Callable[..., Awaitable[Any]], inputs: Iterable[Any], limit: int | None) -> list[Any]:
    """`aiometer.run_all` over partials: results in the order of the inputs."""
    results: list[Any] = await _module("aiometer").run_all([partial(function, each) for each in inputs], max_at_once=limit)
    return results


async def aiometer_stream(function: Callable[..., Awaitable[Any]], inputs: list[Any], limit: int) -> None:
    """`aiometer.amap`, each result taken and dropped as it comes."""
    async with _module("aiometer").amap(function, inputs, max_at_once=limit) as results:
        async for _ in results:
            pass


async def anyio_map(function: Callable[..., Awaitable[Any]], inputs: Iterable[Any]) -> list[Any]:
    """`anyio.amap`: no limit."""
    results: list[Any] = await _module("anyio").amap(function, inputs)
    return results
