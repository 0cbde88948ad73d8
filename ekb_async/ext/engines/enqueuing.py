"""Add calls to the call table, and hand wakeups for them to an engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from ekb_async.backlog.store.postgres.store import PostgresStore
from ekb_async.backlog.store.reports import AddReport
from ekb_async.ext.engines.jobs import InvoiceJob, rows_of
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import Insert, Planner
from ekb_async.ext.engines.rates import ConfigOf
from ekb_async.storage.postgres.database import Database

_FROM = Path("enqueued")
"""Stands for the manifest of calls that were added by a program."""


async def enqueue(dsn: str, jobs: Iterable[InvoiceJob], insert: Insert, config_of: ConfigOf | None) -> AddReport:
    """Add calls, all or none, and hand the engine wakeups for all pending calls that have none.

    Without `config_of`, that is done for calls that are due in the next seconds, and a worker does the rest.
    """
    async with Database(dsn) as database:
        planner = Planner(database, insert, config_of)
        await planner.check(patience=LIMITS.enqueue_patience_seconds)
        store = await PostgresStore.open(dsn)
        try:
            report = await _add(store, jobs)
        finally:
            await store.close()
        await planner.plan(patience=LIMITS.enqueue_patience_seconds)
    return report


async def _add(store: PostgresStore, jobs: Iterable[InvoiceJob]) -> AddReport:
    rows = rows_of(jobs)
    await store.begin_import()
    try:
        while some := await asyncio.to_thread(lambda: list(itertools.islice(rows, LIMITS.jobs_per_import))):
            for priority, alike in itertools.groupby(some, key=itemgetter(0)):
                await store.import_rows([row for _, row in alike], priority)
        return await store.commit_import(_FROM, (), again=True)
    finally:
        await store.discard_import()
