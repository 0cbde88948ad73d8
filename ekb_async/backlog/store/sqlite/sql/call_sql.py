"""The SQL statements of a backlog file.

Each connection has the functions `now()`, in epoch seconds, and `spelled(manifest, file)`, see `backlog.store.adding`.
"""

from __future__ import annotations

from ekb_async.backlog.store.sqlite.sql.pause_sql import HAS_PAUSES, NEVER, held, paused

# Adding

LOCK_IMPORT = ""  # a writing transaction of SQLite is the only one

DISCARD_IMPORT = """
DROP TABLE IF EXISTS temp.sources;
DROP TABLE IF EXISTS temp.imported;
DROP TABLE IF EXISTS temp.wanted;
DROP TABLE IF EXISTS temp.present
"""
# An index of a column without a type is not used to compare it with an INTEGER column.
BEGIN_IMPORT = f"""{DISCARD_IMPORT};
CREATE TEMP TABLE sources (id INTEGER PRIMARY KEY, n, path, columns, own, added_at);
CREATE TEMP TABLE imported (
    n INTEGER PRIMARY KEY, line, start DEFAULT 0, length DEFAULT 0, kind, identity, ref DEFAULT '', file DEFAULT '',
    invoice_id DEFAULT '', staff_id DEFAULT '', file_name DEFAULT '', tenant DEFAULT '', date DEFAULT '',
    content DEFAULT '', form DEFAULT 0, own DEFAULT '', printed DEFAULT '', keys DEFAULT '', warning DEFAULT '',
    shares DEFAULT 0, source_id DEFAULT 1, copied_id INTEGER
);
CREATE TEMP TABLE wanted (n INTEGER PRIMARY KEY, call_id, ref, content, path, file, staff_id, file_name, date);
CREATE TEMP TABLE present (n INTEGER PRIMARY KEY, row_id INTEGER UNIQUE, call_id INTEGER)
"""

IMPORT_SOURCES = """
INSERT INTO temp.sources (id, n, path, columns, own, added_at)
VALUES (:id, :n, :path, :columns, :own, coalesce(:added_at, now()))
"""

PREPARE_IMPORT = ""

COUNT_IMPORTED = "SELECT count(*) FROM temp.imported"

DROP_REPEATED = """
DELETE FROM temp.imported
WHERE n NOT IN (SELECT min(n) FROM temp.imported GROUP BY identity, trim(ref, :blanks))
"""

WANTED = """
INSERT INTO temp.wanted (n, call_id, ref, content, path, file, staff_id, file_name, date)
SELECT imported.n, calls.id, trim(ref, :blanks), CASE content WHEN identity THEN '' ELSE content END, path, file,
    staff_id, file_name, date
FROM temp.imported CROSS JOIN calls USING (identity) CROSS JOIN temp.sources ON sources.id = source_id
"""

PREPARE_MATCH = ""

LEFT_OVER = ""  # the function `spelled` needs no table

# The n-th of several equal rows is paired with the n-th that was added.
_MATCH = """
WITH left_over AS (
    SELECT * FROM temp.wanted WHERE n NOT IN (SELECT n FROM temp.present)
), requested AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY n) AS nth
    FROM (SELECT n, call_id, ref, {key} AS same FROM left_over)
), stored AS (
    SELECT *, row_number() OVER (PARTITION BY call_id, ref, same ORDER BY row_id) AS nth
    FROM (
        SELECT row_id, call_id, ref, {key} AS same
        FROM (
            SELECT rows.id AS row_id, call_id, trim(ref, :blanks) AS ref, content, path, file, staff_id, file_name, date
            FROM (SELECT DISTINCT call_id FROM left_over) CROSS JOIN rows USING (call_id)
                CROSS JOIN manifests ON manifests.id = manifest_id
            WHERE rows.id NOT IN (SELECT row_id FROM temp.present)
        ) WHERE path NOT IN (SELECT value FROM json_each(:apart))
    )
)
INSERT INTO temp.present (n, row_id, call_id)
SELECT n, row_id, call_id FROM requested JOIN stored USING (call_id, ref, same, nth)
"""
MATCH_AS_WRITTEN = _MATCH.format(key="json_array(file, staff_id, file_name, date)")
MATCH_FILE = _MATCH.format(key="file")
MATCH_SPELLED = _MATCH.format(key="spelled(path, file)")
MATCH_BY_REF = _MATCH.format(key="CASE WHEN ref != '' THEN content END")

