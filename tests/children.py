"""Programs that run in a process of their own: for what cannot be undone in this one."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent

PATIENCE = 20
"""Seconds after which a child has failed: a safety net alone."""


def python(source: str, *arguments: str) -> "list[str]":
    """The command that runs a program in Python's development mode, with warnings as errors."""
    return [sys.executable, "-X", "dev", "-W", "error", "-c", dedent(source), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONASYNCIODEBUG": "1"}


def run(source: str, *arguments: str) -> str:
    """What a program prints, which has to end well and complain about nothing."""
    child = subprocess.run(
        python(source, *arguments), capture_output=True, text=True, timeout=PATIENCE, env=environment(), cwd=ROOT
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return child.stdout


class Child:
    """A program that is talked to while it runs."""

    def __init__(self, source: str, *arguments: str) -> None:
        pipe = subprocess.PIPE
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  it is closed by `end`
        self._process = subprocess.Popen(
            python(source, *arguments), stdin=pipe, stdout=pipe, stderr=self._stderr, text=True, env=environment(), cwd=ROOT
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        place, line = self._process.stdout.fileno(), b""
        # Byte by byte: what `readline` reads ahead is lost to `communicate`.
        while select.select([place], [], [], PATIENCE)[0]:
            byte = os.read(place, 1)
            if byte in {b"", b"\n"}:
                return line.decode()
            line += byte
        raise AssertionError("it says nothing")

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """What `kill` does, and whoever ends services."""
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str, str]:
        """Its exit status, and the rest of what it prints, on stdout and on stderr."""
        assert self._process.stdout is not None
        status = self._process.wait(PATIENCE)
        stdout = self._process.stdout.read()  # not `communicate`, which knows nothing of what `line` has read ahead
        self._stderr.seek(0)
        return status, stdout, self._stderr.read()
