"""What metrics and health read from a backlog, as it is counted there. Nothing is changed or locked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.transactions.spending import BudgetRow, Days, Period, read_budgets
from ekb_async.backlog.store.values.calls import UNKNOWN
from ekb_async.storage.process import ProcessIdentity
from ekb_async.storage.statements import Statements

_BETWEEN = "\x1f"
"""Stands between a tenant and a kind where the two are one value of a statement."""


class Load(NamedTuple):
    """The calls of a kind in a state, the rows that share them, and how often they were sent."""

    state: str
    kind: str
    calls: int
    rows: int
    attempts: int


class Pending(NamedTuple):
    """The pending calls of a tenant and kind.

    `held` of them are held by a person, and `later` wait for another day; the others are ready. The times of the oldest
    and of the oldest that is ready are in epoch seconds, None without such a call.
    """

    tenant: str
    kind: str
    calls: int
    held: int
    later: int
    oldest: float | None
    oldest_ready: float | None


class _Counted(NamedTuple):
    """Pending calls as the statement counts them: `undated` is the first call without a time."""

    tenant: str
    kind: str
    calls: int
    held: int
    later: int
    oldest: float | None
    oldest_ready: float | None
    undated: int | None
    undated_ready: int | None


class SeenRun(NamedTuple):
    """A registered run: its host and process, for how many seconds it was not seen, and what it says of itself.

    `silent` is None where a lock shows whether the run is alive.
    """

    host: str
    pid: int
    process: str
    silent: float | None
    said: str

    @property
    def has_ended(self) -> bool:
        """Whether its process has certainly ended."""
        identity = ProcessIdentity.parse(self.pid, self.process)
        return identity is not None and identity.has_ended


class Block(NamedTuple):
    """Calls that are not made for now: those of a tenant, of a kind, or of both; None stands for all."""

    tenant: str | None = None
    kind: str | None = None


def over_budget(budgets: Iterable[BudgetRow]) -> list[Block]:
    """Return the calls that are not made because a budget is spent."""
    return [Block(each.tenant, kind) for each in budgets if not each.left for kind in PAID]


class PurgedCalls(NamedTuple):
    """How often purged calls of a kind were sent."""

    kind: str
    attempts: int


class Blocked:
    """All calls that are not made for now, by tenant and kind."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = set(blocks)

    def __contains__(self, call: tuple[str, str]) -> bool:
        tenant, kind = call
        return not self._blocks.isdisjoint({Block(tenant, kind), Block(tenant), Block(None, kind), Block()})

    @property
    def is_all(self) -> bool:
        """Whether no call at all is made."""
        return Block() in self._blocks

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statements."""
        return {
            "kinds": [each.kind for each in self._blocks if each.tenant is None and each.kind is not None],
            "tenants": [each.tenant for each in self._blocks if each.tenant is not None and each.kind is None],
            "pairs": [
                f"{each.tenant}{_BETWEEN}{each.kind}" for each in self._blocks if None not in (each.tenant, each.kind)
            ],
        }


class Oldest(NamedTuple):
    """A call that has been ready for long, and its age in seconds."""

    tenant: str
    kind: str
    age: float


class _Found(NamedTuple):
    id: int
    tenant: str
    kind: str
    added_at: float | None


class Figures(NamedTuple):
    """All that metrics need, at the time `moment` of the backlog's clock, in epoch seconds."""

    moment: float
    loads: list[Load]
    pending: list[Pending]
    failed: dict[str, int]
    maybe_billed: int
    purged: list[PurgedCalls]
    in_flight: dict[str, int]
    runs: list[SeenRun]
    held: list[Block]
    budgets: list[BudgetRow]
    spent: dict[Period, int]
    """Billed calls of all tenants that were sent in the present day and month."""


class Signs(NamedTuple):
    """What shows whether the work on a backlog goes on."""

    moment: float
    runs: list[SeenRun]
    unconfirmed: int
    held: list[Block]
    budgets: list[BudgetRow]


