"""The connections to a database: one pool for all its users in an event loop.

The first user of a DSN opens the pool, the last one closes it, and only its users refer to it. So no pool outlives its
event loop, and a process that was forked opens its own. A pool that the user has made is used as it is.

Each kind of work has a share of the connections, and the shares add up to the pool's size. So a claim of a slot or a
look at a token never waits for a connection that a long import holds, or a session that waits for the vendor's token.
Connections are opened as they are needed and closed after a minute without use, so usually there are few of them.

A host that vanishes leaves connections behind, and with them the locks of its transactions, which the database would
keep for hours. So a connection is closed when its other end has been silent for 11 s (`silence`). A process that is
stopped is not affected, since its operating system answers. Connections of a pool that the user has made are set up by
the user.

A DSN contains a password. It is passed to `asyncpg` and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

import asyncpg

from ekb_async.errors import StorageError
from ekb_async.storage.limits import CONNECTIONS, LIMITS, Share
from ekb_async.storage.postgres.dsn import connection_parameters
from ekb_async.storage.postgres.errors import AWAY, refused_connection
from ekb_async.storage.postgres.pooler import refuse_transaction_mode
from ekb_async.storage.postgres.version import check_not_newer
from ekb_async.storage.timing import StorageTiming

# Keepalives detect a peer that vanished while the connection was idle, the user timeout one that vanished before it
# acknowledged data. On a local socket these settings are accepted and have no effect.
_DETECT_VANISHED_PEER = """
SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {count};
SET tcp_user_timeout = {limit}
"""

_VERSION = "SELECT obj_description(to_regclass('ekb_call'), 'pg_class')"
_ENCODINGS = frozenset({"UTF8", "SQL_ASCII"})


class SharedPool:
    """The connections of one DSN, or those of a pool that the user has made, in one event loop."""

    def __init__(self, given: str | asyncpg.Pool) -> None:
        self._given = given
        self._users = 0
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._is_checked = False
        self._free = {share: asyncio.Semaphore(connections) for share, connections in CONNECTIONS.items()}

    @classmethod
    def join(cls, given: str | asyncpg.Pool) -> SharedPool:
        """Return the pool of the running loop, for one more user. Opens no connection."""
        pool = _pools.setdefault((asyncio.get_running_loop(), given), cls(given))
        pool._users += 1
        return pool

    async def leave(self) -> None:
        """Close the connections if this was the last user, unless the pool was made by the user."""
        self._users -= 1
        if self._users:
            return
        # A user that joins from now on opens another pool.
        _pools.pop((asyncio.get_running_loop(), self._given), None)
        if self._pool is None:
            return
        try:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(LIMITS.connect_timeout_seconds):
                    await self._pool.close()
        finally:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self, share: Share, *, closed_after: bool = False) -> AsyncIterator[Any]:
        """Lend a connection for work of a kind, see `Database.connection`.

        A database that cannot be used is refused before anything is written to it.
        """
        async with self._free[share]:
            pool = await self._open()
            try:
                connection = await pool.acquire()
            except (ValueError, OSError, asyncpg.ProtocolViolationError) as error:
                if (replacement := refused_connection(error, str(self._given))) is None:
                    raise
                raise replacement from None
            try:
                await self._check(connection, pool)
                yield connection
            except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
                # A server that does not answer, or has become a standby, is not used again.
                closed_after = True
                raise
            finally:
                if closed_after:
                    with contextlib.suppress(asyncpg.InterfaceError):  # it is closed already
                        connection.terminate()
                await pool.release(connection)

    async def _open(self) -> asyncpg.Pool:
        if not isinstance(self._given, str):
            return self._given
        async with self._opening:
            if self._pool is None:
                dsn, connect_timeout = connection_parameters(self._given)
                self._pool = await asyncpg.create_pool(
                    dsn,
                    min_size=0,
                    max_size=sum(CONNECTIONS.values()),
                    max_inactive_connection_lifetime=LIMITS.idle_seconds,
                    timeout=connect_timeout or LIMITS.connect_timeout_seconds,
                    init=_set_up,
                    reset=_keep_state,
                )
            return self._pool

    async def _check(self, connection: Any, pool: asyncpg.Pool) -> None:
        _check_encoding(connection)
        if not self._is_checked:
            await refuse_transaction_mode(connection, pool)
            check_not_newer(await connection.fetchval(_VERSION, timeout=LIMITS.answer_timeout_seconds))
            self._is_checked = True


_pools: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str | asyncpg.Pool], SharedPool] = WeakValueDictionary()


async def _set_up(connection: Any) -> None:
    """Let the server close a new connection when its other end has been silent for too long."""
    seconds = max(3, round(StorageTiming.from_env().silence))
    idle, interval = round(seconds * 5 / 11), max(1, round(seconds * 2 / 11))
    count = max(1, (seconds - idle) // interval)
    settings = _DETECT_VANISHED_PEER.format(idle=idle, interval=interval, count=count, limit=1000 * seconds)
    try:
        await connection.execute(settings, timeout=LIMITS.answer_timeout_seconds)
    except BaseException:
        # The pool would close the connection gracefully, without a time limit.
        connection.terminate()
        raise


async def _keep_state(_: object) -> None:
    """Do nothing: work changes no settings of a connection, so returning it to the pool needs no statement."""


def _check_encoding(connection: Any) -> None:
    """Raise `StorageError` for a database whose encoding lacks characters.

    The server reports its encoding when a connection is opened, so this costs no statement. `SQL_ASCII` stores all
    bytes unchanged.
    """
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    if encoding not in _ENCODINGS:
        raise StorageError(
            f"the PostgreSQL database has the encoding {encoding}, which lacks characters that answers may have; make "
            "one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
