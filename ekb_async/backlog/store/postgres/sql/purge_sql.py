"""The SQL statements that purge calls which have ended."""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.invoice_sql import DIGEST

_OLD = """ended_at < :before AND (state = 'done' OR state = 'failed' AND :failed::boolean)
    AND (:tenant::text IS NULL OR tenant = :tenant)"""

COUNT_OLD = f"""
SELECT kind, state, count(*) AS calls, sum(row_count) AS rows FROM ekb_call WHERE {_OLD} GROUP BY kind, state
"""  # noqa: S608 - a constant

OLD = f"""
SELECT id AS call_id, tenant, kind, source, ended_at, same_as,
    CASE WHEN :summary::boolean AND state = 'done' AND kind NOT IN ('url', 'detail', 'download') THEN result END
        AS result
FROM ekb_call WHERE {_OLD} AND (ended_at, id) > (:after::float8, :after_id::bigint)
ORDER BY ended_at, id LIMIT :limit
"""  # noqa: S608 - a constant
# Calls that something else has locked are left for the next time.
LOCK_OLD = f"""
SELECT id FROM ekb_call WHERE id = ANY(:calls::bigint[]) AND {_OLD} ORDER BY id FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - a constant
SURVIVING = """
SELECT id AS call_id, tenant, kind, source, ended_at, same_as, result FROM ekb_call
WHERE same_as = ANY(:firsts::bigint[]) AND state = 'done' AND NOT (id = ANY(:calls::bigint[])) ORDER BY id LIMIT :limit
"""

KEEP_DIGESTS = f"""
INSERT INTO ekb_purged_row AS kept (digest, tenant, day)
SELECT digest, min(tenant), max(floor((ended_at + 28800) / 86400)::int)
FROM (
    SELECT {DIGEST.format(call="call", row="row")} AS digest, tenant, ended_at
    FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id WHERE call_id = ANY(:calls::bigint[])
) AS each GROUP BY digest ORDER BY digest
ON CONFLICT (digest) DO UPDATE SET day = greatest(kept.day, excluded.day)
"""  # noqa: S608 - a constant
FORGET_DIGESTS = """
DELETE FROM ekb_purged_row WHERE digest IN (
    SELECT digest FROM ekb_purged_row WHERE day < :day AND (:tenant::text IS NULL OR tenant = :tenant) LIMIT :limit
)
"""

KEEP_SUMS = """
INSERT INTO ekb_purged AS kept
    (tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice)
SELECT tenant, kind, state, source, CASE state WHEN 'failed' THEN error_type ELSE '' END AS error_type, count(*),
    sum(row_count), sum(attempts), sum(maybe_billed), sum(same_invoice)
FROM ekb_call WHERE id = ANY(:calls::bigint[]) GROUP BY tenant, kind, state, source, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (tenant, kind, state, source, error_type) DO UPDATE SET
    calls = kept.calls + excluded.calls, rows = kept.rows + excluded.rows,
    attempts = kept.attempts + excluded.attempts, maybe_billed = kept.maybe_billed + excluded.maybe_billed,
    same_invoice = kept.same_invoice + excluded.same_invoice
"""
KEEP_INVOICES = """
INSERT INTO ekb_purged_invoice AS kept (tenant, kind, verdict, currency, invoices, total)
SELECT tenant, kind, verdict, currency, invoices, total::numeric
FROM unnest(:tenant::text[], :kind::text[], :verdict::text[], :currency::text[], :invoices::bigint[], :total::text[])
    AS new (tenant, kind, verdict, currency, invoices, total) ORDER BY 1, 2, 3, 4
ON CONFLICT (tenant, kind, verdict, currency) DO UPDATE SET
    invoices = kept.invoices + excluded.invoices, total = kept.total + excluded.total
"""

MANIFESTS_OF = "SELECT DISTINCT manifest_id FROM ekb_row WHERE call_id = ANY(:calls::bigint[])"
REMOVE_ROWS = "DELETE FROM ekb_row WHERE call_id = ANY(:calls::bigint[])"
NOTE_SURVIVING = ""  # the next statement does so
FREE_SURVIVING = """
UPDATE ekb_call SET same_as = NULL, indexed = false WHERE id IN (
    SELECT id FROM ekb_call WHERE same_as = ANY(:calls::bigint[]) ORDER BY id FOR UPDATE
)
"""
# The rows that are left of a manifest are usually its last ones, and those before them are dead entries of the index.
REMOVE_MANIFESTS = """
DELETE FROM ekb_manifest AS manifest WHERE id = ANY(:manifests::bigint[]) AND (
    SELECT max(row.id) FROM ekb_row AS row WHERE manifest_id = manifest.id
) IS NULL
"""

# What was purged

PURGED = """
SELECT kind, state, source, sum(calls)::bigint AS calls, sum(rows)::bigint AS rows, sum(attempts)::bigint AS attempts,
    sum(maybe_billed)::bigint AS maybe_billed, sum(same_invoice)::bigint AS same_invoice
FROM ekb_purged GROUP BY kind, state, source ORDER BY kind, state, source
"""
PURGED_INVOICES = """
SELECT tenant, kind, verdict, currency, invoices, total::text AS total
FROM ekb_purged_invoice ORDER BY kind, verdict, currency
"""

# Copying

READ_SUMS = """
SELECT tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice FROM ekb_purged
"""
ADD_SUMS = """
INSERT INTO ekb_purged (tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed, same_invoice)
SELECT * FROM unnest(:tenant::text[], :kind::text[], :state::text[], :source::text[], :error_type::text[],
    :calls::bigint[], :rows::bigint[], :attempts::bigint[], :maybe_billed::bigint[], :same_invoice::bigint[])
"""
READ_DIGESTS = """
SELECT replace(digest::text, '-', '') AS digest, tenant, day FROM ekb_purged_row WHERE digest > :after::text::uuid
ORDER BY ekb_purged_row.digest LIMIT :limit
"""
ADD_DIGESTS = """
INSERT INTO ekb_purged_row (digest, tenant, day)
SELECT digest::uuid, tenant, day FROM unnest(:digest::text[], :tenant::text[], :day::int[]) AS new (digest, tenant, day)
ON CONFLICT DO NOTHING
"""
