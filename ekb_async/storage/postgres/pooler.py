"""Refuses a pooler that gives each transaction to another server process.

Locks of runs and tokens belong to a server process. Poolers of today forward prepared statements in transaction mode as
well, so nothing fails there, and two runs would make the same calls. Such a pooler announces process numbers of its
own, and two connections that are idle at the same time reach the same process.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from ekb_async.errors import StorageError
from ekb_async.storage.limits import LIMITS

_COMPARED = 2
_PROCESS = "SELECT pg_backend_pid()"


async def refuse_transaction_mode(connection: Any, pool: asyncpg.Pool) -> None:
    """Raise `StorageError` if an idle connection shares its server process with another one of the pool."""
    if pool.get_max_size() < _COMPARED or await _process_of(connection) == connection.get_server_pid():
        return
    try:
        other = await pool.acquire(timeout=LIMITS.connect_timeout_seconds)
    except TimeoutError:
        return  # the other connections of the user's pool are in use
    try:
        for _ in range(LIMITS.looks_at_pooler):
            # Other clients of the pooler may take the process between two of these looks.
            if await _process_of(connection) == await _process_of(other):
                raise StorageError(
                    "a pooler in transaction mode is in front of the PostgreSQL database: connect to the database "
                    "itself, or let the pooler work in session mode"
                )
    finally:
        await pool.release(other)


async def _process_of(connection: Any) -> int:
    return int(await connection.fetchval(_PROCESS, timeout=LIMITS.answer_timeout_seconds))
