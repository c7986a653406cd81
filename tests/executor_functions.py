"""What the tests send to executors: functions and classes that other processes can import."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from operator import index
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, SupportsIndex

from concurrency import Concurrent, concurrent
from tests.ways import until

LOCAL: ContextVar[str] = ContextVar("LOCAL", default="nothing")


def double(number: int) -> int:
    return 2 * number


def add(first: int, second: int) -> int:
    return first + second


def identity(value: Any) -> Any:
    return value


@concurrent(chunksize=3)
def decorated(number: int) -> int:
    return 3 * number


class Scorer:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def plain(self, number: int) -> int:
        return self.factor * number

    @concurrent
    def score(self, number: int) -> int:
        return self.factor * number

    @concurrent
    @staticmethod
    def twice(number: int) -> int:
        return 2 * number


def fail_at_5(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return number


def fail_where_odd(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


class Buffered:
    """Pickled as arrays are: with its buffer beside the pickle, where the pickler knows how."""

    def __init__(self, data: Any) -> None:
        self.data = bytes(data)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return Buffered, (PickleBuffer(bytearray(self.data)) if index(protocol) >= 5 else self.data,)

    def __eq__(self, other: object) -> bool:
        return self.data == other

    __hash__ = None  # type: ignore[assignment]


def buffered(number: int) -> Buffered:
    return Buffered(bytes([number]) * 100)


class FalsyError(Exception):
    def __bool__(self) -> bool:
        return False


class OneWayError(Exception):
    """Can be pickled, and not be unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class LockedError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class OneWay:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("no number",)


def raise_falsy_at_5(number: int) -> int:
    if number == 5:
        raise FalsyError
    return number


def raise_one_way_at_5(number: int) -> int:
    if number == 5:
        raise OneWayError(1, 2)
    return number


def raise_locked_at_5(number: int) -> int:
    if number == 5:
        raise LockedError
    return number


def raise_stop_at_5(number: int) -> int:
    if number == 5:
        raise StopIteration("five")
    return number


def exit_at_5(number: int) -> int:
    if number == 5:
        raise SystemExit(3)
    return number


def lock_at_5(number: int) -> Any:
    return threading.Lock() if number == 5 else number


def one_way_at_5(number: int) -> Any:
    return OneWay() if number == 5 else number


def die_at_5(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(path: str) -> str:
    """Kill the first process that makes the call. The next finds its trace."""
    try:
        with open(path, "x", encoding="ascii"):
            pass
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail_once(path: str) -> str:
    """Raise in the first call. The next finds its trace."""
    try:
        with open(path, "x", encoding="ascii"):
            pass
    except FileExistsError:
        return "survived"
    raise ValueError("once")


def leave_a_trace(folder: str, number: int) -> None:
    """Fail in call 0 when another has begun, whichever that is; stay in all others until the file `go` is there."""
    (Path(folder) / str(number)).touch()
    if number == 0:
        until(lambda: len(list(Path(folder).iterdir())) > 1)
        raise ValueError("zero")
    until(lambda: (Path(folder) / "go").exists())


def look_at_context(_: Any) -> str:
    return LOCAL.get()


def change_context(value: str) -> str:
    before = LOCAL.get()
    LOCAL.set(value)
    return before


async def coroutine(number: int) -> int:
    return number


def make_coroutine(number: int) -> Any:
    return coroutine(number)


inherited: Executor | None = None


def map_on_inherited(_: Any) -> str:
    """In a forked child: a map on the parent's pool."""
    try:
        Concurrent.map(double, [1], executor=inherited)
    except RuntimeError as error:
        return str(error)
    return "nothing"


def process_id(_: Any) -> int:
    return os.getpid()


def is_child(_: Any) -> bool:
    return multiprocessing.parent_process() is not None


class Inline(Executor):
    """Runs each call within `submit`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Driven(Executor):
    """Runs nothing by itself: the test says which task ends next, and how."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.arrived = threading.Condition()
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self.arrived:
            self.tasks.append((future, lambda: fn(*args, **kwargs)))
            self.submitted += 1
            self.arrived.notify_all()
        return future

    def wait_for(self, count: int) -> None:
        """Until so many tasks have been submitted."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.submitted >= count, 20), f"{self.submitted} tasks, not {count}"

    def start(self, place: int) -> "Future[Any]":
        future = self.tasks[place][0]
        assert future.set_running_or_notify_cancel()
        return future

    def end(self, place: int) -> None:
        """Run a task to its end."""
        future, call = self.tasks[place]
        if not future.running():
            assert future.set_running_or_notify_cancel()
        future.set_result(call())

    def states(self) -> list[str]:
        return [
            "cancelled" if future.cancelled() else "done" if future.done() else "running" if future.running() else "waiting"
            for future, _ in self.tasks
        ]


def counting(count: int, seen: list[int]) -> Iterator[int]:
    """Numbers, that tell how many have been read."""
    for number in range(count):
        seen.append(number)
        yield number
