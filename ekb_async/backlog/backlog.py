"""The backlog as applications use it. `store.call_store` defines the states of calls, `run.run` makes the calls."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime
from functools import partial
from os import PathLike
from pathlib import Path

import msgspec

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input import vendor
from ekb_async.backlog.input.flows import FlowCodes, rows_of
from ekb_async.backlog.input.manifest import KINDS, PAID, Manifest, ManifestRow, kept_path
from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.results.export import Export
from ekb_async.backlog.results.own_files import checked_target
from ekb_async.backlog.results.report import Report
from ekb_async.backlog.results.tasks import Task, task_of
from ekb_async.backlog.run.progress import Progress, Summary
from ekb_async.backlog.run.run import Run, SessionPool
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.calls import STATES, counts_of
from ekb_async.backlog.store.copying import copy
from ekb_async.backlog.store.places import open_store
from ekb_async.backlog.store.reports import (
    ActiveRun,
    AddReport,
    Cause,
    CopyReport,
    TenantCounts,
    Waiting,
    waiting_rows,
)
from ekb_async.errors import ConfigError
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA
from ekb_async.session.session import EkbSession
from ekb_async.session.tenants import SessionForTenant, TenantSessions
from ekb_async.storage.atomic_files import write_whole
from ekb_async.storage.sqlite.thread import opened_in_thread
from ekb_async.validation import warn_renamed


class Backlog:
    """Many calls in one file or database: added from manifests, made at the vendor's pace, stored with their results.

    Create one with `Backlog.open`. Every row of a manifest is a task. Tasks of one tenant that have the same kind and
    the same content (see `identity`) share one call and its result, whatever their `staff_id` and `file_name`.
    """

    def __init__(self, store: CallStore, timing: BacklogTiming) -> None:
        self._store = store
        self._timing = timing
        self._adding = asyncio.Lock()
        self._runs: set[Run] = set()
        self._broken_off = 0

    def __repr__(self) -> str:
        return f"<Backlog {str(self._store.file or self._store.name)!r}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        place: str | PathLike[str],
        *,
        timing: BacklogTiming | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator[Backlog]:
        """Open a backlog, or create one, for the duration of an `async with` block.

        `place` is a file on this machine, or the DSN (`postgresql://…`) of a database that any number of hosts may
        share; a database needs the extra `postgres`. `timing` sets the waits of the backlog, by default those in
        `EKB_TIMING`. `clock` returns the time, in epoch seconds, by which calls wait for another day; it is
        called in any thread.

        Raises `StorageError` if the file is not a backlog or has a newer version (it is left unchanged), or if the
        database refuses; `EkbConnectionError` if the database cannot be reached within 10 s.
        """
        timing = timing or BacklogTiming.from_env()
        store = await open_store(place, timing, clock)
        backlog = cls(store, timing)
        try:
            yield backlog
        finally:
            await await_uncancelled(asyncio.ensure_future(backlog._close()))

    async def _close(self) -> None:
        # A run that is still active has calls in flight, and those are billed.
        await asyncio.gather(*(run.end() for run in self._runs))
        await self._store.close()

    async def add_manifest(self, path: str | PathLike[str], *, roots: Iterable[str | PathLike[str]] = ()) -> AddReport:
        """Add the rows of a manifest (.csv, .jsonl, .ndjson), all or none. Local files are read to hash their content.

        Local files must lie under the folder of the manifest or under one of `roots` once links are resolved. A row
        that the backlog already has, from this manifest or another, is not added again and changes no state. Rows are
        matched by the content of their call and their `ref`, or by content and file if they have no `ref`; among
        several matches, by all their values, else by their order. If the call of a matched row is not done, it is made
        with the new values of the row. Adding a row never repeats a failed call; `retry` does. Raises `ManifestError`
        with file, line and column of each malformed row, the first fifty at most, or if the encoding is not certain.
        """
        async with self._import(), opened_in_thread(partial(Manifest, Path(path), roots), path) as (manifest, _):
            rows = manifest.rows()
            while await self._store.import_rows(_next_rows(rows)):
                pass
            return await self._store.commit_import(manifest.path, manifest.columns)

    async def add_flows(
        self, ekb: EkbSession, path: str | PathLike[str], *, kinds: Sequence[str] = ("detail",)
    ) -> AddReport:
        """Add the invoices of documents (单据), all or none. `path` is a text file with one document code per line.

        Each invoice becomes one row per kind in `kinds` (`url`, `detail`, `download`), with the code as its `ref`.
        Codes that are unknown or have no invoices are listed in the report's `missing`. Raises `ManifestError` if the
        list cannot be read, `ConfigError` if a kind takes no invoice ID, and the errors of `EkbSession.flow_invoices`.
        """
        for kind in kinds:
            _check("kind", kind, [each for each in KINDS if each not in PAID])
        missing: list[str] = []
        async with self._import(), opened_in_thread(partial(FlowCodes, Path(path)), path) as (listed, thread):
            while codes := await thread.call(listed.take, ekb.config.batch_size):
                found = await ekb.flow_invoices(codes=[each.code for each in codes])
                missing += [each.code for each in codes if not found.get(each.code)]
                await self._store.import_rows(rows_of(codes, found, kinds))
            report = await self._store.commit_import(listed.path, ())
        return msgspec.structs.replace(report, missing=tuple(dict.fromkeys(missing)))

    async def add_ledger(
        self,
        ekb: EkbSession,
        *,
        kind: str | Collection[str] = "detail",
        kinds: Collection[InvoiceKind | str] | None = None,
    ) -> AddReport:
        """Add every invoice of the vendor's ledger, all or none; rows that are there already are not added again.

        Each invoice becomes a row of `kind` (`url`, `detail`, `download`, `verify_by_id`, or several of them), with its
        ID as `ref`. `kinds` limits the invoices, as in `EkbSession.ledger`; without it, `verify_by_id`, which is
        billed, is left out for invoices other than those of value-added tax. The whole ledger is read before anything
        is added, a page at a time. Raises `ConfigError` for another kind, and the errors of `EkbSession.ledger`.
        """
        wanted = vendor.checked_kinds(kind)
        invoices = ekb.ledger(vendor.parts_of(wanted, kinds))
        count = LIMITS.rows_per_import
        return await self._fill(
            vendor.ledger_rows(invoices, wanted, any_part=kinds is not None, count=count), vendor.LEDGER
        )

    async def add_documents(
        self,
        ekb: EkbSession,
        *,
        type: str = "expense",  # noqa: A002 - the vendor's name of it
        since: date | None = None,
        kind: str | Collection[str] = "detail",
    ) -> AddReport:
        """Add the invoices of documents (单据) changed since a date or time, all or none; deleted ones are left out.

        Each invoice becomes a row of `kind` as in `add_ledger`, with the code of its document as `ref`; rows that are
        there already are not added again. `type` is as in `EkbSession.documents`, `since` is a date or time, at UTC+8
        unless it has another zone; without it all documents are read. For `verify_by_id`, which is billed, the invoices
        are looked up in the ledger, and those other than of value-added tax are left out. Raises as `add_ledger` does.
        """
        wanted = vendor.checked_kinds(kind)
        documents = ekb.documents(type, updated_since=vendor.start_of_changes(since, self._store.clock()))
        rows = vendor.document_rows(documents, wanted, ekb.ledger_invoices, count=LIMITS.rows_per_import)
        return await self._fill(rows, vendor.DOCUMENTS)

    async def _fill(self, pages: AsyncIterator[list[ManifestRow]], source: Path) -> AddReport:
        async with self._import():
            async for rows in pages:
                await self._store.import_rows(rows)
            return await self._store.commit_import(source, (), distinct=True)

    async def run(
        self,
        ekb: EkbSession | SessionPool | SessionForTenant,
        progress: Callable[[Progress], None] | None = None,
        *,
        files: str | PathLike[str] | None = None,
    ) -> Summary:
        """Make all pending calls and store each result as it arrives. `progress` is called a few times per second.

        If rows have tenants, `ekb` is `TenantSessions` or a callable that makes the session of a tenant. Each tenant's
        calls are made with its own session, many tenants at the same time. `files` is the directory for downloads;
        without it rows of kind `download` stay pending. Any number of runs may share a backlog. Calls in flight when an
        earlier run was killed are made again, or fail with `OutcomeUnknownError` if `repeat_unknown` is False. Calls
        that wait for another day (see `waiting`) are left, and the run ends without them.

        Raises `AuthError` or `PermissionDeniedError` if every further call would fail with it, `SessionClosedError` if
        the session is closed, `EkbConnectionError` if the vendor cannot be reached at the start or for half an hour;
        with tenants, the first such error, once all other tenants are finished. Raises the error of `progress`,
        `ConfigError` if rows have a tenant and `ekb` is one session, `StorageError` if the backlog cannot be written,
        `EkbConnectionError` if its database is unreachable for ten minutes. Calls not made stay pending.

        When a run is cancelled or fails, calls in flight have the session's `close_timeout` to end and are recorded.
        Cancelling again changes nothing, because a cancel scope of anyio cancels in every iteration of the event loop;
        `break_off` ends the run at once.
        """
        directory = None if files is None else kept_path(await asyncio.to_thread(Path(files).resolve), "a directory")
        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(TenantSessions(ekb)) if callable(ekb) else ekb
            run = Run(self._store, sessions, self._timing, progress, directory)
            self._runs.add(run)
            try:
                return await run.work()
            finally:
                self._runs.discard(run)
                self._broken_off += run.broken_off

    def break_off(self) -> None:
        """End the runs of this object at once: break off the calls in flight, and count those that were already sent.

        Each `run` raises `asyncio.CancelledError`, or the error that was already ending it.
        """
        for run in self._runs:
            run.break_off()

    @property
    def broken_off(self) -> int:
        """The number of billed calls that the runs of this object sent and then broke off; each may be billed."""
        return self._broken_off

    async def counts(self) -> dict[str, int]:
        """Return tasks by state; `pending`, `running` (handed to the session), `done`, `failed` are always present."""
        return counts_of(await self._store.load())

    async def tenants(self) -> list[TenantCounts]:
        """Return the counts of each tenant's rows, in the order of tenant names; "" is for rows without a tenant."""
        loads = await self._store.tenant_loads()
        by_tenant = [(tenant, list(group)) for tenant, group in itertools.groupby(loads, key=lambda load: load.tenant)]
        return [
            TenantCounts(
                tenant=tenant,
                counts=counts_of(group),
                unconfirmed=sum(load.unconfirmed for load in group),
                maybe_billed=sum(load.maybe_billed for load in group),
                waiting=sum(load.waiting for load in group),
            )
            for tenant, group in by_tenant
        ]

    async def active_runs(self) -> list[ActiveRun]:
        """Return the active runs and the hosts they run on."""
        return await self._store.active_runs()

    async def hosts(self) -> list[ActiveRun]:
        """Return the active runs; deprecated alias of `active_runs`."""
        warn_renamed("Backlog.hosts", "active_runs")
        return await self.active_runs()

    async def waiting(self) -> Waiting:
        """Return how many rows wait for another day, and until when.

        The tax authority may not know an invoice on the day of its date, and refuses to check one too often in a day.
        Such a check is pending, and runs make it from shortly after the next midnight at UTC+8, for three days at most.
        """
        return waiting_rows(await self._store.waiting())

    async def failures(self) -> dict[str, int]:
        """Return failed tasks by the class of their error, the most frequent first."""
        return await self._store.failures()

    async def maybe_billed(self) -> int:
        """Return how often the answer to a billed call was lost, so that it may have been billed without a result."""
        return await self._store.maybe_billed()

    async def causes(self, limit: int = 50, *, most: int | None = None) -> list[Cause]:
        """Return why rows failed: at most `limit` different errors, the most frequent first."""
        if most is not None:
            warn_renamed("Backlog.causes(most=)", "limit")
            limit = most
        return await self._store.causes(limit)

    async def results(self, state: str | None = None, *, kind: str | None = None) -> AsyncIterator[Task]:
        """Yield the tasks of one state and kind, or all, in the order they were added.

        Raises `ConfigError` for an unknown state or kind.
        """
        _check("state", state, STATES)
        _check("kind", kind, KINDS)
        last = 0
        while page := await self._store.page(last, LIMITS.rows_per_page, state, kind):
            # Decoding answers takes long enough to block the event loop; a spare thread does not.
            for task in await asyncio.to_thread(lambda rows: [task_of(row) for row in rows], page):
                yield task
            last = page[-1].id

    async def retry(self, *, cause: str | None = None, unknown: bool = False, waiting: bool = False) -> int:
        """Make failed tasks pending again; return how many. Tasks that wait for another day go on waiting.

        `cause` selects them by the class of their error, or by a part of class and text, case-insensitive. Tasks that
        failed with `OutcomeUnknownError` may already have been billed and stay failed; with `unknown`, only these are
        retried. With `waiting`, no failed tasks are retried, but those that wait for another day can be made at once.
        Raises `ConfigError` for an empty cause, and for `waiting` with one of the others.
        """
        if waiting:
            if cause is not None or unknown:
                raise ConfigError("waiting tasks have not failed: give neither cause nor unknown with waiting")
            return await self._store.end_waits()
        if cause is not None and not cause.strip():
            raise ConfigError("cause must be the class of an error or a part of its text, not empty")
        return await self._store.retry(cause or "", unknown=unknown)

    async def free(self) -> int:
        """Make tasks pending again that were claimed by runs which hold no lock; return how many.

        A run does this by itself for the tasks of killed runs. This method is for runs that still count as alive, such
        as those of a backlog that was moved or copied without the files beside it and whose process seems to exist.
        Only a person can tell that none of them is active. Calls they had sent are counted in `maybe_billed`.
        """
        return await self._store.free()

    async def export(
        self, path: str | PathLike[str], state: str | None = None, *, kind: str | None = None, lang: str = "en"
    ) -> int:
        """Write the tasks of one state and kind, or all, to a file; return how many.

        The suffix selects the format: .jsonl has one object per task; .csv, .xlsx and .parquet (the last two need
        their extras) have one line per task, or per invoice if a file shows several, under headings in the language
        `lang`, `en` or `zh`. The file appears once it is complete. Raises `ConfigError` for another suffix, an unknown
        state, kind or language, or an extra that is not installed, `StorageError` if the file cannot be written.
        """
        _check("state", state, STATES)
        _check("kind", kind, KINDS)
        target = await checked_target(self._store, path)
        opening = partial(Export, target, lang=lang, tenants=await self._store.has_tenants())
        # Packing a large workbook takes a while; on the store's own thread it would delay the records of a run.
        async with opened_in_thread(opening, target) as (export, thread):
            exported = await self._feed(lambda page: thread.call(export.write, page), state, kind)
            await thread.call(export.finish)
        return exported

    async def report(self, path: str | PathLike[str], *, lang: str = "en") -> int:
        """Write a self-contained HTML report on the backlog for people; return how many tasks it covers.

        `lang` is `en` or `zh`. Raises `ConfigError` for another language, `StorageError` if the file cannot be written.
        """
        target = await checked_target(self._store, path)
        report = Report(lang)
        reported = await self._feed(lambda page: asyncio.to_thread(report.add, page))
        html = await asyncio.to_thread(report.html, self._store.name, datetime.now(CHINA))
        await asyncio.to_thread(write_whole, target, html.encode())
        return reported

    async def copy_to(self, other: Backlog) -> CopyReport:
        """Copy all manifests, rows, calls and results into another backlog, file or database; all or nothing.

        A call that the other backlog already has gets the copied rows and the better of both states: done, else
        failed, else pending. Rows that were copied before, or that `add_manifest` would match, are not added again.
        Raises `BacklogBusyError` if a run is active on this backlog, `ConfigError` if both are the same file,
        `EkbConnectionError` if the connection to a database is lost meanwhile.
        """
        if other._store.file is not None and self._store.file == other._store.file:
            raise ConfigError("a backlog cannot be copied into itself")
        return await copy(self._store, other._store)

    async def _feed(
        self, take: Callable[[Iterable[Task]], Awaitable[None]], state: str | None = None, kind: str | None = None
    ) -> int:
        """Pass tasks to `take`, page by page; return how many. Each task is decoded only when it is consumed."""
        last = count = 0
        while page := await self._store.page(last, LIMITS.rows_per_page, state, kind):
            await take(map(task_of, page))
            last = page[-1].id
            count += len(page)
        return count

    @asynccontextmanager
    async def _import(self) -> AsyncIterator[None]:
        """Import rows inside the block, one file at a time; rows that are not committed are discarded at its end."""
        async with self._adding:
            try:
                await self._store.begin_import()
                yield
            finally:
                await self._store.discard_import()


def _next_rows(rows: Iterator[ManifestRow]) -> Iterator[ManifestRow]:
    """Yield the next rows for a fraction of a second; a caller can be cancelled between two such parts."""
    end = time.monotonic() + LIMITS.import_seconds
    for row in itertools.islice(rows, LIMITS.rows_per_import):
        yield row
        if time.monotonic() > end:
            return


def _check(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}")
