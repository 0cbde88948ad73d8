"""The SQL statements about the invoices that files and answers name; `sqlite.invoice_sql` has the same names."""

from __future__ import annotations

# Rows that share a call

HAS_KEYS = "SELECT EXISTS (SELECT 1 FROM imported WHERE keys <> '')"
HAS_SHARED = "SELECT EXISTS (SELECT 1 FROM ekb_row WHERE content <> '')"

_OWN = "CASE imported.content WHEN '' THEN imported.identity ELSE imported.content END"
_IS_NEW = """NOT EXISTS (
    SELECT 1 FROM ekb_call AS own WHERE (own.tenant, own.identity) = (imported.tenant, imported.identity)
)"""

# A file that OCR does not take may have been added before it was read. Its call becomes the check by its fields, unless
# that is done or there is such a check.
HAS_UNSENDABLE = "SELECT EXISTS (SELECT 1 FROM imported WHERE form >= 2)"
FIND_UNREAD = """
CREATE TEMP TABLE unread (
    call_id bigint PRIMARY KEY, identity text, kind text, date text, content text
) ON COMMIT DROP;
INSERT INTO unread (call_id, identity, kind, date, content)
SELECT DISTINCT ON (imported.tenant, imported.identity) call.id, imported.identity, imported.kind, date, call.identity
FROM imported JOIN ekb_call AS call ON (call.tenant, call.identity) = (imported.tenant, content)
WHERE form >= 2 AND imported.kind = 'verify_by_fields' AND state IN ('pending', 'failed') AND NOT EXISTS (
    SELECT 1 FROM ekb_call AS known WHERE (known.tenant, known.identity) = (imported.tenant, imported.identity)
)
ORDER BY imported.tenant, imported.identity, call.id
"""
KEEP_CONTENT = """
UPDATE ekb_row AS row SET content = unread.content, form = 2, date = coalesce(nullif(row.date, ''), unread.date)
FROM unread WHERE unread.call_id = row.call_id AND row.content = ''
"""
CHECK_FIELDS = """
UPDATE ekb_call AS call SET identity = unread.identity, kind = unread.kind, turn = NULL, planned = false
FROM unread WHERE call.id = unread.call_id
"""
KEEP_UNREAD = """
UPDATE imported SET identity = call.identity, kind = call.kind FROM ekb_call AS call
WHERE form >= 2 AND (call.tenant, call.identity) = (imported.tenant, content)
"""

SHARE_KNOWN = f"""
UPDATE imported SET content = {_OWN}, identity = known.identity, kind = known.kind, form = known.form
FROM (
    SELECT DISTINCT ON (tenant, row.content) tenant, row.content, identity, call.kind, row.form
    FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    WHERE row.content <> '' AND row.content IN (SELECT {_OWN} FROM imported)
    ORDER BY tenant, row.content, row.id
) AS known
WHERE known.tenant = imported.tenant AND known.content = {_OWN} AND NOT EXISTS (
    SELECT 1 FROM ekb_call AS own WHERE (own.tenant, own.identity) = (imported.tenant, {_OWN})
)
"""  # noqa: S608 - constants

FIND_KEYS = """
CREATE TEMP TABLE keyed (
    tenant text, key text, n bigint, date text, net text, tax text, total text, PRIMARY KEY (tenant, key, n)
) ON COMMIT DROP;
CREATE INDEX ON keyed (n);
CREATE TEMP TABLE leaders (n bigint PRIMARY KEY, leader bigint) ON COMMIT DROP;
INSERT INTO keyed (tenant, key, n, date, net, tax, total)
SELECT tenant, value, n, printed::json ->> 'date', printed::json ->> 'net', printed::json ->> 'tax',
    printed::json ->> 'total'
FROM imported CROSS JOIN json_array_elements_text(keys::json) AS value WHERE keys <> '';
ANALYZE keyed
"""

_DIFFERS = " OR ".join(
    f"(keyed.{name} <> '' AND known.{name} <> '' AND keyed.{name} <> known.{name})"
    for name in ("date", "net", "tax", "total")
)
_SAYS_TWO = " OR ".join(f"count(DISTINCT nullif({name}, '')) > 1" for name in ("date", "net", "tax", "total"))

# A row whose file contradicts another one about the invoice shares no call with it.
WARN_OF_CONFLICTS = f"""
UPDATE imported SET warning = :warning WHERE {_IS_NEW} AND n IN (
    SELECT n FROM keyed JOIN ekb_invoice AS known USING (tenant, key) WHERE {_DIFFERS}
    UNION ALL
    SELECT n FROM keyed JOIN (
        SELECT tenant, key FROM keyed
        WHERE NOT EXISTS (
            SELECT 1 FROM ekb_invoice AS known WHERE (known.tenant, known.key) = (keyed.tenant, keyed.key)
        )
        GROUP BY tenant, key HAVING {_SAYS_TWO}
    ) AS disputed USING (tenant, key)
)
"""  # noqa: S608 - constants
DROP_CONFLICTS = "DELETE FROM keyed USING imported WHERE keyed.n = imported.n AND warning <> ''"

