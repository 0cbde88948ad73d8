"""The module that procrastinate's command imports to start a worker for tests."""

from __future__ import annotations

import functools

from procrastinate import App, PsycopgConnector

from ekb_async.ext import procrastinate
from tests.support.engine_worker import CONFIG, DSN, HEARTBEAT_TIMEOUT, TIMING, session_for_tenant


def app_with_short_times() -> App:
    app = App(
        connector=PsycopgConnector(conninfo=DSN),
        worker_defaults={
            "update_heartbeat_interval": HEARTBEAT_TIMEOUT / 3,
            "stalled_worker_timeout": HEARTBEAT_TIMEOUT,
        },
    )
    manager = app.job_manager
    manager.get_stalled_jobs = functools.partial(  # type: ignore[method-assign]
        manager.get_stalled_jobs, seconds_since_heartbeat=HEARTBEAT_TIMEOUT
    )
    procrastinate.register(app, session_for_tenant, DSN, config=CONFIG, timing=TIMING, upkeep="* * * * * */2")
    return app


app = app_with_short_times()
