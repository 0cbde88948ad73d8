"""A backlog in an SQLite file: adding rows, and the runs on it. `access` reads and writes the file."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.call_store import Written
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.counting import SqliteCounts
from ekb_async.backlog.store.sqlite.sql import call_sql as sql
from ekb_async.backlog.store.sqlite.sql import (
    invoice_sql,
)
from ekb_async.backlog.store.transactions.adding import add_imported
from ekb_async.backlog.store.values.calls import Call, CallResult, SentMark, recorded
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.errors import ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.process import ProcessIdentity, this_process
from ekb_async.storage.statements import Statements

T = TypeVar("T")

_tenant_of = itemgetter(ManifestRow._fields.index("tenant"))  # faster than by name
_TENANT_SEPARATOR = "\x1f"  # follows the tenant in `calls.identity`


class SqliteStore(SqliteCounts):
    """A backlog in a file. Raises `ConfigError` if the file cannot be read or written."""

    # Adding

    async def begin_import(self) -> None:
        await self._worker.call(self._run, lambda statements: statements.script(sql.BEGIN_IMPORT))

    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        return await self._worker.call(self._import_rows, rows)

    def _import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows in a temporary table without changing the backlog, and return their number."""
        # The thread that reads the next rows has its turn once per statement.
        values_allowed = self._file.database.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        size = min(LIMITS.rows_per_insert, values_allowed // len(ManifestRow._fields))
        remaining, imported = iter(rows), 0
        with self._file.transaction("DEFERRED"):
            while batch := list(itertools.islice(remaining, size)):
                if any(map(_tenant_of, batch)):
                    batch = [
                        row._replace(
                            identity=self._named(row.tenant, row.identity),
                            content=row.content and self._named(row.tenant, row.content),
                        )
                        for row in batch
                    ]
                # Most columns of most manifests are empty, and binding a value takes longer than its default.
                by_column = zip(ManifestRow._fields, zip(*batch, strict=True), strict=True)
                columns = {name: values for name, values in by_column if any(values)}
                placeholders = f"({', '.join('?' * len(columns))})"
                rows_of_values = ", ".join([placeholders] * len(batch))
                insert = f"INSERT INTO temp.imported ({', '.join(columns)}) VALUES {rows_of_values}"  # noqa: S608 - names
                by_row = zip(*columns.values(), strict=True)
                self._file.database.execute(insert, list(itertools.chain.from_iterable(by_row)))
                imported += len(batch)
        return imported

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
        cancelled = threading.Event()

        async def work(statements: Statements) -> AddReport:
            await self.settle_dead(statements)
            return await add_imported(
                statements, sql, invoice_sql, manifest, columns, own, distinct=distinct, again=again, apart=apart
            )

        commit = asyncio.ensure_future(
            self._retry_change(self._timing.patience, self._in_interruptible_transaction, work, cancelled)
        )

        def stop() -> None:
            cancelled.set()
            commit.cancel()

        return await await_uncancelled(commit, on_cancel=stop)

    def _in_interruptible_transaction(
        self, work: Callable[[Statements], Awaitable[T]], cancelled: threading.Event
    ) -> T:
        """Do what `_in_transaction` does, but fail once the event is set."""
        self._file.database.set_progress_handler(cancelled.is_set, LIMITS.steps_between_cancel_checks)
        try:
            return self._in_transaction(work)
        finally:
            self._file.database.set_progress_handler(None, 0)

    @staticmethod
    def _named(tenant: str, identity: str) -> str:
        return f"{tenant}{_TENANT_SEPARATOR}{identity}" if tenant else identity

    async def discard_import(self) -> None:
        await self._worker.call(self._run, lambda statements: statements.script(sql.DISCARD_IMPORT))

    # Runs

    async def begin_run(self, *, hold_unknown: bool) -> int:
        registered: list[int] = []
        try:
            await self._retry_change(
                self._timing.patience, lambda: registered.append(self._begin_run(hold_unknown=hold_unknown))
            )
        except asyncio.CancelledError:
            for run_id in registered:
                await self.end_run(run_id)
            raise
        return registered[0]

    def _begin_run(self, *, hold_unknown: bool) -> int:
        """Register a run, and take the lease that shows that it is alive."""
        process = this_process()
        lease = Lease(self._path, secrets.token_hex(8), process)

        async def work(statements: Statements) -> int:
            run = {"token": lease.token, "pid": process.pid, "process": process.kept, "hold_unknown": hold_unknown}
            await statements.execute(sql.BEGIN_RUN, **run)
            run_id = await statements.value(sql.LAST_RUN)
            lease.take()
            return int(run_id)

        try:
            run_id = self._in_transaction(work)
        except BaseException:
            lease.remove()
            raise
        self._leases[run_id] = lease
        return run_id

    async def hold_unknown(self, run_id: int) -> None:
        await self._change(
            lambda statements: statements.execute(sql.HOLD_UNKNOWN, run_id=run_id), self._timing.run_patience
        )

    async def end_run(self, run_id: int) -> None:
        lease = self._leases[run_id]
        try:
            await self._retry_change(self._timing.last_patience, self._end_run, run_id)
        finally:
            if self._is_lost and not await asyncio.to_thread(self._path.exists):
                await self._worker.call(lease.remove)
            # If the run could not be removed, others find that it is dead and take over its calls.
            lease.release()
            del self._leases[run_id]

    def _end_run(self, run_id: int) -> None:
        """Remove a run; if the file is lost, save its last answers elsewhere and raise where they are."""
        if self._file.continuity is not None and self._is_lost:
            try:
                self._file.check()
            except ConfigError as error:
                for line in self._rescue.keep(self._path, file_is_lost=self._file.continuity.file_is_lost):
                    error.add_note(line)
                raise
        with self._file.transaction():
            self._run(lambda statements: self._settle(statements, [run_id]))
        # In the same step, so that no cancellation leaves the file behind.
        self._leases[run_id].remove()

    @property
    def _is_lost(self) -> bool:
        """Whether anything written from now on would be lost."""
        return self._file.continuity is not None and self._file.continuity.is_lost

    async def take_over(self, *, hold_unknown: bool) -> None:
        async def work(statements: Statements) -> None:
            await self.settle_dead(statements, hold_unknown=hold_unknown)
            if hold_unknown:
                await self._hold_released(statements)
            await self._wake(statements)

        await self._change(work, self._timing.run_patience)

    async def free(self) -> int:
        return await self._change(
            lambda statements: self.settle_dead(statements, is_dead=Lease.take_if_free), self._timing.patience
        )

    async def settle_dead(
        self,
        statements: Statements,
        *,
        hold_unknown: bool = False,
        is_dead: Callable[[Lease], bool] = Lease.take_from_dead,
    ) -> int:
        dead = {}
        for run_id, token, pid, process in await statements.fetch(sql.RUNS):
            lease = Lease(self._path, token, ProcessIdentity.parse(pid, process))
            if is_dead(lease):
                dead[run_id] = lease
        rows = await self._settle(statements, list(dead), hold_unknown=hold_unknown)
        for lease in dead.values():
            lease.remove()
        return rows

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        async def work(statements: Statements) -> list[Call]:
            query = sql.CLAIM_LATEST if latest else sql.CLAIM
            calls = await statements.fetch_as(Call, query, tenant=tenant, kind=kind, limit=limit)
            if calls:
                # All pending calls of the kind between the first and the last of them are among them.
                first, last = sorted((calls[0].id, calls[-1].id))
                await statements.execute(sql.TAKE, run_id=run_id, tenant=tenant, kind=kind, first=first, last=last)
            self._rescue.claimed(tenant, calls)
            return calls

        return await self._change(work, self._timing.run_patience)

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
        change = partial(self._record_in_file, run_id, marks, results, last=last, written=written)
        await self._retry_change(patience, change)

    def _record_in_file(
        self,
        run_id: int,
        marks: Sequence[SentMark],
        results: Sequence[CallResult],
        *,
        last: bool,
        written: Written | None,
    ) -> None:
        """Write nothing if the file is damaged, so that no call is sent.

        But the `last` record is written unless it would be lost, and then kept for `_end_run`.
        """
        tolerated = [ConfigError] if last else []
        records = list(map(recorded, results))
        with contextlib.suppress(*tolerated):
            self._file.check()
        with contextlib.suppress(*tolerated):
            with self._file.transaction():
                markings = self._run(lambda statements: self._record(statements, run_id, marks, records))
            if written is not None:
                written(markings)
        if self._file.continuity is not None:
            self._rescue.ended(records, self._file.continuity.changes)
            if not self._is_lost:
                self._rescue.settled(self._file.continuity.in_file)
