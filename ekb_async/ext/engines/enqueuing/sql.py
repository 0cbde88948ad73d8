"""The SQL statements that add calls. All arrays are passed as text, which the driver can encode without a query."""

from __future__ import annotations

from ekb_async.backlog.store.postgres.sql.pause_sql import NEVER, paused
from ekb_async.storage.postgres.channels import ADDED, BACKLOG

# A file that was read with a manifest may share the call of another file of its invoice. Each LIMIT keeps the planner
# to an index, also without statistics.
LOOK = """
WITH job AS (
    SELECT tenant, identity, array_agg(DISTINCT ref) AS refs
    FROM unnest(:tenant::text[], :identity::text[], :ref::text[]) AS each (tenant, identity, ref)
    GROUP BY tenant, identity
), known AS (
    SELECT job.*, coalesce(own.id, shared.call_id) AS call_id, shared.form
    FROM job LEFT JOIN LATERAL (
        SELECT id FROM ekb_call AS call WHERE call.tenant = job.tenant AND call.identity = job.identity LIMIT 1
    ) AS own ON true LEFT JOIN LATERAL (
        SELECT call_id, form FROM ekb_row AS row
        WHERE own.id IS NULL AND row.content = job.identity AND row.content <> ''
            AND (SELECT tenant FROM ekb_call AS call WHERE call.id = row.call_id) = job.tenant
        ORDER BY row.id LIMIT 1
    ) AS shared ON true
)
SELECT known.tenant, known.identity, known.form, known.call_id, call.identity AS call_identity, state, priority,
    (SELECT lead.form FROM ekb_row AS lead WHERE lead.id = call.row_id) AS lead_form, row.id AS row_id,
    bare AS ref, content, (SELECT path FROM ekb_manifest AS manifest WHERE manifest.id = manifest_id) AS path, file,
    staff_id, file_name, date, own, row.form AS row_form, manifest_id, length IS NOT NULL AS is_signed
FROM known CROSS JOIN LATERAL (
    SELECT * FROM ekb_call AS call WHERE call.id = known.call_id LIMIT 1
) AS call LEFT JOIN LATERAL (
    SELECT *, btrim(each.ref, :blanks) AS bare FROM ekb_row AS each
    WHERE each.call_id = call.id AND btrim(each.ref, :blanks) = ANY(refs) OFFSET 0
) AS row ON true
ORDER BY row.id
"""

LOCK = "SELECT id FROM ekb_call WHERE id = ANY(:ids::text[]::bigint[]) ORDER BY id FOR NO KEY UPDATE"

RESERVE_ROWS = """
SELECT nextval(pg_get_serial_sequence('ekb_row', 'id')) FROM generate_series(1, :count::text::integer)
"""

_MANIFEST = """
made AS (
    INSERT INTO ekb_manifest (path, columns, own, added_at)
    SELECT :path, '[]', '[]', extract(epoch FROM clock_timestamp()) WHERE :manifest::text IS NULL
    RETURNING id
), manifest AS (
    SELECT id FROM made UNION ALL SELECT :manifest::text::bigint WHERE :manifest::text IS NOT NULL
)
"""

_JOBS = """
job AS MATERIALIZED (
    SELECT coalesce(row_id::bigint, nextval(pg_get_serial_sequence('ekb_row', 'id'))) AS row_id, n, line::integer,
        tenant, identity, kind, priority::smallint, ref, file, invoice_id, staff_id, file_name, date, content,
        form::smallint
    FROM unnest(:row_id::text[], :line::text[], :tenant::text[], :identity::text[], :kind::text[], :priority::text[],
        :ref::text[], :file::text[], :invoice_id::text[], :staff_id::text[], :file_name::text[], :date::text[],
        :content::text[], :form::text[]) WITH ORDINALITY
        AS each (row_id, line, tenant, identity, kind, priority, ref, file, invoice_id, staff_id, file_name, date,
            content, form, n)
)
"""

_ADD_ROWS = """
INSERT INTO ekb_row (id, call_id, manifest_id, line, ref, file, invoice_id, staff_id, file_name, date, content, form)
    OVERRIDING SYSTEM VALUE
SELECT job.row_id, call.id, manifest.id, line, ref, file, invoice_id, staff_id, file_name, date, content,
    coalesce(form, 0)
"""

# Calls are numbered in the order of the jobs, which is the order in which they are made, and inserted in the order of
# the key, so that two programs that add the same calls do not deadlock. A call that another one has added is left out.
ADD_CALLS = f"""
WITH {_MANIFEST}, {_JOBS}, numbered AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('ekb_call', 'id')) AS id, each.*
    FROM (
        SELECT tenant, identity, min(kind) AS kind, min(priority) AS priority, max(row_id) AS row_id,
            count(*) AS row_count
        FROM job GROUP BY tenant, identity ORDER BY min(n)
    ) AS each
), call AS (
    INSERT INTO ekb_call (id, tenant, identity, kind, priority, row_id, row_count, due_at) OVERRIDING SYSTEM VALUE
    SELECT id, tenant, identity, kind, priority, row_id, row_count,
        CASE WHEN {paused("numbered.tenant", "numbered.kind")} THEN {NEVER} END
    FROM numbered
    ORDER BY tenant COLLATE "C", identity COLLATE "C"
    ON CONFLICT (tenant, identity) DO NOTHING RETURNING id, tenant, identity
), added AS (
    {_ADD_ROWS} FROM job JOIN call USING (tenant, identity) CROSS JOIN manifest
)
SELECT call.id, tenant, identity, manifest.id AS manifest, pg_notify('{ADDED}', {BACKLOG}) FROM call CROSS JOIN manifest
"""  # noqa: S608 - constants

# `lead` says from which row a call is made: -n for the n-th of the new ones, 0 for the same as before.
JOIN_CALLS = f"""
WITH {_MANIFEST}, {_JOBS}, added AS (
    {_ADD_ROWS} FROM job JOIN ekb_call AS call USING (tenant, identity) CROSS JOIN manifest
), moved AS (
    UPDATE ekb_row AS old SET manifest_id = manifest.id, line = new.line::integer, start = NULL, length = NULL,
        file = new.file, staff_id = new.staff_id, file_name = new.file_name,
        date = coalesce(nullif(new.date, ''), old.date), content = new.content,
        form = coalesce(new.form::smallint, old.form), own = ''
    FROM manifest, unnest(:moved_id::text[], :moved_line::text[], :moved_file::text[], :moved_staff_id::text[],
        :moved_file_name::text[], :moved_date::text[], :moved_content::text[], :moved_form::text[])
        AS new (id, line, file, staff_id, file_name, date, content, form)
    WHERE old.id = new.id::bigint
)
UPDATE ekb_call AS call SET row_count = call.row_count + new.rows::integer,
    priority = least(call.priority, new.priority::smallint),
    row_id = CASE WHEN lead::bigint > 0 THEN lead::bigint
        WHEN lead::bigint < 0 THEN (SELECT job.row_id FROM job WHERE n = -lead::bigint) ELSE call.row_id END
FROM manifest, unnest(:call_id::text[], :rows::text[], :call_priority::text[], :lead::text[])
    AS new (id, rows, priority, lead)
WHERE call.id = new.id::bigint RETURNING manifest.id AS manifest
"""  # noqa: S608 - constants
