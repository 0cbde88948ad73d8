"""Statements with values bound by name give the same on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import NamedTuple

import asyncpg
import pytest

from ekb_async.storage.postgres.statements import PostgresStatements
from ekb_async.storage.sqlite.statements import SqliteStatements
from ekb_async.storage.statements import Statements

Opened = Callable[[], AbstractAsyncContextManager[Statements]]


class Item(NamedTuple):
    id: int
    name: str


class Found(NamedTuple):
    name: str
    id: int


INSERT = {
    "file": "INSERT INTO item (id, name) VALUES (:id, :name || :ending)",
    "postgres": """INSERT INTO item (id, name)
        SELECT id, name || :ending FROM unnest(:id::int[], :name::text[]) AS new (id, name)""",
}
UPDATE = {
    "file": "UPDATE item SET name = :name WHERE id = :id",
    "postgres": """UPDATE item SET name = new.name FROM unnest(:id::int[], :name::text[]) AS new (id, name)
        WHERE item.id = new.id RETURNING item.id""",
}
UPDATE_AT_ONCE = UPDATE | {"file": "UPDATE item SET name = record.name FROM record WHERE item.id = record.id"}
AMONG = {
    "file": "SELECT id, name FROM item WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id",
    "postgres": "SELECT id, name FROM item WHERE id = ANY(:ids::int[]) ORDER BY id",
}


@pytest.fixture(params=["file", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest) -> Opened:
    dsn: str = request.getfixturevalue("empty_database") if kind == "postgres" else ""

    @asynccontextmanager
    async def open_() -> AsyncIterator[Statements]:
        if kind == "file":
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
                yield SqliteStatements(file)
            return
        connection = await asyncpg.connect(dsn)
        yield PostgresStatements(connection)
        await connection.close()

    return open_


async def test_values_are_bound_by_name(kind: str, opened: Opened) -> None:
    """Records and values are bound, and rows read, whatever the order of their columns; other values are ignored."""
    async with opened() as statements:
        await statements.script("CREATE TABLE item (id integer, name text);\nCREATE INDEX item_name ON item (name)")
        await statements.write(INSERT[kind], [Item(1, "a"), Item(2, "b"), Item(3, "c")], ending="!", other=0)
        assert await statements.fetch_as(Found, AMONG[kind], ids=[1, 3]) == [Found("a!", 1), Found("c!", 3)]
        assert await statements.value("SELECT count(*) FROM item") == 3
        assert await statements.execute("DELETE FROM item WHERE name = :name OR id = :id", name="a!", id=2) == 2


async def test_updates_that_find_no_row(kind: str, opened: Opened) -> None:
    """Of several updates, those are reported that have found their row."""
    async with opened() as statements:
        await statements.script("CREATE TABLE item (id integer, name text)")
        await statements.write(INSERT[kind], [Item(1, "a"), Item(2, "b")], ending="")
        assert set(await statements.update_each(UPDATE[kind], [Item(1, "c"), Item(2, "d")])) == {1, 2}
        assert set(await statements.update_each(UPDATE[kind], [Item(2, "e"), Item(9, "f")])) == {2}
        assert set(await statements.update_each(UPDATE[kind], [])) == set()
        assert await statements.fetch_as(Item, AMONG[kind], ids=[1, 2, 9]) == [Item(1, "c"), Item(2, "e")]


async def test_updates_of_many_records_at_once(kind: str, opened: Opened) -> None:
    """A statement may take its records from a table instead: each is written once, and those without a row are found.

    The values that all records share are bound as well.
    """
    statement = UPDATE_AT_ONCE[kind].replace("record.name", "record.name || :ending")
    statement = statement.replace("new.name FROM", "new.name || :ending FROM")
    async with opened() as statements:
        await statements.script("CREATE TABLE item (id integer, name text)")
        await statements.write(INSERT[kind], [Item(n, "old") for n in range(1000)], ending="")
        changed = [Item(n, f"new {n}") for n in range(0, 1246, 2)]
        await statements.write(statement, changed[:123], ending="!")
        assert await statements.value("SELECT count(*) FROM item WHERE name LIKE '%!'") == 123
        assert set(await statements.update_each(statement, changed, ending="?")) == set(range(0, 1000, 2))
        found = await statements.fetch_as(Item, AMONG[kind], ids=[0, 1, 244, 998, 1000])
        assert found == [Item(0, "new 0?"), Item(1, "old"), Item(244, "new 244?"), Item(998, "new 998?")]
        await statements.write(statement, [], ending="")
