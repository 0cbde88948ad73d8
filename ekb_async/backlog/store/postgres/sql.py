"""The SQL statements of `store`."""

from __future__ import annotations

NOW = "extract(epoch FROM clock_timestamp())::float8"

# The lock of a run has the run's ID as its second number, and these begin at 1.
LOCK_IMPORT = f"SELECT pg_advisory_xact_lock({0x656B62}, 0)"

# Rows get their IDs here, so that calls can refer to them before they are inserted.
BEGIN_IMPORT = """
CREATE TEMP TABLE imported (
    row_id bigint DEFAULT nextval(pg_get_serial_sequence('ekb_row', 'id')),
    line integer, start bigint, length bigint, kind text, identity text, ref text, file text, invoice_id text,
    staff_id text, file_name text, tenant text, priority smallint
) ON COMMIT DROP
"""

ADD_MANIFEST = f"INSERT INTO ekb_manifest (path, columns, added_at) VALUES ($1, $2, {NOW}) RETURNING id"  # noqa: S608
RECORD_MANIFEST = f"""
INSERT INTO ekb_manifest (path, columns, added_at)
SELECT $1::text, $2::text, {NOW} WHERE NOT EXISTS (SELECT 1 FROM ekb_manifest WHERE path = $1)
"""  # noqa: S608 - a constant

COUNT_IMPORTED = "SELECT count(*) FROM imported"

COUNT_NEW = """
SELECT count(*) FROM (SELECT DISTINCT tenant, identity FROM imported) AS wanted
    LEFT JOIN ekb_call AS call USING (tenant, identity)
WHERE call.id IS NULL
"""

# The rules for rows that are present already are those of `ekb_async.backlog.store.adding`.
BEGIN_MATCHING = """
CREATE TEMP TABLE wanted (
    imported_id bigint, call_id bigint, ref text, path text, file text, staff_id text, file_name text
) ON COMMIT DROP;
CREATE TEMP TABLE present (imported_id bigint PRIMARY KEY, row_id bigint UNIQUE, call_id bigint) ON COMMIT DROP;
CREATE TEMP TABLE spelled (row_id bigint PRIMARY KEY, same text) ON COMMIT DROP
"""
WANTED = """
INSERT INTO wanted
SELECT imported.row_id, call.id, btrim(ref, $2), $1, file, staff_id, file_name
FROM imported JOIN ekb_call AS call USING (tenant, identity)
"""
COUNT_WANTED = "SELECT count(*) FROM wanted"

_LEFT_OVER = """
WITH left_over AS (
    SELECT * FROM wanted WHERE NOT EXISTS (SELECT 1 FROM present WHERE present.imported_id = wanted.imported_id)
), stored_rows AS (
    SELECT row.id AS row_id, call_id, btrim(ref, $1) AS ref, path, file, staff_id, file_name
    FROM ekb_row AS row JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
    WHERE call_id IN (SELECT call_id FROM left_over)
        AND NOT EXISTS (SELECT 1 FROM present WHERE present.row_id = row.id)
)
"""
LEFT_OVER = f"""{_LEFT_OVER}
SELECT imported_id, path, file FROM left_over UNION ALL SELECT row_id, path, file FROM stored_rows
"""  # noqa: S608 - a constant
_MATCH = (
    _LEFT_OVER  # noqa: S608 - a constant
    + """, requested AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY imported_id) AS nth
    FROM (SELECT imported_id, call_id, ref, {requested} AS same FROM left_over) AS each
), stored AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY row_id) AS nth
    FROM (SELECT row_id, call_id, ref, {stored} AS same FROM stored_rows) AS each
)
INSERT INTO present (imported_id, row_id, call_id)
SELECT imported_id, row_id, call_id FROM requested JOIN stored USING (call_id, ref, same, nth)
"""
)
_SPELLED = "(SELECT same FROM spelled WHERE spelled.row_id = {row_id})"


def _match(key: str) -> str:
    return _MATCH.format(requested=key, stored=key)


# In the order of `adding.KEYS`; `spelled`, which the third uses, is filled from `LEFT_OVER` by `adding.spelled`.
MATCH_AS_WRITTEN = (_match("ARRAY[file, staff_id, file_name]"), _match("file"))
MATCH_SPELLED = _MATCH.format(
    requested=_SPELLED.format(row_id="left_over.imported_id"), stored=_SPELLED.format(row_id="stored_rows.row_id")
)
MATCH_BY_REF = _match("CASE WHEN ref <> '' THEN '' END")
COUNT_PRESENT = "SELECT count(*) FROM present"

