"""The asyncio interface of a backlog file, which is read and written in a thread."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from os import PathLike
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input.manifest import ManifestRow
from ekb_async.backlog.store.call_store import (
    ActiveRun,
    AddReport,
    Call,
    CallResult,
    Cause,
    SentMark,
    StateCount,
    StoredRow,
    TenantStateCount,
)
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.copy import FileMerger, FileReader, merging, reading
from ekb_async.backlog.store.sqlite.patience import retried
from ekb_async.backlog.store.sqlite.store import Store
from ekb_async.errors import ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.sqlite_errors import is_locked, is_transient
from ekb_async.storage.sqlite_thread import Worker
from ekb_async.storage.timing import StorageTiming

P = ParamSpec("P")
T = TypeVar("T")


class FileStore:
    """An open backlog file. Raises `ConfigError` if it cannot be read or written.

    While another program holds its lock, or during a run the disk is full, changes are retried, one at a time.
    """

    claims_ahead = LIMITS.claims_ahead_in_file

    def __init__(self, file: Path, worker: Worker, store: Store, timing: StorageTiming) -> None:
        self.file = file
        self._worker = worker
        self._store = store
        self._timing = timing
        self._leases: dict[int, Lease] = {}
        self._retry_lock = asyncio.Lock()
        self._trouble = ""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def trouble(self) -> str:
        return self._trouble

    @classmethod
    async def open(cls, path: str | PathLike[str], timing: StorageTiming | None = None) -> Self:
        """Open a backlog file, or create one. Raises `ConfigError` for a file that is no backlog."""
        timing = timing or StorageTiming.from_env()
        # The path is resolved so that runs that use different links to one file find each other's leases.
        file = await asyncio.to_thread(Path(path).resolve)
        worker = Worker(file)
        try:
            store = await retried(
                lambda: worker.open(Store, file, timing.lock_wait), timing.patience, timing, is_locked
            )
        except BaseException:
            worker.close()
            raise
        return cls(file, worker, store, timing)

    async def close(self) -> None:
        """Close the file and end the thread."""
        try:
            await self._worker.call(self._store.close)
        finally:
            self._worker.close()

    def reading(self) -> AbstractAsyncContextManager[FileReader]:
        return reading(self.file)

    def merging(self) -> AbstractAsyncContextManager[FileMerger]:
        return merging(self.file)

    async def begin_import(self) -> None:
        await self._worker.call(self._store.begin_import)

    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        return await self._worker.call(self._store.import_rows, rows)

    async def commit_import(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        cancelled = threading.Event()
        commit = asyncio.ensure_future(
            self._change(self._timing.patience, self._store.commit_import, manifest, columns, cancelled)
        )

        def stop() -> None:
            cancelled.set()
            commit.cancel()

        return await await_uncancelled(commit, on_cancel=stop)

    async def discard_import(self) -> None:
        await self._worker.call(self._store.discard_import)

    async def begin_run(self, *, hold_unknown: bool) -> int:
        registered: list[int] = []
        try:
            await self._change(
                self._timing.patience, lambda: registered.append(self._begin_run(hold_unknown=hold_unknown))
            )
        except asyncio.CancelledError:
            for run_id in registered:
                await self.end_run(run_id)
            raise
        return registered[0]

    async def hold_unknown(self, run_id: int) -> None:
        await self._change(self._timing.run_patience, self._store.hold_unknown, run_id)

    async def take_over(self, *, hold_unknown: bool) -> None:
        await self._change(self._timing.run_patience, self._store.take_over, hold_unknown=hold_unknown)

    async def free(self) -> int:
        return await self._change(self._timing.patience, self._store.free)

    async def end_run(self, run_id: int) -> None:
        lease = self._leases[run_id]
        try:
            await self._change(self._timing.last_patience, self._store.end_run, run_id)
            await self._worker.call(lease.remove)
        finally:
            if self._store.is_lost and not await asyncio.to_thread(self.file.exists):
                await self._worker.call(lease.remove)
            # If the run could not be removed, others find that it is dead and take over its calls.
            lease.release()
            del self._leases[run_id]

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        return await self._change(
            self._timing.run_patience, self._store.claim, run_id, kind, limit, tenant=tenant, latest=latest
        )

    async def record(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Collection[int]:
        patience = self._timing.last_patience if last else self._timing.run_patience
        return await self._change(patience, self._store.record, run_id, marks, results, last=last)

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        return await self._read(self._store.pending_tenants, kinds)

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        return await self._read(self._store.has_pending, tenant, kinds)

    async def has_running(self, kinds: Sequence[str]) -> bool:
        return await self._read(self._store.has_running, kinds)

    async def copies(self, call_id: int) -> list[tuple[str, str]]:
        return await self._read(self._store.copies, call_id)

    async def manifests(self) -> list[str]:
        return await self._read(self._store.manifests)

    async def named(self, name: str, sha256: str) -> list[str]:
        return await self._read(self._store.named, name, sha256)

    async def retry(self, cause: str, *, unknown: bool) -> int:
        return await self._change(self._timing.patience, self._store.retry, cause, unknown=unknown)

    async def load(self) -> list[StateCount]:
        return await self._read(self._store.load)

    async def failures(self) -> dict[str, int]:
        return await self._read(self._store.failures)

    async def causes(self, limit: int) -> list[Cause]:
        return await self._read(self._store.causes, limit)

    async def maybe_billed(self) -> int:
        return await self._read(self._store.maybe_billed)

    async def has_tenants(self) -> bool:
        return await self._read(self._store.has_tenants)

    async def tenant_loads(self) -> list[TenantStateCount]:
        return await self._read(self._store.tenant_loads)

    async def active_runs(self) -> list[ActiveRun]:
        host = socket.gethostname()
        return [
            ActiveRun(host=host, pid=pid, started_at=started_at, seen=None, running=running)
            for pid, started_at, running in await self._read(self._store.active_runs)
        ]

    async def page(self, after: int, limit: int, state: str | None, kind: str | None) -> list[StoredRow]:
        return await self._read(self._store.page, after, limit, state, kind)

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        patience = self._timing.run_patience if self._leases else self._timing.patience
        return await retried(
            lambda: self._call(lambda: self._store.read(work, *args, **kwargs)),
            patience,
            self._timing,
            self._is_retryable,
        )

    async def _change(self, patience: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of the work, which is retried for `patience` seconds while the file cannot be written."""

        async def attempt() -> T:
            try:
                result = await self._call(work, *args, **kwargs)
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
                await self._worker.call(self._store.check)
            raise

    def _is_retryable(self, error: BaseException | None) -> bool:
        # Without a run a full disk costs no answers, and a person who reads the error can free some space.
        return is_transient(error) if self._leases else is_locked(error)

    def _begin_run(self, *, hold_unknown: bool) -> int:
        run_id, lease = self._store.begin_run(hold_unknown=hold_unknown)
        self._leases[run_id] = lease
        return run_id
