"""Statements on an SQLite connection; see `statements`. Lists are bound as JSON, for `json_each`."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class _Call(Protocol):
    def __call__(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


async def _at_once(function: Callable[..., T], /, *args: Any) -> T:
    return function(*args)


class SqliteStatements:
    """Statements on a connection, which are executed in the current thread, or in the one that `call` uses."""

    def __init__(self, database: sqlite3.Connection, call: _Call = _at_once) -> None:
        self.connection = database
        self._call = call

    async def fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        return await self._call(lambda: self._execute(query, values).fetchall())

    async def fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        return await self._call(lambda: list(_as(kind, self._execute(query, values))))

    async def fetch_each(
        self, kind: Callable[..., T], query: str, records: Sequence[NamedTuple], /, **values: object
    ) -> list[T]:
        def fetch() -> list[T]:
            return [
                found
                for record in records
                for found in _as(kind, self.connection.execute(query, record._asdict() | values))
            ]

        return await self._call(fetch)

    async def value(self, query: str, /, **values: object) -> Any:
        return await self._call(lambda: self._execute(query, values).fetchone()[0])

    async def execute(self, statement: str, /, **values: object) -> int:
        def execute() -> int:
            # A cursor does not count the rows of a statement that begins with WITH.
            before = self.connection.total_changes
            self._execute(statement, values)
            return self.connection.total_changes - before

        return await self._call(execute)

    async def script(self, statements: str, /) -> None:
        def execute() -> None:
            for statement in statements.split(";\n"):
                self.connection.execute(statement)

        await self._call(execute)

    async def write(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> None:
        bound = (record._asdict() | values for record in records)
        await self._call(self.connection.executemany, statement, bound)

    async def update_each(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> set[int]:
        def update() -> set[int]:
            execute = self.connection.execute
            return {record[0] for record in records if execute(statement, record._asdict() | values).rowcount}

        return await self._call(update)

    def _execute(self, query: str, values: dict[str, object]) -> sqlite3.Cursor:
        bound = {
            name: msgspec.json.encode(value).decode() if isinstance(value, list | tuple) else value
            for name, value in values.items()
        }
        return self.connection.execute(query, bound)


def _as(kind: Callable[..., T], cursor: sqlite3.Cursor) -> Iterator[T]:
    names = [column[0] for column in cursor.description]
    return (kind(**dict(zip(names, row, strict=True))) for row in cursor)
