"""The tables that hosts share, each named `ekb_…`, in the schema that the connection makes tables in."""

from __future__ import annotations

from typing import Any

import asyncpg

from ekb_async.pacing import postgres as pace
from ekb_async.storage import postgres as database
from ekb_async.storage import postgres_tables
from ekb_async.storage.postgres import Database
from ekb_async.timing import BacklogTiming
from ekb_async.tokens import postgres as tokens

_LOCK = 0x656B62

_TABLES = {
    "ekb_receipt": database.CREATE_TABLE,
    "ekb_pace": pace.CREATE_TABLE,
    "ekb_token": tokens.CREATE_TABLE,
    **postgres_tables.CREATE_TABLES,
}


async def install_schema(dsn_or_pool: str | asyncpg.Pool, *, patience: float | None = None) -> None:
    """Makes the tables that are missing. Any number of processes may do so at once, and again.

    Raises `ConfigError` if the database refuses, `EkbConnectionError` if it cannot be reached within `patience`
    seconds, 10 by default.
    """
    if patience is None:
        patience = BacklogTiming.from_env().setup_patience
    async with Database(dsn_or_pool) as home:
        await home.carry_out(_install, patience=patience)


async def _install(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        for name, statement in _TABLES.items():
            # A role that may not make tables may still find them made.
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await connection.execute(statement)
