import asyncio
import copy
import doctest
import functools
import gc
import inspect
import pickle
import pydoc
import sys
import threading
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing import get_context
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from tenacity import retry, stop_after_attempt

from concurrency import AsyncConcurrentFunction, Concurrent, ConcurrentFunction, Rate, concurrent
from tests.ways import free

PLAIN_OPERATIONS = ["map", "stream", "as_completed"]


@concurrent
def double(number: int, /, times: int = 2, *, plus: int = 0) -> int:
    """Twice the number.

    >>> double(4)
    8
    """
    return number * times + plus


@concurrent(limit=4)
async def a_double(number: int, /, times: int = 2, *, plus: int = 0) -> int:
    """Twice the number, later.

    >>> asyncio.run(a_double(4))
    8
    """
    return number * times + plus


def _undecorated(number: int) -> int:
    return -number


renamed = concurrent(_undecorated)
of_partial = concurrent(functools.partial(_undecorated))


class Account:
    """Its methods are of all kinds."""

    def __init__(self, name: str) -> None:
        self.name = name

    @concurrent
    def pay(self, amount: int, *, currency: str = "EUR") -> str:
        """Pay.

        >>> Account("a").pay(1)
        'a Account 1 EUR'
        """
        return f"{self.name} {type(self).__name__} {amount} {currency}"

    @concurrent
    async def a_pay(self, amount: int) -> str:
        return f"{self.name} {type(self).__name__} {amount}"

    @concurrent
    @classmethod
    def of_class(cls, amount: int) -> str:
        """For the class.

        >>> Account.of_class(1)
        'Account 1'
        """
        return f"{cls.__name__} {amount}"

    @concurrent
    @classmethod
    async def a_of_class(cls, amount: int) -> str:
        return f"{cls.__name__} {amount}"

    @concurrent
    @staticmethod
    def of_nobody(amount: int) -> str:
        """For nobody.

        >>> Account.of_nobody(1)
        '1'
        """
        return str(amount)

    @concurrent
    @staticmethod
    async def a_of_nobody(amount: int) -> str:
        return str(amount)

    class Inner:
        @concurrent
        def pay(self, amount: int) -> int:
            return amount


class Savings(Account):
    @concurrent
    def pay(self, amount: int, *, currency: str = "EUR") -> str:
        return "saved " + ", ".join(super().pay.map([amount, amount + 1]))

    def pay_as_parent(self, amounts: list[int]) -> list[str]:
        return super().pay.map(amounts)

    @classmethod
    def of_parent(cls, amounts: list[int]) -> list[str]:
        return super().of_class.map(amounts)


class AsyncObject:
    async def __call__(self, number: int) -> int:
        return 2 * number


class PlainObject:
    def __call__(self, number: int) -> int:
        return 2 * number


# As a function, it is what it was.


def test_a_call_is_a_call_of_the_function() -> None:
    assert double(3) == 6
    assert double(3, 4, plus=1) == 13
    assert double(3, times=5) == 15
    assert asyncio.run(a_double(3, plus=1)) == 7


def test_a_call_takes_keywords_of_any_name() -> None:
    @concurrent
    def keywords(**given: int) -> dict[str, int]:
        return given

    assert keywords(self=1, function=2, args=3) == {"self": 1, "function": 2, "args": 3}


def test_a_call_adds_no_frame() -> None:
    @concurrent
    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        fail()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames] == ["test_a_call_adds_no_frame", "fail"]


@pytest.mark.parametrize("function", [double, a_double], ids=["plain", "coroutine"])
def test_identity(function: ConcurrentFunction[..., Any]) -> None:
    original = function.__wrapped__
    assert inspect.isfunction(original)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__defaults__", "__code__"):
        assert getattr(function, name) == getattr(original, name)
    assert inspect.signature(function) == inspect.signature(original)
    assert inspect.getsource(function) == inspect.getsource(original)
    assert inspect.unwrap(function) is original


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (double, False),
        (a_double, True),
        (Account.a_pay, True),
        (Account("a").a_pay, True),
        (Account("a").pay, False),
        (Account.a_of_class, True),
        (Account.of_class, False),
        (Account.a_of_nobody, True),
        (concurrent(AsyncObject()), True),
        (concurrent(PlainObject()), False),
        (concurrent(functools.partial(a_double.__wrapped__, plus=1)), True),
        (concurrent(functools.cache(a_double.__wrapped__)), True),
        (concurrent(retry(a_double.__wrapped__)), True),
        (concurrent(AsyncObject().__call__), True),
    ],
)
def test_it_is_known_whether_it_is_a_coroutine_function(function: Any, is_async: bool) -> None:
    assert type(function) is (AsyncConcurrentFunction if is_async else ConcurrentFunction)
    assert inspect.iscoroutinefunction(function) is is_async
    assert inspect.iscoroutinefunction(functools.partial(function)) is is_async


