"""The tables of a backlog file, and their migrations.

`rows` are what the user wrote, `calls` are what is sent: rows that ask for the same thing share one call. A call is
made from its row `row_id`, the latest one added before it was sent, because that has the freshest URL. `runs` are at
work: a `running` call belongs to one of them. `file` has one row, which identifies the backlog and counts the
transactions that have changed it, see `continuity`. The indexes let claims and counts avoid the results, which make up
nearly all of the file.

The `identity` of a tenant's call begins with the tenant and a separator that no tenant contains. A file of an older
version can therefore be migrated to tenants without rewriting its results.

An older file is migrated by the SQL files of `storage/migrations`, all in one transaction.
"""

from __future__ import annotations

import sqlite3

from ekb_async.storage.migrations.steps import steps

APPLICATION_ID = 0x656B6262
VERSION = len(steps("backlog_file"))


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an older version, 0 for a new one, up to date within a transaction."""
    for statements in steps("backlog_file")[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < VERSION:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
