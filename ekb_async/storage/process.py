"""The identity of a process, which is more than its number.

The number of an ended process is given to another one, and in a container it is often 1. So an identity also has the
boot of the machine, the namespace that the number belongs to, and when the process was started.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

from ekb_async.storage.limits import LIMITS

_HAS_PROC = platform.system() == "Linux"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START = 0, 19  # among the fields of `stat` that follow the command's name
_ENDED = {"Z", "X", "x"}  # the process has ended, and its parent has not collected its exit status


class ProcessIdentity(NamedTuple):
    """What distinguishes a process from every other one."""

    pid: int
    host: str
    """The ID of the machine's boot; the machine's name where the system has no such ID."""
    namespace: str
    """The namespace of process numbers (Linux), else empty."""
    start: str
    """When the process was started, as the system writes it; empty if that is not available."""

    @classmethod
    def parse(cls, pid: int, text: str) -> Self | None:
        """Return the identity that was written as text by `kept`; None if it is incomplete."""
        host, _, rest = text.partition("|")
        namespace, _, start = rest.partition("|")
        return cls(pid, host, namespace, start) if host and start else None

    @property
    def kept(self) -> str:
        """The identity without the number, as text; empty if the system does not provide it."""
        return "|".join((self.host, self.namespace, self.start)) if self.start else ""

    @property
    def is_running(self) -> bool:
        """Whether the process is running; False for one of another boot or namespace."""
        here = this_process()
        if (self.host, self.namespace) != (here.host, here.namespace):
            return False
        if self.pid == here.pid:
            return self == here
        start = _start_of(self.pid)
        # A process that exists but cannot be read belongs to another user.
        return _exists(self.pid) if start is None else start == self.start

    @property
    def has_ended(self) -> bool:
        """Whether the process has certainly ended; False for one of another boot or namespace."""
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
    """Return when a process was started, "" if it has ended, None if the system does not provide it."""
    if _HAS_PROC:
        # `/proc` may belong to another namespace.
        return _start_in(str(pid)) if Path("/proc/self").readlink().name == str(os.getpid()) else None
    return _start_by_ps(pid) if os.name == "posix" else None


def _start_in(name: str) -> str | None:
    try:
        stat = Path("/proc", name, "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name is in parentheses and may contain some itself.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[_STATE] in _ENDED else fields[_START]


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        result = subprocess.run(  # noqa: S603 - a number is all that varies
            command,
            capture_output=True,
            text=True,
            timeout=LIMITS.ps_timeout_seconds,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


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
