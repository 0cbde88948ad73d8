"""The SQL statements that hold, release and cancel calls for a person.

A call that is held is pending, with infinity as its due time. The statements with a scope are listed by what limits it:
whether there is a tenant, and whether there is a kind.
"""

from __future__ import annotations

from itertools import product

from ekb_async.storage.postgres.channels import NOTIFY_ADDED

NEVER = "'infinity'::float8"
"""The due time of a call that is held."""

_MATCHES = "(pause.tenant IS NULL OR pause.tenant = {tenant}) AND (pause.kind IS NULL OR pause.kind = {kind})"
_PAUSED = f"EXISTS (SELECT 1 FROM ekb_pause AS pause WHERE pause.ref IS NULL AND {_MATCHES})"  # noqa: S608 - a constant


def paused(tenant: str, kind: str) -> str:
    """Return the condition that a tenant's calls of a kind are paused, given the expressions of both."""
    return _PAUSED.format(tenant=tenant, kind=kind)


def held(call: str) -> str:
    """Return the condition that some pause holds a call, also one of a reference that all of its rows have."""
    matches = _MATCHES.format(tenant=f"{call}.tenant", kind=f"{call}.kind")
    return f"""EXISTS (
    SELECT 1 FROM ekb_pause AS pause WHERE {matches} AND (pause.ref IS NULL OR NOT EXISTS (
        SELECT 1 FROM ekb_row AS held_row WHERE held_row.call_id = {call}.id AND held_row.ref <> pause.ref
    ))
)"""  # noqa: S608 - names of tables


# Pauses

PAUSES = "SELECT tenant, kind, ref, since, reason FROM ekb_pause ORDER BY id"
_SAME = """tenant IS NOT DISTINCT FROM :tenant::text AND kind IS NOT DISTINCT FROM :kind::text
    AND ref IS NOT DISTINCT FROM :ref::text"""
GIVE_REASON = f"UPDATE ekb_pause SET reason = :reason WHERE :reason <> '' AND {_SAME}"  # noqa: S608 - a constant
ADD_PAUSE = f"""
INSERT INTO ekb_pause (tenant, kind, ref, since, reason)
SELECT :tenant::text, :kind::text, :ref::text, :since::float8, :reason::text
WHERE NOT EXISTS (SELECT 1 FROM ekb_pause WHERE {_SAME})
"""  # noqa: S608 - a constant
REMOVE_PAUSES = """
DELETE FROM ekb_pause WHERE (:tenant::text IS NULL OR tenant = :tenant) AND (:kind::text IS NULL OR kind = :kind)
    AND (:ref::text IS NULL OR ref = :ref)
"""

# Transactions in progress that have looked at the pauses may still hold calls for one that has ended.
LOOKING = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'ekb_pause'::regclass AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Those that only read, such as a dump, have no number.
STILL_LOOKING = f"""
SELECT EXISTS (
    SELECT FROM ({LOOKING}) AS looking JOIN pg_locks AS number USING (virtualtransaction)
    WHERE virtualtransaction = ANY(:before::text[]) AND number.locktype = 'transactionid' AND number.granted
        AND number.mode = 'ExclusiveLock'
)
"""  # noqa: S608 - a constant

# Calls

_FREE, _HELD = "state = 'pending' AND due_at IS NULL", f"state = 'pending' AND due_at = {NEVER}"
_WAITING = f"state = 'pending' AND due_at < {NEVER}"
_ARE = {
    # Somebody may end the pause meanwhile.
    "hold": [f"{_FREE} AND {held('call')}"],
    "release": [f"{_HELD} AND NOT {held('call')}"],
    "cancel": [_FREE, _HELD, _WAITING],
}
_SCOPES = {
    (has_tenant, has_kind): " AND ".join(
        ["true", *["call.tenant = :tenant"] * has_tenant, *["call.kind = :kind"] * has_kind]
    )
    for has_tenant, has_kind in product((False, True), repeat=2)
}
# In the order of the indexes, so that a page does not pass by the calls that were changed before.
PAGES = {
    (verb, *scope): [
        f"""
SELECT id, tenant, kind, priority, row_count FROM ekb_call AS call
WHERE {are} AND {within}
    AND (tenant, kind, priority, id) > (:after_tenant, :after_kind, :after_priority::smallint, :after_id)
ORDER BY tenant, kind, priority, id LIMIT :limit FOR UPDATE
"""  # noqa: S608 - constants
        for are in parts
    ]
    for (verb, parts), (scope, within) in product(_ARE.items(), _SCOPES.items())
}
COUNT_IN_SCOPE = {
    scope: f"""
SELECT state, count(*) AS calls, sum(row_count) AS rows FROM ekb_call AS call
WHERE state IN ('pending', 'running') AND {within} GROUP BY state
"""  # noqa: S608 - constants
    for scope, within in _SCOPES.items()
}
STILL_HELD = {
    scope: f"""
SELECT coalesce(sum(row_count), 0) FROM ekb_call AS call WHERE {_HELD} AND {within}
"""  # noqa: S608 - constants
    for scope, within in _SCOPES.items()
}

