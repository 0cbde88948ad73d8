"""One pace for all hosts that share a PostgreSQL.

Each bucket is a row of `ekb_pace`. A change is two statements without a transaction around them: one reads the row and
the database's clock, the other writes what the rule has made of it if the row is still the one that was read; if not,
the change begins anew. So no lock is held while this process does anything, and one that is stopped or cut off in the
middle of a change holds up nobody. A look that changes nothing is one statement.

Time is the database's alone, and never that of the hosts. Writes are as durable as the database makes them: after a
crash it knows who started last. If a connection is lost while a row is being written, the change is made again; the
slot it may have taken the first time is lost, which is the harmless side.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import asyncpg
import msgspec

from ekb_async.pacing import Bucket
from ekb_async.postgres.database import ANSWER_TIMEOUT, Database, checked_place
from ekb_async.shared_pace import Reading, Rule, SharedPace

T = TypeVar("T")

# Rows change all the time and no index covers what changes: with room on its page, a row stays where it is.
CREATE_TABLE = """
CREATE TABLE ekb_pace (
    key text PRIMARY KEY,
    version bigint NOT NULL,
    latest double precision NOT NULL,
    not_before double precision NOT NULL,
    widening double precision NOT NULL,
    widened double precision NOT NULL,
    issued bigint NOT NULL,
    served bigint NOT NULL,
    slowest double precision NOT NULL
) WITH (fillfactor = 50)
"""
"""The table of buckets; moments are in epoch seconds."""

_READ = """
SELECT extract(epoch FROM clock_timestamp())::double precision, coalesce(version, 0),
       latest, not_before, widening, widened, issued, served, slowest
FROM (SELECT $1::text AS key) AS wanted LEFT JOIN ekb_pace USING (key)
"""
_WRITE = """
INSERT INTO ekb_pace AS found (key, version, latest, not_before, widening, widened, issued, served, slowest)
VALUES ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version, latest = excluded.latest, not_before = excluded.not_before,
    widening = excluded.widening, widened = excluded.widened,
    issued = excluded.issued, served = excluded.served, slowest = excluded.slowest
WHERE found.version = $2
RETURNING true
"""


class PostgresPace(SharedPace):
    """The pace of all hosts on one database: `EkbSession(…, pacer=PostgresPace("postgresql://…"))`.

    Takes a DSN, or a pool of `asyncpg` that stays open when the last session is closed. Any number of sessions of one
    event loop may share it, and share up to 4 connections. Nothing is opened before the first paced call. The table is
    made by `ekb_async.postgres.install_schema`. While the database is away, paced calls wait; after 60 s of that they
    raise `EkbConnectionError`. Raises `ConfigError` for wrong arguments, and so do paced calls if the database refuses.
    """

    def __init__(self, dsn_or_pool: str | asyncpg.Pool) -> None:
        super().__init__()
        self._place = checked_place(dsn_or_pool)

    def __repr__(self) -> str:
        return f"<PostgresPace: {self._pacers} pacers>"

    def _open(self) -> _TableStore:
        return _TableStore(Database(self._place))


class _TableStore:
    """The buckets in `ekb_pace`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = asyncio.get_running_loop().time

    async def change(self, key: str, rule: Rule[T]) -> T:
        async def work(connection: Any) -> T:
            while True:
                asked = self._now()
                now, version, *values = await connection.fetchrow(_READ, key, timeout=ANSWER_TIMEOUT)
                bucket = Bucket(*values) if version else Bucket()
                result = rule(bucket, Reading(now, asked))
                changed = list(msgspec.structs.astuple(bucket))
                if changed == values or await connection.fetchval(
                    _WRITE, key, version, *changed, timeout=ANSWER_TIMEOUT
                ):
                    return result

        return await self._database.carry_out(work)

    async def close(self) -> None:
        await self._database.close()
