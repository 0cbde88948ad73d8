-- The same as in a backlog file, see its migration 0009_said.sql. What is up to date is left as it is, see 0002_due.sql.

ALTER TABLE ekb_run ADD COLUMN IF NOT EXISTS said text NOT NULL DEFAULT '';
