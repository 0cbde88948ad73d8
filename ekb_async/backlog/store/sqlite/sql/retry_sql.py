"""The SQL statements that make failed calls pending again."""

from __future__ import annotations

from ekb_async.backlog.store.sqlite.sql.pause_sql import NEVER, held

_FAILED = """state = 'failed' AND (:cause = '' OR instr(lower(error_type || ': ' || error), lower(:cause)))
    AND (:rows IS NULL OR calls.id IN (
        SELECT call_id FROM rows WHERE rows.id IN (SELECT value FROM json_each(:rows))
    ))
    AND (:file IS NULL OR EXISTS (
        SELECT 1 FROM rows WHERE call_id = calls.id
            AND (instr(lower(file), lower(:file)) OR instr(lower(invoice_id), lower(:file)))
    ))
    AND (:tenant IS NULL OR tenant = :tenant) AND (:kind IS NULL OR kind = :kind)
    AND (:ref IS NULL OR calls.id IN (SELECT call_id FROM rows WHERE ref = :ref))"""
_TO_RETRY = f"""{_FAILED} AND (error_type = :unknown_type) = :unknown
    AND (error_type = :cancelled_type) = :cancelled"""

LOCK_TO_RETRY = ""  # a writing transaction of SQLite is the only one
FAILED = f"""
SELECT kind, error_type = :unknown_type AS is_unknown, error_type = :cancelled_type AS is_cancelled,
    count(*) AS calls, sum(row_count) AS rows, sum(attempts > 0) AS sent,
    sum(maybe_billed > 0 OR error_type = :unknown_type) AS maybe_billed
FROM calls WHERE {_FAILED} GROUP BY kind, is_unknown, is_cancelled
"""  # noqa: S608 - a constant
RETRY = f"""
UPDATE calls SET state = 'pending', error_type = '', error = '', hint = '', ended_at = NULL, waits = 0,
    waited_on = 0, due_at = CASE WHEN {held("calls")} THEN {NEVER} END
WHERE {_TO_RETRY}
"""  # noqa: S608 - a constant
COUNT_BY_ROW = """
SELECT state, count(*) AS rows FROM rows CROSS JOIN calls ON calls.id = call_id
WHERE rows.id IN (SELECT value FROM json_each(:rows)) GROUP BY state
"""
