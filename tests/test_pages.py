"""Every Python block of the README and of the documentation runs, page by page, and prints what the page says."""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import pages
from tests.test_examples import example

PROJECT = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = pages.ROOT / "README.md"
NOTEBOOK = pages.ROOT / "docs/cookbook/jupyter.md"

PROGRAMS = [
    page for page in pages.PAGES if page != NOTEBOOK and any(block.language == "python" for block in pages.blocks(page))
]
COMMANDS = [
    pytest.param(command, id=f"{pages.name_of(page)}:{block.line + number}")
    for page in pages.PAGES
    for block in pages.blocks(page)
    if block.language == "console"
    for number, line in enumerate(block.text.splitlines())
    for command in line.partition("#")[0].split("&&")
]

by_name = pytest.mark.parametrize("page", PROGRAMS, ids=pages.name_of)


@pytest.mark.timeout(180)  # seconds, a safety net above that of the page's own process
@by_name
def test_it_runs_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    if missing := pages.missing(pages.program(page)):
        pytest.skip(f"needs {', '.join(missing)}: pip install -e '.[docs]'")
    for line, printed, said in pages.run(page, tmp_path):
        assert said is None or printed == said, f"{pages.name_of(page)}, the block at line {line}"


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_its_blocks_are_of_known_languages(page: Path) -> None:
    """One that is called `py`, say, would not run."""
    text = page.read_text(encoding="utf-8")
    found = pages.blocks(page)
    assert {block.language for block in found} <= {"python", "text", "console", "toml", "mermaid"}
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_its_links_to_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{pages.name_of(page)} links to {target}"


def is_session(session: str) -> bool:
    """Whether the file for nox has it, and for this Python."""
    name, _, version = session.partition("-")
    sessions = (pages.ROOT / "noxfile.py").read_text(encoding="utf-8")
    return f"def {name}(session" in sessions and (not version or f'"{version}"' in sessions)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_about_what_there_is(command: str) -> None:
    program, *arguments = command.replace("'", "").split()
    match program, *arguments:
        case ["pip", "install", *_]:
            for extras in re.findall(r"\.\[([^\]]*)\]", command):
                assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
            for package in re.findall(r"concurrent-[\w-]+", command):
                assert package == PROJECT["name"]
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None or module in {"build", "venv"}
        case ["python", file, *options]:
            assert (pages.ROOT / file).is_file()
            assert set(options) <= set(example(Path(file).name, "--help").split())
        case ["pytest", *files]:
            assert all((pages.ROOT / file).exists() for file in files if not file.startswith("-"))
        case ["mkdocs", "build" | "serve", *_]:
            assert (pages.ROOT / "mkdocs.yml").is_file()
        case ["pre-commit", *_]:
            assert (pages.ROOT / ".pre-commit-config.yaml").is_file()
        case ["nox", *options]:
            assert all(is_session(session) for session in options[1:2])
        case ["bash", file]:
            assert (pages.ROOT / file).is_file()
        case ["source", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"nobody checks `{command.strip()}`")


@pytest.mark.timeout(300)  # seconds: without a cache, mypy reads much of the standard library
def test_the_page_on_typing_says_what_mypy_says(tmp_path: Path) -> None:
    """An `assert_type` that is wrong is an error, and so is a `type: ignore` that hides none."""
    file = tmp_path / "page_typing.py"
    file.write_text(pages.program(pages.ROOT / "docs/typing.md"), encoding="utf-8")
    mypy = [str(Path(sys.executable).with_name("mypy")), "--config-file=", "--strict", "--warn-unused-ignores"]
    check = subprocess.run([*mypy, str(file)], capture_output=True, text=True, cwd=tmp_path)
    assert check.returncode == 0, check.stdout


@pytest.mark.timeout(180)
def test_the_page_on_jupyter_is_a_notebook(tmp_path: Path) -> None:
    """Each block is a cell, and what stands below it is what the cell shows. The progress bar goes to stderr."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install -e '.[docs]'")
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install -e '.[docs]'")
    nbformat = pytest.importorskip("nbformat")
    found = pages.blocks(NOTEBOOK)
    cells = [nbformat.v4.new_code_cell(block.text) for block in found if block.language == "python"]
    said = [block.text for block in found if block.language == "text"]
    assert len(cells) == len(said) > 0
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    for cell, text in zip(notebook.cells, said, strict=True):
        assert _shown_by(cell) == text
    bars = [output.text for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    assert re.search(r"fetching: 100%.* 8/8 ", "".join(bars))


def _shown_by(cell: Any) -> str:
    results = [output.data["text/plain"] + "\n" for output in cell.outputs if output.output_type == "execute_result"]
    return "".join([output.text for output in cell.outputs if output.get("name") == "stdout"] + results)
