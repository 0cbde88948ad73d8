"""Workers keep the budgets of tenants: wakeups are postponed to the next period, and planned anew if one is raised."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

import asyncpg
import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.store.values.calls import day_of
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.wakeups import Deferred
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Fault, Sandbox
from tests.support.database_clock import DatabaseClock
from tests.support.fast_times import FAST_WORKER
from tests.support.played_engine import Engine, enqueue, fetch, open_worker, sessions_on, tasks_of
from tests.support.postgres import IS_WAITED_FOR, connected
from tests.support.waiting import until, until_in_database


@pytest.fixture
def engine() -> Engine:
    return Engine()


def ocr(count: int, tenant: str = "a") -> list[InvoiceJob]:
    return [
        InvoiceJob(kind="ocr", tenant=tenant, file=f"https://f.example/{tenant}{number}.png") for number in range(count)
    ]


async def set_budget(dsn: str, tenant: str | None, per_day: int) -> None:
    async with Backlog.open(dsn) as backlog:
        await backlog.set_budget(tenant, per_day=per_day)


def seconds_to_midnight() -> float:
    now = datetime.now(CHINA)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()


async def outcomes(work: list[asyncio.Task[None]]) -> list[float]:
    """Return the delays of the wakeups that were postponed."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(error, Deferred | None) for error in ended)
    return [error.delay for error in ended if isinstance(error, Deferred)]


@pytest.mark.parametrize("of_all", [False, True])
async def test_wakeups_are_postponed(database: str, engine: Engine, quick_box: Sandbox, of_all: bool) -> None:
    """Two workers send exactly as many calls as allowed; other wakeups come back at midnight, free calls go on."""
    await enqueue(database, engine, [*ocr(20), InvoiceJob(kind="url", tenant="a", invoice_id="corp:1:2")])
    await set_budget(database, None if of_all else "a", 7)
    async with (
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER) as one,
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER) as two,
    ):
        # On a busy machine a call may miss its slot, and its wakeup comes back at once.
        while quick_box.count("ocr") < 7:
            await outcomes([asyncio.create_task(worker.handle(engine.wakeup())) for worker in [one, two] * 10])
        delays = await outcomes([asyncio.create_task(worker.handle(engine.wakeup())) for worker in [one, two] * 10])
        assert (quick_box.count("ocr"), len(delays)) == (7, 20)
        assert min(delays) > seconds_to_midnight() - 5
        await one.handle(engine.wakeup(kind="url"))
    tasks = await tasks_of(database)
    assert sorted(task.state for task in tasks) == ["done"] * 8 + ["pending"] * 13
    assert await fetch(database, "SELECT tenant, calls FROM ekb_spent") == [("a", 7)]


@pytest.mark.parametrize("of_all", [False, True])
async def test_a_raised_budget(database: str, engine: Engine, quick_box: Sandbox, of_all: bool) -> None:
    """When a budget is raised, the postponed calls get wakeups at once, and are made."""
    tenant = None if of_all else "a"
    await enqueue(database, engine, ocr(5))
    await set_budget(database, tenant, 2)
    async with (
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER) as one,
        # Another worker has postponed none of them.
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER),
    ):
        await outcomes([asyncio.create_task(one.handle(engine.wakeup())) for _ in range(5)])
        assert quick_box.count("ocr") == 2
        planned = len(engine.planned)
        await set_budget(database, tenant, 10)
        await until(lambda: are_planned(engine, planned + 3))
        assert all(wakeup.delay < 60 for wakeup in engine.planned[planned:])
        # The plan is committed a moment after the engine has the wakeups.
        while quick_box.count("ocr") < 5:
            await outcomes([asyncio.create_task(one.handle(engine.wakeup()))])


async def are_planned(engine: Engine, count: int) -> bool:
    return len(engine.planned) >= count


async def test_a_call_that_is_taken_back_while_it_is_marked(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """It is not sent, so it does not count: all of the budget is there for the others."""
    await enqueue(database, engine, ocr(5))
    await set_budget(database, "a", 3)
    timing = msgspec.structs.replace(FAST_WORKER, gate_wait=0.1)
    async with (
        connected(database) as connection,
        open_worker(database, engine, sessions_on(quick_box), timing=timing) as worker,
    ):
        counting = connection.transaction()
        await counting.start()
        await connection.execute("INSERT INTO ekb_spent VALUES ('a', $1, 0)", day_of(time.time()))
        work = asyncio.create_task(worker.handle(engine.wakeup()))
        await until_in_database(connection, IS_WAITED_FOR)
        # Its slot is over meanwhile.
        await asyncio.wait([work], timeout=1.0)
        await counting.rollback()
        await outcomes([work])
        assert quick_box.count("ocr") == 0
        assert sum(calls for (calls,) in await fetch(database, "SELECT calls FROM ekb_spent")) == 0


async def test_refusals_and_cut_connections(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """With cut connections no call too many is sent; what was refused for the rate is given back."""
    quick_box.faults = [
        Fault.answer(429, "请求过于频繁", calls="ocr", rate=0.3),
        Fault.lost_answer(calls="ocr", rate=0.2),
    ]
    await enqueue(database, engine, ocr(80))
    await set_budget(database, "a", 20)
    async with (
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER) as one,
        open_worker(database, engine, sessions_on(quick_box), timing=FAST_WORKER) as two,
    ):
        for _ in range(8):
            handling = [asyncio.create_task(worker.handle(engine.wakeup())) for worker in (one, two) * 5]
            await cut_connections(database)
            await asyncio.gather(*handling, return_exceptions=True)
        refused = sum(entry.status == 429 for entry in quick_box.log)
        assert quick_box.count("ocr") - refused <= 20
        [(spent,)] = await fetch(database, "SELECT calls FROM ekb_spent")
        assert spent >= quick_box.count("ocr") - refused


async def cut_connections(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def test_the_clock_of_the_database_decides(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """At midnight by the database's clock the calls go on."""
    clock = DatabaseClock(database)
    await clock.create()
    await enqueue(clock.dsn, engine, ocr(6))
    await set_budget(clock.dsn, "a", 2)
    async with open_worker(clock.dsn, engine, sessions_on(quick_box), timing=FAST_WORKER) as one:
        await outcomes([asyncio.create_task(one.handle(engine.wakeup())) for _ in range(6)])
        assert quick_box.count("ocr") == 2
        await clock.set_back(-seconds_to_midnight() - 60)
        await until(lambda: goes_on(one.handle(engine.wakeup())))
        await outcomes([asyncio.create_task(one.handle(engine.wakeup())) for _ in range(6)])
    assert quick_box.count("ocr") == 4


async def goes_on(work: object) -> bool:
    return (await asyncio.gather(work, return_exceptions=True)) == [None]  # type: ignore[call-overload, no-any-return]
