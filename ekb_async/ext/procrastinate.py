"""Calls by procrastinate: on any number of hosts, for any number of tenants. Needs the extra `procrastinate`.

Call `await install_schema(dsn)` once, and `await enqueue(dsn, jobs)` to add calls. Workers are run by procrastinate's
own command, `PYTHONPATH=. procrastinate --app=app.app worker --concurrency 40`, where `app.py` has an app like this:

    app = App(connector=PsycopgConnector(conninfo=dsn))
    register(app, session_for_tenant, dsn)

Results, progress and calls of unknown outcome are in the call table: `Backlog.open(dsn)`, `ekb backlog status`. The
design is described in `ekb_async.ext.engines`.

procrastinate finds wakeups that are due by polling, here every 0.2 s. Nearly all of these looks are left out: one
statement says when the next wakeup is due, and the worker rests until then, or until a wakeup is added or postponed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec

from ekb_async.backlog.store.postgres.sql.engine_sql import UPKEEP
from ekb_async.errors import ConfigError, EkbError
from ekb_async.ext.engines.enqueuing.enqueuer import Enqueuer, EnqueueReport, enqueue
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.ext.engines.handling.results import OnResult, checked_on_result
from ekb_async.ext.engines.handling.worker import open_worker
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.patience import repeated
from ekb_async.ext.engines.rates import Config, config_of
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import ENTRYPOINT, Deferred, PlannedWakeup, Wakeup
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.schema import SchemaReport, install_with

try:
    import psycopg
    from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
    from procrastinate.connector import BaseConnector
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Job
    from procrastinate.schema import SchemaManager
except ImportError as error:
    raise ConfigError(
        f'procrastinate needs a library that is not installed ({error}): pip install "ekb-async[procrastinate]"'
    ) from None

__all__ = ["EnqueueReport", "Enqueuer", "InvoiceJob", "WorkerTiming", "enqueue", "install_schema", "register"]

_log = logging.getLogger(__name__)
_engine_log = logging.getLogger("procrastinate.worker")

_QUEUE = "ekb"
EVERY_MINUTE = "* * * * *"
# `to_regclass` may answer from a cache that is older than the lock.
_HAS_TABLES = """
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'procrastinate_jobs' AND pg_table_is_visible(oid))
"""

_NEXT_DUE = """
SELECT extract(epoch FROM min(coalesce(scheduled_at, now())) - now())::float8 FROM procrastinate_jobs
WHERE status = 'todo' AND ($1::text[] IS NULL OR queue_name = ANY($1))
"""


async def install_schema(dsn: str) -> SchemaReport:
    """Create the tables of procrastinate, if there are none, and those of the call table, the pace and the tokens.

    Any number of processes may do so at once, and again. Raises `StorageError` if the database refuses,
    `EkbConnectionError` if it cannot be reached within 10 s.
    """
    return await install_with(_Tables(), dsn)


def register(
    engine: App,
    session_for_tenant: SessionForTenant,
    dsn: str,
    *,
    config: Config | None = None,
    repeat_unknown: bool = False,
    timing: WorkerTiming | None = None,
    upkeep: str = EVERY_MINUTE,
    on_result: OnResult | None = None,
) -> None:
    """Make the workers of an app handle wakeups, from their start until the app is closed.

    `session_for_tenant` makes the session of a tenant, see `TenantSessions`; its pace and token are shared with all
    hosts on the database. `config` sets the rates at which wakeups become due, by default those of the sessions:
    settings, `TenantCredentials`, or a function of the tenant. A billed call whose answer was lost fails with
    `OutcomeUnknownError`, unless `repeat_unknown`. `timing` sets the worker's times. `upkeep`, a cron expression that
    may have a sixth field for seconds, sets when the wakeups of dead workers are retried. `on_result` is called with
    the result of each call that this worker makes, a `Completion`, once it is recorded; see
    `docs/en/backlog/results.md`. Call this before the app is opened. Raises `ConfigError` for wrong arguments.
    """
    settings = config_of(config)
    times = timing or WorkerTiming.from_env()
    pass_to = checked_on_result(on_result)
    worker = _Worker(
        engine,
        lambda: open_worker(
            dsn,
            session_for_tenant,
            _Insert(engine),
            settings,
            times,
            repeat_unknown=repeat_unknown,
            engine="procrastinate",
            on_result=pass_to,
        ),
    )
    _Polling(engine, dsn, worker).begin()
    engine.worker_defaults.setdefault("fetch_job_polling_interval", LIMITS.polling_interval_seconds)
    engine.worker_defaults.setdefault("concurrency", LIMITS.wakeups_per_worker)

    _engine_log.addFilter(_without_traceback)
    _be_patient(engine.connector)

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
        """Retry the wakeups of workers that died, and open the worker if that failed when it started."""
        await worker.opened()
        for job in await engine.job_manager.get_stalled_jobs(task_name=ENTRYPOINT):
            await engine.job_manager.retry_job(job)


class _Worker:
    """Opens the dispatcher of this process when its worker starts, and closes it before the app."""

    def __init__(self, app: App, opening: Callable[[], AbstractAsyncContextManager[Dispatcher]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._dispatcher: Dispatcher | None = None
        self._clock: Callable[[], float] = time.time
        self._lock = asyncio.Lock()
        self.on_close: Callable[[], Awaitable[None]] | None = None
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
            if self.on_close is not None:
                await self.on_close()
        finally:
            await self._close_connector()


class _Rest(msgspec.Struct):
    """Until when (time of the loop) the workers on some queues look for no wakeup.

    `found_one` says whether they found one at their latest try; then the next one comes without a look. `wakes` counts
    the reasons to end a rest.
    """

    until: float = 0.0
    found_one: bool = True
    wakes: int = 0


class _Polling:
    """Lets the workers of an app look for wakeups only when one may be due.

    Workers ask `fetch_job` for a wakeup at each interval, and whenever one is added. The methods of the app's manager
    are replaced, since procrastinate offers no hook for it.
    """

    def __init__(self, app: App, dsn: str, worker: _Worker) -> None:
        self._manager = manager = app.job_manager
        self._fetch, self._retry = manager.fetch_job, manager.retry_job
        self._listen, self._register = manager.listen_for_jobs, manager.register_worker
        self._database = Database(dsn, "calls", name="ekb worker")
        self._worker = worker
        self._rests: dict[frozenset[str] | None, _Rest] = {}

    def begin(self) -> None:
        self._manager.fetch_job = self.fetch_job  # type: ignore[method-assign]
        self._manager.retry_job = self.retry_job  # type: ignore[method-assign]
        self._manager.listen_for_jobs = self.listen_for_jobs  # type: ignore[method-assign]
        self._manager.register_worker = self.register_worker  # type: ignore[method-assign]
        self._worker.on_close = self._database.close

    async def register_worker(self) -> int:
        """Open the worker when procrastinate's starts; if it cannot be opened, that is tried again at each wakeup."""
        worker_id = await self._register()
        self._rests.clear()
        try:
            await self._worker.opened()
        except Exception as fault:  # noqa: BLE001 - the app may have tasks of its own
            _log.error("the worker cannot be opened yet: %s: %s", type(fault).__name__, redact(str(fault)))
        return worker_id

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        loop, names = asyncio.get_running_loop(), None if queues is None else list(queues)
        rest = self._rests.setdefault(None if names is None else frozenset(names), _Rest())
        if loop.time() < rest.until:
            return None
        if not rest.found_one and not await self._is_due(rest, names):
            return None
        job = await self._fetch(queues=names, worker_id=worker_id)
        rest.found_one = job is not None
        return job

    async def retry_job(self, *arguments: Any, **named: Any) -> None:
        await self._retry(*arguments, **named)
        self._wake()

    async def listen_for_jobs(self, *, on_notification: Any, queues: Iterable[str] | None = None) -> None:
        async def notified(**named: Any) -> None:
            self._wake()
            await on_notification(**named)

        await self._listen(on_notification=notified, queues=queues)

    def _wake(self) -> None:
        for rest in self._rests.values():
            rest.until = 0.0
            rest.wakes += 1

    async def _is_due(self, rest: _Rest, queues: list[str] | None) -> bool:
        """Return whether a wakeup is due, and if not, rest until then, or until others may have postponed one."""
        loop, wakes = asyncio.get_running_loop(), rest.wakes
        try:
            delay = await self._database.run(
                lambda connection: connection.fetchval(
                    _NEXT_DUE, queues, timeout=STORAGE_LIMITS.answer_timeout_seconds
                ),
                patience=0,
            )
        except EkbError:
            return True  # procrastinate may reach its database
        if delay is not None and delay <= 0:
            return True
        if rest.wakes == wakes:  # otherwise one was added meanwhile
            rest.until = loop.time() + min(LIMITS.rest_seconds, LIMITS.rest_seconds if delay is None else delay)
        return False


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


def _be_patient(connector: BaseConnector) -> None:
    """Have the engine's statements repeated while the database is away."""
    for name in ("execute_query_async", "execute_query_one_async", "execute_query_all_async"):
        setattr(connector, name, repeated(getattr(connector, name), _is_away))


def _is_away(error: Exception) -> bool:
    return isinstance(error, ConnectorException) and isinstance(
        error.__cause__, psycopg.OperationalError | psycopg.InterfaceError
    )


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
