"""The SQL statements about the invoices that files and answers name; `postgres.invoice_sql` has the same names.

Keys begin with the tenant and a separator, as identities do, see `schema`.
"""

from __future__ import annotations

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
CREATE TEMP TABLE unread (call_id INTEGER PRIMARY KEY, identity, kind, date, content);
INSERT INTO temp.unread (call_id, identity, kind, date, content)
SELECT min(calls.id), imported.identity, imported.kind, date, min(calls.identity)
FROM temp.imported CROSS JOIN calls ON calls.identity = content
WHERE form >= 2 AND imported.kind = 'verify_by_fields' AND state IN ('pending', 'failed')
    AND NOT EXISTS (SELECT 1 FROM calls AS known WHERE known.identity = imported.identity)
GROUP BY imported.identity
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

SHARE_KNOWN = f"""
UPDATE temp.imported SET (content, identity, kind, form) = (
    SELECT {_OWN}, calls.identity, calls.kind, form FROM rows CROSS JOIN calls ON calls.id = call_id
    WHERE rows.content = {_OWN} AND rows.content != '' ORDER BY rows.id LIMIT 1
) WHERE {_OWN} IN (SELECT content FROM rows WHERE content != '')
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.identity = {_OWN})
"""  # noqa: S608 - constants

FIND_KEYS = """
DROP TABLE IF EXISTS temp.keyed;
DROP TABLE IF EXISTS temp.leaders;
CREATE TEMP TABLE keyed (key, n INTEGER, date, net, tax, total, PRIMARY KEY (key, n)) WITHOUT ROWID;
CREATE INDEX temp.keyed_by_n ON keyed (n);
CREATE TEMP TABLE leaders (n INTEGER PRIMARY KEY, leader INTEGER);
INSERT INTO temp.keyed (key, n, date, net, tax, total)
SELECT CASE tenant WHEN '' THEN value ELSE tenant || char(31) || value END, n, json_extract(printed, '$.date'),
    json_extract(printed, '$.net'), json_extract(printed, '$.tax'), json_extract(printed, '$.total')
FROM temp.imported CROSS JOIN json_each(keys) WHERE keys != ''
"""

_DIFFERS = " OR ".join(
    f"(keyed.{name} != '' AND known.{name} != '' AND keyed.{name} != known.{name})"
    for name in ("date", "net", "tax", "total")
)
_SAYS_TWO = " OR ".join(f"count(DISTINCT nullif({name}, '')) > 1" for name in ("date", "net", "tax", "total"))
_NOT_DROPPED = "SELECT n FROM temp.keyed"

# A row whose file contradicts another one about the invoice shares no call with it.
WARN_OF_CONFLICTS = f"""
UPDATE temp.imported SET warning = :warning WHERE {_IS_NEW} AND n IN (
    SELECT n FROM temp.keyed CROSS JOIN invoices AS known USING (key) WHERE {_DIFFERS}
    UNION ALL
    SELECT n FROM temp.keyed CROSS JOIN (
        SELECT key FROM temp.keyed WHERE key NOT IN (SELECT key FROM invoices) GROUP BY key HAVING {_SAYS_TWO}
    ) USING (key)
)
"""  # noqa: S608 - constants
DROP_CONFLICTS = "DELETE FROM temp.keyed WHERE n IN (SELECT n FROM temp.imported WHERE warning != '')"

# A check of printed fields that failed is no reason not to send the file itself.
_MAY_BE_SHARED = "NOT (calls.kind = 'verify_by_fields' AND calls.state = 'failed' AND imported.form < 2)"

SHARE_KEYS = f"""
UPDATE temp.imported SET (content, identity, kind, shares) = (
    SELECT {_OWN}, calls.identity, calls.kind, 1
    FROM temp.keyed CROSS JOIN invoices USING (key) CROSS JOIN calls ON calls.id = invoices.call_id
    WHERE keyed.n = imported.n AND {_MAY_BE_SHARED} ORDER BY calls.id LIMIT 1
) WHERE {_IS_NEW} AND EXISTS (
    SELECT 1 FROM temp.keyed CROSS JOIN invoices USING (key) CROSS JOIN calls ON calls.id = invoices.call_id
    WHERE keyed.n = imported.n AND {_MAY_BE_SHARED}
)
"""  # noqa: S608 - constants

# The row that leads others is that whose file the vendor takes best, or else the first.
_N_BITS = 40
FIND_LEADERS = f"""
INSERT INTO temp.leaders (n, leader)
SELECT n, (form << {_N_BITS}) + n FROM temp.imported WHERE n IN (SELECT n FROM temp.keyed) AND {_IS_NEW}
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
SHARE_LEADERS = f"""
UPDATE temp.imported SET (content, identity, kind, shares) = (
    SELECT {_OWN}, lead.identity, lead.kind, {_OWN} != {_OWN.replace("imported", "lead")}
    FROM temp.leaders CROSS JOIN temp.imported AS lead ON lead.n = leader & {(1 << _N_BITS) - 1}
    WHERE leaders.n = imported.n
) WHERE n IN (SELECT n FROM temp.leaders WHERE leader & {(1 << _N_BITS) - 1} != n)
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

KNOWN_CONTENTS = """
SELECT asked.value AS content, max(form) AS form, max(printed) AS printed
FROM json_each(:contents) AS asked CROSS JOIN calls ON calls.identity = asked.value
    CROSS JOIN rows ON call_id = calls.id
WHERE content = '' AND printed != '' GROUP BY asked.value
UNION ALL
SELECT asked.value, max(form), max(printed)
FROM json_each(:contents) AS asked CROSS JOIN rows ON rows.content = asked.value
WHERE content != '' AND printed != '' GROUP BY asked.value
"""

COUNT_SHARING = """
SELECT coalesce(sum(shares), 0) AS rows, coalesce(sum(warning != ''), 0) AS conflicts FROM temp.imported
"""

# Invoices in answers

TO_INDEX = """
SELECT id AS call_id, tenant, kind, source, result FROM calls INDEXED BY calls_to_index
WHERE state = 'done' AND indexed = 0 AND kind != 'url' AND kind != 'detail' AND kind != 'download' AND id > :after
ORDER BY id LIMIT :limit
"""
# A call that was removed, or indexed by another program meanwhile, is left out.
STILL_TO_INDEX = """
SELECT id FROM calls WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'done' AND indexed = 0
"""
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
MARK_INDEXED = "UPDATE calls SET indexed = 1 WHERE id IN (SELECT value FROM json_each(:ids))"

# Columns that only the user knows

OWN_COLUMNS = "SELECT own FROM manifests WHERE own != '[]' GROUP BY own ORDER BY min(id)"

# Accounting

COUNT_WORK = """
SELECT kind, state, source, count(*) AS calls, sum(row_count) AS rows, sum(attempts) AS attempts
FROM calls GROUP BY state, kind, source
"""
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
SELECT tenant, kind, 'waiting' AS state, count(*) AS calls, sum(row_count) AS rows FROM calls
WHERE due_at > :now GROUP BY tenant, kind
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
