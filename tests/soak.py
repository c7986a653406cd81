"""All operations for minutes, at random, with random faults: what goes in has to come out, nothing twice and nothing lost.

    python -m tests.soak --minutes 5

Several threads make one trial after the other. In a trial every input is known, and what its call does: so is what has to come
of them. A fault found is printed with the seed and the trial, and ends the run; so does a trial that hangs, with all stacks.
With the same seed the trials of each thread are the same, though what overlaps is not.
"""

import argparse
import asyncio
import faulthandler
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any, NamedTuple

from concurrency import Concurrent, Rate, concurrent
from tests.executor_functions import Inline
from tests.ways import AsyncItems, Gauge, until

HANGS = 60
"""Seconds without the end of a trial after which it is taken to hang."""

SYNC = ["map", "stream", "as_completed"]
ASYNC = ["a_map", "a_stream", "a_as_completed"]
EXECUTORS = ["none"] * 6 + ["threads", "inline", "processes"]
SIZES = [0, 1, 2, 3, 7, 20, 50, 200, 2000]
COLUMNS = ["trials", "read", "begun", "ended", "out", "caught", "whole", "failed", "late", "left", "cancelled"]


class Expected(Exception):
    """`catch` takes it."""


class Fatal(Exception):
    """`catch` does not."""


class Strong(BaseException):
    """Nor this."""


class Falsy(Fatal):
    def __bool__(self) -> bool:
        return False


KINDS: dict[str, type[BaseException]] = {
    "expected": Expected,
    "fatal": Fatal,
    "falsy": Falsy,
    "strong": Strong,
    "stop": StopIteration,
}


class Item(NamedTuple):
    """An input: whose it is, which it is, and what its call does."""

    trial: int
    place: int
    how: str
    delay: float
    nested: int


def perform(item: Item, *_: Any) -> tuple[int, int]:
    """A call."""
    if item.delay:
        time.sleep(item.delay)
    if item.nested:
        values = range(item.nested)
        assert Concurrent.map(abs, values if item.place % 2 else iter(values), limit=1 + item.place % 3) == list(values)
    return outcome(item)


async def a_perform(item: Item) -> tuple[int, int]:
    """The same on asyncio."""
    if item.delay or item.place % 2:  # some never suspend
        await asyncio.sleep(item.delay)
    if item.nested:
        assert await Concurrent.a_map(a_abs, range(item.nested), limit=1 + item.place % 3) == list(range(item.nested))
    if item.how == "stop":
        return await asyncio.sleep(0, outcome(item._replace(how="fatal")))
    return outcome(item)


async def a_abs(number: int) -> int:
    await asyncio.sleep(0)
    return abs(number)


def outcome(item: Item) -> tuple[int, int]:
    if item.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.how != "well":
        raise KINDS[item.how](item.trial, item.place)
    return item.trial, item.place


class Bar:
    """A bar that nobody sees."""

    def __init__(self, **_: Any) -> None:
        self.done = 0.0

    def update(self, more: float) -> None:
        self.done += more

    def set_postfix(self, *, refresh: bool, failed: int) -> None: ...

    def close(self) -> None: ...


