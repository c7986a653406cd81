"""Fetches a few hundred pages one by one, with threads and with asyncio, and compares.

The pages are the files of this Python's own library, served by a small local server that takes its time for each. One
more page does not exist. It shows what a failing call looks like, with `catch` and without.
"""

import argparse
import asyncio
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import indent
from threading import Thread
from typing import Any

import httpx
from tqdm import tqdm
from typing_extensions import override

from concurrency import concurrent

_LIMIT = 16  # requests at once; many more gain little, since client and server share this one process

# No proxy from the environment: the server is local. No limit on connections: the maps have one.
_client = httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits())
_a_client = httpx.AsyncClient(timeout=30, trust_env=False, limits=httpx.Limits())

# A bar for each map while it runs; then it makes room for the table. None where stderr is no terminal.
_bar = partial(tqdm, leave=False, disable=None)

_Outcomes = list[bytes | httpx.HTTPStatusError]


@concurrent(limit=_LIMIT)
def _fetch(url: str) -> bytes:
    return _client.get(url).raise_for_status().content


@concurrent(limit=_LIMIT)
async def _a_fetch(url: str) -> bytes:
    return (await _a_client.get(url)).raise_for_status().content


def _one_by_one(urls: Iterable[str]) -> _Outcomes:
    outcomes: _Outcomes = []
    for url in urls:
        try:
            outcomes.append(_fetch(url))
        except httpx.HTTPStatusError as error:
            outcomes.append(error)
    return outcomes


def _with_threads(urls: Iterable[str], limit: int) -> _Outcomes:
    return _fetch.map(urls, limit=limit, catch=httpx.HTTPStatusError, progress=_bar)


async def _with_asyncio(urls: Iterable[str], limit: int) -> _Outcomes:
    async with _a_client:
        return await _a_fetch.a_map(urls, limit=limit, catch=httpx.HTTPStatusError, progress=_bar)


def _without_catch(urls: Iterable[str], limit: int) -> str:
    try:
        _fetch.map(urls, limit=limit, progress=_bar)
    except httpx.HTTPStatusError as error:
        return "".join(traceback.format_exception_only(error))
    return "nothing failed"


def _compare(urls: list[str], expected: list[bytes], limit: int) -> _Outcomes:
    ways: dict[str, Callable[[], _Outcomes]] = {
        "one by one": lambda: _one_by_one(urls),
        "_fetch.map": lambda: _with_threads(urls, limit),
        "_a_fetch.a_map": lambda: asyncio.run(_with_asyncio(urls, limit)),
    }
    print(f"{'':16}{'seconds':>9}{'pages/s':>9}{'speed-up':>10}")
    outcomes: _Outcomes = []
    base = 0.0
    for name, fetch_all in ways.items():
        start = time.perf_counter()
        outcomes = fetch_all()
        seconds = time.perf_counter() - start
        base = base or seconds
        print(f"{name:16}{seconds:9.2f}{len(urls) / seconds:9.0f}{base / seconds:9.1f}x")
        if [outcome for outcome in outcomes if isinstance(outcome, bytes)] != expected:
            sys.exit(f"{name}: these are not the pages on disk")
    print("\nAll three agree byte for byte, with each other and with the disk.")
    return outcomes


def _show_failure(outcomes: _Outcomes, urls: list[str], limit: int) -> None:
    print("\nThe page that does not exist, with catch: an exception among the results.")
    for outcome in outcomes:
        if isinstance(outcome, httpx.HTTPStatusError):
            print(f"  {outcome.response.status_code} {outcome.response.reason_phrase}: {outcome.request.url}")
    print("Without: the map ends, and a note says which call it was.")
    print(indent(_without_catch(urls, limit), "  "), end="")


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 makes clients that connect at once wait a second for their second try

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up, after Ctrl-C say, is no error of the server's.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True  # or head and body, sent one after the other, cost a delayed ACK: 40 ms

    def __init__(self, pages: Mapping[str, Path], latency: float, *args: Any) -> None:
        self.pages = pages
        self.latency = latency
        super().__init__(*args)  # handles the requests

    def do_GET(self) -> None:
        time.sleep(self.latency)
        page = self.pages.get(self.path)
        if page is None:
            self.send_error(404)
        else:
            self._send(page.read_bytes())

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/x-python")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _serve(pages: Mapping[str, Path], latency: float) -> Generator[str]:
    with _Server(("127.0.0.1", 0), partial(_Handler, pages, latency)) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))  # seconds until it sees that it should stop
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _library(count: int) -> dict[str, Path]:
    root = Path(os.__file__).parent
    files = [*sorted(root.glob("*.py")), *sorted(root.glob("*/*.py"))]
    own = [file for file in files if file.parent.name != "site-packages"]
    return {f"/{file.relative_to(root).as_posix()}": file for file in own[:count]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--pages", type=int, default=300, help="most pages to fetch")
    parser.add_argument("--latency", type=float, default=20, help="milliseconds the server waits before each answer")
    parser.add_argument("--limit", type=int, default=_LIMIT, help="most requests at once")
    arguments = parser.parse_args()
    if arguments.pages < 1 or arguments.latency < 0:
        parser.error("--pages must be at least 1, --latency at least 0")
    return arguments


def _main() -> None:
    arguments = _arguments()
    pages = _library(arguments.pages)
    with _serve(pages, arguments.latency / 1000) as address, _client:
        urls = [f"{address}{path}" for path in pages]
        urls.insert(len(urls) // 2, f"{address}/no_such_page.py")
        print(f"{len(urls)} pages, {arguments.latency:g} ms each, at most {arguments.limit} at once\n")
        outcomes = _compare(urls, [file.read_bytes() for file in pages.values()], arguments.limit)
        _show_failure(outcomes, urls, arguments.limit)


if __name__ == "__main__":
    _main()
