"""The tables that hosts share, each named `ekb_…`, in the first schema of the connection's search path.

Their version is the number of the last migration in `ekb_schema`; tables from before that table are of version 1. All
missing migrations are applied in one transaction under an advisory lock, so any number of processes can start at once.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from ekb_async.errors import StorageError
from ekb_async.storage.migrations.steps import steps
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.timing import VARIABLE, StorageTiming

_LOCK_NUMBER = 0x656B62
# Looked up in the catalog: `to_regclass` may answer from a cache that is older than the lock.
_TABLES = "SELECT relname FROM pg_class WHERE relname = ANY($1::text[]) AND pg_table_is_visible(oid)"
_VERSION = "SELECT coalesce(max(version), 0) FROM ekb_schema"
_VERSIONS_TABLE = "ekb_schema"
_VERSION_1 = ("ekb_receipt", "ekb_pace", "ekb_token", "ekb_run", "ekb_manifest", "ekb_call", "ekb_row", "ekb_plan")
"""The tables of version 1."""
_RECORD = "INSERT INTO ekb_schema (version) VALUES ($1) ON CONFLICT DO NOTHING"


class SchemaReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `install_schema` did: the version of the tables before, 0 without tables, and the version now."""

    before: int
    version: int

    @property
    def changed(self) -> bool:
        """Whether a migration was applied."""
        return self.before != self.version


async def install_schema(dsn_or_pool: str | asyncpg.Pool, *, patience: float | None = None) -> SchemaReport:
    """Create the tables, or upgrade those of an older version, and return what was done.

    Any number of processes may do so at once, and again. Raises `StorageError` if the tables are of a newer version, or
    if the database refuses; `EkbConnectionError` if it cannot be reached within `patience` seconds, 10 by default.
    """
    if patience is None:
        patience = StorageTiming.read(VARIABLE, partly=True).setup_patience
    async with Database(dsn_or_pool) as database:
        return await database.run(_upgrade, patience=patience)


async def _upgrade(connection: Any) -> SchemaReport:
    latest = len(steps("postgres"))
    # A role that may not create tables can use tables that are up to date.
    if (version := await _checked_version(connection)) == latest:
        return SchemaReport(before=version, version=version)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_NUMBER)
            before = await _checked_version(connection)
            for statements in steps("postgres")[before:]:
                for statement in statements:
                    await connection.execute(statement)
            for number in range(before + 1, latest + 1):
                await connection.execute(_RECORD, number)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            f"the tables of the database are of version {version}, this program needs version {latest}, and this role "
            f"may not upgrade them ({error}): run install_schema with one that may"
        ) from None
    return SchemaReport(before=before, version=latest)


async def _checked_version(connection: Any) -> int:
    """Return the version of the tables. Raises `StorageError` for one that is newer than this package."""
    names = {name for (name,) in await connection.fetch(_TABLES, [_VERSIONS_TABLE, *_VERSION_1])}
    if _VERSIONS_TABLE not in names:
        return 1 if names.issuperset(_VERSION_1) else 0
    version = int(await connection.fetchval(_VERSION))
    latest = len(steps("postgres"))
    if version > latest:
        raise StorageError(
            f"the tables of the database are of version {version}, this program knows up to {latest}: update ekb-async"
        )
    return version
