"""Measuring in a fresh interpreter: what has been imported or allocated before does not count there."""

import os
import subprocess
import sys


def measured_in_fresh(program: str) -> float:
    """The number that a program prints. Modules are compiled once and kept, as those of an installed package are."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise RuntimeError("a fresh interpreter failed, see above")
    return float(done.stdout)
