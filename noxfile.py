"""The tests on every Python, and under every condition: what is too much for each change. Needs `nox`; `.ci/run` does not.

    nox                                 # everything that is installed; the rest is skipped, and says so
    nox -s tests-3.14 -- -k stream      # what follows `--` goes to pytest
    nox -s coverage

Pythons are looked for on PATH, by names as `python3.14` and `python3.13t`.
"""

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # a machine rarely has them all

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
FREE_THREADED = ["3.13t", "3.14t"]
MIDDLE = "3.13"  # has eager tasks, and still the policies by which every loop can be made another

# Of the extra `test`, what there is for free-threaded builds: without dask and playwright, whose tests are skipped.
FREE_THREADED_TOOLS = [
    "httpx",
    "hypothesis",
    "loky",
    "pytest>=8.4",
    "pytest-asyncio>=1.3",
    "pytest-randomly>=4.0",
    "pytest-run-parallel>=0.5",
    "pytest-timeout>=2.4",
    "tenacity>=9.0",
    "tqdm>=4.66",
]

# Tests that several threads may run at the same time: those that neither patch, nor count threads, nor let time pass, and are
# no coroutine functions. Of these, what uses a fixture or a function that is not for threads runs in one alone.
PARALLEL = ["bad_input", "buffersize", "cancellation", "context", "failure", "fairness", "inputs", "law", "limit", "nesting"]
PARALLEL += ["stream_ending", "streams"]

# Of what importing loads; coverage loads more, in every process.
LIGHT = [
    "test_importing_is_light",
    "test_a_map_in_threads_is_light_too",
    "test_a_decorated_coroutine_function_is_light_until_it_is_used",
]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=FREE_THREADED)
def free_threaded(session: nox.Session) -> None:
    """The suite on a build without a GIL; then what can be run by several threads at the same time, by several threads."""
    session.install("-e", ".", *FREE_THREADED_TOOLS)
    session.run("python", "-c", "import sys; assert not sys._is_gil_enabled()")
    session.run("pytest", "-p", "no:run-parallel", "--ignore", "tests/test_typing.py", *session.posargs)
    files = [f"tests/test_{name}.py" for name in PARALLEL]
    session.run("pytest", "--parallel-threads", "4", "-p", "no:randomly", *files, *session.posargs)


@nox.session(python=MIDDLE)
@nox.parametrize("loop", ["uvloop", "eager", "debug-off"])
def loops(session: nox.Session, loop: str) -> None:
    """All that runs on asyncio: in uvloop's loop, in one whose tasks are all eager, and without asyncio's debug mode."""
    session.install("-e", ".[test]", *(["uvloop"] if loop == "uvloop" else []))
    files = ["cancellation", "context", "failure", "fairness", "inputs", "law", "limit", "nesting", "properties", "resources"]
    streams = ["buffersize", "stream_cancellation", "stream_ending", "stream_resources", "streams"]
    paths = [f"tests/test_{name}.py" for name in (*files, *streams)]
    session.run("pytest", *paths, *session.posargs, env={"CONCURRENCY_TEST_LOOP": loop})


@nox.session(python=PYTHONS)
def development(session: nox.Session) -> None:
    """The suite in Python's development mode, with warnings as errors from the first import on."""
    session.install("-e", ".[test]")
    ignored = ["--ignore", "tests/test_typing.py", "--ignore", "tests/test_executor_dask.py"]  # the tools' own warnings
    session.run("python", "-X", "dev", "-W", "error", "-m", "pytest", *ignored, *session.posargs)


@nox.session(python=["3.11", MIDDLE])
def coverage(session: nox.Session) -> None:
    """Branch coverage of the package, also of what runs in other processes. On two Pythons, of which one has eager tasks."""
    session.install("-e", ".[test]", "coverage[toml]>=7.6")
    env = {"COVERAGE_CORE": "ctrace"}  # `sysmon` does not see branches on all Pythons
    if session.python == "3.11":  # the first
        session.run("coverage", "erase")
    run = ["coverage", "run", "-m", "pytest", "--ignore", "tests/test_typing.py"]
    left_out = [f"--deselect=tests/test_surface.py::{name}" for name in LIGHT]
    # What coverage does itself where a call begins needs frames, too.
    left_out.append("--deselect=tests/test_faults.py::test_at_the_recursion_limit_no_task_is_left")
    session.run(*run, *left_out, *session.posargs, env=env)
    session.notify("coverage_report")


@nox.session(python="3.11")
def coverage_report(session: nox.Session) -> None:
    """What all that has been measured covers together; fails if that is not everything."""
    session.install("coverage[toml]>=7.6")
    session.run("coverage", "combine")
    session.run("coverage", "report", "--fail-under=100")


nox.options.sessions = ["tests", "free_threaded", "loops", "development", "coverage"]
