"""The SQL statements that select and remove rows."""

from __future__ import annotations

SELECTED = """(:state::text IS NULL OR state = :state) AND (:kind::text IS NULL OR kind = :kind)
    AND (:tenant::text IS NULL OR tenant = :tenant) AND (:manifest::text IS NULL OR path = :manifest)
    AND (:file::text IS NULL OR position(lower(:file) IN lower(file)) > 0
        OR position(lower(:file) IN lower(invoice_id)) > 0)
    AND (:ref::text IS NULL OR ref = :ref) AND (NOT :warned::boolean OR warning <> '')
    AND (:since::float8 IS NULL OR ended_at >= :since)
    AND (:calls::bigint[] IS NULL OR call_id = ANY(:calls::bigint[]))"""

_ROWS = """FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id"""

_TO_REMOVE = """
SELECT row.id AS row_id, call_id, call.row_id AS lead_id, row_count,
    state = 'running' AS is_running, state = 'done' OR attempts > 0 OR maybe_billed > 0 OR sent > 0 AS was_sent,
    same_as IS NOT NULL AS is_marked, kind IN ('ocr', 'verify') AND state <> 'done' AS needs_file, form < 2 AS is_file,
    CASE row_count WHEN 1 THEN 1 ELSE (
        SELECT count(*) FROM ekb_row AS other WHERE other.call_id = call.id AND other.form < 2
    ) END AS files
{rows}
WHERE {which} AND {selected}
ORDER BY row.id LIMIT :limit
"""
TO_REMOVE = _TO_REMOVE.format(rows=_ROWS, which="row.id > :after", selected=SELECTED)
TO_REMOVE_BY_ID = _TO_REMOVE.format(rows=_ROWS, which="row.id = ANY(:rows::bigint[])", selected=SELECTED)
# What claims a call skips it meanwhile. A call that was claimed a moment ago is read again afterwards.
LOCK_CALLS = "SELECT id FROM ekb_call WHERE id = ANY(:calls::bigint[]) ORDER BY id FOR UPDATE"

REMOVE_ROWS = "DELETE FROM ekb_row WHERE id = ANY(:rows::bigint[])"
# Of several files, that which the vendor takes best is sent, and of these the latest.
KEEP_CALLS = """
UPDATE ekb_call AS call SET row_count = (SELECT count(*) FROM ekb_row WHERE call_id = call.id),
    row_id = CASE WHEN EXISTS (SELECT 1 FROM ekb_row AS row WHERE row.id = call.row_id) THEN call.row_id ELSE (
        SELECT id FROM ekb_row WHERE call_id = call.id ORDER BY form, id DESC LIMIT 1
    ) END
WHERE id = ANY(:calls::bigint[])
"""
REMOVE_CALLS = "DELETE FROM ekb_call WHERE id = ANY(:calls::bigint[])"
REMOVE_INVOICES = "DELETE FROM ekb_invoice WHERE call_id = ANY(:calls::bigint[])"
REMOVE_ANSWERED = "DELETE FROM ekb_answered WHERE call_id = ANY(:calls::bigint[])"
INDEX_AGAIN = """
UPDATE ekb_call SET same_as = NULL, indexed = false WHERE id IN (
    SELECT id FROM ekb_call WHERE same_as IS NOT NULL ORDER BY id FOR UPDATE
)
"""