ROWS_OF_REF = "SELECT id, call_id FROM ekb_row WHERE ref = :ref AND id > :after ORDER BY id LIMIT :limit"
_OF_REF = "(:tenant::text IS NULL OR call.tenant = :tenant) AND (:kind::text IS NULL OR call.kind = :kind)"
_IS_SHARED = "EXISTS (SELECT 1 FROM ekb_row AS other WHERE other.call_id = call.id AND other.ref <> :ref)"
# A row of another reference may have joined a call since it was held.
_MAY_BE_SHARED = {"hold": f"NOT {_IS_SHARED}", "release": "true", "cancel": f"NOT {_IS_SHARED}"}
PAGES_OF_REF = {
    verb: f"""
SELECT id, tenant, kind, priority, row_count FROM ekb_call AS call
WHERE id = ANY(:calls::bigint[]) AND ({" OR ".join(parts)}) AND {_OF_REF} AND {_MAY_BE_SHARED[verb]}
ORDER BY id FOR UPDATE
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
    SELECT state, due_at, row.id = call.row_id AS is_lead, {_IS_SHARED} AS is_shared
    FROM ekb_row AS row JOIN ekb_call AS call ON call.id = row.call_id
    WHERE row.id = ANY(:rows::bigint[]) AND {_OF_REF}
) AS each
"""  # noqa: S608 - constants

CHANGES = {
    "hold": f"UPDATE ekb_call SET due_at = {NEVER}, planned = false WHERE id = ANY(:calls::bigint[])",  # noqa: S608 - constants
    "release": "UPDATE ekb_call SET due_at = NULL, planned = false WHERE id = ANY(:calls::bigint[])",
    "cancel": """
UPDATE ekb_call SET state = 'failed', error_type = :error_type, error = :error, hint = :hint, due_at = NULL,
    ended_at = extract(epoch FROM clock_timestamp())::float8, turn = NULL, planned = false
WHERE id = ANY(:calls::bigint[])
""",
}
# The slots of wakeups that were used up meanwhile are free.
PLAN_AT_ONCE = """
UPDATE ekb_plan AS plan SET next_slot = least(next_slot, extract(epoch FROM clock_timestamp()))
FROM unnest(:tenants::text[], :kinds::text[]) AS wanted (tenant, kind)
WHERE plan.tenant = wanted.tenant AND plan.kind = wanted.kind
"""

NOTIFY_RELEASED = NOTIFY_ADDED

# Calls that became pending after their pause had begun. What is locked is being claimed, or looked at by another host.
_HOLD_NEW = """
UPDATE ekb_call SET due_at = {never}, planned = false WHERE id IN (
    SELECT id FROM ekb_call AS call {of} AND state = 'pending' AND due_at IS NULL LIMIT :limit FOR UPDATE SKIP LOCKED
)
"""
HOLD_NEW_OF_TENANTS = _HOLD_NEW.replace("FOR UPDATE", "FOR UPDATE OF call").format(
    never=NEVER,
    of="JOIN (SELECT DISTINCT tenant, kind FROM ekb_pause WHERE ref IS NULL AND tenant IS NOT NULL) AS pause"
    " ON call.tenant = pause.tenant AND (pause.kind IS NULL OR pause.kind = call.kind) WHERE true",
)
HOLD_NEW_OF_KINDS = _HOLD_NEW.format(never=NEVER, of="WHERE kind = ANY(:kinds::text[])")
HOLD_NEW = _HOLD_NEW.format(never=NEVER, of="WHERE true")

# What a run has claimed and not sent.
CLAIMED_AND_HELD = f"""
SELECT id FROM ekb_call AS call WHERE state = 'running' AND run_id = :run_id AND sent = 0 AND {held("call")}
"""  # noqa: S608 - constants

HELD_BY_TENANT = f"""
SELECT tenant, sum(row_count) AS rows FROM ekb_call WHERE {_HELD} GROUP BY tenant
"""  # noqa: S608 - constants
