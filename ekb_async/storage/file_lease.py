"""What shows that a run is alive: a lock on a file of its own beside the backlog.

The system holds the lock for as long as the process lives and frees it at its end, however that comes. So a run that
was killed is taken over at once, and one whose machine slept or whose process was stopped for an hour is not taken for
dead: calls that it has under way would be paid a second time.

Two cases need more than the lock. A process that was forked from the run inherits the lock: it lets go of it when it
begins, and where it could not, the lock does not count once the run's process has ended. A backlog that was moved or
copied may have left the file behind: then the run's process is looked for, by its identity and not by its number alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO, Literal
from weakref import WeakValueDictionary

from ekb_async.errors import ConfigError
from ekb_async.storage.process import ProcessIdentity, this_process

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD_ELSEWHERE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}

_held: WeakValueDictionary[str, Lease] = WeakValueDictionary()
"""The leases of runs of this process, by their tokens."""


def _path_of(backlog: Path, token: str) -> Path:
    """Where the lock of a run is; its name does not grow with that of the backlog, which may be as long as names go."""
    earlier = backlog.with_name(f".{backlog.name}.{token}.lease")
    # A run of an earlier version may be at work.
    return earlier if os.path.exists(earlier) else backlog.with_name(f".ekb-{token}.lease")  # noqa: PTH110 - too long


class Lease:
    """The lock of one run. Taken only within a transaction on the backlog, so that no two try the same at once.

    `process` is the run's process, None if only its number is known.
    """

    def __init__(self, backlog: Path, token: str, process: ProcessIdentity | None) -> None:
        self.token = token
        self._process = process
        self._path = _path_of(backlog, token)
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """Take it for the run it is made for. Raise `ConfigError` if it cannot be had."""
        if not self._lock("xb"):
            raise ConfigError(f"{self._path}: the file cannot be locked")
        _held[self.token] = self

    def take_from_dead(self) -> bool:
        """Return whether its run is dead, in which case it is taken. Raise `ConfigError` if that cannot be told."""
        if self.token in _held:
            return False
        mine = self._process is not None and self._process == this_process()
        if not self._path.exists():
            return mine or self._process is None or not self._process.is_running
        return self._lock("ab") or mine or (self._process is not None and self._process.has_ended)

    def take_if_free(self) -> bool:
        """Return whether nobody who could be asked holds it, in which case it is taken."""
        return self.token not in _held and (not self._path.exists() or self.take_from_dead())

    def release(self) -> None:
        """Free it and leave its file, from which others see that its run is dead."""
        _held.pop(self.token, None)
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Free it and take its file away; nobody looks for it any more."""
        self.release()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _lock(self, mode: Literal["ab", "xb"]) -> bool:
        try:
            file = self._path.open(mode)
        except OSError as error:
            raise ConfigError(f"{self._path}: the lock of a run cannot be made: {error.strerror}") from None
        try:
            _try_lock(file)
        except OSError as error:
            file.close()
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise ConfigError(f"{self._path}: the file cannot be locked: {error.strerror}") from None
        self._file = file
        return True


def _let_go_in_a_fork() -> None:
    for lease in list(_held.values()):
        lease.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_a_fork)
