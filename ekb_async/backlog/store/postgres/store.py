"""A backlog in a PostgreSQL database, shared by any number of hosts.

Each change is one transaction that takes effect exactly once, however often the connection is lost. While the database
is unavailable, a run waits for ten minutes, everything else for one. Few calls are claimed ahead, because no other host
can make a claimed call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.call_store import AT_WORK, CallStore, Written
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.news import News
from ekb_async.backlog.store.postgres.listening import Notifications
from ekb_async.backlog.store.postgres.row_buffer import RowBuffer
from ekb_async.backlog.store.postgres.sql import (
    budget_sql,
    copy_sql,
    count_sql,
    invoice_sql,
    metrics_sql,
    pause_sql,
    purge_sql,
    removal_sql,
    result_sql,
    retry_sql,
)
from ekb_async.backlog.store.postgres.sql import call_sql as sql
from ekb_async.backlog.store.postgres.sql.engine_sql import ENTRYPOINT, UPKEEP, EngineTable, Removed, engine_tables
from ekb_async.backlog.store.transactions.adding import add_imported
from ekb_async.backlog.store.values.calls import Call, CallResult, SentMark, recorded
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.config import Priority
from ekb_async.errors import BacklogBusyError, ConfigError
from ekb_async.storage.postgres.channels import NOTIFY_ADDED
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.errors import translated
from ekb_async.storage.postgres.lease import RunLease, take_dead
from ekb_async.storage.postgres.schema import check_schema, has_tables, install_schema
from ekb_async.storage.postgres.statements import PostgresStatements
from ekb_async.storage.statements import Statements
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")


class PostgresStore(CallStore):
    """A backlog in a database.

    Raises `EkbConnectionError` if the database is unavailable for too long, `StorageError` if it refuses.
    """

    claims_ahead = LIMITS.claims_ahead_in_database
    file = None
    sql = sql
    copy_sql = copy_sql
    invoice_sql = invoice_sql
    purge_sql = purge_sql
    metrics_sql = metrics_sql
    pause_sql = pause_sql
    removal_sql = removal_sql
    result_sql = result_sql
    retry_sql = retry_sql
    budget_sql = budget_sql

    def __init__(self, dsn: str, name: str, timing: StorageTiming, clock: Callable[[], float]) -> None:
        self.name = name
        self._dsn = dsn
        self._timing = timing
        self.clock = clock
        self._database = Database(dsn)
        self._leases: dict[int, RunLease] = {}
        self._buffer: RowBuffer | None = None
        self._next_sums = 0.0
        self._closed = False

    def __repr__(self) -> str:
        return f"<PostgresStore {self.name!r}>"

    @property
    def trouble(self) -> str:
        return self._database.trouble

    @classmethod
    async def open(
        cls,
        dsn: str,
        timing: StorageTiming | None = None,
        clock: Callable[[], float] = time.time,
        *,
        read_only: bool = False,
    ) -> Self:
        """Open the backlog of a database, and create its tables if they are missing, unless it is `read_only`.

        Raises `StorageError` if the database refuses, `EkbConnectionError` if it cannot be reached in time.
        """
        timing = timing or StorageTiming.from_env()
        store = cls(dsn, "", timing, clock)
        try:
            # All that follows uses the connection of this.
            store.name = await store._database.run(
                lambda connection: connection.fetchval("SELECT current_database()"), patience=timing.setup_patience
            )
            if read_only:
                await check_schema(dsn, patience=timing.setup_patience)
            else:
                await install_schema(dsn, patience=timing.setup_patience)
        except BaseException:
            await store._database.close()
            raise
        return store

    @staticmethod
    async def exists(dsn: str) -> bool:
        """Return whether a database has a backlog, which is not created. Raises as `open` does."""
        return await has_tables(dsn, patience=StorageTiming.from_env().setup_patience)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self.discard_import()
        await self._database.close()

    # Access

    async def _read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        self._check_open()
        patience = self._timing.run_patience if self._leases else self._timing.patience
        return await self._database.run(lambda connection: work(PostgresStatements(connection)), patience=patience)

    async def _change(
        self, work: Callable[[Statements], Awaitable[T]], patience: float, timeout: float | None = None
    ) -> T:
        self._check_open()
        return await self._database.transact(
            lambda connection: work(PostgresStatements(connection, timeout)), patience=patience
        )

    async def can_write(self) -> bool:
        return bool(await self._value(invoice_sql.CAN_WRITE))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Statements]:
        await self._repeat_settling(hold_unknown=False, patient=False)
        async with (
            self._database.connection(closed_after=True) as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            statements = _SourceStatements(connection)
            await statements.script(copy_sql.LOCK_RUNS)
            if await statements.value(sql.HAS_RUNS):
                raise BacklogBusyError(f"the backlog in the database: {AT_WORK}")
            yield statements

    @asynccontextmanager
    async def news(self, interval: float) -> AsyncIterator[News]:
        notifications = Notifications(self._dsn, self._timing.reconnect)
        async with notifications.received():
            yield notifications

    async def merge(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        # Runs that write the same calls in another order may cause a deadlock; the merge is then repeated.
        return await self._change(work, self._timing.run_patience)

    # Adding

    async def begin_import(self) -> None:
        self._check_open()
        await self.discard_import()
        self._buffer = RowBuffer()

    async def import_rows(self, rows: Iterable[ManifestRow], priority: Priority = Priority.NORMAL) -> int:
        return await self._imported.add((*row, priority) for row in rows)

    async def discard_import(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None

    async def commit_import(
        self,
        manifest: Path,
        columns: tuple[str, ...],
        own: tuple[str, ...] = (),
        *,
        distinct: bool = False,
        again: bool = False,
        apart: Sequence[str] = (),
    ) -> AddReport:
        imported = self._imported

        async def work(connection: Any) -> AddReport:
            statements = PostgresStatements(connection)
            await statements.script(sql.LOCK_IMPORT)
            await statements.script(sql.BEGIN_IMPORT)
            fields = [*ManifestRow._fields, "priority"]
            await connection.copy_records_to_table("imported", records=imported.rows(), columns=fields)
            await self.settle_dead(statements)
            report = await add_imported(
                statements, sql, invoice_sql, manifest, columns, own, distinct=distinct, again=again, apart=apart
            )
            await statements.script(NOTIFY_ADDED)
            return report

        self._check_open()
        return await self._database.transact(work, patience=self._timing.patience)

    @property
    def _imported(self) -> RowBuffer:
        assert self._buffer is not None  # noqa: S101 - the caller has called `begin_import`
        return self._buffer

    # Runs

    async def begin_run(self, *, hold_unknown: bool, on_added: Callable[[], object] | None = None) -> int:
        self._check_open()
        await self._database.forget_receipts()
        lease = await RunLease.take(self._dsn, hold_unknown=hold_unknown, timing=self._timing, on_added=on_added)
        self._leases[lease.run_id] = lease
        return lease.run_id

    async def hold_unknown(self, run_id: int) -> None:
        lease = self._leases[run_id]
        lease.hold_unknown = True
        await self._database.transact(lease.show, patience=self._timing.run_patience)

    async def end_run(self, run_id: int) -> None:
        lease = self._leases.pop(run_id)
        try:
            await self._change(lambda statements: self._release(statements, [run_id]), self._timing.last_patience)
        finally:
            # If it still has calls, it soon counts as dead and they are taken over.
            await lease.release()

    async def take_over(self, *, hold_unknown: bool) -> None:
        await self._repeat_settling(hold_unknown=hold_unknown, patient=True, wakes=True)
        now = asyncio.get_running_loop().time()
        if now >= self._next_sums:
            self._next_sums = now + LIMITS.seconds_between_sums
            await self.sum_up()

    async def sum_up(self) -> None:
        async def work(connection: Any) -> None:
            statements = PostgresStatements(connection)
            limit = LIMITS.changes_before_sums
            if await statements.value(count_sql.COUNT_CHANGES, limit=limit) < limit:
                return
            async with connection.transaction():
                if await statements.value(count_sql.IS_FREE):
                    await statements.execute(count_sql.SUM_UP)

        await self._database.run(work, patience=self._timing.run_patience)

    async def free(self) -> int:
        # A lock belongs to a connection, and shows reliably whether a run is alive.
        return await self._repeat_settling(hold_unknown=False, patient=False)

    async def _repeat_settling(self, *, hold_unknown: bool, patient: bool, wakes: bool = False) -> int:
        async def work(connection: Any) -> int:
            statements = PostgresStatements(connection)
            async with connection.transaction():
                if wakes:
                    await self._wake(statements)
                rows = await self.settle_dead(statements, hold_unknown=hold_unknown, patient=patient)
                if hold_unknown:
                    await self._hold_released(statements)
                return rows

        self._check_open()
        # Usually there is nothing to do, and repeating it does no harm.
        return await self._database.run(work, patience=self._timing.run_patience)

    async def settle_dead(self, statements: Statements, *, hold_unknown: bool = False, patient: bool = False) -> int:
        dead = await take_dead(statements.connection, patient=patient, dead_after=self._timing.dead_after)
        return await self._settle(statements, dead, hold_unknown=hold_unknown)

    async def purge_logs(self, before: float) -> int:
        await self._database.forget_receipts()
        return sum([await self._purge_log(table, before) for table in engine_tables()])

    async def _purge_log(self, table: EngineTable, before: float) -> int:
        if not await self._value(table.may_delete):
            return 0
        values = {"before": before, "entrypoint": ENTRYPOINT, "upkeep": UPKEEP, "limit": LIMITS.entries_per_purged_page}
        last, count = 0, 0
        while True:
            purge = partial(_purge_some, table.purge, {**values, "after": last})
            found = await self._database.run(purge, patience=self._timing.patience)
            count += found.removed
            if found.last is None or not found.is_old:
                return count
            last = found.last

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        lease = self._leases[run_id]

        async def work(connection: Any) -> list[Call]:
            statements = PostgresStatements(connection, self._timing.statement)
            if not await statements.value(sql.IS_ENTERED, run_id=run_id):
                await lease.show(connection)
            query = sql.CLAIM_LATEST if latest else sql.CLAIM
            wanted: dict[str, Any] = {"run_id": run_id, "tenant": tenant, "kind": kind, "limit": limit}
            return await statements.fetch_as(Call, query, **wanted)

        self._check_open()
        return await self._database.transact(work, patience=self._timing.run_patience)

    async def record(
        self,
        run_id: int,
        marks: Sequence[SentMark],
        results: Sequence[CallResult],
        *,
        last: bool = False,
        written: Written | None = None,
    ) -> None:
        patience = self._timing.last_patience if last else self._timing.run_patience
        records = list(map(recorded, results))
        markings = await self._change(
            lambda statements: self._record(statements, run_id, marks, records), patience, self._timing.statement
        )
        if written is not None:
            written(markings)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError(f"{self.name}: this backlog is closed")


async def _purge_some(statement: str, values: dict[str, Any], connection: Any) -> Removed:
    (removed,) = await PostgresStatements(connection).fetch_as(Removed, statement, **values)
    return removed


class _SourceStatements(PostgresStatements):
    """Statements on the source of a copy, so that the target does not take an error for one of its own and repeats."""

    async def fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        with translated():
            return await super().fetch(query, **values)
