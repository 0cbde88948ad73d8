-- The states are compared one by one, because for IN SQLite builds an index at each change of a call. Files of early
-- versions have IN, which means the same.

CREATE TABLE manifests (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    columns TEXT NOT NULL,
    added_at REAL NOT NULL
);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state = 'pending' OR state = 'running' OR state = 'done' OR state = 'failed'),
    row_id INTEGER NOT NULL,
    row_count INTEGER NOT NULL DEFAULT 1,
    sent INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    maybe_billed INTEGER NOT NULL DEFAULT 0,
    ended_at REAL,
    error_type TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    result BLOB
);
CREATE INDEX calls_to_claim ON calls (kind, id) WHERE state = 'pending';
CREATE INDEX calls_by_state ON calls (state, error_type, row_count);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY,
    call_id INTEGER NOT NULL REFERENCES calls (id),
    manifest_id INTEGER NOT NULL REFERENCES manifests (id),
    line INTEGER NOT NULL,
    start INTEGER,
    length INTEGER,
    ref TEXT NOT NULL,
    file TEXT NOT NULL,
    invoice_id TEXT NOT NULL,
    staff_id TEXT NOT NULL,
    file_name TEXT NOT NULL
);
