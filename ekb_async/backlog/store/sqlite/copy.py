"""Copying from and into a backlog file, each over a separate connection; see `copying`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from ekb_async.backlog.store.adding import BLANKS, begin_matching, match
from ekb_async.backlog.store.copying import AT_WORK, CopyReport, KeptCall, KeptManifest, KeptRow
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite.store import Store, keyed
from ekb_async.errors import BacklogBusyError
from ekb_async.storage.sqlite_thread import Worker

T = TypeVar("T", KeptManifest, KeptCall, KeptRow)

_MANIFESTS = "SELECT id, path, columns, added_at FROM manifests WHERE id > ? ORDER BY id LIMIT ?"
_CALLS = """
SELECT id, tenant, CASE tenant WHEN '' THEN identity ELSE substr(identity, length(tenant) + 2) END, kind, state, row_id,
    attempts, maybe_billed, ended_at, error_type, error, hint, result
FROM calls WHERE id > ? ORDER BY id LIMIT ?
"""
_ROWS = """
SELECT id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name
FROM rows WHERE id > ? ORDER BY id LIMIT ?
"""

_BEGIN_MERGE = f"""
CREATE TEMP TABLE moved_manifests ({", ".join(KeptManifest._fields)}, new_id, known DEFAULT 0);
CREATE TEMP TABLE moved_calls ({", ".join(KeptCall._fields)}, new_row_id, row_count DEFAULT 0, known DEFAULT 0);
CREATE TEMP TABLE moved_rows ({", ".join(KeptRow._fields)})
"""
_INDEX = """
CREATE INDEX temp.moved_calls_by_id ON moved_calls (id);
CREATE INDEX temp.moved_rows_by_id ON moved_rows (id);
CREATE INDEX temp.moved_rows_by_call ON moved_rows (call_id);
CREATE INDEX temp.moved_manifests_by_id ON moved_manifests (id)
"""

# A manifest that is in both backlogs was copied before, with its rows and their calls.
_FIND_KNOWN = """
UPDATE temp.moved_manifests AS moved SET new_id = (
    SELECT id FROM manifests AS kept
    WHERE kept.path = moved.path AND kept.columns = moved.columns AND kept.added_at = moved.added_at
);
UPDATE temp.moved_manifests SET known = new_id IS NOT NULL;
UPDATE temp.moved_manifests SET new_id = (SELECT coalesce(max(id), 0) FROM manifests) + rowid WHERE NOT known;
UPDATE temp.moved_calls AS moved SET known = 1 WHERE EXISTS (
    SELECT 1 FROM temp.moved_rows AS row JOIN temp.moved_manifests AS manifest ON manifest.id = row.manifest_id
    WHERE row.call_id = moved.id AND manifest.known
)
"""
# All rows are compared with the target, including those that are present because they were copied before.
_WANTED = """
INSERT INTO temp.wanted (n, call_id, ref, path, file, staff_id, file_name)
SELECT row.rowid, calls.id, trim(ref, :blanks), path, file, staff_id, file_name
FROM temp.moved_rows AS row CROSS JOIN temp.moved_calls AS moved ON moved.id = row.call_id
    CROSS JOIN calls ON calls.identity = moved.identity
    CROSS JOIN temp.moved_manifests AS manifest ON manifest.id = row.manifest_id
"""
_DROP_PRESENT = """
DELETE FROM temp.moved_rows WHERE rowid IN (SELECT n FROM temp.present)
    OR manifest_id IN (SELECT id FROM temp.moved_manifests WHERE known);
UPDATE temp.moved_calls AS moved SET
    row_count = (SELECT count(*) FROM temp.moved_rows AS row WHERE row.call_id = moved.id),
    new_row_id = (SELECT coalesce(max(id), 0) FROM main.rows)
        + (SELECT row.rowid FROM temp.moved_rows AS row WHERE row.id = moved.row_id)
"""

_ADD_MANIFESTS = """
INSERT INTO manifests (id, path, columns, added_at)
SELECT new_id, path, columns, added_at FROM temp.moved_manifests WHERE NOT known ORDER BY id
"""
_ADD_ROWS = """
INSERT INTO main.rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
SELECT base.id + row.rowid, calls.id, manifest.new_id, line, start, length, ref, file, invoice_id, staff_id, file_name
FROM (SELECT coalesce(max(id), 0) AS id FROM main.rows) AS base CROSS JOIN temp.moved_rows AS row
    CROSS JOIN temp.moved_calls AS moved ON moved.id = row.call_id CROSS JOIN calls ON calls.identity = moved.identity
    CROSS JOIN temp.moved_manifests AS manifest ON manifest.id = row.manifest_id
ORDER BY row.rowid
"""

_RANK = "CASE {state} WHEN 'done' THEN 3 WHEN 'pending' THEN 1 ELSE 2 END"
_MOVED_WINS = f"{_RANK.format(state='moved.state')} > {_RANK.format(state='kept.state')}"
_BY_STATE = ("state", "ended_at", "error_type", "error", "hint", "result")


def _better(column: str) -> str:
    return f"CASE WHEN kept.id IS NULL OR {_MOVED_WINS} THEN moved.{column} ELSE kept.{column} END"


def _sum(column: str) -> str:
    return (
        f"CASE WHEN kept.id IS NULL THEN moved.{column} WHEN moved.known THEN max(kept.{column}, moved.{column}) "
        f"ELSE kept.{column} + moved.{column} END + coalesce(CASE WHEN {_MOVED_WINS} THEN kept.sent END, 0)"
    )


# No other connection writes meanwhile, so the state of a call may be computed before it is written.
_MERGE_CALLS = f"""
INSERT INTO calls (identity, tenant, kind, row_id, row_count, attempts, maybe_billed, sent, run_id,
    {", ".join(_BY_STATE)})
