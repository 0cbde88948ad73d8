"""The SQL statements of `store`; those that add rows are in `backlog.store.adding`."""

from __future__ import annotations

HOLD = """
UPDATE calls SET state = 'failed', error_type = :error_type, error = :error, hint = :hint, ended_at = :now,
    attempts = attempts + sent, maybe_billed = maybe_billed + sent, sent = 0, run_id = NULL
WHERE state = 'running' AND run_id = :run_id AND sent
    AND (:hold OR EXISTS (SELECT 1 FROM runs WHERE id = :run_id AND hold_unknown))
"""

RELEASE = """
UPDATE calls SET state = 'pending', attempts = attempts + sent, maybe_billed = maybe_billed + sent, sent = 0,
    run_id = NULL
WHERE state = 'running' AND run_id = :run_id
"""

COUNT_CLAIMED = "SELECT coalesce(sum(row_count), 0) FROM calls WHERE state = 'running' AND run_id = ?"

TO_RETRY = """state = 'failed' AND (error_type = :error_type) = :unknown
    AND (:cause = '' OR instr(lower(error_type || ': ' || error), lower(:cause)))"""
COUNT_TO_RETRY = f"SELECT coalesce(sum(row_count), 0) FROM calls WHERE {TO_RETRY}"  # noqa: S608 - two constants
TO_PENDING = "UPDATE calls SET state = 'pending', error_type = '', error = '', hint = '', ended_at = NULL"
RETRY = f"{TO_PENDING} WHERE {TO_RETRY}"

CLAIM = """
SELECT calls.id, CASE tenant WHEN '' THEN identity ELSE substr(identity, length(tenant) + 2) END, row_count,
    calls.kind, file, invoice_id, staff_id, file_name, start, length, manifests.path, manifests.columns
FROM calls CROSS JOIN rows ON rows.id = calls.row_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE calls.tenant = ? AND calls.kind = ? AND calls.state = 'pending' ORDER BY calls.id LIMIT ?
"""

CLAIM_LATEST = CLAIM.replace("ORDER BY calls.id", "ORDER BY calls.id DESC")

TAKE = """
UPDATE calls INDEXED BY calls_to_claim SET state = 'running', run_id = ?
WHERE tenant = ? AND kind = ? AND state = 'pending' AND id BETWEEN ? AND ?
"""

COUNT_BY_TENANT = """
SELECT tenant, state, sum(row_count), sum(CASE WHEN error_type = ? AND state = 'failed' THEN row_count ELSE 0 END),
    sum(maybe_billed)
FROM calls GROUP BY tenant, state ORDER BY tenant, state
"""

ACTIVE_RUNS = """
SELECT pid, started_at, (SELECT count(*) FROM calls WHERE state = 'running' AND run_id = runs.id) FROM runs ORDER BY id
"""

COPIES = """
SELECT manifests.path, file FROM rows JOIN manifests ON manifests.id = manifest_id
WHERE call_id = ? ORDER BY rows.id DESC
"""

NAMED = """
SELECT DISTINCT manifests.path, file
FROM rows JOIN calls ON calls.id = call_id JOIN manifests ON manifests.id = manifest_id
WHERE kind IN ('ocr', 'verify') AND (substr(file, -length(:name)) = :name OR substr(identity, -64) = :sha256)
"""

MARK_SENT = "UPDATE calls SET sent = ? WHERE id = ? AND run_id = ? AND state = 'running'"

RECORD = """
UPDATE calls SET state = ?, run_id = NULL, sent = 0, attempts = attempts + ?, maybe_billed = maybe_billed + ?,
    ended_at = ?, result = ?, error_type = ?, error = ?, hint = ?
WHERE id = ? AND run_id = ? AND state = 'running'
"""

PAGE = """
SELECT rows.id, rows.id != calls.row_id, manifests.path, line, tenant, ref, kind, file, invoice_id, state, attempts,
    maybe_billed, error_type, error, hint, ended_at, result
FROM rows CROSS JOIN calls ON calls.id = rows.call_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE rows.id > :after AND (:state IS NULL OR state = :state) AND (:kind IS NULL OR kind = :kind)
ORDER BY rows.id LIMIT :limit
"""
