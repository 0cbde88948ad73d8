"""The SQL statements for copying a backlog file."""

from __future__ import annotations

from ekb_async.backlog.store.sqlite.sql.call_sql import PLAIN_IDENTITY, plain

READ_MANIFESTS = "SELECT id, path, columns, own, added_at FROM manifests WHERE id > :after ORDER BY id LIMIT :limit"
READ_CALLS = f"""
SELECT id, tenant, {PLAIN_IDENTITY} AS identity, kind, state, row_id, attempts, maybe_billed, ended_at, error_type,
    error, hint, result, due_at, waits, waited_on, checks, checked_on, source, added_at
FROM calls WHERE id > :after ORDER BY id LIMIT :limit
"""  # noqa: S608 - a constant
READ_ROWS = f"""
SELECT rows.id, tenant, {PLAIN_IDENTITY} AS identity, kind, manifest_id AS source_id, line, start, length, ref, file,
    invoice_id, staff_id, file_name, date, {plain("content")} AS content, form, own, printed, warning, coalesce((
        SELECT json_group_array({plain("key")}) FROM invoices WHERE invoices.call_id = rows.call_id
    ), '[]') AS keys
FROM rows CROSS JOIN calls ON calls.id = call_id WHERE rows.id > :after ORDER BY rows.id LIMIT :limit
"""  # noqa: S608 - a constant

_IDENTITY = "CASE :tenant WHEN '' THEN :identity ELSE :tenant || char(31) || :identity END"
_CONTENT = "CASE WHEN :tenant = '' OR :content = '' THEN :content ELSE :tenant || char(31) || :content END"
IMPORT_COPIED_ROWS = f"""
INSERT INTO temp.imported
    (copied_id, tenant, identity, kind, source_id, line, start, length, ref, file, invoice_id, staff_id, file_name,
    date, content, form, own, printed, warning, keys)
VALUES (:id, :tenant, {_IDENTITY}, :kind, :source_id, :line, :start, :length, :ref, :file, :invoice_id, :staff_id,
    :file_name, :date, {_CONTENT}, :form, :own, :printed, :warning, CASE :keys WHEN '[]' THEN '' ELSE :keys END)
"""  # noqa: S608 - a constant
PREPARE_COPY = """
DROP TABLE IF EXISTS temp.copied_before;
DROP TABLE IF EXISTS temp.unshared;
CREATE TEMP TABLE unshared (copied_id INTEGER PRIMARY KEY, identity, kind, content);
CREATE TEMP TABLE copied_before (identity TEXT PRIMARY KEY);
CREATE INDEX temp.imported_by_identity ON imported (identity);
CREATE INDEX temp.imported_by_copied_id ON imported (copied_id)
"""

# Calls of the source whose invoices the target has under another name, of the same kind, are joined with the target's;
# with all of their rows, or none if one of these contradicts the target.
NOTE_UNSHARED = """
INSERT INTO temp.unshared (copied_id, identity, kind, content)
SELECT copied_id, identity, kind, content FROM temp.imported
WHERE keys != '' OR form >= 2 OR CASE content WHEN '' THEN identity ELSE content END IN (
    SELECT content FROM rows WHERE content != ''
)
"""
UNDO_OTHER_KINDS = """
UPDATE temp.imported SET (identity, kind, content) = (
    SELECT identity, kind, content FROM temp.unshared WHERE unshared.copied_id = imported.copied_id
) WHERE copied_id IN (
    SELECT copied_id FROM temp.unshared WHERE identity IN (
        SELECT unshared.identity FROM temp.unshared CROSS JOIN temp.imported AS new USING (copied_id)
        GROUP BY unshared.identity
        HAVING max(new.kind != unshared.kind) OR min(new.identity) != max(new.identity) OR min(new.identity) NOT IN (
            SELECT identity FROM calls
        )
    )
)
"""
KEEP_REDIRECTED = """
UPDATE temp.unshared SET identity = (SELECT identity FROM temp.imported WHERE imported.copied_id = unshared.copied_id)
"""

_IS_KNOWN = """NOT EXISTS (
    SELECT 1 FROM temp.sources CROSS JOIN manifests ON manifests.id = :manifest_base + sources.n
    WHERE sources.id = source_id
)"""
FIND_COPIED_BEFORE = f"""
INSERT INTO temp.copied_before (identity) SELECT DISTINCT identity FROM temp.imported WHERE {_IS_KNOWN}
"""  # noqa: S608 - a constant
DROP_COPIED_BEFORE = f"DELETE FROM temp.imported WHERE {_IS_KNOWN}"  # noqa: S608 - a constant

KEEP_DATES = """
UPDATE rows SET date = (
    SELECT new.date FROM temp.present CROSS JOIN temp.imported AS new USING (n) WHERE present.row_id = rows.id
) WHERE date = '' AND id IN (
    SELECT row_id FROM temp.present CROSS JOIN temp.imported AS new USING (n) WHERE new.date != ''
)
"""

FIND_CALLS = f"""
SELECT :id AS source_id, kept.id, state, row_id, attempts, maybe_billed, sent, :priority AS priority, kept.due_at,
    waits, waited_on, checks, checked_on,
    (SELECT count(*) FROM temp.imported WHERE imported.identity = source.identity) AS new_rows,
    coalesce((SELECT n FROM temp.imported WHERE copied_id = :row_id), CASE WHEN kept.id IS NULL THEN (
        SELECT n FROM temp.imported WHERE imported.identity = source.identity ORDER BY form, n DESC LIMIT 1
    ) END) AS new_row,
    EXISTS (SELECT 1 FROM temp.copied_before WHERE copied_before.identity = source.identity) AS was_copied
FROM (
    SELECT coalesce((SELECT identity FROM temp.unshared WHERE copied_id = :row_id), {_IDENTITY}) AS identity
) AS source LEFT JOIN calls AS kept ON kept.identity = source.identity
"""  # noqa: S608 - a constant
_ENDED_IN = "CASE WHEN :state = 'done' OR :state = 'failed' THEN (SELECT changes FROM file) END"
ADD_CALLS = f"""
INSERT INTO calls (tenant, identity, kind, state, row_id, row_count, attempts, maybe_billed, ended_at, error_type,
    error, hint, result, due_at, waits, waited_on, checks, checked_on, source, ended_in, added_at)
VALUES (:tenant, {_IDENTITY}, :kind, :state, :row_id, :new_rows, :attempts, :maybe_billed, :ended_at, :error_type,
    :error, :hint, :result, :due_at, :waits, :waited_on, :checks, :checked_on, :source, {_ENDED_IN}, :added_at)
"""  # noqa: S608 - a constant
JOIN_CALLS = """
UPDATE calls SET row_count = row_count + :new_rows, attempts = :attempts, maybe_billed = :maybe_billed,
    due_at = :due_at, waits = :waits, waited_on = :waited_on, checks = :checks, checked_on = :checked_on
WHERE id = :id
"""
REPLACE_CALLS = f"""
UPDATE calls SET state = :state, row_id = :row_id, sent = 0, run_id = NULL, ended_at = :ended_at, due_at = :due_at,
    error_type = :error_type, error = :error, hint = :hint, result = :result, source = :source, ended_in = {_ENDED_IN}
WHERE id = :id
"""  # noqa: S608 - a constant
