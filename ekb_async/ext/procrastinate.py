"""Calls by procrastinate: on any number of hosts, for any number of tenants. Needs the extra `procrastinate`.

Call `await install_schema(dsn)` once, and `await enqueue(dsn, jobs)` to add calls. Workers are run by procrastinate's
own command, `PYTHONPATH=. procrastinate --app=app.app worker --concurrency 40`, where `app.py` has an app like this:

    app = App(connector=PsycopgConnector(conninfo=dsn))
    register(app, session_for_tenant, dsn)

Results, progress and calls of unknown outcome are in the call table: `Backlog.open(dsn)`, `ekb backlog status`. The
design is described in `ekb_async.ext.engines`. Wakeups that are due are found by polling, by default every 0.2 s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from ekb_async.backlog import AddReport
from ekb_async.backlog.store.postgres.engine_sql import UPKEEP
from ekb_async.errors import ConfigError
from ekb_async.ext.engines import enqueuing
from ekb_async.ext.engines.dispatcher import Dispatcher
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.rates import Config, config_of
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import ENTRYPOINT, Deferred, PlannedWakeup, Wakeup
from ekb_async.ext.engines.worker import open_worker
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.errors import unreachable
from ekb_async.storage.postgres.schema import SchemaReport, install_with

try:
    import psycopg
    from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Job
    from procrastinate.schema import SchemaManager
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise ConfigError(
        f'procrastinate needs a library that is not installed ({error}): pip install "ekb-async[procrastinate]"'
    ) from None

__all__ = ["InvoiceJob", "WorkerTiming", "enqueue", "install_schema", "register"]

_log = logging.getLogger(__name__)
_engine_log = logging.getLogger("procrastinate.worker")

_QUEUE = "ekb"
EVERY_MINUTE = "* * * * *"
_CONNECT_SECONDS = 30.0  # how long procrastinate waits for its first connection before it raises
# `to_regclass` may answer from a cache that is older than the lock.
_HAS_TABLES = """
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'procrastinate_jobs' AND pg_table_is_visible(oid))
"""


async def install_schema(dsn: str) -> SchemaReport:
    """Create the tables of procrastinate, if there are none, and those of the call table, the pace and the tokens.

    Any number of processes may do so at once, and again. Raises `StorageError` if the database refuses,
    `EkbConnectionError` if it cannot be reached within 10 s.
    """
    return await install_with(_Tables(), dsn)


async def enqueue(dsn: str, jobs: Iterable[InvoiceJob] = (), *, config: Config | None = None) -> AddReport:
    """Add calls to the call table, all or none, and wakeups for them to procrastinate.

    Calls that are pending for another reason, added by `ekb backlog add` or made pending by `ekb backlog retry`, get
    wakeups too. `config` has the rates at which wakeups become due, those of the tenants' sessions: settings,
    `TenantCredentials`, or a function of the tenant. Without it, calls that would not be due in the next seconds get
    their wakeups from a worker. Raises `ConfigError` naming the first job that is not valid, `EkbConnectionError` if
    the database cannot be reached.
    """
    settings = config_of(config)
    async with Database(dsn) as database:
        # The pool of procrastinate does not report why it cannot connect.
        await database.run(_reach, patience=LIMITS.enqueue_patience_seconds)
        async with _opened(dsn) as app:
            return await enqueuing.enqueue(dsn, jobs, _Insert(app), settings)


def register(
    engine: App,
    session_for_tenant: SessionForTenant,
    dsn: str,
    *,
    config: Config | None = None,
    repeat_unknown: bool = False,
    timing: WorkerTiming | None = None,
    upkeep: str = EVERY_MINUTE,
) -> None:
    """Make the workers of an app handle wakeups, from the first wakeup until the app is closed.

    `session_for_tenant` makes the session of a tenant, see `TenantSessions`; its pace and token are shared with all
    hosts on the database. `config` is as for `enqueue`, by default the settings of those sessions. A billed call whose
    answer was lost fails with `OutcomeUnknownError`, unless `repeat_unknown`. `timing` sets the worker's times.
    `upkeep`, a cron expression that may have a sixth field for seconds, sets when the wakeups of dead workers are
    retried. Call this before the app is opened. Raises `ConfigError` for wrong arguments.
    """
    settings = config_of(config)
    times = timing or WorkerTiming.from_env()
    worker = _Worker(
        engine,
        lambda: open_worker(dsn, session_for_tenant, _Insert(engine), settings, times, repeat_unknown=repeat_unknown),
    )
    engine.worker_defaults.setdefault("fetch_job_polling_interval", LIMITS.polling_interval_seconds)
    engine.worker_defaults.setdefault("concurrency", LIMITS.wakeups_per_worker)

    _engine_log.addFilter(_without_traceback)

    @engine.task(name=ENTRYPOINT, queue=_QUEUE, pass_context=True, retry=_AlwaysRetry(worker.now))
    async def handle(context: JobContext, tenant: str, kind: str) -> None:
        try:
            await (await worker.opened()).handle(Wakeup(f"procrastinate:{context.job.id}", tenant, kind))
        except Deferred:
            raise
        except Exception as fault:  # noqa: BLE001 - the wakeup must survive any error
            _log.error("wakeup %d failed: %s: %s", context.job.id, type(fault).__name__, redact(str(fault)))
            raise Deferred(times.after_fault, type(fault).__name__) from None

    @engine.periodic(cron=upkeep)
    @engine.task(name=UPKEEP, queue=_QUEUE, queueing_lock=UPKEEP)
    async def run_upkeep(timestamp: int) -> None:
        """Retry the wakeups of workers that died, and open the worker, which searches for calls without a wakeup."""
        await worker.opened()
        for job in await engine.job_manager.get_stalled_jobs(task_name=ENTRYPOINT):
            await engine.job_manager.retry_job(job)


class _Worker:
    """Opens the dispatcher of this process at the first wakeup or upkeep, and closes it before the app."""

    def __init__(self, app: App, opening: Callable[[], AbstractAsyncContextManager[Dispatcher]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._dispatcher: Dispatcher | None = None
        self._clock: Callable[[], float] = time.time
        self._lock = asyncio.Lock()
        self._close_connector = app.connector.close_async
        # The app offers no other hook at which its worker has ended and its loop still runs.
        app.connector.close_async = self._close  # type: ignore[method-assign]

    async def opened(self) -> Dispatcher:
        async with self._lock:
            if (dispatcher := self._dispatcher) is None:
                self._dispatcher = dispatcher = await self._stack.enter_async_context(self._opening())
                self._clock = dispatcher.now
            return dispatcher

    def now(self) -> float:
        """Return the time of the database, or of this host as long as that is not known."""
        return self._clock()

    async def _close(self) -> None:
        self._dispatcher = None
        try:
            await self._stack.aclose()
        finally:
            await self._close_connector()


class _AlwaysRetry(BaseRetryStrategy):
    """Retries a wakeup that was postponed or cancelled.

    The database decides when a job is due, so `now` gives its time: this host's clock may be wrong.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        delay = exception.delay if isinstance(exception, Deferred) else 0.0
        return RetryDecision(retry_at=datetime.fromtimestamp(self._now() + delay, UTC))


