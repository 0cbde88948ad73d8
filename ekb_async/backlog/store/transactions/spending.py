"""Counts billed calls when they are marked as sent, within the budgets of tenants and of all tenants together.

Days are those at UTC+8, by the clock of the file's host, or of the database. A call is counted on the day of its mark.
A budget of a month sums up its days. If calls of several transactions are within one budget, the lock of that budget
lets one of them count after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from types import ModuleType
from typing import Literal, NamedTuple

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.values.calls import CallResult, Marking, Recorded, SentMark, WaitingCount, day_of, start_of
from ekb_async.storage.statements import Statements

Period = Literal["day", "month"]

_EPOCH = date(1970, 1, 1).toordinal()
_LOST = Marking()


class BudgetRow(NamedTuple):
    """A budget, of all tenants together if `tenant` is None, and what is spent of it in the present period."""

    tenant: str | None
    period: Period
    calls: int
    spent: int

    @property
    def left(self) -> int:
        """How many calls may still be sent in the period."""
        return max(0, self.calls - self.spent)

    def concerns(self, tenant: str) -> bool:
        """Return whether it limits the calls of a tenant."""
        return self.tenant is None or self.tenant == tenant


class Days(NamedTuple):
    """The days of the month so far, as the statements name them."""

    day: int
    first_day: int
    days: list[int]

    @classmethod
    def at(cls, now: float) -> Days:
        day = day_of(now)
        first = _day(date_of(day).replace(day=1))
        return cls(day, first, list(range(first, day + 1)))

    def end_of(self, period: Period) -> float:
        """Return the moment, in epoch seconds, at which the next period begins."""
        if period == "day":
            return start_of(self.day + 1)
        month = date_of(self.day).replace(day=1)
        december = month.month == 12
        after = month.replace(year=month.year + december, month=1 if december else month.month + 1)
        return start_of(_day(after))


async def time_of(statements: Statements, budget_sql: ModuleType, now: float | None) -> float:
    """Return the time in epoch seconds: `now`, or that of the database if it is None."""
    return float(await statements.value(budget_sql.CLOCK)) if now is None else now


async def read_budgets(
    statements: Statements, budget_sql: ModuleType, now: float | None, tenants: Collection[str] | None = None
) -> tuple[float, list[BudgetRow]]:
    """Return the time, and the budgets that concern these tenants, or all; `now` is None for the database's time."""
    time = now
    if time is None:
        [(time, has_budgets)] = await statements.fetch(budget_sql.CLOCK)
        if not has_budgets:
            return time, []
    wanted = None if tenants is None else list(tenants)
    days = Days.at(time)
    return time, await statements.fetch_as(BudgetRow, budget_sql.READ_BUDGETS, tenants=wanted, **days._asdict())


class Reached(NamedTuple):
    """When calls may be sent again for which a budget is spent, in epoch seconds; None or no tenant if none is."""

    all_until: float | None
    tenants: dict[str, float]
    now: float

    @classmethod
    def by(cls, now: float, budgets: Iterable[BudgetRow]) -> Reached:
        days = Days.at(now)
        found: dict[str | None, float] = {}
        for budget in budgets:
            if not budget.left:
                found[budget.tenant] = max(found.get(budget.tenant, 0.0), days.end_of(budget.period))
        return cls(found.pop(None, None), {tenant: until for tenant, until in found.items() if tenant is not None}, now)

    def __bool__(self) -> bool:
        return self.all_until is not None or bool(self.tenants)

    def until(self, tenant: str) -> float | None:
        """Return when calls of a tenant may be sent again, None if they may be now."""
        return max(filter(None, (self.all_until, self.tenants.get(tenant))), default=None)


class _Day(NamedTuple):
    """A call that was marked, and the day on which it is counted."""

    id: int
    day: int


class _Counted(NamedTuple):
    kind: str
    calls: int
    rows: int


async def waiting_for_budget(statements: Statements, budget_sql: ModuleType, now: float | None) -> list[WaitingCount]:
    """Count pending billed calls by kind that may not be sent because a budget is spent."""
    reached = Reached.by(*await read_budgets(statements, budget_sql, now))
    if not reached:
        return []
    tenants = None if reached.all_until is not None else list(reached.tenants)
    moments = (
        [*reached.tenants.values()] if reached.all_until is None else [reached.all_until, *reached.tenants.values()]
    )
    first = min(moments) if reached.all_until is None else reached.all_until
    counts = await statements.fetch_as(_Counted, budget_sql.WAITING_FOR_BUDGET, tenants=tenants, kinds=list(PAID))
    return [WaitingCount(*each, first, max(moments), for_budget=True) for each in counts]


class _Admission:
    """Admits calls as long as each budget that concerns them has some left."""

    def __init__(self, days: Days, budgets: Sequence[BudgetRow], counts: Counter[tuple[str, int]]) -> None:
        self._days = days
        self._left = {budget: budget.calls - budget.spent - self._counted(budget, counts) for budget in budgets}

    def _counted(self, budget: BudgetRow, counts: Counter[tuple[str, int]]) -> int:
        first = self._days.day if budget.period == "day" else self._days.first_day
        return sum(calls for (tenant, day), calls in counts.items() if day >= first and budget.concerns(tenant))

    def admit(self, tenant: str) -> float | None:
        """Count a call of a tenant; if it must not be sent, return the moment at which it may be."""
        concerned = [budget for budget in self._left if budget.concerns(tenant)]
        if reached := [budget for budget in concerned if self._left[budget] <= 0]:
            return max(self._days.end_of(budget.period) for budget in reached)
        for budget in concerned:
            self._left[budget] -= 1
        return None


