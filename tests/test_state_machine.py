"""Several operations at once, driven by hand in every order that hypothesis can think of."""

import os
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.driven import Executors, Expected, Fatal, Line, Loop, Threads, serial

MOST = 3
"""Lines at once."""


class _Machine(RuleBasedStateMachine):
    world_class: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.world_class()
        self.lines: list[Line] = []

    def pick(self, place: int) -> Line:
        return self.lines[place % len(self.lines)]

    @precondition(lambda self: len(self.lines) < MOST)
    @rule(
        operation=st.integers(0, 2),
        count=st.integers(0, 9),
        limit=st.integers(1, 4),
        buffersize=st.integers(1, 9),
        catch=st.booleans(),
    )
    def open(self, operation: int, count: int, limit: int, buffersize: int, catch: bool) -> None:
        line = Line(self.world.operations[operation], count, limit, buffersize, catch)
        self.world.open(line)
        self.lines.append(line)
        if not line.is_lazy:
            self.world.ask(line)

    @precondition(lambda self: self.lines)
    @rule(place=st.integers(0, MOST - 1))
    def ask(self, place: int) -> None:
        line = self.pick(place)
        if line.is_lazy and not line.asked and line.stream is not None:
            self.world.ask(line)

    @precondition(lambda self: self.lines)
    @rule(place=st.integers(0, MOST - 1), which=st.integers(0, 9), how=st.sampled_from(["well"] * 6 + ["expected", "fatal"]))
    def end(self, place: int, which: int, how: str) -> None:
        line = self.pick(place)
        self.end_one(line, which, how)

    @precondition(lambda self: self.lines)
    @rule(place=st.integers(0, MOST - 1), which=st.integers(0, 9))
    def start(self, place: int, which: int) -> None:
        line = self.pick(place)
        with line.lock:
            flying = sorted(line.flying)
        if flying:
            self.world.start(line, flying[which % len(flying)])

    @precondition(lambda self: self.lines)
    @rule(place=st.integers(0, MOST - 1), drop=st.booleans())
    def leave(self, place: int, drop: bool) -> None:
        line = self.pick(place)
        if line.is_lazy and not line.closing and not (drop and line.asked):
            (self.world.drop if drop else self.world.close)(line)

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
        for line in self.lines:
            line.check()
            assert not line.flying
            assert not line.asked


def _machine(world: Any, examples: int) -> Any:
    machine = type(f"{world.__name__}Machine", (_Machine,), {"world_class": world})
    machine.TestCase.settings = settings(
        max_examples=examples * int(os.environ.get("CONCURRENCY_TEST_FACTOR", "1")),
        stateful_step_count=40,
        deadline=None,
        derandomize="CONCURRENCY_TEST_FACTOR" not in os.environ,  # the same examples in every run, unless it is to find new ones
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return machine.TestCase


TestThreads = _machine(Threads, 40)
TestExecutors = _machine(Executors, 40)
TestLoop = _machine(Loop, 100)
