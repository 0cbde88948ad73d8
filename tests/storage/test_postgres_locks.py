"""Backlogs in two schemas of one database share no lock, and workers of the version before are excluded by all."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresTokens, install_schema
from ekb_async.storage.postgres.lease import RunLease
from ekb_async.tokens.store import TokenStoreError
from tests.storage.test_postgres_lease import ALL_UNSEEN, DEAD_RUN, dead_on, holder, until_dead
from tests.support.backlogs import manifest
from tests.support.postgres import IS_WAITED_FOR, connected
from tests.support.waiting import DEADLINE, until_in_database

FORMER = 0x656B62

KEY, SECRET = "ab" * 32, "5ecret"


@pytest.fixture
async def schemas(empty_database: str) -> tuple[str, str]:
    """The DSNs of two schemas of a database, each with the tables."""
    async with connected(empty_database) as connection:
        await connection.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    one, two = (f"{empty_database}&options=-csearch_path%3D{name}" for name in ("one", "two"))
    await install_schema(one)
    await install_schema(two)
    return one, two


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_killed_run_is_dead_while_that_of_another_schema_lives(schemas: tuple[str, str]) -> None:
    """Runs with the same number in two schemas are separate; that of the other schema keeps none alive."""
    living = await RunLease.take(schemas[1], hold_unknown=False)
    async with connected(schemas[0]) as connection, holder(schemas[0]) as (process, run_id):
        assert living.run_id == run_id
        await connection.execute(ALL_UNSEEN)
        assert await dead_on(connection) == []
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await until_dead(connection, run_id)
        async with connected(schemas[1]) as other:
            await other.execute(ALL_UNSEEN)
            assert await dead_on(other) == []
    await living.release()


async def test_a_worker_of_the_version_before_is_alive(database: str) -> None:
    """Each version takes the runs of the other for alive as long as they hold their locks."""
    async with connected(database) as former, connected(database) as connection:
        await former.execute(DEAD_RUN)
        run_id = await former.fetchval("SELECT max(id) FROM ekb_run")
        assert await former.fetchval("SELECT pg_try_advisory_lock($1, $2)", FORMER, run_id)
        assert await dead_on(connection) == []
        await former.execute("SELECT pg_advisory_unlock_all()")
        await until_dead(connection, run_id)
        present = await RunLease.take(database, hold_unknown=False)
        assert not await former.fetchval("SELECT pg_try_advisory_lock($1, $2)", FORMER, present.run_id)
        await present.release()
        assert await former.fetchval("SELECT pg_try_advisory_lock($1, $2)", FORMER, present.run_id)


async def test_adding_rows_waits_for_its_own_schema_only(tmp_path: Path, schemas: tuple[str, str]) -> None:
    """While rows are added in a schema, others are added in another; a program of the version before is waited for."""
    async with connected(schemas[0]) as connection, AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(Backlog.open(dsn)) for dsn in schemas]
        await two.add_manifest(manifest(tmp_path, "url,,c:1:1,,,"))
        async with connection.transaction():
            await connection.execute("LOCK TABLE ekb_row IN ACCESS EXCLUSIVE MODE")
            adding = asyncio.create_task(one.add_manifest(manifest(tmp_path, "url,,c:1:1,,,")))
            await until_in_database(connection, IS_WAITED_FOR)
            async with asyncio.timeout(DEADLINE):
                await two.add_manifest(manifest(tmp_path, "url,,c:1:2,,,", name="later.csv"))
            assert not adding.done()
        await adding
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", FORMER)
            adding = asyncio.create_task(one.add_manifest(manifest(tmp_path, "url,,c:1:3,,,", name="last.csv")))
            await until_in_database(connection, IS_WAITED_FOR)
            assert not adding.done()
        assert (await adding).added == 1


async def test_tokens_are_locked_for_their_own_schema_only(schemas: tuple[str, str]) -> None:
    """The same enterprise's token may be fetched in two schemas at the same time, and once in each."""
    one, two = (PostgresTokens(dsn).entry(KEY, SECRET) for dsn in schemas)
    async with one.lock(30), two.lock(30):
        with pytest.raises(TokenStoreError, match="has been fetching a token"):
            await two.lock(0.1).__aenter__()
    await one.close()
    await two.close()


async def test_a_token_is_not_fetched_by_two_versions_at_once(database: str) -> None:
    """A process of the version before and one of this version exclude each other."""
    number = int.from_bytes(hashlib.sha256(f"ekb_token {KEY}".encode()).digest()[:8], signed=True)
    entry = PostgresTokens(database).entry(KEY, SECRET)
    async with connected(database) as former:
        assert await former.fetchval("SELECT pg_try_advisory_lock($1)", number)
        with pytest.raises(TokenStoreError, match="has been fetching a token"):
            await entry.lock(0.1).__aenter__()
        assert await former.fetchval("SELECT pg_advisory_unlock($1)", number)
        async with entry.lock(30):
            assert not await former.fetchval("SELECT pg_try_advisory_lock($1)", number)
        await until_in_database(former, "pg_try_advisory_lock($1)", number)
    await entry.close()


async def test_tables_are_created_in_two_schemas_at_the_same_time(schemas: tuple[str, str]) -> None:
    """Creating tables in a schema does not wait until those of another have been created."""
    async with connected(schemas[0]) as one, connected(schemas[1]) as two:
        await one.execute("DROP TABLE ekb_plan")
        await two.execute("DROP TABLE ekb_plan")
        async with two.transaction():
            await two.execute("LOCK TABLE ekb_call IN ACCESS EXCLUSIVE MODE")
            waiting = asyncio.create_task(install_schema(schemas[1]))
            await until_in_database(two, IS_WAITED_FOR)
            async with asyncio.timeout(DEADLINE):
                assert (await install_schema(schemas[0])).created == ("ekb_plan",)
            assert not waiting.done()
        assert (await waiting).created == ("ekb_plan",)