def test_wrappers_of_it_look_like_the_function_and_are_of_their_own_kind() -> None:
    @functools.wraps(a_double)
    def run(*args: Any, **kwargs: Any) -> int:
        return asyncio.run(a_double(*args, **kwargs))

    assert run.__name__ == "a_double"
    assert run.__doc__ == a_double.__doc__
    assert inspect.signature(run) == inspect.signature(a_double.__wrapped__)
    assert run.__wrapped__ is a_double
    assert not inspect.iscoroutinefunction(run)
    assert concurrent(run).map([1, 2]) == [2, 4]


def test_it_wraps_what_has_been_wrapped() -> None:
    @concurrent
    @functools.wraps(double.__wrapped__)
    def wrapper(*args: Any) -> int:
        return double(*args)

    assert wrapper.__qualname__ == "double"
    assert inspect.signature(wrapper) == inspect.signature(double)
    assert wrapper.map([1]) == [2]


def test_doctest_finds_the_examples() -> None:
    module = sys.modules[__name__]
    found = {test.name.removeprefix(f"{__name__}."): test for test in doctest.DocTestFinder().find(module)}
    for name in ("double", "a_double", "Account.pay", "Account.of_class", "Account.of_nobody"):
        assert found[name].examples, name
        results = doctest.DocTestRunner().run(found[name])
        assert (results.failed, results.attempted) == (0, 1), name


def test_pydoc_documents_the_function() -> None:
    text = pydoc.plain(pydoc.render_doc(double))
    assert "double(number: int, /, times: int = 2, *, plus: int = 0) -> int" in text
    assert "Twice the number." in text
    assert "double(number" in pydoc.plain(pydoc.render_doc(sys.modules[__name__]))
    account = pydoc.plain(pydoc.render_doc(Account))
    assert "pay(self, amount: int, *, currency: str = 'EUR') -> str" in account
    assert "For the class." in account
    assert "For nobody." in account


def test_repr_says_what_it_is() -> None:
    assert repr(double) == f"<ConcurrentFunction of {double.__wrapped__!r}>"
    assert repr(a_double) == f"<AsyncConcurrentFunction of {a_double.__wrapped__!r}>"
    account = Account("a")
    assert repr(account.pay).startswith("<ConcurrentFunction of <bound method Account.pay of <")


def test_attributes_of_the_function_are_there() -> None:
    cached: Any = concurrent(functools.cache(_undecorated))
    assert cached(1) == cached(1) == -1
    assert cached.cache_info().hits == 1

    @concurrent
    @retry(stop=stop_after_attempt(2))
    def retried() -> int:
        return 1

    assert retried() == 1
    tenacious: Any = retried
    assert tenacious.retry.stop.max_attempt_number == 2
    assert tenacious.statistics["attempt_number"] == 1
    with pytest.raises(AttributeError, match="'function' object has no attribute 'unknown'"):
        _ = tenacious.unknown


def test_attributes_of_the_function_are_the_current_ones() -> None:
    def function() -> None: ...

    original: Any = function
    original.calls = 1
    decorated: Any = concurrent(function)
    original.calls = 2
    assert decorated.calls == 2


def test_it_takes_attributes_as_a_function_does() -> None:
    function: Any = concurrent(lambda: None)
    function.route = "/"
    assert function.route == "/"


# It has the operations of its kind, and not the others.


def test_operations_of_a_plain_function() -> None:
    assert double.map([1, 2], plus_one := [3, 4]) == [3, 8]
    assert list(double.stream([1, 2], plus_one)) == [3, 8]
    assert sorted(double.as_completed([1, 2])) == [(1, 2), (2, 4)]
    assert Concurrent.map(double, [1, 2]) == [2, 4]


