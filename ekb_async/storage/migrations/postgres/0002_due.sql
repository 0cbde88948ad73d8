-- The same as in a backlog file, see its migration 0007_due.sql. This one is applied again whenever a table that was
-- lost has been created as version 1 has it, so it leaves what is up to date as it is.

ALTER TABLE ekb_row ADD COLUMN IF NOT EXISTS date text NOT NULL DEFAULT '';
ALTER TABLE ekb_call
    ADD COLUMN IF NOT EXISTS due_at double precision,
    ADD COLUMN IF NOT EXISTS waits integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS waited_on integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS checks integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS checked_on integer NOT NULL DEFAULT 0;
DROP INDEX IF EXISTS ekb_call_to_claim;
DROP INDEX IF EXISTS ekb_call_to_plan;
CREATE INDEX IF NOT EXISTS ekb_call_next ON ekb_call (tenant, kind, priority, id)
    WHERE state = 'pending' AND due_at IS NULL;
CREATE INDEX IF NOT EXISTS ekb_call_unplanned ON ekb_call (priority, id)
    WHERE state = 'pending' AND due_at IS NULL AND NOT planned AND kind <> 'download';
CREATE INDEX IF NOT EXISTS ekb_call_waiting ON ekb_call (due_at) WHERE due_at IS NOT NULL;
