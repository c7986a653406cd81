"""Threads for the workers of a run: which pool gives them, and how they are given back.

Threads are `ThreadPoolExecutor`'s, reused from run to run. Nothing here knows what a worker does.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from math import inf
from threading import Lock, Thread, current_thread, get_ident, main_thread

from concurrency import pacing
from concurrency._depth import check_depth
from concurrency._options import default_workers


class Crew:
    """The workers of one run, from hiring to the moment when their threads hold nothing of the run any more.

    It knows nothing of the run itself. The threads are the shared pool's while it has free ones, beyond that those of a pool of
    the crew's own, which ends with it: so every worker has a thread, and no map leaves more idle threads than one pool's.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._bells: list[Lock] = []  # of those who wait until all have gone
        self._present = 0
        self._members: set[int] = set()
        self._extra: ThreadPoolExecutor | None = None

    def hire(self, work: Callable[[], None]) -> BaseException | None:
        """Have a thread run `work`; if the system refuses to give one, why."""
        if not self.includes_me():  # a worker is never deep
            try:
                check_depth()  # a thread that could be neither started nor given back would be waited for
            except RecursionError as error:
                return error.with_traceback(None)
        worker = _Worker(self, work)
        try:
            _shared_pool().lend_to(worker)
            # An empty context: where threads inherit the one they start in, a pool thread would keep the caller's for ever.
            Context().run(self._admit(worker).submit, worker)
        except BaseException as error:
            # The worker may be queued all the same, and an idle thread may have taken it: then all is well.
            has_started = not worker.withdraw()
            if not isinstance(error, Exception):
                raise  # Ctrl-C
            if has_started:
                return None
            if _await_retired():
                return self.hire(work)
            if worker.pool is not None:
                _retire(worker.pool)
            return error.with_traceback(None)  # its frames would hold the caller's, which holds it
        return None

    def _admit(self, worker: "_Worker") -> ThreadPoolExecutor:
        """Count a worker in; the executor that it goes to."""
        with self._lock:
            worker.is_counted = True
            self._present += 1
            if worker.pool is not None:
                return worker.pool.executor
            self._extra = self._extra or ThreadPoolExecutor(self._size, "concurrency-extra")
            return self._extra

    def joined(self) -> None:
        """The current thread is a worker's."""
        with self._lock:
            self._members.add(get_ident())

    def left(self) -> None:
        """A worker has gone, or will never come."""
        with self._lock:
            self._members.discard(get_ident())
            self._present -= 1
            while self._bells and not self._present:
                self._bells.pop().release()

    def includes_me(self) -> bool:
        """Whether the current thread is a worker's."""
        return get_ident() in self._members

    def size(self) -> int:
        """How many workers there are."""
        return self._present

    def wait(self, deadline: float = inf) -> bool:
        """Wait until all workers have gone, at most until `deadline`; whether they have."""
        bell = Lock()  # as in `Run`, and no condition: the lock is never let go of within a `with`
        bell.acquire()
        while True:
            remaining = inf if deadline == inf else deadline - pacing.clock.now()
            with self._lock:
                if not self._present:
                    return True
                if remaining <= 0:
                    self._bells = [other for other in self._bells if other is not bell]
                    return False
                if bell not in self._bells:
                    self._bells.append(bell)
            if remaining == inf:
                bell.acquire(timeout=pacing.NAP)
            else:
                pacing.clock.acquire(bell, remaining)

    def dismiss(self, wait: bool) -> None:
        """End the crew's own threads: at once, or, without waiting, when their calls have ended."""
        if self._extra is not None:
            self._extra.shutdown(wait=wait)


