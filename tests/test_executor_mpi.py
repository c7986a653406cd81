"""The `executor` option on mpi4py's processes, where there is an MPI to start them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import threading
from itertools import count, islice
from traceback import format_exception

from mpi4py.futures import MPIPoolExecutor

from concurrency import Concurrent, concurrent
from tests.executor_functions import (
    LOCAL, Scorer, buffered, change_context, decorated, double, fail_at_5, fail_where_odd, identity, lock_at_5, one_way_at_5
)

@concurrent
def here(number):
    return 4 * number

if __name__ == "__main__":
    LOCAL.set("mine")
    with MPIPoolExecutor() as executor:
        for chunksize in (1, 4):
            options = {"executor": executor, "chunksize": chunksize}
            assert Concurrent.map(double, range(20), **options) == list(range(0, 40, 2))
            assert list(islice(Concurrent.stream(double, count(), **options), 20)) == list(range(0, 40, 2))
            assert dict(Concurrent.as_completed(double, range(20), **options)) == {each: 2 * each for each in range(20)}
            assert decorated.map(range(20), **options) == list(range(0, 60, 3))
            assert here.map(range(20), **options) == list(range(0, 80, 4))
            assert Scorer(5).score.map(range(10), **options) == list(range(0, 50, 5))
            assert Concurrent.map(buffered, range(3), **options) == [bytes([each]) * 100 for each in range(3)]
            assert Concurrent.map(change_context, "abcdefgh", **options) == ["nothing"] * 8
            results = Concurrent.map(fail_where_odd, range(9), catch=ValueError, **options)
            assert [each if isinstance(each, int) else each.args[0] for each in results] == list(range(9))
            for function, inputs in (
                (fail_at_5, range(9)),
                (lock_at_5, range(9)),
                (one_way_at_5, range(9)),
                (identity, [0, 1, 2, 3, 4, threading.Lock()]),
            ):
                try:
                    Concurrent.map(function, inputs, limit=1, **options)
                except Exception as error:
                    print(chunksize, type(error).__name__, error.__notes__[-1])
                    assert function is not fail_at_5 or "in fail_at_5" in "".join(format_exception(error))
    print("fine")
"""


# Open MPI refuses to start as root, and more processes than there are cores; these are its two switches, before and from 5 on.
SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="there is no MPI here")
def test_mpi(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="ascii")
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(program)]
    folder = Path(__file__).parent.parent
    environment = {**os.environ, **SETTINGS, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert done.stdout.splitlines()[-1] == "fine"
