"""The SQL statements about budgets, what is spent, and how long calls wait.

`postgres.sql.budget_sql` has the same under the same names."""

from __future__ import annotations

CLOCK = ""  # the time is always passed

MARK_UNLIMITED = ""  # several statements take no longer in a file
HAS_BUDGETS = "SELECT EXISTS (SELECT 1 FROM budgets)"
COUNT_MARKED = """
INSERT INTO spent (tenant, day, calls)
SELECT tenant, :day, count(*) FROM json_each(:ids) CROSS JOIN calls ON calls.id = value GROUP BY tenant
ON CONFLICT (day, tenant) DO UPDATE SET calls = spent.calls + excluded.calls
"""

TENANTS_OF = "SELECT id, tenant, :now AS now FROM calls WHERE id IN (SELECT value FROM json_each(:ids))"

LOCK_BUDGETS = LOCK_SPENT = ""  # a writing transaction of SQLite is the only one

READ_BUDGETS = """
SELECT budgets.tenant, period, budgets.calls, coalesce(CASE WHEN budgets.tenant IS NULL THEN (
    SELECT sum(spent.calls) FROM spent
    WHERE day BETWEEN CASE period WHEN 'day' THEN :day ELSE :first_day END AND :day
) ELSE (
    SELECT sum(spent.calls) FROM json_each(:days) CROSS JOIN spent ON spent.day = value
    WHERE spent.tenant = budgets.tenant AND (period = 'month' OR value = :day)
) END, 0) AS spent
FROM budgets
WHERE tenant IS NULL OR :tenants IS NULL OR tenant IN (SELECT value FROM json_each(:tenants))
"""

COUNT_SPENT = """
INSERT INTO spent (tenant, day, calls) VALUES (:tenant, :day, :calls)
ON CONFLICT (day, tenant) DO UPDATE SET calls = max(0, spent.calls + excluded.calls)
"""

FORGET_SPENT = "DELETE FROM spent WHERE day < cast(floor((:now + 28800) / 86400) AS INTEGER) - :kept"

SET_BUDGET = """
INSERT INTO budgets (tenant, period, calls) VALUES (:tenant, :period, :calls)
ON CONFLICT (coalesce(tenant, ''), (tenant IS NULL), period) DO UPDATE SET calls = excluded.calls
"""
REMOVE_BUDGETS = "DELETE FROM budgets WHERE tenant IS :tenant"

SPENT_BY_DAY = """
SELECT day, sum(calls) AS calls FROM spent
WHERE day > :after AND day <= :today AND (:tenant IS NULL OR tenant = :tenant) GROUP BY day ORDER BY day
"""

# Both parts are read from indexes alone; those that wait for something else are few.
_PENDING = """state = 'pending' AND kind IN (SELECT value FROM json_each(:kinds))
    AND (:tenants IS NULL OR tenant IN (SELECT value FROM json_each(:tenants)))"""
WAITING_FOR_BUDGET = f"""
SELECT kind, sum(calls) AS calls, sum(rows) AS rows FROM (
    SELECT kind, count(*) AS calls, sum(row_count) AS rows FROM calls INDEXED BY calls_by_state
    WHERE {_PENDING} GROUP BY kind
    UNION ALL
    SELECT kind, -count(*), -sum(row_count) FROM calls WHERE due_at IS NOT NULL AND {_PENDING} GROUP BY kind
) GROUP BY kind HAVING sum(calls) > 0
"""  # noqa: S608 - constants

# The first call of each kind is nearly the oldest, and is found without an index of its own.
OLDEST = """
SELECT wanted.value AS tenant, min((
    SELECT added_at FROM calls INDEXED BY calls_to_claim
    WHERE calls.tenant = wanted.value AND calls.kind = wanted_kind.value AND state = 'pending' AND due_at IS NULL
    ORDER BY id LIMIT 1
)) AS added_at
FROM json_each(:tenants) AS wanted CROSS JOIN json_each(:kinds) AS wanted_kind
GROUP BY wanted.value
"""
