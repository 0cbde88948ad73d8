"""What a backlog shows of itself: counts, what is left to do, runs, failures."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ekb_async.backlog.metrics.figures import BacklogMetrics, measure, printable
from ekb_async.backlog.metrics.health import BacklogHealth, examine
from ekb_async.backlog.metrics.limits import LIMITS as METRICS
from ekb_async.backlog.results.buyers import check_buyers
from ekb_async.backlog.results.estimate import Estimate, estimate
from ekb_async.backlog.run.shown.progress import Progress
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.run.watching import Watch
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import oldest_pending
from ekb_async.backlog.store.transactions.accounting import Accounting
from ekb_async.backlog.store.transactions.purged import Purged
from ekb_async.backlog.store.values.calls import counts_of
from ekb_async.backlog.store.values.reports import ActiveRun, Cause, TenantCounts, Waiting, waiting_rows
from ekb_async.config import SessionConfig
from ekb_async.validation import checked_number, checked_whole, warn_renamed

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession


class Viewing:
    """The part of a `Backlog` that shows how far it is; states and results are not changed."""

    _store: CallStore
    _timing: BacklogTiming

    @property
    def name(self) -> str:
        """The name of the file or database, without its place."""
        return printable(self._store.name)

    async def counts(self) -> dict[str, int]:
        """Return tasks by state; `pending`, `running` (claimed by a run), `done`, `failed` are always present."""
        return counts_of(await self._store.load())

    async def tenants(self) -> list[TenantCounts]:
        """Return the counts of each tenant's rows, in the order of tenant names; "" is for rows without a tenant."""
        loads = await self._store.tenant_loads()
        by_tenant = [(tenant, list(group)) for tenant, group in itertools.groupby(loads, key=lambda load: load.tenant)]
        with_pending = [load.tenant for load in loads if load.state == "pending"]
        oldest = await oldest_pending(self._store, with_pending)
        return [
            TenantCounts(
                tenant=tenant,
                counts=counts_of(group),
                unconfirmed=sum(load.unconfirmed for load in group),
                maybe_billed=sum(load.maybe_billed for load in group),
                waiting=sum(load.waiting for load in group),
                held=sum(load.held for load in group),
                oldest=oldest.get(tenant),
            )
            for tenant, group in by_tenant
        ]

    async def accounting(self) -> Accounting:
        """Return how many billed calls were made, and how many are saved by what; purged ones are included."""
        return await self._store.accounting()

    async def purged(self) -> Purged:
        """Return what was purged with a summary: how many calls, what was billed for them, and their invoices."""
        return await self._store.purged()

    async def estimate(self, config: SessionConfig | None = None) -> Estimate:
        """Return what is left to do, what is billed of it, and how long it takes; nothing is sent.

        `config` has the rates of the session that will make the calls; by default those of `SessionConfig`. With
        tenants, each of them has these rates.
        """
        now, sql, config = self._store.clock(), self._store.invoice_sql, config or SessionConfig()
        return await self._store.read(lambda statements: estimate(statements, sql, now, config))

    async def check_buyers(self, ekb: EkbSession, tenant: str = "") -> int:
        """Warn of pending rows of a tenant whose file states another buyer than the enterprise; return how many.

        The names of the enterprise are asked for once, which is free. The warning is removed from rows where it is not
        true any more; rows whose file states no buyer are left. Raises the errors of `EkbSession.payers`.
        """
        return await check_buyers(self._store, await ekb.payers(), tenant)

    async def active_runs(self) -> list[ActiveRun]:
        """Return the active runs and the hosts they run on."""
        return await self._store.active_runs()

    async def hosts(self) -> list[ActiveRun]:
        """Return the active runs; deprecated alias of `active_runs`."""
        warn_renamed("Backlog.hosts", "active_runs")
        return await self.active_runs()

    async def watch(self, *, interval: float = 1.0) -> AsyncGenerator[Progress, None]:
        """Yield the progress of all runs on the backlog, whichever programs make them, until nothing is left to do.

        It is read every `interval` seconds (more than 0), and counts of a large backlog less often. Nothing is changed,
        and no run waits for it. While the backlog cannot be read, `trouble` says why, and what was read last is
        repeated. Rows that wait for another day may be left; while no run is active, `runs` is empty. Raises
        `ConfigError` for a wrong interval, and as `counts` does if the backlog cannot be read at first.
        """
        checked_number("interval", interval, above=0)
        async with aclosing(Watch(self._store, interval).views()) as views:
            async for progress in views:
                yield progress

    async def waiting(self) -> Waiting:
        """Return how many rows wait for another day, and until when.

        The tax authority may not know an invoice on the day of its date, and refuses to check one too often in a day.
        Such a check is pending, and runs make it from shortly after the next midnight at UTC+8, for three days at most.
        """
        return waiting_rows(await self._store.waiting())

    async def metrics(self, top: int = METRICS.top) -> BacklogMetrics:
        """Return the figures that a monitoring system collects; `top` tenants (1 to 1,000) have figures of their own.

        All pending calls are counted, which takes 0.2 s with half a million of them; in a file, all calls are.
        """
        checked_whole("top", top, most=METRICS.most_top)
        return await measure(self._store, top=top, lost_after=2 * self._timing.dead_after)

    async def health(
        self, *, max_age: float | None = None, need_run: bool = False, on_this_host: bool = False
    ) -> BacklogHealth:
        """Return what is wrong: unconfirmed calls, tenants given up, and what the arguments ask for, in milliseconds.

        With `max_age`, no call may have been ready for so many seconds; with `need_run`, a run or worker must be alive,
        `on_this_host` if that is given. Raises as `counts` does if the backlog cannot be read.
        """
        if max_age is not None:
            checked_number("max_age", max_age)
        lost_after = 2 * self._timing.dead_after
        return await examine(
            self._store, max_age=max_age, need_run=need_run, on_this_host=on_this_host, lost_after=lost_after
        )

    async def in_flight(self) -> dict[str, int]:
        """Return by kind how many billed calls of active runs were sent and are not answered yet."""
        return await self._store.in_flight()

    async def failures(self) -> dict[str, int]:
        """Return failed tasks by the class of their error, the most frequent first."""
        return await self._store.failures()

    async def maybe_billed(self) -> int:
        """Return how often the answer to a billed call was lost, so that it may have been billed without a result.

        Those of calls that were purged with a summary are counted.
        """
        return await self._store.maybe_billed()

    async def causes(self, limit: int = 50, *, most: int | None = None) -> list[Cause]:
        """Return why rows failed: at most `limit` different errors, the most frequent first."""
        if most is not None:
            warn_renamed("Backlog.causes(most=)", "limit")
            limit = most
        return await self._store.causes(limit)
