"""Detecting that an open backlog file was removed, replaced or overwritten, or has lost its write-ahead log.

SQLite caches pages in memory and keeps the latest changes in a log beside the file. It would therefore continue for
hours with a file that was overwritten, or with a log that was removed. A file that is moved or replaced has another
inode. The other cases are detected by a counter in the table `file`, which each changing transaction increments:

- Only a checkpoint writes the database file itself, and the log's index records its progress. Any other change of size
  or time was made by another program, even if it copied a backup with the same content. A checkpoint never lowers the
  counter in the file, but often leaves it unchanged: while a reader needs an older state, it writes only pages that
  have not changed since.
- The log grows, or restarts once all of it is in the file. A log that is shorter or has another header is read by a
  connection without cached pages, and must contain the last count. A log that was truncated while it was being written
  has a hole, because SQLite continues at its old offset.

A check costs a few calls of `stat` and reads 32 bytes; the counter is read about once in a thousand pages.
"""

from __future__ import annotations

import contextlib
import enum
import os
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.log_index import LogIndex
from ekb_async.backlog.store.sqlite.schema import APPLICATION_ID
from ekb_async.errors import ConfigError, StorageError
from ekb_async.redaction import log_lines
from ekb_async.storage.sqlite.errors import is_locked

_LOG_HEADER_BYTES = 32
_LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_PAGE_SIZE_AT = slice(8, 12)
_FRAME_HEADER_BYTES = 24
_COUNT = "SELECT id, changes FROM file"


class Damage(enum.Enum):
    """What another program has done to an open backlog file."""

    REMOVED = enum.auto()
    """The file is gone, or another one is in its place."""
    OVERWRITTEN = enum.auto()
    """The file has other contents."""
    LOG_REMOVED = enum.auto()
    """The log or its index is gone; this process still has both open."""
    LOG_LOST = enum.auto()
    """The log has other contents, or another one is in its place."""


class _Count(NamedTuple):
    """The ID of a backlog, and the number of transactions that have changed it."""

    id: str
    changes: int


class _Log(NamedTuple):
    """The size of a log, and its header."""

    size: int
    header: bytes

    @property
    def last_frame(self) -> int:
        """The offset of the last frame, 0 if there is none."""
        frame = _FRAME_HEADER_BYTES + int.from_bytes(self.header[_PAGE_SIZE_AT], "big")
        frames = (self.size - _LOG_HEADER_BYTES) // frame
        return _LOG_HEADER_BYTES + (frames - 1) * frame if frames > 0 else 0


