"""The tables of an engine are created together with those of the package."""

from __future__ import annotations

import asyncio
from types import ModuleType

import asyncpg
import pytest

from ekb_async.backlog import AddReport
from ekb_async.errors import StorageError

pytest.importorskip("pgqueuer")
pytest.importorskip("procrastinate")

from ekb_async.ext import pgqueuer, procrastinate


@pytest.fixture(params=[pgqueuer, procrastinate], ids=["pgqueuer", "procrastinate"])
def engine(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


async def test_any_number_of_processes_create_the_tables(engine: ModuleType, empty_database: str) -> None:
    """Of those that start at once, one creates all tables, those of the engine too, and none fails."""
    reports = await asyncio.gather(*(engine.install_schema(empty_database) for _ in range(8)))
    assert sum(report.changed for report in reports) == 1
    job = pgqueuer.InvoiceJob(kind="ocr", file="https://f.example/1.png")
    assert await engine.enqueue(empty_database, [job]) == AddReport(added=1, duplicates=0)


async def test_both_engines_at_once(empty_database: str) -> None:
    """Processes that create the tables of different engines do not disturb each other."""
    modules = [pgqueuer, procrastinate] * 3
    await asyncio.gather(*(module.install_schema(empty_database) for module in modules))
    for module in (pgqueuer, procrastinate):
        assert await module.enqueue(empty_database) == AddReport(added=0, duplicates=0)


async def test_a_role_that_may_not_create_tables(engine: ModuleType, database: str) -> None:
    """The error names the engine whose tables are missing; once they exist, the role need not create any."""
    role = "limited_" + database.partition("?")[0].rpartition("/")[2]
    limited = database.replace("//postgres:@", f"//{role}@")
    connection = await asyncpg.connect(database)
    await connection.execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
    await connection.close()
    with pytest.raises(StorageError, match=r"may not create the tables of (PgQueuer|procrastinate)"):
        await engine.install_schema(limited)
    await engine.install_schema(database)
    assert not (await engine.install_schema(limited)).changed
