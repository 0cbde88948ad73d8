"""Changes of stored calls behind the back of a backlog, such as those that only time would make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg

from tests.support.backlog_stores import Location


async def alter(place: Location, file_statement: str, database_statement: str | None = None) -> None:
    """Execute a statement on a file or a database; `calls` and `runs` are the tables in both, unless two are given."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as file:
            file.create_function("now", 0, lambda: 0.0)
            file.execute(file_statement)
            file.commit()
        return
    connection = await asyncpg.connect(place)
    try:
        given = database_statement or file_statement.replace(" calls", " ekb_call").replace(" runs", " ekb_run")
        await connection.execute(given)
    finally:
        await connection.close()


async def let_calls_age(place: Location, seconds: float, where: str = "true") -> None:
    """Let calls be added so many seconds earlier."""
    await alter(place, f"UPDATE calls SET added_at = added_at - {seconds} WHERE {where}")  # noqa: S608 - a test's own text


async def hold_calls(place: Location, where: str) -> None:
    """Let calls be held, as a pause does."""
    await alter(
        place,
        f"UPDATE calls SET due_at = 9e999 WHERE {where}",  # noqa: S608 - a test's own text
        f"UPDATE ekb_call SET due_at = 'infinity' WHERE {where}",  # noqa: S608 - a test's own text
    )


async def let_wait_for_another_day(place: Location, where: str) -> None:
    """Let calls be due in another year."""
    await alter(place, f"UPDATE calls SET due_at = 9e99 WHERE {where}")  # noqa: S608 - a test's own text
