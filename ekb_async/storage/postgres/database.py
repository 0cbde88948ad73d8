"""Access to a PostgreSQL database that may be away for a while.

The database is reached through a small pool of `asyncpg`, or through a pool that the user has made. A piece of work is
a coroutine that gets one connection. It is repeated while the database is away: connection refused, server starting,
shutting down, out of connections, connection lost halfway. So work may be done twice, and must allow for that, unless
it is one transaction: a transaction leaves a receipt in the database, which shows whether a commit succeeded whose
answer was lost. (The transaction's number would not do: after a crash, numbers that were not written to disk are used
again.)

A host that vanishes leaves connections behind, and with them the locks of its transactions, which the database would
keep for hours. So a connection is closed when its other end has been silent for 11 s (`silence`). A process that is
stopped is not affected, since its operating system answers. Connections of a pool that the user has made are set up by
the user.

A DSN contains a password. It is passed to `asyncpg` and nowhere else: errors quote what the server said, or name the
kind of error.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg

from ekb_async.errors import ConfigError, EkbConnectionError, StorageError
from ekb_async.storage.limits import LIMITS
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")

MISSING_TABLE_HINT = (
    "run install_schema(dsn) once, imported from ekb_async.postgres, or from ekb_async.ext.pgqueuer or "
    "ekb_async.ext.procrastinate if you use that engine"
)

# Keepalives detect a peer that vanished while the connection was idle, the user timeout one that vanished before it
# acknowledged data. On a local socket these settings are accepted and have no effect.
_DETECT_VANISHED_PEER = """
SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {count};
SET tcp_user_timeout = {limit}
"""

# The INSERT waits for a transaction with the same receipt that has not ended yet. The driver encodes arrays of text by
# itself; about arrays of other types it queries the server on each new connection, which takes ten milliseconds.
_LEAVE_RECEIPT = """
WITH spent AS (DELETE FROM ekb_receipt WHERE id = ANY($2::text[]::uuid[]))
INSERT INTO ekb_receipt (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true
"""
_FORGET_RECEIPTS = "DELETE FROM ekb_receipt WHERE made_at < clock_timestamp() - interval '1 day'"

_ENCODINGS = frozenset({"UTF8", "SQL_ASCII"})

AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Errors that a repetition may not meet again."""


def checked_dsn_or_pool(dsn_or_pool: str | asyncpg.Pool) -> str | asyncpg.Pool:
    """Return the argument. Raises `ConfigError` if it is neither a DSN of PostgreSQL nor a pool of `asyncpg`."""
    if isinstance(dsn_or_pool, str):
        if not dsn_or_pool.startswith(("postgresql://", "postgres://")):
            raise ConfigError("a PostgreSQL DSN begins with postgresql://")
    elif not isinstance(dsn_or_pool, asyncpg.Pool):
        raise ConfigError(f"expected a PostgreSQL DSN or an asyncpg.Pool, not {type(dsn_or_pool).__name__}")
    return dsn_or_pool


class Database:
    """The connections of a DSN, opened one by one as they are needed, or those of a given pool, for one event loop."""

    def __init__(self, dsn_or_pool: str | asyncpg.Pool) -> None:
        self.trouble = ""
        """Why work is being repeated; "" if it is not."""
        self._given = checked_dsn_or_pool(dsn_or_pool)
        self._set_up = functools.partial(_set_up, _settings_for_silence(StorageTiming.from_env().silence))
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
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
                async with self._connection() as connection:
                    result = await work(connection)
            except AWAY as error:
                if isinstance(error, ValueError):
                    raise  # a value that no database accepts
                if not isinstance(error, asyncpg.TransactionRollbackError):
                    self.trouble = f"the PostgreSQL database is away: {type(error).__name__}"
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

    @contextlib.asynccontextmanager
    async def separate_connection(self) -> AsyncIterator[Any]:
        """Open a connection to keep, beside those for work; a given pool lends one of its own.

        Raises one of `AWAY`, `asyncpg.PostgresError` or `StorageError`.
        """
        if not isinstance(self._given, str):
            async with self._connection() as connection:
                await self._set_up(connection)
                yield connection
            return
        try:
            connection = await asyncpg.connect(self._given, timeout=LIMITS.connect_timeout_seconds)
        except (ValueError, asyncpg.ClientConfigurationError):
            raise _unusable() from None
        try:
            await self._set_up(connection)
            yield connection
            await connection.close(timeout=LIMITS.goodbye_seconds)
        finally:
            connection.terminate()

    async def close(self) -> None:
        """Close the pool, unless it was given by the user."""
        pool, self._pool = self._pool, None
        if pool is None or pool is self._given:
            return
        try:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(LIMITS.connect_timeout_seconds):
                    await pool.close()
        finally:
            pool.terminate()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        pool = await self._open()
        try:
            connection = await pool.acquire()
        except (ValueError, asyncpg.ClientConfigurationError):
            raise _unusable() from None
        try:
            _check_encoding(connection)
            yield connection
        except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
            # A server that does not answer, or has become a standby, is not used again.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._create() if isinstance(self._given, str) else self._given
            return self._pool

    async def _create(self) -> asyncpg.Pool:
        return await asyncpg.create_pool(
            self._given,
            min_size=0,
            max_size=LIMITS.connections,
            timeout=LIMITS.connect_timeout_seconds,
            init=self._set_up,
            reset=_keep_state,
        )


def _check_encoding(connection: Any) -> None:
    """Raise `StorageError` for a database whose encoding lacks characters, before anything is written to it.

    The server reports its encoding when a connection is opened, so this costs no statement. `SQL_ASCII` stores all
    bytes unchanged.
    """
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    if encoding not in _ENCODINGS:
        raise StorageError(
            f"the PostgreSQL database has the encoding {encoding}, which lacks characters that answers may have; make "
            "one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def _settings_for_silence(silence: float) -> str:
    """Return the statements by which a connection is closed when its other end has been silent for so many seconds."""
    seconds = max(3, round(silence))
    idle, interval = round(seconds * 5 / 11), max(1, round(seconds * 2 / 11))
    count = max(1, (seconds - idle) // interval)
    return _DETECT_VANISHED_PEER.format(idle=idle, interval=interval, count=count, limit=1000 * seconds)


async def _set_up(settings: str, connection: Any) -> None:
    try:
        await connection.execute(settings, timeout=LIMITS.answer_timeout_seconds)
    except BaseException:
        # The pool would close the connection gracefully, without a time limit.
        connection.terminate()
        raise


async def _keep_state(_: object) -> None:
    """Do nothing: work changes no settings of a connection, so returning it to the pool needs no statement."""


def _unusable() -> ConfigError:
    # The library's message may quote a part of the DSN.
    return ConfigError("the PostgreSQL DSN cannot be used as it is")


def unreachable(error: BaseException, patience: float) -> EkbConnectionError:
    """Return the error for a database that was away for `patience` seconds."""
    raised = EkbConnectionError(f"the PostgreSQL database was away for {patience:g} s: {type(error).__name__}")
    raised.hint = "Check that the database is running, and the network to it."
    return raised


def refused(error: asyncpg.PostgresError) -> ConfigError:
    """Return the error for a statement that the database refused."""
    if isinstance(error, asyncpg.UndefinedTableError):
        return StorageError(f"{error}: {MISSING_TABLE_HINT}")
    return StorageError(f"the PostgreSQL database refused: {error}")
