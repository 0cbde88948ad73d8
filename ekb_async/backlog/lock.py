"""One run at a time on one backlog: two would each take the other's calls for interrupted and pay them again."""

from __future__ import annotations

import contextlib
import errno
import os
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


class RunLock:
    """A lock beside the backlog file. The system frees it when its process dies, however that happens."""

    def __init__(self, backlog: Path) -> None:
        self._backlog = backlog
        self._path = backlog.with_name(f"{backlog.name}-run")
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Raises `ConfigError` if another run holds it, be it through this very object, or if it cannot be had."""
        if self._file is not None:
            raise self._refused()
        while self._file is None:
            file = self._open()
            try:
                _try_lock(file)
            except OSError as error:
                file.close()
                raise self._refused(error) from None
            if self._is_current(file):
                self._file = file
            else:
                file.close()

    def release(self) -> None:
        """Frees it and takes its file away."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # some systems keep a file that is open
                self._path.unlink()
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        try:
            return self._path.open("ab")
        except OSError as error:
            raise ConfigError(f"{self._path}: the lock of a run cannot be made: {error.strerror}") from None

    def _refused(self, error: OSError | None = None) -> ConfigError:
        if error is None or error.errno in _HELD_ELSEWHERE:
            return ConfigError(f"{self._backlog}: another run is working on this backlog")
        return ConfigError(f"{self._path}: the file cannot be locked: {error.strerror}")

    def _is_current(self, file: BinaryIO) -> bool:
        """Whether the file is still there; its last holder may have taken it away between opening and locking."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False
