"""The lease of a run on a shared database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import ekb_async
from ekb_async.backlog import BacklogTiming
from ekb_async.backlog.store.postgres.sql.call_sql import IS_ENTERED
from ekb_async.errors import ConfigError, EkbConnectionError
from ekb_async.storage.postgres.lease import RunLease, take_dead
from ekb_async.storage.postgres.statements import PostgresStatements
from tests.support.fast_times import DEAD_AFTER
from tests.support.postgres import IS_WAITED_FOR, Postgres, connected, cut_lock_holders, lock_holders
from tests.support.waiting import until, until_in_database

HOLDER = """
import asyncio, sys
from ekb_async.storage.postgres.lease import RunLease

async def main(dsn):
    lease = await RunLease.take(dsn, hold_unknown=False)
    print(lease.run_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""

ALL_UNSEEN = "UPDATE ekb_run SET seen = seen - 3600"
RUNNING_CALL = """
INSERT INTO ekb_call (tenant, identity, kind, state, row_id, run_id) VALUES ('', 'x', 'ocr', 'running', 1, $1)
"""
DEAD_RUN = "INSERT INTO ekb_run (host, pid, started_at, seen, hold_unknown) VALUES ('h', 1, 0, 0, false)"


async def dead_on(connection: Any, dead_after: float = DEAD_AFTER) -> list[int]:
    async with connection.transaction():
        return await take_dead(connection, patient=False, dead_after=dead_after)


async def until_dead(connection: Any, *run_ids: int, dead_after: float = DEAD_AFTER) -> None:
    """Wait until these runs are dead, and no others; any run if none is named."""

    async def are() -> bool:
        dead = await dead_on(connection, dead_after)
        return dead == list(run_ids) if run_ids else bool(dead)

    await until(are)


@asynccontextmanager
async def holder(dsn: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Start a process with a lease, and yield it with the number of its run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", HOLDER, dsn),
        env={**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield process, int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("place", ["DSN", "pool"])
async def test_a_run_is_alive_until_it_is_released(database: str, place: str) -> None:
    """A run that holds its lock is alive, however long it was not seen; its release deletes the entry."""
    async with connected(database) as connection:
        pool = await asyncpg.create_pool(database, min_size=0) if place == "pool" else None
        one = await RunLease.take(pool or database, hold_unknown=False)
        two = await RunLease.take(pool or database, hold_unknown=True)
        assert one.run_id != two.run_id
        await connection.execute(ALL_UNSEEN)
        assert await dead_on(connection) == []
        await one.release()
        await one.release()
        assert await connection.fetch("SELECT id, hold_unknown FROM ekb_run") == [(two.run_id, True)]
        await two.release()
        if pool is not None:
            await pool.close()
        assert await lock_holders(connection) == []


async def test_an_entry_with_calls_is_left_to_other_runs(database: str) -> None:
    """A run that ends without settling its calls is dead as soon as it has not been seen for a while."""
    async with connected(database) as connection:
        held = await RunLease.take(database, hold_unknown=False)
        await connection.execute(RUNNING_CALL, held.run_id)
        await held.release()
        await until_dead(connection, held.run_id)


async def test_an_entry_with_a_claim_under_way_is_left_to_other_runs(database: str) -> None:
    """A claim that is committed while its run is released leaves no call without an entry."""
    async with connected(database) as connection, connected(database) as claiming:
        held = await RunLease.take(database, hold_unknown=False)
        async with claiming.transaction():
            assert await PostgresStatements(claiming).value(IS_ENTERED, run_id=held.run_id)
            await claiming.execute(RUNNING_CALL, held.run_id)
            leaving = asyncio.create_task(held.release())
            await until_in_database(connection, IS_WAITED_FOR)
            assert not leaving.done()
        await leaving
        await until_dead(connection, held.run_id)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_killed_process_is_dead_and_a_stopped_one_is_not(database: str) -> None:
    """The lock ends with the process; a stopped process keeps it."""
    async with connected(database) as connection, holder(database) as (process, run_id):
        process.send_signal(signal.SIGSTOP)
        await connection.execute(ALL_UNSEEN)
        assert await dead_on(connection) == []
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await until_dead(connection, run_id)


async def test_one_at_a_time_settles_a_dead_run(database: str) -> None:
    """A dead run that a transaction has taken is not given to another one; after a rollback it is."""
    async with connected(database) as one, connected(database) as two:
        await one.execute(DEAD_RUN)
        await until_dead(one)
        transaction = one.transaction()
        await transaction.start()
        assert len(await take_dead(one, patient=False, dead_after=DEAD_AFTER)) == 1
        assert await dead_on(two) == []
        await transaction.rollback()
        assert len(await dead_on(two)) == 1


async def test_a_clock_that_was_set_back(database: str) -> None:
    """A run that was seen an hour from now was seen before the clock was set back; it is dead without its lock."""
    async with connected(database) as connection:
        held = await RunLease.take(database, hold_unknown=False)
        await connection.execute(DEAD_RUN)
        await connection.execute("UPDATE ekb_run SET seen = extract(epoch FROM now()) + 3600")
        await until_dead(connection, await connection.fetchval("SELECT id FROM ekb_run WHERE started_at = 0"))
        await held.release()


async def test_no_run_is_dead_for_a_new_connection(database: str) -> None:
    """A run that was not seen for long may only have lost its connection, as the caller with a new one has."""
    async with connected(database) as one:
        await one.execute(
            "INSERT INTO ekb_run (host, pid, started_at, seen, hold_unknown) VALUES ('h', 1, 0, 0, false)"
        )
        await until_dead(one, dead_after=1.0)
        async with connected(database) as new, new.transaction():
            assert await take_dead(new, patient=True, dead_after=1.0) == []
            assert len(await take_dead(new, patient=False, dead_after=1.0)) == 1

        async def is_dead() -> bool:
            async with one.transaction():
                return bool(await take_dead(one, patient=True, dead_after=1.0))

        await until(is_dead)


async def test_a_run_that_was_considered_dead_comes_back(database: str) -> None:
    """Its entry is inserted again under its number, and its lock is taken again over a new connection."""
    async with connected(database) as connection:
        held = await RunLease.take(database, hold_unknown=True)
        await connection.execute("DELETE FROM ekb_run")
        await cut_lock_holders(connection)

        async def is_back() -> bool:
            entered = await connection.fetchval("SELECT EXISTS (SELECT 1 FROM ekb_run WHERE hold_unknown)")
            return bool(entered and await lock_holders(connection))

        await until(is_back)
        await connection.execute(ALL_UNSEEN)
        assert await dead_on(connection) == []
        await held.release()


async def test_a_crash_of_the_database_kills_no_run(own_postgres: Postgres) -> None:
    """A restarted server has no locks, and until it has been up for a while no run is dead; runs take theirs again."""
    held = await RunLease.take(own_postgres.dsn, hold_unknown=False)
    await own_postgres.crash()
    await own_postgres.start()
    async with connected(own_postgres.dsn) as connection:
        await connection.execute(ALL_UNSEEN)
        assert await dead_on(connection, dead_after=600.0) == []

        async def is_locked_again() -> bool:
            return await lock_holders(connection) != []

        await until(is_locked_again)
    await held.release()


async def test_a_lease_that_cannot_be_taken(empty_database: str) -> None:
    """The errors for missing tables, a malformed DSN and a database that is away do not show the DSN."""
    with pytest.raises(ConfigError, match="install_schema"):
        await RunLease.take(empty_database, hold_unknown=False)
    with pytest.raises(ConfigError, match="DSN") as malformed:
        await RunLease.take("postgresql://user:TOPSECRET@h:port/db", hold_unknown=False)
    assert "TOPSECRET" not in repr(malformed.value)
    timing = BacklogTiming(patience=0.2)
    with pytest.raises(EkbConnectionError, match="away") as away:
        await RunLease.take("postgresql://user:TOPSECRET@127.0.0.1:1/db", hold_unknown=False, timing=timing)
    assert "TOPSECRET" not in repr(away.value)


async def test_a_release_does_not_wait_for_the_database(own_postgres: Postgres) -> None:
    """While the database is away a lease can be released, and no task of it is left."""
    held = await RunLease.take(own_postgres.dsn, hold_unknown=False)
    await own_postgres.crash()
    await held.release()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "ekb lease"]
    await own_postgres.start()
