"""Versions of the tables that hosts share: they are created and upgraded once, and newer ones are refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ekb_async import StorageError
from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresPace, PostgresTokens, SchemaReport, install_schema
from ekb_async.storage.migrations.steps import steps
from ekb_async.storage.postgres import schema, version
from ekb_async.tokens.store import TokenStoreError
from tests.support.entries import entry_in
from tests.support.postgres import connected

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


LATEST = len(steps("postgres"))
NEXT = (
    "ALTER TABLE ekb_row ADD COLUMN IF NOT EXISTS note text NOT NULL DEFAULT ''",
    "CREATE INDEX IF NOT EXISTS ekb_notes ON ekb_row (note)",
)


def set_steps(patch: pytest.MonkeyPatch, *later: tuple[str, ...]) -> None:
    """Let the package have so many more versions of the tables."""
    for module in (schema, version):
        patch.setattr(module, "steps", lambda name: (*steps(name), *later))


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package have one more version of the tables, which adds a column."""
    set_steps(monkeypatch, NEXT)


async def set_for_database(dsn: str, setting: str) -> None:
    """Change a setting of all later connections to a database."""
    async with connected(dsn) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET {setting}")


async def has_note(connection: Any) -> bool:
    """Whether the next version was applied."""
    found = "SELECT count(*) FROM pg_attribute WHERE attname = 'note' AND NOT attisdropped"
    return bool(await connection.fetchval(found))


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_ten_workers_create_the_tables_together(empty_database: str, isolation: str) -> None:
    """Of any number of processes that start at once, one creates the tables, and all report the same version."""
    await set_for_database(empty_database, f"default_transaction_isolation = '{isolation}'")
    reports = await asyncio.gather(*(install_schema(empty_database) for _ in range(10)))
    assert {report.version for report in reports} == {LATEST}
    assert sorted(report.before for report in reports) == [0] + 9 * [LATEST]
    [changed] = [report for report in reports if report.changed]
    assert len(changed.created) == 17


@pytest.mark.slow
@pytest.mark.usefixtures("next_version")
async def test_present_tables_are_upgraded(database: str) -> None:
    """Tables with 100,000 rows in every state keep each of them; of several processes, one upgrades."""
    async with connected(database) as connection:
        await connection.execute(FILL)
        before = await connection.fetchrow(CONTENT)
        reports = await asyncio.gather(*(install_schema(database) for _ in range(5)))
        assert sorted(report.before for report in reports) == [LATEST] + 4 * [LATEST + 1]
        assert await has_note(connection)
        await connection.execute("ALTER TABLE ekb_row DROP COLUMN note")
        assert await connection.fetchrow(CONTENT) == before
    async with Backlog.open(database) as backlog:
        assert await backlog.counts() == dict.fromkeys(("pending", "running", "done", "failed"), 25_000)
        assert await backlog.retry() == 25_000


@pytest.mark.usefixtures("next_version")
async def test_a_migration_that_fails_changes_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of an upgrade is one transaction."""
    set_steps(monkeypatch, NEXT, ("SELECT 1 / 0",))
    async with connected(database) as connection:
        with pytest.raises(StorageError, match="division by zero"):
            await install_schema(database)
        assert not await has_note(connection)
        set_steps(monkeypatch, NEXT)
        assert await install_schema(database) == SchemaReport(before=LATEST, version=LATEST + 1)
        assert await has_note(connection)


async def test_missing_tables_are_created_beside_the_others(database: str) -> None:
    """What is missing is created in the schema of the other tables, whatever comes first in the search path."""
    async with connected(database) as connection:
        await connection.execute(
            "INSERT INTO ekb_pace VALUES ('k', 1, 2, 3, 4, 5, 6, 7, 8); DROP TABLE ekb_plan, ekb_row"
        )
        await connection.execute("CREATE SCHEMA app")
        await set_for_database(database, "search_path = app, public")
        report = await install_schema(database)
        assert report == SchemaReport(before=LATEST, version=LATEST, created=("ekb_row", "ekb_plan"))
        found = await connection.fetch("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'ekb_%'")
        assert [name for (name,) in found] == ["public"]
        assert await connection.fetchval("SELECT latest FROM ekb_pace") == 2
        assert await connection.fetchval("SELECT count(*) FROM pg_indexes WHERE indexname = 'ekb_row_by_call'") == 1
    assert not (await install_schema(database)).changed


COLUMNS = """
SELECT table_name::text, column_name::text, data_type::text, column_default::text FROM information_schema.columns
WHERE table_name LIKE 'ekb_%' ORDER BY 1, 2
"""
INDEXES = "SELECT indexname::text, indexdef FROM pg_indexes WHERE indexname LIKE 'ekb_%' ORDER BY 1"


async def tables(connection: Any) -> list[list[Any]]:
    """Return what defines the tables: their columns and indexes."""
    return [await connection.fetch(query) for query in (COLUMNS, INDEXES)]


async def install_first_version(dsn: str) -> None:
    """Create the tables as version 1 has them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (schema, version):
            patch.setattr(module, "steps", lambda name: steps(name)[:1])
        assert (await install_schema(dsn)).version == 1