SELECT moved.identity, moved.tenant, moved.kind,
    CASE WHEN kept.id IS NULL OR {_MOVED_WINS} THEN coalesce(moved.new_row_id, kept.row_id) ELSE kept.row_id END,
    coalesce(kept.row_count, 0) + moved.row_count, {_sum("attempts")}, {_sum("maybe_billed")},
    CASE WHEN kept.id IS NULL OR {_MOVED_WINS} THEN 0 ELSE kept.sent END,
    CASE WHEN kept.id IS NULL OR {_MOVED_WINS} THEN NULL ELSE kept.run_id END,
    {", ".join(map(_better, _BY_STATE))}
FROM temp.moved_calls AS moved LEFT JOIN calls AS kept ON kept.identity = moved.identity
WHERE true ORDER BY moved.id
ON CONFLICT (identity) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in ("row_id", "row_count", "attempts", "maybe_billed", "sent"))},
    run_id = excluded.run_id, {", ".join(f"{name} = excluded.{name}" for name in _BY_STATE)}
"""  # noqa: S608 - names


class FileReader:
    """A backlog file while no other connection can write it."""

    def __init__(self, worker: Worker, store: Store) -> None:
        self._worker = worker
        self._store = store

    async def manifests(self, after: int) -> list[KeptManifest]:
        return await self._worker.call(self._page, KeptManifest, _MANIFESTS, after)

    async def calls(self, after: int) -> list[KeptCall]:
        return await self._worker.call(self._page, KeptCall, _CALLS, after)

    async def rows(self, after: int) -> list[KeptRow]:
        return await self._worker.call(self._page, KeptRow, _ROWS, after)

    def _page(self, kind: type[T], query: str, after: int) -> list[T]:
        return [
            kind(*values) for values in self._store.database.execute(query, (after, LIMITS.records_per_copied_page))
        ]


class FileMerger:
    """Merges manifests, calls and rows into a backlog file, through temporary tables."""

    def __init__(self, worker: Worker, store: Store) -> None:
        self._worker = worker
        self._store = store

    async def add_manifests(self, manifests: Sequence[KeptManifest]) -> None:
        await self._worker.call(self._add, "moved_manifests", manifests)

    async def add_calls(self, calls: Sequence[KeptCall]) -> None:
        keyed_calls = [call._replace(identity=keyed(call.tenant, call.identity)) for call in calls]
        await self._worker.call(self._add, "moved_calls", keyed_calls)

    async def add_rows(self, rows: Sequence[KeptRow]) -> None:
        await self._worker.call(self._add, "moved_rows", rows)

    async def finish(self) -> CopyReport:
        return await self._worker.call(self._merge)

    def _add(self, table: str, kept: Sequence[KeptManifest] | Sequence[KeptCall] | Sequence[KeptRow]) -> None:
        columns = ", ".join(kept[0]._fields)
        placeholders = ", ".join("?" * len(kept[0]))
        with self._store.transaction("DEFERRED"):
            insert = f"INSERT INTO temp.{table} ({columns}) VALUES ({placeholders})"  # noqa: S608 - names
            self._store.database.executemany(insert, kept)

    def _merge(self) -> CopyReport:
        execute = self._store.database.execute
        for statement in _INDEX.split(";"):
            execute(statement)
        with self._store.change():
            for statement in _FIND_KNOWN.split(";"):
                execute(statement)
            begin_matching(self._store.database)
            execute(_WANTED, {"blanks": BLANKS})
            match(self._store.database)
            for statement in _DROP_PRESENT.split(";"):
                execute(statement)
            (before,) = execute("SELECT count(*) FROM calls").fetchone()
            manifests = execute(_ADD_MANIFESTS).rowcount
            execute(_MERGE_CALLS)
            rows = execute(_ADD_ROWS).rowcount
            (after,) = execute("SELECT count(*) FROM calls").fetchone()
            (moved,) = execute("SELECT count(*) FROM temp.moved_calls").fetchone()
        return CopyReport(manifests=manifests, rows=rows, calls=after - before, joined=moved - (after - before))


@asynccontextmanager
async def reading(file: Path) -> AsyncIterator[FileReader]:
    """Read a file in one transaction, while other writers wait."""
    async with _connection(file) as (worker, store):
        transaction = ExitStack()
        await worker.call(transaction.enter_context, store.transaction())
        try:
            await worker.call(_settle, store)
            yield FileReader(worker, store)
        finally:
            await worker.call(transaction.close)


@asynccontextmanager
async def merging(file: Path) -> AsyncIterator[FileMerger]:
    """Prepare a file to copy into."""
    async with _connection(file) as (worker, store):
        await worker.call(store.database.executescript, _BEGIN_MERGE)
        yield FileMerger(worker, store)


@asynccontextmanager
async def _connection(file: Path) -> AsyncIterator[tuple[Worker, Store]]:
    worker = Worker(file)
    try:
        store = await worker.open(Store, file)
        try:
            yield worker, store
        finally:
            await worker.call(store.close)
    finally:
        worker.close()


def _settle(store: Store) -> None:
    store.settle_dead()
    (runs,) = store.database.execute("SELECT count(*) FROM runs").fetchone()
    if runs:
        raise BacklogBusyError(f"{store.path.name}: {AT_WORK}")
