"""Opening a backlog file; `continuity` knows later whether it is still the one that was opened.

A file is looked at first without changing it, so that one that is no backlog, or is newer than this version, stays as
it is. SQLite could read a file beside which a journal lies only by undoing what was interrupted, so the mark of such a
file is looked at past it: a backlog whose process was killed while it was made, or turned to a write-ahead log, is
undone when it is known to be one.

What may only be read is read without a lock where nobody has it open, since SQLite would need files beside it. Then it
may change at any time; what was read while it did is read again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ekb_async.backlog.store.sqlite.continuity import Continuity, beside
from ekb_async.backlog.store.sqlite.patience import is_locked
from ekb_async.backlog.store.sqlite.schema import APPLICATION_ID, VERSION, migrate
from ekb_async.errors import ConfigError

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_VERSION_AT, _APPLICATION_ID_AT = slice(60, 64), slice(68, 72)
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_HEADER_BYTES = 28
_PAGES_BEFORE_AT = slice(16, 20)
_LOOKS = 100  # a file that changes whenever it is read is read no more

_opening = threading.Lock()
"""Closing a file takes away the locks that SQLite holds on it in this process, so nobody reads past it meanwhile."""


def _make_lock_anew() -> None:
    global _opening  # noqa: PLW0603 - a thread that another process has not may hold the old one
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock_anew)


class BacklogFile:
    """An open backlog file; one that may not be written is open for reading.

    `busy` is for how many seconds SQLite waits for the lock of another process. Raises `ConfigError` for a file that is
    no backlog or of a newer version, and leaves it unchanged; `sqlite3.Error` if it cannot be read or written.
    """

    def __init__(self, path: Path, busy: float) -> None:
        self.path = path.resolve()
        self._busy = busy
        self._stamp: object = None
        self.continuity: Continuity | None = None
        """What is known of a file that may be written."""
        with _opening, self._told():
            self.is_writable = self._look()
            self.database = self._open_for_writing() if self.is_writable else self._open_for_reading()
            try:
                if self.is_writable:
                    self.continuity = Continuity(self.path, self.database, busy)
            except BaseException:
                self.database.close()
                raise

    def close(self) -> None:
        """Close it; what another file has taken the place of leaves nothing beside that."""
        if self.continuity is None:
            self.database.close()
            return
        try:
            self.continuity.close_database()
        finally:
            with _opening:
                self.continuity.close()

    def check(self) -> None:
        """Raise `ConfigError` if what is at its path is another file, or none, or lacks what was written."""
        if self.continuity is not None:
            self.continuity.check()

    @contextlib.contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        """What is written in the block is on the disk behind it, or undone. One that changes the file counts itself.

        Raises `ConfigError` if nobody would find what is written.
        """
        watched = self.continuity if mode == "IMMEDIATE" else None
        if watched is not None and watched.is_lost:
            watched.check()
        changed = None
        before = self.database.total_changes
        self.database.execute(f"BEGIN {mode}")
        try:
            if watched is not None:
                watched.check_count()
            yield
            if watched is not None and self.database.total_changes != before:
                changed = watched.count_change()
            self.database.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself already where the disk was full.
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            raise
        if watched is not None and changed is not None:
            watched.written(changed)

    def read(self, work: Callable[[], T]) -> T:
        """Return what reading brings, of one state of the file."""
        if self.is_writable:
            return work()
        with self._told():
            for _ in range(_LOOKS):
                if self._stamp != (stamp := _stamp(self.path)):
                    self.database.close()
                    self.database = self._open_for_reading()
                    continue
                try:
                    found = work()
                except sqlite3.DatabaseError:
                    if stamp == _stamp(self.path):
                        raise
                else:
                    if stamp == _stamp(self.path):
                        return found
        raise sqlite3.OperationalError("the file changes all the time")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Raise `ConfigError` for what the file system refuses."""
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{self.path}: the backlog cannot be read: {error.strerror}") from None

    # Opening

    def _look(self) -> bool:
        """Whether it may be written. Raises `ConfigError` for what is no backlog."""
        path = self.path
        if path.is_dir():
            raise ConfigError(f"{path}: this is a directory, no backlog file")
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no directory {path.parent}")
        if not path.exists() or not path.stat().st_size or _is_in_its_first_transaction(path):
            return True
        try:
            application_id, version = self._marks()
        except (sqlite3.DatabaseError, OSError) as error:
            if is_locked(error):
                raise
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path}: this is no backlog file, or it cannot be read: {reason}") from None
        _check_application(path, application_id)
        _check_version(path, version)
        # What an older version has made has to be brought up to date, or says why it cannot be.
        return version < VERSION or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))

    def _marks(self) -> tuple[int, int]:
        """The application's number and the version of the file."""
        if beside(self.path, "wal").exists() or not beside(self.path, "journal").exists():
            with closing(sqlite3.connect(_for_reading(self.path), uri=True, timeout=self._busy)) as connection:
                return _number(connection, "application_id"), _number(connection, "user_version")
        with self.path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC):
            raise sqlite3.DatabaseError("file is not a database")
        return int.from_bytes(header[_APPLICATION_ID_AT], "big"), int.from_bytes(header[_VERSION_AT], "big")

    def _open_for_writing(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._busy, isolation_level=None)
        try:
            # The first reading undoes what was interrupted.
            if _number(connection, "user_version") < VERSION:
                connection.execute("BEGIN IMMEDIATE")
                if _number(connection, "schema_version"):
                    _check_application(self.path, _number(connection, "application_id"))
                migrate(connection, _number(connection, "user_version"))
                connection.execute("COMMIT")
            _check_application(self.path, _number(connection, "application_id"))
            _check_version(self.path, _number(connection, "user_version"))
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            # An answer may have been paid for: it is on the disk before the run goes on, a power cut included.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -32000")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_for_reading(self) -> sqlite3.Connection:
        self._stamp = _stamp(self.path)
        return sqlite3.connect(_for_reading(self.path), uri=True, timeout=self._busy, isolation_level=None)


def _check_application(path: Path, application_id: int) -> None:
    if application_id != APPLICATION_ID:
        raise ConfigError(f"{path}: this is a database, but no backlog")


def _check_version(path: Path, version: int) -> None:
    if version > VERSION:
        raise ConfigError(
            f"{path}: this backlog is of version {version}, this program knows up to {VERSION}: update ekb-async"
        )


def _is_in_its_first_transaction(path: Path) -> bool:
    """Whether undoing what was interrupted leaves an empty file."""
    try:
        with beside(path, "journal").open("rb") as journal:
            header = journal.read(_JOURNAL_HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(_JOURNAL_MAGIC) and not any(header[_PAGES_BEFORE_AT])


def _for_reading(path: Path) -> str:
    # Where nobody has the file open, it can be read without the files that SQLite would leave beside it.
    others = any(beside(path, kind).exists() for kind in ("wal", "journal"))
    mode = "mode=ro" if others else "immutable=1"
    return f"{path.as_uri()}?{mode}"


def _stamp(path: Path) -> object:
    """What differs when a file that is read without a lock has changed."""
    if beside(path, "wal").exists():
        return "locked"
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