# Rows are moved to the new manifest if it writes them differently and their call is not done. A known date is
# kept, and the form of a file that was not read again.
MOVE_ROWS = """
UPDATE rows SET (manifest_id, line, start, length, file, staff_id, file_name, date, content, form, own) = (
    SELECT :manifest_id, new.line, CASE WHEN new.length THEN new.start END, nullif(new.length, 0), new.file,
        new.staff_id, new.file_name, coalesce(nullif(new.date, ''), rows.date),
        CASE new.content WHEN new.identity THEN '' ELSE new.content END,
        CASE new.content WHEN '' THEN rows.form ELSE new.form END, new.own
    FROM temp.present CROSS JOIN temp.imported AS new USING (n) WHERE present.row_id = rows.id
) WHERE id IN (
    SELECT old.id
    FROM temp.present CROSS JOIN temp.imported AS new USING (n) CROSS JOIN temp.sources ON sources.id = source_id
        CROSS JOIN calls ON calls.id = present.call_id CROSS JOIN rows AS old ON old.id = present.row_id
        CROSS JOIN manifests ON manifests.id = old.manifest_id
    WHERE calls.state != 'done' AND (
        manifests.path != sources.path OR new.file != old.file OR new.staff_id != old.staff_id
        OR new.file_name != old.file_name OR new.date NOT IN ('', old.date) OR new.length != coalesce(old.length, 0)
        OR new.own != old.own OR new.content NOT IN (old.content, new.identity)
        OR (new.length AND (manifests.columns != sources.columns OR new.start != old.start))
    )
)
"""
PREPARE_MOVE = "CREATE INDEX temp.present_by_call ON present (call_id, n)"
# Of several files, that which the vendor takes best is sent.
MOVE_CALLS = """
UPDATE calls SET row_id = coalesce((
    SELECT present.row_id FROM temp.present CROSS JOIN rows ON rows.id = present.row_id
    WHERE present.call_id = calls.id AND manifest_id = :manifest_id
        AND form <= (SELECT form FROM rows AS lead WHERE lead.id = calls.row_id)
    ORDER BY form, n DESC LIMIT 1
), row_id) WHERE id IN (
    SELECT present.call_id FROM temp.present CROSS JOIN rows ON rows.id = row_id WHERE manifest_id = :manifest_id
)
"""

RAISE_PRIORITY = ""  # all calls of a file have the same

RECORD_MANIFEST = """
INSERT INTO manifests (path, columns, own, added_at)
SELECT path, columns, own, added_at FROM temp.sources
WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.path = sources.path)
"""

RESERVE_MANIFESTS = "SELECT coalesce(max(id), 0) FROM manifests"
RESERVE_ROWS = "SELECT coalesce(max(id), 0) FROM rows"

ADD_MANIFESTS = """
INSERT INTO manifests (id, path, columns, own, added_at)
SELECT :manifest_base + n, path, columns, sources.own, added_at
FROM temp.sources LEFT JOIN manifests AS kept USING (path, columns, added_at) WHERE kept.id IS NULL ORDER BY n
"""

DROP_PRESENT = "DELETE FROM temp.imported WHERE n IN (SELECT n FROM temp.present)"

LAST_CALL = "SELECT coalesce(max(id), 0) FROM calls"
COUNT_CALLS_AFTER = "SELECT count(*) FROM calls WHERE id > :last"

# A new row must not replace the row from which a running or done call was made, nor one whose file the vendor takes
# better. Whether there are pauses at all is looked up once, not for each row.
IMPORT_CALLS = f"""
INSERT INTO calls (id, identity, tenant, kind, row_id, added_at, due_at)
SELECT :last + n, identity, tenant, kind, :row_base + n,
    (SELECT added_at FROM temp.sources WHERE sources.id = source_id),
    CASE WHEN {HAS_PAUSES} AND {paused("imported.tenant", "imported.kind")} THEN {NEVER} END
FROM temp.imported WHERE true ORDER BY n
ON CONFLICT (identity) DO UPDATE SET
    row_count = row_count + 1,
    row_id = CASE WHEN state IN ('pending', 'failed') AND coalesce(
        (SELECT form FROM rows WHERE rows.id = calls.row_id),
        (SELECT form FROM temp.imported WHERE n = calls.row_id - :row_base)
    ) >= (SELECT form FROM temp.imported WHERE n = excluded.row_id - :row_base) THEN excluded.row_id ELSE row_id END
"""  # noqa: S608 - constants

