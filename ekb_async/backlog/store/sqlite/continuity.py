"""Knowing that an open backlog file is still the one that was opened, with all that was written into it.

SQLite keeps pages in memory and what was written last in a log beside the file, so it would go on for hours with a file
that somebody has written over, or with a log that was removed. A file that is moved or replaced has another inode. For
the rest each transaction counts itself in the table `file`:

- Only a checkpoint writes the file proper, and the index of the log says how far it has come. Any other change of its
  size or time is somebody else's, also if a backup with the same content was copied over it. A checkpoint brings no
  smaller count into the file, but often the same one: as long as a reader needs an older state, it writes only pages
  that have not changed since.
- The log grows, or begins anew when all of it is in the file. One that is shorter or begins otherwise is read by a
  connection that has no pages in memory, and has to lead to the last count. One that was cut while it was written has
  a hole, since SQLite writes on where it was.

A look costs a few calls of `stat` and reads 32 bytes; the counts are read about once in a thousand pages.
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

from ekb_async.backlog.store.sqlite.log_index import LogIndex
from ekb_async.backlog.store.sqlite.patience import is_locked
from ekb_async.backlog.store.sqlite.schema import APPLICATION_ID
from ekb_async.errors import ConfigError
from ekb_async.redaction import log_lines

_MOVING = 0.3  # seconds that moving a file and those beside it may take, or a pause in writing it
_LOG_HEADER_BYTES = 32
_LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_PAGE_SIZE_AT = slice(8, 12)
_FRAME_HEADER_BYTES = 24
_COUNT = "SELECT id, changes FROM file"


class Fate(enum.Enum):
    """What has become of a file that is not as it was left."""

    REMOVED = enum.auto()
    """It is gone, or another one is in its place."""
    OVERWRITTEN = enum.auto()
    """Another content is in it."""
    LOG_REMOVED = enum.auto()
    """Its log, or the index of that, is gone; both are still open here."""
    LOG_LOST = enum.auto()
    """Its log has another content, or another one is in its place."""


class _Count(NamedTuple):
    """Which backlog it is, and how many transactions have changed it."""

    id: str
    changes: int


class _Log(NamedTuple):
    """How long a log is, and how it begins."""

    size: int
    header: bytes

    @property
    def last_frame(self) -> int:
        """Where its last page begins, 0 if it has none."""
        frame = _FRAME_HEADER_BYTES + int.from_bytes(self.header[_PAGE_SIZE_AT], "big")
        frames = (self.size - _LOG_HEADER_BYTES) // frame
        return _LOG_HEADER_BYTES + (frames - 1) * frame if frames > 0 else 0


class Continuity:
    """An open file and those beside it, compared with how they were left. Raises `OSError` if they cannot be read.

    `busy` is for how many seconds SQLite waits for the lock of another process.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, busy: float) -> None:
        self.fate: Fate | None = None
        """What has become of it, once that is known."""
        self._path = path
        self._database = database
        self._busy = busy
        self._count = _Count(*database.execute(_COUNT).fetchone())
        self._before = self._count.changes
        # Texts, since each transaction looks at them and a `Path` takes far longer.
        self._place = str(path)
        self._log_path, self._index_path = (str(beside(path, kind)) for kind in ("wal", "shm"))
        self._identity = _identity(path)
        self._beside = {each: _identity(each) for each in (self._log_path, self._index_path)}
        self._log = _log(self._log_path)
        self._index = LogIndex.open(self._index_path)
        self._progress = self._index.progress()
        self._stamp = _stamp_if_there(self._place)
        self.in_file = 0
        """The transaction up to which all is in the file proper, as far as that was seen."""
        if (found := self._count_in_file()) is not None:
            self.in_file = found.changes
        self._kept: int | None = None
        if hasattr(os, "O_PATH"):
            # Unlike any other, closing it takes no lock away.
            self._kept = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        """Close what it keeps open, behind the connection."""
        self._index.close()
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    # What the owner writes

    def check_count(self) -> None:
        """Raise `ConfigError` if a transaction that has begun does not see what was written before."""
        found = self._database.execute(_COUNT).fetchone()
        if found is None or found[0] != self._count.id or found[1] < self._count.changes:
            self.fate = Fate.LOG_LOST
            raise self._gone()
        self._before = int(found[1])

    def count_change(self) -> int:
        """Count a transaction that was checked, within it; the new count. `written` follows when it is on the disk."""
        self._database.execute("UPDATE file SET changes = ?", (self._before + 1,))
        return self._before + 1

    def written(self, changes: int) -> None:
        """Take in that a transaction is on the disk."""
        self._count = self._count._replace(changes=changes)
        with contextlib.suppress(OSError):
            # Takes in a checkpoint that it has made, or a log that it has begun; all else the next look finds.
            self._is_file_as_left()
            log = self._log_that_goes_on()
            if log is None:
                # The transaction has begun it anew; or it was cut meanwhile, which the next look finds.
                log = _log(self._log_path)
                if log.header == self._log.header or log.header[:4] not in _LOG_MAGIC:
                    return
            self._log = log

    @property
    def changes(self) -> int:
        """The last transaction of which is known that it is on the disk."""
        return self._count.changes

    # Looking

    def check(self) -> None:
        """Raise `ConfigError` if what is at its path is another file, or none, or lacks what was written."""
        if self.fate is None:
            self.fate = self._settled_fate()
            if self.fate in {Fate.REMOVED, Fate.LOG_REMOVED}:
                self._settle_log()
        if self.fate is not None:
            raise self._gone()

    @property
    def is_lost(self) -> bool:
        """Whether nobody will find what is written from now on."""
        if self.fate is Fate.REMOVED:
            return self._kept is None or os.fstat(self._kept).st_nlink == 0
        return self.fate in {Fate.OVERWRITTEN, Fate.LOG_LOST}

    @property
    def file_is_lost(self) -> bool:
        """Whether also what was in the file proper is lost."""
        return self.is_lost and self.fate is not Fate.LOG_LOST

    def _gone(self) -> ConfigError:
        if self.fate is Fate.REMOVED:
            return ConfigError(f"{self._path}: the file that was opened is there no more: it was removed or replaced")
        if self.fate is Fate.OVERWRITTEN:
            return ConfigError(f"{self._path}: what was opened is there no more: its content was removed or replaced")
        log = beside(self._path, "wal").name
        return ConfigError(
            f"{self._path}: what was written last is there no more: {log}, which belongs to it, was removed or replaced"
        )

    def _settled_fate(self) -> Fate | None:
        """What has become of it when nobody is moving or writing it."""
        fate, seen, deadline = self._look(), None, 0.0
        while fate is not None:
            now = time.monotonic()
            if seen != (stamp := _stamp_if_there(self._place)):
                seen, deadline = stamp, now + _MOVING
            elif now > deadline:
                break
            time.sleep(_MOVING / 10)
            fate = self._look()
        return fate

    def _look(self) -> Fate | None:
        try:
            found = _identity(self._place)
        except FileNotFoundError:
            return None if self._has_moved() else Fate.REMOVED
        except OSError:
            return None  # a file system that is away for a moment
        if found != self._identity:
            return Fate.REMOVED
        if not self._is_file_as_left():
            return Fate.OVERWRITTEN
        return self._look_beside()

    def _look_beside(self) -> Fate | None:
        try:
            if any(_identity(each) != known for each, known in self._beside.items()):
                return Fate.LOG_LOST
            return None if self._is_log_as_left() else Fate.LOG_LOST
        except FileNotFoundError:
            strange = any(os.path.exists(each) and _identity(each) != known for each, known in self._beside.items())  # noqa: PTH110 - a text
            return Fate.LOG_LOST if strange else Fate.LOG_REMOVED
        except OSError:
            return None  # as above

    def _has_moved(self) -> bool:
        """Whether it is elsewhere with all that belongs to it, and nothing has taken its place."""
        if self._path.exists() or beside(self._path, "wal").exists() or self._kept is None:
            return False
        return os.fstat(self._kept).st_nlink > 0

    def _is_file_as_left(self) -> bool:
        progress, stamp = self._index.progress(), _stamp_if_there(self._place)
        if stamp == self._stamp:
            self._progress = progress or self._progress
            return True
        progress, found = self._index.progress(), self._count_in_file()
        if found is None or found.id != self._count.id or found.changes < self.in_file:
            return False
        if progress is None or stamp != _stamp_if_there(self._place):
            return True  # it is being written, and looked at again
        if progress == self._progress:
            return False
        self._progress, self._stamp, self.in_file = progress, stamp, found.changes
        return True

    def _is_log_as_left(self) -> bool:
        if (log := self._log_that_goes_on()) is None:
            log = _log(self._log_path)
            if log.size and (log.header[:4] not in _LOG_MAGIC or log.header == self._log.header):
                return False
            found = _count_by(f"{self._path.as_uri()}?mode=rw", self._busy)
            if found is None or found.id != self._count.id or found.changes < self._count.changes:
                return False
        self._log = log
        return True

    def _log_that_goes_on(self) -> _Log | None:
        """The log if it has grown or stayed as it was, None if it is shorter, begins otherwise, or has a hole."""
        log = _log(self._log_path, hole_at=self._log.last_frame)
        return log if log.size >= self._log.size and log.header == self._log.header else None

    def _count_in_file(self) -> _Count | None:
        """The count in the file proper, the last known one if there is none by itself; None if it is no backlog."""
        uri = f"{self._path.as_uri()}?mode=ro&immutable=1"
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as connection:
            # A part of a newer state may be shorter than it says.
            connection.execute("PRAGMA writable_schema = ON")
            if connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
                with contextlib.suppress(sqlite3.Error, TypeError):
                    return _Count(*connection.execute(_COUNT).fetchone())
                return self._count._replace(changes=self.in_file)
        return None

    # Leaving

    def _settle_log(self) -> None:
        """Put what is in the log into the file it belongs to, so that nobody takes it for the other file's."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close_database(self) -> None:
        """Close the connection; what others have put in the place of the file or of its log stays as it is."""
        with contextlib.suppress(ConfigError, sqlite3.Error):
            self.check()
        if self.fate in {Fate.REMOVED, Fate.LOG_REMOVED}:
            self._settle_log()
        if self.fate not in {Fate.OVERWRITTEN, Fate.LOG_LOST}:
            self._database.close()
            return
        # The last connection of a file puts the log into it, unless it cannot lock it because there is another one; and
        # that one may only read.
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as guard:
            with contextlib.suppress(sqlite3.Error):
                guard.execute("BEGIN")
                guard.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._database.close()
        if self.fate is Fate.OVERWRITTEN:
            self._part_from_log()

    def _part_from_log(self) -> None:
        """Take the log away from the file that it does not belong to any more."""
        with contextlib.suppress(OSError):
            if _identity(self._log_path) == self._beside[self._log_path] and _log(self._log_path) == self._log:
                kept = self._path.with_name(f"ekb-log-{secrets.token_hex(4)}")
                Path(self._log_path).rename(kept)
                Path(self._index_path).unlink()
                log_lines.backlog.warning("what was written last into a backlog that was replaced is in %s", kept.name)


def beside(path: Path, kind: str) -> Path:
    """One of the files that SQLite keeps beside a database: `wal`, `shm` or `journal`."""
    return path.with_name(f"{path.name}-{kind}")


def _identity(path: Path | str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - each transaction does
    return found.st_dev, found.st_ino


def _stamp_if_there(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _log(path: str, *, hole_at: int = 0) -> _Log:
    """The log as it is; one that has no page where there was one counts as empty."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        log = _Log(os.fstat(file).st_size, os.read(file, _LOG_HEADER_BYTES))
        if hole_at:
            os.lseek(file, hole_at, os.SEEK_SET)
            # Pages are numbered from one.
            if not any(os.read(file, 4)):
                return _Log(0, b"")
        return log
    finally:
        os.close(file)


def _count_by(uri: str, busy: float) -> _Count | None:
    """The count that a connection finds that has nothing in memory, None if it finds none."""
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=busy)) as connection:
            return _Count(*connection.execute(_COUNT).fetchone())
    except (sqlite3.Error, TypeError) as error:
        if is_locked(error):
            raise
        return None