def _without_traceback(record: logging.LogRecord) -> bool:
    """Let procrastinate log a postponed wakeup as one line; it logs each retry with the traceback of an error."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, Deferred):
        record.msg, record.args = "%s: postponed for %.1f s: %s", (record.getMessage(), error.delay, OneLine(error))
        record.exc_info = None
    return True


class _Tables:
    """The tables of procrastinate."""

    name = "procrastinate"

    async def exist(self, connection: Any) -> bool:
        return bool(await connection.fetchval(_HAS_TABLES))

    async def create(self, connection: Any) -> None:
        await connection.execute(SchemaManager.get_schema())


class _Insert:
    """Hands wakeups to procrastinate through its own connections.

    A wakeup stays there even if the transaction of the call table is rolled back afterwards.
    """

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
            raise _replacement(error.__cause__) from None


def _replacement(cause: BaseException | None) -> Exception:
    """Return the error to raise instead of a `ConnectorException`."""
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        # Callers retry this type for as long as they retry an unreachable call table.
        return ConnectionError("procrastinate cannot reach its database")
    reason = str(cause).partition("\n")[0]
    return ConfigError(
        f"procrastinate cannot take wakeups ({reason}): run ekb_async.ext.procrastinate.install_schema once"
    )


async def _reach(_: object) -> None:
    """Do nothing with a connection but open it."""


@asynccontextmanager
async def _opened(dsn: str) -> AsyncIterator[App]:
    """Open an app to enqueue with."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The original error quotes the DSN, and the password with it.
        raise ConfigError("the PostgreSQL DSN cannot be used as it is") from None
    app = App(connector=PsycopgConnector(conninfo=dsn))
    try:
        async with app.open_async():
            yield app
    except (psycopg.OperationalError, ConnectorException) as error:
        raise unreachable(error, _CONNECT_SECONDS) from None
