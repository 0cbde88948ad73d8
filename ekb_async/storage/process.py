"""Telling one process from every other one, by more than its number.

The number of a process is given to another one when it has ended, and in a container it is often 1. So its identity
also has the boot of the machine, the namespace that its number belongs to, and when it was started.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

_HAS_PROC = platform.system() == "Linux"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START = 0, 19  # among the fields of `stat` that follow the command's name
_ENDED = {"Z", "X", "x"}  # it runs no more, and its parent has not asked how it ended
_PS_TIMEOUT = 5.0


class ProcessIdentity(NamedTuple):
    """What tells a process from every other one."""

    pid: int
    host: str
    """The machine's boot; where the system gives it no name, the machine's."""
    namespace: str
    start: str

    @classmethod
    def parse(cls, pid: int, text: str) -> Self | None:
        """Return what `kept` has made a text of; None if it is not known."""
        host, _, rest = text.partition("|")
        namespace, _, start = rest.partition("|")
        return cls(pid, host, namespace, start) if host and start else None

    @property
    def kept(self) -> str:
        """The identity beside the number, as a text; empty if the system does not give it."""
        return "|".join((self.host, self.namespace, self.start)) if self.start else ""

    @property
    def is_running(self) -> bool:
        """Whether it is there. A process of another boot or namespace is not."""
        here = this_process()
        if (self.host, self.namespace) != (here.host, here.namespace):
            return False
        if self.pid == here.pid:
            return self == here
        start = _start_of(self.pid)
        # What exists and shows nothing of itself belongs to another user.
        return _exists(self.pid) if start is None else start == self.start

    @property
    def has_ended(self) -> bool:
        """Whether it is certain that it is there no more; it is not for one of another boot or namespace."""
        here = this_process()
        return (self.host, self.namespace) == (here.host, here.namespace) and not self.is_running


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return _identity(os.getpid())


@functools.lru_cache(maxsize=1)
def _identity(pid: int) -> ProcessIdentity:
    if not _HAS_PROC:
        return ProcessIdentity(pid, platform.node(), "", _start_of(pid) or "")
    try:
        host, namespace = _BOOT_ID.read_text().strip(), Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return ProcessIdentity(pid, platform.node(), "", "")
    return ProcessIdentity(pid, host, namespace, _start_in("self") or "")


def _start_of(pid: int) -> str | None:
    """When a process was started, "" if it has ended, None if the system does not say."""
    if _HAS_PROC:
        # `/proc` may be that of another namespace.
        return _start_in(str(pid)) if Path("/proc/self").readlink().name == str(os.getpid()) else None
    return _start_by_ps(pid) if os.name == "posix" else None


def _start_in(name: str) -> str | None:
    try:
        stat = Path("/proc", name, "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name stands in parentheses and may hold any.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[_STATE] in _ENDED else fields[_START]


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        found = subprocess.run(  # noqa: S603 - a number is all that varies
            command, capture_output=True, text=True, timeout=_PS_TIMEOUT, env={**os.environ, "LC_ALL": "C"}, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _exists(pid: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