async def test_operations_of_a_coroutine_function() -> None:
    assert await a_double.a_map([1, 2], [3, 4]) == [3, 8]
    assert [number async for number in a_double.a_stream([1, 2])] == [2, 4]
    assert sorted([pair async for pair in a_double.a_as_completed([1, 2])]) == [(1, 2), (2, 4)]
    assert await Concurrent.a_map(a_double, [1, 2]) == [2, 4]


@pytest.mark.parametrize("name", PLAIN_OPERATIONS)
def test_a_plain_function_names_its_own_operation(name: str) -> None:
    assert hasattr(double, name)
    assert not hasattr(double, f"a_{name}")
    with pytest.raises(AttributeError, match=f"^double is a plain function: use .{name}$"):
        getattr(double, f"a_{name}")


@pytest.mark.parametrize("name", PLAIN_OPERATIONS)
def test_a_coroutine_function_names_its_own_operation(name: str) -> None:
    assert hasattr(a_double, f"a_{name}")
    assert not hasattr(a_double, name)
    with pytest.raises(AttributeError, match=f"^a_double is a coroutine function: use .a_{name}$"):
        getattr(a_double, name)


def test_operations_are_documented_and_called_as_in_concurrent() -> None:
    assert double.map.__doc__ == Concurrent.map.__doc__
    function, *others = inspect.signature(Concurrent.map).parameters
    assert function == "fn"
    assert list(inspect.signature(double.map).parameters) == others
    assert inspect.iscoroutinefunction(a_double.a_map)


# It has defaults of its own.


def _meets_another(barrier: Barrier) -> Callable[[int], bool]:
    def meet(_: int) -> bool:
        try:
            barrier.wait(0.1)
        except BrokenBarrierError:
            return False
        return True

    return meet


def test_defaults_hold_for_each_operation_and_the_call_overrides_them() -> None:
    alone = concurrent(limit=1)(_meets_another(Barrier(2)))
    assert alone.map([1, 2]) == [False, False]
    assert list(alone.stream([1, 2])) == [False, False]
    assert [met for _, met in alone.as_completed([1, 2])] == [False, False]
    assert Concurrent.map(alone, [1, 2]) == [False, False]
    assert concurrent(limit=1)(_meets_another(Barrier(2))).map([1, 2], limit=2) == [True, True]
    assert Concurrent.map(concurrent(limit=1)(_meets_another(Barrier(2))), [1, 2], limit=2) == [True, True]


async def test_defaults_of_a_coroutine_function() -> None:
    running = most = 0

    @concurrent(limit=2)
    async def meet(barrier: asyncio.Barrier) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await barrier.wait()
        running -= 1

    two, five = asyncio.Barrier(2), asyncio.Barrier(5)
    await meet.a_map([two] * 10)
    assert [each async for each in meet.a_stream([two] * 10)] == [None] * 10
    await Concurrent.a_map(meet, [two] * 10)
    assert most == 2
    await meet.a_map([five] * 10, limit=5)
    assert most == 5


def test_defaults_hold_for_methods() -> None:
    class Meeting:
        def __init__(self) -> None:
            self.barrier = Barrier(2)

        @concurrent(limit=1)
        def meet(self, number: int) -> bool:
            return _meets_another(self.barrier)(number)

    assert Meeting().meet.map([1, 2]) == [False, False]
    assert Meeting().meet.map([1, 2], limit=2) == [True, True]


def test_an_executor_is_for_plain_functions_alone() -> None:
    with ThreadPoolExecutor(1, "pool") as executor:
        named = concurrent(executor=executor)(lambda _: threading.current_thread().name)
        assert named.map([1]) == ["pool_0"]
        with pytest.raises(TypeError, match="got an unexpected option 'executor'"):
            concurrent(executor=executor)(a_double.__wrapped__)


def test_a_rate_is_one_for_each_function() -> None:
    decorate = concurrent(rate=5)
    one, other = decorate(_undecorated), decorate(_undecorated)
    assert isinstance(one._defaults["rate"], Rate)
    assert one._defaults["rate"] is not other._defaults["rate"]
    shared = Rate(5)
    assert concurrent(rate=shared)(_undecorated)._defaults["rate"] is shared


