"""The figures of a report, collected task by task in bounded memory.

Amounts are added within one currency only. Verified and recognised invoices are counted separately, because the same
invoice often goes through both and recognition names no currency. Rows that share a call have one answer: its invoices
and attempts are counted with the row that represents the call, while rows are counted individually.

Messages that name an invoice or a file are all different, so such names are removed before messages are grouped, and
only the most frequent groups are kept separately.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from ekb_async.backlog.input.rows.kinds import CHECKS, PAID
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.tasks import Task
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA

NOT_STATED = ""
"""The currency of an amount that comes without one."""

K = TypeVar("K", bound=Hashable)

_CURRENCY = re.compile(r"[A-Z]{3}|[0-9]{3}")
_LONG_NUMBER = re.compile(r"[A-Za-z]{0,8}\d{6,}")
_ENDPOINT = re.compile(r" \(/[^\s()]*\)\.?$")


@dataclass(slots=True)
class Sum:
    """The invoices of one currency: all of them, and the usable ones."""

    count: int = 0
    amount: Decimal = Decimal(0)
    usable: int = 0
    usable_amount: Decimal = Decimal(0)

    def __iadd__(self, other: Sum) -> Sum:
        self.count += other.count
        self.amount += other.amount
        self.usable += other.usable
        self.usable_amount += other.usable_amount
        return self


@dataclass(slots=True)
class Group:
    """A count, and for invoices their sums by currency; the key None is for invoices without an amount."""

    count: int = 0
    sums: dict[str | None, Sum] = field(default_factory=dict)

    def __iadd__(self, other: Group) -> Group:
        self.count += other.count
        for currency, total in other.sums.items():
            mine = self.sums.setdefault(currency, Sum())
            mine += total
        return self


class Tally(Generic[K]):
    """Groups by key. When there are too many, the smaller ones are merged into `rest`, so the totals stay exact."""

    def __init__(self) -> None:
        self.groups: dict[K, Group] = {}
        self.rest = Group()

    def add(self, key: K, group: Group) -> None:
        """Add `group` to the group of a key."""
        if key not in self.groups and len(self.groups) == 2 * LIMITS.groups_per_tally:
            kept, ranked = LIMITS.groups_per_tally, self.ranked()
            self.groups = dict(ranked[:kept])
            for _, small in ranked[kept:]:
                self.rest += small
        mine = self.groups.setdefault(key, Group())
        mine += group

    def ranked(self) -> list[tuple[K, Group]]:
        """Return the groups, the largest first."""
        return sorted(self.groups.items(), key=lambda item: -item[1].count)


class Invoices:
    """The invoices in all answers of one kind of call."""

    def __init__(self) -> None:
        self.total = Group()
        self.by_kind: Tally[InvoiceKind] = Tally()
        self.by_month: Tally[str] = Tally()
        """By the month of the invoice date, such as `2024-03`; "" for invoices without a date."""
        self.refused: Tally[str] = Tally()
        """The invoices that are not usable, by the vendor's message."""

    def add(self, kind: str, values: dict[str, Any], *, usable: bool, message: str | None) -> None:
        """Add an invoice; `values` are the values written on it."""
        amount = None if values["total"] is None else Decimal(values["total"])
        worth = amount or Decimal(0)
        one = Sum(1, worth, int(usable), worth if usable else Decimal(0))
        group = Group(1, {None if amount is None else _currency(values.get("currency")): one})
        self.total += group
        self.by_kind.add(InvoiceKind(kind), group)
        self.by_month.add((values["date"] or "")[:7], group)
        if not usable:
            self.refused.add(_without_numbers(message or ""), group)


class Column(NamedTuple):
    """The start of a time span, and the numbers of calls that ended in it."""

    start: datetime
    done: int
    failed: int