# A check of printed fields that failed is no reason not to send the file itself.
_MAY_BE_SHARED = "NOT (call.kind = 'verify_by_fields' AND call.state = 'failed' AND imported.form < 2)"

SHARE_KEYS = f"""
UPDATE imported SET content = {_OWN}, identity = known.identity, kind = known.kind, shares = true
FROM (
    SELECT DISTINCT ON (imported.n) imported.n, call.identity, call.kind
    FROM imported JOIN keyed USING (n) JOIN ekb_invoice AS invoice ON
        (invoice.tenant, invoice.key) = (keyed.tenant, keyed.key)
        JOIN ekb_call AS call ON call.id = invoice.call_id
    WHERE {_MAY_BE_SHARED} ORDER BY imported.n, call.id
) AS known
WHERE known.n = imported.n AND {_IS_NEW}
"""  # noqa: S608 - constants

# The row that leads others is that whose file the vendor takes best, or else the first.
_N_BITS = 40
FIND_LEADERS = f"""
INSERT INTO leaders (n, leader)
SELECT n, (form::bigint << {_N_BITS}) + n FROM imported WHERE n IN (SELECT n FROM keyed) AND {_IS_NEW}
"""  # noqa: S608 - constants
# Repeated while it changes anything: an invoice may have two keys, and files that name one of them each.
LEAD_MORE = """
UPDATE leaders SET leader = better.best
FROM (
    SELECT n, min(least) AS best
    FROM (
        SELECT tenant, key, min(leader) AS least FROM keyed JOIN leaders USING (n)
        GROUP BY tenant, key HAVING count(*) > 1
    ) AS of_key JOIN keyed USING (tenant, key) GROUP BY n
) AS better
WHERE leaders.n = better.n AND better.best < leaders.leader
"""
SHARE_LEADERS = f"""
UPDATE imported SET content = {_OWN}, identity = lead.identity, kind = lead.kind,
    shares = {_OWN} <> {_OWN.replace("imported", "lead")}
FROM leaders JOIN imported AS lead ON lead.n = leader & {(1 << _N_BITS) - 1}
WHERE leaders.n = imported.n AND lead.n <> imported.n
"""  # noqa: S608 - constants

KEEP_KEYS = """
INSERT INTO ekb_invoice AS kept (tenant, key, call_id, date, net, tax, total)
SELECT DISTINCT ON (keyed.tenant, key) keyed.tenant, key, call.id, keyed.date, net, tax, total
FROM keyed JOIN imported USING (n) JOIN ekb_call AS call ON
    (call.tenant, call.identity) = (imported.tenant, imported.identity)
ORDER BY keyed.tenant, key, n
ON CONFLICT (tenant, key) DO UPDATE SET
    call_id = CASE WHEN (
        SELECT kind = 'verify_by_fields' AND state = 'failed' FROM ekb_call WHERE id = kept.call_id
    ) THEN excluded.call_id ELSE kept.call_id END,
    date = coalesce(nullif(kept.date, ''), excluded.date),
    net = coalesce(nullif(kept.net, ''), excluded.net),
    tax = coalesce(nullif(kept.tax, ''), excluded.tax),
    total = coalesce(nullif(kept.total, ''), excluded.total)
"""

KEEP_PRINTED = """
UPDATE ekb_row AS old SET printed = new.printed, form = new.form
FROM present JOIN imported AS new USING (n) WHERE old.id = present.row_id AND old.printed = '' AND new.printed <> ''
"""

KNOWN_CONTENTS = """
SELECT asked.content, max(form) AS form, max(printed) AS printed
FROM unnest(:contents::text[]) AS asked (content) JOIN ekb_call AS call ON (tenant, identity) = (:tenant, asked.content)
    JOIN ekb_row AS row ON call_id = call.id
WHERE row.content = '' AND printed <> '' GROUP BY asked.content
UNION ALL
SELECT asked.content, max(form), max(printed)
FROM unnest(:contents::text[]) AS asked (content) JOIN ekb_row AS row ON row.content = asked.content
    JOIN ekb_call AS call ON call.id = call_id
WHERE tenant = :tenant AND row.content <> '' AND printed <> '' GROUP BY asked.content
"""

COUNT_SHARING = """
SELECT count(*) FILTER (WHERE shares) AS rows, count(*) FILTER (WHERE warning <> '') AS conflicts FROM imported
"""

# Invoices in answers

CAN_WRITE = "SELECT NOT current_setting('transaction_read_only')::boolean AND has_table_privilege('ekb_call', 'UPDATE')"

