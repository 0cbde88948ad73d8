"""The SQL statements for copying a backlog in a database."""

from __future__ import annotations

# The first statement of the transaction, so that its snapshot is not older than the lock.
LOCK_RUNS = "LOCK TABLE ekb_run IN SHARE MODE"

READ_MANIFESTS = "SELECT id, path, columns, own, added_at FROM ekb_manifest WHERE id > :after ORDER BY id LIMIT :limit"
READ_CALLS = """
SELECT id, tenant, identity, kind, state, row_id, attempts, maybe_billed, ended_at, error_type, error, hint, result,
    priority, due_at, waits, waited_on, checks, checked_on, source, added_at
FROM ekb_call WHERE id > :after ORDER BY id LIMIT :limit
"""
READ_ROWS = """
SELECT row.id, tenant, identity, kind, manifest_id AS source_id, line, start, length, ref, file, invoice_id, staff_id,
    file_name, date, content, form, own, printed, warning, coalesce((
        SELECT json_agg(key)::text FROM ekb_invoice AS invoice WHERE invoice.call_id = row.call_id
    ), '[]') AS keys
FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id WHERE row.id > :after ORDER BY row.id LIMIT :limit
"""

IMPORT_COPIED_ROWS = """
INSERT INTO imported
    (copied_id, tenant, identity, kind, source_id, line, start, length, ref, file, invoice_id, staff_id, file_name,
    date, content, form, own, printed, warning, keys)
SELECT id, tenant, identity, kind, source_id, line, start, length, ref, file, invoice_id, staff_id, file_name, date,
    content, form, own, printed, warning, CASE keys WHEN '[]' THEN '' ELSE keys END
FROM unnest(:id::bigint[], :tenant::text[], :identity::text[], :kind::text[], :source_id::bigint[], :line::int[],
    :start::bigint[], :length::bigint[], :ref::text[], :file::text[], :invoice_id::text[], :staff_id::text[],
    :file_name::text[], :date::text[], :content::text[], :form::smallint[], :own::text[], :printed::text[],
    :warning::text[], :keys::text[]) AS new (id, tenant, identity, kind, source_id, line, start, length, ref, file,
    invoice_id, staff_id, file_name, date, content, form, own, printed, warning, keys)
"""
PREPARE_COPY = """
CREATE TEMP TABLE unshared (
    copied_id bigint PRIMARY KEY, tenant text, identity text, kind text, content text
) ON COMMIT DROP;
CREATE TEMP TABLE copied_before (tenant text, identity text, PRIMARY KEY (tenant, identity)) ON COMMIT DROP;
CREATE INDEX ON imported (tenant, identity);
CREATE INDEX ON imported (copied_id)
"""

# Calls of the source whose invoices the target has under another name, of the same kind, are joined with the target's;
# with all of their rows, or none if one of these contradicts the target.
NOTE_UNSHARED = """
INSERT INTO unshared (copied_id, tenant, identity, kind, content)
SELECT copied_id, tenant, identity, kind, content FROM imported
WHERE keys <> '' OR form >= 2 OR CASE content WHEN '' THEN identity ELSE content END IN (
    SELECT content FROM ekb_row WHERE content <> ''
)
"""
UNDO_OTHER_KINDS = """
UPDATE imported AS new SET identity = unshared.identity, kind = unshared.kind, content = unshared.content
FROM unshared JOIN (
    SELECT unshared.tenant, unshared.identity
    FROM unshared JOIN imported AS each USING (copied_id) GROUP BY unshared.tenant, unshared.identity
    HAVING bool_or(each.kind <> unshared.kind) OR min(each.identity) <> max(each.identity) OR NOT EXISTS (
        SELECT 1 FROM ekb_call AS call WHERE (call.tenant, call.identity) = (unshared.tenant, min(each.identity))
    )
) AS undone USING (tenant, identity)
WHERE unshared.copied_id = new.copied_id
"""
KEEP_REDIRECTED = """
UPDATE unshared SET identity = imported.identity FROM imported WHERE imported.copied_id = unshared.copied_id
"""

