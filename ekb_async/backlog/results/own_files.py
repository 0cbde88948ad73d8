"""Recognises the files of a backlog, which an export or a report must not overwrite."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ekb_async.errors import ConfigError
from ekb_async.files.local_files import file_sha256, open_regular

_BESIDE = ("-journal", "-wal", "-shm")
"""The suffixes that SQLite appends to the name of a database for its own files."""
_MAX_NAME_BYTES = 255
_SQLITE = b"SQLite format 3\0"


def check_name(backlog: Path) -> None:
    """Raise `ConfigError` if the name of a backlog file leaves no room for the names of the files that SQLite adds."""
    try:
        longest = os.pathconf(backlog.absolute().parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        longest = _MAX_NAME_BYTES
    allowed = longest - max(map(len, _BESIDE))
    if len(os.fsencode(backlog.name)) > allowed:
        raise ConfigError(f"{backlog}: the name of a backlog has at most {allowed} bytes here")


def belongs_to(backlog: Path, path: Path) -> bool:
    """Return whether a path is the backlog file or one of the files beside it: SQLite's own, or a lock."""
    if path.parent != backlog.parent:
        return False
    is_lock = path.name.startswith(".") and path.suffix == ".lease"
    return is_lock or path.name in {backlog.name, *(f"{backlog.name}{suffix}" for suffix in _BESIDE)}


def is_among(path: Path, others: Iterable[str]) -> bool:
    """Return whether a file is one of `others`, also under another name or through links."""
    found = path.stat()
    for other in set(others):
        try:
            if os.path.samestat(found, os.stat(other)):  # noqa: PTH116 - thousands of paths
                return True
        except (OSError, ValueError):
            continue
    return False


def is_database(path: Path) -> bool:
    """Return whether a file is a database of SQLite, as every backlog file is."""
    try:
        with open_regular(path) as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (ConfigError, OSError):
        return False


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, "" if it could not be uploaded, so that no row can name it."""
    try:
        return file_sha256(path)
    except ConfigError:
        return ""
