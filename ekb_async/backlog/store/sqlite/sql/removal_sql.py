"""The SQL statements that select and remove rows."""

from __future__ import annotations

SELECTED = """(:state IS NULL OR state = :state) AND (:kind IS NULL OR kind = :kind)
    AND (:tenant IS NULL OR tenant = :tenant) AND (:manifest IS NULL OR path = :manifest)
    AND (:file IS NULL OR instr(lower(file), lower(:file)) OR instr(lower(invoice_id), lower(:file)))
    AND (:ref IS NULL OR ref = :ref) AND (NOT :warned OR warning != '')
    AND (:since IS NULL OR ended_at >= :since)
    AND (:calls IS NULL OR call_id IN (SELECT value FROM json_each(:calls)))"""

_TO_REMOVE = """
SELECT rows.id AS row_id, call_id, row_id AS lead_id, row_count,
    state = 'running' AS is_running, state = 'done' OR attempts > 0 OR maybe_billed > 0 OR sent > 0 AS was_sent,
    same_as IS NOT NULL AS is_marked, kind IN ('ocr', 'verify') AND state <> 'done' AS needs_file, form < 2 AS is_file,
    CASE row_count WHEN 1 THEN 1 ELSE (
        SELECT count(*) FROM rows AS other WHERE other.call_id = calls.id AND other.form < 2
    ) END AS files
FROM rows CROSS JOIN calls ON calls.id = rows.call_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE {which} AND {selected}
ORDER BY rows.id LIMIT :limit
"""
TO_REMOVE = _TO_REMOVE.format(which="rows.id > :after", selected=SELECTED)
TO_REMOVE_BY_ID = _TO_REMOVE.format(which="rows.id IN (SELECT value FROM json_each(:rows))", selected=SELECTED)
LOCK_CALLS = ""  # a writing transaction of SQLite is the only one

REMOVE_ROWS = "DELETE FROM rows WHERE id IN (SELECT value FROM json_each(:rows))"
# Of several files, that which the vendor takes best is sent, and of these the latest.
KEEP_CALLS = """
UPDATE calls SET row_count = (SELECT count(*) FROM rows WHERE call_id = calls.id),
    row_id = CASE WHEN row_id IN (SELECT id FROM rows WHERE call_id = calls.id) THEN row_id ELSE (
        SELECT id FROM rows WHERE call_id = calls.id ORDER BY form, id DESC LIMIT 1
    ) END
WHERE id IN (SELECT value FROM json_each(:calls))
"""
REMOVE_CALLS = "DELETE FROM calls WHERE id IN (SELECT value FROM json_each(:calls))"
REMOVE_INVOICES = "DELETE FROM invoices WHERE call_id IN (SELECT value FROM json_each(:calls))"
REMOVE_ANSWERED = "DELETE FROM answered WHERE call_id IN (SELECT value FROM json_each(:calls))"
INDEX_AGAIN = """
INSERT OR IGNORE INTO to_index SELECT id FROM calls WHERE same_as IS NOT NULL;
UPDATE calls SET same_as = NULL WHERE same_as IS NOT NULL
"""