class Trial:
    """One operation: inputs, options and faults, drawn at random; then an account of what has happened."""

    def __init__(self, number: int, draw: random.Random, operations: list[str]) -> None:
        self.number = number
        self.operation = draw.choice(operations)
        self.is_async = self.operation.startswith("a_")
        self.is_lazy = not self.operation.endswith("map")
        self.is_ordered = not self.operation.endswith("as_completed")
        self.kind = "none" if self.is_async else draw.choice(EXECUTORS)
        count = draw.choice(SIZES[:-1] if self.kind == "processes" else SIZES)
        self.items = [Item(number, index, *self._call(draw, count)) for index in range(count)]
        self.fails_at = draw.randrange(count) if count and draw.random() < 0.05 else None
        self.source = draw.choice(["list", "iterator", "async"] if self.is_async else ["list", "iterator", "range"])
        self.others: list[Any] = draw.choice([[], [], [], [itertools.count()], [range(count)]])
        self.options = self._options(draw)
        self.leaves_at = draw.randrange(count) if self.is_lazy and count and draw.random() < 0.2 else None
        self.leaves_by = draw.choice(["close", "drop"])
        self.is_shared = self.is_lazy and not self.is_async and self.leaves_at is None and draw.random() < 0.1
        self.cancels_at = draw.randrange(40) if self.is_async and draw.random() < 0.15 else None
        self.is_decorated = draw.random() < 0.2
        self.read = 0
        self.begun: list[int] = []
        self.taken: list[Any] = []
        self.gauge = Gauge()
        self.error: BaseException | None = None
        self.has_left = False
        self.input_error = Fatal("input", number)

    def _call(self, draw: random.Random, count: int) -> tuple[str, float, int]:
        how = "well"
        if draw.random() < min(0.02, 0.5 / count):
            kinds = ["fatal", "falsy", "strong", "stop"] + ["kill"] * (self.kind == "processes" and draw.random() < 0.1)
            how = draw.choice(kinds)
        elif draw.random() < 0.05:
            how = "expected"
        delay = draw.choice([0.00001, 0.0002, 0.001]) if draw.random() < 5 / max(count, 10) else 0.0
        return how, delay, draw.randrange(1, 9) if draw.random() < min(0.05, 2 / count) else 0

    def _options(self, draw: random.Random) -> dict[str, Any]:
        options: dict[str, Any] = {"catch": draw.choice([Expected, Expected, (ValueError, Expected)])}
        if draw.random() < 0.8:
            options["limit"] = draw.choice([1, 2, 3, 4, 8, 20])
        if draw.random() < 0.1:
            options["rate"] = draw.choice([5_000, 50_000, SHARED])
        if draw.random() < 0.2:
            options["timeout"] = draw.choice([0, 0.0001, 0.002, 0.02, 1e300])
        if draw.random() < 0.1:
            options["progress"] = Bar
        if self.is_lazy and draw.random() < 0.7:
            options["buffersize"] = draw.choice([1, 2, 3, 5, 10, 100])
        if not self.is_async and draw.random() < 0.5:
            options["chunksize"] = draw.choice([1, 1, 2, 5, 100])
        return options

    def __repr__(self) -> str:
        hows = Counter(item.how for item in self.items)
        return (
            f"{self.operation} of {len(self.items)} calls {dict(hows)}, input {self.source}, fails at {self.fails_at}, "
            f"{len(self.others)} other inputs, executor {self.kind}, {self.options}, leaves at {self.leaves_at} by "
            f"{self.leaves_by}, cancelled at {self.cancels_at}, {'shared' if self.is_shared else 'not shared'}"
        )

    def inputs(self) -> list[Any]:
        if self.fails_at is None and self.source in ("list", "range"):
            self.read = len(self.items)
            return [list(self.items), *self.others]
        each = self._each()
        return [AsyncItems(each) if self.source == "async" else each, *self.others]

    def _each(self) -> Iterator[Item]:
        for item in self.items:
            if item.place == self.fails_at:
                raise self.input_error
            self.read += 1
            yield item

    def call(self, item: Item, *_: Any) -> tuple[int, int]:
        with self.gauge:
            self.begun.append(item.place)
            return perform(item)

    async def a_call(self, item: Item, *_: Any) -> tuple[int, int]:
        with self.gauge:
            self.begun.append(item.place)
            return await a_perform(item)

    def function(self) -> Any:
        function: Any = perform if self.kind == "processes" else self.a_call if self.is_async else self.call
        return concurrent(function) if self.is_decorated and self.kind != "processes" else function

    # What happens

    def run(self, executors: "Executors") -> None:
        options = self.options
        if self.kind != "none":
            options = {**options, "executor": executors[self.kind]}
        operate = getattr(Concurrent, self.operation)
        try:
            if not self.is_lazy:
                self.taken = operate(self.function(), *self.inputs(), **options)
            elif self.is_shared:
                self._share(operate(self.function(), *self.inputs(), **options))
            else:
                self._consume(operate(self.function(), *self.inputs(), **options))
        except BaseException as error:
            self.error = error
        if self.kind != "processes":
            if not self.outlives():
                assert not self.gauge.now, "a call is running"
            until(lambda: not self.gauge.now)

    def _consume(self, stream: Any) -> None:
        for result in stream:
            self.taken.append(result)
            if len(self.taken) - 1 == self.leaves_at:
                self.has_left = True
                if self.leaves_by == "close":
                    stream.close()
                    assert next(stream, None) is None
                return

    def _share(self, stream: Any) -> None:
        """Two threads take what there is, until both have seen the end, or the same failure."""
        errors: list[BaseException | None] = []

        def consume() -> None:
            try:
                for result in stream:
                    self.taken.append(result)
                errors.append(None)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=consume) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors[0] is errors[1], errors
        if self.is_ordered:
            self.taken.sort(key=lambda result: result.args if isinstance(result, Expected) else result)
        if errors[0] is not None:
            raise errors[0]

    async def a_run(self) -> None:
        task = asyncio.create_task(self._a_operate())
        if self.cancels_at is not None:
            for _ in range(self.cancels_at):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        self.error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not self.outlives():
            assert not self.gauge.now, "a call is running"
        for _ in range(1000):
            if not self.gauge.now:
                break
            await asyncio.sleep(0.001)
        assert not self.gauge.now, "a call is running"

    async def _a_operate(self) -> None:
        operate = getattr(Concurrent, self.operation)
        if not self.is_lazy:
            self.taken = await operate(self.function(), *self.inputs(), **self.options)
            return
        stream = operate(self.function(), *self.inputs(), **self.options)
        async for result in stream:
            self.taken.append(result)
            if len(self.taken) - 1 == self.leaves_at:
                self.has_left = True
                if self.leaves_by == "close":
                    await stream.aclose()
                    assert await anext(stream, None) is None
                return

    def outlives(self) -> bool:
        """Whether calls may go on when the operation is over."""
        has_dropped = self.has_left and self.leaves_by == "drop"
        was_late = isinstance(self.error, TimeoutError) and not self.is_async
        was_late = was_late or ("timeout" in self.options and self.error is not None and not self.is_async)
        return has_dropped or was_late or (self.is_lazy and isinstance(self.error, asyncio.CancelledError))

    # What should have happened

    def check(self) -> None:
        assert len(set(self.begun)) == len(self.begun), "an input has been used twice"
        assert set(self.begun) <= set(range(self.read)), "a call was made without input"
        if "limit" in self.options and not (self.kind != "none" and self.options.get("chunksize", 1) > 1):
            assert self.gauge.peak <= self.options["limit"], f"{self.gauge.peak} calls at once"
        results = self.taken
        if not self.is_ordered:
            inputs = [each[0] if self.others else each for each, _ in results]
            assert all(item is self.items[item.place] for item in inputs), "not an input"
            assert len({item.place for item in inputs}) == len(inputs), "a result came twice"
            results = [result for _, result in results]
            indices = [item.place for item in inputs]
        else:
            indices = list(range(len(results)))
        for index, result in zip(indices, results, strict=True):
            item = self.items[index]
            args = result.args if isinstance(result, Expected) else result
            assert args == (self.number, index), f"the result of {index} is {result!r}"
            assert isinstance(result, Expected) == (item.how == "expected"), f"the result of {index} is {result!r}"
        if self.error is not None:
            self._check_error(self.error)
        elif not self.has_left:
            assert len(results) == len(self.items), f"{len(results)} results of {len(self.items)}"
            assert self.fails_at is None
            assert {item.how for item in self.items} <= {"well", "expected"}, "a failure was lost"
            assert self.kind == "processes" or len(self.begun) == len(self.items)

    def _check_error(self, error: BaseException) -> None:
        hows = {item.how for item in self.items}
        if isinstance(error, Fatal) and error is self.input_error:
            return
        if isinstance(error, Fatal | Strong):
            number, index = error.args
            assert number == self.number, "another trial's"
            assert isinstance(error, KINDS[self.items[index].how]) or self.items[index].how == "stop"
        elif isinstance(error, asyncio.CancelledError):
            assert self.cancels_at is not None
        elif isinstance(error, TimeoutError):
            assert "timeout" in self.options
            assert "timed out after" in str(error)
        elif isinstance(error, BrokenExecutor):
            assert "kill" in hows
        elif isinstance(error, RuntimeError):
            assert "stop" in hows
            assert isinstance(error.__cause__, StopIteration) or self.kind == "processes"
        else:
            raise error

    def ended(self) -> str:
        """In which column it counts."""
        error = self.error
        if isinstance(error, asyncio.CancelledError):
            return "cancelled"
        if isinstance(error, TimeoutError):
            return "late"
        return "failed" if error is not None else "left" if self.has_left else "whole"


