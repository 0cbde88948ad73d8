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

Connections are named after what the process does: `application_name`, which the server shows and writes into its log,
is `ekb worker` in a worker, `ekb run` in a run of a backlog, `ekb enqueue` in a program that adds calls, else `ekb`. A
name in the DSN stays, and so does one that the server has for the role or database.

A DSN contains a password. It is passed to `asyncpg` and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

import asyncpg

from ekb_async.errors import StorageError
from ekb_async.storage.limits import CONNECTIONS, LIMITS, Share
from ekb_async.storage.postgres.dsn import connection_parameters
from ekb_async.storage.postgres.errors import AWAY, refused_connection
from ekb_async.storage.postgres.pooler import refuse_transaction_mode
from ekb_async.storage.postgres.version import VERSION, check_not_newer
from ekb_async.storage.timing import StorageTiming

# Keepalives detect a peer that vanished while the connection was idle, the user timeout one that vanished before it
# acknowledged data. On a local socket these settings are accepted and have no effect.
_DETECT_VANISHED_PEER = """
SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {count};
SET tcp_user_timeout = {limit}
"""

_ENCODINGS = frozenset({"UTF8", "SQL_ASCII"})

NAMES = ("ekb", "ekb enqueue", "ekb run", "ekb worker")
"""Names of connections. Those of a pool have the last one that a user of the pool has given."""


class SharedPool:
    """The connections of one DSN, or those of a pool that the user has made, in one event loop."""

    def __init__(self, given: str | asyncpg.Pool) -> None:
        self._given = given
        self._users: Counter[str] = Counter()
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._is_checked = False
        self._is_named = False
        """Whether connections have a name already, from the DSN or from the server."""
        self._free = {share: asyncio.Semaphore(connections) for share, connections in CONNECTIONS.items()}

    @classmethod
    def join(cls, given: str | asyncpg.Pool, name: str) -> SharedPool:
        """Return the pool of the running loop, for one more user with a name of `NAMES`. Opens no connection."""
        pool = _pools.setdefault((asyncio.get_running_loop(), given), cls(given))
        pool._users[name] += 1
        return pool

    async def leave(self, name: str) -> None:
        """Close the connections if this was the last user, unless the pool was made by the user."""
        self._users[name] -= 1
        if self._users.total():
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
                await self._prepare(connection, pool)
                yield connection
            except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
                # A server that does not answer, or has become a standby, is not used again.
                closed_after = True
                raise
            finally:
                if closed_after:
                    with contextlib.suppress(asyncpg.InterfaceError):  # it is closed already
                        connection.terminate()
                # Without a limit, a cancelled user waits until the server has ended the statement.
                with contextlib.suppress(TimeoutError):
                    await pool.release(connection, timeout=LIMITS.release_seconds)

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
                    init=self._set_up,
                    reset=_keep_state,
                )
            return self._pool

    async def _set_up(self, connection: Any) -> None:
        """Name a new connection, and let the server close it when its other end has been silent for too long."""
        seconds = max(3, round(StorageTiming.from_env().silence))
        idle, interval = round(seconds * 5 / 11), max(1, round(seconds * 2 / 11))
        count = max(1, (seconds - idle) // interval)
        settings = _DETECT_VANISHED_PEER.format(idle=idle, interval=interval, count=count, limit=1000 * seconds)
        self._is_named = bool(_name_of(connection))
        if not self._is_named:
            settings += f"; SET application_name = '{self._name}'"
        try:
            await connection.execute(settings, timeout=LIMITS.answer_timeout_seconds)
        except BaseException:
            # The pool would close the connection gracefully, without a time limit.
            connection.terminate()
            raise

    @property
    def _name(self) -> str:
        return next((name for name in reversed(NAMES) if self._users[name]), NAMES[0])

    async def _prepare(self, connection: Any, pool: asyncpg.Pool) -> None:
        """Check the database, before anything is written to it, and name a connection of this pool after its users."""
        _check_encoding(connection)
        if isinstance(self._given, str) and not self._is_named and _name_of(connection) != self._name:
            await connection.execute(f"SET application_name = '{self._name}'", timeout=LIMITS.answer_timeout_seconds)
        if not self._is_checked:
            await refuse_transaction_mode(connection, pool)
            check_not_newer(await connection.fetchval(VERSION, timeout=LIMITS.answer_timeout_seconds))
            self._is_checked = True


_pools: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str | asyncpg.Pool], SharedPool] = WeakValueDictionary()


async def _keep_state(_: object) -> None:
    """Do nothing: work changes no settings of a connection, so returning it to the pool needs no statement."""


def _name_of(connection: Any) -> str:
    """Return the name of a connection; the server reports it when the connection is opened and when it changes."""
    return str(getattr(connection.get_settings(), "application_name", ""))


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
