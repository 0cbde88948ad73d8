"""Adding calls to the call table, for the workers of any engine, and for runs of `ekb backlog run`."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterable
from contextlib import closing
from types import TracebackType
from typing import Any, Self

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.postgres.row_buffer import RowBuffer
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.config import Priority
from ekb_async.errors import ConfigError
from ekb_async.ext.engines.enqueuing.adding import AddedJobs
from ekb_async.ext.engines.enqueuing.matching import NewRow
from ekb_async.ext.engines.jobs import InvoiceJob, rows_of
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.rates import Config, config_of
from ekb_async.storage.postgres.channels import NOTIFY_ADDED
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.errors import translated
from ekb_async.storage.postgres.schema import install_on
from ekb_async.storage.postgres.statements import PostgresStatements
from ekb_async.storage.postgres.version import VERSION, check_not_newer
from ekb_async.storage.timing import StorageTiming
from ekb_async.validation import checked_inputs


class EnqueueReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `Enqueuer.add` did: `added` jobs are new calls, `duplicates` share a call with another job or row.

    `present` counts the duplicates that were in the call table already and were not added again. `ids` has the ID of
    each job's call, in the order of the jobs; jobs of one tenant for the same content have the same. `new` says of each
    job whether this call was added for it, so it is true `added` times.
    """

    added: int
    duplicates: int
    present: int = 0
    ids: tuple[int, ...] = ()
    new: tuple[bool, ...] = ()


class Enqueuer:
    """Adds calls for workers to a database: `async with Enqueuer(dsn) as enqueuer: await enqueuer.add(jobs)`.

    Takes a DSN or an `asyncpg.Pool`, and may stay open as long as the program runs. Any number of tasks may use it. The
    tables of an older version are upgraded, and missing ones created, when it is first used, see `install_schema`.
    Raises `ConfigError` for another argument.
    """

    def __init__(self, dsn_or_pool: str | asyncpg.Pool) -> None:
        self._database = Database(dsn_or_pool, name="ekb enqueue")
        self._checking = asyncio.Lock()
        self._is_checked = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<Enqueuer: {'closed' if self._closed else 'open'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, but not those of a pool that was given."""
        self._closed = True
        await self._database.close()

    async def add(
        self, jobs: Iterable[InvoiceJob], *, connection: asyncpg.Connection | PoolConnectionProxy | None = None
    ) -> EnqueueReport:
        """Add calls, all or none, and notify the workers; return the IDs of the calls.

        `jobs` may be of any length; the iterable is read in a thread, and local files are hashed there. All of them are
        read before the first is added. With a `connection` of `asyncpg`, calls are added in its transaction, and made
        if that is committed; if it has none, in a transaction of their own. Without jobs, workers only search for calls
        that are pending for another reason.

        Raises `ConfigError` naming the number, counted from 1, and the file of the first job that is not valid;
        `EkbConnectionError` if the database cannot be reached, within 60 s if it is not the caller's connection;
        `StorageError` if the database refuses.
        """
        if self._closed:
            raise ConfigError("this Enqueuer is closed")
        if not isinstance(checked_inputs("jobs", jobs), Iterable):
            raise ConfigError("jobs must be an iterable that is not asynchronous")
        if connection is not None and not isinstance(connection, asyncpg.Connection | PoolConnectionProxy):
            raise ConfigError(f"connection must be one of asyncpg, not {type(connection).__name__}")
        with closing(RowBuffer()) as buffer:
            await _read(jobs, buffer)
            return await (self._add(buffer) if connection is None else self._add_within(connection, buffer))

    async def _add(self, buffer: RowBuffer) -> EnqueueReport:
        async with self._checking:
            if not self._is_checked:
                await install_on(self._database, patience=LIMITS.enqueue_patience_seconds)
                self._is_checked = True
        seconds = StorageTiming.from_env().statement
        return await self._database.transact(
            lambda connection: _add(PostgresStatements(connection, seconds), buffer),
            patience=LIMITS.enqueue_patience_seconds,
        )

    async def _add_within(self, connection: Any, buffer: RowBuffer) -> EnqueueReport:
        """Add jobs in the transaction of the caller's connection, in a part that is undone if it fails."""
        with translated():
            async with connection.transaction():
                check_not_newer(await connection.fetchval(VERSION))
                return await _add(PostgresStatements(connection), buffer)


async def enqueue(dsn: str, jobs: Iterable[InvoiceJob] = (), *, config: Config | None = None) -> AddReport:
    """Add calls, all or none, and notify the workers: `Enqueuer.add` in one step, with the same errors.

    `config` is not needed any more, since workers have the rates of their tenants; it is checked and not used.
    """
    config_of(config)
    async with Enqueuer(dsn) as enqueuer:
        report = await enqueuer.add(jobs)
    return AddReport(added=report.added, duplicates=report.duplicates, present=report.present)


async def _read(jobs: Iterable[InvoiceJob], buffer: RowBuffer) -> None:
    """Write the rows of jobs into the buffer; a caller that is cancelled waits for one file at most."""
    loop, stopping = asyncio.get_running_loop(), threading.Event()
    rows = rows_of(itertools.takewhile(lambda _: not stopping.is_set(), jobs))

    def portion() -> list[tuple[object, ...]]:
        return [_new_row(priority, row) for priority, row in itertools.islice(rows, LIMITS.jobs_per_portion)]

    while some := await await_uncancelled(loop.run_in_executor(None, portion), stopping.set):
        await buffer.add(some)


def _new_row(priority: Priority, row: ManifestRow) -> NewRow:
    values = {name: getattr(row, name) for name in NewRow._fields if name in ManifestRow._fields}
    return NewRow(**values | {"priority": int(priority), "content": "", "form": None})


async def _add(statements: PostgresStatements, buffer: RowBuffer) -> EnqueueReport:
    added = AddedJobs(statements)
    some: list[NewRow] = []
    async for row in buffer.rows():
        some.append(NewRow._make(row))
        if len(some) == LIMITS.jobs_per_portion:
            await added.add(some)
            some = []
    if some:
        await added.add(some)
    if not added.ids:
        await statements.script(NOTIFY_ADDED)
    count = sum(added.new)
    return EnqueueReport(
        added=count,
        duplicates=len(added.ids) - count,
        present=added.present,
        ids=tuple(added.ids),
        new=tuple(added.new),
    )
