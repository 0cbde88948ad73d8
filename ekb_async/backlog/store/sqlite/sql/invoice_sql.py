"""The SQL statements about the invoices that files and answers name.

Keys begin with the tenant and a separator, as identities do, see `schema`.
"""

from __future__ import annotations

# Rows that were purged

# The identities of a tenant's calls begin with the tenant.
DIGEST = "digest(CASE content WHEN '' THEN identity ELSE content END || char(31) || trim(ref, :blanks))"
HAS_DIGESTS = "SELECT EXISTS (SELECT 1 FROM purged_rows)"
DROP_PURGED = f"""
DELETE FROM temp.imported
WHERE {DIGEST} IN (
    SELECT digest FROM purged_rows
)
"""  # noqa: S608 - a constant

# Rows that share a call

HAS_KEYS = "SELECT EXISTS (SELECT 1 FROM temp.imported WHERE keys != '')"
HAS_SHARED = "SELECT EXISTS (SELECT 1 FROM rows WHERE content != '')"

_OWN = "CASE imported.content WHEN '' THEN imported.identity ELSE imported.content END"
_IS_NEW = "NOT EXISTS (SELECT 1 FROM calls WHERE calls.identity = imported.identity)"

# A file that OCR does not take may have been added before it was read. Its call becomes the check by its fields, unless
# that is done or there is such a check.
HAS_UNSENDABLE = "SELECT EXISTS (SELECT 1 FROM temp.imported WHERE form >= 2)"
FIND_UNREAD = """
DROP TABLE IF EXISTS temp.unread;
CREATE TEMP TABLE unread (call_id INTEGER PRIMARY KEY, identity UNIQUE, kind, date, content);
INSERT OR IGNORE INTO temp.unread (call_id, identity, kind, date, content)
SELECT calls.id, imported.identity, imported.kind, date, calls.identity
FROM temp.imported CROSS JOIN calls ON calls.identity = content
WHERE form >= 2 AND imported.kind = 'verify_by_fields' AND state IN ('pending', 'failed')
    AND NOT EXISTS (SELECT 1 FROM calls AS known WHERE known.identity = imported.identity)
ORDER BY calls.id, n
"""
KEEP_CONTENT = """
UPDATE rows SET (content, form, date) = (
    SELECT content, 2, coalesce(nullif(rows.date, ''), unread.date) FROM temp.unread WHERE unread.call_id = rows.call_id
) WHERE content = '' AND call_id IN (SELECT call_id FROM temp.unread)
"""
CHECK_FIELDS = """
UPDATE calls SET (identity, kind) = (SELECT identity, kind FROM temp.unread WHERE call_id = calls.id)
WHERE id IN (SELECT call_id FROM temp.unread)
"""
KEEP_UNREAD = """
UPDATE temp.imported SET (identity, kind) = (SELECT identity, kind FROM calls WHERE calls.identity = imported.content)
WHERE form >= 2 AND content IN (SELECT identity FROM calls)
"""

# A file that names its invoices shares by these, of which it may have several.
SHARE_KNOWN = f"""
UPDATE temp.imported SET (content, identity, kind, form) = (
    SELECT {_OWN}, calls.identity, calls.kind, form FROM rows CROSS JOIN calls ON calls.id = call_id
    WHERE rows.content = {_OWN} AND rows.content != '' ORDER BY rows.id LIMIT 1
) WHERE keys = '' AND {_OWN} IN (SELECT content FROM rows WHERE content != '')
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.identity = {_OWN})
"""  # noqa: S608 - constants

_STATED = ("date", "net", "tax", "total")
FIND_KEYS = f"""
DROP TABLE IF EXISTS temp.keyed;
DROP TABLE IF EXISTS temp.leaders;
DROP TABLE IF EXISTS temp.conflicts;
CREATE TEMP TABLE keyed (key, n INTEGER, date, net, tax, total, PRIMARY KEY (key, n)) WITHOUT ROWID;
CREATE INDEX temp.keyed_by_n ON keyed (n);
CREATE TEMP TABLE leaders (n INTEGER PRIMARY KEY, leader INTEGER);
CREATE TEMP TABLE conflicts (n INTEGER PRIMARY KEY);
INSERT INTO temp.keyed (key, n, date, net, tax, total)
SELECT CASE tenant WHEN '' THEN value ELSE tenant || char(31) || value END, n, {
    ", ".join(f"coalesce(json_extract(nullif(printed, ''), '$.{name}'), '')" for name in _STATED)
}
FROM temp.imported CROSS JOIN json_each(keys) WHERE keys != ''
"""  # noqa: S608 - constants

