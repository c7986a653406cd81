"""From a function and its inputs to calls: what is refused, how inputs are zipped, what a map is called."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, copy_context
from functools import cache, partial
from math import inf
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodDescriptorType
from typing import Any, ClassVar, Final

from concurrency import pacing
from concurrency._brief import brief
from concurrency._observing import Observer, watching
from concurrency._options import Operation, Options, resolve
from concurrency._progress import Progress

Inputs = Any
"""What one call is given: an item of the only iterable, or, of several, a tuple of one from each.

To spread a tuple of one over the parameters would cost as much as a trivial call.
"""

END: Final = object()
"""In place of inputs or of a result: there are none."""


_Cached = type(cache(len))  # what `functools.cache` and `lru_cache` return

_OTHER_KINDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

_SIZED = (list, tuple, range, str, bytes, dict, set, frozenset)


class WrongColourError(TypeError):
    """A function of the other colour, as its result shows. It is about the map, not about one call: no `catch` takes it."""


class Decorated:
    """What `@concurrent` returns, as far as the operations look into it: the function itself and its own defaults."""

    __slots__ = ("__wrapped__", "_defaults")

    __wrapped__: Callable[..., Any]
    _defaults: Mapping[str, Any]
    _is_async: ClassVar[bool]


class Job:
    """One call of an operation: function, inputs and options, checked; nothing has been read or started."""

    __slots__ = (
        "context",
        "deadline",
        "function",
        "is_single",
        "iterables",
        "name",
        "observer",
        "operation",
        "options",
        "progress",
        "sent",
    )

    def __init__(self, operation: Operation, function: Any, iterables: tuple[Any, ...], given: Mapping[str, Any]) -> None:
        self.sent = function  # as it is pickled: the name of a decorated function leads to what `@concurrent` has returned
        known_async = None
        if isinstance(function, Decorated):
            known_async = function._is_async  # pyright: ignore[reportPrivateUsage]
            given = {**function._defaults, **given}  # pyright: ignore[reportPrivateUsage]
            function = function.__wrapped__
        check_function(function)
        _check_colour(operation, function, known_async)
        self.operation = operation
        self.function: Callable[..., Any] = function
        self.name = f"{name_of(function)}.{operation.name}"
        self.iterables = iterables
        self.is_single = len(iterables) == 1
        _check_iterables(operation, self.name, iterables)
        self.options: Options = resolve(operation, self.name, given)
        progress = self.options.progress
        self.progress = None if progress is False else Progress(progress, name_of(function), iterables)
        self.context: Context = copy_context()
        timeout = self.options.timeout
        self.deadline = inf if timeout is None else pacing.clock.now() + timeout
        watch = watching.get()
        self.observer: Observer | None = None if watch is None else watch(self)

    def inputs(self) -> Iterator[Inputs]:
        """The inputs of each call, read one call at a time."""
        return iter(self.iterables[0]) if self.is_single else zip(*self.iterables, strict=self.options.strict)

    def is_async(self) -> bool:
        """Whether an input is an async iterable."""
        return any(_is_async_iterable(iterable) for iterable in self.iterables)

    def async_inputs(self) -> "AsyncInputs":
        """As `inputs`, where some iterables are async."""
        return AsyncInputs(self.iterables, self.options.strict)

    def total(self) -> int | None:
        """How many calls there will be, where that is known without running anybody's code."""
        total: int | None = None
        for iterable in self.iterables:
            if type(iterable) not in _SIZED:
                return None
            total = len(iterable) if total is None else min(total, len(iterable))
        return total

    def sequence(self) -> "list[Any] | tuple[Any, ...] | range | None":
        """The only iterable, where its items can be read by index, from any thread, without running anybody's code."""
        first = self.iterables[0]
        return first if self.is_single and type(first) in (list, tuple, range) else None


def name_of(function: Any) -> str:
    """What messages call a function: its own name, or that of what a `partial` calls, or of its class."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def is_coroutine_function(function: Any) -> bool:
    """Whether calling `function` gives a coroutine, as far as can be known without calling it.

    Sees what `inspect.iscoroutinefunction` does not: callable objects, also within a `partial`, and functions under a cache.
    """
    if _is_plain(function):
        return False
    inner = _callee(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(_call_method(inner))


def taking_inputs(function: Callable[..., Any], is_single: bool) -> Callable[[Inputs], Any]:
    """What is called with the inputs of a call as they are: `function` itself, or what spreads them over its parameters."""
    return function if is_single else partial(_spread, function)


def _spread(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    try:
        return function(*inputs)
    finally:
        del inputs  # the frame of a call that fails holds this one


def check_function(function: Any) -> None:
    """Refuse what cannot be called, and generator functions, of which a call runs nothing."""
    if _is_plain(function):
        return
    if not callable(function):
        raise TypeError(f"the function must be callable, got {brief(function)}")
    inner = _callee(function)
    for kind, test in (
        ("an async generator function", inspect.isasyncgenfunction),
        ("a generator function", inspect.isgeneratorfunction),
    ):
        if test(inner) or test(_call_method(inner)):
            raise TypeError(
                f"{name_of(function)} is {kind}, and a call of it runs nothing yet: return a list instead of yielding"
            )


def _is_plain(function: Any) -> bool:
    """Whether it is what C or a simple `def` makes. That is quickly seen, where `inspect` takes as long as some calls do."""
    if type(function) is FunctionType:
        return not (function.__code__.co_flags & _OTHER_KINDS or function.__dict__)  # a mark would stand in its `__dict__`
    return type(function) is BuiltinFunctionType or type(function) is MethodDescriptorType


def _callee(function: Any) -> Any:
    """What a call ends up in, behind partials and the caches of `functools`."""
    while True:
        if isinstance(function, partial):
            function = function.func
        elif type(function) is _Cached:
            function = function.__wrapped__
        else:
            return function


def _call_method(function: Any) -> Any:
    """The `__call__` of an object's class, which runs when the object is called. To call a class is to make an object."""
    return None if isinstance(function, type) else type(function).__call__


