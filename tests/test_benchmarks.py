"""That the benchmarks run. What they measure is not tested: a timed test fails on a busy machine."""

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def _benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=50)


def test_prints_a_table_and_writes_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    done = _benchmarks("--quick", "--rounds", "1", "--case", "three letters", "--case", "decorated", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "| case | ours | peer |" in done.stdout
    assert "| map of three letters |" in done.stdout
    names = [case["name"] for case in json.loads(file.read_text())["cases"]]
    assert names == ["map of three letters", "call of a decorated function"]


def test_says_when_nothing_has_the_name() -> None:
    done = _benchmarks("--case", "no such case")
    assert done.returncode == 2
    assert "--list" in done.stderr