class _Worker:
    """A task for a pool: runs `work` once, unless it is withdrawn first.

    It knows itself what has to be given back for it, so that Ctrl-C at any moment of its hiring leaves nothing behind.
    """

    __slots__ = ("_crew", "_work", "is_counted", "pool")

    def __init__(self, crew: Crew, work: Callable[[], None]) -> None:
        self._crew = crew
        self._work = [work]  # whoever pops it decides, and pop is atomic
        self.pool: _Pool | None = None
        self.is_counted = False

    def __call__(self) -> None:
        try:
            work = self._work.pop()
        except IndexError:
            return
        self._crew.joined()
        try:
            work()
        finally:
            del work  # before anybody hears of it: who waits for the crew relies on its threads holding nothing of the run
            self._go()

    def withdraw(self) -> bool:
        """Never run; False if it runs already."""
        try:
            self._work.pop()
        except IndexError:
            return False
        self._go()
        return True

    def _go(self) -> None:
        if self.pool is not None:
            self.pool.give_back()
        if self.is_counted:
            self._crew.left()


class _Pool:
    """The threads that all runs share, and how many of them are free.

    A worker is sent here only with a thread borrowed for it, so it never queues behind another worker: that is why a map inside
    a mapped call cannot deadlock. A thread is given back just before it is idle again, and nothing of ours is in between.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free = self._size = default_workers()
        self._has_started = False
        self.executor = ThreadPoolExecutor(self._size, "concurrency")

    def start_first(self) -> bool:
        """Start one thread where Ctrl-C cannot come in between, which it does in the main thread alone. False if there is none.

        The executor does not know of a thread in whose start its `submit` was interrupted. At its end Python waits for that
        thread all the same, and only another thread of the executor would pass on to it that it is to end.
        """
        if current_thread() is not main_thread():
            return True
        starter = Thread(target=self._submit_nothing, name="start of concurrency")
        try:
            starter.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down: whoever submits next hears of it
            return False
        starter.join()
        return self._has_started

    def _submit_nothing(self) -> None:
        try:
            Context().run(self.executor.submit, bool)
            self._has_started = True
        except RuntimeError:  # as above
            pass

    def lend_to(self, worker: _Worker) -> None:
        """Give a thread to a worker, if one is free."""
        with self._lock:
            if self._free:
                self._free -= 1
                worker.pool = self

    def is_free(self) -> bool:
        """Whether no worker has a thread of it."""
        return self._free == self._size

    def give_back(self) -> None:
        """The thread is free again."""
        with self._lock:
            self._free += 1


_pool: _Pool | None = None
_retired: _Pool | None = None
_pool_lock = Lock()


def _shared_pool() -> _Pool:
    global _pool  # noqa: PLW0603  one pool for all maps of the process
    pool = _pool
    if pool is None:
        fresh = _Pool()
        if not fresh.start_first():
            fresh.executor.shutdown(wait=False)  # see `_retire`
            fresh = _Pool()
        with _pool_lock:
            pool = _pool = _pool or fresh
        if pool is not fresh:  # pragma: no cover  another thread was faster
            fresh.executor.shutdown(wait=False)
    return pool


def is_ending() -> bool:
    """Whether the interpreter is shutting down. Then pools take no task; nothing else that is public tells so early."""
    try:
        Context().run(_shared_pool().executor.submit, bool)
    except RuntimeError as error:
        return "shutdown" in str(error)  # not "can't start new thread"
    return False


def _retire(pool: _Pool) -> None:
    """Have the next run make a new pool: one that could not start a thread counts its idle ones wrongly ever after."""
    global _pool, _retired
    with _pool_lock:
        if _pool is pool:
            _pool, _retired = None, pool
    pool.executor.shutdown(wait=False)


def _await_retired() -> bool:
    """Wait for the threads of a retired pool that has no work any more: others may be had then. Whether there were any."""
    global _retired
    with _pool_lock:
        pool, _retired = _retired, None
    if pool is None or not pool.is_free():
        return False
    pool.executor.shutdown(wait=True)
    return True


def _after_fork() -> None:
    """A child has none of its parent's threads, and the lock may have been held by one of them."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, Lock()


if hasattr(os, "register_at_fork"):  # pragma: no branch  not on Windows
    os.register_at_fork(after_in_child=_after_fork)
