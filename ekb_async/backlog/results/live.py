"""A backlog looked at while others work on it: nothing in it is created, changed or locked.

It is opened for each look and closed again, so that a file that is open here keeps no other program from tidying it up.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike
from typing import NamedTuple

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.results.collecting import collect
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report import Report
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.pausing import pauses_of
from ekb_async.backlog.store.places import open_store
from ekb_async.backlog.store.transactions.accounting import Accounting
from ekb_async.backlog.store.values.calls import counts_of
from ekb_async.backlog.store.values.reports import Pause
from ekb_async.storage.timing import StorageTiming


class Look(NamedTuple):
    """Rows by state, the number of those that wait for another day or are held, and the number of active runs.

    `held` counts by tenant the rows that are held, `pauses` are those that persons have made, and `said` is what runs
    have written.
    """

    counts: dict[str, int]
    waiting: int
    runs: int
    held: dict[str, int]
    pauses: list[Pause]
    said: list[str]


class Collected(NamedTuple):
    """The figures of a page, and the accounting shown beside them."""

    report: Report
    accounting: Accounting


class LiveBacklog:
    """A backlog in a file or a database. Methods raise as `open_store` does with `read_only`."""

    def __init__(self, place: str | PathLike[str]) -> None:
        self._place = place
        timing = StorageTiming.from_env()
        # What is away is tried again soon, and a page of before is shown meanwhile.
        patience = min(timing.patience, LIMITS.live_patience_seconds)
        setup = min(timing.setup_patience, LIMITS.live_patience_seconds)
        self._timing = msgspec.structs.replace(timing, patience=patience, setup_patience=setup)

    async def look(self) -> Look:
        """Return the counts of the backlog; this takes far less time than `collect`."""
        async with self._opened() as store:
            load, waiting, runs = await store.load(), await store.waiting(), await store.active_runs()
            held, pauses = await store.held_by_tenant(), await pauses_of(store)
            said = [each.said for each in await store.runs_at_work()]
        return Look(counts_of(load), sum(each.rows for each in waiting), len(runs), held, pauses, said)

    async def collect(self, lang: str) -> Collected:
        """Return the figures of a page, in a language."""
        report = await in_thread(Report, lang)
        async with self._opened() as store:
            await collect(store, report)
            return Collected(report, await store.accounting())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[CallStore]:
        store = await open_store(self._place, self._timing, time.time, read_only=True)
        try:
            yield store
        finally:
            await store.close()
