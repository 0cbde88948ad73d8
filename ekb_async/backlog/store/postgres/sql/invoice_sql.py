"""The SQL statements about the invoices that files and answers name."""

from __future__ import annotations

# Rows that were purged

DIGEST = """encode(substr(sha256(convert_to(
    CASE {call}.tenant WHEN '' THEN '' ELSE {call}.tenant || chr(31) END
        || CASE {row}.content WHEN '' THEN {call}.identity ELSE {row}.content END
        || chr(31) || btrim({row}.ref, :blanks),
    'UTF8')), 1, 16), 'hex')::uuid"""
HAS_DIGESTS = "SELECT EXISTS (SELECT 1 FROM ekb_purged_row)"
DROP_PURGED = f"""
DELETE FROM imported WHERE {DIGEST.format(call="imported", row="imported")} IN (SELECT digest FROM ekb_purged_row)
"""  # noqa: S608 - a constant

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
    call_id bigint PRIMARY KEY, tenant text, identity text, kind text, date text, content text,
    UNIQUE (tenant, identity)
) ON COMMIT DROP;
INSERT INTO unread (call_id, tenant, identity, kind, date, content)
SELECT call.id, imported.tenant, imported.identity, imported.kind, date, call.identity
FROM imported JOIN ekb_call AS call ON (call.tenant, call.identity) = (imported.tenant, content)
WHERE form >= 2 AND imported.kind = 'verify_by_fields' AND state IN ('pending', 'failed') AND NOT EXISTS (
    SELECT 1 FROM ekb_call AS known WHERE (known.tenant, known.identity) = (imported.tenant, imported.identity)
)
ORDER BY call.id, imported.n FOR UPDATE OF call
ON CONFLICT DO NOTHING
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

# A file that names its invoices shares by these, of which it may have several.
SHARE_KNOWN = f"""
UPDATE imported SET content = {_OWN}, identity = known.identity, kind = known.kind, form = known.form
FROM (
    SELECT DISTINCT ON (tenant, row.content) tenant, row.content, identity, call.kind, row.form
    FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    WHERE row.content <> '' AND row.content IN (SELECT {_OWN} FROM imported)
    ORDER BY tenant, row.content, row.id
) AS known
WHERE keys = '' AND known.tenant = imported.tenant AND known.content = {_OWN} AND NOT EXISTS (
    SELECT 1 FROM ekb_call AS own WHERE (own.tenant, own.identity) = (imported.tenant, {_OWN})
)
"""  # noqa: S608 - constants

_STATED = ("date", "net", "tax", "total")
FIND_KEYS = f"""
CREATE TEMP TABLE keyed (
    tenant text, key text, n bigint, date text, net text, tax text, total text, PRIMARY KEY (tenant, key, n)
) ON COMMIT DROP;
CREATE INDEX ON keyed (n);
CREATE TEMP TABLE leaders (n bigint PRIMARY KEY, leader bigint) ON COMMIT DROP;
CREATE TEMP TABLE conflicts (n bigint PRIMARY KEY) ON COMMIT DROP;
INSERT INTO keyed (tenant, key, n, date, net, tax, total)
SELECT tenant, value, n, {", ".join(f"coalesce(nullif(printed, '')::json ->> '{name}', '')" for name in _STATED)}
FROM imported CROSS JOIN json_array_elements_text(keys::json) AS value WHERE keys <> '';
ANALYZE keyed
"""  # noqa: S608 - constants

