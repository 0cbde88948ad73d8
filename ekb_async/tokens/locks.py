"""Locks on the tokens of many enterprises, over one connection to PostgreSQL.

The locks are advisory locks of the connection. The database ends them with it, so a process that is killed delays no
other. The connection is in a transaction that the database ends if the process is silent for some seconds, so neither
does a process that hangs; one that is alive sends a statement now and then. What is requested at the same time shares a
statement. The connection is borrowed from the pool of the database with the first request, and given back when there is
neither a request nor a lock.

A lock that is held elsewhere is not waited for in the database, since other requests need the connection: the caller
tries again. Locks of a connection do not exclude one another, so those that are held here are refused here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ekb_async.aio.tasks import TaskScope
from ekb_async.errors import EkbError, SessionClosedError
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.locks import OF_TOKENS
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.rows import NewToken, TokenRow, read_rows, write_rows

if TYPE_CHECKING:
    import asyncpg

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

_BEGIN = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = {LIMITS.lock_silence_seconds * 1000:.0f}"
_COMMIT = f"COMMIT; {_BEGIN}"
_END = "SELECT pg_advisory_unlock_all(); ROLLBACK"
# A lock without the other is ended at once; the second of them excludes workers of earlier versions.
_TRY = f"""
SELECT number FROM unnest($1::text[]::bigint[]) AS wanted (number)
WHERE CASE WHEN NOT pg_try_advisory_lock(number # {OF_TOKENS}) THEN false
    ELSE pg_try_advisory_lock_shared(number) OR NOT pg_advisory_unlock(number # {OF_TOKENS}) END
"""  # noqa: S608 - a constant
_UNLOCK = f"""
SELECT pg_advisory_unlock(number # {OF_TOKENS}), pg_advisory_unlock_shared(number)
FROM unnest($1::text[]::bigint[]) AS held (number)
"""  # noqa: S608 - a constant
_HEARTBEAT = "SELECT"


@dataclasses.dataclass(slots=True, eq=False)
class Locked:
    """A lock that is held, and the row of its key as it was read afterwards."""

    number: int
    row: TokenRow | None


class _Try(NamedTuple):
    """A request for a lock; the result is None if another session holds it."""

    key: str
    result: asyncio.Future[Locked | None]


class _Write(NamedTuple):
    """A request to write a row; the result is False if the row has changed since it was read."""

    key: str
    new: NewToken
    result: asyncio.Future[bool]


class TokenLocks:
    """The locks that the sessions of an event loop hold on the tokens of a database."""

    def __init__(self, given: str | asyncpg.Pool) -> None:
        self._database = Database(given, "token_locks")
        self._loop = asyncio.get_running_loop()
        self._scope = TaskScope()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._tries: dict[int, _Try] = {}
        self._writes: list[_Write] = []
        self._unlocked: list[Locked] = []
        self._held: dict[int, Locked] = {}

    async def try_lock(self, key: str, number: int) -> Locked | None:
        """Lock a key by its number, and return the lock; None if another session has locked it.

        Raises `EkbError` if the database is away, or refuses.
        """
        if number in self._held or number in self._tries:
            return None
        result: asyncio.Future[Locked | None] = self._loop.create_future()
        self._tries[number] = _Try(key, result)
        self._request()
        try:
            return await result
        except asyncio.CancelledError:
            # The lock may have been taken in the loop iteration in which the caller was cancelled.
            if not result.cancelled() and result.exception() is None and (locked := result.result()) is not None:
                self.unlock(locked)
            raise

    async def write(self, key: str, new: NewToken) -> bool:
        """Write a row, whether its lock is still held or not; return False if it has changed since it was read.

        Raises `EkbError` if the database is away, or refuses; the row may have been written.
        """
        result: asyncio.Future[bool] = self._loop.create_future()
        self._writes.append(_Write(key, new, result))
        self._request()
        return await result

    def unlock(self, locked: Locked) -> None:
        """End a lock, unless it has been ended already or was lost with its connection."""
        if self._held.get(locked.number) is locked:
            self._unlocked.append(locked)
            self._news.set()

    async def close(self) -> None:
        """Give back the connection, which ends all locks."""
        try:
            await self._scope.finish(LIMITS.goodbye_seconds)
        finally:
            await self._database.close()

    def _request(self) -> None:
        self._news.set()
        if self._task is None:
            self._task = self._scope.start(self._serve(), name="ekb token locks")

    async def _serve(self) -> None:
        """Serve requests over one connection while there are requests or locks."""
        try:
            async with self._database.connection() as connection:
                await self._serve_on(connection)
        except Exception as error:  # noqa: BLE001 - the callers that wait get it
            if self._task is asyncio.current_task():
                self._lose(error)
        except asyncio.CancelledError:
            if self._task is asyncio.current_task():
                self._lose(SessionClosedError("the session was closed while a token was fetched"))
            raise

    async def _serve_on(self, connection: Any) -> None:
        try:
            await connection.execute(_BEGIN, timeout=_ANSWER_SECONDS)
            while not self._is_done:
                self._news.clear()
                await self._serve_requests(connection)
                if not self._is_done:
                    await self._wait(connection)
        except BaseException:
            connection.terminate()
            raise
        # A request from here on needs another task, which waits until this one has given its connection back.
        self._task = None
        self._unlocked.clear()
        self._held.clear()
        try:
            await connection.execute(_END, timeout=LIMITS.goodbye_seconds)
        except BaseException:
            connection.terminate()
            raise

    @property
    def _is_done(self) -> bool:
        """Whether there is neither a request nor a lock that is still needed."""
        return not self._tries and not self._writes and len(self._unlocked) == len(self._held)

    async def _wait(self, connection: Any) -> None:
        """Wait for the next request; send heartbeats meanwhile."""
        while not self._news.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIMITS.heartbeat_seconds):
                    await self._news.wait()
                    return
            await connection.execute(_HEARTBEAT, timeout=_ANSWER_SECONDS)

    async def _serve_requests(self, connection: Any) -> None:
        # In this order, so that a token is stored before its lock ends, and a lock can be taken again at once.
        if self._writes:
            await self._serve_writes(connection, list(self._writes))
        if unlocked := list(self._unlocked):
            await connection.fetch(_UNLOCK, [str(each.number) for each in unlocked], timeout=_ANSWER_SECONDS)
            self._unlocked = self._unlocked[len(unlocked) :]
            for each in unlocked:
                del self._held[each.number]
        if self._tries:
            await self._serve_tries(connection, dict(self._tries))

    async def _serve_writes(self, connection: Any, writes: Sequence[_Write]) -> None:
        # Of two writes of a row the second comes too late, since it has not read what the first has written.
        first: dict[str, _Write] = {}
        for each in writes:
            first.setdefault(each.key, each)
        written = await write_rows(connection, {key: each.new for key, each in first.items()})
        await connection.execute(_COMMIT, timeout=_ANSWER_SECONDS)
        self._writes = self._writes[len(writes) :]
        for each in writes:
            if not each.result.done():
                each.result.set_result(each.key in written and each is first[each.key])

    async def _serve_tries(self, connection: Any, tries: dict[int, _Try]) -> None:
        taken = await connection.fetch(_TRY, [str(number) for number in tries], timeout=_ANSWER_SECONDS)
        numbers = {row["number"] for row in taken}
        # Only a later statement sees what the last holder has written.
        rows = await read_rows(connection, [tries[number].key for number in numbers]) if numbers else {}
        for number, each in tries.items():
            del self._tries[number]
            locked = Locked(number, rows.get(each.key)) if number in numbers else None
            if locked is not None:
                self._held[number] = locked
            if not each.result.done():
                each.result.set_result(locked)
            elif locked is not None:
                self.unlock(locked)

    def _lose(self, error: Exception) -> None:
        """Fail all requests, because the connection was lost and all locks with it."""
        self._task = None
        waiting: list[asyncio.Future[Any]] = [each.result for each in self._tries.values()]
        waiting += [each.result for each in self._writes]
        self._tries.clear()
        self._writes.clear()
        self._unlocked.clear()
        self._held.clear()
        for result in waiting:
            if not result.done():
                result.set_exception(error.again() if isinstance(error, EkbError) else error)
