"""`@concurrent`, and the two classes of which it makes functions: `ConcurrentFunction` and `AsyncConcurrentFunction`."""

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from copy import deepcopy
from functools import cached_property, partial, update_wrapper
from operator import attrgetter, index
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    SupportsIndex,
    TypeVar,
    Unpack,
    overload,
)

from concurrency import core
from concurrency._calls import Decorated, check_function, is_coroutine_function, name_of
from concurrency._options import Defaults, SyncDefaults, check_defaults

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
# What a function returns that returns `Any`, or never returns. It needs an overload, or `Any` would be taken for a coroutine.
AnyOrNever = TypeVar("AnyOrNever", bound=Never)


class _Function(Decorated):
    """What the two classes share: to be called, named, bound, sent and looked at as the function itself is."""

    # With the function in a slot of this name, a call goes to it straight: twice as fast as by a method, and without a frame.
    __slots__ = ("__call__", "__dict__", "__weakref__", "_receiver")

    _kind: ClassVar[str]
    _others: ClassVar[Mapping[str, str]]  # the operations of the other kind, each with its counterpart here

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...

    def __init__(self, function: Any, defaults: Mapping[str, Any]) -> None:
        self._defaults = defaults
        self._receiver: Any = None  # of a bound one: the instance, or the class
        self.__name__ = name_of(function)
        if sys.version_info < (3, 14):  # pragma: no branch  from then on `__annotate__` says it, and only when asked
            self.__annotations__ = {}  # a builtin has none, and those of this class must not show instead
        update_wrapper(self, function, updated=())
        self.__call__ = function  # type: ignore[method-assign]  # a slot

    if not TYPE_CHECKING:  # pragma: no branch  for a type checker no attribute may exist but those that are declared

        def __getattr__(self, name: str) -> Any:
            function = object.__getattribute__(self, "__wrapped__")
            if name in self._others:
                raise AttributeError(f"{name_of(function)} is {self._kind}: use .{self._others[name]}")
            return getattr(function, name)

    def _bind(self, instance: Any, owner: Any) -> Any:
        """Do as the function itself does in a class. What is bound costs little: it shares all that it can with this one."""
        function = self.__wrapped__
        if instance is owner:  # so does `classmethod`, up to Python 3.12
            raise TypeError(f"{self.__qualname__}: @concurrent stands over @classmethod, not under it")
        bind = getattr(type(function), "__get__", None)
        bound_function = function if bind is None else bind(function, instance, owner)
        if bound_function is function:
            return self
        bound = object.__new__(type(self))
        bound.__wrapped__ = bound_function
        bound.__call__ = bound_function  # type: ignore[method-assign]  # a slot
        bound._defaults = self._defaults
        bound._receiver = owner if instance is None else instance
        bound.__dict__ = self.__dict__
        return bound

    def __eq__(self, other: object) -> bool:
        """As methods do: two are equal that bind one function to one instance."""
        if self is other or self._receiver is None or type(other) is not type(self) or other._receiver is None:
            return self is other
        return bool(self.__wrapped__ == other.__wrapped__)

    def __hash__(self) -> int:
        return object.__hash__(self) if self._receiver is None else hash(self.__wrapped__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.__wrapped__!r}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._receiver is not None:
            return getattr, (self._receiver, self.__name__)
        if not _is_found(self):
            return type(self), (self.__wrapped__, self._defaults)  # a `partial`, say: it has no name to be found by
        is_plain = isinstance(self.__wrapped__, FunctionType) and index(protocol) >= 4  # the first that knows dotted names
        if is_plain and self.__module__ == "__main__" and "cloudpickle" in sys.modules:
            return self._from_twin, (self._twin,)
        return self.__qualname__

    @cached_property
    def _twin(self) -> Any:
        """The function, under a name that leads to it: its own leads to this object.

        So cloudpickle, which dask and loky use, can send it by value, as it has to where the `__main__` of workers is another
        one; and pickle, which may be the one that asks, can send it by name.
        """
        function: Any = self.__wrapped__
        twin = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        update_wrapper(twin, function)
        vars(twin).pop("__wrapped__")  # set by `update_wrapper`
        twin.__kwdefaults__ = function.__kwdefaults__
        twin.__qualname__ = f"{self.__qualname__}._twin"
        return twin

    @classmethod
    def _from_twin(cls, twin: FunctionType) -> Any:
        """The function whose twin has been sent: the one of that name, or, if the twin has come by value, a new one."""
        main, name = sys.modules["__main__"], twin.__qualname__.removesuffix("._twin")
        try:
            if attrgetter(twin.__qualname__)(main) is twin:
                return attrgetter(name)(main)
        except AttributeError:
            pass
        twin.__qualname__ = name
        return cls(twin, {})

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self if self._receiver is None else getattr(deepcopy(self._receiver, memo), self.__name__)


