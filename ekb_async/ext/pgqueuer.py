"""Calls by PgQueuer: on any number of hosts, for any number of tenants. Needs the extra `pgqueuer`.

Call `await install_schema(dsn)` once, and `await enqueue(dsn, jobs)` to add calls. Workers are run by PgQueuer's own
command, `pgq run app:worker --max-concurrent-tasks 40 --batch-size 20 --dequeue-timeout 2`, where `app.py` has a
factory like this:

    @asynccontextmanager
    async def worker():
        connection = await asyncpg.connect(dsn)
        engine = PgQueuer.from_asyncpg_connection(connection)
        async with register(engine, session_for_tenant, dsn):
            yield engine
        await connection.close()

Results, progress and calls of unknown outcome are in the call table: `Backlog.open(dsn)`, `ekb backlog status`. The
design is described in `ekb_async.ext.engines`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from ekb_async.backlog import AddReport
from ekb_async.errors import ConfigError
from ekb_async.ext.engines import enqueuing
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.rates import Config, config_of
from ekb_async.ext.engines.results import OnResult, checked_on_result
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import ENTRYPOINT, Deferred, PlannedWakeup, wakeup_of
from ekb_async.ext.engines.worker import open_worker
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import SessionForTenant
from ekb_async.storage.postgres.schema import SchemaReport, install_with

try:
    from pgqueuer import AsyncpgDriver, PgQueuer, Queries
    from pgqueuer.errors import RetryRequested
    from pgqueuer.models import Job
except ImportError as error:
    raise ConfigError(
        f'PgQueuer needs a library that is not installed ({error}): pip install "ekb-async[pgqueuer]"'
    ) from None

__all__ = ["InvoiceJob", "WorkerTiming", "enqueue", "install_schema", "register"]

_log = logging.getLogger(__name__)


async def install_schema(dsn: str) -> SchemaReport:
    """Create the tables of PgQueuer, if there are none, and those of the call table, the pace and the tokens.

    Any number of processes may do so at once, and again. Raises `StorageError` if the database refuses,
    `EkbConnectionError` if it cannot be reached within 10 s.
    """
    return await install_with(_Tables(), dsn)


async def enqueue(dsn: str, jobs: Iterable[InvoiceJob] = (), *, config: Config | None = None) -> AddReport:
    """Add calls to the call table, all or none, and wakeups for them to PgQueuer.

    Calls that are pending for another reason, added by `ekb backlog add` or made pending by `ekb backlog retry`, get
    wakeups too. `config` has the rates at which wakeups become due, those of the tenants' sessions: settings,
    `TenantCredentials`, or a function of the tenant. Without it, calls that would not be due in the next seconds get
    their wakeups from a worker. Raises `ConfigError` naming the first job that is not valid, `EkbConnectionError` if
    the database cannot be reached.
    """
    return await enqueuing.enqueue(dsn, jobs, _insert, config_of(config))


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
    hosts on the database. `config` is as for `enqueue`, by default the settings of those sessions. A billed call whose
    answer was lost fails with `OutcomeUnknownError`, unless `repeat_unknown`. `timing` sets the worker's times. The end
    of the block waits for calls in progress. `on_result` is called with the result of each call that this worker makes,
    a `Completion`, once it is recorded; see `docs/results.md`. Raises `ConfigError` for wrong arguments,
    `EkbConnectionError` if the database cannot be reached.
    """
    timing = timing or WorkerTiming.from_env()
    async with open_worker(
        dsn,
        session_for_tenant,
        _insert,
        config_of(config),
        timing,
        repeat_unknown=repeat_unknown,
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

        yield


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
