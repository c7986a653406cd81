"""Scores the files of this Python's own library, serially, on threads, on processes and on a local dask cluster, and compares.

The score of a file is the entropy of its tokens, in bits: pure Python, which holds the GIL. From way to way one argument
changes, `executor`.
"""

import argparse
import math
import os
import sys
import time
import tokenize
from collections import Counter
from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from concurrency import concurrent


@concurrent
def _score(path: Path) -> float:
    with tokenize.open(path) as file:
        counts = Counter(token.string for token in tokenize.generate_tokens(file.readline))
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


@contextmanager
def _threads(workers: int) -> Generator[Executor | None]:
    yield None


@contextmanager
def _processes(workers: int) -> Generator[Executor | None]:
    with ProcessPoolExecutor(workers) as pool:
        yield pool


@contextmanager
def _cluster(workers: int) -> Generator[Executor | None]:
    from distributed import Client, LocalCluster  # noqa: PLC0415  heavy, and not needed by the other ways

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor(pure=False)


def _compare(paths: list[Path], workers: int, chunksize: int) -> list[float]:
    for path in paths:
        path.read_bytes()  # so that the first way does not read from the disk what the others find in memory
    start = time.perf_counter()
    expected = [_score(path) for path in paths]
    base = time.perf_counter() - start
    print(f"{'':12}{'seconds':>9}{'files/s':>9}{'speed-up':>10}")
    _show("serially", base, len(paths), base)
    for name, way in {"threads": _threads, "processes": _processes, "dask": _cluster}.items():
        try:
            with way(workers) as executor:
                _score.map(paths[:workers], executor=executor)  # not to measure how long it takes to start them
                start = time.perf_counter()
                scores = _score.map(paths, executor=executor, chunksize=chunksize)
                _show(name, time.perf_counter() - start, len(paths), base)
        except ImportError as missing:
            print(f"{name:12}left out: {missing.name} is not installed")
            continue
        if scores != expected:
            sys.exit(f"{name}: these are not the scores that came out serially")
    return expected


def _show(name: str, seconds: float, files: int, base: float) -> None:
    print(f"{name:12}{seconds:9.2f}{files / seconds:9.0f}{base / seconds:9.1f}x")


def _library(count: int) -> list[Path]:
    root = Path(os.__file__).parent
    files = [*sorted(root.glob("*.py")), *sorted(root.glob("*/*.py"))]
    return [file for file in files if file.parent.name not in {"site-packages", "test"}][:count]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--files", type=int, default=300, help="most files to score")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the pool and of the cluster")
    parser.add_argument("--chunksize", type=int, default=5, help="files sent to a process at a time")
    arguments = parser.parse_args()
    if min(arguments.files, arguments.workers, arguments.chunksize) < 1:
        parser.error("--files, --workers and --chunksize must be at least 1")
    return arguments


def _main() -> None:
    arguments = _arguments()
    paths = _library(arguments.files)
    print(f"{len(paths)} files, {arguments.workers} processes, {arguments.chunksize} files at a time;")
    print("the clock starts when the pool or the cluster is there\n")
    scores = _compare(paths, arguments.workers, arguments.chunksize)
    print("\nAll agree to the last bit. The most and the least varied:")
    for place in (scores.index(max(scores)), scores.index(min(scores))):
        print(f"  {scores[place]:5.2f} bits per token: {paths[place]}")


if __name__ == "__main__":
    _main()
