"""Statements on an SQLite connection; see `statements`. Lists are bound as JSON, for `json_each`.

A statement for records is executed for each of them. If it reads them from a table `record` instead, as in `UPDATE item
SET name = record.name FROM record WHERE item.id = record.id`, it is executed for many at once. That is faster where the
table has many indexes, since to prepare for changing them costs as much as to change a row.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from ekb_async.storage.statements import numbered

T = TypeVar("T")

_FIELD = re.compile(r"\brecord\.(\w+)")
_RECORDS_AT_ONCE = (100, 10, 1)
"""Few different numbers, because SQLite compiles a statement for each of them."""


class _Call(Protocol):
    def __call__(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


class _Pick(Protocol):
    def __call__(self, record: NamedTuple, /) -> tuple[Any, ...]: ...


async def _at_once(function: Callable[..., T], /, *args: Any) -> T:
    return function(*args)


class SqliteStatements:
    """Statements on a connection, which are executed in the current thread, or in the one that `call` uses."""

    def __init__(self, connection: sqlite3.Connection, call: _Call = _at_once) -> None:
        self.connection = connection
        self._call = call

    async def fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        return await self._call(lambda: self._execute(query, values).fetchall())

    async def fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        return await self._call(lambda: list(_as(kind, self._execute(query, values))))

    async def fetch_each(
        self, kind: Callable[..., T], query: str, records: Sequence[NamedTuple], /, **values: object
    ) -> list[T]:
        def fetch() -> list[T]:
            text, rows = _bound(query, records, values)
            return [found for row in rows for found in _as(kind, self.connection.execute(text, row))]

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
        await self._call(self._write, statement, records, values)

    async def update_each(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> set[int]:
        def update() -> set[int]:
            if self._write(statement, records, values) == len(records):
                return {record[0] for record in records}
            # Rarely a row is not found, and then each record is written again to see which.
            return {record[0] for record in records if self._write(statement, [record], values)}

        return await self._call(update)

    def _write(self, statement: str, records: Sequence[NamedTuple], values: dict[str, object]) -> int:
        """Execute a statement for records, and return how many rows it has changed."""
        before = self.connection.total_changes
        if _FIELD.search(statement):
            for part in _parts(records):
                text, names, pick = _for_many(statement, len(part), part[0]._fields)
                fields = itertools.chain.from_iterable(map(pick, part))
                self.connection.execute(text, [*(values[name] for name in names), *fields])
        else:
            self.connection.executemany(*_bound(statement, records, values))
        return self.connection.total_changes - before

    def _execute(self, query: str, values: dict[str, object]) -> sqlite3.Cursor:
        text, names = numbered(query, "?")
        return self.connection.execute(text, [_storable(values[name]) for name in names])


def _storable(value: object) -> object:
    return msgspec.json.encode(value).decode() if isinstance(value, list | tuple) else value


def _bound(
    statement: str, records: Sequence[tuple[object, ...]], values: dict[str, object]
) -> tuple[str, Iterable[Sequence[object]]]:
    """Return a statement with numbered values, and the values for each of the records in that order."""
    text, names = numbered(statement, "?")
    if not records:
        return text, ()
    known, common = (*records[0]._fields, *values), tuple(values.values())  # type: ignore[attr-defined]
    pick = itemgetter(*map(known.index, names))
    return text, (pick(record + common) for record in records)


def _parts(records: Sequence[NamedTuple]) -> Iterator[Sequence[NamedTuple]]:
    """Yield records in parts of as many as are written at once."""
    begin = 0
    for size in _RECORDS_AT_ONCE:
        while begin + size <= len(records):
            yield records[begin : begin + size]
            begin += size


@cache
def _for_many(statement: str, count: int, known: tuple[str, ...]) -> tuple[str, tuple[str, ...], _Pick]:
    """Return a statement that has `count` records as its table `record`, with numbered values; `known` are the fields.

    These values are those of the names, which are returned too, and then the fields that are picked from each record.
    """
    text, names = numbered(statement, "?")
    fields = tuple(dict.fromkeys(_FIELD.findall(statement)))
    number = itertools.count(len(names) + 1)
    rows = ", ".join(f"({', '.join(f'?{next(number)}' for _ in fields)})" for _ in range(count))
    table = f"WITH record ({', '.join(fields)}) AS (VALUES {rows})"
    return f"{table}\n{text}", names, itemgetter(*map(known.index, fields))


def _as(kind: Callable[..., T], cursor: sqlite3.Cursor) -> Iterator[T]:
    names = tuple(column[0] for column in cursor.description)
    if names == getattr(kind, "_fields", None):
        return map(kind._make, cursor)  # type: ignore[attr-defined]
    return (kind(**dict(zip(names, row, strict=True))) for row in cursor)
