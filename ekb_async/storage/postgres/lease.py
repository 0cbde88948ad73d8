"""The lease of a run on a shared database: an advisory lock, and a heartbeat, the time at which it was last seen.

The lock belongs to a connection with no other use. The database frees it when the process ends, for whatever reason,
and keeps it for a process that is stopped, which may resume at any time. Where a host vanishes, the database notices
(see `pool`). A restart of the database, or of the network, frees all locks at once while the runs go on: so a run
is dead only if, besides, it was not seen for a while in which the database was up. A run that was considered dead and
is not (its host was cut off) inserts its entry again under its number, without the calls that it had claimed.

The connection also receives the notification that calls were added. One may be lost with a connection, so each new
connection counts as one.

Each connection must lead to one server process of its own, so a pooler must not work in transaction mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import asyncpg

from ekb_async.aio.tasks import cancel_and_wait, start_task
from ekb_async.errors import EkbConnectionError, EkbError, StorageError
from ekb_async.storage.limits import LIMITS
from ekb_async.storage.postgres.channels import ADDED, BACKLOG
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.errors import unreachable
from ekb_async.storage.postgres.locks import FORMER_CLASS, OF_RUNS
from ekb_async.storage.timing import StorageTiming

_NOW = "extract(epoch FROM clock_timestamp())::float8"
_ENTER = f"""
INSERT INTO ekb_run (host, pid, started_at, seen, hold_unknown)
SELECT $1, $2, moment, moment, $3 FROM (SELECT {_NOW} AS moment) AS clock RETURNING id, started_at
"""  # noqa: S608 - a constant
_LOCK = f"SELECT pg_try_advisory_lock({OF_RUNS}, $1), pg_try_advisory_lock_shared({FORMER_CLASS}, $1)"
_HEARTBEAT = f"""
INSERT INTO ekb_run (id, host, pid, started_at, seen, hold_unknown) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, {_NOW}, $5)
ON CONFLICT (id) DO UPDATE SET (seen, hold_unknown) = (excluded.seen, excluded.hold_unknown)
"""  # noqa: S608 - a constant
_LOCK_ENTRY = "SELECT FROM ekb_run WHERE id = $1 FOR UPDATE"
_LEAVE = """
DELETE FROM ekb_run WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM ekb_call WHERE state = 'running' AND run_id = $1)
"""
_UNLOCK = "SELECT pg_advisory_unlock_all()"

# A moment in the future shows that the clock was set back after it.
_UNSEEN = f"""
SELECT id FROM ekb_run
WHERE seen NOT BETWEEN {_NOW} - $1 AND {_NOW} + $1
    AND extract(epoch FROM pg_postmaster_start_time()) NOT BETWEEN {_NOW} - $1 AND {_NOW} + $1
    AND (NOT $2 OR (
        SELECT extract(epoch FROM backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()
    ) NOT BETWEEN {_NOW} - $1 AND {_NOW} + $1)
ORDER BY id FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - a constant
_LOCK_FOR_NOW = f"""
SELECT pg_try_advisory_xact_lock({OF_RUNS}, $1) AND pg_try_advisory_xact_lock_shared({FORMER_CLASS}, $1)
"""


HAS_UNSEEN = f"""
SELECT EXISTS (SELECT 1 FROM ekb_run WHERE seen NOT BETWEEN {_NOW} - :dead_after AND {_NOW} + :dead_after)
"""  # noqa: S608 - a constant
"""Whether there are runs that may be dead."""


async def take_dead(connection: Any, *, patient: bool, dead_after: float) -> list[int]:
    """Return the runs that are dead, to be settled within the current transaction of the connection.

    Until the transaction ends no other process gets them, and they cannot become alive again. The caller deletes the
    entry of a run that it settles from `ekb_run`. A caller that repeats the check is `patient`: a database may lose all
    connections without a restart (one of its processes is killed, a standby takes its place), so for a new connection
    no run is dead.
    """
    unseen = await connection.fetch(_UNSEEN, dead_after, patient, timeout=LIMITS.answer_timeout_seconds)
    return [
        run_id
        for (run_id,) in unseen
        if await connection.fetchval(_LOCK_FOR_NOW, run_id, timeout=LIMITS.answer_timeout_seconds)
    ]


class RunLease:
    """The entry of a run in `ekb_run`, and a task that keeps its lock and heartbeat. Created by `take`."""

    def __init__(
        self,
        dsn_or_pool: str | asyncpg.Pool,
        *,
        hold_unknown: bool,
        timing: StorageTiming,
        on_added: Callable[[], object] | None = None,
    ) -> None:
        self.run_id = 0
        self.hold_unknown = hold_unknown
        """Whether billed calls that the run may leave without an answer fail; written with the next heartbeat."""
        self._timing = timing
        self._on_added = on_added
        self._database = Database(dsn_or_pool, "leases", name="ekb run")
        self._process = (socket.gethostname(), os.getpid())
        self._started_at = 0.0
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[None] = loop.create_future()
        self._leaving = asyncio.Event()
        self._task = start_task(self._keep_alive(), loop, name="ekb lease")

    def __repr__(self) -> str:
        return f"<RunLease of run {self.run_id}{'' if not self._task.done() else ', released'}>"

    @classmethod
    async def take(
        cls,
        dsn_or_pool: str | asyncpg.Pool,
        *,
        hold_unknown: bool,
        timing: StorageTiming | None = None,
        on_added: Callable[[], object] | None = None,
    ) -> RunLease:
        """Insert the entry of a new run and keep a connection with its lock, until `release`.

        `hold_unknown` says that billed calls which the run may leave without an answer fail. `on_added` is called when
        calls were added. Raises `EkbConnectionError` if the database is away for `timing.patience` seconds,
        `StorageError` if it refuses.
        """
        timing = timing or StorageTiming.from_env()
        lease = cls(dsn_or_pool, hold_unknown=hold_unknown, timing=timing, on_added=on_added)
        try:
            async with asyncio.timeout(timing.patience):
                await asyncio.wait([lease._entered, lease._task], return_when=asyncio.FIRST_COMPLETED)
            if not lease._entered.done():
                lease._task.result()
        except BaseException as error:
            await (lease.release() if lease.run_id else cancel_and_wait(lease._task))
            if isinstance(error, TimeoutError):
                raise unreachable(error, timing.patience) from None
            raise
        return lease

    async def release(self) -> None:
        """Free the lock and delete the entry; an entry with running calls is left for other runs to settle.

        Does not raise if the database is away, since other runs detect later that this one is dead.
        """
        self._leaving.set()
        with contextlib.suppress(TimeoutError, EkbError):
            async with asyncio.timeout(2 * self._timing.goodbye):
                await asyncio.shield(self._task)
        await cancel_and_wait(self._task)

    async def show(self, connection: Any) -> None:
        """Write a heartbeat, in the current transaction of the connection."""
        entry = (self.run_id, *self._process, self._started_at, self.hold_unknown)
        await connection.execute(_HEARTBEAT, *entry, timeout=LIMITS.answer_timeout_seconds)

    async def _keep_alive(self) -> None:
        async with self._database:
            while not self._leaving.is_set():
                try:
                    async with self._database.connection(closed_after=True) as connection:
                        await self._beat(connection)
                except EkbConnectionError:
                    await self._wait(self._timing.reconnect)
                except StorageError:
                    if not self.run_id:
                        raise
                    await self._wait(self._timing.heartbeat)

    async def _wait(self, seconds: float) -> None:
        """Wait, at most until the run is released."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def _beat(self, connection: Any) -> None:
        """Hold the lock and write heartbeats as long as the connection lasts, or until the run is released."""
        if not self.run_id:
            await self._enter(connection)
        if self._on_added is not None:
            await self._listen(connection, self._on_added)
        locked = False
        while not self._leaving.is_set():
            # The database may not have noticed yet that the previous connection is lost, and still give it the lock.
            # What was locked already may be locked again: all of it ends together.
            locked = locked or all(await connection.fetchrow(_LOCK, self.run_id, timeout=LIMITS.answer_timeout_seconds))
            await self.show(connection)
            if not self._entered.done():
                self._entered.set_result(None)
            await self._wait(self._timing.heartbeat)
        async with connection.transaction():
            # A claim may still be under way; its calls are visible once it has ended.
            await connection.execute(_LOCK_ENTRY, self.run_id, timeout=self._timing.goodbye)
            await connection.execute(_LEAVE, self.run_id, timeout=self._timing.goodbye)
        await connection.fetchval(_UNLOCK, timeout=self._timing.goodbye)

    async def _listen(self, connection: Any, on_added: Callable[[], object]) -> None:
        backlog = await connection.fetchval(f"SELECT {BACKLOG}", timeout=LIMITS.answer_timeout_seconds)

        def notified(*notification: Any) -> None:
            *_, of_backlog = notification
            if of_backlog == backlog:
                on_added()

        async with asyncio.timeout(LIMITS.answer_timeout_seconds):
            await connection.add_listener(ADDED, notified)
        on_added()

    async def _enter(self, connection: Any) -> None:
        self.run_id, self._started_at = await connection.fetchrow(
            _ENTER, *self._process, self.hold_unknown, timeout=LIMITS.answer_timeout_seconds
        )
