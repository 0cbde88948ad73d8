-- added_at is when a call was added. ended_in is the number of the transaction in which it ended: unlike the time, it shows
-- which calls no transaction in progress can come before. A trigger sets it for statements that do not, such as those
-- of a program of an earlier version, and another one notifies those that follow.
-- A call that is held by a person waits like one for another day, with infinity as due_at. ekb_pause has the tenants and
-- kinds (NULL: all) whose calls are held from the moment on at which they are added or given back. With a ref, it holds the
-- calls that were there and whose rows all have it.
-- ekb_spent counts the billed attempts that were sent on each day, ekb_budget limits them: tenant NULL is the limit of all
-- tenants together. Days are counted since 1970 at UTC+8.
-- ekb_purged sums up the calls that were purged.
-- ekb_pace keeps what was learned of the margin between two starts.
-- What is up to date is left as it is, see 0002_due.sql.

ALTER TABLE ekb_call
    ADD COLUMN IF NOT EXISTS added_at double precision,
    ADD COLUMN IF NOT EXISTS ended_in bigint;
ALTER TABLE ekb_call ALTER COLUMN added_at SET DEFAULT extract(epoch FROM clock_timestamp())::float8;
CREATE INDEX IF NOT EXISTS ekb_call_ended ON ekb_call (ended_at, id) INCLUDE (ended_in, row_count)
    WHERE ended_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ekb_call_ended_in ON ekb_call (ended_in, id) WHERE ended_in IS NOT NULL;
-- To notify for each call takes longer than to change it, so that is done once for a statement. No line of a function may
-- end with a semicolon. A plan that was made for a small table would read all of it.
CREATE OR REPLACE FUNCTION ekb_call_ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.ended_in := CASE WHEN NEW.state = 'done' OR NEW.state = 'failed' THEN pg_current_xact_id()::text::bigint END
    ; RETURN NEW; END
$$;
CREATE OR REPLACE FUNCTION ekb_notify_ended() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN
    IF EXISTS (SELECT FROM ekb_call WHERE ended_in = pg_current_xact_id_if_assigned()::text::bigint) THEN
        PERFORM pg_notify('ekb_ended_' || TG_RELID, '') ; END IF
    ; RETURN NULL; END
$$;
DROP TRIGGER IF EXISTS ekb_call_ended ON ekb_call;
CREATE TRIGGER ekb_call_ended BEFORE UPDATE OF state ON ekb_call FOR EACH ROW
    WHEN (NEW.state <> OLD.state AND CASE WHEN NEW.state = 'done' OR NEW.state = 'failed'
        THEN NEW.ended_in IS NOT DISTINCT FROM OLD.ended_in ELSE NEW.ended_in IS NOT NULL END)
    EXECUTE FUNCTION ekb_call_ended();
DROP TRIGGER IF EXISTS ekb_call_copied ON ekb_call;
CREATE TRIGGER ekb_call_copied BEFORE INSERT ON ekb_call FOR EACH ROW
    WHEN (NEW.state = 'done' OR NEW.state = 'failed') EXECUTE FUNCTION ekb_call_ended();
DROP TRIGGER IF EXISTS ekb_notify_ended ON ekb_call;
CREATE TRIGGER ekb_notify_ended AFTER INSERT OR UPDATE OF state ON ekb_call FOR EACH STATEMENT
    EXECUTE FUNCTION ekb_notify_ended();
-- Where all columns are keys, equal ones are stored once, which makes this index a tenth as large as the one of before.
DROP INDEX IF EXISTS ekb_call_counted;
CREATE INDEX IF NOT EXISTS ekb_call_by_count ON ekb_call (state, tenant, kind, row_count);
CREATE INDEX IF NOT EXISTS ekb_call_oldest ON ekb_call (added_at, id) INCLUDE (tenant, kind, due_at)
    WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS ekb_row_by_ref ON ekb_row (ref) WHERE ref <> '';
CREATE INDEX IF NOT EXISTS ekb_call_held ON ekb_call (tenant, kind, priority, id) INCLUDE (row_count)
    WHERE state = 'pending' AND due_at = 'infinity';