def coroutine_in_threads(function: Any, operation: Operation) -> WrongColourError:
    """A coroutine function in an operation on threads: the one classic mistake."""
    name = name_of(function)
    how = f"async for … in Concurrent.a_{operation.name}" if operation.is_lazy else f"await Concurrent.a_{operation.name}"
    return WrongColourError(f"{name} is a coroutine function: {how}({name}, …)")


def plain_in_asyncio(function: Any, operation: Operation) -> WrongColourError:
    """A plain function in an operation on asyncio."""
    name = name_of(function)
    return WrongColourError(
        f"{name} is a plain function: Concurrent.{operation.name.removeprefix('a_')}({name}, …); "
        f"from async code, give functools.partial(asyncio.to_thread, {name}) to {operation.name}"
    )


def is_coroutine(result: object) -> bool:
    """Whether a call on a thread has only made a coroutine."""
    return type(result) is CoroutineType


class AsyncInputs:
    """For `anext`: `zip` over sync and async iterables. A class: a generator left half-way has to be closed by somebody."""

    __slots__ = ("_iterators", "_strict")

    def __init__(self, iterables: tuple[Any, ...], strict: bool) -> None:
        self._iterators = [(True, aiter(each)) if _is_async_iterable(each) else (False, iter(each)) for each in iterables]
        self._strict = strict

    async def __anext__(self) -> Inputs:
        row: list[Any] = []
        for is_async, iterator in self._iterators:
            item = await _next_of(is_async, iterator)
            if item is END:
                break
            row.append(item)
        else:
            return tuple(row) if len(row) > 1 else row[0]
        if self._strict:
            await self._check_all_ended(len(row))
        raise StopAsyncIteration

    async def _check_all_ended(self, ended: int) -> None:
        """The words of `zip(strict=True)`, which raises when the iterable at `ended` is not where all the others end."""
        if ended:
            raise ValueError(f"zip() argument {ended + 1} is shorter than {_arguments(ended)}")
        for place, (is_async, iterator) in enumerate(self._iterators[1:], 2):
            if await _next_of(is_async, iterator) is not END:
                raise ValueError(f"zip() argument {place} is longer than {_arguments(place - 1)}")


async def _next_of(is_async: bool, iterator: Any) -> Any:
    if is_async:
        return await anext(iterator, END)
    try:
        return next(iterator, END)
    except StopAsyncIteration as error:  # from a sync iterator it does not mean the end, which is what it would be taken for
        raise RuntimeError("the input raised StopAsyncIteration") from error


def _arguments(count: int) -> str:
    return f"arguments 1-{count}" if count > 1 else "argument 1"


def _check_colour(operation: Operation, function: Any, known_async: bool | None) -> None:
    """Refuse what is known to be of the other colour.

    What is not known to be a coroutine function may still return awaitables, as methods of many clients do: that shows then.
    """
    if not operation.is_async and is_coroutine_function(function):
        raise coroutine_in_threads(function, operation)
    if operation.is_async and known_async is False:
        raise plain_in_asyncio(function, operation)


def _check_iterables(operation: Operation, name: str, iterables: tuple[Any, ...]) -> None:
    """Refuse what cannot be iterated, without calling `iter`, which may already run a query."""
    if not iterables:
        raise TypeError(f"{name}() needs at least one iterable of inputs")
    for place, iterable in enumerate(iterables, 1):
        if _is_iterable(iterable) or (operation.is_async and _is_async_iterable(iterable)):
            continue
        if _is_async_iterable(iterable):
            raise TypeError(
                f"iterable {place} of {name}() is async: only the operations on asyncio, as a_map, take async iterables"
            )
        rule = "an iterable" if not operation.is_async else "a sync or async iterable"
        raise TypeError(f"iterable {place} of {name}() must be {rule}, got {type(iterable).__name__}")


def _is_iterable(value: object) -> bool:
    kind: Any = type(value)
    if hasattr(kind, "__iter__"):
        return kind.__iter__ is not None
    return hasattr(kind, "__getitem__")


def _is_async_iterable(value: object) -> bool:
    return getattr(type(value), "__aiter__", None) is not None
