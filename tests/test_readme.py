"""Every Python block of the README runs, in the order in which it is read, each with what those before it have defined."""

import re
import subprocess
import sys

import pytest

from tests import children

README = (children.ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_three_forms_stand_before_line_30() -> None:
    head = "\n".join(README.splitlines()[:30])
    assert "@concurrent" in head
    assert "Concurrent.map(" in head
    assert "Concurrent.a_map(" in head


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 150


def test_every_python_block_runs() -> None:
    assert README.count("```python") == len(BLOCKS) > 0
    program = "\n".join(BLOCKS)
    pytest.importorskip("tenacity")
    child = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=children.PATIENCE,
        env=children.environment(),
        cwd=children.ROOT,
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    assert sorted(re.findall("Letter: ([A-Z])", child.stdout)) == list("AAABBCC")
