"""Copying a backlog into another one, also between a file and a database.

The source is read page by page while no run can begin on it. One transaction of the target takes everything: manifests
and rows are imported as in `adding`, then each page of calls is compared with those of the target, and written.
Manifests are identified by path and time of adding, so what was copied before is not added again; nor is a row that is
present already, by the same rule as in `adding`. If both backlogs have a call, its rows are joined and the better state
counts: done before failed before pending. Attempts are added up, except that the greater number counts for a call that
was copied before; so are the checks of one day. If the call waits for another day in either backlog, it waits for the
later one, and the greater number of days counts.

Rows and manifests keep their order, and new calls the time at which they were added. Rows that were purged from the
source are recognised in the target as well. The sums of what was purged are copied into a new backlog only: another one
may have counted them already.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, TypeVar

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.transactions.adding import Source, match
from ekb_async.backlog.store.transactions.purged import copy_purged
from ekb_async.backlog.store.transactions.sharing import keep_keys, share
from ekb_async.backlog.store.values.calls import storable
from ekb_async.backlog.store.values.reports import CopyReport
from ekb_async.config import Priority
from ekb_async.errors import ConfigError
from ekb_async.storage.statements import Statements

_JOINED = ("attempts", "maybe_billed", "priority", "due_at", "waits", "waited_on", "checks", "checked_on")
"""The columns that depend on the call in both backlogs."""
_RANK = {"pending": 1, "running": 2, "failed": 2, "done": 3}


class CopiedRow(NamedTuple):
    """A row, and the call that it belongs to."""

    id: int
    tenant: str
    identity: str
    source_id: int
    line: int
    start: int | None
    length: int | None
    ref: str
    file: str
    invoice_id: str
    staff_id: str
    file_name: str
    date: str
    kind: str
    content: str
    form: int
    own: str
    printed: str
    warning: str
    keys: str


class CopiedCall(NamedTuple):
    """A call as it is stored; `new_rows` counts its rows that the target does not have."""

    id: int
    tenant: str
    identity: str
    kind: str
    state: str
    row_id: int
    attempts: int
    maybe_billed: int
    ended_at: float | None
    error_type: str
    error: str
    hint: str
    result: bytes | None
    due_at: float | None
    waits: int
    waited_on: int
    checks: int
    checked_on: int
    source: str
    added_at: float | None
    priority: int = Priority.NORMAL
    new_rows: int = 0


class KeptCall(NamedTuple):
    """What the target has of a copied call: only its new rows if `id` is None."""

    source_id: int
    id: int | None
    state: str
    row_id: int
    attempts: int
    maybe_billed: int
    sent: int
    priority: int
    due_at: float | None
    waits: int
    waited_on: int
    checks: int
    checked_on: int
    new_rows: int
    new_row: int | None
    """The number of the row from which the copied call is made if that is new, or of another if that was removed."""
    was_copied: bool


Page = TypeVar("Page", Source, CopiedRow, CopiedCall)


async def copy(source: CallStore, target: CallStore) -> CopyReport:
    """Copy a whole backlog, or nothing. Raises `BacklogBusyError` if a run is at work on it, `ConfigError` if both
    are the same."""
    if source is target:
        raise ConfigError("a backlog cannot be copied into itself")
    async with source.reading() as reader:
        return await target.merge(lambda statements: _Copy(reader, source, statements, target).work())


class _Copy:
    """One copy, within a transaction of the target."""

    def __init__(self, reader: Statements, source: CallStore, target: Statements, store: CallStore) -> None:
        self._reader = reader
        self._read = source.copy_sql
        self._read_purged, self._purge_sql = source.purge_sql, store.purge_sql
        self._target = target
        self._sql = store.sql
        self._copy_sql = store.copy_sql
        self._invoice_sql = store.invoice_sql
        self._today = store.today
        self._row_base = 0
        self._added = 0
        self._joined = 0

    async def work(self) -> CopyReport:
        target, sql, copy_sql = self._target, self._sql, self._copy_sql
        await target.script(sql.LOCK_IMPORT)
        await target.script(sql.BEGIN_IMPORT)
        is_new = not await target.value(sql.LAST_CALL) and not await target.fetch(self._purge_sql.READ_SUMS)
        sources = 0
        async for manifests in self._pages(Source, self._read.READ_MANIFESTS):
            await target.write(
                sql.IMPORT_SOURCES, [each._replace(n=n) for n, each in enumerate(manifests, sources + 1)]
            )
            sources += len(manifests)
        async for rows in self._pages(CopiedRow, self._read.READ_ROWS):
            await target.write(copy_sql.IMPORT_COPIED_ROWS, rows)
        base = await target.value(sql.RESERVE_MANIFESTS, count=sources)
        self._row_base = await target.value(sql.RESERVE_ROWS, count=await target.value(sql.COUNT_IMPORTED))
        await target.script(copy_sql.PREPARE_COPY)
        new_manifests = await target.execute(sql.ADD_MANIFESTS, manifest_base=base)
        await self._share()
        # All rows are compared with the target, including those that are present because they were copied before.
        if await match(target, sql):
            await target.execute(copy_sql.KEEP_DATES)
            await target.execute(self._invoice_sql.KEEP_PRINTED)
        await target.execute(copy_sql.FIND_COPIED_BEFORE, manifest_base=base)
        await target.execute(sql.DROP_PRESENT)
        await target.execute(copy_sql.DROP_COPIED_BEFORE, manifest_base=base)
        async for page in self._pages(CopiedCall, self._read.READ_CALLS):
            await self._merge(page)
        new_rows = await target.execute(sql.IMPORT_ROWS, manifest_base=base, row_base=self._row_base)
        await keep_keys(target, self._invoice_sql)
        await copy_purged(self._reader, self._read_purged, target, self._purge_sql, is_new=is_new)
        return CopyReport(manifests=new_manifests, rows=new_rows, calls=self._added, joined=self._joined)

    async def _share(self) -> None:
        """Let rows share the calls that the target has for their invoices."""
        await self._target.execute(self._copy_sql.NOTE_UNSHARED)
        await share(self._target, self._invoice_sql)
        await self._target.execute(self._copy_sql.UNDO_OTHER_KINDS)
        await self._target.execute(self._copy_sql.KEEP_REDIRECTED)

    async def _pages(self, kind: Callable[..., Page], query: str) -> AsyncIterator[list[Page]]:
        last = 0
        while page := await self._reader.fetch_as(kind, query, after=last, limit=LIMITS.records_per_copied_page):
            yield page
            last = page[-1].id

    async def _merge(self, calls: list[CopiedCall], *, rows_counted: bool = False) -> None:
        """Add calls to the target, or join them with those that it has."""
        found = await self._target.fetch_each(KeptCall, self._copy_sql.FIND_CALLS, calls)
        by_id = {kept.source_id: kept for kept in found}
        added, joined, replaced = [], [], []
        taken: set[int] = set()
        later: list[CopiedCall] = []
        for call in calls:
            kept = by_id[call.id]
            ours = self._as_kept(call, kept._replace(new_rows=0) if rows_counted else kept)
            if kept.id in taken:
                later.append(call)
                continue
            if kept.id is None:
                # Rows that were copied before and removed since then are not added again.
                added += [ours] if kept.new_rows else []
                continue
            taken.add(kept.id)
            self._joined += 1
            if (both := _joined(ours, kept, self._today)) is not None:
                joined.append(both)
            if _wins(ours, kept):
                replaced.append(ours._replace(id=kept.id))
        await self._target.write(self._copy_sql.ADD_CALLS, added)
        await self._target.write(self._copy_sql.JOIN_CALLS, joined)
        await self._target.write(self._copy_sql.REPLACE_CALLS, replaced)
        self._added += len(added)
        if later:
            # Several calls of the source are one of the target, and each is compared with what the one before has left.
            await self._merge(later, rows_counted=True)

    def _as_kept(self, call: CopiedCall, kept: KeptCall) -> CopiedCall:
        """Return a call as the target stores it."""
        return call._replace(
            row_id=kept.row_id if kept.new_row is None else self._row_base + kept.new_row,
            new_rows=kept.new_rows,
            # Earlier versions stored errors in files that a database cannot store.
            error=storable(call.error),
            hint=storable(call.hint),
        )


def _wins(call: CopiedCall, kept: KeptCall) -> bool:
    """Return whether the target gets the state of the copied call."""
    return _RANK[call.state] > _RANK[kept.state]


def _joined(call: CopiedCall, kept: KeptCall, today: int) -> CopiedCall | None:
    """Return the call with the counts of both, None if those of the target stay as they are.

    An attempt under way that is no longer needed counts as well.
    """
    both = max if kept.was_copied else sum
    sent = kept.sent if _wins(call, kept) else 0
    checked_on = max(call.checked_on, kept.checked_on, today if sent else 0)
    checks = both([each.checks for each in (call, kept) if each.checked_on == checked_on] or [0])
    due_at = kept.due_at
    if call.state == kept.state == "pending" and call.due_at is not None:
        due_at = max(call.due_at, kept.due_at or 0.0)
    assert kept.id is not None  # noqa: S101 - there is a call to join
    joined = call._replace(
        id=kept.id,
        attempts=both((kept.attempts, call.attempts)) + sent,
        maybe_billed=both((kept.maybe_billed, call.maybe_billed)) + sent,
        priority=min(kept.priority, call.priority),
        due_at=due_at,
        waits=max(kept.waits, call.waits),
        waited_on=max(kept.waited_on, call.waited_on),
        checks=checks + sent,
        checked_on=checked_on,
    )
    is_known = all(getattr(joined, name) == getattr(kept, name) for name in _JOINED)
    return None if is_known and not call.new_rows else joined
