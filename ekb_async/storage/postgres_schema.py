"""Creates the tables that hosts share, each named `ekb_…`, in the schema where the connection creates tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ekb_async.storage.postgres import Database
from ekb_async.storage.postgres_tables import CREATE_TABLES
from ekb_async.storage.timing import VARIABLE, StorageTiming

if TYPE_CHECKING:
    import asyncpg

_LOCK = 0x656B62


async def install_schema(dsn_or_pool: str | asyncpg.Pool, *, patience: float | None = None) -> None:
    """Create the tables that are missing. Any number of processes may call this at the same time, and again.

    Raises `ConfigError` if the database refuses, `EkbConnectionError` if it cannot be reached within `patience`
    seconds, 10 by default.
    """
    if patience is None:
        patience = StorageTiming.read(VARIABLE, partly=True).setup_patience
    async with Database(dsn_or_pool) as database:
        await database.run(_install, patience=patience)


async def _install(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        for name, statement in CREATE_TABLES.items():
            # A role without the right to create tables may use existing ones.
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await connection.execute(statement)
