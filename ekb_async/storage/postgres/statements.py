"""Statements on a PostgreSQL connection; see `statements`. The fields of records are bound as arrays, for `unnest`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ekb_async.storage.statements import numbered

T = TypeVar("T")


class PostgresStatements:
    """Statements on a connection, each of which may take `timeout` seconds."""

    def __init__(self, connection: Any, timeout: float | None = None) -> None:
        self.connection = connection
        self._timeout = timeout

    async def fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        return await self.connection.fetch(*_bound(query, values), timeout=self._timeout)  # type: ignore[no-any-return]

    async def fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        return [kind(**row) for row in await self.fetch(query, **values)]

    async def fetch_each(
        self, kind: Callable[..., T], query: str, records: Sequence[NamedTuple], /, **values: object
    ) -> list[T]:
        return await self.fetch_as(kind, query, **_columns(records), **values) if records else []

    async def value(self, query: str, /, **values: object) -> Any:
        return await self.connection.fetchval(*_bound(query, values), timeout=self._timeout)

    async def execute(self, statement: str, /, **values: object) -> int:
        tag = await self.connection.execute(*_bound(statement, values), timeout=self._timeout)
        changed = tag.rpartition(" ")[2]
        return int(changed) if changed.isdecimal() else 0

    async def script(self, statements: str, /) -> None:
        if statements:
            await self.connection.execute(statements, timeout=self._timeout)

    async def write(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> None:
        if records:
            await self.execute(statement, **_columns(records), **values)

    async def update_each(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> set[int]:
        return {row[0] for row in await self.fetch(statement, **_columns(records), **values)} if records else set()


def _columns(records: Sequence[NamedTuple]) -> dict[str, object]:
    return dict(zip(records[0]._fields, zip(*records, strict=True), strict=True))


def _bound(query: str, values: dict[str, object]) -> tuple[object, ...]:
    """Return a statement with numbered values, and the values in that order."""
    text, names = numbered(query, "$")
    return text, *(values[name] for name in names)
