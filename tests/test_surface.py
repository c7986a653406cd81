"""What the package shows, and what importing it loads."""

import doctest
import importlib
import inspect
import pkgutil
import pydoc
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import concurrency
from concurrency import Concurrent, core, decorator

ROOT = Path(concurrency.__file__).parents[1]
OPERATIONS = ["map", "stream", "as_completed", "a_map", "a_stream", "a_as_completed"]
MODULES = [info.name for info in pkgutil.walk_packages(concurrency.__path__, "concurrency.")]
HEAVY = ["asyncio", "multiprocessing", "tqdm", "concurrent.futures.process", "subprocess", "socket", "ssl"]


def _in_fresh_interpreter(code: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def _loaded_by(code: str) -> set[str]:
    return set(HEAVY) & set(_in_fresh_interpreter(f"import sys\n{code}\nprint(*sys.modules)"))


def test_all_is_sorted_and_complete() -> None:
    public = [
        name for name, value in vars(concurrency).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    ]
    assert sorted(public) == concurrency.__all__


def test_the_package_sets_nothing_else() -> None:
    names = _in_fresh_interpreter("import concurrency, types; print(*[n for n in vars(concurrency) if n[:1] != '_'])")
    modules = {name.removeprefix("concurrency.") for name in MODULES}
    assert set(names) - modules == set(concurrency.__all__)


@pytest.mark.parametrize("name", concurrency.__all__)
def test_public_objects_are_documented_and_live_in_public_modules(name: str) -> None:
    public = getattr(concurrency, name)
    assert public.__name__ == public.__qualname__ == name
    assert inspect.getdoc(public)
    assert not any(part.startswith("_") for part in public.__module__.split("."))
    assert getattr(sys.modules[public.__module__], name) is public


def test_the_class_is_in_core_too() -> None:
    assert core.Concurrent is Concurrent


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_the_functions_themselves(name: str) -> None:
    operation = getattr(Concurrent, name)
    assert operation is getattr(core, name)
    assert operation is getattr(Concurrent(), name)
    assert operation is vars(decorator.AsyncConcurrentFunction if name.startswith("a_") else decorator.ConcurrentFunction)[name]
    assert inspect.getdoc(operation)


def test_only_a_map_is_a_coroutine_function() -> None:
    assert [name for name in OPERATIONS if inspect.iscoroutinefunction(getattr(Concurrent, name))] == ["a_map"]


@pytest.mark.parametrize("name", concurrency.__all__)
def test_public_objects_have_help(name: str) -> None:
    assert name in pydoc.plain(pydoc.render_doc(getattr(concurrency, name)))


@pytest.mark.parametrize("name", ["a_stream", "a_as_completed"])
def test_the_lazy_ones_check_their_arguments_at_the_call(name: str) -> None:
    operation: Any = getattr(Concurrent, name)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        operation(abs, [1], limit=0)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_no_option_collides_with_a_parameter(name: str) -> None:
    for option in ("fn", "first", "iterables", "options", "job"):
        with pytest.raises(TypeError, match=f"{name}.. got an unexpected option '{option}'"):
            result = getattr(Concurrent, name)(len, [()], **{option: 1})
            await result


def test_importing_is_light() -> None:
    assert _loaded_by("") == set()  # or the test says nothing
    assert _loaded_by("from concurrency import *") == set()


def test_a_map_in_threads_is_light_too() -> None:
    code = (
        "from concurrency import Concurrent, concurrent\nassert concurrent(abs).map([-1]) == Concurrent.map(abs, [-1]) == [1]"
    )
    assert _loaded_by(code) == set()


def test_a_decorated_coroutine_function_is_light_until_it_is_used() -> None:
    assert _loaded_by("from concurrency import concurrent\n@concurrent\nasync def f(x): ...") == set()


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", concurrency.__all__)
def test_public_objects_have_examples(name: str) -> None:
    public = getattr(concurrency, name)
    found = doctest.DocTestFinder(recurse=False).find(public, globs={})
    assert any(test.examples for test in found)


def test_the_operations_have_examples() -> None:
    examples = {test.name: test.examples for test in doctest.DocTestFinder().find(core)}
    for name in OPERATIONS:
        assert examples[f"concurrency.core.{name}"]
