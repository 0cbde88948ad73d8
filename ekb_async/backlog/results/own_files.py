"""Recognises the files of a backlog, which an export or a report must not overwrite."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.places import BESIDE
from ekb_async.errors import ConfigError
from ekb_async.files.local_files import file_sha256, open_regular
from ekb_async.validation import checked_place

_SQLITE = b"SQLite format 3\0"


async def checked_target(store: CallStore, path: str | os.PathLike[str]) -> Path:
    """Return the resolved path of a file to write.

    Raises `ConfigError` if it would replace something other than a file, or a file that the backlog depends on.
    """
    target = await asyncio.to_thread(checked_place("path", path).resolve)
    if store.file is not None and belongs_to(store.file, target):
        raise ConfigError(f"{path}: this is the backlog itself; choose another name")
    if not await asyncio.to_thread(os.path.lexists, target):
        return target
    if not await asyncio.to_thread(target.is_file):
        raise ConfigError(f"{path}: this is a directory or a device, no file")
    if await asyncio.to_thread(is_database, target):
        raise ConfigError(f"{path}: this is a database, perhaps another backlog; choose another name")
    if await asyncio.to_thread(is_among, target, await store.manifests()):
        raise ConfigError(f"{path}: this is one of the backlog's manifests; choose another name")
    named = await store.named(target.name, await asyncio.to_thread(content_hash, target))
    if await asyncio.to_thread(is_among, target, named):
        raise ConfigError(f"{path}: this is a file that a row of the backlog names; choose another name")
    return target


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
