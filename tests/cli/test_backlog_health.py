"""`ekb backlog health`: what is wrong, one line each, and the exit status of a probe."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import asyncpg
import msgspec
import pytest

from ekb_async.backlog import Backlog, BacklogHealth, Row
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.storage.migrations.steps import steps
from tests.support.altered_calls import alter, hold_calls, let_calls_age, let_wait_for_another_day
from tests.support.backlog_stores import Location
from tests.support.backlogs import names_in, session
from tests.support.command import ekb
from tests.support.raw_server import server

WELL = "Nothing is wrong. {} runs and workers are alive.\n"


async def added(place: Location, count: int = 2) -> str:
    async with Backlog.open(place) as backlog:
        await backlog.add(Row(kind="ocr", file=f"https://f.example/{n}.png", tenant=f"t{n}") for n in range(count))
    return str(place)


async def test_well(place: Location) -> None:
    """Pending calls alone are no problem, and a run that is alive is counted."""
    db = await added(place)
    ended = await ekb("backlog", "health", db, "--max-age", "10m")
    assert (ended.status, ended.output.decode(), ended.messages) == (0, WELL.format(0), "")
    async with Backlog.open(place) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        ended = await ekb("backlog", "health", db, "--need-run", "--on-this-host")
        assert (ended.status, ended.output) == (0, b"Nothing is wrong. 1 run or worker is alive.\n")
        await backlog._store.end_run(run_id)
    ended = await ekb("backlog", "health", db, "--need-run", "--json")
    assert ended.status == 1
    found = msgspec.json.decode(ended.output, type=BacklogHealth)
    assert [(each.check, each.text) for each in found.problems] == [("runs", "no run or worker is alive")]


async def test_calls_that_are_too_old(place: Location) -> None:
    """Only calls that are ready count: not those that wait for another day, are held, or belong to a pause."""
    db = await added(place, 4)
    await let_calls_age(place, 4000, "id < 4")
    await let_wait_for_another_day(place, "id = 1")
    await hold_calls(place, "id = 2")
    ended = await ekb("backlog", "health", db, "--max-age", "1h")
    assert (ended.status, ended.messages) == (1, "")
    [line] = ended.output.decode().splitlines()
    assert line.startswith("a call of tenant t2 (ocr) was added 4")
    assert line.endswith(" s ago and is still pending")
    assert (await ekb("backlog", "health", db, "--max-age", "2h")).status == 0
    await alter(
        place,
        "INSERT INTO pauses (tenant, since) VALUES ('t2', 0)",
        "INSERT INTO ekb_pause (tenant, since) VALUES ('t2', 0)",
    )
    ended = await ekb("backlog", "health", db, "--max-age", "1h")
    assert (ended.status, ended.output.decode()) == (0, WELL.format(0))
    await let_calls_age(place, 5000, "id = 4")
    assert b"tenant t3" in (await ekb("backlog", "health", db, "--max-age", "1h")).output


async def test_unconfirmed_calls(place: Location) -> None:
    """They are a problem until a person has decided, unless a probe looks for something else."""
    db = await added(place, 1)
    lost = Fault.reset(calls={"ocr"})
    async with Backlog.open(place) as backlog, Sandbox(ocr_rate=0, faults=[lost]) as box:
        # The tenant has the account of the sandbox.
        await backlog.run(lambda _: session(box, repeat_unknown=False))
    ended = await ekb("backlog", "health", db)
    assert ended.status == 1
    line = "1 failed call may have been billed, and a person has to decide whether to retry it\n"
    assert ended.output.decode() == line
    assert (await ekb("backlog", "health", db, "--only", "tenants")).status == 0
    assert (await ekb("backlog", "health", db, "--only", "unconfirmed")).status == 1


@pytest.mark.parametrize("text", ["10 minutes", "-1s", "1.5h", "m", ""])
async def test_wrong_durations(tmp_path: Path, text: str) -> None:
    ended = await ekb("backlog", "health", await added(tmp_path / "b.sqlite"), "--max-age", text)
    assert (ended.status, ended.output) == (2, b"")
    assert "give a whole number with s, m, h or d, such as 10m" in ended.messages


async def test_no_file(tmp_path: Path) -> None:
    """A wrong name is a wrong setting, and nothing is created."""
    assert (await ekb("backlog", "health", tmp_path / "none.sqlite")).status == 2
    assert names_in(tmp_path) == []


async def test_an_older_file(tmp_path: Path) -> None:
    """It is a problem, and not upgraded."""
    path = tmp_path / "old.sqlite"
    async with Backlog.open(path):
        pass
    older = len(steps("backlog_file")) - 1
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {older}")
    ended = await ekb("backlog", "health", path)
    assert ended.status == 1
    assert b"this backlog is of an older version" in ended.output
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (older,)


async def test_older_tables(database: str) -> None:
    """They are a problem, and not upgraded."""
    await alter(database, "", "COMMENT ON TABLE ekb_call IS 'ekb-async tables, version 1'")
    ended = await ekb("backlog", "health", database)
    assert ended.status == 1
    assert b"is of an older version" in ended.output
    connection = await asyncpg.connect(database)
    try:
        found = await connection.fetchval("SELECT obj_description('ekb_call'::regclass)")
    finally:
        await connection.close()
    assert found == "ekb-async tables, version 1"


async def test_a_database_that_is_away() -> None:
    """A refused connection and a server that never answers are problems, within the time limit."""
    ended = await ekb("backlog", "health", "postgresql://u:5ecret@127.0.0.1:1/d", "--timeout", "0.4")
    assert ended.status == 1
    assert b"the PostgreSQL database is away" in ended.output

    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        await writer.drain()

    async with server(silent) as (url, _):
        db = url.replace("http://", "postgresql://u:5ecret@") + "/d"
        began = time.monotonic()
        ended = await ekb("backlog", "health", db, "--timeout", "0.3", "--json")
        assert time.monotonic() - began < 10
    assert ended.status == 1
    found = msgspec.json.decode(ended.output, type=BacklogHealth)
    assert [(each.check, each.text) for each in found.problems] == [
        ("backlog", "the backlog has not answered within 0.3 s")
    ]
    assert "5ecret" not in ended.output.decode() + ended.messages


async def test_tables_that_are_locked(database: str) -> None:
    """A statement that waits for a lock is given up at the time limit."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ekb_call, ekb_run")
            ended = await ekb("backlog", "health", database, "--timeout", "0.5")
    finally:
        await connection.close()
    assert (ended.status, ended.output) == (1, b"the backlog has not answered within 0.5 s\n")


async def test_one_connection(database: str) -> None:
    """A probe opens one connection."""
    connection = await asyncpg.connect(database)
    try:
        sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        flush = "SELECT pg_stat_force_next_flush()"
        await connection.execute(flush)
        before = await connection.fetchval(sessions)
        assert (await ekb("backlog", "health", database, "--max-age", "10m")).status == 0

        await connection.execute(flush)
        assert await connection.fetchval(sessions) - before == 1
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "runs"], "--only runs needs --need-run or --on-this-host"),
        (["--only", "age"], "--only age needs --max-age"),
        (["--only", "tenants", "--max-age", "1h"], "--max-age has no effect without --only age"),
        (["--only", "age", "--max-age", "1h", "--need-run"], "has no effect without --only runs"),
    ],
)
async def test_a_probe_that_would_find_nothing(place: Location, options: list[str], message: str) -> None:
    """A check without a rule, and a rule whose check is left out, are refused instead of being well for ever."""
    db = await added(place)
    ended = await ekb("backlog", "health", db, *options)
    assert (ended.status, message in ended.messages) == (2, True)
