"""Small SQLite files that the processes of a user share, each with one table and closed to other users."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from ekb_async.storage.state_directory import check_private_file, close_to_others


class FileFormat(NamedTuple):
    """What a file contains, and by which numbers it is recognised."""

    table: str
    """The statement that creates its table."""
    application_id: int = 0
    version: int = 1


def connect(path: Path, wait: float) -> sqlite3.Connection:
    """Open a file, or create an empty one; SQLite waits `wait` seconds for a lock. For one thread at a time.

    Raises `UnsafeStateError` for a link and for a file of another user, else `sqlite3.Error`.
    """
    check_private_file(path)
    return sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)


def is_initialised(database: sqlite3.Connection, path: Path, form: FileFormat) -> bool:
    """Return whether a file has its table, False if it is empty; the file is closed to other users.

    Raises `sqlite3.DatabaseError` if another version or program wrote it, which then stays as it is.
    """
    marks = FileFormat(form.table, _number(database, "PRAGMA application_id"), _number(database, "PRAGMA user_version"))
    if marks == form:
        close_to_others(path)
        return True
    if marks.application_id == marks.version == _number(database, "SELECT count(*) FROM sqlite_master") == 0:
        return False
    is_ours = marks.version and marks.application_id == form.application_id
    raise sqlite3.DatabaseError(
        "the file was made by another version of ekb_async" if is_ours else "the file is not one of ekb_async"
    )


def initialise(database: sqlite3.Connection, path: Path, form: FileFormat) -> None:
    """Create the table of an empty file."""
    close_to_others(path)
    database.execute(form.table)
    database.execute(f"PRAGMA application_id = {form.application_id}")
    database.execute(f"PRAGMA user_version = {form.version}")


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])
