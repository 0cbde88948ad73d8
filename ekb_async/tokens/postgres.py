"""One access token for all hosts that share a PostgreSQL.

The token of an enterprise is a row. Holding it is a transaction with an advisory lock, on a connection of its own: the
database ends both with the connection, so a process that dies holds nobody up. The transaction of one that hangs, or
whose host is cut off, is ended by the database after the patience of the others, and cannot write afterwards.

Connections live for one look, about two in two hours for each session; at most so many are open at a time. Moments are
the database's, since the clocks of hosts differ.
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

from ekb_async.storage.postgres import IF_A_TABLE_IS_MISSING, checked_place
from ekb_async.tokens.cipher import EncryptedToken, TokenCipher, check_encryption
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, held_too_long
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

_ANSWERS_WITHIN = 10.0
_SAYS_GOODBYE_WITHIN = 2.0
_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
"""A DSN that cannot be read is a `ValueError`."""


class PostgresTokens:
    """The tokens of all hosts that share a database: `EkbSession(…, token_store=PostgresTokens("postgresql://…"))`.

    `database` is a DSN, or an `asyncpg` pool, which stays its owner's to close; with a DSN at most `connections` (1 to
    1,000) are open at a time. The database needs the tables of `install_schema`; while it is out of reach, a session
    fetches a token of its own and logs a warning. Raises `ConfigError` for wrong arguments, or if the library
    `cryptography` is missing.
    """

    def __init__(self, database: str | asyncpg.Pool, *, connections: int = 10) -> None:
        self._database = checked_place(database)
        check_encryption()
        self._room = asyncio.Semaphore(checked_whole("connections", connections, most=1_000))

    def __repr__(self) -> str:
        return f"<PostgresTokens on {'a DSN' if isinstance(self._database, str) else 'a pool'}>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        return _RowEntry(self, key, TokenCipher(key, secret))

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any]:
        """A connection to the database, for one look. Raises `TokenStoreError` on entry."""
        if not isinstance(self._database, str):
            connection = await _answer(self._database.acquire())
            try:
                yield connection
            finally:
                with contextlib.suppress(*_TROUBLE):
                    await self._database.release(connection, timeout=_SAYS_GOODBYE_WITHIN)
            return
        await _answer(self._room.acquire())
        try:
            connection = await _answer(asyncpg.connect(self._database))
            try:
                yield connection
            finally:
                with contextlib.suppress(*_TROUBLE):
                    await connection.close(timeout=_SAYS_GOODBYE_WITHIN)
        finally:
            self._room.release()


class _RowEntry:
    def __init__(self, store: PostgresTokens, key: str, encrypt: TokenCipher) -> None:
        self._store = store
        self._key = key
        self._cipher = encrypt

    async def read(self) -> SharedToken | None:
        async with self._store.connection() as connection:
            return await _HeldRow(connection, self._key, self._cipher).read()

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        async with self._store.connection() as connection:
            held = _HeldRow(connection, self._key, self._cipher)
            try:
                await held.begin(patience)
                yield held
            finally:
                await held.end()


class _HeldRow:
    """The row of one enterprise's token, in a transaction."""

    def __init__(self, connection: Any, key: str, encrypt: TokenCipher) -> None:
        self._connection = connection
        self._key = key
        self._cipher = encrypt

    async def begin(self, patience: float) -> None:
        milliseconds = max(1, round(patience * 1000))
        await _answer(self._connection.execute("BEGIN"))
        await _answer(self._connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"))
        try:
            async with asyncio.timeout(patience):
                await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_number(self._key))
        except TimeoutError:
            raise held_too_long(patience) from None
        except _TROUBLE as error:
            raise _out_of_reach(error) from None

    async def read(self) -> SharedToken | None:
        row = await _answer(self._connection.fetchrow(_READ, self._key))
        if row is None:
            return None
        *encrypted, now = row
        return self._cipher.open(EncryptedToken(*encrypted), now)

    async def write(self, token: SharedToken) -> None:
        now = await _answer(self._connection.fetchval(_NOW))
        encrypted = self._cipher.encrypt(token, now)
        await _answer(self._connection.execute(_WRITE, self._key, *msgspec.structs.astuple(encrypted)))
        await _answer(self._connection.execute("COMMIT"))

    async def end(self) -> None:
        """Undoes what was not written to its end, and lets others hold the row."""
        with contextlib.suppress(*_TROUBLE):
            if not self._connection.is_closed() and self._connection.is_in_transaction():
                await self._connection.execute("ROLLBACK", timeout=_SAYS_GOODBYE_WITHIN)


async def _answer(question: Awaitable[T]) -> T:
    """What the database answers. Raises `TokenStoreError` if it does not."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN):
            return await question
    except _TROUBLE as error:
        raise _out_of_reach(error) from None


def _out_of_reach(error: Exception) -> TokenStoreError:
    # What a library says about a DSN may quote its password; what the server says does not.
    if isinstance(error, asyncpg.UndefinedTableError):
        reason = f"{error}: {IF_A_TABLE_IS_MISSING}"
    elif isinstance(error, asyncpg.PostgresError):
        reason = str(error)
    else:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return TokenStoreError(f"the database that the tokens are in: {reason}")


def _lock_number(key: str) -> int:
    """What advisory locks go by: 64 bits, which other programs on the same database have as well."""
    return int.from_bytes(hashlib.sha256(f"ekb_token {key}".encode()).digest()[:8], signed=True)
