"""The file in which all processes of a user on a machine keep one pace.

It is an SQLite file in the user's state directory, and contains only a row of numbers per call, under a hash. Each
change is one short transaction of about a tenth of a millisecond. Changes are journalled, so that a process killed in
the middle of one leaves an intact file, but not flushed to the disk: a power cut may undo the last ones, which is
harmless. The journal is the rollback journal, not the write-ahead log: there is one file, and processes that open it at
the same time have no mode to agree on.

Nothing in the file is worth keeping for long. A damaged file is replaced, and if the file is deleted, all processes
meet again in the next one. A file that this package did not write is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from ekb_async.errors import StorageError
from ekb_async.pacing.limits import LIMITS
from ekb_async.pacing.rule import Bucket
from ekb_async.storage.sqlite.errors import is_damage, reason_of
from ekb_async.storage.sqlite.private_files import FileFormat, connect, initialise, is_initialised
from ekb_async.storage.state_directory import ensure_private

T = TypeVar("T")

_NAME = "pace.sqlite"
_TABLE = """
CREATE TABLE bucket (
    key TEXT PRIMARY KEY,
    latest REAL NOT NULL,
    not_before REAL NOT NULL,
    widening REAL NOT NULL,
    widened REAL NOT NULL,
    issued INTEGER NOT NULL,
    served INTEGER NOT NULL,
    slowest REAL NOT NULL
) WITHOUT ROWID
"""
# What was learned of the margin; processes of an earlier version write rows without it, and may do so at any time.
_ADD_LEARNED = """
ALTER TABLE bucket ADD COLUMN previous REAL NOT NULL DEFAULT -9e999;
ALTER TABLE bucket ADD COLUMN at_once REAL NOT NULL DEFAULT -9e999;
ALTER TABLE bucket ADD COLUMN unhurried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bucket ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bucket ADD COLUMN refused_margin REAL NOT NULL DEFAULT 0;
ALTER TABLE bucket ADD COLUMN congestion REAL NOT NULL DEFAULT 0
"""
_FORMAT = FileFormat(_TABLE, application_id=0x656B6270)
_HAS_LEARNED = "SELECT count(*) FROM pragma_table_info('bucket') WHERE name = 'congestion'"
_READ = """
SELECT latest, not_before, widening, widened, issued, served, slowest, previous, at_once, unhurried, accepted,
    refused_margin, congestion
FROM bucket WHERE key = ?
"""
_WRITE = """
INSERT OR REPLACE INTO bucket (key, latest, not_before, widening, widened, issued, served, slowest, previous, at_once,
    unhurried, accepted, refused_margin, congestion)
VALUES (:key, :latest, :not_before, :extra_margin, :margin_raised_at, :issued, :served, :slowest, :previous, :at_once,
    :unhurried, :accepted, :refused_margin, :congestion)
"""


class PaceFile:
    """The buckets in the file of a directory, for one thread. Nothing is opened before the first change."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def change(self, key: str, rule: Callable[[Bucket], T]) -> T:
        """Apply the rule to a bucket and save it; no other process changes it meanwhile. Return what the rule returns.

        Raises `StorageError` if the file cannot be used.
        """
        try:
            try:
                return self._change(key, rule)
            except sqlite3.DatabaseError as error:
                if not self._damaged(error):
                    raise
                self._discard()
                return self._change(key, rule)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(
                f"{self._path}: the pace that the processes of this machine share cannot be kept: {reason_of(error)}; "
                "EKB_STATE_DIR may name another directory"
            ) from error

    def close(self) -> None:
        """Close the file; the next change opens it again."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _change(self, key: str, rule: Callable[[Bucket], T]) -> T:
        db = self._connected()
        with db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute(_READ, (key,)).fetchone()
            bucket = Bucket(*row) if row is not None else Bucket()
            result = rule(bucket)
            if msgspec.structs.astuple(bucket) != row:
                db.execute(_WRITE, {"key": key, **msgspec.structs.asdict(bucket)})
        return result

    def _connected(self) -> sqlite3.Connection:
        """Return a connection to the file, a new one if the file has been replaced."""
        identity = _identity(self._path)
        if self._db is None or identity != self._identity:
            self.close()
            ensure_private(self._path.parent)
            # Read before the file is opened: if the file is replaced in between, the next change notices.
            self._identity = identity
            db = connect(self._path, LIMITS.busy_timeout_seconds)
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            if not is_initialised(db, self._path, _FORMAT):
                initialise(db, self._path, _FORMAT)
            if not db.execute(_HAS_LEARNED).fetchone()[0]:
                for statement in _ADD_LEARNED.split(";"):
                    db.execute(statement)
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("PRAGMA synchronous = OFF")

    def _damaged(self, error: sqlite3.DatabaseError) -> bool:
        """Return whether the error means a broken file that has this package's application ID, or no beginning left."""
        if not is_damage(error):
            return False
        with self._path.open("rb") as file:
            head = file.read(100)
        return head[68:72] == _FORMAT.application_id.to_bytes(4, "big") or not head.strip(b"\0")

    def _discard(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)
        self._path.with_name(f"{_NAME}-journal").unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
