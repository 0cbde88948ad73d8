"""The tables of a backlog file, and their migrations.

`rows` are what the user wrote, `calls` are what is sent: rows that ask for the same thing share one call. A call is
made from its row `row_id`, the latest one added before it was sent, because that has the freshest URL. `runs` are at
work: a `running` call belongs to one of them. `file` has one row, which identifies the backlog and counts the
transactions that have changed it, see `continuity`. The indexes let claims and counts avoid the results, which make up
nearly all of the file.

The `identity` of a tenant's call begins with the tenant and a separator that no tenant contains. A file of an older
version can therefore be migrated to tenants without rewriting its results.

An older file is migrated by the steps of `_MIGRATIONS`, all in one transaction.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x656B6262
VERSION = 6

# The states are compared one by one, because for `IN` SQLite builds an index at each change of a call. Older files have
# `IN`, which means the same.
_VERSION_1 = """
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
"""

_VERSION_2 = """
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
"""

_VERSION_3 = """
ALTER TABLE calls ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
DROP INDEX calls_to_claim;
CREATE INDEX calls_to_claim ON calls (tenant, kind, id) WHERE state = 'pending';
DROP INDEX calls_by_state;
CREATE INDEX calls_by_state ON calls (state, kind, tenant, row_count);
CREATE INDEX calls_with_tenant ON calls (tenant) WHERE tenant != '';
"""

_VERSION_4 = """
ALTER TABLE runs ADD COLUMN process TEXT NOT NULL DEFAULT '';
"""

_VERSION_5 = """
CREATE INDEX rows_by_call ON rows (call_id);
"""

_VERSION_6 = """
CREATE TABLE file (id TEXT NOT NULL, changes INTEGER NOT NULL);
INSERT INTO file VALUES (lower(hex(randomblob(16))), 0);
"""

_MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6)
"""The step from each version to the next; a new file takes all of them."""


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate a file from a version, 0 for a new file, to the current one, within the caller's transaction."""
    for step in _MIGRATIONS[version:]:
        for statement in step.split(";"):
            connection.execute(statement)
    if version < VERSION:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
