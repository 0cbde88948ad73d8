"""The interface of a backlog's store, implemented for SQLite and PostgreSQL, and the values that it takes and returns.

A call is `pending`, `running` (claimed by a run), `done` or `failed`. A billed call is marked before it is sent, with
the number of its attempts that are unanswered from then on. Any number of runs may share one backlog, because each
claim is a transaction. A call that is `running` under a dead run was interrupted: the next check for dead runs makes it
pending and adds its mark to `maybe_billed`. If unknown outcomes are to be held, a marked call fails instead, so that a
person decides.

A pending call may wait for another day: it is not claimed while it has a due time. Whatever looks for interrupted calls
also looks for calls that are due, and removes their due times. A call that a person holds is due never, see `pausing`.

Rows are added in two steps. They are imported beside the backlog first, which takes as long as reading and hashing the
files. One transaction of set-wise statements then commits the import, so that a manifest is added completely or not at
all and other writers wait for seconds at most.
"""

from __future__ import annotations

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from ekb_async.backlog.input.rows.identity import Known
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.news import LookedForNews, News
from ekb_async.backlog.store.transactions.holding import hold_new
from ekb_async.backlog.store.transactions.spending import Spending, unspent_of, waiting_for_budget
from ekb_async.backlog.store.values.calls import (
    OUTCOME_UNKNOWN,
    UNKNOWN,
    Call,
    CallKey,
    CallResult,
    Marking,
    SentMark,
    StateCount,
    StoredRow,
    TenantStateCount,
    WaitingCount,
    day_of,
    recorded,
)
from ekb_async.backlog.store.values.reports import ActiveRun, AddReport, Cause, WatchedRun
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.storage.statements import Statements
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")

AT_WORK = "a run is at work on it; copy it when it has ended"


