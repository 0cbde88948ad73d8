"""When wakeups become due: the coarse slots of waiting calls.

Each tenant and kind of paid call has a row with its next free slot. Reserving n slots is one statement: they start at
that slot or now, whichever is later, one interval apart. Look-ups share requests and have no pace, so one wakeup is for
as many as a request takes, and is due at once.

Calls are planned when they are added. Calls that are pending without a wakeup (added by `ekb backlog`, made pending by
a retry, taken back from a dead worker, due again after they waited for another day) are planned when a worker searches
for them next. A surplus wakeup finds nothing to do, but a call without one would wait indefinitely. So a call is marked
as planned after the engine has its wakeup, and a call that is still pending long after its wakeup was due is planned
again.

If the database's clock is set back, slots and wakeups lie in the future by so much more. A worker notices that by its
own clock, and at its start it does not know what happened before. Then calls are planned anew whose slots are further
away than the number of waiting calls explains.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ekb_async.backlog.input.rows.kinds import LOOKUPS, PAID
from ekb_async.config import SessionConfig
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.wakeups import LOOKUPS_PER_WAKEUP, PlannedWakeup, Wakeup
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database

_log = logging.getLogger("ekb_async.engines")

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

Insert = Callable[[Any, Sequence[PlannedWakeup]], Awaitable[None]]
"""Hands wakeups to an engine, within the open transaction of this connection if the engine can."""

ConfigOf = Callable[[str], SessionConfig]
"""Gives the settings of a tenant's sessions; the rates and `rate_guard` are used here."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_TO_PLAN = """
SELECT id, tenant, kind FROM ekb_call
WHERE state = 'pending' AND due_at IS NULL AND NOT planned AND kind <> 'download'
ORDER BY priority, id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_PLANNED = "UPDATE ekb_call SET planned = true WHERE id = ANY($1::bigint[])"
# In the order of the key, so that two processes that reserve for the same tenants do not deadlock.
_RESERVE = """
INSERT INTO ekb_plan AS plan (tenant, kind, next_slot)
SELECT tenant, kind, $4::float8 + length FROM unnest($1::text[], $2::text[], $3::float8[]) AS new (tenant, kind, length)
ORDER BY tenant, kind
ON CONFLICT (tenant, kind) DO UPDATE SET next_slot = greatest(plan.next_slot, $4) + excluded.next_slot - $4
RETURNING tenant, kind, next_slot
"""

_STRANDED = """
UPDATE ekb_call AS call SET planned = false FROM ekb_plan AS plan
WHERE call.tenant = plan.tenant AND call.kind = plan.kind AND call.state = 'pending' AND call.planned
    AND plan.next_slot < extract(epoch FROM clock_timestamp()) - $1::float8
    AND NOT EXISTS (
        SELECT 1 FROM ekb_call AS other
        WHERE other.state = 'running' AND other.tenant = plan.tenant AND other.kind = plan.kind
    )
"""


_NEXT_SLOTS = """
SELECT plan.tenant, plan.kind, waiting FROM ekb_plan AS plan CROSS JOIN LATERAL (
    SELECT count(*) AS waiting FROM ekb_call
    WHERE tenant = plan.tenant AND kind = plan.kind AND state = 'pending' AND due_at IS NULL
) AS counted
WHERE plan.next_slot > extract(epoch FROM clock_timestamp()) + $1::float8
"""
_PLAN_ANEW = """
WITH wrong AS (
    UPDATE ekb_plan AS plan SET next_slot = extract(epoch FROM clock_timestamp())
    FROM unnest($1::text[], $2::text[], $3::float8[]) AS farthest (tenant, kind, delay)
    WHERE plan.tenant = farthest.tenant AND plan.kind = farthest.kind
        AND plan.next_slot > extract(epoch FROM clock_timestamp()) + farthest.delay
    RETURNING plan.tenant, plan.kind
), misplaced AS (
    SELECT call.id FROM ekb_call AS call JOIN wrong USING (tenant, kind)
    WHERE state = 'pending' AND planned FOR UPDATE OF call SKIP LOCKED
)
UPDATE ekb_call AS call SET planned = false FROM misplaced WHERE call.id = misplaced.id
"""


