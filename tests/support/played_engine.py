"""A job engine that a test plays: it stores the wakeups, and the test hands them to a worker."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import AddReport, Backlog, Task
from ekb_async.ext.engines import rates
from ekb_async.ext.engines.enqueuing import enqueuer
from ekb_async.ext.engines.handling import worker
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.ext.engines.handling.results import OnResult
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.plan import Insert, Planner
from ekb_async.ext.engines.rates import ConfigOf
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import Deferred, PlannedWakeup, Wakeup, wakeup_of
from ekb_async.sandbox import Sandbox
from ekb_async.session.accounts import SessionForTenant
from ekb_async.storage.postgres.database import Database
from tests.conftest import FAST


class Engine:
    """Stores the wakeups it is given; the test hands them out."""

    def __init__(self) -> None:
        self.planned: list[PlannedWakeup] = []
        self._numbers = itertools.count(1)

    async def insert(self, connection: Any, wakeups: Sequence[PlannedWakeup]) -> None:
        """Store wakeups when the transaction is committed, before which an engine on this database has none."""

        def end(query: LoggedQuery) -> None:
            if query.query.startswith(("COMMIT", "ROLLBACK")):
                connection.remove_query_logger(end)
                if query.query.startswith("COMMIT") and query.exception is None:
                    self.planned += wakeups

        if wakeups:
            connection.add_query_logger(end)

    def wakeup(self, tenant: str = "a", kind: str = "ocr") -> Wakeup:
        """Return a wakeup with a new number."""
        planned = PlannedWakeup(tenant, kind, 0.0, 0.0)
        return wakeup_of(f"test:{next(self._numbers)}", planned.payload())

    def of(self, tenant: str, kind: str = "ocr") -> list[PlannedWakeup]:
        return [wakeup for wakeup in self.planned if (wakeup.tenant, wakeup.kind) == (tenant, kind)]


def config(**fields: Any) -> SessionConfig:
    return SessionConfig(**{**FAST, **fields})


def sessions_on(box: Sandbox, **fields: Any) -> SessionForTenant:
    """Return sessions on one vendor for any tenant."""
    return lambda _: EkbSession(box.credentials, base_url=box.base_url, config=config(**fields))


@asynccontextmanager
async def open_worker(
    dsn: str,
    engine: Engine,
    sessions: SessionForTenant,
    *,
    repeat_unknown: bool = False,
    config_of: ConfigOf | None = None,
    timing: WorkerTiming | None = None,
    clock: Callable[[], float] = time.time,
    on_result: OnResult | None = None,
) -> AsyncIterator[Dispatcher]:
    """Open a worker; after the last one no task of the package may be left."""
    settings = config_of or rates.config_of(config())
    async with worker.open_worker(
        dsn,
        sessions,
        engine.insert,
        settings,
        timing or WorkerTiming.from_env(),
        repeat_unknown=repeat_unknown,
        clock=clock,
        on_result=on_result,
    ) as opened:
        yield opened
    left = {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")}
    assert "ekb worker" in left or left == set()


async def enqueue(dsn: str, engine: Engine, jobs: Sequence[InvoiceJob] = (), **fields: Any) -> AddReport:
    """Add calls and plan all that have no wakeup, as a worker does."""
    report = await enqueuer.enqueue(dsn, jobs)
    await plan(dsn, engine.insert, lambda _: config(**fields))
    return report


async def plan(dsn: str, insert: Insert, config_of: ConfigOf) -> None:
    """Hand an engine wakeups for all calls that have none."""
    async with Database(dsn) as database:
        await Planner(database, insert, config_of).plan(patience=10.0)


async def tasks_of(dsn: str) -> list[Task]:
    async with Backlog.open(dsn) as backlog:
        return [task async for task in backlog.results()]


async def fetch(dsn: str, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def deferral(work: Awaitable[None]) -> Deferred:
    with pytest.raises(Deferred) as caught:
        await work
    return caught.value