def test_parentheses_without_options() -> None:
    assert concurrent()(_undecorated).map([1]) == [-1]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"limit": "8"}, TypeError, "limit must be an integer or None, got '8'"),
        ({"timeout": -1}, ValueError, "timeout must be finite and not negative, got -1"),
        ({"catch": ValueError}, TypeError, r"concurrent\(\) got an unexpected option 'catch'"),
        ({"strict": True}, TypeError, r"concurrent\(\) got an unexpected option 'strict'"),
        ({"buffersize": 1}, TypeError, r"concurrent\(\) got an unexpected option 'buffersize'"),
        ({"limits": 1}, TypeError, r"concurrent\(\) got an unexpected option 'limits'; its options are limit,"),
    ],
)
def test_defaults_are_checked_at_decoration(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        concurrent(**options)


# It binds as the function does.


def test_instances() -> None:
    account = Account("a")
    assert account.pay(1, currency="USD") == "a Account 1 USD"
    assert account.pay.map([1, 2]) == ["a Account 1 EUR", "a Account 2 EUR"]
    assert list(account.pay.stream([1])) == ["a Account 1 EUR"]
    assert list(account.pay.as_completed([1])) == [(1, "a Account 1 EUR")]
    assert Concurrent.map(account.pay, [1]) == ["a Account 1 EUR"]
    assert str(inspect.signature(account.pay)) == "(amount: int, *, currency: str = 'EUR') -> str"
    assert account.pay.__name__ == "pay"
    assert account.pay.__doc__ == Account.pay.__doc__
    assert account.pay.__self__ is account  # type: ignore[attr-defined]  # an attribute of the bound function


async def test_instances_with_coroutine_functions() -> None:
    account = Account("a")
    assert await account.a_pay(1) == "a Account 1"
    assert await account.a_pay.a_map([1, 2]) == ["a Account 1", "a Account 2"]
    assert await Account.a_pay.a_map([account], [1]) == ["a Account 1"]


def test_two_instances_bound_at_once_stay_apart() -> None:
    a, b = Account("a"), Account("b")
    pay_a, pay_b = a.pay, b.pay
    assert pay_a.map([1]) == ["a Account 1 EUR"]
    assert pay_b.map([1]) == ["b Account 1 EUR"]
    assert pay_a(2) == "a Account 2 EUR"


def test_bound_ones_are_equal_as_methods_are() -> None:
    a, b = Account("a"), Account("b")
    assert a.pay == a.pay
    assert hash(a.pay) == hash(a.pay)
    assert a.pay != b.pay
    assert a.pay != Account.pay
    assert Account.pay == Account.pay
    assert {a.pay, a.pay, b.pay, Account.pay, double, double} == {a.pay, b.pay, Account.pay, double}


def test_what_it_holds_is_not_compared_or_hashed() -> None:
    class Stubborn:
        __hash__ = None  # type: ignore[assignment]  # as that of a class with `__eq__`

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __call__(self, number: int) -> int:
            return -number

    decorated = concurrent(Stubborn())
    assert {decorated: 1}[decorated] == 1
    assert decorated != concurrent(Stubborn())
    assert decorated.map([1]) == [-1]


def test_classes_and_subclasses() -> None:
    a, savings = Account("a"), Savings("s")
    assert Account.pay.map([a, savings], [1, 2]) == ["a Account 1 EUR", "s Savings 2 EUR"]
    assert Account.pay is Account.__dict__["pay"]
    assert savings.pay(1) == "saved s Savings 1 EUR, s Savings 2 EUR"
    assert savings.pay_as_parent([1]) == ["s Savings 1 EUR"]


async def test_class_methods() -> None:
    assert Account.of_class(1) == "Account 1"
    assert Account.of_class.map([1, 2]) == ["Account 1", "Account 2"]
    assert Savings.of_class.map([1]) == ["Savings 1"]
    assert Savings("s").of_class.map([1]) == ["Savings 1"]
    assert Savings.of_parent([1]) == ["Savings 1"]
    assert await Savings.a_of_class(1) == "Savings 1"
    assert await Savings.a_of_class.a_map([1]) == ["Savings 1"]


async def test_static_methods() -> None:
    assert Account.of_nobody(1) == "1"
    assert Account.of_nobody.map([1, 2]) == ["1", "2"]
    assert Savings("s").of_nobody.map([1]) == ["1"]
    assert await Account.a_of_nobody(1) == "1"
    assert await Savings("s").a_of_nobody.a_map([1]) == ["1"]


def test_under_staticmethod_it_works_too() -> None:
    class Helper:
        @staticmethod
        @concurrent
        def helper(number: int) -> int:
            return -number

    assert Helper.helper.map([1]) == Helper().helper.map([1]) == [-1]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="classmethod no longer asks what it holds to bind")
