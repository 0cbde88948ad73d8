"""Taking staged rows into a backlog file, each once; for a database `postgres_sql` does the same.

A row is there already if its call has one that was written for the same purpose. `KEYS` say when that is so, the
closest first, and rows that are alike under one of them are paired in their order: of rows that a manifest has several
times, as many are there as were added before. Only rows of one call are compared, so kind, tenant and content are the
same anyway, and only rows of the same reference (blanks around it do not count).

A row that is there changes no state and no count, and no row makes a failed call again, which is what `retry` does. But
a call that is not done will be made in the latest way: a manifest that is added again brings fresh URLs, and says where
files are by now and which staff ID is right. One that a run has claimed is made so if it comes back.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import msgspec

from ekb_async.backlog.store.call_store import AddReport
from ekb_async.models.files import is_url, parse_attachment
from ekb_async.redaction.masking import without_signature

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""What does not count around a reference."""


def spelled(manifest: str, file: str) -> str:
    """One text for all spellings of a row's file."""
    if not file:
        return ""
    if is_url(file):
        return without_signature(file)
    if attachment := parse_attachment(file):
        return f"attachment:{attachment.id}"
    return os.path.normpath(os.path.join(os.path.dirname(manifest), file))  # noqa: PTH118, PTH120 - many rows


def add_imported(database: sqlite3.Connection, manifest: Path, columns: tuple[str, ...]) -> AddReport:
    """Take the rows of `temp.staged` into the backlog; the transaction of the caller makes it all or nothing."""
    source = {"path": str(manifest), "columns": msgspec.json.encode(columns).decode(), "now": time.time()}
    rows = _number(database, "SELECT count(*) FROM temp.staged")
    begin_matching(database)
    database.execute(_WANTED, {"path": str(manifest), "blanks": BLANKS})
    present = match(database)
    moved = _move(database, source) if present else 0
    if rows == present and not moved:
        # It is remembered all the same, as a file that is not to be overwritten.
        database.execute(_REMEMBER_MANIFEST, source)
        return AddReport(added=0, duplicates=rows, present=present)
    manifest_id = database.execute(_ADD_MANIFEST, source).lastrowid
    if moved:
        database.execute(_MOVE_ROWS, {"manifest_id": manifest_id})
        database.execute(_MOVE_CALLS)
    if present:
        database.execute("DELETE FROM temp.staged WHERE n IN (SELECT n FROM temp.present)")
    added = _add(database, manifest_id) if rows > present else 0
    return AddReport(added=added, duplicates=rows - added, present=present)


def begin_matching(database: sqlite3.Connection) -> None:
    """Make `temp.wanted` for rows that may be there already, each with its call and the path of its manifest."""
    database.execute("DROP TABLE IF EXISTS temp.wanted")
    database.execute("CREATE TEMP TABLE wanted (n INTEGER PRIMARY KEY, call_id, ref, path, file, staff_id, file_name)")
    database.execute("DROP TABLE IF EXISTS temp.present")
    database.execute("CREATE TEMP TABLE present (n INTEGER PRIMARY KEY, row_id UNIQUE, call_id)")
    database.create_function("spelled", 2, spelled, deterministic=True)


def match(database: sqlite3.Connection) -> int:
    """Put the rows of `temp.wanted` that are there already into `temp.present`; how many they are."""
    wanted, present = _number(database, "SELECT count(*) FROM temp.wanted"), 0
    for key in KEYS:
        if present < wanted:
            database.execute(_MATCH.format(key=key), {"blanks": BLANKS})
            present = _number(database, "SELECT count(*) FROM temp.present")
    return present


def _move(database: sqlite3.Connection, source: dict[str, object]) -> int:
    """Put what is said in another way, of calls that are not done, into `temp.moved`; how many rows it is."""
    database.execute("DROP TABLE IF EXISTS temp.moved")
    database.execute(
        "CREATE TEMP TABLE moved "
        "(row_id INTEGER PRIMARY KEY, call_id INTEGER, n, line, start, length, file, staff_id, file_name)"
    )
    database.execute(_MOVED, source)
    moved = _number(database, "SELECT changes()")
    database.execute("CREATE INDEX temp.moved_by_call ON moved (call_id, n)")
    return moved


