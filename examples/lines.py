"""Counts the distinct lines of this Python's own library: streams over input that is larger than what it keeps.

Every file is split into its lines, which are then forgotten: what stays of each is a hash of eight bytes. Threads take
their files from a plain iterator, asyncio from an async one, and both have to come to the same.
"""

import argparse
import asyncio
import os
import sys
import time
import tracemalloc
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from concurrency import concurrent

_LIMIT = 4  # files at once: reading one is quick, so more threads would only wait for one another


class _Count(NamedTuple):
    files: int
    lines: int
    distinct: int


class _Seen:
    """A set of hashes in 16 bytes each or a little more. In a `set` of integers they take 70, more than the average line."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 << 20))  # a hash stands in the slot of its last bits, or in the next free one after
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def update(self, hashes: Iterable[int]) -> None:
        for one in hashes:
            slots = self._slots
            last = len(slots) - 1
            place = one & last
            while slots[place] != one:
                if not slots[place]:
                    slots[place] = one
                    self._size += 1
                    break
                place = (place + 1) & last
            if self._size > len(slots) // 2:
                self._grow()

    def _grow(self) -> None:
        hashes, self._slots, self._size = self._slots, array("Q", bytes(16 * len(self._slots))), 0
        self.update(filter(None, hashes))


class _Lines(NamedTuple):
    """What is left of a file: how many lines it has, and the hash of each."""

    total: int
    hashes: "array[int]"


@concurrent(limit=_LIMIT)
def _hash_lines(path: Path) -> _Lines:
    lines = path.read_bytes().splitlines()
    return _Lines(len(lines), array("Q", b"".join({blake2b(line, digest_size=8).digest() for line in lines})))


@concurrent(limit=_LIMIT)
async def _a_hash_lines(path: Path) -> _Lines:
    return await asyncio.to_thread(_hash_lines, path)  # decorated, it is still the function it was


def _folders() -> Iterator[list[Path]]:
    """Every source file of the interpreter's library, a folder at a time, found as it is asked for."""
    for folder, folders, names in os.walk(Path(os.__file__).parent):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        yield [Path(folder, name) for name in sorted(names) if name.endswith(".py")]


def _library() -> Iterator[Path]:
    return chain.from_iterable(_folders())


async def _a_library() -> AsyncIterator[Path]:
    """The same for asyncio: a disk that takes its time does not keep the loop from its other tasks."""
    folders = _folders()
    while (files := await asyncio.to_thread(next, folders, None)) is not None:
        for file in files:
            yield file


def _with_threads() -> _Count:
    files = lines = 0
    seen = _Seen()
    for _path, found in _hash_lines.as_completed(_library()):
        files += 1
        lines += found.total
        seen.update(found.hashes)
    return _Count(files, lines, len(seen))


async def _with_asyncio() -> _Count:
    files = lines = 0
    seen = _Seen()
    async with _a_hash_lines.a_as_completed(_a_library()) as pairs:
        async for _path, found in pairs:
            files += 1
            lines += found.total
            seen.update(found.hashes)
    return _Count(files, lines, len(seen))


def _compare() -> None:
    ways: dict[str, Callable[[], _Count]] = {
        "as_completed": _with_threads,
        "a_as_completed": lambda: asyncio.run(_with_asyncio()),
    }
    print(f"{'':16}{'files':>8}{'lines':>10}{'distinct':>10}{'seconds':>9}{'peak MB':>9}")
    counts: list[_Count] = []
    for name, count in ways.items():
        tracemalloc.start()
        start = time.perf_counter()
        counts.append(count())
        seconds = time.perf_counter() - start
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        files, lines, distinct = counts[-1]
        print(f"{name:16}{files:8,}{lines:10,}{distinct:10,}{seconds:9.2f}{peak / 1e6:9.1f}")
    if len(set(counts)) > 1:
        sys.exit("They do not agree.")
    print(f"\nBoth agree, of {_megabytes():.1f} MB of text.")


def _megabytes() -> float:
    return sum(path.stat().st_size for path in _library()) / 1e6


def _main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    _compare()


if __name__ == "__main__":
    _main()