class CallStore(ABC):
    """An open backlog. All methods raise `EkbError` if it cannot be read or written."""

    name: str
    """The name shown to people, without secrets."""
    file: Path | None
    """The path of the backlog, None if it is in a database."""
    claims_ahead: int
    """How many paid calls a run may claim ahead; no other run can make them meanwhile."""
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

    @property
    def pause_sql(self) -> ModuleType:
        """The statements that hold, release and cancel calls, under the names of `postgres.sql.pause_sql`."""
        return self.sql.pause_sql  # type: ignore[no-any-return]

    budget_sql: ModuleType
    """The statements about budgets, under the names of `postgres.sql.budget_sql`."""
    clock: Callable[[], float]
    """The time by which calls are due, in epoch seconds."""
    _timing: StorageTiming
    _swept_on = 0
    """The day on which the calls of days long ago were forgotten."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why the backlog cannot be written at the moment, "" if there is no known reason."""

    @abstractmethod
    async def close(self) -> None:
        """Close the backlog; no other method may be called afterwards."""

    # Access

    @abstractmethod
    async def _read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work that only reads, which may be repeated."""

    @abstractmethod
    async def _change(self, work: Callable[[Statements], Awaitable[T]], patience: float) -> T:
        """Return the result of work in a transaction, which takes effect once; it may be repeated for `patience` s."""

    async def read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work that only reads, which may be repeated."""
        return await self._read(work)

    async def change(self, work: Callable[[Statements], Awaitable[T]], *, is_urgent: bool = True) -> T:
        """Return the result of work in a transaction, which takes effect once; it may be repeated.

        Work that is not urgent waits less long for the backlog.
        """
        return await self._change(work, self._timing.patience if is_urgent else self._timing.last_patience)

    @abstractmethod
    async def can_write(self) -> bool:
        """Return whether the backlog may be changed, not only read."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Statements]:
        """Settle dead runs, and read a state of the backlog while no run can begin.

        Raises `BacklogBusyError` if a run is at work.
        """

    @abstractmethod
    async def merge(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work in a transaction that may wait for something else; it may be repeated."""

    # Adding

    @abstractmethod
    async def begin_import(self) -> None:
        """Start an empty import."""

    @abstractmethod
    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows beside the backlog without changing it, and return their number; they are read in a thread."""

    @abstractmethod
    async def commit_import(
        self,
        manifest: Path,
        columns: tuple[str, ...],
        own: tuple[str, ...] = (),
        *,
        distinct: bool = False,
        again: bool = False,
    ) -> AddReport:
        """Add the imported rows to the backlog, all or none; `distinct` drops those that repeat call and `ref`.

        Rows that were purged are dropped, unless they are to be added `again`. `own` has the names of columns that only
        the user knows.
        """

    async def known_contents(self, tenant: str, contents: Sequence[str]) -> dict[str, Known]:
        """Return the files that were read before of those with these identities, by identity."""
        named = self._named(tenant, "")
        asked = [named + each for each in contents]
        found = await self._fetch_as(Known, self.invoice_sql.KNOWN_CONTENTS, tenant=tenant, contents=asked)
        return {each.content.removeprefix(named): each for each in found}

    @staticmethod
    def _named(tenant: str, identity: str) -> str:
        """Return the identity of a tenant's call as it is stored."""
        return identity

    @abstractmethod
    async def discard_import(self) -> None:
        """Drop the imported rows."""

    # Runs

    @abstractmethod
    async def begin_run(self, *, hold_unknown: bool) -> int:
        """Register a run, which counts as alive until `end_run`, and return its ID."""

    @abstractmethod
    async def hold_unknown(self, run_id: int) -> None:
        """Hold the unknown outcomes of a run from now on."""

    async def say(self, run_id: int, said: str) -> None:
        """Keep what a run says of itself, for other programs."""
        await self._change(
            lambda statements: statements.execute(self.sql.SAY, run_id=run_id, said=said), self._timing.last_patience
        )

    @abstractmethod
    async def end_run(self, run_id: int) -> None:
        """Remove a run and release its calls that have no result."""

    @abstractmethod
    async def take_over(self, *, hold_unknown: bool) -> None:
        """Release the calls of dead runs, and those that waited for another day and are due.

        Calls of dead runs that were sent are counted; they are held if either run asks for that.
        """

    @abstractmethod
    async def free(self) -> int:
        """Release the calls of runs that hold no lock, even if they seem alive, and return the number of rows."""

    @abstractmethod
    async def settle_dead(self, statements: Statements) -> int:
        """Do what `take_over` does, as part of another change; return how many rows were released."""

    async def _settle(self, statements: Statements, run_ids: Sequence[int], *, hold_unknown: bool = False) -> int:
        """Release the calls of ended runs and remove the runs; return how many rows the calls had."""
        if not run_ids:
            return 0
        rows = await statements.value(self.sql.COUNT_CLAIMED, run_ids=run_ids)
        await self._release(statements, run_ids, hold_unknown=hold_unknown)
        await statements.execute(self.sql.REMOVE_RUNS, run_ids=run_ids)
        return int(rows)

    async def _release(self, statements: Statements, run_ids: Sequence[int], *, hold_unknown: bool = False) -> None:
        day = self.today
        await statements.execute(self.sql.HOLD, run_ids=run_ids, hold_unknown=hold_unknown, day=day, **OUTCOME_UNKNOWN)
        await statements.execute(self.sql.RELEASE, run_ids=run_ids, day=day)

    async def _wake(self, statements: Statements) -> None:
        """Let calls be claimed whose due time has come, or is so late that a wrong clock must have set it.

        Those that became pending although they are paused are held.
        """
        now = self.clock()
        await statements.execute(self.sql.WAKE, now=now, latest=now + LIMITS.longest_wait_seconds)
        await hold_new(statements, self.pause_sql)
        if self._swept_on != self.today:
            await statements.execute(self.budget_sql.FORGET_SPENT, now=self.own_time, kept=LIMITS.spent_days)
            self._swept_on = self.today

    @abstractmethod
    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        """Claim the next pending calls for a run, the oldest first or the latest first."""

    @abstractmethod
    async def record(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Mapping[int, Marking]:
        """Write in one transaction which claimed calls are about to be sent and how others ended.

        Returns for each mark whether the call may be sent. The `last` record of a run waits less long for the backlog
        than others.
        """

    async def _record(
        self, statements: Statements, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult]
    ) -> Mapping[int, Marking]:
        records = list(map(recorded, results))
        # Most calls are no checks, and their columns cost a tenth of recording.
        checks = [each for each in records if each.is_special]
        others = [each for each in records if not each.is_special] if checks else records
        await statements.write(self.sql.RECORD, others, run_id=run_id)
        await statements.write(self.sql.RECORD_CHECKS, checks, run_id=run_id, day=self.today)
        # Last, because others that count calls of the same tenants wait for this transaction from then on.
        spending = Spending(statements, self.sql, self.budget_sql, run_id, self.own_time)
        return await spending.mark(marks, unspent_of(results))

    async def end_waits(self) -> int:
        """Make calls due now that wait for another day, and return the number of their rows."""

        async def work(statements: Statements) -> int:
            now = self.clock()
            counts = await statements.fetch_as(WaitingCount, self.sql.WAITING, now=now)
            await statements.execute(self.sql.WAKE, now=now, latest=now)
            return sum(each.rows for each in counts if not each.is_held)

        return await self._change(work, self._timing.patience)

    async def sum_up(self) -> None:  # noqa: B027 - a file has nothing to sum up
        """Sum up the changes of the numbers of calls, if there are many, so that counting them is fast."""

    async def purge_logs(self, before: float) -> int:
        """Delete what job engines have logged before a moment in epoch seconds; return how many entries."""
        return 0

    # Queries

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

    async def warn(self, call_id: int, warning: str) -> None:
        """Store a warning with those rows of a call that have none."""
        await self._change(
            lambda statements: statements.execute(self.invoice_sql.WARN_ROWS, call_id=call_id, warning=warning),
            self._timing.run_patience,
        )

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
