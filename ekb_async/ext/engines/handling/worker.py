"""A worker: what a process needs to handle wakeups, opened and closed with its engine.

Besides handling wakeups, it plans calls when it is notified that they were added. It also searches every few seconds
for calls that no wakeup reaches: calls of workers that died, pending calls without a wakeup, and calls of tenants whose
account has changed, since they paused or have another rate, or whose budget was raised. Usually there are none, which
one statement shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ekb_async.aio.tasks import TaskScope
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.store.postgres.store import PostgresStore
from ekb_async.ext.engines.handling.budgets import SpentBudgets
from ekb_async.ext.engines.handling.call_table import CallTable
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.ext.engines.handling.results import OnResult, ResultPassing
from ekb_async.ext.engines.handling.saying import say_pauses
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import Insert, Planner
from ekb_async.ext.engines.rates import ConfigOf
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.pacing.postgres import PostgresPace
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.session.tenant_file import TenantCredentials
from ekb_async.session.tenants import TenantSessions
from ekb_async.storage.postgres.database import Database
from ekb_async.tokens.postgres import PostgresTokens

_log = logging.getLogger("ekb_async.engines")


@asynccontextmanager
async def open_worker(
    dsn: str,
    session_for_tenant: SessionForTenant,
    insert: Insert,
    config_of: ConfigOf | None,
    timing: WorkerTiming,
    *,
    repeat_unknown: bool,
    engine: str = "",
    on_result: OnResult | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Dispatcher]:
    """Open the dispatcher of this process; leaving the block waits up to `close_timeout` for calls in progress.

    Without `config_of`, wakeups become due at the rates of the tenants' sessions. `engine` is its name, for the log.
    """
    hold_unknown = not repeat_unknown
    async with contextlib.AsyncExitStack() as stack:
        sessions = await stack.enter_async_context(_sessions(dsn, session_for_tenant))
        database = await stack.enter_async_context(Database(dsn, "calls", name="ekb worker"))
        planner = Planner(database, insert, config_of or sessions.config)
        await planner.check(patience=timing.upkeep_patience)
        registered = _registered(dsn, timing, clock, engine, hold_unknown=hold_unknown)
        store, run_id, added = await stack.enter_async_context(registered)
        results = ResultPassing(store, on_result, timing.close_timeout)
        stack.push_async_callback(results.close)
        table = CallTable(database, run_id, clock, results.note)
        stack.push_async_callback(table.close)
        next_day, budgets = NextDay(timing.backlog, clock), SpentBudgets(store)
        dispatcher = Dispatcher(
            table, planner, sessions, CallFiles(store), timing, next_day, budgets, repeat_unknown=repeat_unknown
        )
        stack.push_async_callback(dispatcher.close)
        stack.callback(results.begin_close)
        upkeep = _Upkeep(store, planner, sessions, dispatcher, budgets, timing, added, hold_unknown=hold_unknown)
        await stack.enter_async_context(_beside(upkeep.run(), say_pauses(store, run_id, dispatcher, timing.say)))
        # So that an engine which ends when it has no wakeup finds those of calls that are there already.
        await upkeep.first_search(LIMITS.first_search_seconds)
        _log.info("worker is ready: run %d, %s, %s", run_id, engine, _tenants_of(session_for_tenant))
        yield dispatcher


def _sessions(dsn: str, session_for_tenant: SessionForTenant) -> TenantSessions:
    """Return the sessions of the tenants, not opened; all hosts on the database share their pace and tokens."""
    return TenantSessions(
        session_for_tenant,
        max_idle=LIMITS.max_idle_sessions,
        pacer=PostgresPace(dsn),
        token_store=PostgresTokens(dsn),
    )


@asynccontextmanager
async def _registered(
    dsn: str,
    timing: WorkerTiming,
    clock: Callable[[], float],
    engine: str,
    *,
    hold_unknown: bool,
) -> AsyncIterator[tuple[PostgresStore, int, asyncio.Event]]:
    """Open the call table with this worker as a run in it; return both, and the event that is set when calls are added.

    At the end, log that the worker has ended.
    """
    added = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        store = await PostgresStore.open(dsn, timing.backlog, clock)
        stack.push_async_callback(store.close)
        run_id = await store.begin_run(hold_unknown=hold_unknown, on_added=added.set)
        stack.callback(_log.info, "worker has ended: run %d, %s", run_id, engine)
        stack.push_async_callback(store.end_run, run_id)
        yield store, run_id, added


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do work in tasks beside the block, until its end."""
    scope = TaskScope()
    for each in work:
        scope.start(each, name="ekb worker")
    try:
        yield
    finally:
        await scope.finish(0)


def _tenants_of(session_for_tenant: SessionForTenant) -> str:
    """Return how many tenants a worker serves, and the first few names, if that is known."""
    if not isinstance(session_for_tenant, TenantCredentials):
        return "any tenant"
    names = ", ".join(map(repr, itertools.islice(session_for_tenant, LIMITS.tenants_in_log)))
    more = ", …" if len(session_for_tenant) > LIMITS.tenants_in_log else ""
    return f"tenants in the file: {len(session_for_tenant):,} ({names}{more})"


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
        added: asyncio.Event,
        *,
        hold_unknown: bool,
    ) -> None:
        self._store = store
        self._planner = planner
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._budgets = budgets
        self._timing = timing
        self._added = added
        self._hold_unknown = hold_unknown
        self._has_searched = asyncio.Event()
        self._changed: set[str] = set()
        # After an outage all wakeups of an engine are late, and it gets time to catch up.
        self._next_search = asyncio.get_running_loop().time() + timing.stranded_after

    async def run(self) -> None:
        """Search again and again, and plan calls whenever some were added, until this is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._try(self._search)
            self._has_searched.set()
            # Workers that were started together need not search together.
            rest = self._timing.upkeep * random.uniform(0.8, 1.2)  # noqa: S311 - nothing to guess
            next_search = loop.time() + rest
            while await self._were_added(next_search):
                await self._try(self._plan)

    async def first_search(self, timeout: float) -> None:
        """Wait until `run` has searched once, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._has_searched.wait()

    async def _were_added(self, latest: float) -> bool:
        """Wait until calls were added, at most until `latest`; return whether some were."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(latest):
                await self._added.wait()
        were_added = self._added.is_set()
        self._added.clear()
        return were_added and asyncio.get_running_loop().time() < latest

    async def _try(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the search has to go on after any error
            reason = redact(f"{type(error).__name__}: {error}")
            _log.warning("searching for calls without a wakeup failed: %s", reason)

    async def _search(self) -> None:
        now, patience = asyncio.get_running_loop().time(), self._timing.upkeep_patience
        changed = await self._sessions.changed()
        self._dispatcher.resume(changed)
        self._changed |= changed
        if self._budgets.are_spent or now > self._next_search:
            self._changed |= await self._budgets.look()
        if now > self._next_search:
            self._next_search = now + self._timing.stranded_after
            await self._planner.plan_stranded(self._timing.stranded_after, patience=patience)
            slack = self._timing.longest_pause + self._timing.stranded_after
            await self._planner.plan_set_back(slack, self._budgets.wait, patience=patience)
        if self._changed:
            await self._planner.plan_anew(self._changed, self._timing.gate_wait, patience=patience)
            self._changed.clear()
        if await self._planner.has_work(self._store.clock(), self._timing.backlog.dead_after, patience=patience):
            await self._store.take_over(hold_unknown=self._hold_unknown)
            await self._plan()

    async def _plan(self) -> None:
        await self._planner.plan(patience=self._timing.upkeep_patience)