# Files of an invoice follow the smallest of these numbers: that of a call that the backlog has for it, otherwise that
# of the imported row whose file the vendor takes best, or of the first of these. A check of printed fields that failed
# is no reason not to send the file itself.
_ID_BITS = 40
_ID = f"leader & {(1 << _ID_BITS) - 1}"
_IS_CALL = f"leader >> {_ID_BITS} IN (0, 3)"
_CALL = f"""(
    CASE WHEN calls.kind = 'verify_by_fields' AND calls.state = 'failed' THEN 3 ELSE 0 END << {_ID_BITS}
) + calls.id"""
CLEAR_LEADERS = "DELETE FROM temp.leaders"
FIND_LEADERS = f"""
INSERT INTO temp.leaders (n, leader)
SELECT n, min(leader)
FROM (
    SELECT n, (CASE form WHEN 0 THEN 1 WHEN 1 THEN 2 ELSE 4 END << {_ID_BITS}) + n AS leader FROM temp.imported
    WHERE n IN (SELECT n FROM temp.keyed) AND {_IS_NEW}
    UNION ALL
    SELECT n, {_CALL} FROM temp.imported CROSS JOIN calls USING (identity) WHERE n IN (SELECT n FROM temp.keyed)
    UNION ALL
    SELECT n, {_CALL} FROM temp.keyed CROSS JOIN invoices USING (key) CROSS JOIN calls ON calls.id = invoices.call_id
) GROUP BY n
"""  # noqa: S608 - constants
# Repeated while it changes anything: an invoice may have two keys, and files that name one of them each.
LEAD_MORE = """
INSERT OR REPLACE INTO temp.leaders (n, leader)
SELECT leaders.n, min(least) AS best
FROM (
    SELECT key, min(leader) AS least FROM temp.keyed CROSS JOIN temp.leaders USING (n) GROUP BY key HAVING count(*) > 1
) CROSS JOIN temp.keyed USING (key) CROSS JOIN temp.leaders USING (n)
GROUP BY leaders.n HAVING best < leaders.leader
"""

# A row whose file contradicts what is known of the invoice, or another file if that is not known, shares no call.
_VALUES = ", ".join(_STATED)
_LIMITS_OF = ", ".join(
    f"min(nullif({name}, '')) < max(nullif({name}, '')) AS {name}_differs, "
    f"min(CASE WHEN is_known THEN nullif({name}, '') END) AS least_{name}, "
    f"max(CASE WHEN is_known THEN nullif({name}, '') END) AS most_{name}"
    for name in _STATED
)
_CONTRADICTS = " OR ".join(
    f"({name}_differs AND keyed.{name} != '' "
    f"AND (least_{name} IS NULL OR keyed.{name} != least_{name} OR keyed.{name} != most_{name}))"
    for name in _STATED
)
FIND_CONFLICTS = f"""
INSERT OR IGNORE INTO temp.conflicts (n)
SELECT n
FROM (
    SELECT leader, {_LIMITS_OF}
    FROM (
        SELECT leader, 0 AS is_known, {_VALUES} FROM temp.keyed CROSS JOIN temp.leaders USING (n)
        UNION ALL
        SELECT leader, 1, {", ".join(f"known.{name}" for name in _STATED)}
        FROM temp.keyed CROSS JOIN temp.leaders USING (n) CROSS JOIN invoices AS known USING (key)
        UNION ALL
        SELECT leader, 1, {_VALUES}
        FROM (SELECT DISTINCT leader FROM temp.leaders WHERE {_IS_CALL}) CROSS JOIN invoices ON call_id = {_ID}
    ) GROUP BY leader HAVING {" OR ".join(f"{name}_differs" for name in _STATED)}
) CROSS JOIN temp.leaders USING (leader) CROSS JOIN temp.keyed USING (n) WHERE {_CONTRADICTS}
"""  # noqa: S608 - constants
WARN_OF_CONFLICTS = "UPDATE temp.imported SET warning = :warning WHERE n IN (SELECT n FROM temp.conflicts)"
DROP_CONFLICTS = "DELETE FROM temp.keyed WHERE n IN (SELECT n FROM temp.conflicts)"

