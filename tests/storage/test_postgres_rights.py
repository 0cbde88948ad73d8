"""The rights that the documentation gives a role are enough, and none of them can be left out."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.errors import StorageError
from ekb_async.postgres import PostgresPace, PostgresTokens
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest
from tests.support.pages import ROOT

PAGE = ROOT / "docs" / "en" / "operating.md"


def documented_grants() -> list[str]:
    """Return the statements of the page."""
    block = re.search(r"^```sql\n(CREATE ROLE .*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].strip().splitlines()


async def dsn_of_role(database: str, *, without: str = "") -> str:
    """Create the role of the page for the database of a test, except for one grant, and return its DSN."""
    name = database.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(database)
    await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM public; REVOKE ALL ON SCHEMA public FROM public")
    for statement in documented_grants():
        if not without or without not in statement:
            await connection.execute(re.sub(r"\bekb\b", name, statement).replace("ekb_app", f"app_{name}"))
    await connection.close()
    return database.replace("//postgres:@", f"//app_{name}@")


async def add_run_and_copy(dsn: str, directory: Path) -> int:
    rows = manifest(directory, *(f"ocr,https://f.example/{n},,,,r{n}" for n in range(3)))
    async with (
        Sandbox(ocr_rate=0) as box,
        EkbSession(
            box.credentials, base_url=box.base_url, pacer=PostgresPace(dsn), token_store=PostgresTokens(dsn)
        ) as ekb,
        Backlog.open(dsn) as backlog,
        Backlog.open(directory / "copy.sqlite") as copy,
    ):
        await backlog.add_manifest(rows)
        await backlog.run(ekb)
        await backlog.copy_to(copy)
        await copy.copy_to(backlog)
        await backlog.remove([1], paid=True)
        return await backlog.export(directory / "out.jsonl")


async def test_the_documented_rights_are_enough(database: str, tmp_path: Path) -> None:
    """A role with these rights adds, runs, copies, removes and exports."""
    assert await add_run_and_copy(await dsn_of_role(database), tmp_path) == 2


@pytest.mark.parametrize("grant", ["TEMPORARY", "ON ALL TABLES", "ON ALL SEQUENCES"])
async def test_each_right_is_needed(database: str, tmp_path: Path, grant: str) -> None:
    """Without one of them the error says which are needed."""
    dsn = await dsn_of_role(database, without=grant)
    if grant == "TEMPORARY":
        name = database.partition("?")[0].rpartition("/")[2]
        connection = await asyncpg.connect(database)
        await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO app_{name}")
        await connection.close()
    with pytest.raises(StorageError, match=r"lacks a right in the PostgreSQL database .*permission denied.*USAGE on"):
        await add_run_and_copy(dsn, tmp_path)
