"""One pace for all hosts that share a PostgreSQL.

Each bucket is a row of `ekb_pace`. A change is two statements without a transaction around them: one reads the row and
the database's clock, the other writes what the rule has made of it if the row is still the one that was read; if not,
the change begins anew. So no lock is held while this process does anything, and one that is stopped or cut off in the
middle of a change holds up nobody. A look that changes nothing is one statement, and changes of many buckets that are
wanted at the same time share theirs.

Time is the database's alone, and never that of the hosts. Writes are as durable as the database makes them: after a
crash it knows who started last. If a connection is lost while a row is being written, the change is made again; the
slot it may have taken the first time is lost, which is the harmless side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ekb_async.aio.batcher import Batcher
from ekb_async.pacing.rule import Bucket
from ekb_async.pacing.shared import Reading, Rule, SharedPace
from ekb_async.storage.postgres import ANSWER_TIMEOUT, Database, checked_place

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

# Rows change all the time and no index covers what changes: with room on its page, a row stays where it is.
_READ = """
SELECT extract(epoch FROM clock_timestamp())::double precision, key, coalesce(version, 0),
       latest, not_before, widening, widened, issued, served, slowest
FROM unnest($1::text[]) AS wanted (key) LEFT JOIN ekb_pace USING (key)
"""
# In the order of the keys, so that two who write the same ones do not wait for each other in a circle.
_WRITE = """
INSERT INTO ekb_pace AS found (key, version, latest, not_before, widening, widened, issued, served, slowest)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::bigint[], $8::bigint[],
    $9::float8[]
) AS new (key, version, latest, not_before, widening, widened, issued, served, slowest) ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version, latest = excluded.latest, not_before = excluded.not_before,
    widening = excluded.widening, widened = excluded.widened,
    issued = excluded.issued, served = excluded.served, slowest = excluded.slowest
WHERE found.version = excluded.version - 1
RETURNING key
"""

_KEYS_TOGETHER = 100
_IN_FLIGHT = 3


class PostgresPace(SharedPace):
    """The pace of all hosts on one database: `EkbSession(…, pacer=PostgresPace("postgresql://…"))`.

    Takes a DSN, or a pool of `asyncpg` that stays open when the last session is closed. Any number of sessions of one
    event loop may share it, and share up to 4 connections. Nothing is opened before the first paced call. The table is
    made by `ekb_async.postgres.install_schema`. A statement may take `answer_timeout` seconds. While the database is
    away, paced calls wait; after 60 s of that they raise `EkbConnectionError`. Raises `ConfigError` for wrong
    arguments, and so do paced calls if the database refuses.
    """

    def __init__(self, dsn_or_pool: str | asyncpg.Pool, *, answer_timeout: float = ANSWER_TIMEOUT) -> None:
        super().__init__()
        self._place = checked_place(dsn_or_pool)
        self._answer_timeout = answer_timeout

    def __repr__(self) -> str:
        return f"<PostgresPace: {self._paces} pacers>"

    def _open(self) -> _TableStore:
        return _TableStore(Database(self._place), self._answer_timeout)


class _TableStore:
    """The buckets in `ekb_pace`."""

    def __init__(self, database: Database, answer_timeout: float) -> None:
        self._database = database
        self._answer_timeout = answer_timeout
        self._now = asyncio.get_running_loop().time
        self._changes = Batcher[_Change, Any]("pace", self._make, size=_KEYS_TOGETHER, in_flight=_IN_FLIGHT)

    async def change(self, key: str, rule: Rule[T]) -> T:
        result: T = await self._changes.load(_Change(key, rule))  # type: ignore[assignment]  # what the rule returns
        return result

    async def close(self) -> None:
        await self._changes.close(0)
        await self._database.close()

    async def _make(self, changes: Sequence[_Change]) -> dict[_Change, Any]:
        rules: dict[str, list[_Change]] = {}
        for change in changes:
            rules.setdefault(change.key, []).append(change)

        async def work(connection: Any) -> dict[_Change, Any]:
            results: dict[_Change, Any] = {}
            left = set(rules)
            while left:
                asked, rows = self._now(), []
                for now, key, version, *values in await connection.fetch(
                    _READ, sorted(left), timeout=self._answer_timeout
                ):
                    bucket = Bucket(*values) if version else Bucket()
                    for change in rules[key]:
                        results[change] = change.rule(bucket, Reading(now, asked))
                    changed = list(msgspec.structs.astuple(bucket))
                    if changed == values:
                        left.remove(key)
                    else:
                        rows.append((key, version + 1, *changed))
                if rows:
                    columns = map(list, zip(*rows, strict=True))
                    left.difference_update(
                        row["key"] for row in await connection.fetch(_WRITE, *columns, timeout=self._answer_timeout)
                    )
            return results

        return await self._database.run(work)


class _Change:
    """What a rule is to make of a bucket; two that are alike are still two."""

    def __init__(self, key: str, rule: Rule[Any]) -> None:
        self.key = key
        self.rule = rule