# A check of what files state, which is not made yet, becomes a call on a file that the vendor takes.
FIND_BETTER = f"""
DROP TABLE IF EXISTS temp.better;
CREATE TEMP TABLE better (call_id INTEGER PRIMARY KEY, identity UNIQUE, kind);
INSERT OR IGNORE INTO temp.better (call_id, identity, kind)
SELECT calls.id, imported.identity, imported.kind
FROM temp.leaders CROSS JOIN temp.imported USING (n) CROSS JOIN calls ON calls.id = {_ID}
WHERE {_IS_CALL} AND form < 2 AND calls.kind = 'verify_by_fields' AND state = 'pending' AND attempts = 0 AND {_IS_NEW}
    AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.call_id = calls.id AND rows.content = '')
ORDER BY form, n
"""  # noqa: S608 - constants
SEND_FILES = """
UPDATE calls SET (identity, kind) = (SELECT identity, kind FROM temp.better WHERE call_id = calls.id)
WHERE id IN (SELECT call_id FROM temp.better)
"""
SHARE_FILES = "UPDATE temp.imported SET shares = 1 WHERE identity IN (SELECT identity FROM temp.better)"

SHARE_CALLS = f"""
UPDATE temp.imported SET (content, identity, kind, shares) = (
    SELECT {_OWN}, calls.identity, calls.kind, 1 FROM temp.leaders CROSS JOIN calls ON calls.id = {_ID}
    WHERE leaders.n = imported.n
) WHERE n IN (SELECT n FROM temp.leaders WHERE {_IS_CALL}) AND {_IS_NEW}
"""  # noqa: S608 - constants
SHARE_LEADERS = f"""
UPDATE temp.imported SET (content, identity, kind, shares) = (
    SELECT {_OWN}, lead.identity, lead.kind, {_OWN} != {_OWN.replace("imported", "lead")}
    FROM temp.leaders CROSS JOIN temp.imported AS lead ON lead.n = {_ID} WHERE leaders.n = imported.n
) WHERE n IN (SELECT n FROM temp.leaders WHERE NOT ({_IS_CALL}) AND {_ID} != n) AND {_IS_NEW}
"""  # noqa: S608 - constants

KEEP_KEYS = """
INSERT INTO invoices (key, call_id, date, net, tax, total)
SELECT key, calls.id, keyed.date, net, tax, total
FROM temp.keyed CROSS JOIN temp.imported USING (n) CROSS JOIN calls USING (identity) WHERE true ORDER BY n
ON CONFLICT (key) DO UPDATE SET
    call_id = CASE WHEN (
        SELECT kind = 'verify_by_fields' AND state = 'failed' FROM calls WHERE id = call_id
    ) THEN excluded.call_id ELSE call_id END,
    date = CASE date WHEN '' THEN excluded.date ELSE date END,
    net = CASE net WHEN '' THEN excluded.net ELSE net END,
    tax = CASE tax WHEN '' THEN excluded.tax ELSE tax END,
    total = CASE total WHEN '' THEN excluded.total ELSE total END
"""

KEEP_PRINTED = """
UPDATE rows SET (printed, form) = (
    SELECT new.printed, new.form FROM temp.present CROSS JOIN temp.imported AS new USING (n)
    WHERE present.row_id = rows.id
) WHERE printed = '' AND id IN (
    SELECT row_id FROM temp.present CROSS JOIN temp.imported AS new USING (n) WHERE new.printed != ''
)
"""

# A file whose invoices have a call each is read again.
KNOWN_CONTENTS = """
SELECT asked.value AS content, max(form) AS form, max(printed) AS printed
FROM json_each(:contents) AS asked CROSS JOIN calls ON calls.identity = asked.value
    CROSS JOIN rows ON call_id = calls.id
WHERE content = '' AND printed != '' GROUP BY asked.value HAVING min(call_id) = max(call_id)
UNION ALL
SELECT asked.value, max(form), max(printed)
FROM json_each(:contents) AS asked CROSS JOIN rows ON rows.content = asked.value
WHERE content != '' AND printed != '' GROUP BY asked.value HAVING min(call_id) = max(call_id)
"""

COUNT_SHARING = """
SELECT coalesce(sum(shares), 0) AS rows, coalesce(sum(warning != ''), 0) AS conflicts FROM temp.imported
"""

# Invoices in answers