class ConcurrentFunction(_Function, Generic[P, R]):
    """A plain function under `@concurrent`: called, it is the function itself; its operations run calls in threads.

    They are `map`, `stream` and `as_completed`; asked for one of the others, it names the one to use in an `AttributeError`. It
    binds in a class, and is inspected and pickled, as the function is. `concurrent` makes it; the class itself is for
    annotations and `isinstance`.

    >>> isinstance(concurrent(len), ConcurrentFunction)
    True
    >>> concurrent(len).map(["to", "three"])
    [2, 5]
    """

    __slots__ = ()

    _is_async = False
    _kind = "a plain function"
    _others: ClassVar[Mapping[str, str]] = {"a_map": "map", "a_stream": "stream", "a_as_completed": "as_completed"}

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...  # noqa: D102  the class says what a call does

    # To a type checker, a class or static method is a function that has its `cls`, or no `self`. Hence two overloads more.
    @overload
    def __get__(  # type: ignore[misc]  # mypy does not see that the class itself is such a `Callable`
        self: Callable[Concatenate[type[S], Q], T], instance: None, owner: type[S], /
    ) -> "ConcurrentFunction[Q, T]": ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(  # type: ignore[misc]  # as above
        self: Callable[Concatenate[type[S], Q], T], instance: S, owner: type[S] | None = None, /
    ) -> "ConcurrentFunction[Q, T]": ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], T], instance: S, owner: type[S] | None = None, /
    ) -> "ConcurrentFunction[Q, T]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)

    map = core.map
    stream = core.stream
    as_completed = core.as_completed


class AsyncConcurrentFunction(_Function, Generic[P, R]):
    """A coroutine function under `@concurrent`: called, it is the function itself; its operations run calls on asyncio.

    They are `a_map`, `a_stream` and `a_as_completed`. In all else it is as `ConcurrentFunction`.

    >>> import asyncio
    >>> isinstance(concurrent(asyncio.sleep), AsyncConcurrentFunction)
    True
    >>> asyncio.run(concurrent(asyncio.sleep).a_map([0, 0], "ab"))
    ['a', 'b']
    """

    __slots__ = ()

    _is_async = True
    _kind = "a coroutine function"
    _others: ClassVar[Mapping[str, str]] = {"map": "a_map", "stream": "a_stream", "as_completed": "a_as_completed"}

    def __init__(self, function: Any, defaults: Mapping[str, Any]) -> None:
        super().__init__(function, defaults)
        if sys.version_info < (3, 12) and not inspect.iscoroutinefunction(self):
            # Of a `partial`, say. `inspect` goes by code, and by what else a function has.
            self.__code__ = _coroutine_function.__code__
            self.__defaults__ = self.__kwdefaults__ = None

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # noqa: D102

    # As above.
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[S], Q], Coroutine[Any, Any, T]], instance: None, owner: type[S], /
    ) -> "AsyncConcurrentFunction[Q, T]": ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[S], Q], Coroutine[Any, Any, T]], instance: S, owner: type[S] | None = None, /
    ) -> "AsyncConcurrentFunction[Q, T]": ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], Coroutine[Any, Any, T]], instance: S, owner: type[S] | None = None, /
    ) -> "AsyncConcurrentFunction[Q, T]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)

    a_map = core.a_map
    a_stream = core.a_stream
    a_as_completed = core.a_as_completed


