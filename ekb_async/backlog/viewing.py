"""What a backlog shows: counts, results, exports and reports."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from os import PathLike

from ekb_async.backlog.input.rows.kinds import KINDS, PAID
from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.results.buyers import check_buyers
from ekb_async.backlog.results.collecting import collect
from ekb_async.backlog.results.estimate import Estimate, estimate
from ekb_async.backlog.results.export import Export, lines_path
from ekb_async.backlog.results.export.about import About
from ekb_async.backlog.results.own_files import checked_target
from ekb_async.backlog.results.report import Report
from ekb_async.backlog.results.tasks import Task, task_of, unread_task_of
from ekb_async.backlog.run.shown.progress import Progress
from ekb_async.backlog.run.watching import Watch
from ekb_async.backlog.store.accounting import Accounting, account
from ekb_async.backlog.store.answered import index_answers
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.calls import STATES, StoredRow, counts_of
from ekb_async.backlog.store.purged import Purged, purged_of
from ekb_async.backlog.store.reports import ActiveRun, Cause, TenantCounts, Waiting, waiting_rows
from ekb_async.backlog.store.selection import Selection
from ekb_async.config import SessionConfig
from ekb_async.models.wire.coerce import CHINA
from ekb_async.session.session import EkbSession
from ekb_async.storage.atomic_files import write_whole
from ekb_async.storage.sqlite.thread import opened_in_thread
from ekb_async.validation import checked_choice, checked_number, checked_text, warn_renamed


class Viewing:
    """The part of a `Backlog` that shows what it has; states and results are not changed."""

    _store: CallStore

    async def counts(self) -> dict[str, int]:
        """Return tasks by state; `pending`, `running` (claimed by a run), `done`, `failed` are always present."""
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

    async def accounting(self) -> Accounting:
        """Return how many billed calls were made, and how many are saved by what; purged ones are included."""
        sql, purge_sql = self._store.invoice_sql, self._store.purge_sql
        return await self._store.read(lambda statements: account(statements, sql, purge_sql))

    async def purged(self) -> Purged:
        """Return what was purged with a summary: how many calls, what was billed for them, and their invoices."""
        sql = self._store.purge_sql
        return await self._store.read(lambda statements: purged_of(statements, sql))

    async def estimate(self, config: SessionConfig | None = None) -> Estimate:
        """Return what is left to do, what is billed of it, and how long it takes; nothing is sent.

        `config` has the rates of the session that will make the calls; by default those of `SessionConfig`. With
        tenants, each of them has these rates.
        """
        now, sql, config = self._store.clock(), self._store.invoice_sql, config or SessionConfig()
        return await self._store.read(lambda statements: estimate(statements, sql, now, config))

    async def check_buyers(self, ekb: EkbSession, tenant: str = "") -> int:
        """Warn of pending rows of a tenant whose file states another buyer than the enterprise; return how many.

        The names of the enterprise are asked for once, which is free. The warning is removed from rows where it is not
        true any more; rows whose file states no buyer are left. Raises the errors of `EkbSession.payers`.
        """
        return await check_buyers(self._store, await ekb.payers(), tenant)

    async def active_runs(self) -> list[ActiveRun]:
        """Return the active runs and the hosts they run on."""
        return await self._store.active_runs()

    async def hosts(self) -> list[ActiveRun]:
        """Return the active runs; deprecated alias of `active_runs`."""
        warn_renamed("Backlog.hosts", "active_runs")
        return await self.active_runs()

    async def watch(self, *, interval: float = 1.0) -> AsyncGenerator[Progress, None]:
        """Yield the progress of all runs on the backlog, whichever programs make them, until nothing is left to do.

        It is read every `interval` seconds (more than 0), and counts of a large backlog less often. Nothing is changed,
        and no run waits for it. While the backlog cannot be read, `trouble` says why, and what was read last is
        repeated. Rows that wait for another day may be left; while no run is active, `runs` is empty. Raises
        `ConfigError` for a wrong interval, and as `counts` does if the backlog cannot be read at first.
        """
        checked_number("interval", interval, above=0)
        async with aclosing(Watch(self._store, interval).views()) as views:
            async for progress in views:
                yield progress

    async def waiting(self) -> Waiting:
        """Return how many rows wait for another day, and until when.

        The tax authority may not know an invoice on the day of its date, and refuses to check one too often in a day.
        Such a check is pending, and runs make it from shortly after the next midnight at UTC+8, for three days at most.
        """
        return waiting_rows(await self._store.waiting())

    async def in_flight(self) -> dict[str, int]:
        """Return by kind how many billed calls of active runs were sent and are not answered yet."""
        return await self._store.in_flight()

    async def failures(self) -> dict[str, int]:
        """Return failed tasks by the class of their error, the most frequent first."""
        return await self._store.failures()

    async def maybe_billed(self) -> int:
        """Return how often the answer to a billed call was lost, so that it may have been billed without a result.

        Those of calls that were purged with a summary are counted.
        """
        return await self._store.maybe_billed()

    async def causes(self, limit: int = 50, *, most: int | None = None) -> list[Cause]:
        """Return why rows failed: at most `limit` different errors, the most frequent first."""
        if most is not None:
            warn_renamed("Backlog.causes(most=)", "limit")
            limit = most
        return await self._store.causes(limit)

    async def results(
        self,
        state: str | None = None,
        *,
        kind: str | None = None,
        file: str | None = None,
        ref: str | None = None,
        warned: bool = False,
    ) -> AsyncIterator[Task]:
        """Yield the tasks of one state and kind, or all, in the order they were added.

        `file` selects them by a part of their file or invoice ID, in any case, `ref` by their reference; with `warned`,
        only those with a warning are yielded. Raises `ConfigError` for an unknown state or kind.
        """
        selection = _selection(state, kind, file=file, ref=ref, warned=warned)
        await self._index(selection)
        last = 0
        while page := await self._store.page(last, LIMITS.rows_per_page, selection):
            # Decoding answers takes long enough to block the event loop; a spare thread does not.
            for task in await asyncio.to_thread(lambda rows: [task_of(row) for row in rows], page):
                yield task
            last = page[-1].id

    async def count(
        self,
        state: str | None = None,
        *,
        kind: str | None = None,
        file: str | None = None,
        ref: str | None = None,
        warned: bool = False,
    ) -> int:
        """Return the number of tasks that `results` would yield. Raises as it does."""
        return await self._store.count(_selection(state, kind, file=file, ref=ref, warned=warned))

    async def export(
        self,
        path: str | PathLike[str],
        state: str | None = None,
        *,
        kind: str | None = None,
        lang: str = "en",
        lines: bool = False,
    ) -> int:
        """Write the tasks of one state and kind, or all, to a file; return how many.

        The suffix selects the format: .jsonl has one object per task; .csv and .parquet have one line per task, or per
        invoice if a file shows several, under headings in the language `lang`, `en` or `zh`; .xlsx has the same for
        people, with a summary, the lines of the invoices, what needs attention, and equal invoices on further sheets.
        The last two need their extras. The columns that only the user knows are in all of them, at most 200; .jsonl has
        all. With `lines`, a .csv or .parquet file gets a second one beside it with the lines of the invoices, such as
        `results.lines.csv`. The files appear once they are complete, all or none.

        Raises `ConfigError` for another suffix, an unknown state, kind or language, `lines` of another format, or an
        extra that is not installed, `StorageError` if a file cannot be written.
        """
        selection = _selection(state, kind)
        target = await checked_target(self._store, path)
        if lines:
            await checked_target(self._store, lines_path(target))
        await self._index(selection)
        own, tenants = await self._store.own_columns(), await self._store.has_tenants()
        about = About(await self.accounting(), await self.purged(), state, kind, target.parent, datetime.now(CHINA))
        opening = partial(Export, target, lang=lang, own=own, tenants=tenants, lines=lines, about=about)
        # Packing a large workbook takes a while; on the store's own thread it would delay the records of a run.
        async with opened_in_thread(opening, target) as (export, thread):
            exported = await self._feed(lambda page: thread.call(export.write, map(unread_task_of, page)), selection)
            await thread.call(export.finish)
        return exported

    async def report(self, path: str | PathLike[str], *, lang: str = "en", title: str | None = None) -> int:
        """Write a self-contained HTML report on the backlog for people; return how many tasks it covers.

        `lang` is `en` or `zh`; `title` is the heading of the page, by default a general one. Needs the extra `report`.
        Raises `ConfigError` for another language, an empty title, or without the extra, `StorageError` if the file
        cannot be written.
        """
        if title is not None:
            title = checked_text("title", title)
        target = await checked_target(self._store, path)
        report = await asyncio.to_thread(Report, lang)
        await self._index(Selection())
        reported = await collect(self._store, report)
        accounting = await self.accounting()
        page = partial(report.html, datetime.now(CHINA), title=title, accounting=accounting)
        html = await asyncio.to_thread(page)
        await asyncio.to_thread(write_whole, target, html.encode())
        return reported

    async def _index(self, selection: Selection) -> None:
        """Compare the answers that are new, if the selected rows may have any."""
        if selection.state in (None, "done") and (selection.kind is None or selection.kind in PAID):
            await index_answers(self._store)

    async def _feed(self, take: Callable[[list[StoredRow]], Awaitable[None]], selection: Selection) -> int:
        """Pass rows to `take`, page by page; return how many."""
        last = count = 0
        while page := await self._store.page(last, LIMITS.rows_per_page, selection):
            await take(page)
            last = page[-1].id
            count += len(page)
        return count


def _selection(
    state: str | None, kind: str | None, *, file: str | None = None, ref: str | None = None, warned: bool = False
) -> Selection:
    checked_choice("state", state, STATES)
    checked_choice("kind", kind, KINDS)
    return Selection(state, kind, file=file, ref=ref, warned=warned)
