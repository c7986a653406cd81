"""The functions that are mapped. At the top of a module, so that they can be sent to processes."""

from asyncio import sleep as a_sleep
from time import sleep


def identity(value: int) -> int:
    """The least that a call can do."""
    return value


async def a_identity(value: int) -> int:
    """The same, as a coroutine function: never suspends."""
    return value


async def one_turn(value: int) -> int:
    """Lets the event loop turn once."""
    await a_sleep(0)
    return value


def nap(_: int) -> None:
    """Waits for a millisecond, as for a fast server."""
    sleep(0.001)


def small(value: int) -> int:
    """A few microseconds of computing."""
    return sum(range(value % 100))


def heavy(value: int) -> int:
    """A few milliseconds of computing, in Python alone."""
    total = value
    for each in range(100_000):
        total = (total * 31 + each) % 1_000_003
    return total
