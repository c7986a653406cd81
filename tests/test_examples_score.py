import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCORE = Path(__file__).parent.parent / "examples" / "score.py"


def score(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCORE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, env={**os.environ, **environment})


def test_compares_all_ways() -> None:
    pytest.importorskip("distributed")
    done = score("--files", "12", "--workers", "2")
    assert done.returncode == 0, done.stderr
    ways = re.findall(r"^(\w+) +[\d.]+ +\d+ +[\d.]+x$", done.stdout, re.MULTILINE)
    assert ways == ["serially", "threads", "processes", "dask"]
    assert "All agree to the last bit." in done.stdout


def test_goes_on_without_dask(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('no dask', name='distributed')", encoding="ascii")
    done = score("--files", "4", "--workers", "1", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "dask        left out: distributed is not installed" in done.stdout


def test_help_and_bad_arguments() -> None:
    assert "--chunksize" in score("--help").stdout
    assert "must be at least 1" in score("--files", "0").stderr
