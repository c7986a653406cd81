"""Uses what has been installed, in an environment that has nothing else: every operation once, and a process pool."""

import asyncio
import importlib.metadata
import importlib.resources
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import concurrency
from concurrency import Concurrent, Rate, concurrent


@concurrent(limit=2)
def _double(number: int) -> int:
    return 2 * number


@concurrent(limit=2)
async def _a_double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def _a_main() -> None:
    assert await _a_double.a_map([1, 2], rate=Rate(1000)) == [2, 4]
    assert [result async for result in _a_double.a_stream([1, 2])] == [2, 4]
    assert sorted([pair async for pair in _a_double.a_as_completed([1, 2])]) == [(1, 2), (2, 4)]


def _main() -> None:
    assert os.path.commonpath([concurrency.__file__, sys.prefix]) == sys.prefix, concurrency.__file__
    assert importlib.resources.files("concurrency").joinpath("py.typed").is_file()
    assert _double.map([1, 2]) == Concurrent.map(_double, [1, 2]) == [2, 4]
    assert list(_double.stream([1, 2])) == [2, 4]
    assert sorted(_double.as_completed([1, 2])) == [(1, 2), (2, 4)]
    asyncio.run(_a_main())
    with ProcessPoolExecutor(1) as pool:
        assert _double.map([1, 2], executor=pool) == [2, 4]
    with suppress(ImportError):
        _double.map([1], progress=True)
        raise AssertionError("tqdm is here, so this is no empty environment")
    print(f"concurrent-construct {importlib.metadata.version('concurrent-construct')} works")


if __name__ == "__main__":
    _main()