TO_INDEX = """
SELECT id AS call_id, tenant, kind, source, result FROM ekb_call
WHERE state = 'done' AND NOT indexed AND kind NOT IN ('url', 'detail', 'download') AND id > :after
ORDER BY id LIMIT :limit
"""
# A call that was removed, or indexed by another program meanwhile, is left out. The lock keeps it until the end.
STILL_TO_INDEX = """
SELECT id FROM ekb_call WHERE id = ANY(:ids::bigint[]) AND state = 'done' AND NOT indexed ORDER BY id FOR UPDATE
"""
KEEP_ANSWERED = """
INSERT INTO ekb_answered (tenant, key, call_id)
SELECT tenant, key, call_id FROM unnest(:tenant::text[], :key::text[], :call_id::bigint[])
    WITH ORDINALITY AS new (tenant, key, call_id, n) ORDER BY n
ON CONFLICT DO NOTHING
"""
FIRST_ANSWERED = """
SELECT new.call_id, answered.call_id AS first_id
FROM unnest(:tenant::text[], :key::text[], :call_id::bigint[]) AS new (tenant, key, call_id)
    JOIN ekb_answered AS answered USING (tenant, key)
"""
MARK_SAME = """
UPDATE ekb_call AS call SET same_as = new.first_id
FROM unnest(:call_id::bigint[], :first_id::bigint[]) AS new (call_id, first_id) WHERE call.id = new.call_id
"""
MARK_FIRST = """
UPDATE ekb_call SET same_as = id WHERE id IN (
    SELECT id FROM ekb_call WHERE id = ANY(:ids::bigint[]) AND same_as IS NULL ORDER BY id FOR UPDATE
)
"""
MARK_INDEXED = "UPDATE ekb_call SET indexed = true WHERE id = ANY(:ids::bigint[])"

# Columns that only the user knows

OWN_COLUMNS = "SELECT own FROM ekb_manifest WHERE own <> '[]' GROUP BY own ORDER BY min(id)"

# Accounting

COUNT_WORK = """
SELECT kind, state, source, count(*) AS calls, sum(row_count) AS rows, sum(attempts) AS attempts
FROM ekb_call GROUP BY state, kind, source
"""
COUNT_MAYBE_BILLED = "SELECT kind, sum(maybe_billed) AS calls FROM ekb_call WHERE maybe_billed > 0 GROUP BY kind"
COUNT_SAME_INVOICE = """
SELECT kind, state, sum(others)::bigint AS calls
FROM (
    SELECT call_id, count(DISTINCT content) - 1 AS others FROM ekb_row
    WHERE call_id IN (SELECT call_id FROM ekb_row WHERE content <> '') GROUP BY call_id
) AS sharing JOIN ekb_call AS call ON call.id = call_id GROUP BY kind, state HAVING sum(others) > 0
"""

# The ledger

KEYS_OF_CALLS = """
SELECT call_id, key, invoice.tenant, invoice.date, net, tax, total FROM ekb_invoice AS invoice
WHERE call_id = ANY(:ids::bigint[])
"""
WARN_ROWS = "UPDATE ekb_row SET warning = :warning WHERE call_id = :call_id AND warning = ''"

# Before paying

COUNT_OPEN = """
SELECT tenant, kind, state, count(*) AS calls, sum(row_count) AS rows FROM ekb_call
WHERE state IN ('pending', 'running') GROUP BY tenant, kind, state
"""
COUNT_WAITING = """
SELECT tenant, kind, 'waiting' AS state, count(*) AS calls, sum(row_count) AS rows FROM ekb_call
WHERE due_at > :now GROUP BY tenant, kind
"""
COUNT_WARNED = """
SELECT count(*) FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
WHERE warning <> '' AND state IN ('pending', 'running')
"""
COUNT_REPEATED = """
SELECT count(*) FROM ekb_call
WHERE state IN ('pending', 'running') AND (maybe_billed > 0 OR state = 'running' AND sent > 0)
"""
COUNT_IN_LEDGER = """
SELECT count(*) FROM ekb_call WHERE state IN ('pending', 'running') AND (
    kind IN ('verify_by_id', 'verify_by_fields')
    OR kind IN ('ocr', 'verify') AND id IN (SELECT call_id FROM ekb_invoice)
)
"""

# Buyers

PENDING_PRINTED = """
SELECT row.id AS row_id, printed, warning FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
WHERE row.id > :after AND printed NOT IN ('', '{}') AND state = 'pending' AND tenant = :tenant
ORDER BY row.id LIMIT :limit
"""
SET_WARNING = """
UPDATE ekb_row AS row SET warning = new.warning
FROM unnest(:row_id::bigint[], :before::text[], :warning::text[]) AS new (id, before, warning)
WHERE row.id = new.id AND row.warning = new.before
"""