SHARED = Rate(100_000)


class Executors:
    """One of each kind. Processes that have been killed are replaced."""

    def __init__(self) -> None:
        self._made: dict[str, Executor] = {}

    def __getitem__(self, kind: str) -> Executor:
        if kind not in self._made:
            makers: dict[str, Callable[[], Executor]] = {
                "threads": lambda: ThreadPoolExecutor(3),
                "inline": Inline,
                "processes": lambda: ProcessPoolExecutor(2, get_context("spawn")),
            }
            self._made[kind] = makers[kind]()
        return self._made[kind]

    def replace(self, kind: str) -> None:
        if kind in self._made:
            self._made.pop(kind).shutdown()

    def close(self) -> None:
        for executor in self._made.values():
            executor.shutdown()


class Driver(threading.Thread):
    """A thread that makes one trial after the other."""

    def __init__(self, number: int, seed: int, until: float) -> None:
        super().__init__(name=f"driver {number}")
        self.draw = random.Random(f"{seed} {number}")
        self.numbers = itertools.count(1_000_000_000 * number)
        self.until = until
        self.counts: dict[str, Counter[str]] = {operation: Counter() for operation in SYNC + ASYNC}
        self.alive_at = time.monotonic()
        self.current: Any = None
        self.fault = ""

    def run(self) -> None:
        executors = Executors()
        try:
            while time.monotonic() < self.until and not Driver.stopping.is_set():
                if self.draw.random() < 0.5:
                    self._one(executors)
                else:
                    self._batch()
        except BaseException:
            self.fault = f"{self.current!r}\n{traceback.format_exc()}"
            Driver.stopping.set()
        finally:
            executors.close()

    stopping = threading.Event()

    def _one(self, executors: Executors) -> None:
        trial = self.current = Trial(next(self.numbers), self.draw, SYNC)
        trial.run(executors)
        self._account(trial)
        if any(item.how == "kill" for item in trial.items):  # it may have ended before that, or be about to do it
            executors.replace(trial.kind)

    def _batch(self) -> None:
        """Several at once, in a loop of their own."""
        trials = [Trial(next(self.numbers), self.draw, ASYNC) for _ in range(self.draw.randrange(1, 6))]
        self.current = trials
        factory = self.draw.choice(
            [None, None, lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options)]
        )
        complaints: list[Any] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            loop.set_task_factory(factory)
            await asyncio.gather(*(trial.a_run() for trial in trials))

        asyncio.run(main())
        if any(trial.gauge.now for trial in trials):
            gc.collect()  # what has been left behind complains
        assert not complaints, complaints
        for trial in trials:
            self.current = trial
            assert not trial.gauge.now, "a call has outlived its loop"
            self._account(trial)

    def _account(self, trial: Trial) -> None:
        trial.check()
        self.alive_at = time.monotonic()
        self.counts[trial.operation].update(
            {
                "trials": 1,
                "read": trial.read,
                "begun": len(trial.begun),
                "ended": len(trial.begun) - trial.gauge.now,
                "out": len(trial.taken),
                "caught": sum(item.how == "expected" for item in trial.items) if trial.ended() == "whole" else 0,
                trial.ended(): 1,
            }
        )


