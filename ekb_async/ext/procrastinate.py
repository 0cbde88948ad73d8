"""Calls by procrastinate: on any number of hosts, for any number of tenants. Needs the extra `procrastinate`.

Once: `await install_schema(dsn)`. Where calls come from: `await enqueue(dsn, jobs)`. Workers are run by procrastinate's
own command, `PYTHONPATH=. procrastinate --app=app.app worker --concurrency 40`, where `app.py` has an app like this:

    app = App(connector=PsycopgConnector(conninfo=dsn))
    register(app, session_for_tenant, dsn)

Results, progress and calls of unknown outcome are in the ledger: `Backlog.open(dsn)`, `ekb backlog status`. How it
works is told in `ekb_async.ext.engines`. Turns that are due are found by polling, by default every 0.2 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from ekb_async import postgres
from ekb_async.backlog import AddReport
from ekb_async.config import SessionConfig
from ekb_async.errors import ConfigError
from ekb_async.ext.engines import enqueuing
from ekb_async.ext.engines.dispatcher import Dispatcher
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import ENTRYPOINT, Deferred, PlannedWakeup, Wakeup
from ekb_async.ext.engines.worker import open_worker
from ekb_async.session.tenants import SessionForTenant
from ekb_async.storage.postgres import checked_dsn_or_pool, unreachable

try:
    import psycopg
    from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Job
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise ConfigError(
        f'procrastinate needs a library that is not there ({error}): pip install "ekb-async[procrastinate]"'
    ) from None

__all__ = ["InvoiceJob", "WorkerTiming", "enqueue", "install_schema", "register"]

_log = logging.getLogger(__name__)

_QUEUE = "ekb"
_UPKEEP = "ekb_upkeep"
EVERY_MINUTE = "* * * * *"
_POLLING = 0.2
_CONCURRENCY = 20
_PATIENCE = 30.0  # seconds that procrastinate waits for its first connection
_HAS_SCHEMA = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS found"


async def install_schema(dsn: str) -> None:
    """Makes the tables of procrastinate, if there are none, and those of the ledger, the pace and the tokens.

    Raises `ConfigError` if the database refuses, `EkbConnectionError` if it cannot be reached within 10 s.
    """
    await postgres.install_schema(dsn)
    async with _opened(dsn) as app:
        if not (await app.connector.execute_query_one_async(_HAS_SCHEMA))["found"]:
            await app.schema_manager.apply_schema_async()


async def enqueue(
    dsn: str, jobs: Iterable[InvoiceJob] = (), *, config: SessionConfig | Callable[[str], SessionConfig] | None = None
) -> AddReport:
    """Adds calls to the ledger, all or none, and turns for them to procrastinate.

    Turns are also made for what is pending otherwise, added by `ekb backlog add` or after `ekb backlog retry`. `config`
    has the rates of the tenants' sessions, by which turns become due: settings, or a function of the tenant. Raises
    `ConfigError` naming the first job that cannot be made, `EkbConnectionError` if the database cannot be reached.
    """
    async with _opened(dsn) as app:
        return await enqueuing.enqueue(dsn, jobs, _Insert(app), enqueuing.config_of(config))


def register(
    engine: App,
    session_for_tenant: SessionForTenant,
    dsn: str,
    *,
    config: SessionConfig | Callable[[str], SessionConfig] | None = None,
    repeat_unknown: bool = False,
    timing: WorkerTiming | None = None,
    upkeep: str = EVERY_MINUTE,
) -> None:
    """Makes the workers of an app carry out turns, from the first one until the app is closed.

    `session_for_tenant` makes the session of a tenant, see `TenantSessions`; pace and tokens are those of all hosts on
    the database. `config` is as for `enqueue`. A billed call whose answer was lost fails with `OutcomeUnknownError`,
    unless `repeat_unknown`. `timing` sets how long the worker waits for what, and `upkeep`, a cron expression that may
    have a sixth field for seconds, when jobs of workers that have gone are brought back. To be called before the app is
    opened. Raises `ConfigError` for wrong arguments.
    """
    settings = enqueuing.config_of(config)
    times = timing or WorkerTiming.from_env()
    worker = _Worker(
        engine,
        lambda: open_worker(dsn, session_for_tenant, _Insert(engine), settings, times, repeat_unknown=repeat_unknown),
    )
    engine.worker_defaults.setdefault("fetch_job_polling_interval", _POLLING)
    engine.worker_defaults.setdefault("concurrency", _CONCURRENCY)

    @engine.task(name=ENTRYPOINT, queue=_QUEUE, pass_context=True, retry=_ComesAgain(times.after_fault))
    async def handle(context: JobContext, tenant: str, kind: str) -> None:
        await (await worker.opened()).handle(Wakeup(f"procrastinate:{context.job.id}", tenant, kind))

    @engine.periodic(cron=upkeep)
    @engine.task(name=_UPKEEP, queue=_QUEUE, queueing_lock=_UPKEEP)
    async def look_after(timestamp: int) -> None:
        """Brings back the turns of workers that died, and wakes up what looks for calls without a turn."""
        await worker.opened()
        for job in await engine.job_manager.get_stalled_jobs(task_name=ENTRYPOINT):
            await engine.job_manager.retry_job(job)


class _Worker:
    """What carries out turns in this process, opened by the first of them and closed before its app is."""

    def __init__(self, app: App, opening: Callable[[], AbstractAsyncContextManager[Dispatcher]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._dispatcher: Dispatcher | None = None
        self._lock: asyncio.Lock | None = None
        self._close_connector = app.connector.close_async
        # The app knows no other moment at which its worker has ended and its loop still runs.
        app.connector.close_async = self._close  # type: ignore[method-assign]

    async def opened(self) -> Dispatcher:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if (dispatcher := self._dispatcher) is None:
                self._dispatcher = dispatcher = await self._stack.enter_async_context(self._opening())
            return dispatcher

    async def _close(self) -> None:
        self._dispatcher = None
        try:
            await self._stack.aclose()
        finally:
            await self._close_connector()


class _ComesAgain(BaseRetryStrategy):
    """A turn that did not end well comes again, whatever it was that it met."""

    def __init__(self, after_fault: float) -> None:
        self._after_fault = after_fault

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, Deferred):
            return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=exception.delay))
        if isinstance(exception, Exception):
            return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=self._after_fault))
        return RetryDecision(retry_at=datetime.now(UTC))


class _Insert:
    """Hands turns to procrastinate, through connections of its own: what is inserted stays if the ledger fails then."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, _: Any, wakeups: Sequence[PlannedWakeup]) -> None:
        jobs = [
            Job(
                queue=_QUEUE,
                task_name=ENTRYPOINT,
                task_kwargs={"tenant": wakeup.tenant, "kind": wakeup.kind},
                priority=wakeup.priority,
                scheduled_at=datetime.fromtimestamp(wakeup.slot, UTC),
                lock=None,
                queueing_lock=None,
            )
            for wakeup in wakeups
        ]
        try:
            await self._app.job_manager.batch_defer_jobs_async(jobs)
        except ConnectorException as error:
            raise _met(error.__cause__) from None


def _met(cause: BaseException | None) -> Exception:
    """What is raised in place of an error of procrastinate's connector."""
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        # Tried again as long as the ledger is.
        return ConnectionError("procrastinate cannot reach its database")
    reason = str(cause).partition("\n")[0]
    return ConfigError(
        f"procrastinate cannot take turns ({reason}): run ekb_async.ext.procrastinate.install_schema once"
    )


@asynccontextmanager
async def _opened(dsn: str) -> AsyncIterator[App]:
    """An app to enqueue with."""
    try:
        conninfo_to_dict(str(checked_dsn_or_pool(dsn)))
    except psycopg.ProgrammingError:
        # What is wrong with a DSN would be logged, and the password with it.
        raise ConfigError("the PostgreSQL DSN cannot be used as it is") from None
    app = App(connector=PsycopgConnector(conninfo=dsn))
    try:
        async with app.open_async():
            yield app
    except (psycopg.OperationalError, ConnectorException) as error:
        raise unreachable(error, _PATIENCE) from None
