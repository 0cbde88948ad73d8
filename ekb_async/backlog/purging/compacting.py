"""Giving the space that deleted rows leave in a backlog file back to the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.opening import BacklogFile
from ekb_async.errors import BacklogBusyError, ConfigError
from ekb_async.storage.sqlite.thread import opened_in_thread
from ekb_async.storage.statements import Statements


async def compact(store: CallStore) -> int:
    """Write a backlog file anew without its unused pages; return how many bytes it has become smaller.

    Raises `BacklogBusyError` if a run is at work on it, `ConfigError` for a database.
    """
    if (path := store.file) is None:
        raise ConfigError("only a file can be compacted; a database uses the space of deleted rows again")

    async def is_at_work(statements: Statements) -> bool:
        await store.settle_dead(statements)
        return bool(await statements.value(store.sql.HAS_RUNS))

    if await store.change(is_at_work):
        raise BacklogBusyError(f"{store.name}: a run is at work on it; compact it when it has ended")
    opened: list[sqlite3.Connection] = []
    # A run that begins meanwhile waits for the file.
    async with opened_in_thread(
        lambda: _open(path, opened), path, lambda: opened[0].interrupt() if opened else None
    ) as (file, thread):
        return await thread.call(_compact, file)


def _open(path: Path, opened: list[sqlite3.Connection]) -> BacklogFile:
    file = BacklogFile(path, LIMITS.compacting_wait_seconds)
    opened.append(file.database)
    return file


def _compact(file: BacklogFile) -> int:
    before = file.path.stat().st_size
    file.database.execute("VACUUM")
    file.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(0, before - file.path.stat().st_size)
