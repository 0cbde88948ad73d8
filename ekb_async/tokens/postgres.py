"""One access token for all hosts that share a PostgreSQL.

The token of an enterprise is a row. Locking it is a transaction with an advisory lock: the database ends both with the
connection, so a process that is killed delays no other. The transaction of a process that hangs, or whose host is cut
off, is ended by the database after the others' patience, and cannot write afterwards.

Each access joins the pool of its database and leaves it afterwards, about twice in two hours for each session. So
sessions use the connections of their pace, or of their worker, and none stays open for tokens alone. Moments are those
of the database, since the clocks of hosts differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from ekb_async.errors import EkbError
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database, checked_dsn_or_pool
from ekb_async.storage.postgres.errors import translated
from ekb_async.tokens.cipher import EncryptedToken, TokenCipher, check_encryption
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, locked_too_long
from ekb_async.validation import checked_whole

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

# The database ends the transaction of a session that hangs for longer than the others wait.
_BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {}"
_LOCK = "SELECT pg_advisory_xact_lock($1)"

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds


class PostgresTokens:
    """The tokens of all hosts that share a database: `EkbSession(…, token_store=PostgresTokens("postgresql://…"))`.

    `database` is a DSN, or an `asyncpg` pool, which its owner closes. A token that is being fetched holds a connection:
    at most `connections` (1 to 1,000), and at most 4 of a process. The database needs the tables of `install_schema`;
    while it cannot be reached, a session fetches a token of its own and logs a warning. Raises `ConfigError` for wrong
    arguments, or if the library `cryptography` is missing.
    """

    def __init__(self, database: str | asyncpg.Pool, *, connections: int = 10) -> None:
        self._database = checked_dsn_or_pool(database)
        check_encryption()
        self._fetching = asyncio.Semaphore(checked_whole("connections", connections, most=1_000))

    def __repr__(self) -> str:
        return f"<PostgresTokens on {'a DSN' if isinstance(self._database, str) else 'a pool'}>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        return _RowEntry(self._database, self._fetching, key, TokenCipher(key, secret))


class _RowEntry:
    def __init__(
        self, database: str | asyncpg.Pool, fetching: asyncio.Semaphore, key: str, cipher: TokenCipher
    ) -> None:
        self.key = key
        self.cipher = cipher
        self._database = database
        self._fetching = fetching

    async def read(self) -> SharedToken | None:
        with _store_errors():
            async with asyncio.timeout(LIMITS.look_seconds), Database(self._database, "tokens") as database:
                row = await database.run(self.fetch, patience=LIMITS.look_patience_seconds)
        return self.token_in(row)

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(patience):
                    await stack.enter_async_context(self._fetching)
                    database = await stack.enter_async_context(Database(self._database, "token_locks"))
                    with _store_errors():
                        connection = await stack.enter_async_context(database.connection())
                        stack.push_async_callback(_roll_back, connection)
                        await connection.execute(_BEGIN.format(max(1, round(patience * 1000))), timeout=_ANSWER_SECONDS)
                        await connection.execute(_LOCK, _lock_number(self.key))
            except TimeoutError:
                raise locked_too_long(patience) from None
            yield _LockedRow(self, connection)

    # For its locked row

    async def fetch(self, connection: Any) -> Any:
        return await connection.fetchrow(_READ, self.key, timeout=_ANSWER_SECONDS)

    def token_in(self, row: Any) -> SharedToken | None:
        if row is None:
            return None
        *encrypted, now = row
        return self.cipher.decrypt(EncryptedToken(*encrypted), now)


class _LockedRow:
    """The row of an enterprise's token within the transaction that locks it."""

    def __init__(self, entry: _RowEntry, connection: Any) -> None:
        self._entry = entry
        self._connection = connection

    async def read(self) -> SharedToken | None:
        with _store_errors():
            row = await self._entry.fetch(self._connection)
        return self._entry.token_in(row)

    async def write(self, token: SharedToken) -> None:
        with _store_errors():
            now = await self._connection.fetchval(_NOW, timeout=_ANSWER_SECONDS)
            values = msgspec.structs.astuple(self._entry.cipher.encrypt(token, now))
            await self._connection.execute(_WRITE, self._entry.key, *values, timeout=_ANSWER_SECONDS)
            await self._connection.execute("COMMIT", timeout=_ANSWER_SECONDS)


async def _roll_back(connection: Any) -> None:
    """End the lock and undo an unfinished write; without its connection, the database has done so."""
    with contextlib.suppress(EkbError), translated():
        if connection.is_in_transaction():
            try:
                await connection.execute("ROLLBACK", timeout=LIMITS.goodbye_seconds)
            except BaseException:
                connection.terminate()
                raise


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        with translated():
            yield
    except EkbError as error:
        raise TokenStoreError(f"the database of the tokens: {error}") from None


def _lock_number(key: str) -> int:
    """Return the number of the entry's advisory lock: 64 bits, in a space that all programs on the database share."""
    return int.from_bytes(hashlib.sha256(f"ekb_token {key}".encode()).digest()[:8], signed=True)
