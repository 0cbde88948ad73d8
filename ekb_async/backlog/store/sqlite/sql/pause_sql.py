"""The SQL statements that hold, release and cancel calls for a person.

A call that is held is pending, with infinity as its due time. The statements with a scope are listed by what limits it:
whether there is a tenant, and whether there is a kind.
"""

from __future__ import annotations

from itertools import product

NEVER = "9e999"
"""The due time of a call that is held."""

_MATCHES = "(pause.tenant IS NULL OR pause.tenant = {tenant}) AND (pause.kind IS NULL OR pause.kind = {kind})"
_PAUSED = f"EXISTS (SELECT 1 FROM pauses AS pause WHERE pause.ref IS NULL AND {_MATCHES})"  # noqa: S608 - a constant

HAS_PAUSES = "EXISTS (SELECT 1 FROM pauses)"


def paused(tenant: str, kind: str) -> str:
    """Return the condition that a tenant's calls of a kind are paused, given the expressions of both."""
    return _PAUSED.format(tenant=tenant, kind=kind)


def held(call: str) -> str:
    """Return the condition that some pause holds a call, also one of a reference that all of its rows have."""
    matches = _MATCHES.format(tenant=f"{call}.tenant", kind=f"{call}.kind")
    return f"""EXISTS (
    SELECT 1 FROM pauses AS pause WHERE {matches} AND (pause.ref IS NULL OR NOT EXISTS (
        SELECT 1 FROM rows AS held_row WHERE held_row.call_id = {call}.id AND held_row.ref != pause.ref
    ))
)"""  # noqa: S608 - names of tables


# Pauses

PAUSES = "SELECT tenant, kind, ref, since, reason FROM pauses ORDER BY id"
_SAME = "tenant IS :tenant AND kind IS :kind AND ref IS :ref"
GIVE_REASON = f"UPDATE pauses SET reason = :reason WHERE :reason != '' AND {_SAME}"  # noqa: S608 - a constant
ADD_PAUSE = f"""
INSERT INTO pauses (tenant, kind, ref, since, reason)
SELECT :tenant, :kind, :ref, :since, :reason
WHERE NOT EXISTS (SELECT 1 FROM pauses WHERE {_SAME})
"""  # noqa: S608 - a constant
REMOVE_PAUSES = """
DELETE FROM pauses WHERE (:tenant IS NULL OR tenant = :tenant) AND (:kind IS NULL OR kind = :kind)
    AND (:ref IS NULL OR ref = :ref)
"""

# Calls

_FREE, _HELD = "state = 'pending' AND due_at IS NULL", f"state = 'pending' AND due_at = {NEVER}"
_WAITING = f"state = 'pending' AND due_at < {NEVER}"
_ARE = {
    # The pause may have ended meanwhile.
    "hold": {"calls_to_claim": f"{_FREE} AND {held('calls')}"},
    "release": {"calls_held": f"{_HELD} AND NOT {held('calls')}"},
    "cancel": {"calls_to_claim": _FREE, "calls_held": _HELD, "calls_waiting": f"due_at IS NOT NULL AND {_WAITING}"},
}
"""What can be changed, and the index by which it is found; without statistics SQLite would take another one."""
_SCOPES = {
    (has_tenant, has_kind): " AND ".join(
        # The plus keeps SQLite from sorting what it finds in order.
        [
            "true",
            *["calls.tenant = :tenant"] * has_tenant,
            *[f"{'' if has_tenant else '+'}calls.kind = :kind"] * has_kind,
        ]
    )
    for has_tenant, has_kind in product((False, True), repeat=2)
}
# In the order of the indexes, so that a page does not pass by the calls that were changed before.
PAGES = {
    (verb, *scope): [
        f"""
SELECT id, tenant, kind, 1 AS priority, row_count FROM calls INDEXED BY {index}
WHERE {are} AND {within} AND (tenant, kind, id) > (:after_tenant, :after_kind, :after_id)
ORDER BY tenant, kind, id LIMIT :limit
"""  # noqa: S608 - constants
        for index, are in parts.items()
    ]
    for (verb, parts), (scope, within) in product(_ARE.items(), _SCOPES.items())
}
COUNT_IN_SCOPE = {
    scope: f"""
SELECT state, count(*) AS calls, sum(row_count) AS rows FROM calls
WHERE state IN ('pending', 'running') AND {within} GROUP BY state
"""  # noqa: S608 - constants
    for scope, within in _SCOPES.items()
}
STILL_HELD = {
    scope: f"""
SELECT coalesce(sum(row_count), 0) FROM calls WHERE {_HELD} AND {within}
"""  # noqa: S608 - constants
    for scope, within in _SCOPES.items()
}

