"""Access to a PostgreSQL database that may be away for a while.

A piece of work is a coroutine that gets one connection of the pool that all users of the database share. It is repeated
while the database is away: connection refused, server starting, shutting down, out of connections, connection lost
halfway. So work may be done twice, and must allow for that, unless it is one transaction: a transaction leaves a
receipt in the database, which shows whether a commit succeeded whose answer was lost. (The transaction's number would
not do: after a crash, numbers that were not written to disk are used again.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg

from ekb_async.errors import ConfigError
from ekb_async.storage.limits import LIMITS, Share
from ekb_async.storage.postgres.errors import AWAY, refused, translated, trouble, unreachable
from ekb_async.storage.postgres.pool import NAMES, SharedPool

T = TypeVar("T")

# The INSERT waits for a transaction with the same receipt that has not ended yet. The driver encodes arrays of text by
# itself; about arrays of other types it queries the server on each new connection, which takes ten milliseconds.
_LEAVE_RECEIPT = """
WITH spent AS (DELETE FROM ekb_receipt WHERE id = ANY($2::text[]::uuid[]))
INSERT INTO ekb_receipt (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true
"""
_FORGET_RECEIPTS = "DELETE FROM ekb_receipt WHERE made_at < clock_timestamp() - interval '1 day'"


def checked_dsn_or_pool(dsn_or_pool: str | asyncpg.Pool) -> str | asyncpg.Pool:
    """Return the argument. Raises `ConfigError` if it is neither a DSN of PostgreSQL nor a pool of `asyncpg`."""
    if isinstance(dsn_or_pool, str):
        if not dsn_or_pool.startswith(("postgresql://", "postgres://")):
            raise ConfigError("a PostgreSQL DSN begins with postgresql://")
    elif not isinstance(dsn_or_pool, asyncpg.Pool):
        raise ConfigError(f"expected a PostgreSQL DSN or an asyncpg.Pool, not {type(dsn_or_pool).__name__}")
    return dsn_or_pool


class Database:
    """One user of a database, whose work is of one kind (`share`, see `pool`).

    It joins the pool of the running loop with its first connection, and leaves it in `close`. `name` is one of `NAMES`.
    """

    def __init__(self, dsn_or_pool: str | asyncpg.Pool, share: Share = "other", *, name: str = NAMES[0]) -> None:
        self.trouble = ""
        """Why work is being repeated; "" if it is not."""
        self._given = checked_dsn_or_pool(dsn_or_pool)
        self._share: Share = share
        self._name = name
        self._pool: SharedPool | None = None
        self._spent: list[str] = []

    def __repr__(self) -> str:
        return f"<Database: {'closed' if self._pool is None else 'open'}>"

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, work: Callable[[Any], Awaitable[T]], *, patience: float = LIMITS.patience_seconds) -> T:
        """Return the result of the work, which gets a connection and is repeated while the database is away.

        Raises `EkbConnectionError` if the database is away for `patience` seconds, `StorageError` if it refuses.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + patience, LIMITS.first_pause_seconds
        while True:
            try:
                async with self._shared().connection(self._share) as connection:
                    result = await work(connection)
            except AWAY as error:
                if isinstance(error, ValueError):
                    raise  # a value that no database accepts
                if not isinstance(error, asyncpg.TransactionRollbackError):
                    self.trouble = trouble(error)
                if loop.time() + pause > deadline:
                    raise unreachable(error, patience) from None
            except asyncpg.PostgresError as error:
                self.trouble = ""
                raise refused(error) from None
            else:
                self.trouble = ""
                return result
            await asyncio.sleep(pause)
            pause = min(2 * pause, LIMITS.longest_pause_seconds)

    async def transact(self, work: Callable[[Any], Awaitable[T]], *, patience: float = LIMITS.patience_seconds) -> T:
        """Return the result of the work, which runs in a transaction and takes effect once. Raises as `run` does."""
        receipt = uuid4()
        spent, self._spent = self._spent, []
        results: list[T] = []

        async def attempt(connection: Any) -> T:
            nonlocal receipt
            if not results:
                # No commit can have been tried, so there is no earlier transaction to wait for.
                receipt = uuid4()
            async with connection.transaction():
                if not await connection.fetchval(_LEAVE_RECEIPT, receipt, spent, timeout=LIMITS.answer_timeout_seconds):
                    return results[0]
                results[:] = [await work(connection)]
            return results[0]

        try:
            result = await self.run(attempt, patience=patience)
        except BaseException:
            self._spent += spent
            raise
        self._spent.append(str(receipt))
        return result

    async def forget_receipts(self) -> None:
        """Delete the receipts of processes that ended long ago. Raises as `run` does."""
        await self.run(lambda connection: connection.execute(_FORGET_RECEIPTS, timeout=LIMITS.answer_timeout_seconds))

    @asynccontextmanager
    async def connection(self, *, closed_after: bool = False) -> AsyncGenerator[Any]:
        """Borrow a connection; with `closed_after` it is closed afterwards, and what belongs to it ends.

        Raises `EkbConnectionError` if the database is away, also halfway, `StorageError` if it refuses.
        """
        with translated():
            async with self._shared().connection(self._share, closed_after=closed_after) as connection:
                yield connection

    async def close(self) -> None:
        """Leave the pool, which its last user closes."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.leave(self._name)

    def _shared(self) -> SharedPool:
        if self._pool is None:
            self._pool = SharedPool.join(self._given, self._name)
        return self._pool
