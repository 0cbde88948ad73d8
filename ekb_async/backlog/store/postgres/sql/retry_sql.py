"""The SQL statements that make failed calls pending again."""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.pause_sql import NEVER, held

_FAILED = """state = 'failed'
    AND (:cause = '' OR position(lower(:cause) IN lower(error_type || ': ' || error)) > 0)
    AND (:rows::bigint[] IS NULL OR call.id IN (SELECT call_id FROM ekb_row WHERE id = ANY(:rows::bigint[])))
    AND (:file::text IS NULL OR EXISTS (
        SELECT 1 FROM ekb_row AS row WHERE row.call_id = call.id
            AND (position(lower(:file) IN lower(file)) > 0 OR position(lower(:file) IN lower(invoice_id)) > 0)
    ))
    AND (:tenant::text IS NULL OR tenant = :tenant) AND (:kind::text IS NULL OR kind = :kind)
    AND (:ref::text IS NULL OR call.id IN (SELECT call_id FROM ekb_row WHERE ref = :ref))"""
_TO_RETRY = f"""{_FAILED} AND (error_type = :unknown_type) = :unknown
    AND (error_type = :cancelled_type) = :cancelled"""

# In one order, so that two programs never wait for each other.
LOCK_TO_RETRY = f"SELECT id FROM ekb_call AS call WHERE {_TO_RETRY} ORDER BY id FOR UPDATE"  # noqa: S608 - a constant
FAILED = f"""
SELECT kind, error_type = :unknown_type AS is_unknown, error_type = :cancelled_type AS is_cancelled,
    count(*) AS calls, sum(row_count) AS rows,
    count(*) FILTER (WHERE attempts > 0) AS sent,
    count(*) FILTER (WHERE maybe_billed > 0 OR error_type = :unknown_type) AS maybe_billed
FROM ekb_call AS call WHERE {_FAILED} GROUP BY kind, is_unknown, is_cancelled
"""  # noqa: S608 - a constant
RETRY = f"""
UPDATE ekb_call AS call SET state = 'pending', error_type = '', error = '', hint = '', ended_at = NULL, turn = NULL,
    planned = false, waits = 0, waited_on = 0, due_at = CASE WHEN {held("call")} THEN {NEVER} END
WHERE {_TO_RETRY}
"""  # noqa: S608 - a constant
COUNT_BY_ROW = """
SELECT state, count(*) AS rows FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
WHERE row.id = ANY(:rows::bigint[]) GROUP BY state
"""
