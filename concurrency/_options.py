"""Every option once: its type, its range, its default, its message."""

import math
import operator
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import cache
from typing import Any, NamedTuple, TypedDict, cast

from concurrency._brief import brief
from concurrency._progress import Bar
from concurrency.pacing import Rate, positive

LAZY_ASYNC_LIMIT = 100
"""Calls at once in `a_stream` and `a_as_completed`: what is lazy has to be bounded. As many as httpx keeps connections."""


UNBOUNDED = sys.maxsize
"""The `limit` of what has none: `a_map`, and maps on executors, which know themselves how many calls they run."""


class Defaults(TypedDict, total=False):
    """What `@concurrent(...)` sets for a function: the options that stand for the function, not for one call of a map."""

    limit: int | None
    rate: float | Rate | None
    timeout: float | None
    progress: bool | str | Callable[..., Bar]


class MapOptions(Defaults, total=False):
    """The options of every operation, but for `catch`: it shapes the type of the result, so each signature spells it out."""

    strict: bool


class LazyOptions(MapOptions, total=False):
    """The options of the lazy operations."""

    buffersize: int | None


class SyncDefaults(Defaults, total=False):
    """What `@concurrent(...)` sets for a plain function."""

    executor: Executor | None
    chunksize: int | None


class SyncMapOptions(MapOptions, total=False):
    """The options of `map`."""

    executor: Executor | None
    chunksize: int | None


class SyncLazyOptions(LazyOptions, total=False):
    """The options of `stream` and `as_completed`."""

    executor: Executor | None
    chunksize: int | None


class Operation(NamedTuple):
    """One of the six operations, as far as options and messages have to tell them apart."""

    name: str
    is_async: bool = False
    is_lazy: bool = False


class Options(NamedTuple):
    """The options of one call of an operation: checked, with every default filled in."""

    limit: int
    rate: Rate | None
    timeout: float | None
    catch: tuple[type[Exception], ...]
    strict: bool
    progress: bool | str | Callable[..., Bar]
    buffersize: int
    executor: Executor | None = None
    chunksize: int = 1


def resolve(operation: Operation, name: str, given: Mapping[str, Any]) -> Options:
    """The options of a call of `operation`, called `name` in messages. Raises `TypeError` or `ValueError` if one is wrong."""
    known = _known(operation)
    checked = _check(f"{name}()", known, given)
    on_executor = checked.get("executor") is not None
    limit = checked["limit"] or (UNBOUNDED if on_executor else _default_limit(operation))
    chunksize = checked.get("chunksize") or 1
    buffersize = checked.get("buffersize") or (2 * limit * chunksize if on_executor else 2 * limit)
    filled: dict[str, Any] = {**checked, "limit": limit, "buffersize": buffersize, "chunksize": chunksize}
    return Options(**filled)


@cache
def _known(operation: Operation) -> Mapping[str, Any]:
    """What it takes: the check and the default of each."""
    return {**_EVERYWHERE, **(_LAZY if operation.is_lazy else {}), **({} if operation.is_async else _SYNC)}


def check_defaults(name: str, given: Mapping[str, Any], is_async: bool = False) -> dict[str, Any]:
    """What `@concurrent(...)` was given, checked as by the operations. A number as `rate` becomes the one `Rate` of it."""
    known = Defaults if is_async else SyncDefaults
    everything = {**_EVERYWHERE, **_SYNC}
    checked = _check(name, {option: everything[option] for option in known.__annotations__}, given)
    return {option: checked[option] for option in given}


@cache
def default_workers() -> int:
    """As many threads as `ThreadPoolExecutor` would use, by its documented formula. Asked once: the system takes its time."""
    if sys.version_info >= (3, 13):
        cpus = os.process_cpu_count()
    else:
        cpus = os.cpu_count()
    return min(32, (cpus or 1) + 4)


def _default_limit(operation: Operation) -> int:
    if not operation.is_async:
        return default_workers()
    return LAZY_ASYNC_LIMIT if operation.is_lazy else UNBOUNDED  # `a_map` has none, as `asyncio.gather`


def _check(caller: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    for option in given:
        if option not in known:
            raise TypeError(f"{caller} got an unexpected option {option!r}; its options are {', '.join(known)}")
    checked = {option: default for option, (_, default) in known.items()}
    for option, value in given.items():
        checked[option] = known[option][0](option, value)
    return checked


def _count(option: str, value: Any) -> int | None:
    if value is None:
        return None
    rule = f"{option} must be an integer or None, got {brief(value)}"
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(rule) from None
    if count < 1:
        raise ValueError(f"{option} must be at least 1, got {count}")
    return count


def _rate(option: str, value: Any) -> Rate | None:
    return value if value is None or isinstance(value, Rate) else Rate(positive(option, value))


def _seconds(option: str, value: Any) -> float | None:
    if value is None:
        return None
    rule = f"{option} must be a number of seconds or None, got {brief(value)}"
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        seconds = float(value) if math.isfinite(value) else -1.0
    except TypeError:
        raise TypeError(rule) from None
    except (OverflowError, ValueError):  # an int beyond any float, a signaling NaN
        seconds = -1.0
    if seconds < 0:
        raise ValueError(f"{option} must be finite and not negative, got {brief(value)}")
    return seconds


def _exceptions(option: str, value: Any) -> tuple[type[Exception], ...]:
    types: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"{option} must be a subclass of Exception or a tuple of such, got {brief(value)}")
    return types


def _flag(option: str, value: Any) -> bool:
    if value is not True and value is not False:
        raise TypeError(f"{option} must be True or False, got {brief(value)}")
    return value


def _executor(option: str, value: Any) -> Executor | None:
    if value is None or isinstance(value, Executor):
        return value
    if isinstance(value, type):
        raise TypeError(f"{option} must be an Executor, got the class itself: {value.__name__}()")
    kind = cast("object", type(value))
    hint = ": client.get_executor(pure=False)" if hasattr(kind, "get_executor") else ""  # dask's client
    raise TypeError(f"{option} must be a concurrent.futures.Executor or None, got {brief(value)}{hint}")


def _bar(option: str, value: Any) -> bool | str | Callable[..., Bar]:
    if isinstance(value, bool | str):
        return value
    if callable(value):
        return cast("Callable[..., Bar]", value)
    raise TypeError(f"{option} must be True, False, a title or a class like tqdm, got {brief(value)}")


_EVERYWHERE = {
    "limit": (_count, None),
    "rate": (_rate, None),
    "timeout": (_seconds, None),
    "catch": (_exceptions, ()),
    "strict": (_flag, False),
    "progress": (_bar, False),
}
_LAZY = {"buffersize": (_count, None)}
_SYNC = {"executor": (_executor, None), "chunksize": (_count, 1)}
