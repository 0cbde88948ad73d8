"""The tables that hosts share, each named `ekb_…`, and the version of them.

The version stands in the comment of the table `ekb_call`, which every role can read; without one it is 1. Missing
migrations are applied in one transaction under an advisory lock, in the schema where the tables are, so any number of
processes can start at once. The tables of a job engine are created in the same transaction. Tables that are missing are
created, as the first migration does it; then all later migrations are applied again, so each of them leaves what is up
to date as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

import asyncpg
import msgspec

from ekb_async.errors import StorageError
from ekb_async.storage.migrations.steps import steps
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.locks import FORMER_CLASS
from ekb_async.storage.postgres.version import check_not_newer, comment_for
from ekb_async.storage.timing import StorageTiming

_TABLES = (
    *("ekb_receipt", "ekb_pace", "ekb_token", "ekb_run", "ekb_manifest", "ekb_call", "ekb_row", "ekb_plan"),
    *("ekb_invoice", "ekb_answered", "ekb_pause", "ekb_budget", "ekb_spent", "ekb_purged"),
    *("ekb_purged_invoice", "ekb_purged_row", "ekb_count"),
)
"""All tables, those of version 1 first."""
_VERSIONED = "ekb_call"

# Looked up in the catalog: `to_regclass` may answer from a cache that is older than the lock.
_FIND = """
SELECT relname, nspname, obj_description(class.oid, 'pg_class') AS comment
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relname = ANY($1::text[]) AND pg_table_is_visible(class.oid)
"""
# The schema is that of the tables, or that in which they are about to be created.
_LOCK = f"""
SELECT pg_advisory_xact_lock_shared({FORMER_CLASS}), pg_advisory_xact_lock(oid::int4, {FORMER_CLASS})
FROM pg_namespace WHERE nspname = coalesce($1, current_schema())
"""  # noqa: S608 - a constant
_WORK_IN = "SELECT set_config('search_path', quote_ident($1) || ', ' || current_setting('search_path'), true)"
_TABLE_OF = re.compile(r"CREATE (?:TABLE|INDEX \w+ ON) (\w+)")


class SchemaReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `install_schema` did: the version of the tables before, 0 without tables, and the version now.

    `created` has the names of the tables that were missing.
    """

    before: int
    version: int
    created: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was created or upgraded."""
        return bool(self.created) or self.before != self.version


class EngineTables(Protocol):
    """The tables of a job engine, which are created together with those of this package."""

    name: str
    """The name of the engine."""

    async def exist(self, connection: Any) -> bool:
        """Return whether the tables are in the database."""
        ...

    async def create(self, connection: Any) -> None:
        """Create the tables in the current transaction of the connection."""
        ...


class _Found(msgspec.Struct, frozen=True):
    """The tables in the database, the schema that they are in, and their version."""

    tables: frozenset[str]
    schema: str | None
    version: int

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in _TABLES if name not in self.tables)


async def install_schema(dsn_or_pool: str | asyncpg.Pool, *, patience: float | None = None) -> SchemaReport:
    """Create the tables that are missing, upgrade those of an older version, and return what was done.

    Any number of processes may do so at once, and again. Raises `StorageError` if the tables are of a newer version, or
    if the database refuses; `EkbConnectionError` if it cannot be reached within `patience` seconds, 10 by default.
    """
    return await install_with(None, dsn_or_pool, patience=patience)


async def install_with(
    engine: EngineTables | None, dsn_or_pool: str | asyncpg.Pool, *, patience: float | None = None
) -> SchemaReport:
    """Do what `install_schema` does, and create the tables of an engine if there are none, in the same transaction."""
    if patience is None:
        patience = StorageTiming.from_env().setup_patience
    async with Database(dsn_or_pool) as database:
        return await install_on(database, engine, patience=patience)


async def install_on(database: Database, engine: EngineTables | None = None, *, patience: float) -> SchemaReport:
    """Do what `install_with` does, with a connection of this user of a database."""
    return await database.run(lambda connection: _install(connection, engine), patience=patience)


async def has_tables(dsn_or_pool: str | asyncpg.Pool, *, patience: float) -> bool:
    """Return whether a database has tables of this package, which are not created. Raises as `install_schema` does."""
    async with Database(dsn_or_pool) as database:
        return bool((await database.run(_find, patience=patience)).tables)


async def check_schema(dsn_or_pool: str | asyncpg.Pool, *, patience: float) -> None:
    """Raise `StorageError` if the tables are missing, or of another version than this package; nothing is changed."""
    async with Database(dsn_or_pool) as database:
        found = await database.run(_find, patience=patience)
    if not found.tables:
        raise StorageError("the database has no backlog")
    if found.version < len(steps("postgres")) or found.missing:
        raise StorageError("the backlog in the database is of an older version; open it once with: ekb backlog status")


async def _install(connection: Any, engine: EngineTables | None) -> SchemaReport:
    latest = len(steps("postgres"))
    # A role that may not create tables can use tables that are up to date.
    found = await _find(connection)
    if found.version == latest and not found.missing and (engine is None or await engine.exist(connection)):
        return SchemaReport(before=latest, version=latest)
    try:
        # A transaction with one snapshot would not see what others created before they released the lock.
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(_LOCK, found.schema)
            found = await _find(connection)
            if engine is not None:
                await _create(connection, engine)
            await _upgrade(connection, found)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            f"the tables of the database have version {found.version}, this program needs version {latest}, and this "
            f"role may not upgrade them ({error}): run install_schema with one that may"
        ) from None
    return SchemaReport(before=found.version, version=latest, created=found.missing)


async def _create(connection: Any, engine: EngineTables) -> None:
    """Create the tables of an engine, where it looks for them: in the first schema of the search path."""
    try:
        if not await engine.exist(connection):
            await engine.create(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            f"this role may not create the tables of {engine.name} ({error}): run install_schema with one that may"
        ) from None


async def _upgrade(connection: Any, found: _Found) -> None:
    """Create what is missing and apply the migrations that follow the version that was found."""
    if found.schema is not None:
        await connection.execute(_WORK_IN, found.schema)
    first, *further = steps("postgres")
    for statement in _about(first, found.missing):
        await connection.execute(statement)
    # A table that was just created is that of version 1; without `ekb_call`, the version of the others is unknown.
    applied = 0 if found.missing else found.version - 1
    for statements in further[applied:]:
        for statement in statements:
            await connection.execute(statement)
    latest = len(steps("postgres"))
    if found.version != latest > 1:
        await connection.execute(f"COMMENT ON TABLE {_VERSIONED} IS '{comment_for(latest)}'")


def _about(statements: Iterable[str], tables: Iterable[str]) -> list[str]:
    """Return the statements that create these tables, or an index of them."""
    wanted = set(tables)
    return [each for each in statements if (table := _TABLE_OF.search(each)) is not None and table[1] in wanted]


async def _find(connection: Any) -> _Found:
    """Look the tables up. Raises `StorageError` if they are newer than this package."""
    rows = await connection.fetch(_FIND, _TABLES)
    comments = [row["comment"] for row in rows if row["relname"] == _VERSIONED]
    version = check_not_newer(comments[0] if comments else None) or int(bool(rows))
    schema = next((row["nspname"] for row in rows), None)
    return _Found(frozenset(row["relname"] for row in rows), schema, version)