def watch(drivers: Iterable[Driver]) -> None:
    """Wait for all of them. If one hangs, Python says in what, and ends with the stacks of all threads; also if this one does."""
    while running := [driver for driver in drivers if driver.is_alive()]:
        faulthandler.dump_traceback_later(HANGS + 10, exit=True)
        for driver in running:
            if time.monotonic() - driver.alive_at > HANGS:
                print(f"{driver.name} hangs: {driver.current!r}", flush=True)
                faulthandler.dump_traceback_later(0.1, exit=True)
        time.sleep(0.5)
    faulthandler.cancel_dump_traceback_later()


def table(drivers: Iterable[Driver]) -> str:
    rows = {operation: sum((driver.counts[operation] for driver in drivers), Counter[str]()) for operation in SYNC + ASYNC}
    rows["all"] = sum(rows.values(), Counter[str]())
    lines = ["".join(["operation".ljust(16), *(column.rjust(12) for column in COLUMNS)])]
    lines += ["".join([name.ljust(16), *(f"{row[column]:12,}" for column in COLUMNS)]) for name, row in rows.items()]
    return "\n".join(lines)


def resources() -> str:
    """What a leak would show in."""
    gc.collect()
    files = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else "?"
    memory = "?"
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as statm:
        memory = f"{int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6:.0f}"
    return f"{threading.active_count()} threads, {files} files, {memory} MB"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--threads", type=int, default=3)
    options = parser.parse_args()
    print(f"seed {options.seed}, Python {sys.version}", flush=True)
    print(f"before: {resources()}", flush=True)
    until = time.monotonic() + 60 * options.minutes
    drivers = [Driver(number, options.seed, until) for number in range(options.threads)]
    for driver in drivers:
        driver.start()
    watch(drivers)
    print(table(drivers))
    print(f"after: {resources()}")
    faults = [driver.fault for driver in drivers if driver.fault]
    for fault in faults:
        print(f"\nFAULT, seed {options.seed}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
