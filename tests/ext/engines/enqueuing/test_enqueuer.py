"""A program adds calls, in a transaction of its own or of the program, and learns their IDs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from ekb_async.backlog import Backlog
from ekb_async.config import Priority
from ekb_async.errors import ConfigError, EkbConnectionError, StorageError
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.postgres import Enqueuer, EnqueueReport, InvoiceJob
from tests.support.backlogs import picture
from tests.support.played_engine import fetch, tasks_of
from tests.support.postgres import IS_WAITED_FOR
from tests.support.waiting import until_in_database

pytestmark = pytest.mark.postgres


def ocr(*numbers: object, tenant: str = "a", priority: Priority = Priority.NORMAL) -> list[InvoiceJob]:
    return [
        InvoiceJob(kind="ocr", tenant=tenant, file=f"https://f.example/{n}.png", ref=str(n), priority=priority)
        for n in numbers
    ]


async def calls_in(dsn: str) -> int:
    [(count,)] = await fetch(dsn, "SELECT count(*) FROM ekb_call")
    return int(count)


async def test_the_ids_of_calls(database: str) -> None:
    """Each job has the ID of its call and whether it is new; the same content has the same ID, also later."""
    async with Enqueuer(database) as enqueuer:
        first = await enqueuer.add(ocr(1, 2, 1))
        assert (first.added, first.duplicates, first.present) == (2, 1, 0)
        assert first.ids[0] == first.ids[2] != first.ids[1]
        assert first.new == (True, True, False)
        again = await enqueuer.add([*ocr(2), *ocr(3), *ocr(2, tenant="b")])
        assert (again.added, again.duplicates, again.present) == (2, 1, 1)
        assert again.ids[0] == first.ids[1]
        assert again.new == (False, True, True)
    known = dict(await fetch(database, "SELECT id, tenant || ' ' || identity FROM ekb_call"))
    assert known[again.ids[1]] == "a ocr:url:https://f.example/3.png"
    assert known[again.ids[2]] == "b ocr:url:https://f.example/2.png"


async def test_calls_are_made_in_the_order_of_the_jobs(database: str) -> None:
    """IDs of calls follow the order of the jobs, and so do rows, also if some calls are there already."""
    async with Enqueuer(database) as enqueuer:
        await enqueuer.add([InvoiceJob(kind="ocr", tenant="a", file="https://f.example/5.png", ref="before")])
        report = await enqueuer.add(ocr(9, 5, 1, 5, 3))
    assert [report.ids[n] for n in (0, 2, 4)] == sorted(report.ids[n] for n in (0, 2, 4))
    assert [task.ref for task in await tasks_of(database)] == ["before", "9", "5", "1", "5", "3"]


@pytest.mark.parametrize("is_committed", [True, False])
async def test_the_transaction_of_the_program(database: str, *, is_committed: bool) -> None:
    """Calls are added with what the program writes itself, or not at all; an error leaves its transaction usable."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE bill (number int, call bigint)")
    transaction = connection.transaction()
    await transaction.start()
    async with Enqueuer(database) as enqueuer:
        report = await enqueuer.add(ocr(1, 2), connection=connection)
        await connection.executemany("INSERT INTO bill VALUES ($1, $2)", list(enumerate(report.ids)))
        with pytest.raises(ConfigError, match="job 1: "):
            await enqueuer.add([InvoiceJob(kind="ocr")], connection=connection)
        assert await calls_in(database) == 0
        await (transaction.commit() if is_committed else transaction.rollback())
    await connection.close()
    bills = await fetch(database, "SELECT number, call FROM bill JOIN ekb_call ON ekb_call.id = call ORDER BY number")
    assert bills == (list(enumerate(report.ids)) if is_committed else [])
    assert await calls_in(database) == 2 * is_committed


async def test_a_connection_without_a_transaction(database: str) -> None:
    """Calls are committed; a pool of the program and its connections are used, and left open."""
    async with asyncpg.create_pool(database, min_size=0, max_size=2) as pool:
        async with Enqueuer(pool) as enqueuer, pool.acquire() as connection:
            await enqueuer.add(ocr(1), connection=connection)
            await enqueuer.add(ocr(2))
            assert await calls_in(database) == 2
        assert await pool.fetchval("SELECT count(*) FROM ekb_call") == 2


