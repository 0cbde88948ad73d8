"""The backlog as its users see it; see `call_store` for its states and `run` for how it is worked through."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path

import msgspec

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.input.flows import FlowCodes, rows_of
from ekb_async.backlog.input.manifest import KINDS, PAID, Manifest, ManifestRow, kept_path
from ekb_async.backlog.results.export import Export
from ekb_async.backlog.results.own_files import belongs_to, check_name, content_hash, is_among, is_database
from ekb_async.backlog.results.report import Report
from ekb_async.backlog.results.tasks import Task, task_of
from ekb_async.backlog.run.progress import Progress, Summary
from ekb_async.backlog.run.run import OneSession, Run, SessionPool
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import (
    STATES,
    ActiveRun,
    AddReport,
    CallStore,
    Cause,
    TenantCounts,
    counts_of,
)
from ekb_async.backlog.store.copying import CopyReport, copy
from ekb_async.backlog.store.sqlite.file_store import FileStore
from ekb_async.errors import ConfigError
from ekb_async.models.wire.coerce import CHINA
from ekb_async.session.session import EkbSession
from ekb_async.session.tenants import SessionForTenant, TenantSessions
from ekb_async.storage.atomic_files import write_whole
from ekb_async.storage.sqlite_thread import Worker
from ekb_async.validation import warn_renamed

_ROWS_READ = 500
_READING_SECONDS = 0.2
_ROWS_SHOWN = 200
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one letter is a drive; a `Path` has one slash left


class Backlog:
    """Many calls in one place: added from manifests, made at the vendor's pace, kept with their results.

    Made by `Backlog.open`. Every row of a manifest is a task; tasks of one tenant that ask for the same of the same
    content (see `identity`) share one call and its result, whoever their `staff_id` and whatever their `file_name` is.
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
    async def open(cls, place: str | PathLike[str], *, timing: BacklogTiming | None = None) -> AsyncIterator[Backlog]:
        """Opens a backlog, or makes a new one, for the length of an `async with` block.

        `place` is a file on this machine, or the DSN (`postgresql://…`) of a database for any number of hosts, which
        needs the extra `postgres`. `timing` sets how long the backlog waits for what,
        by default as `EKB_TIMING` says. Raises `ConfigError` for a file
        that is no backlog or of a newer version, and leaves it unchanged, or if the database refuses,
        `EkbConnectionError` if it cannot be reached within 10 s.
        """
        timing = timing or BacklogTiming.from_env()
        store = await _opened(place, timing)
        backlog = cls(store, timing)
        try:
            yield backlog
        finally:
            await await_uncancelled(asyncio.ensure_future(backlog._close()))

    async def _close(self) -> None:
        # A run that is still at work has calls under way, which have been paid for.
        await asyncio.gather(*(run.end() for run in self._runs))
        await self._store.close()

    async def add_manifest(self, path: str | PathLike[str], *, roots: Iterable[str | PathLike[str]] = ()) -> AddReport:
        """Adds the rows of a manifest (.csv, .jsonl, .ndjson), all or none; local files are read for their hash.

        Local files must lie under the folder of the manifest or under one of `roots`, wherever links lead. A row that
        is there already, from this manifest or another, is not added again and changes the state of nothing. It is
        known by the content that its call is made on and by its `ref`, or without one by its file; one of several such
        rows by all its values, or else by its place among them. Its call, if it is not done, is made with what the row
        says now. No row makes a failed call again, which is what `retry` does. Raises `ConfigError` naming file, line
        and column of the first wrong row.
        """
        async with self._staging(), _thread(path) as reader:
            manifest = await reader.open(Manifest, Path(path), roots)
            try:
                rows = manifest.rows()
                while await self._store.import_rows(_part_of(rows)):
                    pass
            finally:
                await reader.call(manifest.close)
            return await self._store.commit_import(manifest.path, manifest.columns)

    async def add_flows(
        self, ekb: EkbSession, path: str | PathLike[str], *, kinds: Sequence[str] = ("detail",)
    ) -> AddReport:
        """Adds the invoices of documents (单据), all or none; `path` is a text file with the code of one on each line.

        Each invoice becomes a row of each of the `kinds` (`url`, `detail`, `download`) with the code as its `ref`.
        Codes that are unknown or without invoices are in the report's `missing`. Raises `ConfigError` for a list that
        cannot be read or a kind that takes no invoice ID, and what `EkbSession.flow_invoices` raises.
        """
        for kind in kinds:
            _check("kind", kind, [each for each in KINDS if each not in PAID])
        async with self._staging(), _thread(path) as reader:
            listed = await reader.open(FlowCodes, Path(path))
            missing: list[str] = []
            try:
                while codes := await reader.call(listed.take, ekb.config.batch_size):
                    found = await ekb.flow_invoices(codes=[each.code for each in codes])
                    missing += [each.code for each in codes if not found.get(each.code)]
                    await self._store.import_rows(rows_of(codes, found, kinds))
            finally:
                await reader.call(listed.close)
            report = await self._store.commit_import(listed.path, ())
        return msgspec.structs.replace(report, missing=tuple(dict.fromkeys(missing)))

    async def run(
        self,
        ekb: EkbSession | SessionPool | SessionForTenant,
        progress: Callable[[Progress], None] | None = None,
        *,
        files: str | PathLike[str] | None = None,
    ) -> Summary:
        """Makes all pending calls; results are written as they arrive. `progress` is called a few times per second.

        Where rows have tenants, `ekb` is `TenantSessions`, or what makes the session of a tenant; each tenant's calls
        are made with its own, many tenants at the same time. `files` is the directory for rows of kind `download`;
        without it they stay pending. Any number of runs may work on one backlog at the same time. Calls that were under
        way when an earlier run was killed are made again, or fail with `OutcomeUnknownError` if a session's
        `repeat_unknown` is False.

        Raises `AuthError` or `PermissionDeniedError` when every further call would fail with it, `SessionClosedError`
        if the session is closed, `EkbConnectionError` if the vendor cannot be reached, at first or for half an hour;
        with tenants, when the others are finished, and of several tenants what the first met. Raises what `progress`
        raises, `ConfigError` if rows have a tenant and `ekb` is one session or if the backlog cannot be written,
        `EkbConnectionError` if its database is away for ten minutes. What was not made stays pending. When cancelled,
        or ended by an error, calls under way have the session's `close_timeout` to end and are recorded. Cancelling it
        again changes nothing, since a cancel scope of anyio does so at every turn of the loop; `break_off` ends it at
        once.
        """
        directory = None if files is None else kept_path(await asyncio.to_thread(Path(files).resolve), "a directory")
        async with AsyncExitStack() as stack:
            sessions: SessionPool
            if isinstance(ekb, EkbSession):
                sessions = OneSession(ekb)
            elif callable(ekb):
                sessions = await stack.enter_async_context(TenantSessions(ekb))
            else:
                sessions = ekb
            run = Run(self._store, sessions, self._timing, progress, directory)
            self._runs.add(run)
            try:
                return await run.work()
            finally:
                self._runs.discard(run)
                self._broken_off += run.broken_off

    def break_off(self) -> None:
        """End the runs of this object at once: calls under way are broken off, and those that were sent are counted.

        Each `run` raises `asyncio.CancelledError`, or what it was ending with.
        """
        for run in self._runs:
            run.break_off()

    @property
    def broken_off(self) -> int:
        """How many billed calls the runs of this object have sent and then broken off, so that they may be billed."""
        return self._broken_off

    async def counts(self) -> dict[str, int]:
        """Tasks by state; `pending`, `running` (handed to the session), `done` and `failed` are always there."""
        return counts_of(await self._store.load())

    async def tenants(self) -> list[TenantCounts]:
        """How the rows of each tenant stand, in the order of their names; "" is for rows without one."""
        loads = await self._store.tenant_loads()
        by_tenant = [(tenant, list(group)) for tenant, group in itertools.groupby(loads, key=lambda load: load.tenant)]
        return [
            TenantCounts(
                tenant=tenant,
                counts=counts_of(group),
                unconfirmed=sum(load.unconfirmed for load in group),
                maybe_billed=sum(load.maybe_billed for load in group),
            )
            for tenant, group in by_tenant
        ]

    async def active_runs(self) -> list[ActiveRun]:
        """The runs that are at work, and where."""
        return await self._store.active_runs()

    async def hosts(self) -> list[ActiveRun]:
        """The former name of `active_runs`."""
        warn_renamed("Backlog.hosts", "active_runs")
        return await self.active_runs()

    async def failures(self) -> dict[str, int]:
        """Failed tasks by the class of their error, the most frequent first."""
        return await self._store.failures()

    async def maybe_billed(self) -> int:
        """How often the answer of a billed call was lost, so that it may have been paid for in vain."""
        return await self._store.maybe_billed()

    async def causes(self, limit: int = 50, *, most: int | None = None) -> list[Cause]:
        """Why rows failed, the most frequent first, at most `limit` different errors."""
        if most is not None:
            warn_renamed("most", "limit")
            limit = most
        return await self._store.causes(limit)

    async def results(self, state: str | None = None, *, kind: str | None = None) -> AsyncIterator[Task]:
        """The tasks in the order they were added, of one state and kind or all.

        Raises `ConfigError` for an unknown state or kind.
        """
        _check("state", state, STATES)
        _check("kind", kind, KINDS)
        last = 0
        while page := await self._store.page(last, _ROWS_SHOWN, state, kind):
            # Reading an answer takes a while, and nothing else waits for this thread.
            for task in await asyncio.to_thread(lambda rows: [task_of(row) for row in rows], page):
                yield task
            last = page[-1].id

    async def retry(self, *, cause: str | None = None, unknown: bool = False) -> int:
        """Makes failed tasks pending again; how many they were.

        `cause` is the class of their error, or a part of class and text, in any case. Tasks that failed with
        `OutcomeUnknownError` may have been paid for, and are left as they are; with `unknown`, they and no others are
        made again. Raises `ConfigError` for an empty cause.
        """
        if cause is not None and not cause.strip():
            raise ConfigError("cause must be the class of an error or a part of its text, not empty")
        return await self._store.retry(cause or "", unknown=unknown)

    async def free(self) -> int:
        """Makes the tasks pending again that runs had claimed which hold no lock; how many they were.

        A run does so by itself with what dead runs have left, and this is for those that it takes for alive: of a
        backlog that was moved or copied without the files beside it, whose process seems to be there. Only a person
        knows that none of them is at work. What they had sent is counted in `maybe_billed`.
        """
        return await self._store.free()

    async def export(
        self, path: str | PathLike[str], state: str | None = None, *, kind: str | None = None, lang: str = "en"
    ) -> int:
        """Writes the tasks of one state and kind, or all, to a file; how many they were.

        The suffix says how: .jsonl has one object per task, .csv, .xlsx and .parquet (the last two with their extras)
        one line per task, or per invoice where a file shows several, under headings in the language `lang`, `en` or
        `zh`. The file appears when it is whole. Raises `ConfigError` for another suffix, an unknown state, kind or
        language, an extra that is not installed, or a file that cannot be written.
        """
        _check("state", state, STATES)
        _check("kind", kind, KINDS)
        target = await self._target(path)
        # Packing a large workbook takes a while, in which a run must not wait for its records.
        writer = Worker(target)
        try:
            tenants = await self._store.has_tenants()
            export = await writer.open(partial(Export, lang=lang, tenants=tenants), target)
            try:
                exported = await self._feed(lambda page: writer.call(export.write, page), state, kind)
                await writer.call(export.finish)
            finally:
                await writer.call(export.close)
        finally:
            writer.close()
        return exported

    async def report(self, path: str | PathLike[str], *, lang: str = "en") -> int:
        """Writes a page (.html) about the backlog for people, complete in itself; how many tasks it is about.

        `lang` is `en` or `zh`. Raises `ConfigError` for another one, or a file that cannot be written.
        """
        target = await self._target(path)
        report = Report(lang)
        told = await self._feed(lambda page: asyncio.to_thread(report.add, page))
        page = await asyncio.to_thread(report.html, self._store.name, datetime.now(CHINA))
        await asyncio.to_thread(write_whole, target, page.encode())
        return told

    async def copy_to(self, other: Backlog) -> CopyReport:
        """Copies all manifests, rows, calls and results into another backlog, also of the other kind; all or nothing.

        Calls that are there already get the rows, and the better state of both: done, else failed, else pending. What
        has been copied before is not added again, nor is a row that `add_manifest` would find there. Raises
        `ConfigError` if a run is at work on this backlog or both are the same file, `EkbConnectionError` if a database
        goes away meanwhile.
        """
        if other._store.file is not None and self._store.file == other._store.file:
            raise ConfigError("a backlog cannot be copied into itself")
        return await copy(self._store, other._store)

    async def _target(self, path: str | PathLike[str]) -> Path:
        """Where a file goes; what is there already and is no file, or one of the backlog's own, is not replaced."""
        target = await asyncio.to_thread(Path(path).resolve)
        if self._store.file is not None and belongs_to(self._store.file, target):
            raise ConfigError(f"{path}: this is the backlog itself; choose another name")
        if not await asyncio.to_thread(os.path.lexists, target):
            return target
        if not await asyncio.to_thread(target.is_file):
            raise ConfigError(f"{path}: this is a directory or a device, no file")
        if await asyncio.to_thread(is_database, target):
            raise ConfigError(f"{path}: this is a database, perhaps another backlog; choose another name")
        if await asyncio.to_thread(is_among, target, await self._store.manifests()):
            raise ConfigError(f"{path}: this is one of the backlog's manifests; choose another name")
        named = await self._store.named(target.name, await asyncio.to_thread(content_hash, target))
        if await asyncio.to_thread(is_among, target, named):
            raise ConfigError(f"{path}: this is a file that a row of the backlog names; choose another name")
        return target

    async def _feed(
        self, take: Callable[[Iterable[Task]], Awaitable[None]], state: str | None = None, kind: str | None = None
    ) -> int:
        """Gives tasks to `take`, page by page, which are read when they are taken; how many they were."""
        last = fed = 0
        while page := await self._store.page(last, _ROWS_SHOWN, state, kind):
            await take(map(task_of, page))
            last = page[-1].id
            fed += len(page)
        return fed

    @asynccontextmanager
    async def _staging(self) -> AsyncIterator[None]:
        """One file at a time is put aside."""
        async with self._adding:
            try:
                await self._store.begin_import()
                yield
            finally:
                await self._store.discard_import()


async def _opened(place: str | PathLike[str], timing: BacklogTiming) -> CallStore:
    if not isinstance(place, str) or not place.startswith(("postgresql://", "postgres://")):
        if _URL.match(str(place)):
            # It may hold a password, which a path in an error would show.
            raise ConfigError("a backlog is a file, or a DSN that begins with postgresql://")
        await asyncio.to_thread(check_name, Path(place))
        return await FileStore.open(place, timing)
    # Needed for databases only, and so an extra.
    from ekb_async.backlog.store.postgres.store import PostgresStore

    return await PostgresStore.open(place, timing)


@asynccontextmanager
async def _thread(path: str | PathLike[str]) -> AsyncIterator[Worker]:
    """A thread for reading a file, beside the one that the backlog may have for its own."""
    worker = Worker(Path(path))
    try:
        yield worker
    finally:
        worker.close()


def _part_of(rows: Iterator[ManifestRow]) -> Iterator[ManifestRow]:
    """The next rows, as many as are read in a moment: between two of them a caller can be cancelled."""
    end = time.monotonic() + _READING_SECONDS
    for row in itertools.islice(rows, _ROWS_READ):
        yield row
        if time.monotonic() > end:
            return


def _check(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}")
