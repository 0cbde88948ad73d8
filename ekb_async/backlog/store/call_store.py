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

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from ekb_async.backlog.input.rows.identity import Known
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.queries import Queries
from ekb_async.backlog.store.transactions.holding import hold_new
from ekb_async.backlog.store.transactions.spending import Spending, unspent_of
from ekb_async.backlog.store.values.calls import (
    OUTCOME_UNKNOWN,
    UNKNOWN,
    Call,
    CallResult,
    Marking,
    Recorded,
    SentMark,
    WaitingCount,
)
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.storage.statements import Statements

T = TypeVar("T")

Written = Callable[[Mapping[int, Marking]], object]

AT_WORK = "a run is at work on it; copy it when it has ended"


class CallStore(Queries):
    """An open backlog. All methods raise `EkbError` if it cannot be read or written."""

    claims_ahead: int
    """How many paid calls a run may claim ahead; no other run can make them meanwhile."""
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
    async def _change(self, work: Callable[[Statements], Awaitable[T]], patience: float) -> T:
        """Return the result of work in a transaction, which takes effect once; it may be repeated for `patience` s."""

    async def change(self, work: Callable[[Statements], Awaitable[T]], *, is_urgent: bool = True) -> T:
        """Return the result of work in a transaction, which takes effect once; it may be repeated.

        Work that is not urgent waits less long for the backlog.
        """
        return await self._change(work, self._timing.patience if is_urgent else self._timing.last_patience)

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
        apart: Sequence[str] = (),
    ) -> AddReport:
        """Add the imported rows to the backlog, all or none; `distinct` drops those that repeat call and `ref`.

        Rows that were purged are dropped, unless they are to be added `again`. `own` has the names of columns that only
        the user knows, `apart` the manifests whose files are others even if they have the same names.
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

        Calls of dead runs that were sent are counted; they are held if either run asks for that. With `hold_unknown`,
        those are held too that were made pending although they had been sent.
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
        await statements.execute(self.sql.RELEASE, run_ids=run_ids, day=day, unknown_type=UNKNOWN)

    async def _hold_released(self, statements: Statements) -> None:
        """Hold the calls that were sent and made pending by other runs, which would have made them again."""
        await statements.execute(self.sql.HOLD_RELEASED, **OUTCOME_UNKNOWN)

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
        self,
        run_id: int,
        marks: Sequence[SentMark],
        results: Sequence[CallResult],
        *,
        last: bool = False,
        written: Written | None = None,
    ) -> None:
        """Write in one transaction which claimed calls are about to be sent and how others ended.

        `written` is called once that is on disk, maybe in another thread, and also if the caller is cancelled
        meanwhile; it gets for each mark whether the call may be sent. The `last` record of a run waits less long for
        the backlog than others.
        """

    async def _record(
        self, statements: Statements, run_id: int, marks: Sequence[SentMark], records: Sequence[Recorded]
    ) -> Mapping[int, Marking]:
        # Most calls are no checks, and their columns cost a tenth of recording.
        checks = [each for each in records if each.is_special]
        others = [each for each in records if not each.is_special] if checks else records
        await statements.write(self.sql.RECORD, others, run_id=run_id)
        await statements.write(self.sql.RECORD_CHECKS, checks, run_id=run_id, day=self.today)
        # Last, because others that count calls of the same tenants wait for this transaction from then on.
        spending = Spending(statements, self.sql, self.budget_sql, run_id, self.own_time)
        return await spending.mark(marks, unspent_of(records))

    async def end_waits(self) -> int:
        """Make calls due now that wait for another day, and return the number of their rows."""

        async def work(statements: Statements) -> int:
            now = self.clock()
            counts = await statements.fetch_as(WaitingCount, self.sql.WAITING, now=now)
            await statements.execute(self.sql.WAKE, now=now, latest=now)
            return sum(each.rows for each in counts if not each.is_held)

        return await self._change(work, self._timing.patience)

    async def sum_up(self) -> None:
        """Sum up the changes of the numbers of calls, if there are many, so that counting them is fast."""

    async def purge_logs(self, before: float) -> int:
        """Delete what job engines have logged before a moment in epoch seconds; return how many entries."""
        return 0

    async def warn(self, call_id: int, warning: str) -> None:
        """Store a warning with those rows of a call that have none."""
        await self._change(
            lambda statements: statements.execute(self.invoice_sql.WARN_ROWS, call_id=call_id, warning=warning),
            self._timing.run_patience,
        )
