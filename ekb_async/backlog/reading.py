"""What a backlog gives back: its rows with their results, files and reports of them, and calls as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from ekb_async.backlog.input.rows.kinds import KINDS, PAID
from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.results.collecting import collect
from ekb_async.backlog.results.completions import Completion, Following
from ekb_async.backlog.results.export import Export, lines_path
from ekb_async.backlog.results.export.about import About
from ekb_async.backlog.results.own_files import checked_target
from ekb_async.backlog.results.tasks import Task, task_of, unread_task_of
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.answered import index_answers
from ekb_async.backlog.store.reading.ended import Position, position_since, present
from ekb_async.backlog.store.reading.selecting import count, numbered, pages
from ekb_async.backlog.store.values.calls import STATES, StoredRow
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.errors import ConfigError, TaskNotFoundError
from ekb_async.models.wire.coerce import CHINA
from ekb_async.storage.atomic_files import write_whole
from ekb_async.storage.sqlite.thread import opened_in_thread
from ekb_async.validation import checked_choice, checked_text, checked_whole

if TYPE_CHECKING:
    from ekb_async.backlog.results.report import Report


class Reading:
    """The part of a `Backlog` that reads its rows; states and results are not changed."""

    _store: CallStore
    _timing: BacklogTiming

    async def results(
        self,
        state: str | None = None,
        *,
        kind: str | None = None,
        file: str | None = None,
        ref: str | None = None,
        warned: bool = False,
        tenant: str | None = None,
        since: datetime | None = None,
        calls: Iterable[int] | None = None,
        after: int = 0,
    ) -> AsyncIterator[Task]:
        """Yield the tasks of one state and kind, or all, in the order they were added.

        `file` selects them by a part of their file or invoice ID, in any case, `ref` by their reference; with `warned`,
        only those with a warning are yielded. `tenant` selects those of a tenant, "" those without one, `since` those
        whose call ended at that time or later, `calls` those of calls with these IDs (`Task.call_id`). `after` is the
        number of a task (`Task.id`): only those that were added later are yielded.

        Few tasks are found without reading all others if they are selected by reference, call, time, state or tenant.
        Raises `ConfigError` for an unknown state or kind, a time without a time zone, and a number that is none.
        """
        selection = _selection(state, kind, file=file, ref=ref, warned=warned, tenant=tenant, since=since, calls=calls)
        first = checked_whole("after", after, most=LIMITS.largest_row) if after != 0 else 0
        await self._index(selection)
        async with aclosing(pages(self._store, selection, LIMITS.rows_per_page, first)) as found:
            async for page in found:
                # Decoding answers takes long enough to block the event loop; a spare thread does not.
                for task in await asyncio.to_thread(lambda rows: [task_of(row) for row in rows], page):
                    yield task

    async def count(
        self,
        state: str | None = None,
        *,
        kind: str | None = None,
        file: str | None = None,
        ref: str | None = None,
        warned: bool = False,
        tenant: str | None = None,
        since: datetime | None = None,
        calls: Iterable[int] | None = None,
    ) -> int:
        """Return the number of tasks that `results` would yield. Raises as it does."""
        selection = _selection(state, kind, file=file, ref=ref, warned=warned, tenant=tenant, since=since, calls=calls)
        return await count(self._store, selection)

    async def task(self, number: int) -> Task:
        """Return the task with a number (`Task.id`).

        Raises `TaskNotFoundError`, which is also a `LookupError`, if the backlog has no such task.
        """
        rows = await self._numbered(checked_whole("number", number, most=LIMITS.largest_row))
        if rows and rows[0].state == "done":
            await self._index(Selection("done", rows[0].kind))
            rows = await self._numbered(number)
        if not rows:
            raise TaskNotFoundError(f"the backlog has no row {number}")
        return await asyncio.to_thread(task_of, rows[0])

    async def _numbered(self, number: int) -> list[StoredRow]:
        return await numbered(self._store, [number])

    async def cursor(self) -> str:
        """Return a cursor for `completions`: behind it come the calls that end from now on."""
        return (await present(self._store)).text(self._store)

    async def completions(
        self, after: str | None = None, *, tenant: str | None = None, since: datetime | None = None
    ) -> AsyncGenerator[Completion, None]:
        """Yield calls as they end, done or failed, whichever programs make them; this has no end.

        `after` is the `cursor` of a completion, also one that another process has stored: each call that ended later is
        yielded exactly once. Without it, those are yielded that end from now on, or that have ended `since` a time. A
        call that is retried is yielded again when it ends again. `tenant` selects the calls of a tenant, "" those
        without one. Calls appear in the order in which they were recorded, about a second after that at most while no
        transaction in the database lasts longer.

        While the backlog cannot be reached, this waits, and logs one warning. It holds a few hundred calls in
        memory. Raises `ConfigError` for a text that is no cursor of this backlog, for `after` together with `since`,
        and for a time without a time zone; `StorageError` if the backlog cannot be read.
        """
        if after is not None and since is not None:
            raise ConfigError("give after or since, not both")
        if after is not None:
            position = Position.parse(self._store, after)
        elif (moment := _seconds(since)) is not None:
            position = await position_since(self._store, moment)
        else:
            position = await present(self._store)
        times = self._timing
        following = Following(
            self._store, position, tenant, interval=times.follow, longest=times.follow_anyway
        ).completions()
        async with aclosing(following) as completions:
            async for completion in completions:
                yield completion

    async def export(
        self,
        path: str | PathLike[str],
        state: str | None = None,
        *,
        kind: str | None = None,
        lang: str = "en",
        lines: bool = False,
        tenant: str | None = None,
        ref: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Write the tasks of one state and kind, or all, to a file; return how many.

        The suffix selects the format: .jsonl has one object per task; .csv and .parquet have one line per task, or per
        invoice if a file shows several, under headings in the language `lang`, `en` or `zh`; .xlsx has the same for
        people, with a summary, the lines of the invoices, what needs attention, and equal invoices on further sheets.
        The last two need their extras. The columns that only the user knows are in all of them, at most 200; .jsonl has
        all. With `lines`, a .csv or .parquet file gets a second one beside it with the lines of the invoices, such as
        `results.lines.csv`. `tenant`, `ref` and `since` select as in `results`. The files appear once they are
        complete, all or none.

        Raises `ConfigError` for another suffix, an unknown state, kind or language, `lines` of another format, or an
        extra that is not installed, `StorageError` if a file cannot be written.
        """
        selection = _selection(state, kind, tenant=tenant, ref=ref, since=since)
        target = await checked_target(self._store, path)
        if lines:
            await checked_target(self._store, lines_path(target))
        await self._index(selection)
        own, tenants = await self._store.own_columns(), await self._store.has_tenants()
        # That of all tenants is not for one of them.
        accounting, purged = (
            (await self._store.accounting(), await self._store.purged()) if tenant is None else (None, None)
        )
        about = About(accounting, purged, state, kind, target.parent, datetime.now(CHINA), tenant, ref, since)
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
        report = await asyncio.to_thread(_new_report, lang)
        await self._index(Selection())
        reported = await collect(self._store, report)
        accounting = await self._store.accounting()
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
        fed = 0
        async with aclosing(pages(self._store, selection, LIMITS.rows_per_page)) as found:
            async for page in found:
                await take(page)
                fed += len(page)
        return fed


def _new_report(lang: str) -> Report:
    # Reports take long to load, and most uses of a backlog make none.
    from ekb_async.backlog.results.report import Report

    return Report(lang)


def _selection(
    state: str | None,
    kind: str | None,
    *,
    since: datetime | None = None,
    calls: Iterable[int] | None = None,
    **others: Any,
) -> Selection:
    checked_choice("state", state, STATES)
    checked_choice("kind", kind, KINDS)
    ids = None if calls is None else [checked_whole("calls", each, most=LIMITS.largest_row) for each in calls]
    return Selection(state, kind, since=_seconds(since), calls=ids, **others)


def _seconds(moment: datetime | None) -> float | None:
    """Return a time in epoch seconds. Raises `ConfigError` for one without a time zone."""
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigError("since must be a time with a time zone, such as datetime.now(timezone.utc)")
    # A time that was read from a task may have been rounded up.
    return max(0.0, moment.timestamp() - 1e-6)
