"""What the index of a write-ahead log says of checkpoints.

SQLite notes there how much of the log is in the database file: how far a checkpoint will bring it, before the first
page is written, and how far it is, after the last one. While the two differ, a checkpoint is under way or was
interrupted. See "WAL-mode file format" in the documentation of SQLite.

Closing a file takes away the locks that SQLite holds on it in the same process. So a process opens an index once, and
closes it only if it has been removed, which the last connection does.
"""

from __future__ import annotations

import os
import struct
from typing import ClassVar, NamedTuple

_LOG_AND_PROGRESS = struct.Struct("=32x8s56xI28xI")


class Progress(NamedTuple):
    """How much of a log is in the file."""

    log: bytes
    """Differs for each log that begins."""
    done: int
    """How many of its pages, in their order, need not be read from it."""


class LogIndex:
    """The index of a log, of a connection that stays open as long; made by `open`, one at a time.

    On Windows, where reading a file locks it, nothing is known of checkpoints.
    """

    _opened: ClassVar[dict[tuple[int, int], LogIndex]] = {}

    def __init__(self, path: str) -> None:
        self._users = 0
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if hasattr(os, "pread") else None

    @classmethod
    def open(cls, path: str) -> LogIndex:
        """Return the index at a path, which is to be closed behind the connection."""
        found = os.stat(path)  # noqa: PTH116 - as given
        identity = found.st_dev, found.st_ino
        if identity not in cls._opened:
            cls._opened[identity] = cls(path)
        index = cls._opened[identity]
        index._users += 1
        return index

    def close(self) -> None:
        """Close what has been removed and nobody uses."""
        self._users -= 1
        for identity, index in [*self._opened.items()]:
            if not index._users and (index._file is None or not os.fstat(index._file).st_nlink):
                if index._file is not None:
                    os.close(index._file)
                del self._opened[identity]

    def progress(self) -> Progress | None:
        """Return how far checkpoints have come; None while one is under way, or was interrupted."""
        if self._file is None:
            return None
        log, done, attempted = _LOG_AND_PROGRESS.unpack(os.pread(self._file, _LOG_AND_PROGRESS.size, 0))
        return Progress(log, done) if attempted <= done else None
