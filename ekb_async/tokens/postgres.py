"""One access token for all hosts that share a PostgreSQL.

The token of an enterprise is a row. Its lock ends with the process that holds it, with the connection of a host that is
cut off, and after the others' patience if its session hangs (see `locks`); a late write then changes nothing (`rows`).

All sessions of an event loop share two connections of the pool of their database, those of their pace and worker if
there are any: one for looks, one for locks. Moments are those of the database, since the clocks of hosts differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from ekb_async.errors import EkbConnectionError, EkbError
from ekb_async.storage.postgres.database import checked_dsn_or_pool
from ekb_async.storage.postgres.errors import translated
from ekb_async.tokens.cipher import TokenCipher, check_encryption
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.locks import Locked
from ekb_async.tokens.rows import NewToken, TokenRow
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, locked_too_long
from ekb_async.tokens.table import TokenTable
from ekb_async.validation import checked_whole, warn_renamed

T = TypeVar("T")


class PostgresTokens:
    """The tokens of all hosts that share a database: `EkbSession(…, token_store=PostgresTokens("postgresql://…"))`.

    `database` is a DSN, or an `asyncpg` pool, which its owner closes. At most `max_fetching` tokens (1 to 1,000) are
    fetched from the vendor at the same time; each is two locks of the server, which has 6,400 by default. The database
    needs the tables of `install_schema`; while it cannot be reached, a session fetches a token of its own and logs a
    warning. Raises `ConfigError` for wrong arguments, or if the library `cryptography` is missing.
    """

    def __init__(
        self,
        database: str | asyncpg.Pool,
        *,
        max_fetching: int = LIMITS.fetches_at_once,
        connections: int | None = None,
    ) -> None:
        if connections is not None:
            warn_renamed("connections", "max_fetching")
            max_fetching = connections
        self._database = checked_dsn_or_pool(database)
        check_encryption()
        self._fetching = asyncio.Semaphore(checked_whole("max_fetching", max_fetching, most=1_000))

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
        self._number = _lock_number(key)
        self._database = database
        self._fetching = fetching
        self._joined: TokenTable | None = None

    @property
    def table(self) -> TokenTable:
        if self._joined is None:
            self._joined = TokenTable.join(self._database)
        return self._joined

    async def read(self) -> SharedToken | None:
        with _store_errors():
            async with asyncio.timeout(LIMITS.look_seconds):
                row = await self.table.look(self.key)
        return self.token_in(row)

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        held = await self._locked(patience)
        # Also if this process goes on, a token that takes too long to be fetched must not delay the others.
        limit = asyncio.get_running_loop().call_later(patience, held.end)
        try:
            yield _LockedRow(self, held.locked.row)
        finally:
            limit.cancel()
            held.end()

    async def _locked(self, patience: float) -> _Held:
        loop = asyncio.get_running_loop()
        pause = LIMITS.first_lock_pause_seconds
        until = float("inf")
        while True:
            # Waiting for other tokens of this process is not waiting for the lock.
            await self._fetching.acquire()
            locked = None
            try:
                locked = await _done(functools.partial(self.table.locks.try_lock, self.key, self._number))
            finally:
                if locked is None:
                    self._fetching.release()
            if locked is not None:
                return _Held(self.table, locked, self._fetching)
            until = min(until, loop.time() + patience)
            if loop.time() >= until:
                raise locked_too_long(patience)
            await asyncio.sleep(min(pause, until - loop.time()))
            pause = min(LIMITS.lock_pause_growth * pause, LIMITS.longest_lock_pause_seconds)

    async def close(self) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            await joined.leave()

    # For its locked row

    def token_in(self, row: TokenRow | None) -> SharedToken | None:
        return None if row is None else self.cipher.decrypt(row.token, row.now)


class _Held:
    """A lock that is held, and the room for its token among those that are fetched."""

    def __init__(self, table: TokenTable, locked: Locked, fetching: asyncio.Semaphore) -> None:
        self.locked = locked
        self._table = table
        self._fetching = fetching
        self._ended = False

    def end(self) -> None:
        """End the lock, unless that was done before."""
        if not self._ended:
            self._ended = True
            self._table.locks.unlock(self.locked)
            self._fetching.release()


class _LockedRow:
    """The row of an enterprise's token, as it was when it was locked."""

    def __init__(self, entry: _RowEntry, row: TokenRow | None) -> None:
        self._entry = entry
        self._row = row

    async def read(self) -> SharedToken | None:
        return self._entry.token_in(self._row)

    async def write(self, token: SharedToken) -> None:
        new = NewToken(self._entry.cipher.encrypt(token, 0.0), self._row)
        if not await _done(functools.partial(self._entry.table.locks.write, self._entry.key, new)):
            raise TokenStoreError("another session has stored a token meanwhile")
        self._row = TokenRow(new.token, 0.0)


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        with translated():
            yield
    except EkbError as error:
        raise TokenStoreError(f"the database of the tokens: {error}") from None


async def _done(work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of work with the connection of the locks; if that is lost meanwhile, do it again with another.

    Otherwise all tokens that are being fetched would become tokens of single sessions.
    """
    with _store_errors():
        try:
            return await work()
        except EkbConnectionError:
            return await work()


def _lock_number(key: str) -> int:
    """Return the number of the entry's advisory lock, 64 bits, without the part that stands for the schema."""
    return int.from_bytes(hashlib.sha256(f"ekb_token {key}".encode()).digest()[:8], signed=True)
