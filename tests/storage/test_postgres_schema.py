"""Versions of the tables that hosts share: they are created and upgraded once, and newer ones are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from ekb_async import ConfigError
from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresPace, SchemaReport, install_schema
from ekb_async.storage.migrations.steps import steps

LATEST = len(steps("postgres"))

FILL = """
WITH calls AS (
    INSERT INTO ekb_call (tenant, identity, kind, state, row_id, run_id, sent, attempts, error_type, error, result)
    SELECT 'acme', n::text, 'url', (ARRAY['pending', 'running', 'done', 'failed'])[n % 4 + 1], n,
        CASE WHEN n % 4 = 1 THEN 7 END, (n % 4 = 1)::int, (n % 4 > 1)::int,
        CASE WHEN n % 4 = 3 THEN 'ServerError' ELSE '' END, '', CASE WHEN n % 4 = 2 THEN '{}'::bytea END
    FROM generate_series(1, 100000) AS n RETURNING id, row_id
)
INSERT INTO ekb_row (call_id, manifest_id, line, ref, file, invoice_id, staff_id, file_name)
SELECT id, 1, row_id, 'EXP-' || row_id, '', 'corp:1:' || row_id, '', '' FROM calls ORDER BY row_id
"""
CONTENT = """
SELECT (SELECT md5(string_agg(call::text, ',' ORDER BY call.id)) FROM ekb_call AS call),
    (SELECT md5(string_agg(each::text, ',' ORDER BY each.id)) FROM ekb_row AS each)
"""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """A connection to a database."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def create_version_1(connection: Any) -> None:
    """Create the tables as they were before they had versions."""
    for statement in steps("postgres")[0]:
        await connection.execute(statement)


async def test_ten_workers_create_the_tables_together(empty_database: str) -> None:
    """Of any number of processes that start at once, one creates the tables, and all report the same version."""
    reports = await asyncio.gather(*(install_schema(empty_database) for _ in range(10)))
    assert {report.version for report in reports} == {LATEST}
    assert sorted(report.before for report in reports) == [0] + 9 * [LATEST]
    assert [report.changed for report in reports].count(True) == 1
    async with connected(empty_database) as connection:
        versions = await connection.fetch("SELECT version FROM ekb_schema ORDER BY version")
    assert [version for (version,) in versions] == list(range(1, LATEST + 1))


@pytest.mark.slow
async def test_tables_without_a_version_are_upgraded(empty_database: str) -> None:
    """Tables from before there were versions, with 100,000 rows in every state, keep each of them."""
    async with connected(empty_database) as connection:
        await create_version_1(connection)
        await connection.execute(FILL)
        before = await connection.fetchrow(CONTENT)
        reports = await asyncio.gather(*(install_schema(empty_database) for _ in range(3)))
        assert SchemaReport(before=1, version=LATEST) in reports
        assert await connection.fetchrow(CONTENT) == before
    async with Backlog.open(empty_database) as backlog:
        assert await backlog.counts() == dict.fromkeys(("pending", "running", "done", "failed"), 25_000)
        assert await backlog.retry() == 25_000


async def test_some_missing_tables_are_created(empty_database: str) -> None:
    """An early database that lacks some of the tables gets them, and keeps what is in the others."""
    async with connected(empty_database) as connection:
        await create_version_1(connection)
        await connection.execute("DROP TABLE ekb_plan; INSERT INTO ekb_pace VALUES ('k', 1, 2, 3, 4, 5, 6, 7, 8)")
        assert await install_schema(empty_database) == SchemaReport(before=0, version=LATEST)
        assert await connection.fetchval("SELECT count(*) FROM ekb_plan") == 0
        assert await connection.fetchval("SELECT latest FROM ekb_pace") == 2


async def test_a_newer_version_is_refused(database: str) -> None:
    """Tables of a newer version are left as they are, and the error says to update the package."""
    async with connected(database) as connection:
        await connection.execute("INSERT INTO ekb_schema (version) VALUES (99)")
    expected = f"of version 99, this program knows up to {LATEST}: update ekb-async"
    with pytest.raises(ConfigError, match=expected):
        await install_schema(database)
    with pytest.raises(ConfigError, match=expected):
        async with Backlog.open(database):
            pass


async def test_a_role_without_rights_to_create(empty_database: str) -> None:
    """A role that may not create tables can use those that are up to date; for older ones the error says what to do."""
    role = "limited_" + empty_database.partition("?")[0].rpartition("/")[2]
    dsn = empty_database.replace("//postgres:@", f"//{role}@")
    async with connected(empty_database) as connection:
        await create_version_1(connection)
        await connection.execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
        await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        with pytest.raises(ConfigError, match=f"of version 1, this program needs version {LATEST}, and this role may"):
            await install_schema(dsn)
        assert (await install_schema(empty_database)).changed
        await connection.execute(f"GRANT SELECT ON ekb_schema TO {role}")
    assert await install_schema(dsn) == SchemaReport(before=LATEST, version=LATEST)
    pace = PostgresPace(dsn).pace("call", 1.0, 0.0, 1.0)
    assert await pace.claim() > 0
    await pace.close()
