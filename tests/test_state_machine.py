"""Several operations at once, driven by hand in every order that hypothesis can think of."""

import os
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.driven import Executors, Expected, Fatal, Line, Loop, Threads, serial

MOST = 3
"""Lines at once."""

places = st.sampled_from(range(MOST))


class _Machine(RuleBasedStateMachine):
    world_class: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.world_class()
        self.lines: list[Line] = []
        self.over: list[Line] = []

    def line(self, place: int) -> Line:
        return self.lines[place % len(self.lines)]

    @precondition(lambda self: len(self.lines) < MOST)
    @rule(
        operation=st.sampled_from(range(3)),
        count=st.sampled_from([5, 9, 7, 2, 1, 0]),
        limit=st.sampled_from([2, 3, 4, 1]),
        buffersize=st.sampled_from([4, 1, 2, 3, 6, 9]),
        catch=st.booleans(),
    )
    def open(self, operation: int, count: int, limit: int, buffersize: int, catch: bool) -> None:
        line = Line(self.world.operations[operation], count, limit, buffersize, catch)
        self.world.open(line)
        self.lines.append(line)
        self.world.ask(line)

    @precondition(lambda self: self.lines)
    @rule(place=places, which=st.sampled_from(range(4)), how=st.sampled_from(["well"] * 8 + ["expected", "fatal"]))
    def go_on(self, place: int, which: int, how: str) -> None:
        """Ask if there is an answer or nobody has asked; else end a call."""
        line = self.line(place)
        if line.is_lazy and not line.asked and not line.closing:
            self.world.ask(line)
        else:
            self.end_one(line, which, how)

    @precondition(lambda self: self.lines)
    @rule(place=places, which=st.sampled_from(range(4)), how=st.sampled_from(["well"] * 6 + ["expected", "fatal"]))
    def end(self, place: int, which: int, how: str) -> None:
        self.end_one(self.line(place), which, how)

    @precondition(lambda self: any(line.flying for line in self.lines))
    @rule(place=places, which=st.sampled_from(range(4)))
    def start(self, place: int, which: int) -> None:
        line = self.line(place)
        with line.lock:
            flying = sorted(line.flying)
        if flying:
            self.world.start(line, flying[which % len(flying)])

    @precondition(lambda self: any(line.is_lazy and line.begun for line in self.lines))
    @rule(place=places, how=st.sampled_from([None, None, None, None, "close", "drop"]))
    def leave(self, place: int, how: str | None) -> None:
        line = self.line(place)
        if how is not None and line.is_lazy and not line.closing and not (how == "drop" and line.asked):
            (self.world.drop if how == "drop" else self.world.close)(line)

    @precondition(lambda self: any(line.is_over() and not line.flying for line in self.lines))
    @rule()
    def forget(self) -> None:
        """Make room for others."""
        over = [line for line in self.lines if line.is_over() and not line.flying]
        self.lines = [line for line in self.lines if line not in over]
        self.over += over

    def end_one(self, line: Line, which: int, how: str) -> None:
        with line.lock:
            flying = sorted(line.flying)
        if flying:
            index = flying[which % len(flying)]
            outcome: Any = serial(index) if how == "well" else (Expected if how == "expected" else Fatal)(index)
            self.world.tell(line, index, outcome)

    @invariant()
    def settled(self) -> None:
        for line in self.lines:
            if line.stream is not None:
                self.world.settle(line)
            line.check()

    def teardown(self) -> None:
        for line in self.lines:
            if line.is_lazy and not line.closing:
                self.world.close(line)
            begun = len(line.begun)
            while line.flying:
                self.end_one(line, 0, "well")
                if line.stream is not None:
                    self.world.settle(line)
            if line.is_lazy:
                assert len(line.begun) <= begun + line.limit  # a worker may have been about to begin
            line.stream = None
        self.world.finish()
        for line in (*self.lines, *self.over):
            line.check()
            assert not line.flying
            assert not line.asked


def _machine(world: Any, examples: int) -> Any:
    machine: Any = type(f"{world.__name__}Machine", (_Machine,), {"world_class": world})
    machine.TestCase.settings = settings(
        max_examples=examples * int(os.environ.get("CONCURRENCY_TEST_FACTOR", "1")),
        stateful_step_count=40,
        deadline=None,
        derandomize="CONCURRENCY_TEST_FACTOR"
        not in os.environ,  # the same examples in every run, unless it is to find new ones
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return machine.TestCase


TestThreads = _machine(Threads, 40)
TestExecutors = _machine(Executors, 40)
TestLoop = _machine(Loop, 100)
