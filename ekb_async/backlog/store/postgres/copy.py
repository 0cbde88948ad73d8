"""Copying from and into a backlog in a database, each over a separate connection; see `copying`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from ekb_async.backlog.store.adding import BLANKS
from ekb_async.backlog.store.copying import AT_WORK, CopyReport, KeptCall, KeptManifest, KeptRow
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.postgres.adding import match
from ekb_async.backlog.store.postgres.sql import BEGIN_MATCHING, LOCK_IMPORT
from ekb_async.errors import BacklogBusyError
from ekb_async.storage.postgres.database import Database

T = TypeVar("T", KeptManifest, KeptCall, KeptRow)

_MANIFESTS = "SELECT id, path, columns, added_at FROM ekb_manifest WHERE id > $1 ORDER BY id LIMIT $2"
_CALLS = """
SELECT id, tenant, identity, kind, state, row_id, attempts, maybe_billed, ended_at, error_type, error, hint, result,
    priority
FROM ekb_call WHERE id > $1 ORDER BY id LIMIT $2
"""
_ROWS = """
SELECT id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name
FROM ekb_row WHERE id > $1 ORDER BY id LIMIT $2
"""

_BEGIN_MERGE = """
CREATE TEMP TABLE moved_manifest (LIKE ekb_manifest, new_id bigint, known boolean DEFAULT false);
CREATE TEMP TABLE moved_call (
    id bigint, tenant text, identity text, kind text, state text, row_id bigint, attempts integer, maybe_billed integer,
    ended_at double precision, error_type text, error text, hint text, result bytea, priority smallint,
    new_row_id bigint, row_count integer, known boolean DEFAULT false
);
CREATE TEMP TABLE moved_row (
    LIKE ekb_row, new_id bigint DEFAULT nextval(pg_get_serial_sequence('ekb_row', 'id'))
)
"""
_INDEX = """
CREATE INDEX ON moved_call (tenant, identity);
CREATE INDEX ON moved_row (call_id);
ANALYZE moved_manifest, moved_call, moved_row
"""

# A manifest that is in both backlogs was copied before, with its rows and their calls.
_FIND_KNOWN = """
UPDATE moved_manifest AS moved SET new_id = kept.id, known = true FROM ekb_manifest AS kept
WHERE kept.path = moved.path AND kept.columns = moved.columns AND kept.added_at = moved.added_at;
UPDATE moved_manifest SET new_id = nextval(pg_get_serial_sequence('ekb_manifest', 'id')) WHERE NOT known;
UPDATE moved_call SET known = true WHERE id IN (
    SELECT call_id FROM moved_row AS row JOIN moved_manifest AS manifest ON manifest.id = row.manifest_id WHERE known
)
"""
# All rows are compared with the target, including those that are present because they were copied before.
_WANTED = """
INSERT INTO wanted
SELECT row.new_id, call.id, btrim(ref, $1), path, file, staff_id, file_name
FROM moved_row AS row JOIN moved_call AS moved ON moved.id = row.call_id
    JOIN ekb_call AS call ON call.tenant = moved.tenant AND call.identity = moved.identity
    JOIN moved_manifest AS manifest ON manifest.id = row.manifest_id
"""
_DROP_PRESENT = """
DELETE FROM moved_row WHERE new_id IN (SELECT imported_id FROM present)
    OR manifest_id IN (SELECT id FROM moved_manifest WHERE known);
UPDATE moved_call AS moved SET
    row_count = (SELECT count(*) FROM moved_row AS row WHERE row.call_id = moved.id),
    new_row_id = (SELECT row.new_id FROM moved_row AS row WHERE row.call_id = moved.id AND row.id = moved.row_id)
"""

_ADD_MANIFESTS = """
INSERT INTO ekb_manifest (id, path, columns, added_at) OVERRIDING SYSTEM VALUE
SELECT new_id, path, columns, added_at FROM moved_manifest WHERE NOT known ORDER BY new_id
"""

_RANK = "CASE {state} WHEN 'done' THEN 3 WHEN 'pending' THEN 1 ELSE 2 END"
_MOVED_WINS = f"{_RANK.format(state='moved.state')} > {_RANK.format(state='call.state')}"
_BY_STATE = ("state", "ended_at", "error_type", "error", "hint", "result")


def _sum(column: str) -> str:
    return (
        f"{column} = CASE WHEN moved.known THEN greatest(call.{column}, moved.{column}) "
        f"ELSE call.{column} + moved.{column} END + CASE WHEN {_MOVED_WINS} THEN call.sent ELSE 0 END"
    )


def _better(column: str, other: str = "") -> str:
    return f"{column} = CASE WHEN {_MOVED_WINS} THEN {other or f'moved.{column}'} ELSE call.{column} END"


# Runs may be at work on the target, so the states are compared at the moment in which each row is written.
_JOIN_CALLS = f"""
UPDATE ekb_call AS call SET
    row_count = call.row_count + moved.row_count, priority = least(call.priority, moved.priority),
    {_sum("attempts")}, {_sum("maybe_billed")}, {_better("sent", "0")}, {_better("run_id", "NULL")},
    {_better("turn", "NULL")}, {_better("row_id", "coalesce(moved.new_row_id, call.row_id)")},
    {", ".join(map(_better, _BY_STATE))}
