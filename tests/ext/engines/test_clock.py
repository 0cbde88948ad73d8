"""A database whose clock is set back while workers run, or while none does."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from procrastinate import App, PsycopgConnector

from ekb_async import AppCredentials, EkbSession
from ekb_async.backlog import Backlog, Row
from ekb_async.ext import procrastinate
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.sandbox import Sandbox
from tests.support.database_clock import DatabaseClock
from tests.support.fast_times import FAST_WORKER
from tests.support.played_engine import Engine, config, enqueue, fetch, open_worker, sessions_on
from tests.support.waiting import DEADLINE, until

HOUR = 3600.0

CALLS = 600
"""More than a worker allows slots to lie ahead without looking at the number of calls."""

DELAY_OF_WAKEUP = """
SELECT attempts, extract(epoch FROM scheduled_at - clock_timestamp())::float8 FROM procrastinate_jobs
WHERE task_name = 'ekb_turn'
"""

TIMING = msgspec.structs.replace(FAST_WORKER, stranded_after=0.0)


@pytest.fixture
async def clock(database: str) -> DatabaseClock:
    made = DatabaseClock(database)
    await made.create()
    return made


@pytest.mark.parametrize("is_running", [True, False])
async def test_calls_are_planned_anew(clock: DatabaseClock, quick_box: Sandbox, is_running: bool) -> None:
    """After the clock was set back by an hour calls become due at once, and in a long queue they do not without."""
    engine = Engine()
    jobs = [InvoiceJob(kind="ocr", tenant="a", file=f"https://f.example/{number}.png") for number in range(CALLS)]
    await enqueue(clock.dsn, engine, jobs, ocr_rate=1.0)
    if not is_running:
        await clock.set_back(HOUR)
    async with open_worker(
        clock.dsn, engine, sessions_on(quick_box), timing=TIMING, config_of=lambda _: config(ocr_rate=1.0)
    ):
        if is_running:
            async with Backlog.open(clock.dsn) as backlog:
                await backlog.add([Row(kind="url", invoice_id="corp:1:2", tenant="b")])
            await until(lambda: are_planned(engine, "b", 1, kind="url"))
            assert len(engine.of("a")) == CALLS
            await clock.set_back(HOUR)
        await until(lambda: are_planned(engine, "a", 2 * CALLS))
    assert max(wakeup.delay for wakeup in engine.of("a")[CALLS:]) < 2 * CALLS


async def are_planned(engine: Engine, tenant: str, wakeups: int, kind: str = "ocr") -> bool:
    return len(engine.of(tenant, kind)) == wakeups


@pytest.mark.parametrize("seconds", [300.0, -300.0])
async def test_procrastinate_waits_by_the_clock_of_the_database(
    clock: DatabaseClock, quick_box: Sandbox, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """A postponed wakeup is due when its pause is over, on a host with a wrong clock too, and it is one line of log."""
    caplog.set_level("INFO", logger="procrastinate.worker")
    await clock.set_back(seconds)
    await procrastinate.install_schema(clock.dsn)
    await procrastinate.enqueue(clock.dsn, [InvoiceJob(kind="url", tenant="a", invoice_id="corp:1:2")])
    app = App(connector=PsycopgConnector(conninfo=clock.dsn))
    wrong = AppCredentials(app_key="key-a", app_security="5ecret")
    procrastinate.register(app, lambda _: EkbSession(wrong, base_url=quick_box.base_url, config=config()), clock.dsn)
    async with app.open_async(), asyncio.timeout(DEADLINE):
        await app.run_worker_async(wait=False, listen_notify=False, install_signal_handlers=False)
    [(attempts, delay)] = await fetch(clock.dsn, DELAY_OF_WAKEUP)
    assert attempts == 1
    assert 0 < delay <= 5.5
    [line] = [record for record in caplog.records if "postponed for" in record.getMessage()]
    assert "密钥无效" in line.getMessage()
    assert not any(record.exc_info for record in caplog.records)
    assert "5ecret" not in caplog.text
