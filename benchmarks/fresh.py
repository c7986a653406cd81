"""Measuring in a fresh interpreter: what has been imported or allocated before does not count there."""

import subprocess
import sys


def measured_in_fresh(program: str) -> float:
    """The number that a program prints."""
    done = subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError("a fresh interpreter failed, see above")
    return float(done.stdout)
