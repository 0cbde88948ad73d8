"""The backlog as applications use it. `store.call_store` defines the states of calls, `run.run` makes the calls."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.backlog.adding import Adding
from ekb_async.backlog.budgeting import Budgeting
from ekb_async.backlog.input.manifest import kept_path
from ekb_async.backlog.input.rows.kinds import KINDS
from ekb_async.backlog.input.sources.sources import kept_as
from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.pausing import Pausing
from ekb_async.backlog.purging.compacting import compact
from ekb_async.backlog.purging.purging import Wanted, count_old, purge_calls
from ekb_async.backlog.reading import Reading
from ekb_async.backlog.run.shown.progress import Progress, Summary
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.copying import copy
from ekb_async.backlog.store.changes.removal import remove_rows
from ekb_async.backlog.store.changes.retrying import FailedRows, retry_rows, rows_to_retry
from ekb_async.backlog.store.places import open_store
from ekb_async.backlog.store.values.calls import STATES
from ekb_async.backlog.store.values.reports import CopyReport, PurgeReport, RemoveReport, RetryReport
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.backlog.viewing import Viewing
from ekb_async.errors import ConfigError
from ekb_async.validation import checked_choice, checked_place, checked_whole

if TYPE_CHECKING:
    from ekb_async.backlog.run.run import Run, SessionPool
    from ekb_async.session.accounts import SessionForTenant
    from ekb_async.session.session import EkbSession


class Backlog(Adding, Budgeting, Pausing, Viewing, Reading):
    """Many calls in one file or database: added from manifests, made at the vendor's pace, stored with their results.

    Create one with `Backlog.open`. Every row of a manifest is a task. Tasks of one tenant that have the same kind and
    the same content (see `identity`) share one call and its result, whatever their `staff_id` and `file_name`.
    """

    def __init__(self, store: CallStore, timing: BacklogTiming) -> None:
        super().__init__()
        self._store = store
        self._timing = timing
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
        `EKB_TIMING`. `clock` returns the time, in epoch seconds, by which calls wait for another day and are counted
        for budgets; it is called in any thread. Unless it is given, a database counts by its own clock.

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

    async def run(
        self,
        ekb: EkbSession | SessionPool | SessionForTenant,
        progress: Callable[[Progress], None] | None = None,
        *,
        files: str | PathLike[str] | None = None,
        ledger_first: bool = False,
        max_calls: int | None = None,
        until: datetime | None = None,
    ) -> Summary:
        """Make all pending calls and store each result as it arrives. `progress` is called a few times per second.

        If rows have tenants, `ekb` is `TenantSessions` or a callable that makes the session of a tenant; many tenants
        are served at the same time. `files` is the directory for downloads; without it such rows stay pending. Any
        number of runs may share a backlog. Calls in flight when an earlier run was killed are made again, or fail with
        `OutcomeUnknownError` if `repeat_unknown` is False. Calls that wait for another day are left.

        With `ledger_first`, the vendor's ledger is asked first, which is free: if the tax authority has confirmed all
        invoices of a row, and the row states no other date or amount, it is done without the call. At most `max_calls`
        billed attempts are sent (ones refused for the rate do not count); free calls go on. It ends at `until`.

        Raises `AuthError` or `PermissionDeniedError` if every further call would fail with it, `SessionClosedError` if
        the session is closed, `EkbConnectionError` if the vendor cannot be reached at the start or for half an hour;
        with tenants, the first such error, once all others are finished. Raises the error of `progress`, `ConfigError`
        for wrong arguments or if rows have a tenant and `ekb` is one session, `StorageError` if the backlog cannot be
        written, `EkbConnectionError` if its database is unreachable for ten minutes. Calls not made stay pending.

        When a run is cancelled, again or once, or fails, calls in flight have `close_timeout` to end; see `break_off`.
        """
        # A program that only adds, looks or exports does not wait for sessions to load.
        from ekb_async.backlog.run.before.bounds import Bounds
        from ekb_async.backlog.run.run import Run
        from ekb_async.session.tenants import TenantSessions

        _check_sessions(ekb)
        _check_progress(progress)
        bounds = Bounds(self._store.clock, max_calls=max_calls, until=until, asks_ledger=ledger_first)
        directory = None
        if files is not None:
            directory = kept_path(await asyncio.to_thread(checked_place("files", files).resolve), "a directory")
        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(TenantSessions(ekb)) if callable(ekb) else ekb
            run = Run(self._store, sessions, self._timing, progress, directory, bounds=bounds)
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

    async def retry(
        self,
        *,
        cause: str | None = None,
        unknown: bool = False,
        waiting: bool = False,
        rows: Iterable[int] | None = None,
        file: str | None = None,
        tenant: str | None = None,
        ref: str | None = None,
        kind: str | None = None,
        cancelled: bool = False,
    ) -> int:
        """Make failed tasks pending again; return how many. Tasks that wait for another day go on waiting.

        `cause` selects them by the class of their error, or by a part of class and text, case-insensitive; `rows` by
        their numbers, as in `Task.id`; `file` by a part of their file or invoice ID, in any case; `tenant`, `ref` and
        `kind` by what they have. Given together, all of them must be true. Tasks that share the call of a selected one
        are pending with it. Tasks that failed with `OutcomeUnknownError` may already have been billed and stay failed;
        with `unknown`, only these are retried. Tasks that `cancel` let fail stay so; with `cancelled`, only these are
        retried. With `waiting`, no failed tasks are retried, but those that wait for another day can be made at once.
        Raises `ConfigError` for an empty cause or file, an unknown kind, a number that is none, `unknown` with
        `cancelled`, and for `waiting` with one of the others.
        """
        selected = (cause, rows, file, tenant, ref, kind)
        if waiting:
            if unknown or cancelled or any(each is not None for each in selected):
                raise ConfigError("waiting tasks have not failed: give neither cause nor unknown with waiting")
            return await self._store.end_waits()
        return (await retry_rows(self._store, _failed_rows(*selected, unknown=unknown, cancelled=cancelled))).rows

    async def to_retry(
        self,
        *,
        cause: str | None = None,
        unknown: bool = False,
        rows: Iterable[int] | None = None,
        file: str | None = None,
        tenant: str | None = None,
        ref: str | None = None,
        kind: str | None = None,
        cancelled: bool = False,
    ) -> RetryReport:
        """Return what `retry` with the same arguments would make pending, and what of it is billed.

        No task is retried; as with `retry`, those that a killed run left are pending or failed from now on.
        """
        wanted = _failed_rows(cause, rows, file, tenant, ref, kind, unknown=unknown, cancelled=cancelled)
        return await rows_to_retry(self._store, wanted)

    async def free(self) -> int:
        """Make tasks pending again that were claimed by runs which hold no lock; return how many.

        A run does this by itself for the tasks of killed runs. This method is for runs that still count as alive, such
        as those of a backlog that was moved or copied without the files beside it and whose process seems to exist.
        Only a person can tell that none of them is active. Calls they had sent are counted in `maybe_billed`.
        """
        return await self._store.free()

    async def remove(
        self,
        rows: Iterable[int] | None = None,
        *,
        manifest: str | PathLike[str] | None = None,
        state: str | None = None,
        kind: str | None = None,
        tenant: str | None = None,
        paid: bool = False,
        dry_run: bool = False,
    ) -> RemoveReport:
        """Remove the rows that are selected in every way given; with `dry_run`, only count them.

        `rows` are numbers as in `Task.id`, `manifest` is the path of what they were added from. Rows are left while a
        run works on their call. A call that was sent or answered stays with its last row, unless `paid` is true: what
        was paid for it would be forgotten. Other rows keep the call that they share, and it is made from the best of
        their files. Raises `ConfigError` if nothing selects rows, for an unknown state, kind or manifest, and for a
        number that is none.
        """
        if rows is None and manifest is None and state is None and kind is None and tenant is None:
            raise ConfigError("give the rows to remove, or a manifest, state, kind or tenant")
        checked_choice("state", state, STATES)
        checked_choice("kind", kind, KINDS)
        numbers = None if rows is None else [checked_whole("rows", each, most=LIMITS.largest_row) for each in rows]
        path = None if manifest is None else await self._known_manifest(manifest)
        selection = Selection(state, kind, tenant, path)
        return await remove_rows(self._store, selection, numbers, paid=paid, dry=dry_run)

    async def purge(
        self,
        before: datetime,
        *,
        tenant: str | None = None,
        failed: bool = False,
        keep_summary: bool = True,
        keep_identities: bool = True,
        dry_run: bool = False,
        progress: Callable[[PurgeReport], object] | None = None,
    ) -> PurgeReport:
        """Delete calls that were done before a moment, with their rows and results; with `dry_run`, only count them.

        With `failed`, calls that failed before it are deleted as well. Runs may be at work: a few calls are deleted at
        a time, and none of theirs waits for it. `progress` is called after each such batch. Once all of them are
        deleted, so are entries of job engines' logs that are older, unless it is for one `tenant` only.

        What the calls cost and found stays in the sums of `purged`, `accounting`, reports and workbooks, unless
        `keep_summary` is false. Their rows are not added again: a digest of content and `ref` stays for each, from
        which neither can be read. Without `keep_identities` these do not stay, nor those of calls that earlier purges
        deleted and that ended before the day of the moment; what is added again from then on is paid again. Raises
        `ConfigError` for a moment without a time zone.
        """
        if not isinstance(before, datetime) or before.utcoffset() is None:
            raise ConfigError("before must be a datetime with a time zone")
        wanted = Wanted(before.timestamp(), tenant, failed, keep_summary, keep_identities)
        if dry_run:
            return await count_old(self._store, wanted)
        return await purge_calls(self._store, wanted, progress)

    async def compact(self) -> int:
        """Give the space of deleted rows in a file back to the disk; return how many bytes it has become smaller.

        Nothing else can write the file meanwhile, for about a second per 100 MB, and as much space is needed beside it.
        Raises `BacklogBusyError` while a run is active, `ConfigError` for a database, which uses the space again.
        """
        return await compact(self._store)

    async def _known_manifest(self, manifest: str | PathLike[str]) -> str:
        known = set(await self._store.manifests())
        for path in await asyncio.to_thread(lambda: list(kept_as(os.fspath(manifest), known))):
            if path in known:
                return path
        raise ConfigError(f"{manifest}: no rows were added from this")

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


def _failed_rows(
    cause: str | None,
    rows: Iterable[int] | None,
    file: str | None,
    tenant: str | None,
    ref: str | None,
    kind: str | None,
    *,
    unknown: bool,
    cancelled: bool,
) -> FailedRows:
    if cause is not None and not cause.strip():
        raise ConfigError("cause must be the class of an error or a part of its text, not empty")
    if file is not None and not file.strip():
        raise ConfigError("file must be a part of a file or an invoice ID, not empty")
    numbers = None if rows is None else [checked_whole("rows", each, most=LIMITS.largest_row) for each in rows]
    if unknown and cancelled:
        raise ConfigError("no task is both cancelled and of unknown outcome: give only one of them")
    checked_choice("kind", kind, KINDS)
    return FailedRows(cause or "", unknown, numbers, file, tenant, ref, kind, cancelled)


def _check_sessions(given: object) -> None:
    """Raise `ConfigError` for what are neither sessions nor a function that makes them."""
    from ekb_async.session.session import EkbSession

    if given is EkbSession:
        raise ConfigError("ekb must be a session, not the class EkbSession")
    is_pool = all(callable(getattr(given, name, None)) for name in ("session", "changed"))
    if not (isinstance(given, EkbSession) or is_pool or callable(given)):
        raise ConfigError(
            f"ekb must be a session, TenantSessions or a function of the tenant, not {type(given).__name__}"
        )


def _check_progress(given: object) -> None:
    """Raise `ConfigError` for what cannot be called, or would have to be awaited."""
    if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise ConfigError("progress must be an ordinary function, which is not awaited")