# Files of an invoice follow the smallest of these numbers: that of a call that the backlog has for it, otherwise that
# of the imported row whose file the vendor takes best, or of the first of these. A check of printed fields that failed
# is no reason not to send the file itself.
_ID_BITS = 40
_ID = f"(leader & {(1 << _ID_BITS) - 1})"
_IS_CALL = f"leader >> {_ID_BITS} IN (0, 3)"
_CALL = f"""(
    CASE WHEN call.kind = 'verify_by_fields' AND call.state = 'failed' THEN 3 ELSE 0 END::bigint << {_ID_BITS}
) + call.id"""
CLEAR_LEADERS = "DELETE FROM leaders"
FIND_LEADERS = f"""
INSERT INTO leaders (n, leader)
SELECT n, min(leader)
FROM (
    SELECT n, (CASE form WHEN 0 THEN 1 WHEN 1 THEN 2 ELSE 4 END::bigint << {_ID_BITS}) + n AS leader FROM imported
    WHERE n IN (SELECT n FROM keyed) AND {_IS_NEW}
    UNION ALL
    SELECT n, {_CALL} FROM imported JOIN ekb_call AS call USING (tenant, identity) WHERE n IN (SELECT n FROM keyed)
    UNION ALL
    SELECT n, {_CALL} FROM keyed JOIN ekb_invoice AS invoice USING (tenant, key)
        JOIN ekb_call AS call ON call.id = invoice.call_id
) AS each GROUP BY n
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

# A row whose file contradicts what is known of the invoice, or another file if that is not known, shares no call.
_VALUES = ", ".join(_STATED)
_DIFFERS = {name: f"min(nullif({name}, '')) < max(nullif({name}, ''))" for name in _STATED}
_LIMITS_OF = ", ".join(
    f"{differs} AS {name}_differs, min(nullif({name}, '')) FILTER (WHERE is_known) AS least_{name}, "
    f"max(nullif({name}, '')) FILTER (WHERE is_known) AS most_{name}"
    for name, differs in _DIFFERS.items()
)
_CONTRADICTS = " OR ".join(
    f"({name}_differs AND keyed.{name} <> '' "
    f"AND (least_{name} IS NULL OR keyed.{name} <> least_{name} OR keyed.{name} <> most_{name}))"
    for name in _STATED
)
FIND_CONFLICTS = f"""
INSERT INTO conflicts (n)
SELECT DISTINCT n
FROM (
    SELECT leader, {_LIMITS_OF}
    FROM (
        SELECT leader, false AS is_known, {_VALUES} FROM keyed JOIN leaders USING (n)
        UNION ALL
        SELECT leader, true, {", ".join(f"known.{name}" for name in _STATED)}
        FROM keyed JOIN leaders USING (n) JOIN ekb_invoice AS known USING (tenant, key)
        UNION ALL
        SELECT leader, true, {_VALUES}
        FROM (SELECT DISTINCT leader FROM leaders WHERE {_IS_CALL}) AS call JOIN ekb_invoice ON call_id = {_ID}
    ) AS value GROUP BY leader HAVING {" OR ".join(_DIFFERS.values())}
) AS disputed JOIN leaders USING (leader) JOIN keyed USING (n) WHERE {_CONTRADICTS}
"""  # noqa: S608 - constants
WARN_OF_CONFLICTS = "UPDATE imported SET warning = :warning WHERE n IN (SELECT n FROM conflicts)"
DROP_CONFLICTS = "DELETE FROM keyed WHERE n IN (SELECT n FROM conflicts)"

# A check of what files state, which is not made yet, becomes a call on a file that the vendor takes.
FIND_BETTER = f"""
CREATE TEMP TABLE better (
    call_id bigint PRIMARY KEY, tenant text, identity text, kind text, UNIQUE (tenant, identity)
) ON COMMIT DROP;
INSERT INTO better (call_id, tenant, identity, kind)
SELECT call.id, imported.tenant, imported.identity, imported.kind
FROM leaders JOIN imported USING (n) JOIN ekb_call AS call ON call.id = {_ID}
WHERE {_IS_CALL} AND form < 2 AND call.kind = 'verify_by_fields' AND state = 'pending' AND attempts = 0 AND {_IS_NEW}
    AND NOT EXISTS (SELECT 1 FROM ekb_row AS row WHERE row.call_id = call.id AND row.content = '')
