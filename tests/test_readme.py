"""What the README promises of itself. That its blocks run, its links lead somewhere and its commands exist: `test_pages.py`."""

import re
from pathlib import Path

import pytest

from tests import pages
from tests.test_examples import example

README = pages.ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_three_forms_stand_before_line_30() -> None:
    head = "\n".join(TEXT.splitlines()[:30])
    assert "@concurrent" in head
    assert "Concurrent.map(" in head
    assert "Concurrent.a_map(" in head


def test_the_first_example_prints_each_letter(tmp_path: Path) -> None:
    pytest.importorskip("tenacity")
    first, *_ = pages.run(README, tmp_path)
    assert sorted(re.findall("Letter: ([A-Z])", first.printed)) == list("AAABBCC")


def test_it_is_short_enough_to_be_read() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_the_example_prints_what_the_readme_shows() -> None:
    """But for the numbers."""
    pytest.importorskip("httpx")
    shown = next(block.text for block in pages.blocks(README) if block.language == "text")
    printed = example("pages.py", "--pages", "40", "--latency", "1")
    assert _shape(printed)[: len(_shape(shown))] == _shape(shown)


def _shape(text: str) -> list[list[str]]:
    return [re.sub(r"[\d.]*\d", "0", line).split() for line in text.splitlines()]
