"""What errors of SQLite mean."""

from __future__ import annotations

import sqlite3

_BUSY, _IOERR, _CORRUPT, _FULL, _PROTOCOL, _NOTADB = 5, 10, 11, 13, 15, 26


def is_locked(error: BaseException | None) -> bool:
    """Return whether another program holds a lock."""
    return _code(error) in {_BUSY, _PROTOCOL}


def is_transient(error: BaseException | None) -> bool:
    """Return whether the file may become writable later: it is locked, or the disk is full or fails."""
    return is_locked(error) or _code(error) in {_FULL, _IOERR}


def is_damage(error: BaseException | None) -> bool:
    """Return whether the file is no intact database."""
    return _code(error) in {_CORRUPT, _NOTADB}


def reason_of(error: sqlite3.Error | OSError) -> str:
    """Return the text of an error, which does not repeat the path of the file."""
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)


def _code(error: BaseException | None) -> int | None:
    # The lower byte is the kind of error, the higher bytes are details.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else None