_IS_KNOWN = """NOT EXISTS (
    SELECT 1 FROM sources AS source JOIN ekb_manifest AS manifest ON manifest.id = :manifest_base + source.n
    WHERE source.id = source_id
)"""
FIND_COPIED_BEFORE = f"""
INSERT INTO copied_before (tenant, identity) SELECT DISTINCT tenant, identity FROM imported WHERE {_IS_KNOWN}
"""  # noqa: S608 - a constant
DROP_COPIED_BEFORE = f"DELETE FROM imported WHERE {_IS_KNOWN}"  # noqa: S608 - a constant

KEEP_DATES = """
UPDATE ekb_row AS old SET date = new.date
FROM present JOIN imported AS new USING (n) WHERE old.id = present.row_id AND old.date = '' AND new.date <> ''
"""

# Runs may be at work on the calls, so they are locked.
FIND_CALLS = """
WITH source AS (
    SELECT source_id, source.tenant, coalesce(unshared.identity, source.identity) AS identity, source_row_id
    FROM unnest(:id::bigint[], :tenant::text[], :identity::text[], :row_id::bigint[])
        AS source (source_id, tenant, identity, source_row_id) LEFT JOIN unshared ON copied_id = source_row_id
), kept AS MATERIALIZED (
    SELECT call.* FROM source JOIN ekb_call AS call USING (tenant, identity) ORDER BY call.id FOR UPDATE OF call
)
SELECT source_id, kept.id, state, row_id, attempts, maybe_billed, sent, priority, due_at, waits,
    waited_on, checks, checked_on,
    (SELECT count(*) FROM imported WHERE (tenant, identity) = (source.tenant, source.identity)) AS new_rows,
    coalesce((SELECT n FROM imported WHERE copied_id = source_row_id), CASE WHEN kept.id IS NULL THEN (
        SELECT n FROM imported WHERE (tenant, identity) = (source.tenant, source.identity)
        ORDER BY form, n DESC LIMIT 1
    ) END) AS new_row,
    EXISTS (SELECT 1 FROM copied_before WHERE (tenant, identity) = (source.tenant, source.identity)) AS was_copied
FROM source LEFT JOIN (SELECT DISTINCT * FROM kept) AS kept USING (tenant, identity)
"""
ADD_CALLS = """
INSERT INTO ekb_call (tenant, identity, kind, priority, state, row_id, row_count, attempts, maybe_billed, ended_at,
    error_type, error, hint, result, due_at, waits, waited_on, checks, checked_on, source, added_at)
SELECT * FROM unnest(:tenant::text[], :identity::text[], :kind::text[], :priority::smallint[], :state::text[],
    :row_id::bigint[], :new_rows::int[], :attempts::int[], :maybe_billed::int[], :ended_at::float8[],
    :error_type::text[], :error::text[], :hint::text[], :result::bytea[],
    :due_at::float8[], :waits::int[], :waited_on::int[], :checks::int[], :checked_on::int[], :source::text[],
    :added_at::float8[])
"""
JOIN_CALLS = """
UPDATE ekb_call AS call SET row_count = call.row_count + new.new_rows, priority = least(call.priority, new.priority),
    attempts = new.attempts, maybe_billed = new.maybe_billed, due_at = new.due_at,
    waits = new.waits, waited_on = new.waited_on, checks = new.checks, checked_on = new.checked_on
FROM unnest(:id::bigint[], :new_rows::int[], :priority::smallint[], :attempts::int[], :maybe_billed::int[],
        :due_at::float8[], :waits::int[], :waited_on::int[], :checks::int[], :checked_on::int[])
    AS new (id, new_rows, priority, attempts, maybe_billed, due_at, waits, waited_on, checks, checked_on)
WHERE call.id = new.id
"""
REPLACE_CALLS = """
UPDATE ekb_call AS call SET state = new.state, row_id = new.row_id, sent = 0, run_id = NULL, turn = NULL,
    ended_at = new.ended_at, error_type = new.error_type, error = new.error, hint = new.hint, result = new.result,
    due_at = new.due_at, source = new.source
FROM unnest(:id::bigint[], :state::text[], :row_id::bigint[], :ended_at::float8[], :error_type::text[],
        :error::text[], :hint::text[], :result::bytea[], :due_at::float8[], :source::text[])
    AS new (id, state, row_id, ended_at, error_type, error, hint, result, due_at, source)
WHERE call.id = new.id
"""
