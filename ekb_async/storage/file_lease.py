"""The lease of a run on a backlog file: a lock on a file of its own beside the backlog, held while the run is alive.

The system keeps the lock while the process lives and frees it when the process ends, for whatever reason. So a run that
was killed is taken over at once, and a run whose machine slept or whose process was stopped for an hour is not
considered dead: its calls under way would be paid for a second time.

Two cases need more than the lock. A process that was forked from the run inherits the lock: it releases the lock when
it starts, and where it cannot, the lock does not count once the run's process has ended. A backlog that was moved or
copied may have left the lock file behind: then the run's process is searched for, by its identity and not by its number
alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO, Literal
from weakref import WeakValueDictionary

from ekb_async.errors import StorageError
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
"""The leases that this process holds, by their tokens."""


def _path_of(backlog: Path, token: str) -> Path:
    """Return the path of a run's lock file; its name does not contain the backlog's, which may have any length."""
    earlier = backlog.with_name(f".{backlog.name}.{token}.lease")
    # A run of an earlier version may be active. `os.path.exists` accepts names that are too long.
    return earlier if os.path.exists(earlier) else backlog.with_name(f".ekb-{token}.lease")  # noqa: PTH110


class Lease:
    """The lock of one run, taken only within a transaction on the backlog, so that no two processes compete for it.

    `process` is the run's process, None if only its number is known.
    """

    def __init__(self, backlog: Path, token: str, process: ProcessIdentity | None) -> None:
        self.token = token
        self._process = process
        self._path = _path_of(backlog, token)
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """Take the lock for a new run. Raises `StorageError` if that fails."""
        if not self._lock("xb"):
            raise StorageError(f"{self._path}: the file cannot be locked")
        _held[self.token] = self

    def take_from_dead(self) -> bool:
        """Return whether the run is dead, and take its lock if so. Raises `StorageError` if that cannot be decided."""
        if self.token in _held:
            return False
        is_own = self._process is not None and self._process == this_process()
        if not self._path.exists():
            return is_own or self._process is None or not self._process.is_running
        return self._lock("ab") or is_own or (self._process is not None and self._process.has_ended)

    def take_if_free(self) -> bool:
        """Return whether no run that can be checked holds the lock, and take it if so."""
        return self.token not in _held and (not self._path.exists() or self.take_from_dead())

    def release(self) -> None:
        """Free the lock and leave its file, which shows other processes that the run is dead."""
        _held.pop(self.token, None)
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Free the lock and delete its file, which is not needed any more."""
        self.release()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _lock(self, mode: Literal["ab", "xb"]) -> bool:
        try:
            file = self._path.open(mode)
        except OSError as error:
            raise StorageError(f"{self._path}: the lock file of a run cannot be opened: {error.strerror}") from None
        try:
            _try_lock(file)
        except OSError as error:
            file.close()
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise StorageError(f"{self._path}: the file cannot be locked: {error.strerror}") from None
        self._file = file
        return True


def _release_in_fork() -> None:
    """Release the leases in a forked process, which has inherited their locks."""
    for lease in list(_held.values()):
        lease.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_fork)
