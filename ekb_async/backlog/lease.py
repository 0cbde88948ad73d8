"""What shows that a run is alive: a lock on a file of its own beside the backlog.

The system holds the lock for as long as the process lives and frees it at its death, however that comes. So a run that
was killed is taken over at once, and one whose machine slept or whose process was stopped for an hour is not taken for
dead: calls that it has under way would be paid a second time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO, Literal

from ekb_async.errors import ConfigError

if sys.platform == "win32":
    import msvcrt

    def _is_alive(_pid: int) -> bool:
        return False  # a file that is open there can be neither moved nor removed

    def _try_lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _is_alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD_ELSEWHERE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


class Lease:
    """The lock of one run. Taken only within a transaction on the backlog, so that no two try the same at once."""

    def __init__(self, backlog: Path, token: str, pid: int) -> None:
        self.token = token
        self.pid = pid
        self._path = backlog.with_name(f".{backlog.name}.{token}.lease")
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """Takes it for the run it is made for. Raises `ConfigError` if it cannot be had."""
        if not self._lock("xb"):
            raise ConfigError(f"{self._path}: the file cannot be locked")

    def take_from_dead(self) -> bool:
        """Whether its run is dead, so that it could be taken. Raises `ConfigError` if that cannot be told.

        A file that is gone says nothing, for the backlog may have been moved or copied; then the process is looked for.
        """
        if not self._path.exists():
            return not _is_alive(self.pid)
        return self._lock("ab")

    def release(self) -> None:
        """Frees it and leaves its file, from which others see that its run is dead."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def give_up(self) -> None:
        """Frees it and takes its file away; nobody looks for it any more."""
        if self._file is not None:
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
