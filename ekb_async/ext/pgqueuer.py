"""Calls by PgQueuer: on any number of hosts, for any number of tenants. Needs the extra `pgqueuer`.

Call `await install_schema(dsn)` once, and `await enqueue(dsn, jobs)` to add calls. Workers are run by PgQueuer's own
command, `pgq run app:worker --max-concurrent-tasks 40 --batch-size 20 --dequeue-timeout 2`, where `app.py` has a
factory like this:

    @asynccontextmanager
    async def worker():
        async with asyncpg.create_pool(dsn, min_size=0, max_size=3) as pool:
            engine = PgQueuer.from_asyncpg_pool(pool)
            async with register(engine, session_for_tenant, dsn):
                yield engine

Results, progress and calls of unknown outcome are in the call table: `Backlog.open(dsn)`, `ekb backlog status`. The
design is described in `ekb_async.ext.engines`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from ekb_async.errors import ConfigError
from ekb_async.ext.engines.enqueuing.enqueuer import Enqueuer, EnqueueReport, enqueue
from ekb_async.ext.engines.handling.results import OnResult, checked_on_result
from ekb_async.ext.engines.handling.worker import open_worker
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.patience import repeated
from ekb_async.ext.engines.rates import Config, config_of
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import ENTRYPOINT, Deferred, PlannedWakeup, wakeup_of
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.storage.postgres.errors import AWAY
from ekb_async.storage.postgres.schema import SchemaReport, install_with

try:
    from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries
    from pgqueuer.errors import RetryRequested
    from pgqueuer.models import Job, Schedule
    from pgqueuer.ports.driver import Driver
except ImportError as error:
    raise ConfigError(
        f'PgQueuer needs a library that is not installed ({error}): pip install "ekb-async[pgqueuer]"'
    ) from None

__all__ = ["EnqueueReport", "Enqueuer", "InvoiceJob", "WorkerTiming", "enqueue", "install_schema", "register"]

_log = logging.getLogger(__name__)

_LOOK = """
SELECT ({due}) AS due, ({eta}) AS eta, ({queued}) AS queued,
    EXISTS (SELECT 1 FROM {table} WHERE status = 'picked') AS picked
"""

_REPLACED = ("dequeue", "eligible_queued_work", "next_deferred_eta", "queued_work", "fetch_schedule")


async def install_schema(dsn: str) -> SchemaReport:
    """Create the tables of PgQueuer, if there are none, and those of the call table, the pace and the tokens.

    Any number of processes may do so at once, and again. Raises `StorageError` if the database refuses,
    `EkbConnectionError` if it cannot be reached within 10 s.
    """
    return await install_with(_Tables(), dsn)


@asynccontextmanager
async def register(
    engine: PgQueuer,
    session_for_tenant: SessionForTenant,
    dsn: str,
    *,
    config: Config | None = None,
    repeat_unknown: bool = False,
    timing: WorkerTiming | None = None,
    on_result: OnResult | None = None,
) -> AsyncIterator[None]:
    """Make an engine handle wakeups, for the length of an `async with` block around its run.

    `session_for_tenant` makes the session of a tenant, see `TenantSessions`; its pace and token are shared with all
    hosts on the database. `config` sets the rates at which wakeups become due, by default those of the sessions:
    settings, `TenantCredentials`, or a function of the tenant. A billed call whose answer was lost fails with
    `OutcomeUnknownError`, unless `repeat_unknown`. `timing` sets the worker's times. `on_result` is called with the
    result of each call that this worker makes, a `Completion`, once it is recorded; see `docs/en/backlog/results.md`.
    The end of the block waits for calls in progress. Raises `ConfigError` for wrong arguments, `EkbConnectionError` if
    the database cannot be reached.
    """
    timing = timing or WorkerTiming.from_env()
    _be_patient(engine.connection)
    async with open_worker(
        dsn,
        session_for_tenant,
        _insert,
        config_of(config),
        timing,
        repeat_unknown=repeat_unknown,
        engine="PgQueuer",
        on_result=checked_on_result(on_result),
    ) as dispatcher:

        @engine.entrypoint(ENTRYPOINT)
        async def handle(job: Job) -> None:
            try:
                await dispatcher.handle(wakeup_of(f"pgqueuer:{job.id}", job.payload))
            except Deferred as deferred:
                raise RetryRequested(timedelta(seconds=deferred.delay), str(deferred)) from None
            except Exception as fault:  # noqa: BLE001 - the wakeup must survive any error
                _log.error("wakeup %d failed: %s: %s", job.id, type(fault).__name__, redact(str(fault)))
                raise RetryRequested(timedelta(seconds=timing.after_fault), type(fault).__name__) from None

        _look_seldom(engine)
        yield


def _look_seldom(engine: PgQueuer) -> None:
    """Have an engine ask less while it has no work, if its version has the methods that are replaced for that."""
    if not isinstance(engine.qm.queries, Queries):
        return
    try:
        looks = _Looks(engine.qm.queries)
    except AttributeError as missing:
        _log.warning("workers without work ask the database more often than needed: PgQueuer has no %s", missing.name)
    else:
        looks.begin()


def _be_patient(driver: Driver) -> None:
    """Have the engine's statements repeated while the database is away, if there is a pool that connects again."""
    if isinstance(driver, AsyncpgPoolDriver):
        for name in ("fetch", "execute"):
            setattr(driver, name, repeated(getattr(driver, name), _is_away))


