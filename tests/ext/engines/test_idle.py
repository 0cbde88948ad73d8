"""A worker without work leaves the database alone, and is awake at once when there is some."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from ekb_async import SessionConfig, TenantCredentials
from ekb_async.ext.engines.handling import worker
from ekb_async.postgres import Enqueuer, InvoiceJob
from ekb_async.sandbox import Sandbox
from tests.support.fast_times import FAST_WORKER
from tests.support.played_engine import Engine, fetch, open_worker, sessions_on
from tests.support.postgres import running_postgres
from tests.support.tenant_files import account, write_accounts
from tests.support.waiting import DEADLINE, until

pytest.importorskip("pgqueuer")
pytest.importorskip("procrastinate")

from pgqueuer import PgQueuer, Queries
from procrastinate import App, PsycopgConnector

from ekb_async.ext import pgqueuer, procrastinate

pytestmark = pytest.mark.postgres

SELDOM = msgspec.structs.replace(FAST_WORKER, upkeep=3600.0)
"""A worker that never searches by itself while a test runs, but for the first time."""


def lookup(number: int) -> InvoiceJob:
    return InvoiceJob(kind="url", tenant="a", invoice_id=f"corp:1:{number}")


async def test_a_worker_plans_at_once(database: str, quick_box: Sandbox) -> None:
    """It is notified of calls that are committed, in its own schema only, and by manifests as well."""
    engine = Engine()
    other = f"{database}&options=-csearch_path%3Dother"
    await fetch(database, "CREATE SCHEMA other")
    connection = await asyncpg.connect(database)
    async with (
        open_worker(database, engine, sessions_on(quick_box), timing=SELDOM),
        Enqueuer(database) as enqueuer,
        Enqueuer(other) as elsewhere,
    ):
        await elsewhere.add([lookup(9)])
        transaction = connection.transaction()
        await transaction.start()
        await enqueuer.add([lookup(1)], connection=connection)
        assert engine.planned == []
        await transaction.commit()
        await until(lambda: are_planned(engine, 1))
        await enqueuer.add([lookup(2)])
        await until(lambda: are_planned(engine, 2))
    await connection.close()


async def are_planned(engine: Engine, count: int) -> bool:
    return len(engine.planned) == count


async def test_a_worker_whose_connections_were_cut(database: str, quick_box: Sandbox) -> None:
    """It listens again, and plans what was added meanwhile."""
    engine = Engine()
    connection = await asyncpg.connect(database)
    async with open_worker(database, engine, sessions_on(quick_box), timing=SELDOM), Enqueuer(database) as enqueuer:
        for count in range(1, 4):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
            await enqueuer.add([lookup(count)])
            await until(lambda count=count: are_planned(engine, count))  # type: ignore[misc]
    await connection.close()


async def test_a_search_is_one_statement(quick_box: Sandbox) -> None:
    """While there is nothing to do, each search is one statement, and so is each sign of life."""
    with running_postgres("-h '' -c log_statement=all") as server:
        async with open_worker(server.dsn, Engine(), sessions_on(quick_box), timing=FAST_WORKER):

            async def have_searched() -> bool:
                return (await lines_of(server.files)).count("search") >= 8

            await until(have_searched)
        lines = await lines_of(server.files)
    searches = [n for n, line in enumerate(lines) if line == "search"]
    # A connection that was opened counts as a notification, so there is one plan at first.
    idle = lines[searches[2] : searches[-1]]
    assert [line for line in idle if line not in {"search", "life"}] == []


async def lines_of(files: Path) -> list[str]:
    """Return what the statements in the log of a server are, those that are repeated under a short name."""
    text = await asyncio.to_thread((files / "log").read_text)
    found = []
    for statement in text.split("LOG:  ")[1:]:
        if statement.startswith(("statement:", "execute ")):
            is_search, is_life = "FROM ekb_pause)" in statement, "INSERT INTO ekb_run (id" in statement
            found.append("search" if is_search else "life" if is_life else statement)
    return found


async def test_a_worker_says_when_it_is_ready(
    tmp_path: Path, database: str, quick_box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """One line has run, engine and tenants, another one says that it has ended; its connections have a name."""
    caplog.set_level(logging.INFO, logger="ekb_async.engines")
    names = [f"tenant {n}" for n in range(7)]
    tenants = TenantCredentials.read(write_accounts(tmp_path, **{name: account(quick_box) for name in names}))
    async with worker.open_worker(
        database, tenants, Engine().insert, None, FAST_WORKER, repeat_unknown=False, engine="PgQueuer"
    ):
        [(run_id,)] = await fetch(database, "SELECT id FROM ekb_run")
        [ready] = [record.getMessage() for record in caplog.records if "ready" in record.getMessage()]
        assert ready == (
            f"worker is ready: run {run_id}, PgQueuer, tenants in the file: 7 "
            "('tenant 0', 'tenant 1', 'tenant 2', 'tenant 3', 'tenant 4', …)"
        )
        activity = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert set(await fetch(database, f"SELECT application_name {activity}")) <= {("ekb worker",), ("ekb run",)}
    assert caplog.records[-1].getMessage() == f"worker has ended: run {run_id}, PgQueuer"


async def test_an_idle_worker_of_procrastinate(database: str, quick_box: Sandbox) -> None:
    """It asks its queue once when no wakeup is due, and at once when one is added or postponed."""
    await procrastinate.install_schema(database)
    app = App(connector=PsycopgConnector(conninfo=database))
    procrastinate.register(app, sessions_on(quick_box), database, config=SessionConfig(), timing=SELDOM)
    looks: list[str] = []
    execute = app.connector.execute_query_one_async

    async def counted(query: Any, **arguments: Any) -> Any:
        looks.append(query)
        return await execute(query, **arguments)

    app.connector.execute_query_one_async = counted  # type: ignore[method-assign]
    async with app.open_async(), asyncio.timeout(DEADLINE):
        running = asyncio.create_task(
            app.run_worker_async(install_signal_handlers=False, fetch_job_polling_interval=0.01)
        )

        async def is_idle() -> bool:
            before = len(looks)
            await asyncio.sleep(0.3)  # thirty times the interval
            return before > 2 and len(looks) == before

        await until(is_idle)
        async with Enqueuer(database) as enqueuer:
            for number in range(3):
                await enqueuer.add([lookup(number)])
                await until(lambda number=number: are_done(database, number + 1))  # type: ignore[misc]
        running.cancel()
        await asyncio.wait([running])


async def are_done(dsn: str, count: int) -> bool:
    return await fetch(dsn, "SELECT count(*) FROM ekb_call WHERE state = 'done'") == [(count,)]


async def test_an_idle_worker_of_pgqueuer(database: str, quick_box: Sandbox) -> None:
    """A look at an empty queue is one statement, and wakeups that are added are handled."""
    await pgqueuer.install_schema(database)
    connection = await asyncpg.connect(database)
    statements: list[str] = []
    engine = PgQueuer.from_asyncpg_connection(connection)
    async with (
        pgqueuer.register(engine, sessions_on(quick_box), database, config=SessionConfig(), timing=SELDOM),
        asyncio.timeout(DEADLINE),
    ):
        connection.add_query_logger(lambda query: statements.append(query.query))
        running = asyncio.create_task(engine.qm.run(dequeue_timeout=timedelta(seconds=0.05)))

        async def has_looked() -> bool:
            return any("AS picked" in each for each in statements)

        await until(has_looked)
        statements.clear()

        async def has_looked_on() -> bool:
            return len(statements) >= 8

        await until(has_looked_on)
        assert [each for each in statements if "AS picked" not in each and "pg_notify" not in each] == []
        async with Enqueuer(database) as enqueuer:
            for number in range(3):
                await enqueuer.add([lookup(number)])
                await until(lambda number=number: are_done(database, number + 1))  # type: ignore[misc]
        engine.qm.shutdown.set()
        await running
    await connection.close()


async def test_a_version_of_pgqueuer_with_other_methods(
    database: str, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine keeps its own way of looking, and a warning names what is missing."""
    await pgqueuer.install_schema(database)
    connection = await asyncpg.connect(database)
    engine = PgQueuer.from_asyncpg_connection(connection)
    monkeypatch.delattr(Queries, "eligible_queued_work")
    async with pgqueuer.register(engine, sessions_on(quick_box), database, config=SessionConfig(), timing=SELDOM):
        assert isinstance(engine.qm.queries, Queries)
        assert vars(engine.qm.queries).keys().isdisjoint({"dequeue", "queued_work", "next_deferred_eta"})
    assert "PgQueuer has no eligible_queued_work" in caplog.text
    await connection.close()