ROWS_OF_REF = "SELECT id, call_id FROM rows WHERE ref = :ref AND id > :after ORDER BY id LIMIT :limit"
_OF_REF = "(:tenant IS NULL OR calls.tenant = :tenant) AND (:kind IS NULL OR calls.kind = :kind)"
_IS_SHARED = "EXISTS (SELECT 1 FROM rows AS other WHERE other.call_id = calls.id AND other.ref != :ref)"
# A row of another reference may have joined a call since it was held.
_MAY_BE_SHARED = {"hold": f"NOT {_IS_SHARED}", "release": "true", "cancel": f"NOT {_IS_SHARED}"}
PAGES_OF_REF = {
    verb: f"""
SELECT id, tenant, kind, 1 AS priority, row_count FROM calls
WHERE id IN (SELECT value FROM json_each(:calls)) AND ({" OR ".join(parts.values())}) AND {_OF_REF}
    AND {_MAY_BE_SHARED[verb]}
"""  # noqa: S608 - constants
    for verb, parts in _ARE.items()
}
COUNT_OF_REF = f"""
SELECT count(*) FILTER (WHERE state = 'pending' AND NOT is_shared) AS rows,
    count(*) FILTER (WHERE state = 'pending' AND NOT is_shared AND is_lead) AS calls,
    count(*) FILTER (WHERE state = 'running') AS running,
    count(*) FILTER (WHERE state = 'pending' AND is_shared) AS shared,
    count(*) FILTER (WHERE state = 'pending' AND NOT is_shared AND due_at = {NEVER}) AS held
FROM (
    SELECT state, due_at, row.id = calls.row_id AS is_lead, {_IS_SHARED} AS is_shared
    FROM rows AS row JOIN calls ON calls.id = row.call_id
    WHERE row.id IN (SELECT value FROM json_each(:rows)) AND {_OF_REF}
) AS each
"""  # noqa: S608 - constants

CHANGES = {
    "hold": f"UPDATE calls SET due_at = {NEVER} WHERE id IN (SELECT value FROM json_each(:calls))",  # noqa: S608 - constants
    "release": "UPDATE calls SET due_at = NULL WHERE id IN (SELECT value FROM json_each(:calls))",
    "cancel": """
UPDATE calls SET state = 'failed', error_type = :error_type, error = :error, hint = :hint, due_at = NULL,
    ended_at = now()
WHERE id IN (SELECT value FROM json_each(:calls))
""",
}
PLAN_AT_ONCE = NOTIFY_RELEASED = ""  # a file has no wakeups
LOOKING = STILL_LOOKING = ""  # a file has one transaction that writes at a time

# Calls that became pending after their pause had begun.
_HOLD_NEW = """
UPDATE calls SET due_at = {never} WHERE id IN (
    SELECT calls.id FROM {of} AND state = 'pending' AND due_at IS NULL LIMIT :limit
)
"""
HOLD_NEW_OF_TENANTS = _HOLD_NEW.format(
    never=NEVER,
    of="(SELECT DISTINCT tenant, kind FROM pauses WHERE ref IS NULL AND tenant IS NOT NULL) AS pause"
    " CROSS JOIN calls INDEXED BY calls_to_claim ON calls.tenant = pause.tenant"
    " AND (pause.kind IS NULL OR pause.kind = calls.kind) WHERE true",
)
HOLD_NEW_OF_KINDS = _HOLD_NEW.format(
    never=NEVER, of="calls INDEXED BY calls_to_claim WHERE kind IN (SELECT value FROM json_each(:kinds))"
)
HOLD_NEW = _HOLD_NEW.format(never=NEVER, of="calls INDEXED BY calls_to_claim WHERE true")

# What a run has claimed and not sent.
CLAIMED_AND_HELD = f"""
SELECT id FROM calls WHERE state = 'running' AND run_id = :run_id AND sent = 0 AND {held("calls")}
"""  # noqa: S608 - constants

HELD_BY_TENANT = f"""
SELECT tenant, sum(row_count) AS rows FROM calls INDEXED BY calls_held WHERE {_HELD} GROUP BY tenant
"""  # noqa: S608 - constants