def _is_away(error: Exception) -> bool:
    return isinstance(error, AWAY) and not isinstance(error, ValueError)


class _Looks:
    """Lets an engine without work find that out with one statement, instead of four.

    An engine first tries to dequeue, then asks whether a wakeup is due, when the next one is, and whether there is any.
    Each second it asks for the schedules of cron jobs, even if it has none. The methods of its queries are replaced,
    since PgQueuer offers no hook for it. What one look found answers each question once; asked at another time, or in
    another order, the engine's own statement answers.
    """

    def __init__(self, queries: Queries) -> None:
        """Raise `AttributeError` if this version of PgQueuer has other methods."""
        self._queries = queries
        self._own: dict[str, Any] = {name: getattr(queries, name) for name in _REPLACED}
        build = queries.qbq
        self._statement = _LOOK.format(
            due=build.build_has_eligible_queued_work(),
            eta=build.build_next_deferred_eta_query(),
            queued=build.build_has_queued_work(),
            table=build.qualified.queue_table,
        )
        self._found_some = True
        """Whether the latest try to dequeue found wakeups; then the next one comes without a look."""
        self._found: dict[str, Any] = {}
        """What the latest look found and was not asked for yet."""

    def begin(self) -> None:
        for name in _REPLACED:
            setattr(self._queries, name, getattr(self, name))

    async def dequeue(self, **named: Any) -> list[Job]:
        self._found.clear()
        # A wakeup that is picked may be one of a worker that died.
        if not self._found_some and not await self._look(list(named["entrypoints"])):
            return []
        self._found.clear()
        jobs: list[Job] = await self._own["dequeue"](**named)
        self._found_some = bool(jobs)
        return jobs

    async def eligible_queued_work(self, entrypoints: list[Any]) -> int:
        if "due" not in self._found:
            await self._look(entrypoints)
        return self._found.pop("due") or 0

    async def next_deferred_eta(self, entrypoints: list[Any]) -> timedelta | None:
        eta: timedelta | None
        if "eta" in self._found:
            eta = self._found.pop("eta")
        else:
            eta = await self._own["next_deferred_eta"](entrypoints)
        return eta

    async def queued_work(self, entrypoints: list[Any]) -> int:
        queued: int | None = self._found.pop("queued", None)
        if queued is None:
            queued = await self._own["queued_work"](entrypoints)
        return queued or 0

    async def fetch_schedule(self, entrypoints: dict[Any, Any]) -> list[Schedule]:
        found: list[Schedule] = await self._own["fetch_schedule"](entrypoints) if entrypoints else []
        return found

    async def _look(self, entrypoints: list[Any]) -> bool:
        """Ask all three questions at once; return whether there may be a wakeup to dequeue."""
        found: Any
        [found] = await self._queries.driver.fetch(self._statement, entrypoints)
        self._found = dict(found)
        return bool(self._found["due"] or self._found["picked"])


class _Tables:
    """The tables of PgQueuer."""

    name = "PgQueuer"

    async def exist(self, connection: Any) -> bool:
        return await Queries(AsyncpgDriver(connection)).schema_is_installed()

    async def create(self, connection: Any) -> None:
        await Queries(AsyncpgDriver(connection)).install()


async def _insert(connection: Any, wakeups: Sequence[PlannedWakeup]) -> None:
    await Queries(AsyncpgDriver(connection)).enqueue(
        [ENTRYPOINT] * len(wakeups),
        [wakeup.payload() for wakeup in wakeups],
        [wakeup.priority for wakeup in wakeups],
        [timedelta(seconds=wakeup.delay) for wakeup in wakeups],
    )
