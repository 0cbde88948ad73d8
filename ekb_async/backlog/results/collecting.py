"""Collecting the rows of a backlog for a report, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.selecting import numbered
from ekb_async.backlog.store.values.selection import Selection

if TYPE_CHECKING:
    from ekb_async.backlog.results.report import Report

_ALL = Selection()


async def collect(store: CallStore, report: Report) -> int:
    """Add all rows of a backlog to a report, and what was purged; return how many rows."""
    last = count = 0
    while page := await store.page(last, LIMITS.rows_per_report_page, _ALL):
        await in_thread(report.add, page)
        last = page[-1].id
        count += len(page)
    report.add_purged(await store.purged())
    for number in report.missing:
        report.add_named(await numbered(store, [number]))
    return count
