"""The making of a call's task: its coroutine, and a task as the loop itself would make it, eager where that can be."""

import inspect
import sys
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from concurrency._calls import plain_in_asyncio
from concurrency._options import Operation


def is_eager(loop: AbstractEventLoop) -> bool:
    return sys.version_info >= (3, 12) and loop.get_task_factory() is None


def creator(loop: AbstractEventLoop, name: str) -> Callable[[Coroutine[Any, Any, Any], Context], Future[Any]]:
    """What makes the task of a call, as the loop itself would, but eager where Python can and the loop has no factory."""

    def by_factory(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        try:
            return context.run(loop.create_task, coroutine)  # not every factory takes a context or a name
        except BaseException:
            coroutine.close()
            raise
        finally:
            del coroutine, context  # see `TaskRun.start`: the factory may be an eager one

    def queued(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        return Task(coroutine, loop=loop, name=name, context=context)

    def eager(coroutine: Coroutine[Any, Any, Any], context: Context) -> Future[Any]:
        # In two steps, for there to be a task also when a KeyboardInterrupt comes out of its eager start: that is the task's
        # outcome, and asyncio complains of one whose outcome nobody asks for.
        task: Task[Any] = new(Task)
        try:
            initialize(task, coroutine, loop=loop, name=name, context=context, eager_start=True)
            return task
        except (KeyboardInterrupt, SystemExit):
            if not task.done():
                raise  # pragma: no cover  Ctrl-C before its first step
            return task
        finally:
            del task, coroutine, context  # see `TaskRun.start`

    new: Any = Task.__new__
    initialize: Any = getattr(Task, "__init__")  # noqa: B009  of an overloaded `__init__` pyright knows no type
    if loop.get_task_factory() is not None:
        return by_factory
    return eager if is_eager(loop) else queued


def coroutine_of(function: Callable[..., Any], operation: Operation) -> Callable[..., Coroutine[Any, Any, Any]]:
    """What makes the coroutine of a call. Making it runs nobody's code: that belongs into the call's own task and context."""
    inner = function.__func__ if inspect.ismethod(function) else function
    if inspect.isfunction(inner) and inspect.iscoroutinefunction(inner) and inner.__code__.co_flags & inspect.CO_COROUTINE:
        return function

    async def call(*inputs: Any) -> Any:
        result = function(*inputs)
        if not inspect.isawaitable(result):
            raise plain_in_asyncio(function, operation)
        return await result

    return call
