-- The same as in a backlog file, see its migration 0008_invoices.sql. What is up to date is left as it is, see 0002_due.sql.

ALTER TABLE ekb_manifest ADD COLUMN IF NOT EXISTS own text NOT NULL DEFAULT '[]';
ALTER TABLE ekb_row
    ADD COLUMN IF NOT EXISTS content text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS form smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS own text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS printed text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS warning text NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS ekb_row_by_content ON ekb_row (content, call_id) WHERE content <> '';
CREATE TABLE IF NOT EXISTS ekb_invoice (
    tenant text NOT NULL,
    key text NOT NULL,
    call_id bigint NOT NULL,
    date text NOT NULL,
    net text NOT NULL,
    tax text NOT NULL,
    total text NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX IF NOT EXISTS ekb_invoice_by_call ON ekb_invoice (call_id);
ALTER TABLE ekb_call
    ADD COLUMN IF NOT EXISTS source text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS indexed boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS same_as bigint;
CREATE INDEX IF NOT EXISTS ekb_call_to_index ON ekb_call (id)
    WHERE state = 'done' AND NOT indexed AND kind NOT IN ('url', 'detail', 'download');
DROP INDEX IF EXISTS ekb_call_by_state;
CREATE INDEX IF NOT EXISTS ekb_call_counted ON ekb_call (state, tenant, kind) INCLUDE (row_count, attempts, source);
CREATE TABLE IF NOT EXISTS ekb_answered (
    tenant text NOT NULL,
    key text NOT NULL,
    call_id bigint NOT NULL,
    PRIMARY KEY (tenant, key)
);
