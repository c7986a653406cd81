"""The house as it is drawn in CONTRIBUTING.md: imports point down, and drivers do not know of one another."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import concurrency

HOUSE = Path(concurrency.__file__).parent
MODULES = {
    ".".join(("concurrency", *file.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in HOUSE.rglob("*.py")
}
ENTRANCE = "concurrency"
DRIVERS = ["concurrency._threads", "concurrency._executors", "concurrency._tasks"]

# Who may import what stands high. All else is a shared part: below those who use it, as no cycle shows.
FLOORS = {
    "concurrency": set[str](),
    "concurrency.decorator": {ENTRANCE},
    "concurrency.core": {ENTRANCE, "concurrency.decorator"},
}

each_module = pytest.mark.parametrize("name", sorted(MODULES))


def test_no_import_points_up() -> None:
    for above, allowed in FLOORS.items():
        assert {name for name in MODULES if above in _imports(name)} <= allowed


def test_there_is_no_cycle() -> None:
    assert list(TopologicalSorter({name: _imports(name) for name in MODULES}).static_order())


@pytest.mark.parametrize("driver", DRIVERS)
def test_drivers_do_not_import_one_another(driver: str) -> None:
    assert not _reachable(driver) & set(DRIVERS) - {driver}


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_operations_reach_every_driver(driver: str) -> None:
    assert driver in _reachable("concurrency.core")


def test_the_entrance_imports_public_modules_alone() -> None:
    assert not [name for name in _imports(ENTRANCE) if name.rpartition(".")[2].startswith("_")]


@each_module
def test_it_does_not_import_all_of_concurrent_futures(name: str) -> None:
    """`import concurrent.futures` binds the name `concurrent`, which here is the decorator's."""
    plain = [alias.name for node in ast.walk(_tree(name)) if isinstance(node, ast.Import) for alias in node.names]
    assert not [module for module in plain if module.split(".")[0] == "concurrent"]


@each_module
def test_it_is_not_called_as_a_public_function_is(name: str) -> None:
    """Or the one would hide the other: `from concurrency import core` may give either."""
    last = name.rpartition(".")[2]
    functions = {
        function
        for module in map(import_module, MODULES)
        for function, value in vars(module).items()
        if inspect.isroutine(value) and not function.startswith("_") and value.__module__ == module.__name__
    }
    assert last not in functions | set(concurrency.__all__)


def test_what_is_public_is_found_where_the_entrance_has_it_from() -> None:
    for name in concurrency.__all__:
        public = getattr(concurrency, name)
        home = sys.modules[public.__module__]
        assert isinstance(home, ModuleType)
        assert home.__name__ in _imports(ENTRANCE)


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def _imports(name: str) -> frozenset[str]:
    """The modules of the house that this one imports, also late, but for those that it imports for type checkers alone."""
    return frozenset(found for node in _at_run_time(_tree(name)) for found in _imported(name, node)) - {name}


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _at_run_time(node)


def _imported(name: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{name}: imports say where they come from, in full"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            if submodule in MODULES:
                yield submodule
            elif node.module in MODULES:
                yield node.module


def _reachable(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for imported in _imports(waiting.pop()) - found:
            found.add(imported)
            waiting.append(imported)
    return found
