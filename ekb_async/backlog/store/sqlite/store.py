"""A backlog in an SQLite file, with one transaction per change; the file is read and written in one thread.

While another program holds the file's lock, or during a run the disk is full, changes are repeated, one at a time. A
run that failed with that error would lose answers that were paid for, so runs have the most patience.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar, cast

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.call_store import AT_WORK, CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.opening import BacklogFile
from ekb_async.backlog.store.sqlite.rescue import Rescue
from ekb_async.backlog.store.sqlite.sql import (
    budget_sql,
    copy_sql,
    invoice_sql,
    purge_sql,
    removal_sql,
    result_sql,
    retry_sql,
)
from ekb_async.backlog.store.sqlite.sql import call_sql as sql
from ekb_async.backlog.store.transactions.adding import add_imported
from ekb_async.backlog.store.values.calls import Call, CallResult, Marking, SentMark
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.errors import BacklogBusyError, ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.process import ProcessIdentity, this_process
from ekb_async.storage.sqlite.errors import is_locked, is_transient
from ekb_async.storage.sqlite.statements import SqliteStatements
from ekb_async.storage.sqlite.thread import Worker, retried
from ekb_async.storage.statements import Statements, run_at_once
from ekb_async.storage.timing import StorageTiming

P = ParamSpec("P")
T = TypeVar("T")

_tenant_of = itemgetter(ManifestRow._fields.index("tenant"))  # faster than by name
_TENANT_SEPARATOR = "\x1f"  # follows the tenant in `calls.identity`


class SqliteStore(CallStore):
    """A backlog in a file. Raises `ConfigError` if the file cannot be read or written.

    Methods that are no coroutines run in the thread of the file.
    """

    claims_ahead = LIMITS.claims_ahead_in_file
    sql = sql
    copy_sql = copy_sql
    invoice_sql = invoice_sql
    purge_sql = purge_sql
    removal_sql = removal_sql
    result_sql = result_sql
    retry_sql = retry_sql
    budget_sql = budget_sql

    def __init__(
        self, path: Path, worker: Worker, file: BacklogFile, timing: StorageTiming, clock: Callable[[], float]
    ) -> None:
        self.file = self._path = path
        self.name = path.name
        self._worker = worker
        self._file = file
        self._rescue = Rescue()
        self._timing = timing
        self.clock = clock
        self._leases: dict[int, Lease] = {}
        self._retry_lock = asyncio.Lock()
        self._trouble = ""

    @property
    def trouble(self) -> str:
        return self._trouble

    @classmethod
    async def open(
        cls,
        path: str | PathLike[str],
        timing: StorageTiming | None = None,
        clock: Callable[[], float] = time.time,
        *,
        read_only: bool = False,
    ) -> Self:
        """Open a backlog file, or create one. With `read_only`, nothing is created, changed or locked.

        Raises `ConfigError` for a file that is no backlog.
        """
        timing = timing or StorageTiming.from_env()
        # The path is resolved so that runs that use different links to one file find each other's leases.
        resolved = await asyncio.to_thread(Path(path).resolve)
        worker = Worker(resolved)
        try:
            opening = partial(BacklogFile, read_only=read_only)
            file = await retried(
                lambda: worker.open(opening, resolved, timing.lock_wait), timing.patience, timing, is_locked
            )
        except BaseException:
            worker.close()
            raise
        return cls(resolved, worker, file, timing, clock)

    async def close(self) -> None:
        try:
            await self._worker.call(self._file.close)
        finally:
            self._worker.close()

    # Access

    async def _read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        patience = self._timing.run_patience if self._leases else self._timing.patience
        read = self._file.read
        return await retried(
            lambda: self._call(read, lambda: self._run(work)), patience, self._timing, self._is_retryable
        )

    async def _change(self, work: Callable[[Statements], Awaitable[T]], patience: float) -> T:
        return await self._retry_change(patience, self._in_transaction, work)

    async def _retry_change(self, patience: float, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a change, which is repeated for `patience` seconds while the file cannot be written."""

        async def attempt() -> T:
            try:
                result = await self._call(change, *args, **kwargs)
            except ConfigError as error:
                self._trouble = str(error) if self._is_retryable(error.__cause__) else ""
                raise
            self._trouble = ""
            return result

        if not self._retry_lock.locked():
            try:
                return await attempt()
            except ConfigError:
                if not self._trouble:
                    raise
        # Only one change is retried at a time, so that the thread stays free for it and for reads.
        async with self._retry_lock:
            return await retried(attempt, patience, self._timing, self._is_retryable)

    async def _call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of the work; if SQLite fails on a damaged file, raise the error of the damage instead."""
        try:
            return await self._worker.call(work, *args, **kwargs)
        except ConfigError as error:
            if isinstance(error.__cause__, sqlite3.Error) and not is_locked(error.__cause__):
                await self._worker.call(self._file.check)
            raise

    def _is_retryable(self, error: BaseException | None) -> bool:
        # Without a run a full disk costs no answers, and a person who reads the error can free some space.
        return is_transient(error) if self._leases else is_locked(error)

    async def can_write(self) -> bool:
        return self._file.is_writable

    def _in_transaction(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work in a transaction on the file that was opened. Raises if the file is damaged."""
        self._file.check()
        with self._file.transaction():
            return self._run(work)

    def _run(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        return run_at_once(cast("Coroutine[Any, Any, T]", work(SqliteStatements(self._file.database))))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Statements]:
        async with self._separate_transaction() as (worker, statements):
            await worker.call(lambda: run_at_once(self.settle_dead(SqliteStatements(statements.connection))))
            if await statements.value(sql.HAS_RUNS):
                raise BacklogBusyError(f"{self.name}: {AT_WORK}")
            yield statements

    async def merge(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        async with self._separate_transaction() as (_, statements):
            return await work(statements)

    @asynccontextmanager
    async def _separate_transaction(self) -> AsyncIterator[tuple[Worker, SqliteStatements]]:
        """Open a connection and a thread for one transaction that may wait for something else."""
        worker = Worker(self._path)
        try:
            file = await worker.open(BacklogFile, self._path, self._timing.patience)
            try:
                transaction = file.transaction()
                await worker.call(transaction.__enter__)
                try:
                    yield worker, SqliteStatements(file.database, worker.call)
                except BaseException as error:
                    await worker.call(transaction.__exit__, type(error), error, error.__traceback__)
                    raise
                await worker.call(transaction.__exit__, None, None, None)
            finally:
                await worker.call(file.close)
        finally:
            worker.close()

    # Adding

    async def begin_import(self) -> None:
        await self._worker.call(self._run, lambda statements: statements.script(sql.BEGIN_IMPORT))

    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        return await self._worker.call(self._import_rows, rows)

    def _import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows in a temporary table without changing the backlog, and return their number."""
        columns = ", ".join(ManifestRow._fields)
        placeholders = f"({', '.join('?' * len(ManifestRow._fields))})"
        remaining, imported = iter(rows), 0
        with self._file.transaction("DEFERRED"):
            while batch := list(itertools.islice(remaining, LIMITS.rows_per_insert)):
                if any(map(_tenant_of, batch)):
                    batch = [
                        row._replace(
                            identity=self._named(row.tenant, row.identity),
                            content=row.content and self._named(row.tenant, row.content),
                        )
                        for row in batch
                    ]
                values = ", ".join([placeholders] * len(batch))
                insert = f"INSERT INTO temp.imported ({columns}) VALUES {values}"  # noqa: S608 - names
                self._file.database.execute(insert, list(itertools.chain.from_iterable(batch)))
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
    ) -> AddReport:
        cancelled = threading.Event()

        async def work(statements: Statements) -> AddReport:
            await self.settle_dead(statements)
            return await add_imported(
                statements, sql, invoice_sql, manifest, columns, own, distinct=distinct, again=again
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
            await self._worker.call(lease.remove)
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

    @property
    def _is_lost(self) -> bool:
        """Whether anything written from now on would be lost."""
        return self._file.continuity is not None and self._file.continuity.is_lost

    async def take_over(self, *, hold_unknown: bool) -> None:
        async def work(statements: Statements) -> None:
            await self.settle_dead(statements, hold_unknown=hold_unknown)
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
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Mapping[int, Marking]:
        patience = self._timing.last_patience if last else self._timing.run_patience
        return await self._retry_change(patience, self._record_in_file, run_id, marks, results, last=last)

    def _record_in_file(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool
    ) -> Mapping[int, Marking]:
        """Write nothing if the file is damaged, so that no call is sent.

        But the `last` record is written unless it would be lost, and then kept for `_end_run`.
        """
        tolerated = [ConfigError] if last else []
        markings: Mapping[int, Marking] = {}
        with contextlib.suppress(*tolerated):
            self._file.check()
        with contextlib.suppress(*tolerated), self._file.transaction():
            markings = self._run(lambda statements: self._record(statements, run_id, marks, results))
        if self._file.continuity is not None:
            self._rescue.ended(results, self._file.continuity.changes)
            if not self._is_lost:
                self._rescue.settled(self._file.continuity.in_file)
        return markings