def test_the_wrong_order_over_a_class_method_is_an_error() -> None:
    class Wrong:
        @classmethod
        @concurrent
        def method(cls, number: int = 0) -> int:
            return number

    with pytest.raises(TypeError, match=r"Wrong.method: @concurrent stands over @classmethod, not under it$"):
        _ = Wrong.method


def test_classes_of_all_kinds() -> None:
    class Slotted:
        __slots__ = ("name",)

        def __init__(self) -> None:
            self.name = "s"

        @concurrent
        def pay(self, amount: int) -> str:
            return f"{self.name} {amount}"

    @dataclass(frozen=True, slots=True)
    class Point:
        x: int
        action: Any = double
        history: list[int] = field(default_factory=list)

        @concurrent
        def plus(self, number: int) -> int:
            return self.x + number

    class Color(Enum):
        RED = 1
        BLUE = 2

        @concurrent
        def mixed(self, other: "Color") -> str:
            return f"{self.name}-{other.name}"

    class Base(ABC):
        @concurrent
        @abstractmethod
        def required(self) -> None: ...

    assert Slotted().pay.map([1]) == ["s 1"]
    assert Point(1).plus.map([1, 2]) == [2, 3]
    assert [each.name for each in Color] == ["RED", "BLUE"]
    assert Color.RED.mixed.map(Color) == ["RED-RED", "RED-BLUE"]
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]  # on purpose


def test_what_does_not_bind_does_not_begin_to() -> None:
    class Holder:
        absolute: Any = concurrent(abs)  # it is generic, which mypy cannot follow
        object = concurrent(PlainObject())

    assert Holder.absolute.map([-1]) == [1]
    absolute: Any = Holder().absolute  # to a type checker every callable binds
    twice: Any = Holder().object
    assert absolute.map([-1]) == [1]
    assert twice.map([1]) == [2]


def test_binding_keeps_nothing_alive() -> None:
    account = Account("a")
    account.pay.map([1])
    reference = weakref.ref(account)
    gc.disable()
    try:
        del account
        free()
        assert reference() is None
    finally:
        gc.enable()


# It can be sent.


@pytest.mark.parametrize("function", [double, a_double, Account.pay, Account.a_pay, Account.Inner.pay, Savings.pay])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_by_reference(function: Any, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(function, protocol)) is function


@pytest.mark.parametrize("function", [double, a_double, Account.pay, renamed, of_partial, concurrent(lambda: None)])
def test_copies_are_by_reference(function: Any) -> None:
    assert copy.copy(function) is function
    assert copy.deepcopy(function) is function


def test_pickle_of_bound_ones() -> None:
    pay = pickle.loads(pickle.dumps(Account("a").pay))
    assert pay.map([1]) == ["a Account 1 EUR"]
    assert pickle.loads(pickle.dumps(Savings.of_class)).map([1]) == ["Savings 1"]
    assert pickle.loads(pickle.dumps(Account.of_nobody)).map([1]) == ["1"]


def test_copies_of_bound_ones_bind_as_copies_of_methods_do() -> None:
    account = Account("a")
    account.callback = account.pay  # type: ignore[attr-defined]  # on purpose
    twin: Any = copy.deepcopy(account)
    twin.name = "twin"
    assert twin.callback(1) == "twin Account 1 EUR"
    assert copy.copy(account.pay) == account.pay


@pytest.mark.parametrize("function", [renamed, of_partial])
def test_what_no_name_leads_to_is_pickled_by_value(function: ConcurrentFunction[[int], int]) -> None:
    twin = pickle.loads(pickle.dumps(function))
    assert type(twin) is ConcurrentFunction
    assert twin.map([1]) == [-1]


def test_what_is_local_cannot_be_pickled_as_a_local_function_cannot() -> None:
    @concurrent
    def local() -> None: ...

    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(local)


def _in_child(function: Any) -> list[Any]:
    result: list[Any] = function.map([1, 2])
    return result