class Continuity:
    """An open file and its log, compared with their last known state. Raises `OSError` if they cannot be read.

    SQLite waits `lock_wait` seconds for the lock of another process.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock_wait: float) -> None:
        self.damage: Damage | None = None
        """The damage, once it was found."""
        self._path = path
        self._database = database
        self._lock_wait = lock_wait
        self._count = _Count(*database.execute(_COUNT).fetchone())
        self._before = self._count.changes
        # Strings, because each transaction uses them and a `Path` takes far longer.
        self._file_path = str(path)
        self._log_path, self._index_path = (str(beside(path, kind)) for kind in ("wal", "shm"))
        self._identity = _identity(path)
        self._beside = {each: _identity(each) for each in (self._log_path, self._index_path)}
        self._log = _log(self._log_path)
        self._index = LogIndex.open(self._index_path)
        self._progress = self._index.progress()
        self._stamp = _stamp_if_exists(self._file_path)
        self.in_file = 0
        """The last transaction that is known to be in the database file itself, with all earlier ones."""
        if (found := self._count_in_file()) is not None:
            self.in_file = found.changes
        self._path_fd: int | None = None
        if hasattr(os, "O_PATH"):
            # Closing any other descriptor would release SQLite's locks.
            self._path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the index and the descriptor, after the connection."""
        self._index.close()
        if self._path_fd is not None:
            os.close(self._path_fd)
            self._path_fd = None

    # What this process writes

    def check_count(self) -> None:
        """Raise `StorageError` if the current transaction does not see what was written before."""
        found = self._database.execute(_COUNT).fetchone()
        if found is None or found[0] != self._count.id or found[1] < self._count.changes:
            self.damage = Damage.LOG_LOST
            raise self._error()
        self._before = int(found[1])

    def count_change(self) -> int:
        """Count the current transaction, which was checked, and return the new count; call `written` after commit."""
        self._database.execute("UPDATE file SET changes = ?", (self._before + 1,))
        return self._before + 1

    def written(self, changes: int) -> None:
        """Record that a transaction is on the disk."""
        self._count = self._count._replace(changes=changes)
        with contextlib.suppress(OSError):
            # Accept a checkpoint made or a log begun by the transaction; the next check finds everything else.
            self._is_file_unchanged()
            log = self._continued_log()
            if log is None:
                # The transaction restarted the log; or it was truncated meanwhile, which the next check finds.
                log = _log(self._log_path)
                if log.header == self._log.header or log.header[:4] not in _LOG_MAGIC:
                    return
            self._log = log

    @property
    def changes(self) -> int:
        """The last transaction that is known to be on the disk."""
        return self._count.changes

    # Checks

    def check(self) -> None:
        """Raise `StorageError` if the path has another file, or none, or the file lacks what was written."""
        if self.damage is None:
            self.damage = self._find_lasting_damage()
            if self.damage in {Damage.REMOVED, Damage.LOG_REMOVED}:
                self._checkpoint_log()
        if self.damage is not None:
            raise self._error()

    @property
    def is_lost(self) -> bool:
        """Whether anything written from now on would be lost."""
        if self.damage is Damage.REMOVED:
            return self._path_fd is None or os.fstat(self._path_fd).st_nlink == 0
        return self.damage in {Damage.OVERWRITTEN, Damage.LOG_LOST}

    @property
    def file_is_lost(self) -> bool:
        """Whether the contents of the database file itself are lost as well."""
        return self.is_lost and self.damage is not Damage.LOG_LOST

    def _error(self) -> StorageError:
        if self.damage is Damage.REMOVED:
            return StorageError(f"{self._path}: the file that was opened is gone: it was removed or replaced")
        if self.damage is Damage.OVERWRITTEN:
            return StorageError(f"{self._path}: what was opened is gone: its content was removed or replaced")
        log = beside(self._path, "wal").name
        return StorageError(
            f"{self._path}: what was written last is gone: {log}, which belongs to it, was removed or replaced"
        )

    def _find_lasting_damage(self) -> Damage | None:
        """Return the damage once no other program is moving or writing the file any more."""
        damage, seen, deadline = self._find_damage(), None, 0.0
        while damage is not None:
            now = time.monotonic()
            if seen != (stamp := _stamp_if_exists(self._file_path)):
                seen, deadline = stamp, now + LIMITS.settling_seconds
            elif now > deadline:
                break
            time.sleep(LIMITS.settling_seconds / 10)
            damage = self._find_damage()
        return damage

    def _find_damage(self) -> Damage | None:
        try:
            found = _identity(self._file_path)
        except FileNotFoundError:
            return None if self._has_moved() else Damage.REMOVED
        except OSError:
            return None  # the file system is unavailable for a moment
        if found != self._identity:
            return Damage.REMOVED
        if not self._is_file_unchanged():
            return Damage.OVERWRITTEN
        return self._find_damage_of_log()

    def _find_damage_of_log(self) -> Damage | None:
        try:
            if any(_identity(each) != known for each, known in self._beside.items()):
                return Damage.LOG_LOST
            return None if self._is_log_unchanged() else Damage.LOG_LOST
        except FileNotFoundError:
            foreign = any(os.path.exists(each) and _identity(each) != known for each, known in self._beside.items())  # noqa: PTH110 - a string
            return Damage.LOG_LOST if foreign else Damage.LOG_REMOVED
        except OSError:
            return None  # as above

    def _has_moved(self) -> bool:
        """Return whether the file and its log are elsewhere, and no other file has taken its place."""
        if self._path.exists() or beside(self._path, "wal").exists() or self._path_fd is None:
            return False
        return os.fstat(self._path_fd).st_nlink > 0

    def _is_file_unchanged(self) -> bool:
        """Return whether only checkpoints have written the file, and record their progress."""
        progress, stamp = self._index.progress(), _stamp_if_exists(self._file_path)
        if stamp == self._stamp:
            self._progress = progress or self._progress
            return True
        progress, found = self._index.progress(), self._count_in_file()
        if found is None or found.id != self._count.id or found.changes < self.in_file:
            return False
        if progress is None or stamp != _stamp_if_exists(self._file_path):
            return True  # the file is being written; the next check compares it again
        if progress == self._progress:
            return False
        self._progress, self._stamp, self.in_file = progress, stamp, found.changes
        return True

    def _is_log_unchanged(self) -> bool:
        """Return whether the log was only written and restarted by SQLite, and record its state."""
        if (log := self._continued_log()) is None:
            log = _log(self._log_path)
            if log.size and (log.header[:4] not in _LOG_MAGIC or log.header == self._log.header):
                return False
            found = _read_count(f"{self._path.as_uri()}?mode=rw", self._lock_wait)
            if found is None or found.id != self._count.id or found.changes < self._count.changes:
                return False
        self._log = log
        return True

    def _continued_log(self) -> _Log | None:
        """Return the log if it has grown or is unchanged, None if it is shorter, has another header, or has a hole."""
        log = _log(self._log_path, hole_at=self._log.last_frame)
        return log if log.size >= self._log.size and log.header == self._log.header else None

    def _count_in_file(self) -> _Count | None:
        """Return the count in the database file itself, the last known one if it has none; None if it is no backlog."""
        uri = f"{self._path.as_uri()}?mode=ro&immutable=1"
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as connection:
            # During a checkpoint the file may be shorter than its header says.
            connection.execute("PRAGMA writable_schema = ON")
            if connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
                with contextlib.suppress(sqlite3.Error, TypeError):
                    return _Count(*connection.execute(_COUNT).fetchone())
                return self._count._replace(changes=self.in_file)
        return None

    # Closing

    def _checkpoint_log(self) -> None:
        """Write the log into the file it belongs to, so that it is not taken for the log of the other file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close_database(self) -> None:
        """Close the connection; whatever another program has put in place of the file or its log stays unchanged."""
        with contextlib.suppress(ConfigError, sqlite3.Error):
            self.check()
        if self.damage in {Damage.REMOVED, Damage.LOG_REMOVED}:
            self._checkpoint_log()
        if self.damage not in {Damage.OVERWRITTEN, Damage.LOG_LOST}:
            self._database.close()
            return
        # The last connection that closes writes the log into the file, unless another connection prevents the lock.
        # This second one does, and being read-only it writes nothing when it closes. If nothing is at the path any
        # more, there is nothing to protect.
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(sqlite3.Error):
                uri = f"{self._path.as_uri()}?mode=ro"
                reader = stack.enter_context(closing(sqlite3.connect(uri, uri=True, isolation_level=None)))
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._database.close()
        if self.damage is Damage.OVERWRITTEN:
            self._detach_log()

    def _detach_log(self) -> None:
        """Rename the log, which does not belong to the file that has replaced the backlog."""
        with contextlib.suppress(OSError):
            if _identity(self._log_path) == self._beside[self._log_path] and _log(self._log_path) == self._log:
                renamed = self._path.with_name(f"ekb-log-{secrets.token_hex(4)}")
                Path(self._log_path).rename(renamed)
                Path(self._index_path).unlink()
                log_lines.backlog.warning("the last changes of a backlog that was replaced are in %s", renamed.name)


def beside(path: Path, kind: str) -> Path:
    """Return the path of a file that SQLite keeps beside a database: `wal`, `shm` or `journal`."""
    return path.with_name(f"{path.name}-{kind}")


def _identity(path: Path | str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - called for each transaction
    return found.st_dev, found.st_ino


def _stamp_if_exists(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _log(path: str, *, hole_at: int = 0) -> _Log:
    """Return size and header of a log; one with a hole at the offset `hole_at`, where a page was, counts as empty."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        log = _Log(os.fstat(file).st_size, os.read(file, _LOG_HEADER_BYTES))
        if hole_at:
            os.lseek(file, hole_at, os.SEEK_SET)
            # A frame begins with the number of its page, and pages are numbered from one.
            if not any(os.read(file, 4)):
                return _Log(0, b"")
        return log
    finally:
        os.close(file)


def _read_count(uri: str, lock_wait: float) -> _Count | None:
    """Return the count that a connection without cached pages finds, None if there is none."""
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=lock_wait)) as connection:
            return _Count(*connection.execute(_COUNT).fetchone())
    except (sqlite3.Error, TypeError) as error:
        if is_locked(error):
            raise
        return None
