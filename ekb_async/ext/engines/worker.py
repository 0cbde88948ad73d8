"""A worker: what a process needs to handle wakeups, opened and closed with its engine.

Besides handling wakeups, it searches every few seconds for calls that no wakeup reaches: calls of workers that died,
and pending calls without a wakeup.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ekb_async.aio.tasks import TaskScope
from ekb_async.backlog.run.call_files import CallFiles
from ekb_async.backlog.run.next_day import NextDay
from ekb_async.backlog.store.postgres.store import PostgresStore
from ekb_async.ext.engines.call_table import CallTable
from ekb_async.ext.engines.dispatcher import Dispatcher
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import ConfigOf, Insert, Planner
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.postgres import PostgresPace, PostgresTokens
from ekb_async.redaction.masking import redact
from ekb_async.session.tenants import SessionForTenant, TenantSessions
from ekb_async.storage.postgres.database import Database

_log = logging.getLogger("ekb_async.engines")


@asynccontextmanager
async def open_worker(
    dsn: str,
    session_for_tenant: SessionForTenant,
    insert: Insert,
    config_of: ConfigOf,
    timing: WorkerTiming | None = None,
    *,
    repeat_unknown: bool,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Dispatcher]:
    """Open the dispatcher of this process; leaving the block waits up to `close_timeout` for calls in progress."""
    timing = timing or WorkerTiming.from_env()
    async with contextlib.AsyncExitStack() as stack:
        sessions = await stack.enter_async_context(
            TenantSessions(
                session_for_tenant,
                max_idle=LIMITS.max_idle_sessions,
                pacer=PostgresPace(dsn),
                token_store=PostgresTokens(dsn),
            )
        )
        database = await stack.enter_async_context(Database(dsn, "calls"))
        planner = Planner(database, insert, config_of)
        await planner.check(patience=timing.upkeep_patience)
        store = await PostgresStore.open(dsn, timing.backlog, clock)
        stack.push_async_callback(store.close)
        run_id = await store.begin_run(hold_unknown=not repeat_unknown)
        stack.push_async_callback(store.end_run, run_id)
        table = CallTable(database, run_id, clock)
        stack.push_async_callback(table.close)
        next_day = NextDay(timing.backlog, clock)
        dispatcher = Dispatcher(
            table, planner, sessions, CallFiles(store), timing, next_day, repeat_unknown=repeat_unknown
        )
        stack.push_async_callback(dispatcher.close)
        scope = TaskScope()
        stack.push_async_callback(scope.finish, 0)
        scope.start(_run_upkeep(store, planner, timing, repeat_unknown=repeat_unknown), name="ekb worker")
        yield dispatcher


async def _run_upkeep(store: PostgresStore, planner: Planner, timing: WorkerTiming, *, repeat_unknown: bool) -> None:
    loop = asyncio.get_running_loop()
    # After an outage all wakeups of an engine are late, and it gets time to catch up.
    next_search = loop.time() + timing.stranded_after
    while True:
        try:
            await store.take_over(hold_unknown=not repeat_unknown)
            if loop.time() > next_search:
                next_search = loop.time() + timing.stranded_after
                await planner.plan_stranded(timing.stranded_after, patience=timing.upkeep_patience)
                slack = timing.longest_pause + timing.stranded_after
                await planner.plan_set_back(slack, patience=timing.upkeep_patience)
            await planner.plan(patience=timing.upkeep_patience)
        except Exception as error:  # noqa: BLE001 - the search has to go on after any error
            _log.warning("searching for calls without a wakeup failed: %s", redact(f"{type(error).__name__}: {error}"))
        # Workers that were started together need not search together.
        await asyncio.sleep(timing.upkeep * random.uniform(0.8, 1.2))  # noqa: S311 - nothing to guess
