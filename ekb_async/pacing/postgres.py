"""One pace for all hosts that share a PostgreSQL.

Each bucket is a row of `ekb_pace`. A change is two statements without a transaction around them: one reads the row and
the database's clock, the other writes the changed row if it is still the one that was read; if not, the change starts
over. So no lock is held between the statements, and a process that is stopped or cut off in the middle of a change
blocks no other. A read that changes nothing is one statement, and changes of several buckets that are requested at the
same time share their statements.

Time is the database's alone, never that of the hosts. Writes are as durable as the database makes them: after a crash
it still has the latest start. If a connection is lost while a row is being written, the change is made again; the slot
that the first write may have taken is lost, which is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ekb_async.aio.batcher import Batcher
from ekb_async.pacing.limits import LIMITS
from ekb_async.pacing.rule import Bucket
from ekb_async.pacing.shared import Reading, Rule, SharedPacer
from ekb_async.storage.limits import CONNECTIONS
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database, checked_dsn_or_pool

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

# Rows change all the time, and no index covers the columns that change: with free space on its page (fillfactor), a row
# is updated in place.
_READ = """
SELECT extract(epoch FROM clock_timestamp())::double precision, key, coalesce(version, 0),
       latest, not_before, widening, widened, issued, served, slowest, previous, at_once, unhurried, accepted,
       refused_margin, congestion
FROM unnest($1::text[]) AS wanted (key) LEFT JOIN ekb_pace USING (key)
"""
# In the order of the keys, so that two writers of the same rows do not deadlock.
_WRITE = """
INSERT INTO ekb_pace AS found (
    key, version, latest, not_before, widening, widened, issued, served, slowest, previous, at_once, unhurried,
    accepted, refused_margin, congestion
)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::bigint[], $8::bigint[],
    $9::float8[], $10::float8[], $11::float8[], $12::int[], $13::bigint[], $14::float8[], $15::float8[]
) AS new (
    key, version, latest, not_before, widening, widened, issued, served, slowest, previous, at_once, unhurried,
    accepted, refused_margin, congestion
) ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version, latest = excluded.latest, not_before = excluded.not_before,
    widening = excluded.widening, widened = excluded.widened,
    issued = excluded.issued, served = excluded.served, slowest = excluded.slowest,
    previous = excluded.previous, at_once = excluded.at_once, unhurried = excluded.unhurried,
    accepted = excluded.accepted, refused_margin = excluded.refused_margin, congestion = excluded.congestion
WHERE found.version = excluded.version - 1
RETURNING key
"""


class PostgresPace(SharedPacer):
    """The pace of all hosts on one database: `EkbSession(…, pacer=PostgresPace("postgresql://…"))`.

    Takes a DSN, or a pool of `asyncpg` that stays open when the last session is closed. Any number of sessions of one
    event loop may share it, with up to 2 connections together. Nothing is opened before the first paced call. The table
    is created by `ekb_async.postgres.install_schema`. A statement may take `answer_timeout` seconds. While the database
    is away, paced calls wait; after 60 s they raise `EkbConnectionError`. Raises `ConfigError` for wrong arguments, and
    so do paced calls if the database refuses.
    """

    def __init__(
        self, dsn_or_pool: str | asyncpg.Pool, *, answer_timeout: float = STORAGE_LIMITS.answer_timeout_seconds
    ) -> None:
        super().__init__()
        self._dsn_or_pool = checked_dsn_or_pool(dsn_or_pool)
        self._answer_timeout = answer_timeout

    def __repr__(self) -> str:
        return f"<PostgresPace: {self._paces} paces>"

    def _open(self) -> _TableStore:
        return _TableStore(Database(self._dsn_or_pool, "pace"), self._answer_timeout)


class _TableStore:
    """The buckets in the table `ekb_pace`."""

    def __init__(self, database: Database, answer_timeout: float) -> None:
        self._database = database
        self._answer_timeout = answer_timeout
        self._now = asyncio.get_running_loop().time
        self._changes = Batcher[_Change, Any](
            "pace", self._apply, size=LIMITS.keys_per_statement, in_flight=CONNECTIONS["pace"]
        )

    async def change(self, key: str, rule: Rule[T]) -> T:
        result: T = await self._changes.load(_Change(key, rule))  # type: ignore[assignment]  # what the rule returns
        return result

    async def close(self) -> None:
        try:
            await self._changes.close(0)
        finally:
            await self._database.close()

    async def _apply(self, changes: Sequence[_Change]) -> dict[_Change, Any]:
        rules: dict[str, list[_Change]] = {}
        for change in changes:
            rules.setdefault(change.key, []).append(change)

        async def work(connection: Any) -> dict[_Change, Any]:
            results: dict[_Change, Any] = {}
            unsaved = set(rules)
            while unsaved:
                requested_at, rows = self._now(), []
                for now, key, version, *values in await connection.fetch(
                    _READ, sorted(unsaved), timeout=self._answer_timeout
                ):
                    bucket = Bucket(*values) if version else Bucket()
                    for change in rules[key]:
                        results[change] = change.rule(bucket, Reading(now, requested_at))
                    changed = list(msgspec.structs.astuple(bucket))
                    if changed == values:
                        unsaved.remove(key)
                    else:
                        rows.append((key, version + 1, *changed))
                if rows:
                    columns = map(list, zip(*rows, strict=True))
                    unsaved.difference_update(
                        row["key"] for row in await connection.fetch(_WRITE, *columns, timeout=self._answer_timeout)
                    )
            return results

        return await self._database.run(work)


class _Change(msgspec.Struct, eq=False):
    """A rule to apply to a bucket. Instances are compared by identity, so equal ones remain separate changes."""

    key: str
    rule: Rule[Any]
