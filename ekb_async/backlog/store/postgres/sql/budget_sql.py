"""The SQL statements about budgets, what is spent, and how long calls wait.

`sqlite.sql.budget_sql` has the same under the same names.

What needs locks of `ekb_budget` takes them in the order of the IDs, and before any of rows of `ekb_spent`, which are
taken in the order of tenant and day; so no two transactions deadlock. What sets budgets locks the table `ekb_spent`
before: it waits until calls are counted that were marked without a budget, and what marks others waits for it. `now` is
None for the time of the database.
"""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.call_sql import NOW

# Usually there is no budget, and nothing else is read then.
CLOCK = f"SELECT {NOW} AS now, EXISTS (SELECT FROM ekb_budget) AS has_budgets"  # noqa: S608 - a constant
_DAY = f"floor((coalesce(:now::float8, {NOW}) + 28800) / 86400)::int"

# Marks and counts calls, all of them if no budget concerns any, else none.
MARK_UNLIMITED = f"""
WITH clock AS MATERIALIZED (SELECT {_DAY} AS day), marked AS (
    UPDATE ekb_call AS call SET sent = mark.sent
    FROM unnest(:call_id::bigint[], :unconfirmed::int[], :counted_on::int[]) AS mark (id, sent, counted_on)
    WHERE call.id = mark.id AND call.run_id = :run_id AND call.state = 'running' AND NOT EXISTS (
        SELECT FROM ekb_budget WHERE tenant IS NULL OR tenant IN (
            SELECT tenant FROM ekb_call WHERE id = ANY(:call_id::bigint[])
        )
    )
    RETURNING call.id, tenant, counted_on
), counted AS (
    INSERT INTO ekb_spent AS spent (tenant, day, calls)
    SELECT tenant, day, count(*) FROM marked CROSS JOIN clock WHERE counted_on <> day
    GROUP BY tenant, day ORDER BY tenant
    ON CONFLICT (day, tenant) DO UPDATE SET calls = spent.calls + excluded.calls
)
SELECT id, day FROM marked CROSS JOIN clock
"""  # noqa: S608 - constants

HAS_BUDGETS = COUNT_MARKED = ""  # the statement above does it all

# The time is that before the locks: calls are counted on the day on which they were to be sent.
TENANTS_OF = f"""
SELECT id, tenant, coalesce(:now::float8, {NOW}) AS now FROM ekb_call WHERE id = ANY(:ids::bigint[])
"""  # noqa: S608 - a constant

# A statement that may delete locks the table like those that count, here before the budgets.
LOCK_BUDGETS = """
WITH nothing AS (DELETE FROM ekb_spent WHERE false)
SELECT id FROM ekb_budget WHERE tenant IS NULL OR tenant = ANY(:tenants::text[]) ORDER BY id FOR UPDATE
"""

# The days of a tenant's month are given one by one, since the index has the days of all tenants in between.
READ_BUDGETS = """
SELECT tenant, period, calls, coalesce((
    SELECT sum(spent.calls) FROM ekb_spent AS spent
    WHERE day BETWEEN CASE period WHEN 'day' THEN :day::int ELSE :first_day::int END AND :day::int
), 0)::bigint AS spent
FROM ekb_budget WHERE tenant IS NULL
UNION ALL (
    SELECT budget.tenant, period, budget.calls,
        coalesce(sum(spent.calls) FILTER (WHERE period = 'month' OR day = :day::int), 0)::bigint
    FROM ekb_budget AS budget LEFT JOIN ekb_spent AS spent
        ON spent.tenant = budget.tenant AND day = ANY(:days::int[])
    WHERE budget.tenant IS NOT NULL AND (:tenants::text[] IS NULL OR budget.tenant = ANY(:tenants::text[]))
    GROUP BY budget.id
)
"""

COUNT_SPENT = """
INSERT INTO ekb_spent AS spent (tenant, day, calls)
SELECT tenant, day, calls FROM unnest(:tenant::text[], :day::int[], :calls::bigint[]) AS new (tenant, day, calls)
ORDER BY tenant, day
ON CONFLICT (day, tenant) DO UPDATE SET calls = greatest(0, spent.calls + excluded.calls)
"""

FORGET_SPENT = f"""
DELETE FROM ekb_spent WHERE (day, tenant) IN (
    SELECT day, tenant FROM ekb_spent WHERE day < {_DAY} - :kept::int FOR UPDATE SKIP LOCKED
)
"""  # noqa: S608 - a constant

LOCK_SPENT = "LOCK TABLE ekb_spent IN SHARE MODE"
SET_BUDGET = """
INSERT INTO ekb_budget (tenant, period, calls) VALUES (:tenant, :period, :calls)
ON CONFLICT (coalesce(tenant, ''), (tenant IS NULL), period) DO UPDATE SET calls = excluded.calls
"""
REMOVE_BUDGETS = "DELETE FROM ekb_budget WHERE tenant IS NOT DISTINCT FROM :tenant"

SPENT_BY_DAY = """
SELECT day, sum(calls)::bigint AS calls FROM ekb_spent
WHERE day > :after::int AND day <= :today::int AND (:tenant::text IS NULL OR tenant = :tenant) GROUP BY day ORDER BY day
"""

# Both parts are read from indexes alone; those that wait for something else are few.
_PENDING = "state = 'pending' AND kind = ANY(:kinds::text[]) AND (:tenants::text[] IS NULL OR tenant = ANY(:tenants))"
WAITING_FOR_BUDGET = f"""
SELECT kind, sum(calls)::bigint AS calls, sum(rows)::bigint AS rows FROM (
    SELECT kind, count(*) AS calls, sum(row_count) AS rows FROM ekb_call WHERE {_PENDING} GROUP BY kind
    UNION ALL
    SELECT kind, -count(*), -sum(row_count) FROM ekb_call WHERE due_at IS NOT NULL AND {_PENDING} GROUP BY kind
) AS each GROUP BY kind HAVING sum(calls) > 0
"""  # noqa: S608 - constants

# The first call of each kind and priority is nearly the oldest, and is found without an index of its own.
OLDEST = """
SELECT tenant, min(added_at) AS added_at
FROM unnest(:tenants::text[]) AS wanted (tenant) CROSS JOIN unnest(:kinds::text[]) AS wanted_kind (kind)
    CROSS JOIN unnest(:priorities::smallint[]) AS wanted_priority (priority)
    CROSS JOIN LATERAL (
        SELECT added_at FROM ekb_call AS call
        WHERE call.tenant = wanted.tenant AND call.kind = wanted_kind.kind
            AND call.priority = wanted_priority.priority AND state = 'pending' AND due_at IS NULL
        ORDER BY id LIMIT 1
    ) AS first
GROUP BY tenant
"""
