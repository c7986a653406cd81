"""Pages of the documentation as programs: what they show is what runs, and what they say it prints is what it prints."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from tests import children

ROOT = children.ROOT
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_END_OF_BLOCK = "\0"
_AFTER_BLOCK = f"if __name__ == '__main__': print(end={_END_OF_BLOCK!r}, flush=True)"  # not where processes load it too

_FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)

_BAR = re.compile(r"[^\r\n]*\| *\d+/\d+ \[[^\r\n]*\]")
"""What tqdm draws, once or again and again."""


class Block(NamedTuple):
    """A fenced block. The line is that of its first line of text, counted from 1."""

    language: str
    line: int
    text: str


class Ran(NamedTuple):
    """A block, what it has printed, and what the page says that it prints, if it does."""

    line: int
    printed: str
    said: str | None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["language"], text.count("\n", 0, match.start("text")) + 1, dedent(match["text"]))
        for match in _FENCED.finditer(text)
    ]


def program(page: Path) -> str:
    """The Python blocks of a page as one program, each on the lines on which it stands in the page, as tracebacks will say."""
    lines = [""] * (page.read_text(encoding="utf-8").count("\n") + 1)
    for block in blocks(page):
        if block.language == "python":
            code = block.text.splitlines()
            end = block.line - 1 + len(code)
            lines[block.line - 1 : end] = code
            lines[end] = _AFTER_BLOCK  # where the fence stands
    return "\n".join(lines)


def missing(source: str) -> list[str]:
    """The packages that a program imports and that are not here."""
    return sorted({name for name in _imported(source) if find_spec(name) is None})


def run(page: Path, folder: Path) -> list[Ran]:
    """Run a page in a process of its own, which has to end well and complain about nothing."""
    file = folder / f"page_{page.stem.replace('-', '_').lower()}.py"  # not `typing.py`
    file.write_text(program(page), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        capture_output=True,
        text=True,
        timeout=3 * children.PATIENCE,  # Django and pandas take seconds to load on a busy machine
        # Without asyncio's debug mode: on a busy machine it complains of calls that took long.
        env={**children.environment(), "PYTHONASYNCIODEBUG": ""},
        cwd=folder,
    )
    assert child.returncode == 0, f"{name_of(page)}:\n{child.stderr}"
    assert _BAR.sub("", child.stderr).strip() == "", child.stderr
    return list(_blocks_that_ran(page, child.stdout.split(_END_OF_BLOCK)))


def _blocks_that_ran(page: Path, printed: list[str]) -> Iterator[Ran]:
    outputs = iter(printed)
    for block, following in pairwise([*blocks(page), Block("", 0, "")]):
        if block.language == "python":
            yield Ran(block.line, next(outputs), following.text if following.language == "text" else None)


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
