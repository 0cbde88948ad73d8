"""Opening a backlog file; `continuity` checks later that it is still the file that was opened.

A file is first inspected without changing it, so that a file that is no backlog, or has a newer version, stays as it
is. If a journal lies beside a file, SQLite can read it only by rolling back the interrupted transaction. The header of
such a file is therefore read without SQLite. If it is a backlog (its process was killed while creating it, or while
switching it to a write-ahead log), the transaction is rolled back.

A read-only file that no other program has open is read without a lock: to lock it, SQLite would create files beside it.
Such a file may change at any time; what was read during a change is read again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.continuity import Continuity, beside
from ekb_async.backlog.store.sqlite.schema import APPLICATION_ID, VERSION, migrate
from ekb_async.backlog.store.transactions.adding import spelled
from ekb_async.backlog.store.transactions.purged import digest, plus
from ekb_async.errors import ConfigError, StorageError
from ekb_async.storage.sqlite.errors import is_locked, reason_of

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_VERSION_AT, _APPLICATION_ID_AT = slice(60, 64), slice(68, 72)
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_HEADER_BYTES = 28
_PAGES_BEFORE_AT = slice(16, 20)

_opening = threading.Lock()
"""Held while a file is opened or closed: closing any descriptor of it releases SQLite's locks in this process."""


def _replace_lock() -> None:
    global _opening  # noqa: PLW0603 - the old lock may be held by a thread that a forked process does not have
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)


class BacklogFile:
    """An open backlog file; without the permission to write, or with `read_only`, it is opened for reading.

    SQLite waits `lock_wait` seconds for the lock of another process. Raises `ConfigError` for a file that is no backlog
    or has a newer version, and leaves it unchanged; raises `sqlite3.Error` if it cannot be read or written.
    """

    def __init__(self, path: Path, lock_wait: float, *, read_only: bool = False) -> None:
        self.path = path.resolve()
        self._read_only = read_only
        self._lock_wait = lock_wait
        self._stamp: object = None
        self.continuity: Continuity | None = None
        """The state of a writable file, None if it is open for reading."""
        with _opening, self._config_errors():
            self.is_writable = self._inspect()
            self.database = self._open_for_writing() if self.is_writable else self._open_for_reading()
            try:
                if self.is_writable:
                    self.continuity = Continuity(self.path, self.database, lock_wait)
            except BaseException:
                self.database.close()
                raise

    def close(self) -> None:
        """Close the file. If another file now has its path, leave no `-wal` or `-shm` file beside that one."""
        if self.continuity is None:
            self.database.close()
            return
        try:
            self.continuity.close_database()
        finally:
            with _opening:
                self.continuity.close()

    def check(self) -> None:
        """Raise `StorageError` if the path has another file, or none, or the file lacks what was written."""
        if self.continuity is not None:
            self.continuity.check()

    @contextlib.contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        """Commit the block durably, or roll it back. A commit that changes something is counted, for `continuity`.

        Raises `StorageError` if the file is lost.
        """
        continuity = self.continuity if mode == "IMMEDIATE" else None
        if continuity is not None and continuity.is_lost:
            continuity.check()
        new_count = None
        before = self.database.total_changes
        self.database.execute(f"BEGIN {mode}")
        try:
            if continuity is not None:
                continuity.check_count()
            yield
            if continuity is not None and self.database.total_changes != before:
                new_count = continuity.count_change()
            self.database.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back already.
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            raise
        if continuity is not None and new_count is not None:
            continuity.written(new_count)

    def read(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, which is repeated if the file changes meanwhile."""
        if self.is_writable:
            return work()
        with self._config_errors():
            for _ in range(LIMITS.max_reads_of_changing_file):
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
    def _config_errors(self) -> Iterator[None]:
        """Raise `StorageError` for errors of the file system."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path}: the backlog cannot be read: {error.strerror}") from None

    # Opening

    def _inspect(self) -> bool:
        """Return whether to open for writing: yes for a new file, and for one that must be migrated.

        Raises `ConfigError` for what is no file, `StorageError` if it is no backlog, or only to be read and one of the
        files that are opened for writing.
        """
        path = self.path
        if path.is_dir():
            raise ConfigError(f"{path}: this is a directory, no backlog file")
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no directory {path.parent}")
        if not path.exists() or not path.stat().st_size or _is_in_its_first_transaction(path):
            if self._read_only:
                raise StorageError(f"{path}: there is no such backlog")
            return True
        try:
            application_id, version = self._header_numbers()
        except (sqlite3.DatabaseError, OSError) as error:
            if is_locked(error):
                raise
            raise StorageError(f"{path}: this is no backlog file, or it cannot be read: {reason_of(error)}") from None
        _check_application(path, application_id)
        _check_version(path, version)
        if self._read_only:
            if version < VERSION:
                raise StorageError(
                    f"{path}: this backlog is of an older version; open it once with: ekb backlog status"
                )
            return False
        # An older file has to be migrated; if it is read-only, the migration raises the reason.
        return version < VERSION or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))

    def _header_numbers(self) -> tuple[int, int]:
        """Return the application ID and the schema version of the file."""
        if beside(self.path, "wal").exists() or not beside(self.path, "journal").exists():
            with closing(sqlite3.connect(_for_reading(self.path), uri=True, timeout=self._lock_wait)) as connection:
                return _number(connection, "application_id"), _number(connection, "user_version")
        with self.path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC):
            raise sqlite3.DatabaseError("file is not a database")
        return int.from_bytes(header[_APPLICATION_ID_AT], "big"), int.from_bytes(header[_VERSION_AT], "big")

    def _open_for_writing(self) -> sqlite3.Connection:
        connection = self._connect(self.path)
        try:
            # The first read rolls back an interrupted transaction.
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
            # An answer may have been paid for, so it must survive a power cut once the run has continued.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{LIMITS.page_cache_kib}")
            # Imported rows leave with the temporary file; to overwrite them first takes as long as reading them.
            connection.execute("PRAGMA temp.secure_delete = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_for_reading(self) -> sqlite3.Connection:
        self._stamp = _stamp(self.path)
        return self._connect(_for_reading(self.path))

    def _connect(self, path: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, uri=isinstance(path, str), timeout=self._lock_wait, isolation_level=None)
        connection.create_function("now", 0, time.time)
        connection.create_function("spelled", 2, spelled, deterministic=True)
        connection.create_function("digest", 1, digest, deterministic=True)
        connection.create_function("plus", 2, plus, deterministic=True)
        return connection


def _check_application(path: Path, application_id: int) -> None:
    if application_id != APPLICATION_ID:
        raise StorageError(f"{path}: this is a database, but no backlog")


def _check_version(path: Path, version: int) -> None:
    if version > VERSION:
        raise StorageError(
            f"{path}: this backlog has version {version}, this program supports up to {VERSION}: update ekb-async"
        )


def _is_in_its_first_transaction(path: Path) -> bool:
    """Return whether rolling back the interrupted transaction would leave an empty file."""
    try:
        with beside(path, "journal").open("rb") as journal:
            header = journal.read(_JOURNAL_HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(_JOURNAL_MAGIC) and not any(header[_PAGES_BEFORE_AT])


def _for_reading(path: Path) -> str:
    # If no program has the file open, it can be read without the files that SQLite would leave beside it.
    others = any(beside(path, kind).exists() for kind in ("wal", "journal"))
    mode = "mode=ro" if others else "immutable=1"
    return f"{path.as_uri()}?{mode}"


def _stamp(path: Path) -> object:
    """Return a value that changes when the file changes; "locked" if SQLite locks the file."""
    if beside(path, "wal").exists():
        return "locked"
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
