"""A worker: what a process needs to carry out turns, opened and closed with its engine.

Beside the turns it looks every few seconds after what no turn can: calls of workers that died, and calls that are
pending and have no turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ekb_async.backlog.call_files import CallFiles
from ekb_async.backlog.postgres_store import PostgresStore
from ekb_async.dispatch.dispatcher import Dispatcher
from ekb_async.dispatch.ledger import Ledger
from ekb_async.dispatch.plan import STRANDED_AFTER, ConfigOf, Insert, Planner
from ekb_async.postgres import PostgresPace, PostgresTokens
from ekb_async.postgres.database import Database
from ekb_async.redaction import redact
from ekb_async.task_scope import TaskScope
from ekb_async.tenants import SessionForTenant, TenantSessions

_log = logging.getLogger(__name__)

_MOST_IDLE = 1_000
_LOOK_AFTER = 3.0
_LOOK_PATIENCE = 5.0


@asynccontextmanager
async def open_worker(
    dsn: str, session_for_tenant: SessionForTenant, insert: Insert, config_of: ConfigOf, *, repeat_unknown: bool
) -> AsyncIterator[Dispatcher]:
    """What carries out turns in this process; its end waits for calls under way, up to a minute."""
    async with contextlib.AsyncExitStack() as stack:
        sessions = await stack.enter_async_context(
            TenantSessions(
                session_for_tenant, most_idle=_MOST_IDLE, pacer=PostgresPace(dsn), token_store=PostgresTokens(dsn)
            )
        )
        database = await stack.enter_async_context(Database(dsn))
        planner = Planner(database, insert, config_of)
        await planner.check(patience=_LOOK_PATIENCE)
        store = await PostgresStore.open(dsn)
        stack.push_async_callback(store.close)
        run_id = await store.begin_run(hold_unknown=not repeat_unknown)
        stack.push_async_callback(store.end_run, run_id)
        ledger = Ledger(database, run_id)
        stack.push_async_callback(ledger.close)
        dispatcher = Dispatcher(ledger, planner, sessions, CallFiles(store), repeat_unknown=repeat_unknown)
        stack.push_async_callback(dispatcher.close)
        scope = TaskScope()
        stack.push_async_callback(scope.finish, 0)
        scope.start(_look_after(store, planner, repeat_unknown=repeat_unknown), name="ekb worker")
        yield dispatcher


async def _look_after(store: PostgresStore, planner: Planner, *, repeat_unknown: bool) -> None:
    loop = asyncio.get_running_loop()
    # An engine that was down is late with all its turns, and gets time to catch up.
    next_search = loop.time() + STRANDED_AFTER
    while True:
        try:
            await store.take_over(hold_unknown=not repeat_unknown)
            if loop.time() > next_search:
                next_search = loop.time() + STRANDED_AFTER
                await planner.plan_stranded(patience=_LOOK_PATIENCE)
            await planner.plan(patience=_LOOK_PATIENCE)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is nobody else who looks
            _log.warning("calls without a turn could not be looked for: %s", redact(f"{type(error).__name__}: {error}"))
        # Workers that were started together need not look together.
        await asyncio.sleep(_LOOK_AFTER * random.uniform(0.8, 1.2))  # noqa: S311 - nothing to guess