_IMPORT_ROWS = """
INSERT INTO rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name, date,
    content, form, own, printed, warning)
SELECT :row_base + imported.n, {call_id}, :manifest_base + sources.n, line, CASE WHEN length THEN start END,
    nullif(length, 0), ref, file, invoice_id, staff_id, file_name, date,
    CASE content WHEN identity THEN '' ELSE content END, form, imported.own, printed, warning
FROM temp.imported {calls}CROSS JOIN temp.sources ON sources.id = source_id
ORDER BY imported.n
"""
# A new call is numbered after its first row.
IMPORT_ROWS = _IMPORT_ROWS.format(call_id="calls.id", calls="CROSS JOIN calls USING (identity) ")
IMPORT_LONE_ROWS = _IMPORT_ROWS.format(call_id=":last + imported.n", calls="")

# Runs

BEGIN_RUN = """
INSERT INTO runs (token, pid, process, started_at, hold_unknown) VALUES (:token, :pid, :process, now(), :hold_unknown)
"""
LAST_RUN = "SELECT last_insert_rowid()"
HOLD_UNKNOWN = "UPDATE runs SET hold_unknown = 1 WHERE id = :run_id"
SAY = "UPDATE runs SET said = :said WHERE id = :run_id"
RUNS = "SELECT id, token, pid, process FROM runs"
HAS_RUNS = "SELECT EXISTS (SELECT 1 FROM runs)"

COUNT_CLAIMED = """
SELECT coalesce(sum(row_count), 0) FROM calls
WHERE state = 'running' AND run_id IN (SELECT value FROM json_each(:run_ids))
"""

_CHECKS = "checks = CASE calls.checked_on WHEN :day THEN calls.checks ELSE 0 END"

HOLD = f"""
UPDATE calls SET state = 'failed', error_type = :error_type, error = :error, hint = :hint, ended_at = now(),
    attempts = attempts + sent, maybe_billed = maybe_billed + sent, {_CHECKS} + sent, checked_on = :day, sent = 0,
    run_id = NULL
WHERE state = 'running' AND sent AND run_id IN (SELECT value FROM json_each(:run_ids))
    AND (:hold_unknown OR EXISTS (SELECT 1 FROM runs WHERE id = run_id AND hold_unknown))
"""  # noqa: S608 - a constant

# Those that are made pending although they were sent keep the class of that error, until they are made again.
RELEASE = f"""
UPDATE calls SET state = 'pending', attempts = attempts + sent, maybe_billed = maybe_billed + sent,
    error_type = CASE WHEN sent THEN :unknown_type ELSE error_type END,
    {_CHECKS} + sent, checked_on = :day, sent = 0, run_id = NULL,
    due_at = CASE WHEN {held("calls")} THEN {NEVER} END
WHERE state = 'running' AND run_id IN (SELECT value FROM json_each(:run_ids))
"""  # noqa: S608 - a constant

HOLD_RELEASED = """
UPDATE calls SET state = 'failed', error = :error, hint = :hint, due_at = NULL, ended_at = now()
WHERE maybe_billed > 0 AND state = 'pending' AND error_type = :error_type
"""

_IS_DUE = f"due_at IS NOT NULL AND (due_at <= :now OR due_at > :latest AND due_at < {NEVER})"
WAKE = f"UPDATE calls SET due_at = CASE WHEN {held('calls')} THEN {NEVER} END WHERE {_IS_DUE}"  # noqa: S608 - constants

HAS_DUE = f"SELECT EXISTS (SELECT 1 FROM calls WHERE {_IS_DUE})"  # noqa: S608 - a constant

REMOVE_RUNS = "DELETE FROM runs WHERE id IN (SELECT value FROM json_each(:run_ids))"


