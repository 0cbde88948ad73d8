"""Committing imported rows to a backlog file, each row once; for a database `postgres.sql` does the same.

A row is present already if its call has a row that was written for the same purpose. `KEYS` define what counts as the
same, the strictest first, and rows that are equal under a key are paired in order: if a manifest repeats a row, as many
repetitions are present as were added before. Only rows of one call and one reference are compared (surrounding blanks
do not count), so kind, tenant and content are equal anyway.

A row that is present changes no state and no count, and no row repeats a failed call, which is left to `retry`. But a
call that is not done is made from the latest row: a manifest that is added again brings fresh URLs, the present paths
of files and the right staff ID. For a call that a run has claimed, this takes effect if the call is released.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import msgspec

from ekb_async.backlog.store.call_store import AddReport
from ekb_async.models.files import is_url, parse_attachment
from ekb_async.redaction.signed_urls import without_signature

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""The characters that do not count around a reference."""


def spelled(manifest: str, file: str) -> str:
    """Return one text for all spellings of a row's file."""
    if not file:
        return ""
    if is_url(file):
        return without_signature(file)
    if attachment := parse_attachment(file):
        return f"attachment:{attachment.id}"
    return os.path.normpath(os.path.join(os.path.dirname(manifest), file))  # noqa: PTH118, PTH120 - many rows


def add_imported(database: sqlite3.Connection, manifest: Path, columns: tuple[str, ...]) -> AddReport:
    """Add the rows of `temp.imported` to the backlog, within the caller's transaction."""
    source = {"path": str(manifest), "columns": msgspec.json.encode(columns).decode(), "now": time.time()}
    rows = _number(database, "SELECT count(*) FROM temp.imported")
    begin_matching(database)
    database.execute(_WANTED, {"path": str(manifest), "blanks": BLANKS})
    present = match(database)
    moved = _move(database, source) if present else 0
    if rows == present and not moved:
        # The manifest is recorded nevertheless, so that no export overwrites its file.
        database.execute(_RECORD_MANIFEST, source)
        return AddReport(added=0, duplicates=rows, present=present)
    manifest_id = database.execute(_ADD_MANIFEST, source).lastrowid
    if moved:
        database.execute(_MOVE_ROWS, {"manifest_id": manifest_id})
        database.execute(_MOVE_CALLS)
    if present:
        database.execute("DELETE FROM temp.imported WHERE n IN (SELECT n FROM temp.present)")
    added = _add(database, manifest_id) if rows > present else 0
    return AddReport(added=added, duplicates=rows - added, present=present)


def begin_matching(database: sqlite3.Connection) -> None:
    """Create `temp.wanted` for rows that may be present already, each with its call and the path of its manifest."""
    database.execute("DROP TABLE IF EXISTS temp.wanted")
    database.execute("CREATE TEMP TABLE wanted (n INTEGER PRIMARY KEY, call_id, ref, path, file, staff_id, file_name)")
    database.execute("DROP TABLE IF EXISTS temp.present")
    database.execute("CREATE TEMP TABLE present (n INTEGER PRIMARY KEY, row_id UNIQUE, call_id)")
    database.create_function("spelled", 2, spelled, deterministic=True)


def match(database: sqlite3.Connection) -> int:
    """Put the rows of `temp.wanted` that are present already into `temp.present`, and return their number."""
    wanted, present = _number(database, "SELECT count(*) FROM temp.wanted"), 0
    for key in KEYS:
        if present < wanted:
            database.execute(_MATCH.format(key=key), {"blanks": BLANKS})
            present = _number(database, "SELECT count(*) FROM temp.present")
    return present


def _move(database: sqlite3.Connection, source: dict[str, object]) -> int:
    """Put present rows of unfinished calls that are written differently now into `temp.moved`; return their number."""
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
    """Add the imported rows, and return how many of them are new work."""
    base = _number(database, "SELECT coalesce(max(id), 0) FROM rows")
    last_call = _number(database, "SELECT coalesce(max(id), 0) FROM calls")
    database.execute(_ADD_CALLS, {"base": base})
    database.execute(_ADD_ROWS, {"base": base, "manifest_id": manifest_id})
    return _number(database, "SELECT coalesce(max(id), 0) FROM calls") - last_call


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


# All values; the file as written, whatever its manifest's folder; the file in any spelling; the reference alone.
KEYS = (
    "json_array(file, staff_id, file_name)",
    "file",
    "spelled(path, file)",
    "CASE WHEN ref != '' THEN '' END",
)
"""What two rows of one call and reference must have in common to be the same row, the strictest first."""

_WANTED = """
INSERT INTO temp.wanted (n, call_id, ref, path, file, staff_id, file_name)
SELECT n, calls.id, trim(ref, :blanks), :path, file, staff_id, file_name
FROM temp.imported CROSS JOIN calls USING (identity)
"""

# The n-th of several equal rows is paired with the n-th that was added.
_MATCH = """
WITH left_over AS (
    SELECT * FROM temp.wanted WHERE n NOT IN (SELECT n FROM temp.present)
), requested AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY n) AS nth
    FROM (SELECT n, call_id, ref, {key} AS same FROM left_over)
), stored AS (
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
SELECT n, row_id, call_id FROM requested JOIN stored USING (call_id, ref, same, nth)
"""

_MOVED = """
INSERT INTO temp.moved
SELECT old.id, calls.id, n, new.line, CASE WHEN new.length THEN new.start END, nullif(new.length, 0), new.file,
    new.staff_id, new.file_name
FROM temp.present CROSS JOIN temp.imported AS new USING (n) CROSS JOIN calls ON calls.id = present.call_id
    CROSS JOIN rows AS old ON old.id = present.row_id CROSS JOIN manifests ON manifests.id = old.manifest_id
WHERE calls.state != 'done' AND (
    manifests.path != :path OR new.file != old.file OR new.staff_id != old.staff_id OR new.file_name != old.file_name
    OR new.length != coalesce(old.length, 0)
    OR (new.length AND (manifests.columns != :columns OR new.start != old.start))
)
"""

_ADD_MANIFEST = "INSERT INTO manifests (path, columns, added_at) VALUES (:path, :columns, :now)"
_RECORD_MANIFEST = """
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

# A new row must not replace the row from which a running or done call was made.
_ADD_CALLS = """
INSERT INTO calls (identity, tenant, kind, row_id)
SELECT identity, tenant, kind, :base + n FROM temp.imported WHERE true ORDER BY n
ON CONFLICT (identity) DO UPDATE SET
    row_count = row_count + 1,
    row_id = CASE WHEN state IN ('pending', 'failed') THEN excluded.row_id ELSE row_id END
"""

_ADD_ROWS = """
INSERT INTO rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
SELECT :base + n, calls.id, :manifest_id, line, CASE WHEN length THEN start END, nullif(length, 0), ref, file,
    invoice_id, staff_id, file_name
FROM temp.imported CROSS JOIN calls USING (identity) ORDER BY n
"""
