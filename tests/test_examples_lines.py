"""`examples/lines.py`, as its reader runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_NUMBER = r"[\d,.]+"


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = str(_ROOT / "examples" / "lines.py")
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.timeout(150)  # it reads a whole library twice, and says how much memory that took
def test_both_ways_are_shown_and_agree() -> None:
    child = _run()
    assert child.returncode == 0, child.stderr
    assert "Error" not in child.stderr
    assert "Warning" not in child.stderr
    heading, threads, loop, empty, verdict = child.stdout.splitlines()
    assert heading.split() == ["files", "lines", "distinct", "seconds", "peak", "MB"]
    rows = [
        re.fullmatch(rf"(\w+)\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+{_NUMBER}\s+({_NUMBER})", row)
        for row in (threads, loop)
    ]
    assert rows[0] is not None
    assert rows[1] is not None
    assert (rows[0][1], rows[1][1]) == ("as_completed", "a_as_completed")
    assert rows[0].groups()[1:4] == rows[1].groups()[1:4]
    assert empty == ""
    text = re.fullmatch(rf"Both agree, of ({_NUMBER}) MB of text\.", verdict)
    assert text is not None
    lines, distinct = (int(count.replace(",", "")) for count in rows[0].groups()[2:4])
    assert lines > distinct > 10_000


def test_help_says_what_it_does() -> None:
    child = _run("--help")
    assert (child.returncode, child.stderr) == (0, "")
    assert "distinct lines" in child.stdout
