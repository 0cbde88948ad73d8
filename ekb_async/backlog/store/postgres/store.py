"""A backlog in a PostgreSQL database, shared by any number of hosts.

Each change is one transaction that takes effect exactly once, however often the connection is lost. While the database
is unavailable, a run waits for ten minutes, everything else for one. Few calls are claimed ahead, because no other host
can make a claimed call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from ekb_async.backlog.input.manifest import ManifestRow
from ekb_async.backlog.store.adding import BLANKS
from ekb_async.backlog.store.answers import keep
from ekb_async.backlog.store.call_store import (
    OUTCOME_UNKNOWN,
    UNKNOWN,
    ActiveRun,
    AddReport,
    Call,
    CallResult,
    Cause,
    SentMark,
    StateCount,
    StoredRow,
    TenantStateCount,
    counts_of,
)
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.postgres import sql
from ekb_async.backlog.store.postgres.adding import match
from ekb_async.backlog.store.postgres.copy import PostgresMerger, PostgresReader, merging, reading
from ekb_async.backlog.store.row_buffer import RowBuffer
from ekb_async.config import Priority
from ekb_async.errors import ConfigError
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.lease import RunLease, take_dead
from ekb_async.storage.postgres.schema import install_schema
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")


class PostgresStore:
    """A backlog in a database.

    Raises `EkbConnectionError` if the database is unavailable for too long, `StorageError` if it refuses.
    """

    claims_ahead = LIMITS.claims_ahead_in_database
    file = None

    def __init__(self, dsn: str, name: str, timing: StorageTiming) -> None:
        self.name = name
        self._dsn = dsn
        self._timing = timing
        self._database = Database(dsn)
        self._leases: dict[int, RunLease] = {}
        self._buffer: RowBuffer | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<PostgresStore {self.name!r}>"

    @property
    def trouble(self) -> str:
        return self._database.trouble

    @classmethod
    async def open(cls, dsn: str, timing: StorageTiming | None = None) -> Self:
        """Open the backlog of a database, and create its tables if they are missing.

        Raises `StorageError` if the database refuses, `EkbConnectionError` if it cannot be reached in time.
        """
        timing = timing or StorageTiming.from_env()
        await install_schema(dsn, patience=timing.setup_patience)
        async with Database(dsn) as database:
            name = await database.run(lambda connection: connection.fetchval("SELECT current_database()"))
        return cls(dsn, name, timing)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self.discard_import()
        await self._database.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PostgresReader]:
        await self._settle_dead(hold_unknown=False, patient=False)
        async with reading(self._database) as reader:
            yield reader

    def merging(self) -> AbstractAsyncContextManager[PostgresMerger]:
        return merging(self._database)

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

    async def commit_import(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        imported = self._imported

        async def work(connection: Any) -> AddReport:
            # One import at a time, so that rows become visible in the order of their IDs.
            await connection.execute(sql.LOCK_IMPORT)
            await connection.execute(sql.BEGIN_IMPORT)
            fields = [*ManifestRow._fields, "priority"]
            await connection.copy_records_to_table("imported", records=imported.rows(), columns=fields)
            await connection.execute("ANALYZE imported")
            await self._take_over(connection, hold_unknown=False, patient=False)
            return await _add_imported(connection, str(manifest), msgspec.json.encode(columns).decode())

        return await self._change(work)

    @property
    def _imported(self) -> RowBuffer:
        assert self._buffer is not None  # noqa: S101 - the caller has called `begin_import`
        return self._buffer

    # Runs

    async def begin_run(self, *, hold_unknown: bool) -> int:
        self._check_open()
        await self._database.forget_receipts()
        lease = await RunLease.take(self._dsn, hold_unknown=hold_unknown, timing=self._timing)
        self._leases[lease.run_id] = lease
        return lease.run_id

    async def hold_unknown(self, run_id: int) -> None:
        lease = self._leases[run_id]
        lease.hold_unknown = True
        await self._change(lease.show, patience=self._timing.run_patience)

    async def take_over(self, *, hold_unknown: bool) -> None:
        await self._settle_dead(hold_unknown=hold_unknown, patient=True)

    async def _settle_dead(self, *, hold_unknown: bool, patient: bool) -> None:
        async def work(connection: Any) -> None:
            async with connection.transaction():
                await self._take_over(connection, hold_unknown=hold_unknown, patient=patient)

        self._check_open()
        # Usually there is nothing to do, and repeating it does no harm.
        await self._database.run(work, patience=self._timing.run_patience)

    async def free(self) -> int:
        # A lock belongs to a connection, and shows reliably whether a run is alive.
        before = counts_of(await self.load())
        await self._settle_dead(hold_unknown=False, patient=False)
        return before["running"] - counts_of(await self.load())["running"]

    async def end_run(self, run_id: int) -> None:
        lease = self._leases.pop(run_id)
        try:
            await self._change(lambda connection: _release(connection, [run_id]), patience=self._timing.last_patience)
        finally:
            # If it still has calls, it soon counts as dead and they are taken over.
            await lease.release()

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        lease = self._leases[run_id]

        async def work(connection: Any) -> list[Call]:
            if not await connection.fetchval(sql.IS_ENTERED, run_id, timeout=self._timing.statement):
                await lease.show(connection)
            query = sql.CLAIM_LATEST if latest else sql.CLAIM
            rows = await connection.fetch(query, run_id, tenant, kind, limit, timeout=self._timing.statement)
            return [Call(*row) for row in rows]

        return await self._change(work, patience=self._timing.run_patience)

    async def record(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Collection[int]:
        columns = list(zip(*map(_record_values, results), strict=True))

        async def work(connection: Any) -> set[int]:
            marked = set()
            if marks:
                ids, unconfirmed = zip(*marks, strict=True)
                found = await connection.fetch(sql.MARK_SENT, run_id, ids, unconfirmed, timeout=self._timing.statement)
                marked = {call_id for (call_id,) in found}
            if columns:
                await connection.execute(sql.RECORD, run_id, *columns, timeout=self._timing.statement)
            return {mark.call_id for mark in marks} - marked

        return await self._change(work, patience=self._timing.last_patience if last else self._timing.run_patience)

    async def retry(self, cause: str, *, unknown: bool) -> int:
        async def work(connection: Any) -> int:
            await self._take_over(connection, hold_unknown=False, patient=False)
            return int(await connection.fetchval(sql.RETRY, UNKNOWN, unknown, cause))

        return await self._change(work)

    # Queries

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        return [
            tenant for (tenant,) in await self._rows(sql.PENDING_TENANTS, kinds, patience=self._timing.run_patience)
        ]

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        return bool(await self._value(sql.HAS_PENDING, tenant, kinds, patience=self._timing.run_patience))

    async def has_running(self, kinds: Sequence[str]) -> bool:
        return bool(await self._value(sql.HAS_RUNNING, kinds, patience=self._timing.run_patience))

    async def copies(self, call_id: int) -> list[tuple[str, str]]:
        return [
            (manifest, file)
            for manifest, file in await self._rows(sql.COPIES, call_id, patience=self._timing.run_patience)
        ]

    async def named(self, name: str, sha256: str) -> list[str]:
        return [str(Path(manifest).parent / file) for manifest, file in await self._rows(sql.NAMED, name, sha256)]

    async def manifests(self) -> list[str]:
        return [path for (path,) in await self._rows(sql.MANIFESTS)]

    async def load(self) -> list[StateCount]:
        return [StateCount(*row) for row in await self._rows(sql.COUNT_BY_STATE, patience=self._timing.run_patience)]

    async def failures(self) -> dict[str, int]:
        return dict(await self._rows(sql.FAILURES, patience=self._timing.run_patience))

    async def causes(self, limit: int) -> list[Cause]:
        return [
            Cause(error_type=error_type, error=error, hint=hint, rows=rows)
            for error_type, error, hint, rows in await self._rows(sql.CAUSES, limit)
        ]

    async def maybe_billed(self) -> int:
        return int(await self._value(sql.MAYBE_BILLED))

    async def has_tenants(self) -> bool:
        return bool(await self._value(sql.HAS_TENANTS))

    async def tenant_loads(self) -> list[TenantStateCount]:
        return [TenantStateCount(*row) for row in await self._rows(sql.COUNT_BY_TENANT, UNKNOWN)]

    async def active_runs(self) -> list[ActiveRun]:
        return [ActiveRun(**row) for row in await self._rows(sql.ACTIVE_RUNS)]

    async def page(self, after: int, limit: int, state: str | None, kind: str | None) -> list[StoredRow]:
        return [StoredRow(*row) for row in await self._rows(sql.PAGE, after, limit, state, kind)]

    async def _rows(self, query: str, *values: object, patience: float | None = None) -> list[Any]:
        self._check_open()
        return await self._database.run(
            lambda connection: connection.fetch(query, *values), patience=self._patience(patience)
        )

    async def _value(self, query: str, *values: object, patience: float | None = None) -> Any:
        self._check_open()
        return await self._database.run(
            lambda connection: connection.fetchval(query, *values), patience=self._patience(patience)
        )

    async def _change(self, work: Callable[[Any], Awaitable[T]], *, patience: float | None = None) -> T:
        self._check_open()
        return await self._database.transact(work, patience=self._patience(patience))

    def _patience(self, seconds: float | None) -> float:
        return self._timing.patience if seconds is None else seconds

    async def _take_over(self, connection: Any, *, hold_unknown: bool, patient: bool) -> None:
        dead = await take_dead(connection, patient=patient, dead_after=self._timing.dead_after)
        if dead:
            await _release(connection, dead, hold_unknown=hold_unknown)
            await connection.execute(sql.REMOVE_RUNS, dead)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError(f"{self.name}: this backlog is closed")


async def _add_imported(connection: Any, manifest: str, columns: str) -> AddReport:
    """Add the rows of `imported` to the backlog, each once."""
    rows = await connection.fetchval(sql.COUNT_IMPORTED)
    await connection.execute(sql.BEGIN_MATCHING)
    await connection.execute(sql.WANTED, manifest, BLANKS)
    present = await match(connection)
    moved = 0
    if present:
        await connection.execute(sql.BEGIN_MOVING)
        await connection.execute(sql.MOVED, manifest, columns)
        moved = await connection.fetchval(sql.COUNT_MOVED)
        await connection.execute(sql.RAISE_PRIORITY)
    if rows == present and not moved:
        # The manifest is recorded nevertheless, so that no export overwrites its file.
        await connection.execute(sql.RECORD_MANIFEST, manifest, columns)
        return AddReport(added=0, duplicates=rows, present=present)
    manifest_id = await connection.fetchval(sql.ADD_MANIFEST, manifest, columns)
    if moved:
        await connection.execute(sql.MOVE_ROWS, manifest_id)
        await connection.execute(sql.MOVE_CALLS)
    if present:
        await connection.execute(sql.DROP_PRESENT)
    added = await connection.fetchval(sql.COUNT_NEW)
    await connection.execute(sql.IMPORT_CALLS)
    await connection.execute(sql.IMPORT_ROWS, manifest_id)
    return AddReport(added=added, duplicates=rows - added, present=present)


async def _release(connection: Any, run_ids: list[int], *, hold_unknown: bool = False) -> None:
    await connection.execute(sql.HOLD, run_ids, hold_unknown, *OUTCOME_UNKNOWN.values())
    await connection.execute(sql.RELEASE, run_ids)


def _record_values(result: CallResult) -> tuple[object, ...]:
    """Return the values of `sql.RECORD`."""
    call_id, state, tries, maybe_billed, answer, *texts = result
    stored = None if answer is None else keep(answer)
    return call_id, state, tries, maybe_billed, stored, *map(_storable, texts)


def _storable(text: str) -> str:
    # A file name in an error may be no valid Unicode, and PostgreSQL stores no zeros.
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