TO_INDEX = """
SELECT call_id, tenant, kind, source, result FROM to_index CROSS JOIN calls ON calls.id = call_id
WHERE call_id > :after AND state = 'done' ORDER BY call_id LIMIT :limit
"""
# A call that was removed, or indexed by another program meanwhile, is left out.
STILL_TO_INDEX = "SELECT call_id FROM to_index WHERE call_id IN (SELECT value FROM json_each(:ids))"
_KEY = "CASE :tenant WHEN '' THEN :key ELSE :tenant || char(31) || :key END"
KEEP_ANSWERED = f"""
INSERT INTO answered (key, call_id) VALUES ({_KEY}, :call_id) ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant
FIRST_ANSWERED = f"""
SELECT :call_id AS call_id, call_id AS first_id FROM answered WHERE key = {_KEY}
"""  # noqa: S608 - a constant
MARK_SAME = "UPDATE calls SET same_as = :first_id WHERE id = :call_id"
MARK_FIRST = """
UPDATE calls SET same_as = id WHERE id IN (SELECT value FROM json_each(:ids)) AND same_as IS NULL
"""
MARK_INDEXED = "DELETE FROM to_index WHERE call_id IN (SELECT value FROM json_each(:ids))"

# Columns that only the user knows

OWN_COLUMNS = "SELECT own FROM manifests WHERE own != '[]' GROUP BY own ORDER BY min(id)"

# Accounting

# Grouped in the order of the index first, since sorting all calls takes far longer.
_COUNT_WORK = """
SELECT {columns}, sum(calls) AS calls, sum(calls * row_count) AS rows, sum(calls * attempts) AS attempts
FROM (
    SELECT state, kind, tenant, row_count, attempts, source, count(*) AS calls
    FROM calls INDEXED BY calls_by_state GROUP BY state, kind, tenant, row_count, attempts, source
) GROUP BY {columns}
"""
COUNT_WORK = _COUNT_WORK.format(columns="kind, state, source")
COUNT_WORK_OF_TENANTS = _COUNT_WORK.format(columns="tenant, kind, state, source")
COUNT_MAYBE_BILLED = "SELECT kind, sum(maybe_billed) AS calls FROM calls WHERE maybe_billed > 0 GROUP BY kind"
COUNT_SAME_INVOICE = """
SELECT kind, state, sum(others) AS calls
FROM (
    SELECT call_id, count(DISTINCT content) - 1 AS others FROM rows
    WHERE call_id IN (SELECT call_id FROM rows WHERE content != '') GROUP BY call_id
) CROSS JOIN calls ON calls.id = call_id GROUP BY kind, state HAVING sum(others) > 0
"""

# The ledger

KEYS_OF_CALLS = """
SELECT call_id, key, tenant, invoices.date, net, tax, total FROM invoices CROSS JOIN calls ON calls.id = call_id
WHERE call_id IN (SELECT value FROM json_each(:ids))
"""
WARN_ROWS = "UPDATE rows SET warning = :warning WHERE call_id = :call_id AND warning = ''"

# Before paying

_IS_OPEN = "(calls.state = 'pending' OR calls.state = 'running')"
COUNT_OPEN = f"""
SELECT tenant, kind, state, count(*) AS calls, sum(row_count) AS rows FROM calls
WHERE {_IS_OPEN} GROUP BY tenant, kind, state
"""  # noqa: S608 - a constant
COUNT_WAITING = """
SELECT tenant, kind, CASE due_at WHEN 9e999 THEN 'held' ELSE 'waiting' END AS state, count(*) AS calls,
    sum(row_count) AS rows
FROM calls WHERE due_at > :now GROUP BY tenant, kind, 3
"""
COUNT_WARNED = f"""
SELECT count(*) FROM rows CROSS JOIN calls ON calls.id = call_id WHERE warning != '' AND {_IS_OPEN}
"""  # noqa: S608 - a constant
COUNT_REPEATED = """
SELECT (SELECT count(*) FROM calls WHERE maybe_billed > 0 AND state = 'pending')
    + (SELECT count(*) FROM calls WHERE state = 'running' AND (sent > 0 OR maybe_billed > 0))
"""
COUNT_IN_LEDGER = f"""
SELECT count(*) FROM calls WHERE {_IS_OPEN} AND (
    kind = 'verify_by_id' OR kind = 'verify_by_fields'
    OR id IN (SELECT call_id FROM invoices) AND (kind = 'ocr' OR kind = 'verify')
)
"""  # noqa: S608 - a constant

# Buyers

PENDING_PRINTED = """
SELECT rows.id AS row_id, printed, warning FROM rows CROSS JOIN calls ON calls.id = call_id
WHERE rows.id > :after AND printed != '' AND printed != '{}' AND state = 'pending' AND tenant = :tenant
ORDER BY rows.id LIMIT :limit
"""
SET_WARNING = "UPDATE rows SET warning = :warning WHERE id = :row_id AND warning = :before"
