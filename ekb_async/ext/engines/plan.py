"""When wakeups become due: the coarse slots of waiting calls.

Each tenant and kind of paid call has a row with its next free slot. Reserving n slots is one statement: they start at
that slot or now, whichever is later, one interval apart. Look-ups share requests and have no pace, so one wakeup is for
as many as a request takes, and is due at once.

A worker plans calls when it is notified that they were added. Calls that are pending without a wakeup for another
reason (made pending by a retry, taken back from a dead worker, due again after they waited for another day, or the
notification was lost) are planned when a worker searches for them next. A surplus wakeup finds nothing to do, but a
call without one would wait indefinitely. So a call is marked as planned after the engine has its wakeup, and a call
that is still pending long after its wakeup was due is planned again.

If the database's clock is set back, slots and wakeups lie in the future by so much more. A worker notices that by its
own clock, and at its start it does not know what happened before. Then calls are planned anew whose slots are further
away than the number of waiting calls explains.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ekb_async.backlog.input.rows.kinds import LOOKUPS, PAID
from ekb_async.backlog.store.limits import LIMITS as STORE_LIMITS
from ekb_async.backlog.store.postgres.sql import call_sql as sql
from ekb_async.config import SessionConfig
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.rates import ConfigOf, configs_of
from ekb_async.ext.engines.wakeups import LOOKUPS_PER_WAKEUP, PlannedWakeup, Wakeup
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.lease import HAS_UNSEEN
from ekb_async.storage.postgres.statements import PostgresStatements

_log = logging.getLogger("ekb_async.engines")

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

Insert = Callable[[Any, Sequence[PlannedWakeup]], Awaitable[None]]
"""Hands wakeups to an engine, within the open transaction of this connection if the engine can."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
# While anything is held, what becomes pending is looked for each time.
_HAS_WORK = f"""
SELECT extract(epoch FROM clock_timestamp())::float8, ({sql.HAS_DUE}) OR ({HAS_UNSEEN})
    OR EXISTS (SELECT 1 FROM ekb_pause) OR EXISTS (
        SELECT 1 FROM ekb_call WHERE state = 'pending' AND due_at IS NULL AND NOT planned AND kind <> 'download'
    )
"""  # noqa: S608 - constants
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

_WAITING = """
SELECT tenant, kind, count(*) FROM ekb_call
WHERE tenant = ANY($1::text[]) AND state = 'pending' AND due_at IS NULL GROUP BY tenant, kind
"""
_FAR_AWAY = """
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

_STRANDED = """
UPDATE ekb_call AS call SET planned = false FROM ekb_plan AS plan
WHERE call.tenant = plan.tenant AND call.kind = plan.kind AND call.state = 'pending' AND call.planned
    AND plan.next_slot < extract(epoch FROM clock_timestamp()) - $1::float8
    AND NOT EXISTS (
        SELECT 1 FROM ekb_call AS other
        WHERE other.state = 'running' AND other.tenant = plan.tenant AND other.kind = plan.kind
    )