@pytest.mark.slow
async def test_the_first_version_is_upgraded(empty_database: str, database: str) -> None:
    """Tables of version 1 with 100,000 rows keep each; of ten workers that start at once, one upgrades them."""
    await install_first_version(empty_database)
    async with connected(empty_database) as connection, connected(database) as fresh:
        await connection.execute(FILL)
        reports = await asyncio.gather(*(install_schema(empty_database) for _ in range(10)))
        assert sorted(report.before for report in reports) == [1] + 9 * [LATEST]
        assert await tables(connection) == await tables(fresh)
        assert await connection.fetchval("SELECT count(*) FROM ekb_row WHERE date = ''") == 100_000
        assert await connection.fetchval("SELECT count(*) FROM ekb_call WHERE due_at IS NULL AND waits = 0") == 100_000
    async with Backlog.open(empty_database) as backlog:
        assert await backlog.counts() == dict.fromkeys(("pending", "running", "done", "failed"), 25_000)
        assert (await backlog.waiting()).rows == 0
        assert await backlog.retry() == 25_000


@pytest.mark.parametrize("lost", ["ekb_row", "ekb_call", "ekb_call, ekb_row, ekb_plan", "ekb_token"])
async def test_a_lost_table_is_created_as_the_latest_version_has_it(
    database: str, empty_database: str, lost: str
) -> None:
    """Whichever tables are missing, also the one with the version, all are of the latest version afterwards."""
    await install_schema(empty_database)
    async with connected(database) as connection, connected(empty_database) as fresh:
        await connection.execute(f"DROP TABLE {lost}")
        report = await install_schema(database)
        assert (report.version, sorted(report.created)) == (LATEST, sorted(lost.split(", ")))
        assert await tables(connection) == await tables(fresh)
    assert await install_schema(database) == SchemaReport(before=LATEST, version=LATEST)


async def test_a_newer_version_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a newer version are left as they are, and the error says to update the package."""
    with monkeypatch.context() as newer:
        set_steps(newer, ("SELECT 1",))
        assert (await install_schema(database)).version == LATEST + 1
    expected = f"have version {LATEST + 1}, this program supports up to {LATEST}: update ekb-async"
    with pytest.raises(StorageError, match=expected):
        await install_schema(database)
    with pytest.raises(StorageError, match=expected):
        async with Backlog.open(database):
            pass
    pace = PostgresPace(database).pace("call", 1.0, 0.0, 1.0)
    with pytest.raises(StorageError, match=expected):
        await pace.claim()
    await pace.close()
    async with entry_in(PostgresTokens(database)) as entry:
        with pytest.raises(TokenStoreError, match=expected):
            await entry.read()


@pytest.mark.parametrize("upgraded", [False, True])
async def test_a_role_without_rights_to_create(
    database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, upgraded: bool
) -> None:
    """A role with rights on the tables only can use those that are up to date, before and after an upgrade."""
    role = "limited_" + database.partition("?")[0].rpartition("/")[2]
    dsn = database.replace("//postgres:@", f"//{role}@")
    async with connected(database) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
        await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    if upgraded:
        request.getfixturevalue("next_version")
        expected = f"have version {LATEST}, this program needs version {LATEST + 1}, and this role may not"
        with pytest.raises(StorageError, match=expected):
            await install_schema(dsn)
        assert (await install_schema(database)).changed
    latest = LATEST + 1 if upgraded else LATEST
    assert await install_schema(dsn) == SchemaReport(before=latest, version=latest)
    pace = PostgresPace(dsn).pace("call", 1.0, 0.0, 1.0)
    assert await pace.claim() > 0
    await pace.close()
