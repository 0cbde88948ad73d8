"""The SQL statements that read rows, and calls that have ended.

`selecting` and `ended` say how they are used.
"""

from __future__ import annotations

from ekb_async.backlog.store.sqlite.sql.call_sql import PLAIN_IDENTITY
from ekb_async.backlog.store.sqlite.sql.pause_sql import NEVER
from ekb_async.backlog.store.sqlite.sql.removal_sql import SELECTED

# Rows

_ROWS = """FROM rows CROSS JOIN calls ON calls.id = rows.call_id
    CROSS JOIN manifests ON manifests.id = rows.manifest_id"""
_PAGE = f"""
SELECT rows.id, rows.id != calls.row_id AS shared, path AS manifest, line, tenant, ref, kind,
    CASE kind WHEN 'verify_by_fields' THEN {PLAIN_IDENTITY} ELSE '' END AS identity, file, invoice_id, state, attempts,
    maybe_billed, error_type, error, hint, ended_at,
    nullif(due_at, {NEVER}) AS due_at, due_at IS {NEVER} AS held, result, calls.row_id AS lead_id,
    rows.id != calls.row_id
        AND content != (SELECT lead.content FROM rows AS lead WHERE lead.id = calls.row_id) AS same_invoice,
    (SELECT first.row_id FROM calls AS first WHERE first.id = calls.same_as) AS same_as, source, staff_id, rows.own,
    printed, warning, call_id, calls.added_at
{_ROWS}
"""  # noqa: S608 - a constant
_NUMBERED = "rows.id IN (SELECT value FROM json_each(:rows))"
PAGE = f"{_PAGE}WHERE rows.id > :after AND {SELECTED} ORDER BY rows.id LIMIT :limit"
PAGE_BY_NUMBER = f"{_PAGE}WHERE {_NUMBERED} AND {SELECTED} ORDER BY rows.id"
COUNT_SELECTED = f"SELECT count(*) {_ROWS} WHERE {SELECTED}"
COUNT_BY_NUMBER = f"{COUNT_SELECTED} AND {_NUMBERED}"

SUM_OF_CALLS = "SELECT coalesce(sum(row_count), 0) FROM calls WHERE {which}"
COUNT_CALLS = "SELECT count(*) FROM (SELECT 1 FROM calls WHERE {which} LIMIT :most)"
NUMBERS_OF_CALLS = """
SELECT rows.id FROM calls CROSS JOIN rows ON rows.call_id = calls.id
WHERE {which} AND rows.id > :after ORDER BY rows.id
"""
COUNT_REFS = "SELECT count(*) FROM (SELECT 1 FROM rows WHERE ref = :ref AND ref != '' LIMIT :most)"
NUMBERS_OF_REF = "SELECT id FROM rows WHERE ref = :ref AND ref != '' AND id > :after ORDER BY id"
NUMBERS_OF_LISTED = """
SELECT rows.id FROM json_each(:calls) CROSS JOIN rows ON rows.call_id = value WHERE rows.id > :after ORDER BY rows.id
"""

# Calls that have ended

# A transaction that is written has counted the file's changes up.
HORIZON = "SELECT changes AS horizon, changes AS latest, 0 AS is_behind, NULL AS in_progress FROM file"
IS_RESTORED = "SELECT 0"
FORGET_NUMBERS = ""
FIRST_SINCE = "SELECT coalesce(min(ended_in + 0), :horizon) FROM calls WHERE ended_at >= :since"
ENDED = """
SELECT ended_in, id AS call_id, coalesce(ended_at, 0) AS ended_at, tenant FROM calls INDEXED BY calls_ended_in
WHERE (ended_in, id) > (:ended_in, :call_id) AND ended_in < :horizon
ORDER BY ended_in, id LIMIT :limit
"""
READ_ENDED = """
SELECT ended_in, id AS call_id, tenant, kind, state, attempts, maybe_billed, error_type, error, hint, ended_at, result,
    source, (
        SELECT json_group_array(json_array(id, ref))
        FROM (SELECT id, ref FROM rows WHERE call_id = calls.id ORDER BY id)
    ) AS rows
FROM calls WHERE id = :call_id AND (state = 'done' OR state = 'failed') AND ended_in = coalesce(:ended_in, ended_in)
"""
