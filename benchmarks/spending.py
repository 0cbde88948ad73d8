"""What a stretch of work costs this process: CPU and wall clock in seconds, memory in bytes."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")


class Spending:
    """Filled in when the block is left."""

    cpu = 0.0
    wall = 0.0


@contextmanager
def spending() -> Iterator[Spending]:
    """Measures the block. What was left behind before it is collected first; the collector then works as always."""
    spent = Spending()
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    yield spent
    spent.cpu, spent.wall = time.process_time() - cpu, time.perf_counter() - wall


def peak_memory() -> int:
    """The most memory this process has held at any time, in bytes."""
    # On Linux `getrusage` counts what the parent held when it started this process, too.
    if _STATUS.exists():
        (line,) = (each for each in _STATUS.read_text(encoding="ascii").splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
