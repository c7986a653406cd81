"""What Python itself charges for the parts that a call cannot do without: the floor under this library and its peers."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from typing import Any

from benchmarks.functions import a_identity, identity, one_turn
from benchmarks.harness import Row, Size, Table, clocked


def tables(size: Size) -> Sequence[Table]:
    """One row for each part."""
    many, some = size(200_000), size(20_000)
    rows: list[tuple[str, int, Callable[[int], Any]]] = [
        ("an item of a bare `[f(x) for x in xs]`", many, _bare),
        ("a context copied (`Context.copy`)", many, _copy),
        ("a context copied and entered (`.copy().run(f, x)`)", many, _copy_and_run),
        ("a lock taken and released", many, _lock),
        ("a `Future` of `concurrent.futures`: made, set, read", some, _future),
        ("`Executor.submit` and its result, one at a time", some, _submit),
        ("a hand-over to a waiting thread and back (two `SimpleQueue`s)", some, _hand_over),
        ("the same with a `Condition`", some, _condition),
        ("a coroutine made and run, without a task", many, _coroutine),
        ("a turn of the event loop", some, _turns),
        ("a task that never suspends", some, partial(_tasks, a_identity)),
        ("the same, started eagerly", some, partial(_eager, a_identity)),
        ("a task of one loop turn", some, partial(_tasks, one_turn)),
        ("the same, started eagerly", some, partial(_eager, one_turn)),
    ]
    return [
        Table(
            "floor: what Python charges",
            "part",
            ["µs"],
            [Row(name, [(items, partial(run, items)) if _exists(name) else None], clocked) for name, items, run in rows],
        )
    ]


def _exists(name: str) -> bool:
    return "eagerly" not in name or sys.version_info >= (3, 12)


def _bare(items: int) -> None:
    _ = [identity(each) for each in range(items)]


def _copy(items: int) -> None:
    copy = copy_context().copy
    for _ in repeat(None, items):
        copy()


def _copy_and_run(items: int) -> None:
    copy = copy_context().copy
    for each in range(items):
        copy().run(identity, each)


def _lock(items: int) -> None:
    lock = Lock()
    for _ in repeat(None, items):
        with lock:
            pass


def _future(items: int) -> None:
    for _ in repeat(None, items):
        future: Future[None] = Future()
        future.set_result(None)
        future.result()


def _submit(items: int) -> None:
    with ThreadPoolExecutor(1) as executor:
        for each in range(items):
            executor.submit(identity, each).result()


def _hand_over(items: int) -> None:
    there: SimpleQueue[int | None] = SimpleQueue()
    back: SimpleQueue[int | None] = SimpleQueue()

    def answer() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    thread = Thread(target=answer)
    thread.start()
    for each in range(items):
        there.put(each)
        back.get()
    there.put(None)
    thread.join()


def _condition(items: int) -> None:
    changed, turns = Condition(Lock()), [0]

    def take_turns(first: int) -> None:
        with changed:
            for number in range(first, 2 * items, 2):
                while turns[0] != number:
                    changed.wait()
                turns[0] += 1
                changed.notify()

    thread = Thread(target=take_turns, args=(1,))
    thread.start()
    take_turns(0)
    thread.join()


def _coroutine(items: int) -> None:
    for each in range(items):
        with suppress(StopIteration):
            a_identity(each).send(None)


def _turns(items: int) -> None:
    async def main() -> None:
        for _ in repeat(None, items):
            await asyncio.sleep(0)

    asyncio.run(main())


def _tasks(function: Callable[[int], Any], items: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.Task(function(each), loop=loop) for each in range(items)]
        for task in tasks:
            await task

    asyncio.run(main())


def _eager(function: Callable[[int], Any], items: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"eager_start": True}
        make: Callable[..., asyncio.Task[Any]] = asyncio.Task
        tasks = [make(function(each), loop=loop, **options) for each in range(items)]
        for task in tasks:
            await task

    asyncio.run(main())
