"""What the caller of one map or stream shares with whatever runs its calls."""

import sys
from collections.abc import Iterator
from math import inf
from threading import Lock
from typing import Any, Final

from concurrency import pacing
from concurrency._calls import END, Inputs, Job
from concurrency._delivery import Delivery
from concurrency._outcomes import Failures

HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()

GLANCE = 0.001
"""Seconds for which inputs are read in a row, before a look whether there is something to hand out."""


class Run:
    """The calls of one map or stream: how many were read and have ended, what failed, what is ready.

    `lock` guards every field but `stopped`, which the garbage collector may set wherever it happens to run: a lock taken there
    could be one that the interrupted thread holds. The user's code never runs under the lock, and it is only ever taken by
    `with`, never let go of in between: Ctrl-C while taking it anew would leave a block that ends without it.
    """

    def __init__(self, job: Job, delivery: Delivery, ahead: float = inf, refill: float = -1) -> None:
        self.function = job.function
        self.context = job.context
        self.operation = job.operation
        self.observer = job.observer
        self.delivery = delivery
        self.failures = Failures(job)
        self.lock = Lock()
        self.ahead = ahead  # how many inputs may be read ahead of the calls that have ended
        self.refill = refill  # when so few are left, the caller is woken to read more
        self.read: int = 0
        self.finished: int = 0
        self.exhausted = False  # all inputs have been read
        self.stopped = False  # no further call may start
        self._bells: list[Lock] = []

    def admit(self, source: Iterator[Inputs], room: float) -> bool:
        """Read inputs, at most so many, and have each call started at once; whether there are no more. Without the lock.

        Reads fewer when there are none, when the run has been stopped, or after `GLANCE`.
        """
        raise NotImplementedError

    def running(self) -> bool:
        """Whether a call may still be running. With the lock."""
        raise NotImplementedError

    def has_ended(self) -> bool:
        """Whether all calls that were read have ended. With the lock."""
        return self.finished == self.read

    def is_trivial(self) -> bool:
        """Whether the calls have proved to take no longer than it takes to wake a thread. With the lock."""
        return False

    def count(self) -> int:
        """How many calls have ended, for those who look from outside."""
        return self.finished

    def is_worker(self) -> bool:
        """Whether the current thread is running a call of this run."""
        return False

    def leave(self, wait: bool) -> None:
        """Give back what was borrowed: after the last call, or, without waiting, while calls are still running."""

    def stop(self) -> None:
        """No further call starts."""
        self.stopped = True
        with self.lock:
            self.notify()

    def hang_bell(self) -> Lock:
        """A bell that rings at the next change: who sees that there is nothing to do hangs it under the same lock."""
        bell = Lock()
        bell.acquire()
        self._bells.append(bell)
        return bell

    def take_down(self, bell: Lock) -> None:
        """There is something to do after all. With the lock."""
        if bell in self._bells:
            self._bells.remove(bell)

    @property
    def watched(self) -> int:
        """How many threads wait for a change. With the lock."""
        return len(self._bells)

    def wait(self, bell: Lock, until: float = inf) -> bool:
        """Wait until the bell rings, at most until then; whether it has. Without the lock."""
        if until == inf:
            rang = bell.acquire(timeout=pacing.NAP)  # whoever calls this asks again
        else:
            rang = pacing.clock.acquire(bell, max(until - pacing.clock.now(), 0))
        if not rang:
            with self.lock:
                self.take_down(bell)
        return rang

    def await_room(self) -> float:
        """Wait until more inputs may be read; how many. 0 when the run has been stopped. Without the lock."""
        while True:
            with self.lock:
                ended = self.count()
                room = 0 if self.stopped else self.ahead - self.read + ended
                if room or self.stopped:
                    return room
                bell = self.hang_bell()
                if self.count() != ended:  # by a worker that may not have seen the bell
                    self.take_down(bell)
                    continue
            self.wait(bell)

    def notify(self) -> None:
        """Ring all bells. With the lock."""
        while self._bells:
            self._bells.pop().release()

    def settle(self, index: int, inputs: Inputs, value: Any) -> None:
        """A call has ended with what stands for it in the result. With the lock."""
        self.finished += 1
        if not self.stopped or self.delivery.slots is not None:
            self.delivery.put(index, inputs, value)
        if self._bells and self.is_awaited():
            self.notify()

    def is_awaited(self) -> bool:
        """Whether who waits has something to do now that a call has ended. With the lock."""
        return self.read - self.finished <= self.refill or self.delivery.ready()

    def fail(self, index: int, inputs: Inputs, error: BaseException) -> None:
        """A call has raised. Without the lock, since looking at an exception may run its code."""
        error = self.failures.seen(error)
        caught = self.failures.catches(error)
        with self.lock:
            self.failures.forget()
            if caught:
                self.failures.caught += 1
                self.settle(index, inputs, error)
            else:
                self.finished += 1
                self.give_up(error, index, inputs)

    def give_up(self, error: BaseException, index: int | range | None = None, inputs: Inputs = END) -> None:
        """No further call starts, for this reason: a call's, the input's, or, without an index, neither's. With the lock."""
        self.failures.add(index, inputs, error)
        self.stopped = True
        self.notify()