FROM moved_call AS moved WHERE call.tenant = moved.tenant AND call.identity = moved.identity
"""  # noqa: S608 - names

_ADD_CALLS = """
INSERT INTO ekb_call (tenant, identity, kind, priority, state, row_id, row_count, attempts, maybe_billed, ended_at,
    error_type, error, hint, result)
SELECT tenant, identity, kind, priority, state, new_row_id, row_count, attempts, maybe_billed, ended_at,
    error_type, error, hint, result
FROM moved_call AS moved
WHERE NOT EXISTS (SELECT 1 FROM ekb_call AS call WHERE call.tenant = moved.tenant AND call.identity = moved.identity)
ORDER BY id
"""

_ADD_ROWS = """
INSERT INTO ekb_row (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
    OVERRIDING SYSTEM VALUE
SELECT row.new_id, call.id, manifest.new_id, line, start, length, ref, file, invoice_id, staff_id, file_name
FROM moved_row AS row JOIN moved_call AS moved ON moved.id = row.call_id
    JOIN ekb_call AS call ON call.tenant = moved.tenant AND call.identity = moved.identity
    JOIN moved_manifest AS manifest ON manifest.id = row.manifest_id
ORDER BY row.new_id
"""


class PostgresReader:
    """A backlog as it was when reading began."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def manifests(self, after: int) -> list[KeptManifest]:
        return await self._page(KeptManifest, _MANIFESTS, after)

    async def calls(self, after: int) -> list[KeptCall]:
        return await self._page(KeptCall, _CALLS, after)

    async def rows(self, after: int) -> list[KeptRow]:
        return await self._page(KeptRow, _ROWS, after)

    async def _page(self, kind: type[T], query: str, after: int) -> list[T]:
        return [kind(*row) for row in await self._connection.fetch(query, after, LIMITS.records_per_copied_page)]


class PostgresMerger:
    """Merges manifests, calls and rows into a database, through temporary tables."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def add_manifests(self, manifests: Sequence[KeptManifest]) -> None:
        await self._add("moved_manifest", manifests, KeptManifest._fields)

    async def add_calls(self, calls: Sequence[KeptCall]) -> None:
        # A server's text in an error may contain zeros, which a text in SQLite can hold and one in PostgreSQL cannot.
        storable = [call._replace(error=call.error.replace("\0", "\ufffd")) for call in calls]
        await self._add("moved_call", storable, KeptCall._fields)

    async def add_rows(self, rows: Sequence[KeptRow]) -> None:
        await self._add("moved_row", rows, KeptRow._fields)

    async def finish(self) -> CopyReport:
        await self._connection.execute(_INDEX)
        while True:
            # Runs that write the same calls in another order may cause a deadlock; the merge is then repeated.
            with contextlib.suppress(asyncpg.TransactionRollbackError):
                return await self._merge(self._connection)

    async def _merge(self, connection: Any) -> CopyReport:
        async with connection.transaction():
            await connection.execute(LOCK_IMPORT)
            await connection.execute(_FIND_KNOWN)
            await connection.execute(BEGIN_MATCHING)
            await connection.execute(_WANTED, BLANKS)
            await match(connection)
            await connection.execute(_DROP_PRESENT)
            manifests = _count(await connection.execute(_ADD_MANIFESTS))
            joined = _count(await connection.execute(_JOIN_CALLS))
            calls = _count(await connection.execute(_ADD_CALLS))
            rows = _count(await connection.execute(_ADD_ROWS))
        return CopyReport(manifests=manifests, rows=rows, calls=calls, joined=joined)

    async def _add(self, table: str, records: Sequence[tuple[object, ...]], columns: Sequence[str]) -> None:
        await self._connection.copy_records_to_table(table, records=records, columns=columns)


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[PostgresReader]:
    """Read a backlog while no run can begin on it."""
    async with (
        database.connection(closed_after=True) as connection,
        connection.transaction(isolation="repeatable_read"),
    ):
        # The first statement, so that the transaction's snapshot is not older than the lock.
        await connection.execute("LOCK TABLE ekb_run IN SHARE MODE")
        if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM ekb_run)"):
            raise BacklogBusyError(f"the backlog in the database: {AT_WORK}")
        yield PostgresReader(connection)


@asynccontextmanager
async def merging(database: Database) -> AsyncIterator[PostgresMerger]:
    """Prepare a backlog to copy into."""
    async with database.connection(closed_after=True) as connection:
        await connection.execute(_BEGIN_MERGE)
        yield PostgresMerger(connection)


def _count(tag: str) -> int:
    """Return how many rows a statement has changed."""
    return int(tag.rpartition(" ")[2])
