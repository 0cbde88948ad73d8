"""Which errors of SQLite are temporary."""

from __future__ import annotations

import sqlite3

_SQLITE_BUSY, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_PROTOCOL = 5, 10, 13, 15


def is_locked(error: BaseException | None) -> bool:
    """Return whether another program holds a lock."""
    return _code(error) in {_SQLITE_BUSY, _SQLITE_PROTOCOL}


def is_transient(error: BaseException | None) -> bool:
    """Return whether the file may become writable later: it is locked, or the disk is full or fails."""
    return is_locked(error) or _code(error) in {_SQLITE_FULL, _SQLITE_IOERR}


def _code(error: BaseException | None) -> int | None:
    # The lower byte is the kind of error, the higher bytes are details.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else None
