"""One run at a time on one backlog: two would each take the other's calls for interrupted and pay them again."""

from __future__ import annotations

import contextlib
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


class RunLock:
    """A lock beside the backlog file. The system frees it when its process dies, however that happens."""

    def __init__(self, backlog: Path) -> None:
        self._backlog = backlog
        self._path = backlog.with_name(f"{backlog.name}-run")
        self._file: BinaryIO | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self) -> None:
        """Raises `ConfigError` if another run holds it."""
        while self._file is None:
            file = self._path.open("ab")
            try:
                _try_lock(file)
            except OSError:
                file.close()
                raise ConfigError(f"{self._backlog}: another run is working on this backlog") from None
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

    def _is_current(self, file: BinaryIO) -> bool:
        """Whether the file is still there; its last holder may have taken it away between opening and locking."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False
