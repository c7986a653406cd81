"""Prints letters: on threads, on asyncio, and through functions that cannot be decorated."""

import asyncio
import time
from itertools import repeat
from string import ascii_uppercase

from concurrency import Concurrent, concurrent


@concurrent
def _print_letter(letter: str) -> None:
    time.sleep(0.1)
    print(f"Letter: {letter}\n", end="")  # in one piece: threads print at once


@concurrent
async def _a_print_letter(letter: str) -> None:
    await asyncio.sleep(0.1)
    print(f"Letter: {letter}")


def _main() -> None:
    _print_letter("A")  # still the function it was
    _print_letter.map(ascii_uppercase)  # threads: letters are printed in any order
    print(*Concurrent.map(str.lower, ascii_uppercase))  # results come in the order of the input


async def _a_main() -> None:
    await _a_print_letter("A")  # still the coroutine function it was
    await _a_print_letter.a_map(ascii_uppercase)  # asyncio tasks
    print(*await Concurrent.a_map(asyncio.sleep, repeat(0.1), ascii_uppercase))  # asyncio.sleep(delay, result)


if __name__ == "__main__":
    _main()
    asyncio.run(_a_main())