async def _coroutine_function() -> None: ...


if sys.version_info >= (3, 12):
    # On the class, not on each function: `functools.wraps` copies what a function has to its wrapper, which may be plain.
    inspect.markcoroutinefunction(AsyncConcurrentFunction)


class _Decorator(Protocol):
    """What `concurrent(limit=8)` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, AnyOrNever], /
    ) -> ConcurrentFunction[P, AnyOrNever]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncConcurrentFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> ConcurrentFunction[P, R]: ...


class _PlainDecorator(Protocol):
    """What `concurrent(executor=pool)` returns: an executor runs plain functions alone."""

    def __call__(self, function: Callable[P, R], /) -> ConcurrentFunction[P, R]: ...


# These overlap, as coroutines are among what a plain function may return, and `Any` is everything: the first that fits counts.
@overload
def concurrent(  # type: ignore[overload-overlap]
    function: Callable[P, AnyOrNever], /
) -> ConcurrentFunction[P, AnyOrNever]: ...
@overload
def concurrent(  # type: ignore[overload-overlap]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncConcurrentFunction[P, R]: ...
@overload
def concurrent(function: Callable[P, R], /) -> ConcurrentFunction[P, R]: ...
@overload
def concurrent(**defaults: Unpack[Defaults]) -> _Decorator: ...
@overload
def concurrent(**defaults: Unpack[SyncDefaults]) -> _PlainDecorator: ...


def concurrent(function: Any = ..., /, **defaults: Any) -> Any:  # `...`, since `None` may be given by mistake
    """Give a function the operations as methods: `f.map(xs)` is `Concurrent.map(f, xs)`.

    A plain function gets `map`, `stream` and `as_completed`, a coroutine function `a_map`, `a_stream` and `a_as_completed`. In
    all else it stays the function it was: to call, to look at, to pickle, and as a method of a class.

    Options given here are the function's own defaults, which a call of an operation may override: `@concurrent(limit=8)`.

    - `function`: what to decorate: a function, a `classmethod` or `staticmethod`, or any other callable.
    - `limit`, `timeout`, `progress`: as in the operations.
    - `rate`: as in the operations, but a number is one `Rate` for the function, shared by all its maps.
    - `executor`, `chunksize`: as in the operations, for plain functions alone.

    It stands outermost: over `@classmethod` and `@staticmethod`, caches and retries. Under `@classmethod` it would not know the
    class, and call the function without it. That is an error up to Python 3.12; from 3.13 on nothing can be seen of it here.

    Raises `TypeError` for what cannot be called, for generator functions, and for what is decorated with `@concurrent` already;
    `TypeError` or `ValueError` for an option that cannot be right.

    >>> @concurrent(limit=8)
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> double(1)
    2
    >>> double.map([1, 2, 3])
    [2, 4, 6]
    """
    if function is not ...:
        return _decorate(defaults, function)
    check_defaults("concurrent()", defaults)
    return partial(_decorate, defaults)


def _decorate(given: Mapping[str, Any], function: Any, /) -> ConcurrentFunction[..., Any] | AsyncConcurrentFunction[..., Any]:
    called = getattr(function, "__func__", function)  # `classmethod` and `staticmethod` hide what they hold
    if isinstance(function, Decorated) or isinstance(called, Decorated):
        raise TypeError(f"{name_of(called)} is decorated with @concurrent already")
    check_function(called)
    is_async = is_coroutine_function(called)
    defaults = check_defaults("concurrent()", given, is_async)  # here, so that each function has a `Rate` of its own
    if is_async:
        return AsyncConcurrentFunction(function, defaults)
    return ConcurrentFunction(function, defaults)


def _is_found(function: _Function) -> bool:
    """Whether the function's name leads to it. Where it leads elsewhere, to the function beneath say, it is no reference."""
    try:
        return attrgetter(function.__qualname__)(sys.modules[function.__module__]) is function
    except (AttributeError, KeyError):
        return False
