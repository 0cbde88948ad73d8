"""A backlog in an SQLite file, with one transaction per change; the file is read and written in one thread.

While another program holds the file's lock, or during a run the disk is full, changes are repeated, one at a time. A
run that failed with that error would lose answers that were paid for, so runs have the most patience.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar, cast

from ekb_async.backlog.store.call_store import AT_WORK, CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.opening import BacklogFile
from ekb_async.backlog.store.sqlite.rescue import Rescue
from ekb_async.backlog.store.sqlite.sql import (
    budget_sql,
    copy_sql,
    invoice_sql,
    metrics_sql,
    pause_sql,
    purge_sql,
    removal_sql,
    result_sql,
    retry_sql,
)
from ekb_async.backlog.store.sqlite.sql import call_sql as sql
from ekb_async.errors import BacklogBusyError, ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.sqlite.errors import is_locked, is_transient
from ekb_async.storage.sqlite.statements import SqliteStatements
from ekb_async.storage.sqlite.thread import Worker, retried
from ekb_async.storage.statements import Statements, run_at_once
from ekb_async.storage.timing import StorageTiming

P = ParamSpec("P")
T = TypeVar("T")


class SqliteAccess(CallStore):
    """Access to a backlog file. Methods that are no coroutines run in the thread of the file."""

    claims_ahead = LIMITS.claims_ahead_in_file
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
