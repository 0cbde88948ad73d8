"""The queries of a backlog's store, on whichever database it is."""

from __future__ import annotations

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.news import LookedForNews, News
from ekb_async.backlog.store.transactions.accounting import Accounting, account
from ekb_async.backlog.store.transactions.purged import Purged, purged_of
from ekb_async.backlog.store.transactions.spending import waiting_for_budget
from ekb_async.backlog.store.values.calls import (
    UNKNOWN,
    CallKey,
    StateCount,
    StoredRow,
    TenantStateCount,
    WaitingCount,
    day_of,
)
from ekb_async.backlog.store.values.reports import ActiveRun, Cause, WatchedRun
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.storage.statements import Statements
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")

AT_WORK = "a run is at work on it; copy it when it has ended"


class Queries(ABC):
    """The part of an open backlog that only reads. All methods raise `EkbError` if it cannot be read."""

    name: str
    """The name shown to people, without secrets."""
    file: Path | None
    """The path of the backlog, None if it is in a database."""
    sql: ModuleType
    """The statements, under the names of `postgres.sql.call_sql`."""
    copy_sql: ModuleType
    """The statements for copying, under the names of `postgres.sql.copy_sql`."""
    invoice_sql: ModuleType
    """The statements about invoices, under the names of `postgres.sql.invoice_sql`."""
    purge_sql: ModuleType
    """The statements that purge calls, under the names of `postgres.sql.purge_sql`."""
    removal_sql: ModuleType
    """The statements that select and remove rows, under the names of `postgres.sql.removal_sql`."""
    retry_sql: ModuleType
    """The statements that make failed calls pending again, under the names of `postgres.sql.retry_sql`."""
    result_sql: ModuleType
    """The statements that read rows, and calls that have ended, under the names of `postgres.sql.result_sql`."""
    pause_sql: ModuleType
    """The statements that hold, release and cancel calls, under the names of `postgres.sql.pause_sql`."""
    metrics_sql: ModuleType
    """The statements that count for metrics, under the names of `postgres.sql.metrics_sql`."""
    budget_sql: ModuleType
    """The statements about budgets, under the names of `postgres.sql.budget_sql`."""
    clock: Callable[[], float]
    """The time by which calls are due, in epoch seconds."""
    _timing: StorageTiming

    @abstractmethod
    async def _read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work that only reads, which may be repeated."""

    async def read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work that only reads, which may be repeated."""
        return await self._read(work)

    @abstractmethod
    async def can_write(self) -> bool:
        """Return whether the backlog may be changed, not only read."""

    @property
    def today(self) -> int:
        """The present day at UTC+8, see `day_of`."""
        return day_of(self.clock())

    @property
    def own_time(self) -> float | None:
        """The time by which calls are counted, None for that of the database."""
        return None if self.file is None and self.clock is time.time else self.clock()

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Return the tenants that have pending calls of these kinds to claim, the one with the fewest first."""
        return [tenant for (tenant,) in await self._fetch(self.sql.PENDING_TENANTS, kinds=kinds)]

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Return whether a tenant has pending calls of these kinds to claim."""
        return bool(await self._value(self.sql.HAS_PENDING, tenant=tenant, kinds=kinds))

    async def claimed_and_held(self, run_id: int) -> set[int]:
        """Return the calls that a run has claimed and not sent, and that a pause holds."""
        return {call_id for (call_id,) in await self._fetch(self.pause_sql.CLAIMED_AND_HELD, run_id=run_id)}

    async def held_by_tenant(self) -> dict[str, int]:
        """Count by tenant the rows that are held, leaving out zeros."""
        return {tenant: int(rows) for tenant, rows in await self._fetch(self.pause_sql.HELD_BY_TENANT)}

    async def has_due(self) -> bool:
        """Return whether calls that are due still wait, because something else has locked them."""
        now = self.clock()
        return bool(await self._value(self.sql.HAS_DUE, now=now, latest=now + LIMITS.longest_wait_seconds))

    async def has_running(self, kinds: Sequence[str]) -> bool:
        """Return whether calls of these kinds are running."""
        return bool(await self._value(self.sql.HAS_RUNNING, kinds=kinds))

    async def copies(self, call_id: int) -> list[tuple[str, str, str]]:
        """Return manifest, file and own content (see `Call`) of every row of a call, the latest first."""
        return [
            (manifest, file, content) for manifest, file, content in await self._fetch(self.sql.COPIES, call_id=call_id)
        ]

    async def keys_of(self, call_ids: Sequence[int]) -> list[CallKey]:
        """Return the invoices that the files of calls name."""
        return await self._fetch_as(CallKey, self.invoice_sql.KEYS_OF_CALLS, ids=call_ids)

    async def manifests(self) -> list[str]:
        """Return the paths of all manifests."""
        return [path for (path,) in await self._fetch(self.sql.MANIFESTS)]

    async def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of those local files of rows that have this name or content."""
        found = await self._fetch(self.sql.NAMED, name=name, sha256=sha256)
        return [str(Path(manifest).parent / file) for manifest, file in found]

    async def load(self) -> list[StateCount]:
        """Count calls and rows by kind and state, leaving out zeros."""
        return await self._fetch_as(StateCount, self.sql.COUNT_BY_STATE)

    async def in_flight(self) -> dict[str, int]:
        """Count the billed calls that are marked as sent and not answered yet, by kind."""
        return {kind: int(calls) for kind, calls in await self._fetch(self.sql.IN_FLIGHT)}

    async def failures(self) -> dict[str, int]:
        """Count failed rows by the class of their error, the most frequent first."""
        return dict(await self._fetch(self.sql.FAILURES))

    async def causes(self, limit: int) -> list[Cause]:
        """Count failed rows by error, the most frequent first, at most `limit` errors."""
        return await self._fetch_as(Cause, self.sql.CAUSES, limit=limit)

    async def maybe_billed(self) -> int:
        """Return how often the answer of a billed call was lost."""
        return int(await self._value(self.sql.MAYBE_BILLED))

    async def accounting(self) -> Accounting:
        """Return what the backlog has paid for and saved, purged calls included."""
        return await self.read(lambda statements: account(statements, self.invoice_sql, self.purge_sql))

    async def purged(self) -> Purged:
        """Return the sums of the calls that were purged."""
        return await self.read(lambda statements: purged_of(statements, self.purge_sql))

    async def has_tenants(self) -> bool:
        """Return whether any row has a tenant."""
        return bool(await self._value(self.sql.HAS_TENANTS))

    async def own_columns(self) -> list[str]:
        """Return the names of columns that only the user knows, of all manifests, in the order of first appearance."""
        lists = [msgspec.json.decode(own, type=list[str]) for (own,) in await self._fetch(self.invoice_sql.OWN_COLUMNS)]
        return list(dict.fromkeys(name for names in lists for name in names))

    async def tenant_loads(self) -> list[TenantStateCount]:
        """Count rows by tenant and state, leaving out zeros, in the order of the tenants."""
        now = self.clock()
        return await self._fetch_as(TenantStateCount, self.sql.COUNT_BY_TENANT, unknown_type=UNKNOWN, now=now)

    async def waiting(self) -> list[WaitingCount]:
        """Count calls that wait for another day, by kind, those that wait because a budget is spent, and held ones."""

        async def work(statements: Statements) -> list[WaitingCount]:
            waiting = await statements.fetch_as(WaitingCount, self.sql.WAITING, now=self.clock())
            return [*waiting, *await waiting_for_budget(statements, self.budget_sql, self.own_time)]

        return await self._read(work)

    async def active_runs(self) -> list[ActiveRun]:
        """Return the registered runs, the oldest first."""
        return await self._fetch_as(ActiveRun, self.sql.ACTIVE_RUNS, this_host=socket.gethostname())

    async def runs_at_work(self) -> list[WatchedRun]:
        """Return the registered runs that are not known to be dead, the oldest first."""
        values = {"this_host": socket.gethostname(), "lost_after": 2 * self._timing.dead_after}
        found = await self._fetch_as(WatchedRun, self.sql.AT_WORK, **values)
        return await asyncio.to_thread(lambda: [each for each in found if not each.has_ended])

    async def changes(self) -> object:
        """Return a value that differs once anything was changed, None if that cannot be told."""
        if not self.sql.CHANGES or not await self.can_write():
            return None
        (found,) = await self._fetch(self.sql.CHANGES)
        return tuple(found)

    @asynccontextmanager
    async def news(self, interval: float) -> AsyncIterator[News]:
        """Yield what shows during a block that calls may have ended; `interval` is for stores that are looked at."""
        yield LookedForNews(self.changes, interval)

    async def page(self, after: int, limit: int, selection: Selection) -> list[StoredRow]:
        """Return the selected rows after row `after`, in order."""
        return await self._fetch_as(StoredRow, self.result_sql.PAGE, after=after, limit=limit, **selection._asdict())

    async def _fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        return await self._read(lambda statements: statements.fetch(query, **values))

    async def _fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        return await self._read(lambda statements: statements.fetch_as(kind, query, **values))

    async def _value(self, query: str, /, **values: object) -> Any:
        return await self._read(lambda statements: statements.value(query, **values))
