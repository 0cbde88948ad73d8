"""How a backlog limits what it pays for: budgets of billed calls by day and month."""

from __future__ import annotations

from datetime import date

from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import Budget, budgets_of, change_budgets, spent_by_day
from ekb_async.backlog.store.transactions.spending import Period
from ekb_async.backlog.store.values.reports import Waiting, waiting_rows
from ekb_async.errors import ConfigError
from ekb_async.validation import checked_text, checked_whole


class Budgeting:
    """The part of a `Backlog` that limits how many billed calls are sent."""

    _store: CallStore

    async def set_budget(
        self,
        tenant: str | None = None,
        *,
        per_day: int | None = None,
        per_month: int | None = None,
        remove: bool = False,
    ) -> None:
        """Limit the billed calls of a tenant, or of all tenants together, in a day and in a month at UTC+8.

        A limit that is not given stays as it is; with `remove` it is removed. At 0 no billed calls are sent. Runs and
        workers that are at work follow within seconds: when a budget is spent, billed calls are pending until it begins
        anew, and none of them fails. What was sent before on the same day or in the same month counts. Repeated calls
        count as well, also if an answer was lost; attempts that were refused for the rate do not.

        Raises `ConfigError` if nothing is given, or for a limit that is no whole number from 0.
        """
        given: dict[Period, int | None] = {"day": per_day, "month": per_month}
        limits: dict[Period, int] = {
            period: _checked(f"per_{period}", calls) for period, calls in given.items() if calls is not None
        }
        if not limits and not remove:
            raise ConfigError("give per_day, per_month or remove")
        name = None if tenant is None else checked_text("tenant", tenant, blank=True)
        await change_budgets(self._store, name, limits, removes_others=remove)

    async def budgets(self) -> list[Budget]:
        """Return all budgets and what is spent of them, those of all tenants together first."""
        return await budgets_of(self._store)

    async def over_budget(self) -> Waiting:
        """Return how many rows wait because a budget is spent, and when the first and the last of them go on."""
        return waiting_rows(await self._store.waiting(), for_budget=True)

    async def spent(self, days: int = 31, *, tenant: str | None = None) -> dict[date, int]:
        """Return how many billed calls were sent on each of the last `days` (at most 61) at UTC+8, today included.

        Those of a tenant, or of all. Days without any are left out. Raises `ConfigError` for another number of days.
        """
        checked_whole("days", days, most=LIMITS.most_days_shown)
        return await spent_by_day(self._store, days, tenant)


def _checked(field: str, calls: int) -> int:
    return 0 if calls == 0 and not isinstance(calls, bool) else checked_whole(field, calls, most=LIMITS.largest_budget)