async def test_one_connection_and_few_statements(database: str) -> None:
    """A program that stays open needs five statements for an add, those of its transaction included."""
    statements: list[str] = []
    connection = await asyncpg.connect(database)
    connection.add_query_logger(lambda query: statements.append(query.query))
    async with Enqueuer(database) as enqueuer:
        await enqueuer.add(ocr(1, 2), connection=connection)
        assert len(statements) <= 5
        statements.clear()
        await enqueuer.add(ocr(1, 2), connection=connection)
        assert len(statements) <= 4
    await connection.close()


async def test_the_names_of_connections(database: str) -> None:
    """A connection that the package opens has a name, unless the DSN gives one."""
    async with Enqueuer(database) as enqueuer, Enqueuer(f"{database}&application_name=billing") as named:
        await enqueuer.add(ocr(1))
        await named.add(ocr(2))
        assert await names_in(database) == ["billing", "ekb enqueue"]
        async with Backlog.open(database) as backlog:
            run = await backlog._store.begin_run(hold_unknown=False)
            await enqueuer.add(ocr(3))
            assert set(await names_in(database)) == {"billing", "ekb run"}
            await backlog._store.end_run(run)


async def names_in(dsn: str) -> list[str]:
    query = (
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return sorted(name for (name,) in await fetch(dsn, query))


async def test_two_programs_with_the_same_job(database: str) -> None:
    """The second one waits for the transaction of the first, and both have the same call, once."""
    first, watch = await asyncpg.connect(database), await asyncpg.connect(database)
    transaction = first.transaction()
    await transaction.start()
    async with Enqueuer(database) as enqueuer:
        report = await enqueuer.add(ocr(1, 2), connection=first)
        waiting = asyncio.create_task(enqueuer.add(ocr(3, 2, 1)))
        await until_in_database(watch, IS_WAITED_FOR)
        await transaction.commit()
        other = await waiting
    assert other.ids[1:] == report.ids[::-1]
    assert (other.added, other.present) == (1, 2)
    assert len(await tasks_of(database)) == 3
    for connection in (first, watch):
        await connection.close()


async def test_many_programs_at_once(database: str) -> None:
    """Programs that add overlapping jobs in different orders all succeed, and each call is there once."""
    reports = await asyncio.gather(*(_add(database, [*range(n, 30), *range(n)]) for n in range(0, 30, 3)))
    assert sum(report.added for report in reports) == 30
    assert await calls_in(database) == 30
    assert {call for report in reports for call in report.ids} == {
        call for (call,) in await fetch(database, "SELECT id FROM ekb_call")
    }


async def _add(dsn: str, numbers: list[int]) -> EnqueueReport:
    async with asyncpg.create_pool(dsn, min_size=0, max_size=1) as pool, Enqueuer(pool) as enqueuer:
        return await enqueuer.add(ocr(*numbers))


async def test_adding_again_waits_for_nothing(database: str) -> None:
    """Jobs that are there already change nothing and lock nothing, so a worker can record their calls meanwhile."""
    connection = await asyncpg.connect(database)
    async with Enqueuer(database) as enqueuer:
        await enqueuer.add(ocr(1))
        transaction = connection.transaction()
        await transaction.start()
        assert (await enqueuer.add(ocr(1), connection=connection)).present == 1
        assert await fetch(database, "SELECT state FROM ekb_call FOR UPDATE NOWAIT") == [("pending",)]
        await transaction.rollback()
    await connection.close()


async def test_a_wrong_job(tmp_path: Path, database: str) -> None:
    """The error has number, file and reason of the job, without its secret, and nothing is added."""
    jobs = [*ocr(1), InvoiceJob(kind="ocr", file=tmp_path / "missing.png")]
    signed = InvoiceJob(kind="ocr", file="https://f.example/1.png?Expires=1&Signature=5ecret")
    async with Enqueuer(database) as enqueuer:
        with pytest.raises(ConfigError, match=r"job 2: there is no such file \(file .*missing\.png; .* counted from 1"):
            await enqueuer.add(jobs)
        with pytest.raises(ConfigError, match=r"job 1: .*file https://f\.example/1\.png;") as caught:
            await enqueuer.add([signed])
        assert "5ecret" not in str(caught.value)
        for wrong in ("jobs", InvoiceJob(kind="url", invoice_id="c:1:2")):
            with pytest.raises(ConfigError, match="jobs"):
                await enqueuer.add(wrong)  # type: ignore[arg-type]  # the error to test
        with pytest.raises(ConfigError, match="connection must be one of asyncpg"):
            await enqueuer.add([], connection=cast("Any", "x"))
    with pytest.raises(ConfigError, match="closed"):
        await enqueuer.add(ocr(1))
    assert await calls_in(database) == 0


async def test_any_number_of_jobs(database: str) -> None:
    """Jobs are added in portions, and all or none, whatever the last one is; equal ones are found across portions."""
    count = 2 * LIMITS.jobs_per_portion + 10

    def jobs(*last: Any) -> Iterator[InvoiceJob]:
        yield from ocr(*range(count), 5)
        yield from last

    async with Enqueuer(database) as enqueuer:
        with pytest.raises(ConfigError, match=f"job {count + 2}: "):
            await enqueuer.add(jobs("x"))
        assert await calls_in(database) == 0
        report = await enqueuer.add(jobs())
        assert (report.added, report.duplicates, report.present) == (count, 1, 0)
        assert report.ids[-1] == report.ids[5]
        assert report.new == (*[True] * count, False)
        assert (await enqueuer.add(jobs())).present == count + 1
    assert len(await tasks_of(database)) == count + 1


async def test_a_cancelled_program(tmp_path: Path, database: str) -> None:
    """Adding that is cancelled while files are read ends after the file that is being read, and adds nothing."""
    begun, go_on, read = threading.Event(), threading.Event(), []

    def jobs() -> Iterator[InvoiceJob]:
        for n in range(LIMITS.jobs_per_portion):
            read.append(n)
            yield InvoiceJob(kind="ocr", file=tmp_path / picture(tmp_path, f"{n}.png"))
            begun.set()
            assert go_on.wait(10)

    async with Enqueuer(database) as enqueuer:
        adding = asyncio.create_task(enqueuer.add(jobs()))
        await asyncio.to_thread(begun.wait)
        adding.cancel()
        await asyncio.sleep(0)  # the task takes note of it
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert len(read) <= 2
        assert await calls_in(database) == 0


async def test_missing_tables(empty_database: str) -> None:
    """A program creates them with its own connection, and says what is missing within a transaction of the caller."""
    connection = await asyncpg.connect(empty_database)
    async with Enqueuer(empty_database) as enqueuer:
        with pytest.raises(StorageError, match="install_schema"):
            await enqueuer.add(ocr(1), connection=connection)
        assert (await enqueuer.add(ocr(1))).added == 1
        await connection.execute("COMMENT ON TABLE ekb_call IS 'ekb-async tables, version 99'")
        async with Enqueuer(empty_database) as other:
            with pytest.raises(StorageError, match="version 99"):
                await other.add(ocr(2), connection=connection)
    await connection.close()
    with pytest.raises(EkbConnectionError):
        await enqueuer_on_closed(connection)


async def enqueuer_on_closed(connection: asyncpg.Connection) -> None:
    async with Enqueuer("postgresql:///none") as enqueuer:
        await enqueuer.add(ocr(1), connection=connection)


async def test_a_manifest_added_meanwhile(tmp_path: Path, database: str) -> None:
    """An import that waits counts its own calls, not those that a program adds before it."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,file,ref\nocr,https://f.example/1.png,1\nocr,https://f.example/2.png,2\n")
    async with Enqueuer(database) as enqueuer, Backlog.open(database) as backlog:
        await enqueuer.add([InvoiceJob(kind="ocr", file="https://f.example/1.png", ref="1")])
        report = await backlog.add_manifest(manifest)
        assert (report.added, report.present) == (1, 1)
        again = await enqueuer.add([InvoiceJob(kind="ocr", file="https://f.example/2.png", ref="2")])
        assert (again.added, again.present) == (0, 1)
