"""Recognises the files of a backlog, which an export or a report must not overwrite."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ekb_async.backlog.store.places import BESIDE
from ekb_async.errors import ConfigError
from ekb_async.files.local_files import file_sha256, open_regular

_SQLITE = b"SQLite format 3\0"


def belongs_to(backlog: Path, path: Path) -> bool:
    """Return whether a path is the backlog file or one of the files beside it: SQLite's own, or a lock."""
    if path.parent != backlog.parent:
        return False
    is_lock = path.name.startswith(".") and path.suffix == ".lease"
    return is_lock or path.name in {backlog.name, *(f"{backlog.name}{suffix}" for suffix in BESIDE)}


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
