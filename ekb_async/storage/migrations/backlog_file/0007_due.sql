-- A call that waits for another day has the moment from which it may be made (due_at). Until a run has reset it, no run
-- claims the call. waits counts the days on which it began to wait, waited_on is the last of them. checks counts the checks
-- of the day checked_on. Both days are counted since 1970 at UTC+8.
-- The date of an invoice belongs to its row.

ALTER TABLE rows ADD COLUMN date TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN due_at REAL;
ALTER TABLE calls ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN waited_on INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN checks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN checked_on INTEGER NOT NULL DEFAULT 0;
DROP INDEX calls_to_claim;
CREATE INDEX calls_to_claim ON calls (tenant, kind, id) WHERE state = 'pending' AND due_at IS NULL;
CREATE INDEX calls_waiting ON calls (due_at, kind, row_count) WHERE due_at IS NOT NULL;
