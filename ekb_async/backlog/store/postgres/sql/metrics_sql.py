"""The SQL statements of metrics and health.

They are executed every few seconds, so each of them reads nothing but an index, or a table that has few rows.
"""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.call_sql import NOW

MOMENT = f"SELECT {NOW}"

# What is counted comes from the changes that `ekb_count` has, see the migration 0005_operating.sql.
LOADS = """
SELECT state, kind, sum(calls) AS calls, sum(rows) AS rows, sum(attempts) AS attempts
FROM ekb_count GROUP BY state, kind HAVING sum(calls) > 0
"""

# Calls that an early version added have no time. Of these the one with the lowest ID is the oldest.
PENDING = """
SELECT tenant, kind, count(*) AS calls,
    count(*) FILTER (WHERE due_at = 'infinity') AS held,
    count(*) FILTER (WHERE due_at > :now AND due_at < 'infinity') AS later,
    min(added_at) AS oldest,
    min(added_at) FILTER (WHERE due_at IS NULL OR due_at <= :now) AS oldest_ready,
    min(id) FILTER (WHERE added_at IS NULL) AS undated,
    min(id) FILTER (WHERE added_at IS NULL AND (due_at IS NULL OR due_at <= :now)) AS undated_ready
FROM ekb_call WHERE state = 'pending' GROUP BY tenant, kind
"""

MANIFEST_TIMES = """
SELECT call.id, manifest.added_at FROM ekb_call AS call JOIN ekb_row AS row ON row.id = call.row_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
WHERE call.id = ANY(:ids::bigint[])
"""

_READY = """state = 'pending' AND (due_at IS NULL OR due_at <= :now) AND kind <> ALL(:kinds::text[])
    AND tenant <> ALL(:tenants::text[]) AND tenant || chr(31) || kind <> ALL(:pairs::text[])"""
OLDEST_READY = f"""
SELECT id, tenant, kind, added_at FROM ekb_call WHERE {_READY} AND added_at <= :latest ORDER BY added_at, id LIMIT 1
"""  # noqa: S608 - a constant
UNDATED_READY = f"""
SELECT id, tenant, kind, added_at FROM ekb_call WHERE {_READY} AND added_at IS NULL ORDER BY id LIMIT 1
"""  # noqa: S608 - a constant

FAILED = """
SELECT error_type, sum(calls) AS calls FROM ekb_count WHERE state = 'failed'
GROUP BY error_type HAVING sum(calls) > 0 ORDER BY calls DESC, error_type
"""
UNCONFIRMED = """
SELECT coalesce(sum(calls), 0) FROM ekb_count WHERE state = 'failed' AND error_type = :unknown_type
"""

PURGED = "SELECT kind, sum(attempts) AS attempts FROM ekb_purged GROUP BY kind"

RUNS = f"SELECT host, pid, '' AS process, {NOW} - seen AS silent, said FROM ekb_run ORDER BY id"  # noqa: S608 - a constant

# A pause of a reference holds calls one by one.
PAUSES = "SELECT tenant, kind FROM ekb_pause WHERE ref IS NULL"
