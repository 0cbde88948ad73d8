"""One access token for all hosts that share a PostgreSQL.

The token of an enterprise is a row. Locking it is a transaction with an advisory lock, on a connection of its own: the
database ends both with the connection, so a process that is killed delays no other. The transaction of a process that
hangs, or whose host is cut off, is ended by the database after the others' patience, and cannot write afterwards.

A connection is opened for each access, about two in two hours for each session, and their number is limited. Moments
are those of the database, since the clocks of hosts differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import msgspec

from ekb_async.storage.postgres.database import MISSING_TABLE_HINT, checked_dsn_or_pool
from ekb_async.tokens.cipher import EncryptedToken, TokenCipher, check_encryption
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, locked_too_long
from ekb_async.validation import checked_whole

T = TypeVar("T")

_READ = """
SELECT generation, ciphertext, issued, renew_from, unusable_from, extract(epoch FROM clock_timestamp())::float8 AS now
FROM ekb_token WHERE key = $1
"""
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_WRITE = """
INSERT INTO ekb_token (key, generation, ciphertext, issued, renew_from, unusable_from) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key) DO UPDATE SET (generation, ciphertext, issued, renew_from, unusable_from)
    = (excluded.generation, excluded.ciphertext, excluded.issued, excluded.renew_from, excluded.unusable_from)
"""

_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
"""A DSN that cannot be read is a `ValueError`."""


class PostgresTokens:
    """The tokens of all hosts that share a database: `EkbSession(…, token_store=PostgresTokens("postgresql://…"))`.

    `database` is a DSN, or an `asyncpg` pool, which its owner closes; with a DSN at most `connections` (1 to 1,000) are
    open at a time. The database needs the tables of `install_schema`; while it cannot be reached, a session fetches a
    token of its own and logs a warning. Raises `ConfigError` for wrong arguments, or if the library `cryptography` is
    missing.
    """

    def __init__(self, database: str | asyncpg.Pool, *, connections: int = 10) -> None:
        self._database = checked_dsn_or_pool(database)
        check_encryption()
        self._free_connections = asyncio.Semaphore(checked_whole("connections", connections, most=1_000))

    def __repr__(self) -> str:
        return f"<PostgresTokens on {'a DSN' if isinstance(self._database, str) else 'a pool'}>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        return _RowEntry(self, key, TokenCipher(key, secret))

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any]:
        """Open a connection for one access. Raises `TokenStoreError` when the context is entered."""
        if not isinstance(self._database, str):
            connection = await _answer(self._database.acquire())
            try:
                yield connection
            finally:
                with contextlib.suppress(*_ERRORS):
                    await self._database.release(connection, timeout=LIMITS.goodbye_seconds)
            return
        await _answer(self._free_connections.acquire())
        try:
            connection = await _answer(asyncpg.connect(self._database))
            try:
                yield connection
            finally:
                with contextlib.suppress(*_ERRORS):
                    await connection.close(timeout=LIMITS.goodbye_seconds)
        finally:
            self._free_connections.release()


class _RowEntry:
    def __init__(self, store: PostgresTokens, key: str, cipher: TokenCipher) -> None:
        self._store = store
        self._key = key
        self._cipher = cipher

    async def read(self) -> SharedToken | None:
        async with self._store.connection() as connection:
            return await _Row(connection, self._key, self._cipher).read()

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        async with self._store.connection() as connection:
            row = _Row(connection, self._key, self._cipher)
            try:
                await row.lock(patience)
                yield row
            finally:
                await row.unlock()


class _Row:
    """The row of one enterprise's token, on a connection."""

    def __init__(self, connection: Any, key: str, cipher: TokenCipher) -> None:
        self._connection = connection
        self._key = key
        self._cipher = cipher

    async def lock(self, patience: float) -> None:
        # The database ends the transaction of a session that hangs for longer than the others wait.
        milliseconds = max(1, round(patience * 1000))
        await _answer(self._connection.execute("BEGIN"))
        await _answer(self._connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"))
        try:
            async with asyncio.timeout(patience):
                await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_number(self._key))
        except TimeoutError:
            raise locked_too_long(patience) from None
        except _ERRORS as error:
            raise _store_error(error) from None

    async def read(self) -> SharedToken | None:
        row = await _answer(self._connection.fetchrow(_READ, self._key))
        if row is None:
            return None
        *encrypted, now = row
        return self._cipher.decrypt(EncryptedToken(*encrypted), now)

    async def write(self, token: SharedToken) -> None:
        now = await _answer(self._connection.fetchval(_NOW))
        encrypted = self._cipher.encrypt(token, now)
        await _answer(self._connection.execute(_WRITE, self._key, *msgspec.structs.astuple(encrypted)))
        await _answer(self._connection.execute("COMMIT"))

    async def unlock(self) -> None:
        """End the lock and undo an unfinished write."""
        with contextlib.suppress(*_ERRORS):
            if not self._connection.is_closed() and self._connection.is_in_transaction():
                await self._connection.execute("ROLLBACK", timeout=LIMITS.goodbye_seconds)


async def _answer(request: Awaitable[T]) -> T:
    """Return the database's answer. Raises `TokenStoreError` if there is none."""
    try:
        async with asyncio.timeout(LIMITS.answer_timeout_seconds):
            return await request
    except _ERRORS as error:
        raise _store_error(error) from None


def _store_error(error: Exception) -> TokenStoreError:
    # The message of a library about a DSN may quote its password; the server's message does not.
    if isinstance(error, asyncpg.UndefinedTableError):
        reason = f"{error}: {MISSING_TABLE_HINT}"
    elif isinstance(error, asyncpg.PostgresError):
        reason = str(error)
    else:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return TokenStoreError(f"the database of the tokens: {reason}")


def _lock_number(key: str) -> int:
    """Return the number of the entry's advisory lock: 64 bits, in a space that all programs on the database share."""
    return int.from_bytes(hashlib.sha256(f"ekb_token {key}".encode()).digest()[:8], signed=True)
