import re
import subprocess
import sys

import pytest

from tests import children

pytest.importorskip("httpx")


def rate(*arguments: str) -> str:
    """What the example prints."""
    child = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(children.ROOT / "examples" / "rate.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=children.PATIENCE,
        env=children.environment(),
    )
    assert child.returncode == 0, child.stdout + child.stderr
    # On a busy machine asyncio's debug mode remarks that a step has taken longer than 0.1 s.
    assert [line for line in child.stderr.splitlines() if not line.startswith("Executing <")] == []
    return child.stdout


def test_with_a_rate_no_request_is_refused() -> None:
    # A busy machine may hold a request up, so that the next one seems to be early: hence more tolerance than by default.
    output = rate("--requests", "60", "--rate", "30", "--tolerance", "700")
    rows = re.findall(r"^([\w, =]+?) +[\d.]+ +(\d+) +(\d+)$", output, re.MULTILINE)
    counts = {name: (int(answered), int(refused)) for name, answered, refused in rows}
    assert list(counts) == ["map", "a_map", "map, rate=api", "a_map, rate=api", "both at once, rate=api"]
    for name in ("map", "a_map"):
        answered, refused = counts.pop(name)
        assert answered + refused == 60
        assert refused >= 0  # how many, depends on how busy the machine is
    assert list(counts.values()) == [(60, 0), (60, 0), (120, 0)]
    assert output.endswith("\nWith rate=api, not one request was refused.\n")


def test_says_what_it_can_do() -> None:
    output = rate("--help")
    for option in ("--requests", "--rate", "--tolerance"):
        assert option in output
