-- added_at is when a call was added. ended_in is the count of the file's changes when it ended, so it shows in which order
-- calls ended, also if the clock was set back. The trigger is for changes that do not set it, such as those of a program of
-- an earlier version: it writes the call a second time.
-- A call that is held by a person waits like one for another day, with infinity as due_at. pauses has the tenants and kinds
-- (NULL: all) whose calls are held from the moment on at which they are added or given back. With a ref, it holds the calls
-- that were there and whose rows all have it.
-- spent counts the billed attempts that were sent on each day, budgets limits them: tenant NULL is the limit of all tenants
-- together. Days are counted since 1970 at UTC+8.
-- purged sums up the calls that were purged.

ALTER TABLE calls ADD COLUMN added_at REAL;
ALTER TABLE calls ADD COLUMN ended_in INTEGER;
CREATE INDEX calls_ended ON calls (ended_at, row_count) WHERE ended_at IS NOT NULL;
CREATE INDEX calls_ended_in ON calls (ended_in) WHERE ended_in IS NOT NULL;
CREATE TRIGGER calls_ended_otherwise AFTER UPDATE OF state ON calls
WHEN NEW.state != OLD.state AND (NEW.state = 'done' OR NEW.state = 'failed') AND NEW.ended_in IS OLD.ended_in
BEGIN UPDATE calls SET ended_in = (SELECT changes FROM file) WHERE id = NEW.id; END;
CREATE INDEX calls_oldest ON calls (added_at, tenant, kind, due_at, state) WHERE state = 'pending';
CREATE INDEX rows_by_ref ON rows (ref) WHERE ref != '';
CREATE INDEX calls_held ON calls (tenant, kind, id, row_count) WHERE state = 'pending' AND due_at = 9e999;
CREATE TABLE pauses (
    id INTEGER PRIMARY KEY,
    tenant TEXT,
    kind TEXT,
    ref TEXT,
    since REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE budgets (
    id INTEGER PRIMARY KEY,
    tenant TEXT,
    period TEXT NOT NULL CHECK (period = 'day' OR period = 'month'),
    calls INTEGER NOT NULL
);
CREATE UNIQUE INDEX budgets_of ON budgets (coalesce(tenant, ''), (tenant IS NULL), period);
CREATE TABLE spent (
    tenant TEXT NOT NULL,
    day INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (day, tenant)
) WITHOUT ROWID;
CREATE TABLE purged (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    source TEXT NOT NULL,
    error_type TEXT NOT NULL,
    calls INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    maybe_billed INTEGER NOT NULL,
    same_invoice INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, state, source, error_type)
) WITHOUT ROWID;

-- purged_invoices sums up the invoices in the answers of those calls; the total is an exact decimal. purged_rows has what
-- their rows are recognised by if they are added again: a part of the SHA-256 of call and reference, and the day on which
-- the call ended.

CREATE TABLE purged_invoices (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    verdict TEXT NOT NULL,
    currency TEXT NOT NULL,
    invoices INTEGER NOT NULL,
    total TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, verdict, currency)
) WITHOUT ROWID;
CREATE TABLE purged_rows (digest TEXT PRIMARY KEY, tenant TEXT NOT NULL, day INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX calls_same ON calls (same_as) WHERE same_as IS NOT NULL;
CREATE INDEX answered_by_call ON answered (call_id);
CREATE INDEX rows_by_manifest ON rows (manifest_id)