def plain(column: str) -> str:
    """Return the expression for an identity without the tenant that it begins with."""
    return f"CASE WHEN tenant = '' OR {column} = '' THEN {column} ELSE substr({column}, length(tenant) + 2) END"


PLAIN_IDENTITY = plain("identity")

# The date of an invoice is that of the row, or if it has none, of another row of the call.
_DATE = """CASE WHEN kind = 'verify_by_id' AND date = '' THEN coalesce((
    SELECT date FROM rows AS other WHERE other.call_id = calls.id AND other.date != '' ORDER BY other.id DESC LIMIT 1
), '') ELSE date END"""

CLAIM = f"""
SELECT calls.id, {PLAIN_IDENTITY} AS identity, row_count, calls.kind, file, invoice_id, staff_id, file_name, start,
    length, path AS manifest, columns, {_DATE} AS date, waits, checks, checked_on, {plain("content")} AS content,
    form
FROM calls CROSS JOIN rows ON rows.id = calls.row_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE calls.tenant = :tenant AND calls.kind = :kind AND calls.state = 'pending' AND calls.due_at IS NULL
    AND NOT {paused(":tenant", ":kind")}
ORDER BY calls.id LIMIT :limit
"""  # noqa: S608 - a constant
CLAIM_LATEST = CLAIM.replace("ORDER BY calls.id", "ORDER BY calls.id DESC")

TAKE = """
UPDATE calls INDEXED BY calls_to_claim SET state = 'running', run_id = :run_id
WHERE tenant = :tenant AND kind = :kind AND state = 'pending' AND due_at IS NULL AND id BETWEEN :first AND :last
"""

# The plus keeps SQLite, which has no statistics, from searching by the state.
_IS_CLAIMED = "calls.id = record.call_id AND +calls.run_id = :run_id AND +calls.state = 'running'"

MARK_SENT = f"UPDATE calls SET sent = record.unconfirmed FROM record WHERE {_IS_CLAIMED}"  # noqa: S608 - a constant

_RECORD = f"""
UPDATE calls SET state = record.state, run_id = NULL, sent = 0, attempts = calls.attempts + record.attempts,
    maybe_billed = calls.maybe_billed + record.maybe_billed,
    ended_at = CASE WHEN record.state != 'pending' THEN now() END,
    ended_in = CASE WHEN record.state != 'pending' THEN (SELECT changes FROM file) END,
    result = record.result, error_type = {{error_type}}, error = record.error, hint = record.hint{{checks}}
FROM record WHERE {_IS_CLAIMED}
"""  # noqa: S608 - a constant
RECORD = _RECORD.format(error_type="record.error_type", checks="")
RECORD_CHECKS = _RECORD.format(
    error_type="""CASE WHEN record.state = 'pending' AND NOT record.attempts THEN calls.error_type
        ELSE record.error_type END""",
    checks=f""",
    due_at = CASE WHEN record.state = 'pending' AND record.due_at IS NULL AND {held("calls")} THEN {NEVER}
        ELSE record.due_at END,
    waits = calls.waits + (record.due_at IS NOT NULL AND calls.waited_on != :day),
    waited_on = CASE WHEN record.due_at IS NULL THEN calls.waited_on ELSE :day END,
    {_CHECKS} + record.checks, checked_on = :day, source = record.source""",
)

# Queries

PENDING_TENANTS = f"""
SELECT tenant FROM (
    SELECT tenant, kind, count(*) AS calls FROM calls INDEXED BY calls_to_claim
    WHERE state = 'pending' AND due_at IS NULL AND kind IN (SELECT value FROM json_each(:kinds)) GROUP BY tenant, kind
) AS each
WHERE NOT {paused("each.tenant", "each.kind")} GROUP BY tenant ORDER BY sum(calls), tenant
"""  # noqa: S608 - constants
HAS_PENDING = f"""
SELECT EXISTS (
    SELECT 1 FROM json_each(:kinds) AS wanted CROSS JOIN calls INDEXED BY calls_to_claim ON kind = wanted.value
    WHERE tenant = :tenant AND state = 'pending' AND due_at IS NULL AND NOT {paused(":tenant", "wanted.value")}
)
"""  # noqa: S608 - constants
HAS_RUNNING = """
SELECT EXISTS (SELECT 1 FROM json_each(:kinds) CROSS JOIN calls ON kind = value WHERE state = 'running')
"""
HAS_TENANTS = "SELECT EXISTS (SELECT 1 FROM calls WHERE tenant != '')"

