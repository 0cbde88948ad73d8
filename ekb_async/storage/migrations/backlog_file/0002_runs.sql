CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at REAL NOT NULL,
    hold_unknown INTEGER NOT NULL
);
ALTER TABLE calls ADD COLUMN run_id INTEGER;
UPDATE calls SET state = 'pending', attempts = attempts + sent,
    maybe_billed = maybe_billed + (sent AND kind IN ('ocr', 'verify')), sent = 0
WHERE state = 'running';
DROP INDEX calls_by_state;
CREATE INDEX calls_by_state ON calls (state, kind, row_count);
CREATE INDEX calls_failed ON calls (error_type, error, hint, row_count) WHERE state = 'failed';
CREATE INDEX calls_maybe_billed ON calls (maybe_billed) WHERE maybe_billed > 0;
