"""The examples run as they are, without a warning, and show what they are there to show."""

import re
import subprocess
import sys
from string import ascii_lowercase, ascii_uppercase

import pytest

from tests import children


def example(name: str, *arguments: str) -> str:
    """What an example prints."""
    child = subprocess.run(
        [sys.executable, "-W", "error", str(children.ROOT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        timeout=children.PATIENCE,
        # Without asyncio's debug mode: on a busy machine it complains of steps that took long, httpx's among them.
        env={**children.environment(), "PYTHONASYNCIODEBUG": ""},
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return child.stdout


def test_letters() -> None:
    """Of the lines that threads print at once, the letters and the line ends may come apart: `print` writes them one by one."""
    output = example("letters.py")
    threads, asyncio = output.split(f"{' '.join(ascii_lowercase)}\n")
    for part in (threads, asyncio):
        assert part.startswith("Letter: A\n")
        assert sorted(re.findall("Letter: ([A-Z])", part)) == sorted(f"A{ascii_uppercase}")
    assert asyncio.endswith(f"{' '.join(ascii_uppercase)}\n")


def test_pages() -> None:
    pytest.importorskip("httpx")
    output = example("pages.py", "--pages", "40", "--latency", "50", "--limit", "8")
    assert output.startswith("41 pages, 50 ms each, at most 8 at once\n")
    seconds = {
        name: float(time)
        for name, time in re.findall(r"^(one by one|_fetch\.map|_a_fetch\.a_map) +([\d.]+) ", output, re.MULTILINE)
    }
    assert list(seconds) == ["one by one", "_fetch.map", "_a_fetch.a_map"]
    # 41 pages of 50 ms: over 2 s one by one, and 0.3 s at best, 8 at once. Half is far from both.
    assert seconds["one by one"] > 2
    assert seconds["_fetch.map"] < seconds["one by one"] / 2
    assert seconds["_a_fetch.a_map"] < seconds["one by one"] / 2
    assert "All three agree byte for byte" in output
    assert re.search(r"404 Not Found: http://127\.0\.0\.1:\d+/no_such_page\.py\n", output)
    assert re.search(r"concurrency: call 20 of _fetch\.map failed, with 'http://127\.0\.0\.1:\d+/no_such_page\.py'\n", output)


def test_pages_says_what_it_can_do() -> None:
    pytest.importorskip("httpx")
    output = example("pages.py", "--help")
    for option in ("--pages", "--latency", "--limit"):
        assert option in output
