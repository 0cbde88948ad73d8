"""The progress of checkpoints, read from the index of a write-ahead log.

SQLite records there how much of the log is in the database file: before a checkpoint writes its first page, the number
of pages that it will have written; after the last page, the number that it has written. While the two differ, a
checkpoint is under way or was interrupted. See "WAL-mode file format" in the documentation of SQLite.

Closing a file releases the locks that SQLite holds on it in the same process. A process therefore opens an index once,
and closes it only after it was removed, which SQLite's last connection does.
"""

from __future__ import annotations

import os
import struct
from typing import ClassVar, NamedTuple

_LOG_AND_PROGRESS = struct.Struct("=32x8s56xI28xI")


class Progress(NamedTuple):
    """How much of a log is in the database file."""

    log: bytes
    """Bytes that differ whenever the log restarts."""
    done: int
    """How many pages of the log, from its start, are in the file."""


class LogIndex:
    """The index of the log of an open connection; opened by `open`, which is not safe for concurrent threads.

    On Windows, where reading a file locks it, the progress of checkpoints is always unknown.
    """

    _opened: ClassVar[dict[tuple[int, int], LogIndex]] = {}

    def __init__(self, path: str) -> None:
        self._users = 0
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if hasattr(os, "pread") else None

    @classmethod
    def open(cls, path: str) -> LogIndex:
        """Return the index at a path; it must be closed after the connection."""
        found = os.stat(path)  # noqa: PTH116 - a string
        identity = found.st_dev, found.st_ino
        if identity not in cls._opened:
            cls._opened[identity] = cls(path)
        index = cls._opened[identity]
        index._users += 1
        return index

    def close(self) -> None:
        """Release this index, and close all indexes that are unused and were removed from the disk."""
        self._users -= 1
        for identity, index in [*self._opened.items()]:
            if not index._users and (index._file is None or not os.fstat(index._file).st_nlink):
                if index._file is not None:
                    os.close(index._file)
                del self._opened[identity]

    def progress(self) -> Progress | None:
        """Return the progress of checkpoints, None if one is under way or was interrupted."""
        if self._file is None:
            return None
        log, done, attempted = _LOG_AND_PROGRESS.unpack(os.pread(self._file, _LOG_AND_PROGRESS.size, 0))
        return Progress(log, done) if attempted <= done else None