class _Spent(NamedTuple):
    """Calls to count for a tenant on a day; a negative number is given back."""

    tenant: str
    day: int
    calls: int


class Unspent(NamedTuple):
    """A call of which an attempt was counted on a day and not billed."""

    call_id: int
    day: int


def unspent_of(results: Iterable[CallResult | Recorded]) -> list[Unspent]:
    """Return the attempts that were counted and not billed."""
    return [Unspent(result.call_id, day) for result in results if result.unspent for day in result.unspent]


class Spending(NamedTuple):
    """Marks and counts calls of a run in one transaction; `now` is None for the time of the database."""

    statements: Statements
    sql: ModuleType
    budget_sql: ModuleType
    run_id: int
    now: float | None

    async def mark_unlimited(self, marks: Sequence[SentMark]) -> dict[int, Marking]:
        """Mark and count calls in one statement if no budget concerns any of them; return {} if one may.

        May be executed without a transaction.
        """
        if not self.budget_sql.MARK_UNLIMITED:
            return await self._mark_unlimited_in_file(marks)
        values = {"run_id": self.run_id, "now": self.now}
        counted = await self.statements.fetch_each(_Day, self.budget_sql.MARK_UNLIMITED, marks, **values)
        marked = {call_id: Marking(day) for call_id, day in counted}
        return {mark.call_id: marked.get(mark.call_id, _LOST) for mark in marks} if marked else {}

    async def _mark_unlimited_in_file(self, marks: Sequence[SentMark]) -> dict[int, Marking]:
        if await self.statements.value(self.budget_sql.HAS_BUDGETS):
            return {}
        day = day_of(await time_of(self.statements, self.budget_sql, self.now))
        marked = await self.statements.update_each(self.sql.MARK_SENT, marks, run_id=self.run_id)
        counted = [mark.call_id for mark in marks if mark.counted_on != day and mark.call_id in marked]
        await self.statements.execute(self.budget_sql.COUNT_MARKED, ids=counted, day=day)
        markings = dict.fromkeys([mark.call_id for mark in marks], _LOST)
        return markings | dict.fromkeys(marked, Marking(day))

    async def mark(self, marks: Sequence[SentMark], unspent: Sequence[Unspent] = ()) -> dict[int, Marking]:
        """Mark and count calls as far as their budgets allow, and give back what is unspent; return what may be sent.

        Must be the only marks and returns of the transaction.
        """
        if not unspent:
            markings = await self.mark_unlimited(marks) if marks else {}
            if markings or not marks:
                return markings
        ids = [*(mark.call_id for mark in marks), *(each.call_id for each in unspent)]
        found = await self.statements.fetch(self.budget_sql.TENANTS_OF, ids=ids, now=self.now)
        tenants = {call_id: tenant for call_id, tenant, _ in found}
        counts: Counter[tuple[str, int]] = Counter()
        counts.subtract((tenants[each.call_id], each.day) for each in unspent if each.call_id in tenants)
        markings = dict.fromkeys([mark.call_id for mark in marks], _LOST)
        if marks and found:
            markings |= await self._mark(marks, tenants, counts, now=found[0][2])
        spent = [_Spent(*key, calls) for key, calls in sorted(counts.items()) if calls]
        await self.statements.write(self.budget_sql.COUNT_SPENT, spent)
        return markings

    async def _mark(
        self, marks: Sequence[SentMark], tenants: dict[int, str], counts: Counter[tuple[str, int]], *, now: float
    ) -> dict[int, Marking]:
        """Mark calls as far as their budgets allow, and add them to `counts`; return what is known of them."""
        concerned = sorted({tenants[mark.call_id] for mark in marks if mark.call_id in tenants})
        if lock := self.budget_sql.LOCK_BUDGETS:
            await self.statements.fetch(lock, tenants=concerned)
        _, budgets = await read_budgets(self.statements, self.budget_sql, now, concerned)
        days = Days.at(now)
        admission = _Admission(days, budgets, counts)
        refused: dict[int, Marking] = {}
        admitted: list[SentMark] = []
        for mark in marks:
            tenant = tenants.get(mark.call_id)
            if tenant is None:
                continue
            until = None if mark.counted_on == days.day else admission.admit(tenant)
            if until is None:
                admitted.append(mark)
            else:
                refused[mark.call_id] = Marking(until=until, wait=max(0.0, until - now))
        marked = await self.statements.update_each(self.sql.MARK_SENT, admitted, run_id=self.run_id)
        for mark in admitted:
            if mark.call_id in marked and mark.counted_on != days.day:
                counts[tenants[mark.call_id], days.day] += 1
        return refused | dict.fromkeys(marked, Marking(days.day))


def _day(of: date) -> int:
    return of.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """Return the date of a day of `day_of`."""
    return date.fromordinal(day + _EPOCH)
