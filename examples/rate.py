"""Keeps to the rate that a server allows, first not at all, then with `rate=`, and counts how often the server refuses.

The server is a small local one, and strict: its turns come evenly, and it answers 429 (Too Many Requests) to whoever comes too
early. One `Rate` stands for what it allows. Threads and asyncio share it: one after the other, and at once.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from threading import Lock, Thread
from typing import Any

import httpx
from typing_extensions import override

from concurrency import Concurrent, Rate, concurrent

_LIMIT = 8  # requests at once: a limit alone does not keep to a rate, since quick answers make room for more


@concurrent(limit=_LIMIT)
def _get(client: httpx.Client, url: str) -> int:
    return client.get(url).status_code


@concurrent(limit=_LIMIT)
async def _a_get(client: httpx.AsyncClient, url: str) -> int:
    return (await client.get(url)).status_code


_Way = Callable[[list[str], Rate | None], list[int]]


def _with_threads(urls: list[str], rate: Rate | None) -> list[int]:
    with httpx.Client(trust_env=False) as client:  # no proxy from the environment: the server is local
        _get(client, _greeting(urls))
        return _get.map(repeat(client), urls, rate=rate)


def _with_asyncio(urls: list[str], rate: Rate | None) -> list[int]:
    async def main() -> list[int]:
        async with httpx.AsyncClient(trust_env=False) as client:
            await _a_get(client, _greeting(urls))
            return await _a_get.a_map(repeat(client), urls, rate=rate)

    return asyncio.run(main())


def _at_once(urls: list[str], rate: Rate | None) -> list[int]:
    def call(way: _Way) -> list[int]:
        return way(urls, rate)

    with_threads, with_asyncio = Concurrent.map(call, [_with_threads, _with_asyncio], limit=2)
    return with_threads + with_asyncio


def _greeting(urls: list[str]) -> str:
    """What takes no turn. The first request of a client is slow, and would come so late that the second seems to be early."""
    return urls[0].removesuffix("0")


def _compare(urls: list[str], rate: Rate, pause: float) -> int:
    print(f"{'':24}{'seconds':>9}{'answered':>10}{'refused':>9}")
    _show("map", _with_threads, urls, None)
    _show("a_map", _with_asyncio, urls, None)
    time.sleep(pause)  # those requests have taken turns that are still to come
    refused = _show("map, rate=api", _with_threads, urls, rate)
    refused += _show("a_map, rate=api", _with_asyncio, urls, rate)
    refused += _show("both at once, rate=api", _at_once, urls, rate)
    return refused


def _show(name: str, way: _Way, urls: list[str], rate: Rate | None) -> int:
    start = time.perf_counter()
    statuses = way(urls, rate)
    seconds = time.perf_counter() - start
    answered, refused = statuses.count(200), statuses.count(429)
    print(f"{name:24}{seconds:9.2f}{answered:10}{refused:9}", flush=True)
    if answered + refused != len(statuses):
        sys.exit(f"{name}: the server has answered neither 200 nor 429")
    return refused


class _Turns:
    """When the next request is due. Requests that are refused take no turn."""

    def __init__(self, interval: float, tolerance: float) -> None:
        self._interval = interval
        self._tolerance = tolerance
        self._lock = Lock()
        self._due = 0.0

    def take(self) -> bool:
        now = time.monotonic()
        with self._lock:
            if now < self._due - self._tolerance:
                return False
            self._due = max(self._due, now) + self._interval
            return True


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # as in `pages.py`, for clients that connect at once

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up, after Ctrl-C say, is no error of the server's.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def __init__(self, turns: _Turns, *args: Any) -> None:
        self.turns = turns
        super().__init__(*args)  # handles the requests

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" or self.turns.take() else 429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _serve(turns: _Turns) -> Generator[str]:
    with _Server(("127.0.0.1", 0), partial(_Handler, turns)) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))  # seconds until it sees that it should stop
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--requests", type=int, default=50, help="requests of each map")
    parser.add_argument("--rate", type=float, default=25, help="requests per second that the server allows")
    parser.add_argument(
        "--tolerance", type=float, default=100, help="milliseconds that a request may come too early, for jitter"
    )
    arguments = parser.parse_args()
    if arguments.requests < 1 or arguments.rate <= 0 or arguments.tolerance < 0:
        parser.error("--requests must be at least 1, --rate positive, --tolerance at least 0")
    return arguments


def _main() -> None:
    arguments = _arguments()
    interval, tolerance = 1 / arguments.rate, arguments.tolerance / 1000
    turns = _Turns(interval, tolerance)
    with _serve(turns) as address:
        print(f"{arguments.requests} requests in each map; the server allows {arguments.rate:g} per second, evenly, and")
        print(f"answers 429 to whoever comes more than {arguments.tolerance:g} ms too early\n")
        api = Rate(arguments.rate)
        urls = [f"{address}/{number}" for number in range(arguments.requests)]
        refused = _compare(urls, api, pause=interval + tolerance)
    if refused:
        sys.exit(f"\nWith rate=api, {refused} requests were refused.")
    print("\nWith rate=api, not one request was refused.")


if __name__ == "__main__":
    _main()