def test_it_works_in_a_child_process() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        assert list(executor.map(double, [1, 2])) == [2, 4]
        assert executor.submit(_in_child, double).result() == [2, 4]
        assert executor.submit(_in_child, Account("a").pay).result() == ["a Account 1 EUR", "a Account 2 EUR"]
        assert executor.submit(inspect.iscoroutinefunction, a_double).result()


# It stands over other decorators, and over what is no function.


async def test_over_caches() -> None:
    calls: list[int] = []

    @concurrent(limit=1)
    @functools.cache
    def cached(number: int) -> int:
        calls.append(number)
        return -number

    assert cached.map([1, 1, 2]) == [-1, -1, -2]
    assert calls == [1, 2]


async def test_over_retries() -> None:
    failures = {1: 1, 2: 0}

    def fail_sometimes(number: int) -> int:
        if failures[number]:
            failures[number] -= 1
            raise OSError
        return -number

    retried = concurrent(retry(stop=stop_after_attempt(2))(fail_sometimes))
    assert retried.map([1, 2]) == [-1, -2]
    failures[1] = 1

    @concurrent
    @retry(stop=stop_after_attempt(2))
    async def a_retried(number: int) -> int:
        return fail_sometimes(number)

    assert await a_retried.a_map([1, 2]) == [-1, -2]


async def test_over_partials_objects_builtins_and_classes() -> None:
    assert concurrent(functools.partial(double, plus=1)).map([1, 2]) == [3, 5]
    assert await concurrent(functools.partial(a_double, plus=1)).a_map([1, 2]) == [3, 5]
    assert concurrent(PlainObject()).map([1]) == [2]
    assert await concurrent(AsyncObject()).a_map([1]) == [2]
    assert await concurrent(AsyncObject().__call__).a_map([1]) == [2]
    absolute: Any = concurrent(abs)  # it is generic, which mypy cannot follow
    assert absolute.map([-1]) == [1]
    assert concurrent(str.upper).map("ab") == ["A", "B"]
    assert concurrent("-".join).map([["a", "b"]]) == ["a-b"]
    assert [account.name for account in concurrent(Account).map("ab")] == ["a", "b"]


def test_over_what_has_no_name_of_its_own() -> None:
    assert concurrent(functools.partial(_undecorated)).__name__ == "_undecorated"
    assert concurrent(PlainObject()).__name__ == "PlainObject"
    assert getattr(concurrent(abs), "__annotations__", {}) == {}  # not those of our own class
    with pytest.raises(AttributeError, match=r"^PlainObject is a plain function: use .map$"):
        _ = concurrent(PlainObject()).a_map  # type: ignore[attr-defined]  # on purpose


def _generator() -> Iterator[int]:
    yield 1


def _class_generator(cls: type) -> Iterator[type]:
    yield cls


async def _async_generator() -> AsyncIterator[int]:
    yield 1


class _GeneratorObject:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (1, "the function must be callable, got 1"),
        (None, "the function must be callable, got None"),
        ("name", "the function must be callable, got 'name'"),
        (property(lambda _: 1), "the function must be callable, got <property"),
        (_generator, "_generator is a generator function"),
        (_async_generator, "_async_generator is an async generator function"),
        (functools.partial(_generator), "_generator is a generator function"),
        (classmethod(_class_generator), "_class_generator is a generator function"),
        (_GeneratorObject(), "_GeneratorObject is a generator function"),
        (double, "double is decorated with @concurrent already"),
        (Account("a").pay, "pay is decorated with @concurrent already"),
        (staticmethod(double), "double is decorated with @concurrent already"),
    ],
)
def test_refused(function: Any, message: str) -> None:
    for decorator in (concurrent, concurrent(limit=8)):
        with pytest.raises(TypeError) as caught:
            decorator(function)
        assert message in str(caught.value)


def test_a_function_sent_by_value_is_not_taken_for_its_namesake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the `__main__` of a worker has another function under the name of the one that has been sent."""

    def sent(number: int) -> int:
        return 2 * number

    def namesake(number: int) -> int:
        return 3 * number

    sent.__qualname__ = namesake.__qualname__ = "helper"
    monkeypatch.setattr(sys.modules["__main__"], "helper", concurrent(namesake), raising=False)
    received: Any = ConcurrentFunction._from_twin(concurrent(sent)._twin)
    assert received(4) == 8
    assert received.map([1, 2]) == [2, 4]