class Planner:
    """Reserves slots for calls and hands wakeups for them to an engine."""

    def __init__(self, database: Database, insert: Insert, config_of: ConfigOf) -> None:
        self._database = database
        self._insert = insert
        self._config_of = config_of
        self._clocks: tuple[float, float] | None = None
        """The time of the database and of the loop at the latest look that was compared with the one before it."""
        self._latest: tuple[float, float] | None = None
        """The same at the latest look."""

    def now(self) -> float | None:
        """Return the time of the database in epoch seconds, as a look at it some time ago shows; None before a look."""
        if self._latest is None:
            return None
        database, loop = self._latest
        return database + asyncio.get_running_loop().time() - loop

    async def check(self, *, patience: float) -> None:
        """Look at the clock. Raises `ConfigError` if the engine cannot take wakeups because its tables are missing."""

        async def work(connection: Any) -> None:
            await self._insert(connection, ())
            await self._look_at_clock(connection)

        await self._database.run(work, patience=patience)

    async def plan(self, *, patience: float) -> int:
        """Hand the engine wakeups for all pending calls that have none, and return how many wakeups.

        Raises `EkbConnectionError` if the database is unreachable for `patience` seconds, `ConfigError` if it refuses.
        """
        wakeups = 0
        while made := await self._database.run(self._plan_some, patience=patience):
            wakeups += made
        return wakeups

    async def plan_stranded(self, overdue: float, *, patience: float) -> None:
        """Mark calls to be planned again whose wakeups are `overdue` seconds late.

        The engine may have lost the wakeups; if it is only late, there are surplus wakeups then. Tenants and kinds with
        a running call are left out. Raises as `plan` does.
        """
        await self._database.run(
            lambda connection: connection.execute(_STRANDED, overdue, timeout=_ANSWER_SECONDS), patience=patience
        )

    async def plan_set_back(self, slack: float, *, patience: float) -> None:
        """Mark calls to be planned anew if the database's clock was set back since the last look, or before the first.

        Only those of tenants and kinds whose next slot is too far away by more than `slack` seconds. Raises as `plan`
        does.
        """

        async def work(connection: Any) -> tuple[float, float]:
            clocks = await self._look_at_clock(connection)
            if self._clocks is None or _was_set_back(self._clocks, clocks):
                await self._plan_anew(connection, slack)
            return clocks

        self._clocks = await self._database.run(work, patience=patience)

    async def _plan_anew(self, connection: Any, slack: float) -> None:
        farthest = [
            (tenant, kind, slack + waiting * self._interval(tenant, kind))
            for tenant, kind, waiting in await connection.fetch(_NEXT_SLOTS, slack, timeout=_ANSWER_SECONDS)
        ]
        if farthest:
            columns = map(list, zip(*farthest, strict=True))
            changed = await connection.execute(_PLAN_ANEW, *columns, timeout=_ANSWER_SECONDS)
            if calls := int(changed.rpartition(" ")[2]):
                _log.warning("%d calls are planned anew, because the database's clock was set back", calls)

    async def reserve(self, wakeup: Wakeup, delay: float, *, patience: float) -> float:
        """Reserve a new plan slot for a wakeup, `delay` seconds from now or later, and return the seconds until it."""

        async def work(connection: Any) -> float:
            now, _ = await self._look_at_clock(connection)
            first, *_ = await self._slots(connection, {(wakeup.tenant, wakeup.kind): 1}, now + delay)
            return first.slot - now

        return await self._database.run(work, patience=patience)

    async def _plan_some(self, connection: Any) -> int:
        async with connection.transaction():
            calls = await connection.fetch(_TO_PLAN, LIMITS.calls_per_plan, timeout=_ANSWER_SECONDS)
            if not calls:
                return 0
            now, _ = await self._look_at_clock(connection)
            waiting = Counter((call["tenant"], call["kind"]) for call in calls)
            wakeups = await self._slots(connection, {key: _wakeups_for(key[1], n) for key, n in waiting.items()}, now)
            await self._insert(connection, sorted(wakeups, key=lambda wakeup: wakeup.slot))
            await connection.execute(_PLANNED, [call["id"] for call in calls], timeout=_ANSWER_SECONDS)
        return len(wakeups)

    async def _look_at_clock(self, connection: Any) -> tuple[float, float]:
        """Return the time of the database in epoch seconds, and that of the loop."""
        now = float(await connection.fetchval(_NOW, timeout=_ANSWER_SECONDS))
        self._latest = now, asyncio.get_running_loop().time()
        return self._latest

    async def _slots(
        self, connection: Any, wanted: dict[tuple[str, str], int], not_before: float
    ) -> list[PlannedWakeup]:
        intervals = {key: self._interval(*key) for key in wanted}
        lengths = [count * intervals[key] for key, count in wanted.items()]
        tenants, kinds = [tenant for tenant, _ in wanted], [kind for _, kind in wanted]
        wakeups: list[PlannedWakeup] = []
        for tenant, kind, after in await connection.fetch(
            _RESERVE, tenants, kinds, lengths, not_before, timeout=_ANSWER_SECONDS
        ):
            count, interval = wanted[tenant, kind], intervals[tenant, kind]
            slots = (after - (count - n) * interval for n in range(count))
            wakeups += [PlannedWakeup(tenant, kind, slot, max(0.0, slot - not_before)) for slot in slots]
        return wakeups

    def _interval(self, tenant: str, kind: str) -> float:
        if kind in LOOKUPS:
            return 0.0
        try:
            config = self._config_of(tenant)
        except Exception as error:  # noqa: BLE001 - no error of one tenant stops the others
            _log.warning("tenant %r is planned by the default rates: %s", tenant, type(error).__name__)
            config = SessionConfig()
        rate = config.ocr_rate if kind == "ocr" else config.verify_rate
        return 1.0 / rate + config.rate_guard


def _wakeups_for(kind: str, calls: int) -> int:
    """Return the number of wakeups for so many calls, rounded up so that each call has one."""
    return calls if kind in PAID else -(-calls // LOOKUPS_PER_WAKEUP)


def _was_set_back(before: tuple[float, float], now: tuple[float, float]) -> bool:
    """Return whether the first of two clocks fell behind the second, between two looks at both."""
    return now[0] - before[0] < now[1] - before[1] - LIMITS.clock_tolerance_seconds
