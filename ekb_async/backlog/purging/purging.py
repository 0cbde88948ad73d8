"""Deleting calls that ended before a moment, a few at a time.

Each batch is a short transaction beside runs at work: it deletes calls with their rows and all that refers to them,
adds what they were to the sums that stay, and keeps what their rows are recognised by. So it can be interrupted at any
moment, and several purges at once delete each call once. Claims never wait for it, since they take pending calls, and
no import runs meanwhile, so that no row is added to a call that is being deleted. Calls that something else has locked
are left for the next purge.

The same invoice may be in the answers of several calls. Of those, the calls that remain are compared anew, so that one
of them becomes the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.purging.sums import NamedInvoice, OldCall, named_in, sums_of
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.reading.answered import index_answers
from ekb_async.backlog.store.transactions.adding import BLANKS
from ekb_async.backlog.store.values.calls import day_of
from ekb_async.backlog.store.values.reports import PurgeReport
from ekb_async.storage.statements import Statements


class Wanted(NamedTuple):
    """Which calls are purged: those that ended before a moment in epoch seconds; and whether sums and digests stay."""

    before: float
    tenant: str | None = None
    failed: bool = False
    summary: bool = True
    identities: bool = True


class _OldCount(NamedTuple):
    kind: str
    state: str
    calls: int
    rows: int


async def count_old(store: CallStore, wanted: Wanted) -> PurgeReport:
    """Return how many calls and rows a purge would delete."""
    counts = await store.read(
        lambda statements: statements.fetch_as(_OldCount, store.purge_sql.COUNT_OLD, **wanted._asdict())
    )
    return PurgeReport(calls=sum(each.calls for each in counts), rows=sum(each.rows for each in counts))


async def purge_calls(
    store: CallStore, wanted: Wanted, progress: Callable[[PurgeReport], object] | None = None
) -> PurgeReport:
    """Delete calls, and what else is older than the moment; `progress` is called after each batch."""
    purge, report = _Purge(store, wanted), PurgeReport()
    if wanted.summary:
        await index_answers(store)
    while (more := await purge.next_batch()) is not None:
        report += more
        if progress is not None:
            progress(report)
    report += PurgeReport(forgotten=await purge.forget())
    if wanted.tenant is None:
        report += PurgeReport(log_entries=await store.purge_logs(wanted.before))
    await store.sum_up()
    return report


class _Purge:
    """One purge, a batch at a time."""

    def __init__(self, store: CallStore, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._values = wanted._asdict()
        self._after = (-1.0, 0)
        # Other programs poll for the lock of a file.
        self._pause = LIMITS.purge_pause_in_database if store.file is None else LIMITS.purge_pause_in_file

    async def next_batch(self) -> PurgeReport | None:
        """Delete the next calls, and let others have their turn; return None if no more calls are that old."""
        sql, (after, after_id) = self._store.purge_sql, self._after
        values = {**self._values, "after": after, "after_id": after_id, "limit": LIMITS.calls_per_purged_page}
        page = await self._store.read(lambda statements: statements.fetch_as(OldCall, sql.OLD, **values))
        if not page:
            return None
        named = await in_thread(named_in, page)
        began = asyncio.get_running_loop().time()
        removed, is_shared = await self._store.change(partial(self._remove, page=page, named=named))
        took = asyncio.get_running_loop().time() - began
        self._after = page[-1].ended_at, page[-1].call_id
        if is_shared and self._wanted.summary:
            await index_answers(self._store)
        await asyncio.sleep(took * self._pause)
        return removed

    async def _remove(
        self, statements: Statements, page: list[OldCall], named: dict[int, list[NamedInvoice]]
    ) -> tuple[PurgeReport, bool]:
        """Delete those calls of a page that are still to be deleted; return whether others have their invoices too."""
        store, sql = self._store, self._store.purge_sql
        await statements.script(store.sql.LOCK_IMPORT)
        found = await statements.fetch(sql.LOCK_OLD, calls=[each.call_id for each in page], **self._values)
        calls = [call_id for (call_id,) in found]
        if not calls:
            return PurgeReport(), False
        gone = set(calls)
        firsts = sorted({each.same_as for each in page if each.call_id in gone and each.same_as is not None})
        if self._wanted.summary:
            remaining = []
            if firsts:
                remaining = await statements.fetch_as(
                    OldCall, sql.SURVIVING, firsts=firsts, calls=calls, limit=LIMITS.calls_per_purged_page
                )
            await statements.execute(sql.KEEP_SUMS, calls=calls)
            await statements.write(sql.KEEP_INVOICES, sums_of(named, calls, remaining))
        if self._wanted.identities:
            await statements.execute(sql.KEEP_DIGESTS, calls=calls, blanks=BLANKS)
        return await self._delete(statements, calls), bool(firsts)

    async def _delete(self, statements: Statements, calls: list[int]) -> PurgeReport:
        sql, removal_sql = self._store.purge_sql, self._store.removal_sql
        manifests = [manifest_id for (manifest_id,) in await statements.fetch(sql.MANIFESTS_OF, calls=calls)]
        # Without their calls, rows need not be counted again.
        await statements.execute(removal_sql.REMOVE_CALLS, calls=calls)
        rows = await statements.execute(sql.REMOVE_ROWS, calls=calls)
        await statements.execute(removal_sql.REMOVE_INVOICES, calls=calls)
        await statements.execute(removal_sql.REMOVE_ANSWERED, calls=calls)
        if sql.NOTE_SURVIVING:
            await statements.execute(sql.NOTE_SURVIVING, calls=calls)
        await statements.execute(sql.FREE_SURVIVING, calls=calls)
        removed = await statements.execute(sql.REMOVE_MANIFESTS, manifests=manifests)
        return PurgeReport(calls=len(calls), rows=rows, manifests=removed)

    async def forget(self) -> int:
        """Delete what earlier purges recognise rows by, if it is not to stay; return how many rows that were."""
        if self._wanted.identities:
            return 0
        sql, tenant = self._store.purge_sql, self._wanted.tenant
        day, forgotten, limit = day_of(self._wanted.before), 0, LIMITS.entries_per_purged_page
        while count := await self._store.change(
            lambda statements: statements.execute(sql.FORGET_DIGESTS, day=day, tenant=tenant, limit=limit)
        ):
            forgotten += count
        return forgotten
