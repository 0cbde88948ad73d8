"""SQL statements whose values are bound by name, in SQLite and in PostgreSQL.

A value `id` stands as `:id` in the statement. Code that is written for `Statements` works on both databases; only the
statements themselves differ. Values that a statement does not name are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

_NAME = re.compile(r"(?<!:):([a-z]\w*)")


class Statements(Protocol):
    """A connection. A record is a `NamedTuple`, and its fields are values of the statement."""

    @property
    def connection(self) -> Any:
        """The connection of the driver."""
        ...

    async def fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        """Return the rows that a query finds."""
        ...

    async def fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        """Return the rows that a query finds as objects whose fields have the names of the columns."""
        ...

    async def fetch_each(
        self, kind: Callable[..., T], query: str, records: Sequence[NamedTuple], /, **values: object
    ) -> list[T]:
        """Return what a query finds for each of the records, as `fetch_as` does."""
        ...

    async def value(self, query: str, /, **values: object) -> Any:
        """Return the only value of the only row that a query finds."""
        ...

    async def execute(self, statement: str, /, **values: object) -> int:
        """Return how many rows a statement has changed."""
        ...

    async def script(self, statements: str, /) -> None:
        """Execute statements without values, each but the last ended by a semicolon at the end of a line."""
        ...

    async def write(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> None:
        """Execute a statement for each of the records."""
        ...

    async def update_each(self, statement: str, records: Sequence[NamedTuple], /, **values: object) -> Collection[int]:
        """Update one row for each of the records, and return the first fields of those whose row was found.

        The statement may be executed twice.
        """
        ...


def run_at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, as with statements that are executed in the current thread."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise RuntimeError(f"{work!r} waits for something")


@cache
def numbered(statement: str, mark: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement whose values have the mark and a number, from 1 on, and their names in that order."""
    names = tuple(dict.fromkeys(_NAME.findall(statement)))
    return _NAME.sub(lambda found: f"{mark}{names.index(found[1]) + 1}", statement), names
