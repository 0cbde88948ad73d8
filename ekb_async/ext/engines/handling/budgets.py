"""Which tenants' billed calls wait for a budget, as a worker knows it: from its searches, and from marks refused since.

Wakeups of such a tenant are postponed to the moment at which the budget begins anew. If it is raised or removed before,
the next search finds that, and the tenant's calls are planned anew.
"""

from __future__ import annotations

import asyncio

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.run.before.budgets import BudgetSpentError
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import reached_budgets
from ekb_async.backlog.store.transactions.spending import Reached


class SpentBudgets:
    """The budgets that are spent. Times are those of the loop."""

    def __init__(self, store: CallStore) -> None:
        self._store = store
        self._now = asyncio.get_running_loop().time
        self._reached = Reached(None, {}, 0.0)
        self._looked_at = 0.0
        self._refused: dict[str, float] = {}

    @property
    def are_spent(self) -> bool:
        """Whether this worker knows of a budget that is spent, or was at the latest look."""
        return bool(self._reached or self._refused)

    def note(self, tenant: str, error: BudgetSpentError) -> float:
        """Note that the mark of a tenant's call was refused; return the seconds until its calls may be made."""
        self._refused[tenant] = self._now() + error.wait
        return error.wait

    def wait(self, tenant: str, kind: str) -> float:
        """Return the seconds until a tenant's calls of a kind may be made; 0 if they may be now."""
        if kind not in PAID:
            return 0.0
        now = self._now()
        until = self._reached.until(tenant)
        known = 0.0 if until is None else until - (self._reached.now + now - self._looked_at)
        return max(0.0, known, self._refused.get(tenant, now) - now)

    async def look(self) -> set[str]:
        """Read the budgets; return the tenants whose calls may be made earlier than they seemed to."""
        before = {tenant for tenant in (*self._reached.tenants, *self._refused) if self.wait(tenant, PAID[0])}
        had_all = self._reached.all_until is not None and self.wait("", PAID[0]) > 0
        reached = await reached_budgets(self._store)
        if had_all and reached.all_until is None:
            before.update(await self._store.pending_tenants(list(PAID)))
        self._reached, self._looked_at = reached, self._now()
        self._refused.clear()
        return {tenant for tenant in before if reached.until(tenant) is None}
