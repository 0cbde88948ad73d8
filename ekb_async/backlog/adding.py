"""Taking staged rows into a backlog file, each once; for a database `postgres_sql` does the same.

A row is there already if its call has one with the same reference or, without a reference, one with the same file,
staff ID and file name. Only rows of one call are compared, so kind, tenant and content are the same anyway. Of rows
that a manifest has several times, as many are there as were added before: adding it again adds none.

A row that is there changes no state and no count. But a call that is still to be made is made in the latest way: a
manifest that is added again brings fresh URLs, and says where files are by now and which staff ID is right.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec

from ekb_async.backlog.call_store import UNKNOWN, AddReport


def adopt(database: sqlite3.Connection, manifest: Path, columns: tuple[str, ...]) -> AddReport:
    """Take the rows of `temp.staged` into the backlog; the transaction of the caller makes it all or nothing."""
    source = {"path": str(manifest), "columns": msgspec.json.encode(columns).decode(), "now": time.time()}
    rows = _number(database, "SELECT count(*) FROM temp.staged")
    present = _match(database)
    moved = _move(database, source) if present else 0
    if rows == present and not moved:
        return AddReport(added=0, duplicates=rows, present=present)
    manifest_id = database.execute(_ADD_MANIFEST, source).lastrowid
    if moved:
        database.execute(_MOVE_ROWS, {"manifest_id": manifest_id})
        database.execute(_MOVE_CALLS)
    if present:
        database.execute("DELETE FROM temp.staged WHERE n IN (SELECT n FROM temp.present)")
    added = _add(database, manifest_id) if rows > present else 0
    return AddReport(added=added, duplicates=rows - added, present=present)


def _match(database: sqlite3.Connection) -> int:
    """Put the staged rows that are there already into `temp.present`; how many they are."""
    if not _number(database, "SELECT EXISTS (SELECT 1 FROM calls)"):
        return 0
    database.execute("DROP TABLE IF EXISTS temp.present")
    database.execute("CREATE TEMP TABLE present (n INTEGER PRIMARY KEY, row_id, call_id)")
    database.execute(_MATCH)
    return _number(database, "SELECT changes()")


def _move(database: sqlite3.Connection, source: dict[str, object]) -> int:
    """Put what is said in another way, of calls that are still to be made, into `temp.moved`; how many rows it is."""
    database.execute("DROP TABLE IF EXISTS temp.moved")
    database.execute(
        "CREATE TEMP TABLE moved "
        "(row_id INTEGER PRIMARY KEY, call_id, n, line, start, length, file, staff_id, file_name)"
    )
    database.execute(_MOVED, source)
    return _number(database, "SELECT changes()")


def _add(database: sqlite3.Connection, manifest_id: int | None) -> int:
    """Add the staged rows; how many of them are new work."""
    base = _number(database, "SELECT coalesce(max(id), 0) FROM rows")
    last_call = _number(database, "SELECT coalesce(max(id), 0) FROM calls")
    revived = _number(database, _COUNT_REVIVED, UNKNOWN)
    database.execute(_ADD_CALLS, {"base": base, "unknown": UNKNOWN})
    database.execute(_ADD_ROWS, {"base": base, "manifest_id": manifest_id})
    return _number(database, "SELECT coalesce(max(id), 0) FROM calls") - last_call + revived


def _number(database: sqlite3.Connection, query: str, *values: str) -> int:
    return int(database.execute(query, values).fetchone()[0])


# The n-th of several equal rows is the n-th that was added.
_MATCH = """
WITH wanted AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY n) AS nth
    FROM (
        SELECT n, calls.id AS call_id, ref, CASE ref WHEN '' THEN json_array(file, staff_id, file_name) END AS same
        FROM temp.staged CROSS JOIN calls USING (identity)
    )
), kept AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY row_id) AS nth
    FROM (
        SELECT id AS row_id, call_id, ref, CASE ref WHEN '' THEN json_array(file, staff_id, file_name) END AS same
        FROM (SELECT DISTINCT call_id FROM wanted) CROSS JOIN rows USING (call_id)
    )
)
INSERT INTO temp.present (n, row_id, call_id)
SELECT n, row_id, call_id FROM wanted JOIN kept USING (call_id, ref, nth) WHERE wanted.same IS kept.same
"""

_MOVED = """
INSERT INTO temp.moved
SELECT old.id, calls.id, n, new.line, CASE WHEN new.length THEN new.start END, nullif(new.length, 0), new.file,
    new.staff_id, new.file_name
FROM temp.present CROSS JOIN temp.staged AS new USING (n) CROSS JOIN calls ON calls.id = present.call_id
    CROSS JOIN rows AS old ON old.id = present.row_id CROSS JOIN manifests ON manifests.id = old.manifest_id
WHERE calls.state IN ('pending', 'failed') AND (
    manifests.path != :path OR new.file != old.file OR new.staff_id != old.staff_id OR new.file_name != old.file_name
    OR new.length != coalesce(old.length, 0)
    OR (new.length AND (manifests.columns != :columns OR new.start != old.start))
)
"""

_ADD_MANIFEST = "INSERT INTO manifests (path, columns, added_at) VALUES (:path, :columns, :now)"

_MOVE_ROWS = """
UPDATE rows SET (manifest_id, line, start, length, file, staff_id, file_name) = (
    SELECT :manifest_id, line, start, length, file, staff_id, file_name FROM temp.moved WHERE row_id = rows.id
) WHERE id IN (SELECT row_id FROM temp.moved)
"""
_MOVE_CALLS = """
WITH latest AS (SELECT call_id, row_id, max(n) FROM temp.moved GROUP BY call_id)
UPDATE calls SET row_id = (SELECT row_id FROM latest WHERE call_id = calls.id)
WHERE id IN (SELECT call_id FROM latest)
"""

_COUNT_REVIVED = """
SELECT count(*) FROM calls WHERE state = 'failed' AND error_type != ? AND identity IN (SELECT identity FROM temp.staged)
"""

# A new row for a failed call is a new wish for it, unless it may have been paid for, which a person has to decide. A
# row for a running or done one must not change how it was made.
_ADD_CALLS = """
INSERT INTO calls (identity, tenant, kind, row_id)
SELECT identity, tenant, kind, :base + n FROM temp.staged WHERE true ORDER BY n
ON CONFLICT (identity) DO UPDATE SET
    row_count = row_count + 1,
    row_id = CASE WHEN state IN ('pending', 'failed') THEN excluded.row_id ELSE row_id END,
    state = CASE WHEN state = 'failed' AND error_type != :unknown THEN 'pending' ELSE state END,
    error_type = CASE error_type WHEN :unknown THEN error_type ELSE '' END,
    error = CASE error_type WHEN :unknown THEN error ELSE '' END,
    hint = CASE error_type WHEN :unknown THEN hint ELSE '' END
"""

_ADD_ROWS = """
INSERT INTO rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
SELECT :base + n, calls.id, :manifest_id, line, CASE WHEN length THEN start END, nullif(length, 0), ref, file,
    invoice_id, staff_id, file_name
FROM temp.staged CROSS JOIN calls USING (identity) ORDER BY n
"""
