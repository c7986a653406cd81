"""The `executor` option and decorated functions of `__main__`, which other processes do not have, or have under another name."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from concurrency import Concurrent, concurrent

UNIT = 10

@concurrent
def helper(number: int) -> int:
    return UNIT * number

@concurrent
def with_everything(number: int, *, more: int = 1) -> int:
    return helper(number) + more + (with_everything(number - 1) if number else 0)

@concurrent
def nested(number: int) -> list[int]:
    return helper.map(range(number))

def helper_itself(_: int) -> object:
    return helper

class Scorer:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @concurrent
    def score(self, number: int) -> int:
        return self.factor * number

def make(kind, stack):
    if kind == "dask":
        from distributed import Client, LocalCluster
        cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
        return stack.enter_context(Client(cluster)).get_executor(pure=False)
    if kind == "loky":
        import loky
        return stack.enter_context(loky.ProcessPoolExecutor(2))
    return stack.enter_context(ProcessPoolExecutor(2, get_context(kind)))

if __name__ == "__main__":
    with ExitStack() as stack:
        executor = make(sys.argv[1], stack)
        if "with-cloudpickle" in sys.argv:
            import cloudpickle
            before = dict(cloudpickle.CloudPickler.dispatch_table)
        for chunksize in (1, 3):
            options = {"executor": executor, "chunksize": chunksize}
            assert with_everything.map(range(5), **options) == [with_everything(number) for number in range(5)]
            assert nested.map(range(4), **options) == [[], [0], [0, 10], [0, 10, 20]]
            assert Scorer(3).score.map(range(4), **options) == [0, 3, 6, 9]
        [returned] = Concurrent.map(helper_itself, [1], executor=executor)
        assert returned(4) == 40 and returned.map([1, 2]) == [10, 20] and returned.__qualname__ == "helper"
        if "with-cloudpickle" in sys.argv:
            assert dict(cloudpickle.CloudPickler.dispatch_table) == before
            assert cloudpickle.loads(cloudpickle.dumps(helper))(4) == 40
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(helper, protocol)) is helper
    print("fine")
"""


@pytest.mark.parametrize(
    ("kind", "needs"),
    [("spawn", None), ("spawn", "cloudpickle"), ("forkserver", "cloudpickle"), ("loky", "loky"), ("dask", "distributed")],
)
def test_they_travel_with_what_they_use(kind: str, needs: str | None, tmp_path: Path) -> None:
    if needs is not None:
        pytest.importorskip(needs)
    if kind == "forkserver" and kind not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no forkserver here")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="ascii")
    # As in a notebook, where there is no file of which another process could make its own `__main__`.
    how = ["-c", f"exec(open({str(program)!r}).read())"] if kind in ("loky", "dask") else [str(program)]
    command = [sys.executable, *how, kind, *(["with-cloudpickle"] if needs is not None else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=Path(__file__).parent.parent)
    assert done.stdout == "fine\n", done.stderr