async def read_figures(store: CallStore) -> Figures:
    """Return the figures of a backlog. Raises as the methods of `CallStore` do."""
    sql, now = store.metrics_sql, store.clock()

    async def work(statements: Statements) -> Figures:
        time, budgets = await read_budgets(statements, store.budget_sql, store.own_time)
        return Figures(
            moment=await statements.value(sql.MOMENT),
            loads=[Load(*map(_whole, each)) for each in await statements.fetch_as(Load, sql.LOADS)],
            pending=await _pending(statements, sql, now),
            failed={error_type: int(calls) for error_type, calls in await statements.fetch(sql.FAILED)},
            maybe_billed=int(await statements.value(store.sql.MAYBE_BILLED)),
            purged=[PurgedCalls(*map(_whole, each)) for each in await statements.fetch_as(PurgedCalls, sql.PURGED)],
            in_flight={kind: int(calls) for kind, calls in await statements.fetch(store.sql.IN_FLIGHT)},
            runs=await _runs(statements, sql),
            held=await statements.fetch_as(Block, sql.PAUSES),
            budgets=budgets,
            spent=await _spent(statements, store.budget_sql, Days.at(time)),
        )

    return await store.read(work)


async def read_signs(store: CallStore) -> Signs:
    """Return what shows whether the work on a backlog goes on. Raises as `read_figures` does."""
    sql = store.metrics_sql

    async def work(statements: Statements) -> Signs:
        return Signs(
            moment=await statements.value(sql.MOMENT),
            runs=await _runs(statements, sql),
            unconfirmed=int(await statements.value(sql.UNCONFIRMED, unknown_type=UNKNOWN)),
            held=await statements.fetch_as(Block, sql.PAUSES),
            budgets=(await read_budgets(statements, store.budget_sql, store.own_time))[1],
        )

    return await store.read(work)


async def oldest_ready(store: CallStore, moment: float, max_age: float, blocked: Blocked) -> Oldest | None:
    """Return the oldest call that has been ready for `max_age` seconds at `moment`; None if there is none."""
    if blocked.is_all:
        return None
    sql = store.metrics_sql
    values = {"now": store.clock(), "latest": moment - max_age, **blocked.values}

    async def work(statements: Statements) -> Oldest | None:
        found = await statements.fetch_as(_Found, sql.OLDEST_READY, **values)
        found += await statements.fetch_as(_Found, sql.UNDATED_READY, **values)
        times = await _manifest_times(statements, sql, [each.id for each in found if each.added_at is None])
        ages = [
            Oldest(each.tenant, each.kind, moment - added_at)
            for each in found
            if (added_at := times.get(each.id, each.added_at)) is not None
        ]
        return max((each for each in ages if each.age >= max_age), key=lambda each: each.age, default=None)

    return await store.read(work)


async def living(runs: Sequence[SeenRun], lost_after: float) -> list[SeenRun]:
    """Return the runs that are at work: seen in the last `lost_after` seconds, or not known to have ended."""
    recent = [each for each in runs if each.silent is None or each.silent < lost_after]
    return await asyncio.to_thread(lambda: [each for each in recent if not each.has_ended])


async def _runs(statements: Statements, sql: ModuleType) -> list[SeenRun]:
    return await statements.fetch_as(SeenRun, sql.RUNS, this_host=socket.gethostname())


async def _pending(statements: Statements, sql: ModuleType, now: float) -> list[Pending]:
    counted = await statements.fetch_as(_Counted, sql.PENDING, now=now)
    undated = {call for each in counted for call in (each.undated, each.undated_ready) if call is not None}
    times = await _manifest_times(statements, sql, sorted(undated))
    return [
        Pending(
            tenant=each.tenant,
            kind=each.kind,
            calls=each.calls,
            held=each.held,
            later=each.later,
            oldest=_earlier(each.oldest, times.get(each.undated or 0)),
            oldest_ready=_earlier(each.oldest_ready, times.get(each.undated_ready or 0)),
        )
        for each in counted
    ]


async def _spent(statements: Statements, budget_sql: ModuleType, days: Days) -> dict[Period, int]:
    values = {"after": days.first_day - 1, "today": days.day, "tenant": None}
    by_day = {day: int(calls) for day, calls in await statements.fetch(budget_sql.SPENT_BY_DAY, **values)}
    return {"day": by_day.get(days.day, 0), "month": sum(by_day.values())}


async def _manifest_times(statements: Statements, sql: ModuleType, ids: Sequence[int]) -> dict[int, float]:
    """Return when the manifests of calls were added, by call."""
    return dict(await statements.fetch(sql.MANIFEST_TIMES, ids=ids)) if ids else {}


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _whole(value: Any) -> Any:
    # PostgreSQL sums up whole numbers as decimals.
    return value if isinstance(value, str) else int(value)
