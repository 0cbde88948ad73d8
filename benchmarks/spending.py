"""The cost of a stretch of work in this process: CPU and wall clock in seconds, memory in bytes."""

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
    """CPU and wall-clock seconds, set when the block ends."""

    cpu = 0.0
    wall = 0.0


@contextmanager
def spending() -> Iterator[Spending]:
    """Measure the block. Earlier garbage is collected first; during the block the collector works as usual."""
    spent = Spending()
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    yield spent
    spent.cpu, spent.wall = time.process_time() - cpu, time.perf_counter() - wall


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    # On Linux `getrusage` includes the memory of the parent when it started this process.
    if _STATUS.exists():
        (line,) = (each for each in _STATUS.read_text(encoding="ascii").splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
