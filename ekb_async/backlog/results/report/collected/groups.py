"""Counts and sums of invoices, in groups whose number is bounded.

Amounts are added within one currency only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, Protocol, Self, TypeVar

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.store.values.calls import StoredRow

NOT_STATED = ""
"""The currency of an amount whose currency cannot be read."""
OTHERS = "*"
"""All currencies beyond the first few, of which invoices are counted and amounts are not added."""

K = TypeVar("K", bound=Hashable)
_NOTHING = Decimal(0)


@dataclass(slots=True)
class Sum:
    """The invoices of one currency: all of them, and the usable ones."""

    count: int = 0
    amount: Decimal = _NOTHING
    usable: int = 0
    usable_amount: Decimal = _NOTHING

    def include(self, other: Self) -> None:
        """Add all of another group."""
        self.count += other.count
        self.amount += other.amount
        self.usable += other.usable
        self.usable_amount += other.usable_amount


@dataclass(slots=True)
class Group:
    """A number of rows or invoices, and of the invoices the sums by currency; the key None is for those without amount.

    `count` counts what the group is ranked by.
    """

    count: int = 0
    sums: dict[str | None, Sum] = field(default_factory=dict)

    def add(self, currency: str | None, amount: Decimal, *, usable: bool) -> None:
        """Add an invoice."""
        self.count += 1
        total = self.sums.get(currency)
        if total is None:
            total = self.sums[currency] = Sum()
        total.count += 1
        total.amount += amount
        if usable:
            total.usable += 1
            total.usable_amount += amount

    def include(self, other: Self) -> None:
        """Add all of another group."""
        self.count += other.count
        for currency, total in other.sums.items():
            self.sums.setdefault(currency, Sum()).include(total)

    @property
    def invoices(self) -> int:
        """The number of invoices."""
        return sum(each.count for each in self.sums.values())

    @property
    def usable(self) -> int:
        """The number of usable invoices."""
        return sum(each.usable for each in self.sums.values())


@dataclass(slots=True)
class Tax:
    """Usable invoices that state a tax: amounts without tax, tax, and the part of the tax that can be deducted."""

    count: int = 0
    net: Decimal = _NOTHING
    tax: Decimal = _NOTHING
    deductible: Decimal = _NOTHING

    def include(self, other: Self) -> None:
        """Add all of another group."""
        self.count += other.count
        self.net += other.net
        self.tax += other.tax
        self.deductible += other.deductible


@dataclass(slots=True)
class Person:
    """The rows of one person, those that failed, and the invoices that were verified or only recognised."""

    count: int = 0
    failed: int = 0
    verified: Group = field(default_factory=Group)
    recognised: Group = field(default_factory=Group)

    def include(self, other: Self) -> None:
        """Add all of another group."""
        self.count += other.count
        self.failed += other.failed
        self.verified.include(other.verified)
        self.recognised.include(other.recognised)


@dataclass(slots=True)
class Work:
    """The counts of a group of rows, such as those of one kind of call."""

    count: int = 0
    states: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    attempts: int = 0
    maybe_billed: int = 0

    def add(self, row: StoredRow) -> None:
        """Add a row."""
        self.count += 1
        self.states[row.state] += 1
        if row.shared:
            self.shared += 1
        else:
            self.attempts += row.attempts
            self.maybe_billed += row.maybe_billed

    def include(self, other: Self) -> None:
        """Add all of another group."""
        self.count += other.count
        self.states.update(other.states)
        self.shared += other.shared
        self.attempts += other.attempts
        self.maybe_billed += other.maybe_billed


class _Counted(Protocol):
    count: int

    def include(self, other: Self) -> None: ...


V = TypeVar("V", bound=_Counted)


class Tally(Generic[K, V]):
    """Groups by key. When there are too many, the smaller ones are merged into `rest`, so the totals stay exact."""

    def __init__(self, make: Callable[[], V]) -> None:
        self._make = make
        self.groups: dict[K, V] = {}
        self.rest = make()

    def of(self, key: K) -> V:
        """Return the group of a key, which begins empty."""
        found = self.groups.get(key)
        if found is None:
            if len(self.groups) >= 2 * LIMITS.groups_per_tally:
                self._cut()
            found = self.groups[key] = self._make()
        return found

    def _cut(self) -> None:
        kept, ranked = LIMITS.groups_per_tally, self.ranked()
        self.groups = dict(ranked[:kept])
        for _, small in ranked[kept:]:
            self.rest.include(small)

    def ranked(self) -> list[tuple[K, V]]:
        """Return the groups, the largest first."""
        return sorted(self.groups.items(), key=lambda item: -item[1].count)

    def largest(self, limit: int) -> tuple[list[tuple[K, V]], V]:
        """Return the largest groups, and the sum of all others."""
        ranked, rest = self.ranked(), self._make()
        rest.include(self.rest)
        for _, small in ranked[limit:]:
            rest.include(small)
        return ranked[:limit], rest