ORDER BY form, n FOR UPDATE OF call
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants
SEND_FILES = """
UPDATE ekb_call AS call SET identity = better.identity, kind = better.kind, turn = NULL, planned = false
FROM better WHERE call.id = better.call_id
"""
SHARE_FILES = """
UPDATE imported SET shares = true FROM better
WHERE (better.tenant, better.identity) = (imported.tenant, imported.identity)
"""

SHARE_CALLS = f"""
UPDATE imported SET content = {_OWN}, identity = call.identity, kind = call.kind, shares = true
FROM leaders JOIN ekb_call AS call ON call.id = {_ID}
WHERE leaders.n = imported.n AND {_IS_CALL} AND {_IS_NEW}
"""  # noqa: S608 - constants
SHARE_LEADERS = f"""
UPDATE imported SET content = {_OWN}, identity = lead.identity, kind = lead.kind,
    shares = {_OWN} <> {_OWN.replace("imported", "lead")}
FROM leaders JOIN imported AS lead ON lead.n = {_ID}
WHERE leaders.n = imported.n AND lead.n <> imported.n AND NOT ({_IS_CALL}) AND {_IS_NEW}
"""  # noqa: S608 - constants

KEEP_KEYS = """
INSERT INTO ekb_invoice AS kept (tenant, key, call_id, date, net, tax, total)
SELECT keyed.tenant, key,
    (array_agg(call.id ORDER BY call.kind = 'verify_by_fields' AND call.state = 'failed', n))[1],
    max(keyed.date), max(net), max(tax), max(total)
FROM keyed JOIN imported USING (n) JOIN ekb_call AS call ON
    (call.tenant, call.identity) = (imported.tenant, imported.identity)
GROUP BY keyed.tenant, key ORDER BY keyed.tenant, key
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

# A file whose invoices have a call each is read again.
KNOWN_CONTENTS = """
SELECT asked.content, max(form) AS form, max(printed) AS printed
FROM unnest(:contents::text[]) AS asked (content) JOIN ekb_call AS call ON (tenant, identity) = (:tenant, asked.content)
    JOIN ekb_row AS row ON call_id = call.id
WHERE row.content = '' AND printed <> '' GROUP BY asked.content HAVING min(call_id) = max(call_id)
UNION ALL
SELECT asked.content, max(form), max(printed)
FROM unnest(:contents::text[]) AS asked (content) JOIN ekb_row AS row ON row.content = asked.content
    JOIN ekb_call AS call ON call.id = call_id
WHERE tenant = :tenant AND row.content <> '' AND printed <> '' GROUP BY asked.content
HAVING min(call_id) = max(call_id)
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
SELECT kind, state, source, sum(calls)::bigint AS calls, sum(rows)::bigint AS rows, sum(attempts)::bigint AS attempts
FROM ekb_count GROUP BY state, kind, source HAVING sum(calls) > 0
"""
COUNT_MAYBE_BILLED = "SELECT kind, sum(maybe_billed)::bigint AS calls FROM ekb_count GROUP BY kind"
COUNT_SAME_INVOICE = """
SELECT kind, state, sum(same_invoice)::bigint AS calls FROM ekb_count
GROUP BY kind, state HAVING sum(same_invoice) > 0
"""

# The ledger

KEYS_OF_CALLS = """
SELECT call_id, key, invoice.tenant, invoice.date, net, tax, total FROM ekb_invoice AS invoice
WHERE call_id = ANY(:ids::bigint[])
"""
WARN_ROWS = "UPDATE ekb_row SET warning = :warning WHERE call_id = :call_id AND warning = ''"

# Before paying

COUNT_OPEN = """
SELECT tenant, kind, state, sum(calls)::bigint AS calls, sum(rows)::bigint AS rows FROM ekb_count
WHERE state IN ('pending', 'running') GROUP BY tenant, kind, state HAVING sum(calls) > 0
"""
COUNT_WAITING = """
SELECT tenant, kind, CASE due_at WHEN 'infinity' THEN 'held' ELSE 'waiting' END AS state, count(*) AS calls,
    sum(row_count) AS rows
FROM ekb_call WHERE due_at > :now GROUP BY tenant, kind, 3
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
