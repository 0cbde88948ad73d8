"""What the commands of the engines import to work for the tests: `worker` for PgQueuer, `app` for procrastinate.

Deaths are noticed after seconds here, and not after the better part of a minute.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from procrastinate import App, PsycopgConnector

from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.ext import pgqueuer, procrastinate
from ekb_async.timing import BacklogTiming, WorkerTiming

HEARTBEAT_TIMEOUT = 2.0
GUARD = 0.15
TIMING = WorkerTiming(upkeep=1.0, backlog=BacklogTiming(dead_after=3.0))

# A worker does not live without the environment that its test gives it.
_DSN = os.environ.get("EKB_TEST_DSN", "postgresql:///none")
_RATE = float(os.environ.get("EKB_TEST_RATE", "1"))
_VENDORS: dict[str, list[str]] = json.loads(os.environ.get("EKB_TEST_VENDORS", "{}"))
"""Address, key and secret by tenant."""

_CONFIG = SessionConfig(ocr_rate=_RATE, rate_guard=GUARD)


def session_for_tenant(tenant: str) -> EkbSession:
    base_url, app_key, app_security = _VENDORS[tenant]
    keys = AppCredentials(app_key=app_key, app_security=app_security)
    return EkbSession(keys, base_url=base_url, config=_CONFIG)


@asynccontextmanager
async def worker() -> AsyncIterator[PgQueuer]:
    connection = await asyncpg.connect(_DSN)
    try:
        engine = PgQueuer.from_asyncpg_connection(connection)
        async with pgqueuer.register(engine, session_for_tenant, _DSN, config=_CONFIG, timing=TIMING):
            yield engine
    finally:
        connection.terminate()


def _hurried_app() -> App:
    app = App(
        connector=PsycopgConnector(conninfo=_DSN),
        worker_defaults={
            "update_heartbeat_interval": HEARTBEAT_TIMEOUT / 3,
            "stalled_worker_timeout": HEARTBEAT_TIMEOUT,
        },
    )
    manager = app.job_manager
    manager.get_stalled_jobs = functools.partial(  # type: ignore[method-assign]
        manager.get_stalled_jobs, seconds_since_heartbeat=HEARTBEAT_TIMEOUT
    )
    procrastinate.register(app, session_for_tenant, _DSN, config=_CONFIG, timing=TIMING, upkeep="* * * * * */2")
    return app


app = _hurried_app()
