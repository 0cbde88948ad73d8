"""Budgets: how many billed calls may be sent for a tenant, or in all, in a day or a month.

See `spending` for how calls are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from ekb_async.backlog.input.rows.kinds import KINDS, PAID
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.transactions.spending import (
    BudgetRow,
    Days,
    Period,
    Reached,
    date_of,
    read_budgets,
    time_of,
)
from ekb_async.config import Priority
from ekb_async.models.wire.coerce import CHINA
from ekb_async.storage.statements import Statements


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many billed `calls` may be sent per `period`, which is `day` or `month` at UTC+8, and what is `spent` of it.

    `tenant` is None for the budget of all tenants together. The next period begins at `begins_anew`. Refused calls are
    not counted if they were refused for their rate or their token; calls whose answer was lost are.
    """

    tenant: str | None
    period: Period
    calls: int
    spent: int
    begins_anew: datetime

    @property
    def left(self) -> int:
        """How many calls may still be sent in the period."""
        return max(0, self.calls - self.spent)

    @property
    def is_spent(self) -> bool:
        """Whether the billed calls that it concerns wait for the next period."""
        return self.spent >= self.calls


async def budgets_of(store: CallStore) -> list[Budget]:
    """Return all budgets, that of all tenants together first."""
    now, rows = await _read(store)
    days = Days.at(now)
    rows.sort(key=lambda row: (row.tenant is not None, row.tenant or "", row.period))
    return [Budget(**row._asdict(), begins_anew=datetime.fromtimestamp(days.end_of(row.period), CHINA)) for row in rows]


async def change_budgets(
    store: CallStore, tenant: str | None, limits: dict[Period, int], *, removes_others: bool
) -> None:
    """Set the budgets of a tenant, or of all together, for these periods; others stay unless they are removed."""

    async def work(statements: Statements) -> None:
        if lock := store.budget_sql.LOCK_SPENT:
            await statements.script(lock)
        if removes_others:
            await statements.execute(store.budget_sql.REMOVE_BUDGETS, tenant=tenant)
        for period, calls in sorted(limits.items()):
            await statements.execute(store.budget_sql.SET_BUDGET, tenant=tenant, period=period, calls=calls)

    await store.change(work)


async def spent_by_day(store: CallStore, days: int, tenant: str | None = None) -> dict[date, int]:
    """Return how many billed calls were sent on each of the last days, those of a tenant or all; zeros are left out."""

    async def work(statements: Statements) -> dict[date, int]:
        today = Days.at(await time_of(statements, store.budget_sql, store.own_time)).day
        values = {"tenant": tenant, "after": today - days, "today": today}
        found = await statements.fetch(store.budget_sql.SPENT_BY_DAY, **values)
        return {date_of(day): calls for day, calls in found if calls}

    return await store.read(work)


async def reached_budgets(store: CallStore) -> Reached:
    """Return which tenants' billed calls wait because a budget is spent."""
    return Reached.by(*await _read(store))


async def oldest_pending(store: CallStore, tenants: Sequence[str]) -> dict[str, datetime]:
    """Return by tenant when the oldest of its calls was added that is pending and waits for no other day."""
    values = {"tenants": list(tenants), "kinds": list(KINDS), "priorities": list(Priority)}
    found = await store.read(lambda statements: statements.fetch(store.budget_sql.OLDEST, **values)) if tenants else ()
    return {tenant: datetime.fromtimestamp(added_at, CHINA) for tenant, added_at in found if added_at is not None}


async def room_of(store: CallStore, tenant: str) -> int:
    """Return how many billed calls of a tenant its budgets allow at present; a large number without any."""
    _, rows = await _read(store, [tenant])
    return min((row.left for row in rows), default=2**31 - 1)


async def tenants_to_serve(store: CallStore, kinds: Sequence[str]) -> list[str]:
    """Return the tenants that have pending calls of these kinds which may be made now, those with the fewest first."""
    tenants = await store.pending_tenants(kinds)
    reached = await reached_budgets(store) if tenants else None
    if not reached:
        return tenants
    free = set(await store.pending_tenants([kind for kind in kinds if kind not in PAID]))
    return [tenant for tenant in tenants if tenant in free or reached.until(tenant) is None]


async def _read(store: CallStore, tenants: Sequence[str] | None = None) -> tuple[float, list[BudgetRow]]:
    return await store.read(lambda statements: read_budgets(statements, store.budget_sql, store.own_time, tenants))
