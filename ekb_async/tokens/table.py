"""The table of tokens in PostgreSQL, for all sessions of an event loop that use the same database.

Tokens that are looked up at the same time are read in one statement. The table joins the pool of its database with the
first session, and leaves it with the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ekb_async.aio.batcher import Batcher
from ekb_async.storage.postgres.database import Database
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.locks import TokenLocks
from ekb_async.tokens.rows import TokenRow, read_rows

if TYPE_CHECKING:
    import asyncpg


class TokenTable:
    """The rows and locks of a database's tokens, in the running event loop."""

    def __init__(self, given: str | asyncpg.Pool) -> None:
        self.locks = TokenLocks(given)
        self._given = given
        self._users = 0
        self._database = Database(given, "tokens")
        self._looks = Batcher[str, TokenRow]("tokens", self._read, size=LIMITS.looks_per_statement, in_flight=1)

    @classmethod
    def join(cls, given: str | asyncpg.Pool) -> TokenTable:
        """Return the table of a database, for one more session. Opens no connection."""
        place = asyncio.get_running_loop(), given
        table = _tables.get(place)
        if table is None:
            table = _tables[place] = cls(given)
        table._users += 1
        return table

    async def leave(self) -> None:
        """Leave the pool of the database if this was the last session."""
        self._users -= 1
        if self._users:
            return
        # A session that joins from now on uses another object.
        _tables.pop((asyncio.get_running_loop(), self._given), None)
        try:
            await self._looks.close(0)
        finally:
            try:
                await self.locks.close()
            finally:
                await self._database.close()

    async def look(self, key: str) -> TokenRow | None:
        """Return a row, None if there is none. Raises `EkbError` if the database is away, or refuses."""
        return await self._looks.load(key)

    async def _read(self, keys: Sequence[str]) -> Mapping[str, TokenRow]:
        return await self._database.run(
            lambda connection: read_rows(connection, keys), patience=LIMITS.look_patience_seconds
        )


_tables: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str | asyncpg.Pool], TokenTable] = WeakValueDictionary()
