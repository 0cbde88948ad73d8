"""What shows that a run is alive: a lock on a file of its own beside the backlog.

The system holds the lock for as long as the process lives and frees it at its death, however that comes. So a run that
was killed is taken over at once, and one whose machine slept or whose process was stopped for an hour is not taken for
dead: calls that it has under way would be paid a second time.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from pathlib import Path
from typing import BinaryIO

from ekb_async.errors import ConfigError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD_ELSEWHERE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


class Lease:
    """The lock of one run. Taken only within a transaction on the backlog, so that no two try the same at once."""

    def __init__(self, backlog: Path, run_id: int) -> None:
        self._path = backlog.with_name(f"{backlog.name}-run-{run_id}")
        self._file: BinaryIO | None = None

    def take(self) -> bool:
        """Whether it could be had, which means that no living run has it. Raises `ConfigError` if it cannot be told."""
        try:
            file = self._path.open("ab")
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

    def give_up(self) -> None:
        """Frees it and takes its file away; nobody looks for it any more."""
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(OSError):
                self._path.unlink()
