"""The SQL statements that sum up the changes of the numbers of calls; see the migration `0005_operating.sql`."""

from __future__ import annotations

from ekb_async.storage.postgres.locks import OF_COUNTS

IS_FREE = f"SELECT pg_try_advisory_xact_lock({OF_COUNTS}, 0)"

COUNT_CHANGES = "SELECT count(*) FROM (SELECT FROM ekb_count WHERE NOT is_sum LIMIT :limit) AS changes"

_KEY = "tenant, kind, state, source, error_type, error, hint"
# A row is taken out by one transaction only, so nothing is counted twice or lost, whatever is added meanwhile.
SUM_UP = f"""
WITH changed AS (
    SELECT DISTINCT {_KEY} FROM ekb_count WHERE NOT is_sum
), taken AS (
    DELETE FROM ekb_count AS count USING changed
    WHERE {" AND ".join(f"count.{name} = changed.{name}" for name in _KEY.split(", "))} RETURNING count.*
)
INSERT INTO ekb_count
SELECT {_KEY}, sum(calls), sum(rows), sum(attempts), sum(maybe_billed), sum(same_invoice), true
FROM taken GROUP BY {_KEY}
HAVING (sum(calls), sum(rows), sum(attempts), sum(maybe_billed), sum(same_invoice)) <> (0, 0, 0, 0, 0)
"""  # noqa: S608 - constants