class Throughput:
    """Calls by the time at which they ended, in columns wide enough to limit their number."""

    _WIDTHS = (60, 300, 900, 3_600, 21_600, 86_400, 604_800)
    _MONDAY = datetime(1970, 1, 5, tzinfo=CHINA)

    def __init__(self) -> None:
        self.width = self._WIDTHS[0]
        """The width of a column, in seconds."""
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._ended: Counter[tuple[int, bool]] = Counter()

    def add(self, ended_at: datetime, *, done: bool) -> None:
        """Add a call that ended, done or failed."""
        self.first = min(self.first or ended_at, ended_at)
        self.last = max(self.last or ended_at, ended_at)
        while self._column(self.last) - self._column(self.first) >= LIMITS.throughput_columns:
            self._widen()
        self._ended[self._column(ended_at), done] += 1

    def columns(self) -> Iterator[Column]:
        """Yield all columns from the first call to the last, empty ones included."""
        if self.first is None or self.last is None:
            return
        for index in range(self._column(self.first), self._column(self.last) + 1):
            start = self._MONDAY + timedelta(seconds=index * self.width)
            yield Column(start, self._ended[index, True], self._ended[index, False])

    def _column(self, moment: datetime) -> int:
        return (moment - self._MONDAY) // timedelta(seconds=self.width)

    def _widen(self) -> None:
        wider = next((width for width in self._WIDTHS if width > self.width), 2 * self.width)
        finer, self._ended = self._ended, Counter()
        for (index, done), count in finer.items():
            self._ended[index * self.width // wider, done] += count
        self.width = wider


class Cause(NamedTuple):
    """The cause of failed rows: the class of the error, its text without the names of a single row, and its hint."""

    error_type: str
    text: str
    hint: str


@dataclass(slots=True)
class Work:
    """The counts of a group of rows, such as those of one kind of call."""

    states: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    attempts: int = 0
    maybe_billed: int = 0

    def add(self, task: Task) -> None:
        """Add a task."""
        self.states[task.state] += 1
        if task.shared:
            self.shared += 1
        else:
            self.attempts += task.attempts
            self.maybe_billed += task.maybe_billed

    def __iadd__(self, other: Work) -> Work:
        self.states.update(other.states)
        self.shared += other.shared
        self.attempts += other.attempts
        self.maybe_billed += other.maybe_billed
        return self


class Aggregate:
    """All figures of a report."""

    def __init__(self) -> None:
        self.work: dict[str, Work] = {}
        """By kind of call."""
        self.tenants: dict[str, Work] = {}
        """By tenant, "" for rows without one."""
        self.verified = Invoices()
        self.recognised = Invoices()
        self.failures: Tally[Cause] = Tally()
        self.throughput = Throughput()
        self.unreadable = 0
        self.waiting = 0
        self.waits_until: datetime | None = None
        """The time at which the last of the `waiting` rows is due."""

    @property
    def states(self) -> Counter[str]:
        """Rows by state, of all kinds of calls."""
        return sum((work.states for work in self.work.values()), Counter())

    def add(self, task: Task) -> None:
        """Add a task."""
        self.work.setdefault(task.kind, Work()).add(task)
        self.tenants.setdefault(task.tenant, Work()).add(task)
        if task.state == "failed":
            self.failures.add(_cause(task), Group(1))
        if task.due_at is not None:
            self.waiting += 1
            self.waits_until = max(self.waits_until or task.due_at, task.due_at)
        if task.shared:
            return
        if task.ended_at is not None and task.state in {"done", "failed"}:
            self.throughput.add(task.ended_at, done=task.state == "done")
        if task.state == "done" and task.kind in PAID:
            self._add_invoices(task)

    def _add_invoices(self, task: Task) -> None:
        if task.result is None:
            self.unreadable += 1
        elif task.kind == "ocr":
            for each in task.result["invoices"]:
                self.recognised.add(each["kind"], each["details"], usable=True, message="")
        elif task.kind in CHECKS:
            is_verified = task.result["is_verified"] is True
            self.verified.add(task.result["kind"], task.result, usable=is_verified, message="")
        else:
            for each in task.result["invoices"]:
                usable = each["usable"] is True
                self.verified.add(each["kind"], each["form"], usable=usable, message=each["message"])


def _currency(code: str | None) -> str:
    return code if code and _CURRENCY.fullmatch(code) else NOT_STATED


def _cause(task: Task) -> Cause:
    error_type, hint = task.error_type or "", task.hint or ""
    text = (task.error or "").removeprefix(f"{error_type}: ").removesuffix(hint).rstrip()
    for name in (task.file, task.invoice_id):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text) if name else text
    return Cause(error_type, _without_numbers(_ENDPOINT.sub("", text)), hint)


def _without_numbers(text: str) -> str:
    """Return a text without the long numbers that identify a single invoice."""
    brief = text if len(text) <= LIMITS.message_characters else f"{text[: LIMITS.message_characters]}…"
    return _LONG_NUMBER.sub("…", " / ".join(line.strip() for line in brief.splitlines() if line.strip()))
