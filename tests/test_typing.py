"""The type tests in `tests/typing` hold for mypy, and they bite."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRONG = Path("tests/typing/wrong.py")
CHECKERS = {
    "mypy": ["mypy", "--no-error-summary"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "pyrefly": ["pyrefly", "check", "--output-format=min-text", f"--python-interpreter-path={sys.executable}"],
}

pytestmark = pytest.mark.timeout(300)  # seconds: without a cache, a checker reads much of the standard library


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For mypy, which takes seconds without."""
    return tmp_path_factory.mktemp("mypy_cache")


@pytest.fixture
def copy(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the checkers read, to be changed by the test."""
    for name in ("concurrency", "tests/typing"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("mypy.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYPY_CACHE_DIR", str(cache))
    return tmp_path


def _run(checker: str, *files: Path) -> str:
    program, *options = CHECKERS[checker]
    # The scripts of this environment, whether or not it has been activated.
    command = [str(Path(sys.executable).with_name(program)), *options, *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return run.stdout + run.stderr


def _errors(output: str, file: Path) -> dict[int, str]:
    """Lines with errors, each with what is said of it."""
    found = re.finditer(rf"^.*{file.name}:(\d+)\b.*$", output, re.MULTILINE)
    return {int(match[1]): match[0] for match in found if "error" in match[0].lower()}


def _mypy(*files: Path) -> str:
    return _run("mypy", *(files or sorted(Path("tests/typing").glob("*.py"))))


def test_they_hold_for_mypy(copy: Path) -> None:
    assert "tests/typing" not in _mypy()  # what it says of the package is not the subject here


@pytest.mark.parametrize(
    ("operation", "iterables"),
    [("map", 1), ("stream", 2), ("as_completed", 3), ("a_map", 4), ("a_stream", 5), ("a_as_completed", 6)],
)
def test_they_miss_an_overload(copy: Path, operation: str, iterables: int) -> None:
    core = copy / "concurrency/core.py"
    rows = list(re.finditer(rf"@overload\n(async )?def {operation}\(\n.*?: \.\.\.\n", core.read_text(), re.DOTALL))
    assert len(rows) == 6
    row = rows[iterables - 1]
    core.write_text(core.read_text()[: row.start()] + core.read_text()[row.end() :])
    assert "tests/typing/operations.py" in _mypy()


@pytest.mark.parametrize(
    ("file", "old", "new", "failing"),
    [
        ("core.py", "catch: type[E] |", "catch: type[Exception] |", "operations.py"),
        ("core.py", "default=Never", "default=Exception", "operations.py"),
        ("core.py", "a_map = _Static(a_map)", "a_map = staticmethod(a_map)", "operations.py"),
        ("decorator.py", "    map = core.map\n", "", "decorated.py"),
        ("decorator.py", "    a_map = core.a_map\n", "    a_map = core.a_map\n    map = core.map\n", "wrong.py"),
        ("decorator.py", "if not TYPE_CHECKING:  # pragma", "if True:  # pragma", "wrong.py"),
        ("decorator.py", "Callable[P, Coroutine[Any, Any, R]], /", "Callable[P, list[R]], /", "decorated.py"),
        ("decorator.py", "Callable[Concatenate[type[S], Q]", "Callable[Concatenate[list[S], Q]", "decorated.py"),
        ("decorator.py", "Callable[Concatenate[S, Q]", "Callable[Concatenate[list[S], Q]", "decorated.py"),
        ("_options.py", "    limit: int | None", "    limit: object", "wrong.py"),
        ("_options.py", "    buffersize: int | None", "    buffersize: object", "wrong.py"),
    ],
)
def test_they_miss_what_is_broken(copy: Path, file: str, old: str, new: str, failing: str) -> None:
    broken = copy / "concurrency" / file
    assert old in broken.read_text()
    broken.write_text(broken.read_text().replace(old, new))
    assert f"tests/typing/{failing}" in _mypy()


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_wrong_use_is_an_error_for_every_checker(copy: Path, checker: str) -> None:
    lines = WRONG.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# type: ignore[" in line}
    assert len(wrong) >= 40
    WRONG.write_text("\n".join(line.partition("  # type: ignore[")[0] for line in lines) + "\n")
    assert _errors(_run(checker, WRONG), WRONG).keys() == wrong


def test_an_editor_shows_the_types_of_the_elements(copy: Path) -> None:
    shown = {
        "fetch": ["ConcurrentFunction[(url: str, depth: int = 1), int]"],
        "fetch.map": ["first: Iterable[str], /", "-> list[int | E@map]"],
        "fetch.map([''])": ["list[int]"],
        "fetch.as_completed": ["first: Iterable[str], /", "-> Stream[tuple[str, int | E@as_completed]]"],
        "a_fetch.a_stream": ["first: Iterable[str] | AsyncIterable[str], /", "-> AsyncStream[int | E@a_stream]"],
        "Fetcher().fetch.map": ["first: Iterable[str], /", "-> list[int | E@map]"],
    }
    file = copy / "shown.py"
    file.write_text(
        "from concurrency import concurrent\n"
        "@concurrent\n"
        "def fetch(url: str, depth: int = 1) -> int: ...\n"
        "@concurrent\n"
        "async def a_fetch(url: str, depth: int = 1) -> int: ...\n"
        "class Fetcher:\n"
        "    @concurrent\n"
        "    def fetch(self, url: str) -> int: ...\n" + "".join(f"reveal_type({expression})\n" for expression in shown)
    )
    revealed = dict(re.findall(r'Type of "(.*)" is "(.*)"', _run("pyright", file)))
    for expression, parts in shown.items():
        for part in parts:
            assert part in revealed[expression]
