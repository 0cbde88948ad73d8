"""The places of backlogs: files, and databases that a DSN names."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.sqlite.store import SqliteStore
from ekb_async.errors import ConfigError
from ekb_async.storage.timing import StorageTiming
from ekb_async.validation import checked_place

_URL = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a drive has one letter; `Path` drops one slash

BESIDE = ("-journal", "-wal", "-shm")
"""The suffixes that SQLite appends to the name of a database for its own files."""
_MAX_NAME_BYTES = 255


async def exists(place: str | PathLike[str]) -> bool:
    """Return whether there is a backlog, which is not created. Raises as `Backlog.open` does."""
    if not _is_dsn(place):
        return await asyncio.to_thread(Path(place).exists)
    from ekb_async.backlog.store.postgres.store import PostgresStore

    return await PostgresStore.exists(str(place))


async def open_store(
    place: str | PathLike[str], timing: StorageTiming, clock: Callable[[], float], *, read_only: bool = False
) -> CallStore:
    """Open the backlog in a file or a database. Raises as `Backlog.open` does.

    With `read_only` nothing is created, changed or locked; raises `StorageError` if there is no backlog, or one of an
    older version.
    """
    checked_place("place", place)
    if not _is_dsn(place):
        if _URL.match(str(place)):
            # The URL may hold a password, so the error does not quote it.
            raise ConfigError("a backlog is a file, or a DSN that begins with postgresql://")
        await asyncio.to_thread(_check_name, Path(place))
        return await SqliteStore.open(place, timing, clock, read_only=read_only)
    # Imported here because asyncpg is an extra.
    from ekb_async.backlog.store.postgres.store import PostgresStore

    return await PostgresStore.open(str(place), timing, clock, read_only=read_only)


async def check_version(place: str | PathLike[str], timing: StorageTiming) -> None:
    """Raise `StorageError` for a backlog of an older version, which `open_store` would bring up to date."""
    store = await open_store(place, timing, time.time, read_only=True)
    await store.close()


def _check_name(backlog: Path) -> None:
    """Raise `ConfigError` if the name of a backlog file leaves no room for the names of the files that SQLite adds."""
    try:
        longest = os.pathconf(backlog.absolute().parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        longest = _MAX_NAME_BYTES
    allowed = longest - max(map(len, BESIDE))
    if len(os.fsencode(backlog.name)) > allowed:
        raise ConfigError(f"{backlog}: the name of a backlog has at most {allowed} bytes here")


def _is_dsn(place: str | PathLike[str]) -> bool:
    return isinstance(place, str) and place.startswith(("postgresql://", "postgres://"))
