"""The SQL statements of metrics and health."""

from __future__ import annotations

MOMENT = "SELECT now()"

LOADS = """
SELECT state, kind, count(*) AS calls, sum(row_count) AS rows, sum(attempts) AS attempts
FROM calls INDEXED BY calls_by_state GROUP BY state, kind
"""

# Calls that an early version added have no time. Of these the one with the lowest ID is the oldest.
PENDING = """
SELECT tenant, kind, count(*) AS calls,
    sum(coalesce(due_at, 0) = 9e999) AS held,
    sum(coalesce(due_at, 0) > :now AND due_at < 9e999) AS later,
    min(added_at) AS oldest,
    min(CASE WHEN coalesce(due_at, 0) <= :now THEN added_at END) AS oldest_ready,
    min(CASE WHEN added_at IS NULL THEN id END) AS undated,
    min(CASE WHEN added_at IS NULL AND coalesce(due_at, 0) <= :now THEN id END) AS undated_ready
FROM calls INDEXED BY calls_oldest WHERE state = 'pending' GROUP BY tenant, kind
"""

MANIFEST_TIMES = """
SELECT calls.id, manifests.added_at FROM calls CROSS JOIN rows ON rows.id = calls.row_id
    CROSS JOIN manifests ON manifests.id = manifest_id
WHERE calls.id IN (SELECT value FROM json_each(:ids))
"""

_READY = """state = 'pending' AND coalesce(due_at, 0) <= :now AND kind NOT IN (SELECT value FROM json_each(:kinds))
    AND tenant NOT IN (SELECT value FROM json_each(:tenants))
    AND tenant || char(31) || kind NOT IN (SELECT value FROM json_each(:pairs))"""
OLDEST_READY = f"""
SELECT id, tenant, kind, added_at FROM calls INDEXED BY calls_oldest
WHERE {_READY} AND added_at <= :latest ORDER BY added_at LIMIT 1
"""  # noqa: S608 - a constant
UNDATED_READY = f"""
SELECT id, tenant, kind, added_at FROM calls INDEXED BY calls_oldest
WHERE {_READY} AND added_at IS NULL ORDER BY id LIMIT 1
"""  # noqa: S608 - a constant

FAILED = """
SELECT error_type, count(*) AS calls FROM calls INDEXED BY calls_failed WHERE state = 'failed'
GROUP BY error_type ORDER BY calls DESC, error_type
"""
UNCONFIRMED = """
SELECT count(*) FROM calls INDEXED BY calls_failed WHERE state = 'failed' AND error_type = :unknown_type
"""

PURGED = "SELECT kind, sum(attempts) AS attempts FROM purged GROUP BY kind"

# A lock shows whether a run is alive. Those whose process has ended are found later.
RUNS = "SELECT :this_host AS host, pid, process, NULL AS silent, said FROM runs ORDER BY id"

# A pause of a reference holds calls one by one.
PAUSES = "SELECT tenant, kind FROM pauses WHERE ref IS NULL"
