"""The SQL statements that read rows, and calls that have ended.

`selecting` and `ended` say how they are used.
"""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.pause_sql import NEVER
from ekb_async.backlog.store.postgres.sql.removal_sql import SELECTED

# Rows

_ROWS = """FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id"""
_PAGE = f"""
SELECT row.id, row.id <> call.row_id AS shared, path AS manifest, line, tenant, ref, kind,
    CASE kind WHEN 'verify_by_fields' THEN identity ELSE '' END AS identity, file, invoice_id, state, attempts,
    maybe_billed, error_type, error, hint, ended_at,
    nullif(due_at, {NEVER}) AS due_at, due_at IS NOT DISTINCT FROM {NEVER} AS held, result, call.row_id AS lead_id,
    row.id <> call.row_id
        AND content <> (SELECT lead.content FROM ekb_row AS lead WHERE lead.id = call.row_id) AS same_invoice,
    (SELECT first.row_id FROM ekb_call AS first WHERE first.id = call.same_as) AS same_as, source, staff_id, row.own,
    printed, warning, call_id, call.added_at
{_ROWS}
"""  # noqa: S608 - a constant
_NUMBERED = "row.id = ANY(:rows::bigint[])"
PAGE = f"{_PAGE}WHERE row.id > :after AND {SELECTED} ORDER BY row.id LIMIT :limit"
PAGE_BY_NUMBER = f"{_PAGE}WHERE {_NUMBERED} AND {SELECTED} ORDER BY row.id"
COUNT_SELECTED = f"SELECT count(*) {_ROWS} WHERE {SELECTED}"
COUNT_BY_NUMBER = f"{COUNT_SELECTED} AND {_NUMBERED}"

SUM_OF_CALLS = "SELECT coalesce(sum(row_count), 0) FROM ekb_call WHERE {which}"
COUNT_CALLS = "SELECT count(*) FROM (SELECT 1 FROM ekb_call WHERE {which} LIMIT :most) AS found"
NUMBERS_OF_CALLS = """
SELECT row.id FROM ekb_call AS call JOIN ekb_row AS row ON row.call_id = call.id
WHERE {which} AND row.id > :after ORDER BY row.id
"""
COUNT_REFS = "SELECT count(*) FROM (SELECT 1 FROM ekb_row WHERE ref = :ref AND ref <> '' LIMIT :most) AS found"
NUMBERS_OF_REF = "SELECT id FROM ekb_row WHERE ref = :ref AND ref <> '' AND id > :after ORDER BY id"
NUMBERS_OF_LISTED = "SELECT id FROM ekb_row WHERE call_id = ANY(:calls::bigint[]) AND id > :after ORDER BY id"

# Calls that have ended

CHANNEL = "SELECT 'ekb_ended_' || 'ekb_call'::regclass::oid"
# Transactions below the horizon have ended, so no call can come before those that are visible. A standby does not list
# the transactions in progress.
HORIZON = """
SELECT horizon, latest, coalesce((SELECT max(ended_in) FROM ekb_call) >= horizon, false) AS is_behind,
    CASE WHEN NOT pg_is_in_recovery() THEN in_progress END AS in_progress
FROM (
    SELECT pg_snapshot_xmin(snapshot)::text::bigint AS horizon, pg_snapshot_xmax(snapshot)::text::bigint AS latest,
        to_json(ARRAY(SELECT each::text::bigint FROM pg_snapshot_xip(snapshot) AS each))::text AS in_progress
    FROM pg_current_snapshot() AS snapshot
) AS present
"""
# A dump has the numbers of transactions of another server. What is visible to a statement has numbers below the latest
# one that this statement knows; calls that have ended since an earlier statement have later ones.
_LATEST = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
IS_RESTORED = f"SELECT coalesce(max(ended_in) >= {_LATEST}, false) FROM ekb_call"  # noqa: S608 - a constant
# A call that ends meanwhile keeps its new number.
FORGET_NUMBERS = f"""
UPDATE ekb_call AS call SET ended_in = 0
FROM (SELECT id, ended_in FROM ekb_call WHERE ended_in >= {_LATEST}) AS restored
WHERE call.id = restored.id AND call.ended_in = restored.ended_in
"""  # noqa: S608 - a constant
# Transactions in progress may have smaller numbers than those that are visible. The sum keeps the planner from looking
# for the time in the order of the numbers.
FIRST_SINCE = "SELECT least(min(ended_in + 0), :horizon::bigint) FROM ekb_call WHERE ended_at >= :since"
ENDED = """
SELECT ended_in, id AS call_id, coalesce(ended_at, 0) AS ended_at, tenant FROM ekb_call
WHERE (ended_in, id) > (:ended_in::bigint, :call_id::bigint) AND ended_in < :horizon
ORDER BY ended_in, id LIMIT :limit
"""
READ_ENDED = """
SELECT ended_in, call.id AS call_id, tenant, kind, state, attempts, maybe_billed, error_type, error, hint, ended_at,
    result, source, (
        SELECT json_agg(json_build_array(row.id, ref) ORDER BY row.id)::text FROM ekb_row AS row
        WHERE row.call_id = call.id
    ) AS rows
FROM unnest(:call_id::bigint[], :ended_in::bigint[]) AS wanted (id, in_transaction) JOIN ekb_call AS call USING (id)
WHERE state IN ('done', 'failed') AND ended_in = coalesce(in_transaction, ended_in)
ORDER BY ended_in, call_id
"""
