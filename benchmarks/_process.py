"""Run a Python process and measure its time and memory.

The system's figure of a process's peak memory is at least that of the process that started it. Therefore a small one
starts it: this file, run as a script.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Measured(NamedTuple):
    """Wall and CPU time (user and system) [s], peak memory [MB], and what the process printed."""

    wall: float
    cpu: float
    mb: float
    out: str


def measure(*arguments: str) -> Measured:
    """Run Python with these arguments; the process may keep compiled files, as a user's does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, __file__, sys.executable, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment)
    return Measured(*json.loads(done.stdout))


def main() -> int:
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
    with process.stdout as printed:
        out = printed.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out]))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