def _add(database: sqlite3.Connection, manifest_id: int | None) -> int:
    """Add the staged rows; how many of them are new work."""
    base = _number(database, "SELECT coalesce(max(id), 0) FROM rows")
    last_call = _number(database, "SELECT coalesce(max(id), 0) FROM calls")
    database.execute(_ADD_CALLS, {"base": base})
    database.execute(_ADD_ROWS, {"base": base, "manifest_id": manifest_id})
    return _number(database, "SELECT coalesce(max(id), 0) FROM calls") - last_call


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


# All values; the file as it is written, wherever its folder is by now; the file, however it is written; a reference.
KEYS = (
    "json_array(file, staff_id, file_name)",
    "file",
    "spelled(path, file)",
    "CASE WHEN ref != '' THEN '' END",
)
"""What is the same in two rows of one call and reference that are one, the closest first."""

_WANTED = """
INSERT INTO temp.wanted (n, call_id, ref, path, file, staff_id, file_name)
SELECT n, calls.id, trim(ref, :blanks), :path, file, staff_id, file_name
FROM temp.staged CROSS JOIN calls USING (identity)
"""

# The n-th of several equal rows is the n-th that was added.
_MATCH = """
WITH left_over AS (
    SELECT * FROM temp.wanted WHERE n NOT IN (SELECT n FROM temp.present)
), asked AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY n) AS nth
    FROM (SELECT n, call_id, ref, {key} AS same FROM left_over)
), kept AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY row_id) AS nth
    FROM (
        SELECT row_id, call_id, ref, {key} AS same
        FROM (
            SELECT rows.id AS row_id, call_id, trim(ref, :blanks) AS ref, path, file, staff_id, file_name
            FROM (SELECT DISTINCT call_id FROM left_over) CROSS JOIN rows USING (call_id)
                CROSS JOIN manifests ON manifests.id = manifest_id
            WHERE rows.id NOT IN (SELECT row_id FROM temp.present)
        )
    )
)
INSERT INTO temp.present (n, row_id, call_id)
SELECT n, row_id, call_id FROM asked JOIN kept USING (call_id, ref, same, nth)
"""

_MOVED = """
INSERT INTO temp.moved
SELECT old.id, calls.id, n, new.line, CASE WHEN new.length THEN new.start END, nullif(new.length, 0), new.file,
    new.staff_id, new.file_name
FROM temp.present CROSS JOIN temp.staged AS new USING (n) CROSS JOIN calls ON calls.id = present.call_id
    CROSS JOIN rows AS old ON old.id = present.row_id CROSS JOIN manifests ON manifests.id = old.manifest_id
WHERE calls.state != 'done' AND (
    manifests.path != :path OR new.file != old.file OR new.staff_id != old.staff_id OR new.file_name != old.file_name
    OR new.length != coalesce(old.length, 0)
    OR (new.length AND (manifests.columns != :columns OR new.start != old.start))
)
"""

_ADD_MANIFEST = "INSERT INTO manifests (path, columns, added_at) VALUES (:path, :columns, :now)"
_REMEMBER_MANIFEST = """
INSERT INTO manifests (path, columns, added_at)
SELECT :path, :columns, :now WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE path = :path)
"""

_MOVE_ROWS = """
UPDATE rows SET (manifest_id, line, start, length, file, staff_id, file_name) = (
    SELECT :manifest_id, line, start, length, file, staff_id, file_name FROM temp.moved WHERE row_id = rows.id
) WHERE id IN (SELECT row_id FROM temp.moved)
"""
_MOVE_CALLS = """
UPDATE calls SET row_id = (SELECT row_id FROM temp.moved WHERE call_id = calls.id ORDER BY n DESC LIMIT 1)
WHERE id IN (SELECT call_id FROM temp.moved)
"""

# A row for a running or done call must not change how it was made.
_ADD_CALLS = """
INSERT INTO calls (identity, tenant, kind, row_id)
SELECT identity, tenant, kind, :base + n FROM temp.staged WHERE true ORDER BY n
ON CONFLICT (identity) DO UPDATE SET
    row_count = row_count + 1,
    row_id = CASE WHEN state IN ('pending', 'failed') THEN excluded.row_id ELSE row_id END
"""

_ADD_ROWS = """
INSERT INTO rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
SELECT :base + n, calls.id, :manifest_id, line, CASE WHEN length THEN start END, nullif(length, 0), ref, file,
    invoice_id, staff_id, file_name
FROM temp.staged CROSS JOIN calls USING (identity) ORDER BY n
"""