"""


_Key = tuple[str, str]
"""A tenant and a kind of call."""


class _Plan(NamedTuple):
    """The number of wakeups that were planned, and the tenants whose settings are needed before any can be."""

    wakeups: int = 0
    unknown: Collection[str] = ()


class Planner:
    """Reserves slots for calls, at the rates that `config_of` gives, and hands wakeups for them to an engine."""

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

    async def has_work(self, now: float, dead_after: float, *, patience: float) -> bool:
        """Return whether there may be calls to plan, calls that are due, or runs that are dead. Raises as `plan` does.

        `now` is the time by which calls are due, in epoch seconds.
        """
        values = {"now": now, "latest": now + STORE_LIMITS.longest_wait_seconds, "dead_after": dead_after}

        async def work(connection: Any) -> bool:
            [(clock, has_work)] = await PostgresStatements(connection, _ANSWER_SECONDS).fetch(_HAS_WORK, **values)
            self._latest = clock, asyncio.get_running_loop().time()
            return bool(has_work)

        return await self._database.run(work, patience=patience)

    async def plan(self, *, patience: float) -> int:
        """Hand the engine wakeups for all pending calls that have none, and return how many wakeups.

        Raises `EkbConnectionError` if the database is unreachable for `patience` seconds, `ConfigError` if it refuses.
        """
        wakeups = 0
        configs: dict[str, SessionConfig] = {}
        while True:
            plan = await self._database.run(functools.partial(self._plan_some, configs), patience=patience)
            if plan.unknown:
                # Asked for between two transactions: it may take a while.
                configs |= await configs_of(plan.unknown, self._config_of)
            elif not plan.wakeups:
                return wakeups
            wakeups += plan.wakeups

    async def plan_stranded(self, overdue: float, *, patience: float) -> None:
        """Mark calls to be planned again whose wakeups are `overdue` seconds late.

        The engine may have lost the wakeups; if it is only late, there are surplus wakeups then. Tenants and kinds with
        a running call are left out. Raises as `plan` does.
        """
        await self._database.run(
            lambda connection: connection.execute(_STRANDED, overdue, timeout=_ANSWER_SECONDS), patience=patience
        )

    async def plan_set_back(self, slack: float, held: Callable[[str, str], float], *, patience: float) -> None:
        """Mark calls to be planned anew if the database's clock was set back since the last look, or before the first.

        Only those of tenants and kinds whose next slot is too far away by more than `slack` seconds, and not for the
        time for which they are `held`. Raises as `plan` does.
        """

        async def work(connection: Any) -> tuple[float, float]:
            clocks = await self._look_at_clock(connection)
            if self._clocks is None or _was_set_back(self._clocks, clocks):
                far = await connection.fetch(_FAR_AWAY, slack, timeout=_ANSWER_SECONDS)
                far = [(tenant, kind, calls) for tenant, kind, calls in far if not held(tenant, kind)]
                if calls := await self._plan_anew(connection, slack, far):
                    _log.warning("%d calls are planned anew, because the database's clock was set back", calls)
            return clocks

        self._clocks = await self._database.run(work, patience=patience)

    async def plan_anew(self, tenants: Collection[str], slack: float, *, patience: float) -> None:
        """Mark the calls of these tenants to be planned anew if their next slot is too far away by more than `slack`.

        That is so after a pause, for which wakeups were postponed, and if the rate is higher now. Raises as `plan`.
        """

        async def work(connection: Any) -> None:
            waiting = await connection.fetch(_WAITING, list(tenants), timeout=_ANSWER_SECONDS)
            await self._plan_anew(connection, slack, waiting)

        await self._database.run(work, patience=patience)

    async def _plan_anew(self, connection: Any, slack: float, waiting: Iterable[tuple[str, str, int]]) -> int:
        """Mark calls to be planned anew, given their tenants, kinds and numbers, and return how many were marked."""
        farthest = list(waiting)
        if not farthest:
            return 0
        configs = await configs_of([tenant for tenant, *_ in farthest], self._config_of)
        delays = [slack + count * _interval(configs[tenant], kind) for tenant, kind, count in farthest]
        tenants, kinds, _ = map(list, zip(*farthest, strict=True))
        changed = await connection.execute(_PLAN_ANEW, tenants, kinds, delays, timeout=_ANSWER_SECONDS)
        return int(changed.rpartition(" ")[2])

    async def reserve(self, wakeup: Wakeup, delay: float, *, patience: float) -> float:
        """Reserve a new plan slot for a wakeup, `delay` seconds from now or later, and return the seconds until it."""
        configs = await configs_of([wakeup.tenant], self._config_of)

        async def work(connection: Any) -> float:
            now, _ = await self._look_at_clock(connection)
            first, *_ = await self._slots(connection, {(wakeup.tenant, wakeup.kind): 1}, configs, now + delay)
            return first.slot - now

        return await self._database.run(work, patience=patience)

    async def _plan_some(self, configs: Mapping[str, SessionConfig], connection: Any) -> _Plan:
        async with connection.transaction():
            calls = await connection.fetch(_TO_PLAN, LIMITS.calls_per_plan, timeout=_ANSWER_SECONDS)
            if unknown := {call["tenant"] for call in calls} - configs.keys():
                return _Plan(unknown=unknown)
            now, _ = await self._look_at_clock(connection)
            waiting: dict[_Key, list[int]] = {}
            for call in calls:
                waiting.setdefault((call["tenant"], call["kind"]), []).append(call["id"])
            if not waiting:
                return _Plan()
            wanted = {key: _wakeups_for(key[1], len(ids)) for key, ids in waiting.items()}
            wakeups = await self._slots(connection, wanted, configs, now)
            await self._insert(connection, sorted(wakeups, key=lambda wakeup: wakeup.slot))
            planned = [call_id for ids in waiting.values() for call_id in ids]
            await connection.execute(_PLANNED, planned, timeout=_ANSWER_SECONDS)
        return _Plan(len(wakeups))

    async def _look_at_clock(self, connection: Any) -> tuple[float, float]:
        """Return the time of the database in epoch seconds, and that of the loop."""
        now = float(await connection.fetchval(_NOW, timeout=_ANSWER_SECONDS))
        self._latest = now, asyncio.get_running_loop().time()
        return self._latest

    async def _slots(
        self, connection: Any, wanted: dict[_Key, int], configs: Mapping[str, SessionConfig], not_before: float
    ) -> list[PlannedWakeup]:
        intervals = {key: _interval(configs[key[0]], key[1]) for key in wanted}
        lengths = [count * intervals[key] for key, count in wanted.items()]
        tenants, kinds = [tenant for tenant, _ in wanted], [kind for _, kind in wanted]
        wakeups: list[PlannedWakeup] = []
        for tenant, kind, after in await connection.fetch(
            _RESERVE, tenants, kinds, lengths, not_before, timeout=_ANSWER_SECONDS
        ):
            count, length = wanted[tenant, kind], intervals[tenant, kind]
            slots = (after - (count - n) * length for n in range(count))
            wakeups += [PlannedWakeup(tenant, kind, slot, max(0.0, slot - not_before)) for slot in slots]
        return wakeups


def _wakeups_for(kind: str, calls: int) -> int:
    """Return the number of wakeups for so many calls, rounded up so that each call has one."""
    return calls if kind in PAID else -(-calls // LOOKUPS_PER_WAKEUP)


def _interval(config: SessionConfig, kind: str) -> float:
    """Return the seconds between two slots of a tenant with these settings; 0 for look-ups."""
    if kind in LOOKUPS:
        return 0.0
    rate = config.ocr_rate if kind == "ocr" else config.verify_rate
    return 1.0 / rate + config.rate_guard


def _was_set_back(before: tuple[float, float], now: tuple[float, float]) -> bool:
    """Return whether the first of two clocks fell behind the second, between two looks at both."""
    return now[0] - before[0] < now[1] - before[1] - LIMITS.clock_tolerance_seconds