MANIFESTS = "SELECT DISTINCT path FROM manifests"

NAMED = """
SELECT DISTINCT path, file
FROM rows JOIN calls ON calls.id = call_id JOIN manifests ON manifests.id = manifest_id
WHERE file != '' AND (
    substr(file, -length(:name)) = :name OR substr(identity, -64) = :sha256 OR substr(content, -64) = :sha256
)
"""

# Files that the vendor does not take are left out.
COPIES = f"""
SELECT path, file, {plain("content")} AS content
FROM rows JOIN manifests ON manifests.id = manifest_id JOIN calls ON calls.id = call_id
WHERE call_id = :call_id AND form < 2 ORDER BY form, rows.id DESC
"""  # noqa: S608 - a constant

COUNT_BY_STATE = "SELECT kind, state, count(*) AS calls, sum(row_count) AS rows FROM calls GROUP BY state, kind"

# Those that are held are counted apart.
WAITING = f"""
SELECT kind, count(*) AS calls, sum(row_count) AS rows, min(due_at) AS first, max(due_at) AS last
FROM calls WHERE due_at > :now GROUP BY kind, due_at = {NEVER}
"""  # noqa: S608 - a constant

# A number that another connection changes, and one that this one does.
CHANGES = "SELECT (SELECT data_version FROM pragma_data_version) AS others, total_changes() AS own"

# Calls that are free are not marked.
IN_FLIGHT = "SELECT kind, count(*) AS calls FROM calls WHERE state = 'running' AND sent > 0 GROUP BY kind"

FAILURES = """
SELECT error_type, sum(row_count) AS failed FROM calls WHERE state = 'failed'
GROUP BY error_type ORDER BY failed DESC, error_type
"""

CAUSES = """
SELECT error_type, error, hint, sum(row_count) AS rows FROM calls WHERE state = 'failed'
GROUP BY error_type, error, hint ORDER BY rows DESC, error_type, error LIMIT :limit
"""

MAYBE_BILLED = """
SELECT coalesce((SELECT sum(maybe_billed) FROM calls WHERE maybe_billed > 0), 0)
    + coalesce((SELECT sum(maybe_billed) FROM purged), 0)
"""

COUNT_BY_TENANT = f"""
WITH counted AS (
    SELECT json_extract(value, '$[0]') AS tenant, json_extract(value, '$[1]') AS state,
        json_extract(value, '$[2]') AS rows
    FROM json_each(:counted)
), lost AS (
    SELECT tenant, state, sum(maybe_billed) AS calls FROM calls WHERE maybe_billed > 0 GROUP BY tenant, state
), unconfirmed AS (
    SELECT tenant, state, sum(row_count) AS rows FROM calls INDEXED BY calls_failed
    WHERE state = 'failed' AND error_type = :unknown_type GROUP BY tenant, state
), later AS (
    SELECT tenant, state, sum(CASE WHEN due_at < {NEVER} THEN row_count ELSE 0 END) AS waiting,
        sum(CASE WHEN due_at = {NEVER} THEN row_count ELSE 0 END) AS held
    FROM calls WHERE due_at > :now GROUP BY tenant, state
)
SELECT tenant, state, sum(counted.rows) AS rows, coalesce(lost.calls, 0) AS maybe_billed,
    coalesce(unconfirmed.rows, 0) AS unconfirmed, coalesce(waiting, 0) AS waiting, coalesce(held, 0) AS held
FROM counted LEFT JOIN lost USING (tenant, state) LEFT JOIN unconfirmed USING (tenant, state)
    LEFT JOIN later USING (tenant, state)
GROUP BY tenant, state ORDER BY tenant, state
"""  # noqa: S608 - a constant

ACTIVE_RUNS = """
SELECT :this_host AS host, pid, started_at, NULL AS seen,
    (SELECT count(*) FROM calls WHERE state = 'running' AND run_id = runs.id) AS running
FROM runs ORDER BY id
"""
AT_WORK = ACTIVE_RUNS.replace("FROM runs", ", process, said FROM runs")  # those of ended processes are left out later
