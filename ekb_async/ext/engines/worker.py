"""A worker: what a process needs to handle wakeups, opened and closed with its engine.

Besides handling wakeups, it searches every few seconds for calls that no wakeup reaches: calls of workers that died,
pending calls without a wakeup, and calls of tenants whose account has changed, since they paused or have another rate,
and of tenants whose budget was raised.
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
from ekb_async.ext.engines.budgets import SpentBudgets
from ekb_async.ext.engines.call_table import CallTable
from ekb_async.ext.engines.dispatcher import Dispatcher
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import Insert, Planner
from ekb_async.ext.engines.rates import ConfigOf
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.postgres import PostgresPace, PostgresTokens
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.session.tenants import TenantSessions
from ekb_async.storage.postgres.database import Database

_log = logging.getLogger("ekb_async.engines")


@asynccontextmanager
async def open_worker(
    dsn: str,
    session_for_tenant: SessionForTenant,
    insert: Insert,
    config_of: ConfigOf | None,
    timing: WorkerTiming | None = None,
    *,
    repeat_unknown: bool,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Dispatcher]:
    """Open the dispatcher of this process; leaving the block waits up to `close_timeout` for calls in progress.

    Without `config_of`, wakeups become due at the rates of the tenants' sessions.
    """
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
        planner = Planner(database, insert, config_of or sessions.config)
        await planner.check(patience=timing.upkeep_patience)
        store = await PostgresStore.open(dsn, timing.backlog, clock)
        stack.push_async_callback(store.close)
        run_id = await store.begin_run(hold_unknown=not repeat_unknown)
        stack.push_async_callback(store.end_run, run_id)
        table = CallTable(database, run_id, clock)
        stack.push_async_callback(table.close)
        next_day, budgets = NextDay(timing.backlog, clock), SpentBudgets(store)
        dispatcher = Dispatcher(
            table, planner, sessions, CallFiles(store), timing, next_day, budgets, repeat_unknown=repeat_unknown
        )
        stack.push_async_callback(dispatcher.close)
        scope = TaskScope()
        stack.push_async_callback(scope.finish, 0)
        upkeep = _Upkeep(store, planner, sessions, dispatcher, budgets, timing, hold_unknown=not repeat_unknown)
        scope.start(upkeep.run(), name="ekb worker")
        yield dispatcher


class _Upkeep:
    """The searches of a worker for calls that no wakeup reaches, and for tenants whose account has changed."""

    def __init__(
        self,
        store: PostgresStore,
        planner: Planner,
        sessions: TenantSessions,
        dispatcher: Dispatcher,
        budgets: SpentBudgets,
        timing: WorkerTiming,
        *,
        hold_unknown: bool,
    ) -> None:
        self._store = store
        self._planner = planner
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._budgets = budgets
        self._timing = timing
        self._hold_unknown = hold_unknown
        self._changed: set[str] = set()
        # After an outage all wakeups of an engine are late, and it gets time to catch up.
        self._next_search = asyncio.get_running_loop().time() + timing.stranded_after

    async def run(self) -> None:
        """Search again and again, until this is cancelled."""
        while True:
            try:
                await self._search()
            except Exception as error:  # noqa: BLE001 - the search has to go on after any error
                reason = redact(f"{type(error).__name__}: {error}")
                _log.warning("searching for calls without a wakeup failed: %s", reason)
            # Workers that were started together need not search together.
            await asyncio.sleep(self._timing.upkeep * random.uniform(0.8, 1.2))  # noqa: S311 - nothing to guess

    async def _search(self) -> None:
        now, patience = asyncio.get_running_loop().time(), self._timing.upkeep_patience
        changed = await self._sessions.changed()
        self._dispatcher.resume(changed)
        self._changed |= changed | await self._budgets.look()
        await self._store.take_over(hold_unknown=self._hold_unknown)
        if now > self._next_search:
            self._next_search = now + self._timing.stranded_after
            await self._planner.plan_stranded(self._timing.stranded_after, patience=patience)
            slack = self._timing.longest_pause + self._timing.stranded_after
            await self._planner.plan_set_back(slack, self._budgets.wait, patience=patience)
        if self._changed:
            await self._planner.plan_anew(self._changed, self._timing.gate_wait, patience=patience)
            self._changed.clear()
        await self._planner.plan(patience=patience)
