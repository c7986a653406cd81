"""The `executor` option on mpi4py's processes, where there is an MPI to start them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from mpi4py.futures import MPIPoolExecutor
from concurrency import Concurrent
from tests.executor_functions import decorated, double, fail_at_5

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        for chunksize in (1, 4):
            assert Concurrent.map(double, range(20), executor=executor, chunksize=chunksize) == list(range(0, 40, 2))
            assert decorated.map(range(20), executor=executor, chunksize=chunksize) == list(range(0, 60, 3))
            try:
                Concurrent.map(fail_at_5, range(9), executor=executor, chunksize=chunksize)
            except ValueError as error:
                print(error.__notes__)
"""


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="there is no MPI here")
def test_mpi(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="ascii")
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("call 5 of fail_at_5.map failed, with 5") == 2
