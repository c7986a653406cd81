"""The `executor` option on interpreters, which come with Python 3.14."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest

from concurrency import Concurrent
from tests.executor_functions import (
    LOCAL,
    Scorer,
    add,
    buffered,
    change_context,
    decorated,
    double,
    fail_at_5,
    fail_where_odd,
    identity,
    lock_at_5,
)

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters come with Python 3.14")

either = pytest.mark.parametrize("chunksize", [1, 4])


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    futures: Any = import_module("concurrent.futures")
    with futures.InterpreterPoolExecutor(2) as executor:
        yield executor


@either
def test_equals_the_builtin_map(pool: Executor, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": pool, "chunksize": chunksize}
    assert Concurrent.map(double, range(20), **options) == list(range(0, 40, 2))
    assert Concurrent.map(add, range(20), count(), **options) == list(range(0, 40, 2))
    assert list(islice(Concurrent.stream(double, count(), **options), 20)) == list(range(0, 40, 2))
    assert dict(Concurrent.as_completed(double, range(20), **options)) == {each: 2 * each for each in range(20)}
    assert decorated.map(range(20), **options) == list(range(0, 60, 3))
    assert Scorer(5).score.map(range(10), **options) == list(range(0, 50, 5))
    assert Concurrent.map(buffered, range(3), **options) == [bytes([each]) * 100 for each in range(3)]


@either
def test_failure(pool: Executor, chunksize: int) -> None:
    with pytest.raises(ValueError, match="five") as caught:
        Concurrent.map(fail_at_5, range(9), executor=pool, chunksize=chunksize, limit=1)
    assert caught.value.__notes__ == ["concurrency: call 5 of fail_at_5.map failed, with 5"]
    assert "in fail_at_5" in "".join(format_exception(caught.value))
    results = Concurrent.map(fail_where_odd, range(9), executor=pool, chunksize=chunksize, catch=ValueError)
    assert [each if isinstance(each, int) else each.args[0] for each in results] == list(range(9))


@either
def test_contexts_do_not_travel_and_nothing_breaks(pool: Executor, chunksize: int) -> None:
    token = LOCAL.set("mine")
    try:
        assert Concurrent.map(change_context, "abcdefgh", executor=pool, chunksize=chunksize) == ["nothing"] * 8
    finally:
        LOCAL.reset(token)


@either
def test_what_cannot_be_sent(pool: Executor, chunksize: int) -> None:
    options: dict[str, Any] = {"executor": pool, "chunksize": chunksize, "limit": 2, "catch": Exception}
    with pytest.raises(Exception, match="cross-interpreter data") as caught:
        Concurrent.map(identity, [0, 1, 2, 3, 4, threading.Lock(), 6], **options)
    assert caught.value.__notes__[-1].startswith("concurrency: ")
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        Concurrent.map(lock_at_5, range(9), **options)
    assert caught.value.__notes__ == ["concurrency: call 5 of lock_at_5.map failed, with 5"]


def test_a_decorated_function_of_the_main_module(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from concurrent.futures import InterpreterPoolExecutor\n"
        "from concurrency import concurrent\n"
        "@concurrent\n"
        "def double(number):\n"
        "    return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    with InterpreterPoolExecutor(2) as executor:\n"
        "        print(double.map(range(3), executor=executor))\n",
        encoding="ascii",
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=50)
    assert done.stdout == "[0, 2, 4]\n", done.stderr