BEGIN_MOVING = """
CREATE TEMP TABLE moved (
    row_id bigint, call_id bigint, imported_id bigint, line integer, start bigint, length bigint, file text,
    staff_id text, file_name text
) ON COMMIT DROP
"""
MOVED = """
INSERT INTO moved
SELECT old.id AS row_id, call.id AS call_id, imported_id, new.line,
    CASE WHEN new.length > 0 THEN new.start END AS start, nullif(new.length, 0) AS length, new.file, new.staff_id,
    new.file_name
FROM present JOIN imported AS new ON new.row_id = imported_id JOIN ekb_call AS call ON call.id = present.call_id
    JOIN ekb_row AS old ON old.id = present.row_id JOIN ekb_manifest AS manifest ON manifest.id = old.manifest_id
WHERE call.state <> 'done' AND (
    manifest.path <> $1 OR new.file <> old.file OR new.staff_id <> old.staff_id OR new.file_name <> old.file_name
    OR new.length <> coalesce(old.length, 0)
    OR (new.length > 0 AND (manifest.columns <> $2 OR new.start <> old.start))
)
"""
COUNT_MOVED = "SELECT count(*) FROM moved"

MOVE_ROWS = """
UPDATE ekb_row AS row SET manifest_id = $1, line = moved.line, start = moved.start, length = moved.length,
    file = moved.file, staff_id = moved.staff_id, file_name = moved.file_name
FROM moved WHERE row.id = moved.row_id
"""
MOVE_CALLS = """
UPDATE ekb_call AS call SET row_id = latest.row_id
FROM (SELECT DISTINCT ON (call_id) call_id, row_id FROM moved ORDER BY call_id, imported_id DESC) AS latest
WHERE call.id = latest.call_id AND call.state <> 'done'
"""

RAISE_PRIORITY = """
UPDATE ekb_call AS call SET priority = new.priority
FROM (
    SELECT call_id, min(priority) AS priority FROM present JOIN imported ON imported.row_id = imported_id
    GROUP BY call_id
) AS new
WHERE call.id = new.call_id AND call.priority > new.priority
"""

DROP_PRESENT = "DELETE FROM imported USING present WHERE imported.row_id = imported_id"

# A new row must not replace the row from which a running or done call was made.
IMPORT_CALLS = """
INSERT INTO ekb_call AS call (tenant, identity, kind, priority, row_id, row_count)
SELECT tenant, identity, min(kind), min(priority), max(row_id), count(*) FROM imported
GROUP BY tenant, identity ORDER BY min(row_id)
ON CONFLICT (tenant, identity) DO UPDATE SET
    row_count = call.row_count + excluded.row_count,
    priority = least(call.priority, excluded.priority),
    row_id = CASE WHEN call.state IN ('pending', 'failed') THEN excluded.row_id ELSE call.row_id END
"""

IMPORT_ROWS = """
INSERT INTO ekb_row (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
    OVERRIDING SYSTEM VALUE
SELECT imported.row_id, call.id, $1, line, CASE WHEN length > 0 THEN start END, nullif(length, 0), ref, file,
    invoice_id, staff_id, file_name
FROM imported JOIN ekb_call AS call USING (tenant, identity) ORDER BY imported.row_id
"""

HOLD = f"""
UPDATE ekb_call AS call SET state = 'failed', error_type = $3, error = $4, hint = $5, ended_at = {NOW},
    attempts = attempts + sent, maybe_billed = maybe_billed + sent, sent = 0, run_id = NULL, turn = NULL
FROM ekb_run AS run
WHERE call.state = 'running' AND call.run_id = run.id AND call.sent > 0 AND run.id = ANY($1::int[])
    AND ($2 OR run.hold_unknown)
"""  # noqa: S608 - a constant

RELEASE = """
UPDATE ekb_call SET state = 'pending', attempts = attempts + sent, maybe_billed = maybe_billed + sent, sent = 0,
    run_id = NULL, turn = NULL, planned = false
WHERE state = 'running' AND run_id = ANY($1::int[])
"""

REMOVE_RUNS = "DELETE FROM ekb_run WHERE id = ANY($1::int[])"

# The lock conflicts with settling the run as dead, so that it cannot claim anything meanwhile.
IS_ENTERED = "SELECT true FROM ekb_run WHERE id = $1 FOR KEY SHARE"

_CLAIM = """
WITH next_ones AS MATERIALIZED (
    SELECT id FROM ekb_call WHERE tenant = $2 AND kind = $3 AND state = 'pending'
    ORDER BY {order} LIMIT $4 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE ekb_call AS call SET state = 'running', run_id = $1 FROM next_ones WHERE call.id = next_ones.id
    RETURNING call.*
)
SELECT taken.id, identity, row_count, taken.kind, file, invoice_id, staff_id, file_name, start, length, path, columns
FROM taken JOIN ekb_row AS row ON row.id = taken.row_id JOIN ekb_manifest AS manifest ON manifest.id = row.manifest_id
ORDER BY {taken_order}
"""
CLAIM = _CLAIM.format(order="priority, id", taken_order="priority, taken.id")
CLAIM_LATEST = _CLAIM.format(order="priority DESC, id DESC", taken_order="priority DESC, taken.id DESC")

