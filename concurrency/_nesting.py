"""Which tasks of executors the current code runs in: to wait there for the same executor may be to wait for ever."""

import os
from concurrent.futures import Executor
from contextvars import ContextVar

HERE = os.urandom(8)
"""Tells this process, and those forked from it, from all others: only among them an `id` means the same object."""


class Frame:
    """Stands for a task in the contexts of its calls, and in the copies of these that are made for threads and tasks."""

    __slots__ = ("executor", "over", "owner")

    def __init__(self, executor: int | None, owner: int = 0) -> None:
        self.executor = executor  # its `id`; None if it has no workers that could be waited for in vain
        self.owner = owner  # the `id` of the run
        self.over = False  # a copy of the context may outlive the task


_frames: ContextVar[tuple[Frame, ...]] = ContextVar("concurrency_frames", default=())


def enter(frame: Frame) -> None:
    """From now on the current context is that of a task."""
    _frames.set((*_current(), frame))


def is_in_call_of(run: object) -> bool:
    """Whether the current code is part of a call of this run."""
    return any(frame.owner == id(run) for frame in _current())


def check_not_nested(executor: Executor, name: str) -> None:
    """Refuse to wait for workers in one of them: when all of them do so, none is left to end any of it."""
    if any(frame.executor == id(executor) for frame in _current()):
        raise RuntimeError(
            f"{name} is given the executor that runs the call it is made in, and would wait for that to end: "
            "leave executor out, so that it gets threads of its own, or give it another one"
        )


def _current() -> list[Frame]:
    return [frame for frame in _frames.get() if not frame.over]
