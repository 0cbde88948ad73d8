"""The SQL statements that purge calls which have ended.

The connection has the functions `digest(text)` and `plus(decimal, decimal)`.
"""

from __future__ import annotations

from ekb_async.backlog.store.sqlite.sql.invoice_sql import DIGEST

_OLD = """ended_at < :before AND (state = 'done' OR state = 'failed' AND :failed)
    AND (:tenant IS NULL OR tenant = :tenant)"""
_CALLS = "(SELECT value FROM json_each(:calls))"

COUNT_OLD = f"""
SELECT kind, state, count(*) AS calls, sum(row_count) AS rows FROM calls WHERE {_OLD} GROUP BY kind, state
"""  # noqa: S608 - a constant

OLD = f"""
SELECT id AS call_id, tenant, kind, source, ended_at, same_as,
    CASE WHEN :summary AND state = 'done' AND kind NOT IN ('url', 'detail', 'download') THEN result END AS result
FROM calls INDEXED BY calls_ended WHERE {_OLD} AND (ended_at, id) > (:after, :after_id)
ORDER BY ended_at, id LIMIT :limit
"""  # noqa: S608 - a constant
LOCK_OLD = f"SELECT id FROM calls WHERE id IN {_CALLS} AND {_OLD} ORDER BY id"  # noqa: S608 - a constant
SURVIVING = f"""
SELECT id AS call_id, tenant, kind, source, ended_at, same_as, result FROM calls
WHERE same_as IN (SELECT value FROM json_each(:firsts)) AND state = 'done' AND id NOT IN {_CALLS}
ORDER BY id LIMIT :limit
"""  # noqa: S608 - a constant

KEEP_DIGESTS = f"""
INSERT INTO purged_rows (digest, tenant, day)
SELECT {DIGEST}, tenant,
    CAST((ended_at + 28800) / 86400 AS INTEGER)
FROM rows CROSS JOIN calls ON calls.id = call_id WHERE call_id IN {_CALLS}
ON CONFLICT (digest) DO UPDATE SET day = max(day, excluded.day)
"""  # noqa: S608 - a constant
FORGET_DIGESTS = """
DELETE FROM purged_rows WHERE digest IN (
    SELECT digest FROM purged_rows WHERE day < :day AND (:tenant IS NULL OR tenant = :tenant) LIMIT :limit
)
"""

KEEP_SUMS = f"""
INSERT INTO purged (tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice)
SELECT tenant, kind, state, source, CASE state WHEN 'failed' THEN error_type ELSE '' END, count(*), sum(row_count),
    sum(attempts), sum(maybe_billed),
    sum((SELECT count(DISTINCT content) - 1 FROM rows WHERE rows.call_id = calls.id))
FROM calls WHERE id IN {_CALLS} GROUP BY tenant, kind, state, source, 5
ON CONFLICT (tenant, kind, state, source, error_type) DO UPDATE SET
    calls = calls + excluded.calls, rows = rows + excluded.rows, attempts = attempts + excluded.attempts,
    maybe_billed = maybe_billed + excluded.maybe_billed, same_invoice = same_invoice + excluded.same_invoice
"""  # noqa: S608 - a constant
KEEP_INVOICES = """
INSERT INTO purged_invoices (tenant, kind, verdict, currency, invoices, total)
VALUES (:tenant, :kind, :verdict, :currency, :invoices, :total)
ON CONFLICT (tenant, kind, verdict, currency) DO UPDATE SET
    invoices = invoices + excluded.invoices, total = plus(total, excluded.total)
"""

MANIFESTS_OF = f"SELECT DISTINCT manifest_id FROM rows WHERE call_id IN {_CALLS}"  # noqa: S608 - a constant
REMOVE_ROWS = f"DELETE FROM rows WHERE call_id IN {_CALLS}"  # noqa: S608 - a constant
NOTE_SURVIVING = f"INSERT OR IGNORE INTO to_index SELECT id FROM calls WHERE same_as IN {_CALLS}"  # noqa: S608
FREE_SURVIVING = f"UPDATE calls SET same_as = NULL WHERE same_as IN {_CALLS}"  # noqa: S608 - a constant
REMOVE_MANIFESTS = """
DELETE FROM manifests WHERE id IN (SELECT value FROM json_each(:manifests)) AND NOT EXISTS (
    SELECT 1 FROM rows WHERE manifest_id = manifests.id
)
"""

# What was purged

PURGED = """
SELECT kind, state, source, sum(calls) AS calls, sum(rows) AS rows, sum(attempts) AS attempts,
    sum(maybe_billed) AS maybe_billed, sum(same_invoice) AS same_invoice
FROM purged GROUP BY kind, state, source ORDER BY kind, state, source
"""
PURGED_INVOICES = """
SELECT tenant, kind, verdict, currency, invoices, total FROM purged_invoices ORDER BY kind, verdict, currency
"""

# Copying

READ_SUMS = """
SELECT tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice FROM purged
"""
ADD_SUMS = """
INSERT INTO purged (tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice)
VALUES (:tenant, :kind, :state, :source, :error_type, :calls, :rows, :attempts, :maybe_billed, :same_invoice)
"""
READ_DIGESTS = "SELECT digest, tenant, day FROM purged_rows WHERE digest > :after ORDER BY digest LIMIT :limit"
ADD_DIGESTS = "INSERT OR IGNORE INTO purged_rows (digest, tenant, day) VALUES (:digest, :tenant, :day)"