MARK_SENT = """
UPDATE ekb_call AS call SET sent = mark.sent FROM unnest($2::bigint[], $3::int[]) AS mark (id, sent)
WHERE call.id = mark.id AND call.run_id = $1 AND call.state = 'running' RETURNING call.id
"""

# A paid answer counts even if the call was given to another run meanwhile.
RECORD = f"""
UPDATE ekb_call AS call SET
    state = new.state, run_id = NULL, turn = NULL, planned = false, sent = 0,
    attempts = attempts + new.tries, maybe_billed = call.maybe_billed + new.maybe_billed,
    ended_at = CASE WHEN new.state = 'pending' THEN NULL ELSE {NOW} END,
    result = new.result, error_type = new.error_type, error = new.error, hint = new.hint
FROM unnest($2::bigint[], $3::text[], $4::int[], $5::int[], $6::bytea[], $7::text[], $8::text[], $9::text[])
    AS new (id, state, tries, maybe_billed, result, error_type, error, hint)
WHERE call.id = new.id
    AND (call.run_id = $1 AND call.state = 'running' OR new.state = 'done' AND call.state <> 'done')
"""  # noqa: S608 - a constant

PENDING_TENANTS = """
SELECT tenant FROM ekb_call WHERE state = 'pending' AND kind = ANY($1::text[]) GROUP BY tenant ORDER BY count(*), tenant
"""
HAS_PENDING = (
    "SELECT EXISTS (SELECT 1 FROM ekb_call WHERE tenant = $1 AND kind = ANY($2::text[]) AND state = 'pending')"
)
HAS_RUNNING = "SELECT EXISTS (SELECT 1 FROM ekb_call WHERE state = 'running' AND kind = ANY($1::text[]))"
HAS_TENANTS = "SELECT EXISTS (SELECT 1 FROM ekb_call WHERE tenant <> '')"

MANIFESTS = "SELECT DISTINCT path FROM ekb_manifest"

NAMED = """
SELECT DISTINCT path, file
FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
WHERE kind IN ('ocr', 'verify') AND (right(file, length($1)) = $1 OR right(identity, 64) = $2)
"""

COPIES = """
SELECT path, file FROM ekb_row AS row JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
WHERE call_id = $1 ORDER BY row.id DESC
"""

RETRY = """
WITH again AS (
    UPDATE ekb_call SET state = 'pending', error_type = '', error = '', hint = '', ended_at = NULL,
        turn = NULL, planned = false
    WHERE state = 'failed' AND (error_type = $1) = $2
        AND ($3 = '' OR position(lower($3) IN lower(error_type || ': ' || error)) > 0)
    RETURNING row_count
)
SELECT coalesce(sum(row_count), 0) FROM again
"""

COUNT_BY_STATE = "SELECT kind, state, count(*), sum(row_count) FROM ekb_call GROUP BY kind, state"

FAILURES = """
SELECT error_type, sum(row_count) AS failed FROM ekb_call WHERE state = 'failed'
GROUP BY error_type ORDER BY failed DESC, error_type
"""

CAUSES = """
SELECT error_type, error, hint, sum(row_count) AS failed FROM ekb_call WHERE state = 'failed'
GROUP BY error_type, error, hint ORDER BY failed DESC, error_type, error LIMIT $1
"""

MAYBE_BILLED = "SELECT coalesce(sum(maybe_billed), 0) FROM ekb_call WHERE maybe_billed > 0"

COUNT_BY_TENANT = """
SELECT tenant, state, sum(row_count),
    coalesce(sum(row_count) FILTER (WHERE state = 'failed' AND error_type = $1), 0), sum(maybe_billed)
FROM ekb_call GROUP BY tenant, state ORDER BY tenant COLLATE "C", state
"""

ACTIVE_RUNS = """
SELECT host, pid, started_at, seen,
    (SELECT count(*) FROM ekb_call AS call WHERE call.state = 'running' AND call.run_id = run.id) AS running
FROM ekb_run AS run ORDER BY id
"""

PAGE = """
SELECT row.id, row.id <> call.row_id, path, line, tenant, ref, kind, file, invoice_id, state, attempts, maybe_billed,
    error_type, error, hint, ended_at, result
FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
WHERE row.id > $1 AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR kind = $4)
ORDER BY row.id LIMIT $2
"""
