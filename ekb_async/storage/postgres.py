"""A PostgreSQL that may go away.

It is reached through a small pool of `asyncpg`, or through one that the user has made. Work on it is one coroutine at a
time with one connection, which is tried again while the database is away: refused, starting, shutting down, out of
connections, gone in the middle. So work may be done twice, and has to be of the kind that may, unless it is one
transaction: that leaves a receipt in the database, by which a commit is known whose answer was lost. (The number of the
transaction would not do: after a crash, those that were not written down are given to others.)

A host that vanishes leaves connections behind, and with them whatever its transactions had locked, which the database
would keep for hours. So a connection whose other end takes nothing and says nothing is given up after 11 s (`silence`);
a process that is stopped is not affected, since its system answers. Connections of a pool that the user has made are
the user's to set up so.

A DSN holds a password. It goes to `asyncpg` and nowhere else: errors tell what the server said, or the kind of trouble.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

from ekb_async.errors import ConfigError, EkbConnectionError
from ekb_async.storage.timing import VARIABLE, StorageTiming

try:
    import asyncpg
except ImportError as error:
    raise ConfigError(
        f'PostgreSQL needs a library that is not there ({error}): pip install "ekb-async[postgres]"'
    ) from None

T = TypeVar("T")

_CONNECTIONS = 4
_CONNECT_TIMEOUT = 5
_PATIENCE = 60.0
_GOODBYE = 2.0
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 2.0

ANSWER_TIMEOUT = 10.0
"""Seconds for one statement, after which its connection is given up."""

IF_A_TABLE_IS_MISSING = (
    "run install_schema(dsn) once, of ekb_async.ext.pgqueuer, of ekb_async.ext.procrastinate, or without an engine of "
    "ekb_async.postgres"
)

# Keepalives find who is gone while nothing is said, the other who is gone before an answer has come through. Where a
# connection is no network's, these mean nothing and may be set.
_GIVE_UP_THE_GONE = """
SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {count};
SET tcp_user_timeout = {limit}
"""

# It waits for a transaction with the same receipt that has not ended yet. The driver knows arrays of texts by itself;
# about those of other types it asks the server on each new connection, which takes ten milliseconds of its time.
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
"""What may be over when it is tried again."""


def checked_place(dsn_or_pool: str | asyncpg.Pool) -> str | asyncpg.Pool:
    """What leads to a database. Raises `ConfigError` if it is neither a DSN of PostgreSQL nor a pool of `asyncpg`."""
    if isinstance(dsn_or_pool, str):
        if not dsn_or_pool.startswith(("postgresql://", "postgres://")):
            raise ConfigError("a PostgreSQL DSN begins with postgresql://")
    elif not isinstance(dsn_or_pool, asyncpg.Pool):
        raise ConfigError(f"expected a PostgreSQL DSN or an asyncpg.Pool, not {type(dsn_or_pool).__name__}")
    return dsn_or_pool


class Database:
    """Connections to where a DSN leads, opened one by one as they are needed, or those of a given pool.

    It belongs to one event loop.
    """

    def __init__(self, dsn_or_pool: str | asyncpg.Pool) -> None:
        self.trouble = ""
        """Why work is tried again and again, "" if it is not."""
        self._given = checked_place(dsn_or_pool)
        self._set_up = functools.partial(_set_up, _give_up_after(StorageTiming.read(VARIABLE, partly=True).silence))
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._spent: list[str] = []

    def __repr__(self) -> str:
        return f"<Database: {'closed' if self._pool is None else 'open'}>"

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, work: Callable[[Any], Awaitable[T]], *, patience: float = _PATIENCE) -> T:
        """What the work on a connection brings; it is tried again while the database is away.

        Raises `EkbConnectionError` after `patience` seconds of that, `ConfigError` if the database says no.
        """
        loop = asyncio.get_running_loop()
        deadline, wait = loop.time() + patience, _FIRST_WAIT
        while True:
            try:
                async with self._connection() as connection:
                    result = await work(connection)
            except AWAY as error:
                if isinstance(error, ValueError):
                    raise  # a value that no database takes
                if not isinstance(error, asyncpg.TransactionRollbackError):
                    self.trouble = f"the PostgreSQL database is away: {type(error).__name__}"
                if loop.time() + wait > deadline:
                    raise unreachable(error, patience) from None
            except asyncpg.PostgresError as error:
                self.trouble = ""
                raise refused(error) from None
            else:
                self.trouble = ""
                return result
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def transact(self, work: Callable[[Any], Awaitable[T]], *, patience: float = _PATIENCE) -> T:
        """What the work in a transaction brings, which takes effect once. Raises as `run` does."""
        receipt = uuid4()
        spent, self._spent = self._spent, []
        results: list[T] = []

        async def attempt(connection: Any) -> T:
            nonlocal receipt
            if not results:
                # Nothing can have been committed, so nothing has to be waited for.
                receipt = uuid4()
            async with connection.transaction():
                if not await connection.fetchval(_LEAVE_RECEIPT, receipt, spent, timeout=ANSWER_TIMEOUT):
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
        """Takes out what processes have left that ended long ago. Raises as `run` does."""
        await self.run(lambda connection: connection.execute(_FORGET_RECEIPTS, timeout=ANSWER_TIMEOUT))

    @contextlib.asynccontextmanager
    async def connection_apart(self) -> AsyncIterator[Any]:
        """A connection to keep, beside those for work. Raises one of `AWAY`, `asyncpg.PostgresError` or `ConfigError`.

        A given pool lends one of its own.
        """
        if not isinstance(self._given, str):
            async with self._connection() as connection:
                await self._set_up(connection)
                yield connection
            return
        try:
            connection = await asyncpg.connect(self._given, timeout=_CONNECT_TIMEOUT)
        except (ValueError, asyncpg.ClientConfigurationError):
            raise _unusable() from None
        try:
            await self._set_up(connection)
            yield connection
            await connection.close(timeout=_GOODBYE)
        finally:
            connection.terminate()

    async def close(self) -> None:
        """Closes the pool, if it is not one that was given."""
        pool, self._pool = self._pool, None
        if pool is None or pool is self._given:
            return
        try:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await pool.close()
        finally:
            pool.terminate()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        pool = await self._opened()
        try:
            connection = await pool.acquire()
        except (ValueError, asyncpg.ClientConfigurationError):
            raise _unusable() from None
        try:
            _check_encoding(connection)
            yield connection
        except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
            # Whoever answers no more, or has become a standby, is not asked again.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._made() if isinstance(self._given, str) else self._given
            return self._pool

    async def _made(self) -> asyncpg.Pool:
        return await asyncpg.create_pool(
            self._given,
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_CONNECT_TIMEOUT,
            init=self._set_up,
            reset=_left_as_it_was,
        )


def _check_encoding(connection: Any) -> None:
    """Raise `ConfigError` for a database that lacks characters, before anything is kept in it.

    The server names its encoding when it is connected to, so that this costs no statement. `SQL_ASCII` keeps all bytes
    as they come.
    """
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    if encoding not in _ENCODINGS:
        raise ConfigError(
            f"the PostgreSQL database has the encoding {encoding}, which lacks characters that answers may have; make "
            "one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def _give_up_after(silence: float) -> str:
    """Return the settings of a connection with which its other end is given up after so many seconds of silence."""
    seconds = max(3, round(silence))
    idle, interval = round(seconds * 5 / 11), max(1, round(seconds * 2 / 11))
    count = max(1, (seconds - idle) // interval)
    return _GIVE_UP_THE_GONE.format(idle=idle, interval=interval, count=count, limit=1000 * seconds)


async def _set_up(settings: str, connection: Any) -> None:
    try:
        await connection.execute(settings, timeout=ANSWER_TIMEOUT)
    except BaseException:
        # The pool would say goodbye, for which there is no limit.
        connection.terminate()
        raise


async def _left_as_it_was(_: object) -> None:
    """Nothing here changes a connection, so that putting it back need not cost another statement."""


def _unusable() -> ConfigError:
    # What the library says may quote a part of the DSN.
    return ConfigError("the PostgreSQL DSN cannot be used as it is")


def unreachable(error: BaseException, patience: float) -> EkbConnectionError:
    """What is raised when a database was away for so long."""
    trouble = EkbConnectionError(f"the PostgreSQL database was away for {patience:g} s: {type(error).__name__}")
    trouble.hint = "Check that the database is running, and the network to it."
    return trouble


def refused(error: asyncpg.PostgresError) -> ConfigError:
    """What is raised when a database says no."""
    if isinstance(error, asyncpg.UndefinedTableError):
        return ConfigError(f"{error}: {IF_A_TABLE_IS_MISSING}")
    return ConfigError(f"the PostgreSQL database refused: {error}")