CREATE TABLE IF NOT EXISTS ekb_pause (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text,
    kind text,
    ref text,
    since double precision NOT NULL,
    reason text NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS ekb_budget (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text,
    period text NOT NULL CHECK (period IN ('day', 'month')),
    calls bigint NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS ekb_budget_of ON ekb_budget (coalesce(tenant, ''), (tenant IS NULL), period);
CREATE TABLE IF NOT EXISTS ekb_spent (
    tenant text NOT NULL,
    day integer NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (day, tenant)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS ekb_purged (
    tenant text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    source text NOT NULL,
    error_type text NOT NULL,
    calls bigint NOT NULL,
    rows bigint NOT NULL,
    attempts bigint NOT NULL,
    maybe_billed bigint NOT NULL,
    same_invoice bigint NOT NULL,
    PRIMARY KEY (tenant, kind, state, source, error_type)
);
ALTER TABLE ekb_pace
    ADD COLUMN IF NOT EXISTS previous double precision NOT NULL DEFAULT '-Infinity',
    ADD COLUMN IF NOT EXISTS at_once double precision NOT NULL DEFAULT '-Infinity',
    ADD COLUMN IF NOT EXISTS unhurried integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS accepted bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS refused_margin double precision NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS congestion double precision NOT NULL DEFAULT 0;

-- ekb_purged_invoice sums up the invoices in the answers of those calls, ekb_purged_row has what their rows are recognised
-- by if they are added again: a part of the SHA-256 of call and reference, and the day on which the call ended.

CREATE TABLE IF NOT EXISTS ekb_purged_invoice (
    tenant text NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL,
    currency text NOT NULL,
    invoices bigint NOT NULL,
    total numeric NOT NULL,
    PRIMARY KEY (tenant, kind, verdict, currency)
);
CREATE TABLE IF NOT EXISTS ekb_purged_row (
    digest uuid PRIMARY KEY,
    tenant text NOT NULL,
    day integer NOT NULL
);
CREATE INDEX IF NOT EXISTS ekb_call_same ON ekb_call (same_as) WHERE same_as IS NOT NULL;
CREATE INDEX IF NOT EXISTS ekb_answered_by_call ON ekb_answered (call_id);
CREATE INDEX IF NOT EXISTS ekb_row_by_manifest ON ekb_row (manifest_id, id);

-- Counting two million calls takes seconds. So each statement that changes calls adds to ekb_count what it changes of the
-- numbers, and the sum of all is the number of calls. Nothing waits, because nothing is updated. From time to time what
-- was added is summed up. same_invoice is how many calls a call saves because its rows have several files of an invoice.
-- No line of a function may end with a semicolon.

ALTER TABLE ekb_call ADD COLUMN IF NOT EXISTS same_invoice integer NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS ekb_count (
    tenant text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    source text NOT NULL,
    error_type text NOT NULL,
    error text NOT NULL,
    hint text NOT NULL,
    calls bigint NOT NULL,
    rows bigint NOT NULL,
    attempts bigint NOT NULL,
    maybe_billed bigint NOT NULL,
    same_invoice bigint NOT NULL,
    is_sum boolean NOT NULL DEFAULT false
);
CREATE OR REPLACE FUNCTION ekb_count_calls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO ekb_count
        SELECT tenant, kind, state, source, error_type, error, hint,
            count(*), sum(row_count), sum(attempts), sum(maybe_billed), sum(same_invoice)
        FROM new_calls GROUP BY 1, 2, 3, 4, 5, 6, 7
    ; ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO ekb_count
        SELECT tenant, kind, state, source, error_type, error, hint,
            -count(*), -sum(row_count), -sum(attempts), -sum(maybe_billed), -sum(same_invoice)
        FROM old_calls GROUP BY 1, 2, 3, 4, 5, 6, 7
    ; ELSE
        INSERT INTO ekb_count
        SELECT tenant, kind, state, source, error_type, error, hint,
            sum(sign), sum(sign * row_count), sum(sign * attempts), sum(sign * maybe_billed), sum(sign * same_invoice)
        FROM (
            SELECT 1 AS sign, tenant, kind, state, source, error_type, error, hint, row_count, attempts, maybe_billed,
                same_invoice FROM new_calls
            UNION ALL
            SELECT -1, tenant, kind, state, source, error_type, error, hint, row_count, attempts, maybe_billed,
                same_invoice FROM old_calls
        ) AS each GROUP BY 1, 2, 3, 4, 5, 6, 7
        HAVING (sum(sign), sum(sign * row_count), sum(sign * attempts), sum(sign * maybe_billed),
            sum(sign * same_invoice)) <> (0, 0, 0, 0, 0)
    ; END IF
    ; RETURN NULL
    ; END
$$;
CREATE OR REPLACE FUNCTION ekb_count_sharing() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    changed bigint[]
; BEGIN
    IF TG_OP = 'INSERT' THEN
        changed := ARRAY(
            SELECT DISTINCT call_id FROM new_rows JOIN ekb_call AS call ON call.id = call_id WHERE row_count > 1
        )
    ; ELSIF TG_OP = 'DELETE' THEN
        changed := ARRAY(
            SELECT DISTINCT call_id FROM old_rows JOIN ekb_call AS call ON call.id = call_id WHERE same_invoice > 0
        )
    ; ELSE
        -- A join of the two would be planned once, for few rows.
        changed := ARRAY(
            SELECT DISTINCT call_id FROM (
                SELECT id, call_id, content FROM new_rows EXCEPT SELECT id, call_id, content FROM old_rows
            ) AS each
        )
    ; END IF
    ; IF cardinality(changed) > 0 THEN
        UPDATE ekb_call AS call SET same_invoice = others
        FROM (
            SELECT call_id, count(DISTINCT content) - 1 AS others FROM ekb_row WHERE call_id = ANY(changed)
            GROUP BY call_id
        ) AS sharing
        WHERE call.id = call_id AND same_invoice <> others
    ; END IF
    ; RETURN NULL
    ; END
$$;
DROP TRIGGER IF EXISTS ekb_call_added ON ekb_call;
DROP TRIGGER IF EXISTS ekb_call_changed ON ekb_call;
DROP TRIGGER IF EXISTS ekb_call_removed ON ekb_call;
DROP TRIGGER IF EXISTS ekb_row_added ON ekb_row;
DROP TRIGGER IF EXISTS ekb_row_changed ON ekb_row;
DROP TRIGGER IF EXISTS ekb_row_removed ON ekb_row;
UPDATE ekb_call AS call SET same_invoice = others
FROM (
    SELECT call_id, count(DISTINCT content) - 1 AS others FROM ekb_row
    WHERE call_id IN (SELECT call_id FROM ekb_row WHERE content <> '') GROUP BY call_id
) AS sharing
WHERE call.id = call_id AND same_invoice <> others;
CREATE TRIGGER ekb_call_added AFTER INSERT ON ekb_call
    REFERENCING NEW TABLE AS new_calls FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_calls();
CREATE TRIGGER ekb_call_changed AFTER UPDATE ON ekb_call
    REFERENCING OLD TABLE AS old_calls NEW TABLE AS new_calls FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_calls();
CREATE TRIGGER ekb_call_removed AFTER DELETE ON ekb_call
    REFERENCING OLD TABLE AS old_calls FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_calls();
CREATE TRIGGER ekb_row_added AFTER INSERT ON ekb_row
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_sharing();
CREATE TRIGGER ekb_row_changed AFTER UPDATE ON ekb_row
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_sharing();
CREATE TRIGGER ekb_row_removed AFTER DELETE ON ekb_row
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION ekb_count_sharing();
DELETE FROM ekb_count;
INSERT INTO ekb_count
SELECT tenant, kind, state, source, error_type, error, hint,
    count(*), sum(row_count), sum(attempts), sum(maybe_billed), sum(same_invoice), true
FROM ekb_call GROUP BY 1, 2, 3, 4, 5, 6, 7;

-- By default a table is vacuumed when a fifth of it is dead, which in a large one is days of calls.

ALTER TABLE ekb_call SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE ekb_row SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE ekb_count SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)
