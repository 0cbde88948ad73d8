"""The sums of a workbook: by kind of invoice, month and person, and of what is usable.

An invoice that several rows have is counted once: rows that share a call with another are left out, and of equal
invoices in the answers of different calls all but the first. Recognised and verified invoices are counted apart, since
the same invoice often goes through both. Amounts are exact, and summed within a currency; one without a currency is in
yuan, as recognition and the tax authority name none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter

from ekb_async.backlog.results.export.columns import Value
from ekb_async.backlog.results.export.workbook.invoices import Shown, Verdict
from ekb_async.backlog.results.found import same_invoice
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.tasks import Task
from ekb_async.models.wire.coerce import YUAN

_ZERO = Decimal(0)
COUNTED = (Verdict.USABLE, Verdict.REFUSED, Verdict.READ)


@dataclass(slots=True)
class Sum:
    """A number of invoices, their total and their tax."""

    count: int = 0
    total: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)

    def add(self, total: Decimal, tax: Decimal, count: int = 1) -> None:
        """Add an invoice, or `count` of them."""
        self.count += count
        self.total += total
        self.tax += tax


@dataclass(slots=True)
class Sums:
    """The sums of a group, by what became of the invoices."""

    usable: Sum = field(default_factory=Sum)
    refused: Sum = field(default_factory=Sum)
    read: Sum = field(default_factory=Sum)

    @property
    def count(self) -> int:
        """The number of all invoices of the group."""
        return self.usable.count + self.refused.count + self.read.count

    def of(self, verdict: Verdict) -> Sum:
        """Return the sum for a verdict."""
        if verdict is Verdict.USABLE:
            return self.usable
        return self.refused if verdict is Verdict.REFUSED else self.read


class Groups:
    """Sums by key and currency. Of very many keys, the later ones are counted together, under None."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str | None, str], Sums] = {}
        self._keys: set[str] = set()

    def by_currency(self) -> dict[str, Sums]:
        """Return the sums of all groups together."""
        added: dict[str, Sums] = {}
        for (_, currency), sums in self.sums.items():
            mine = added.setdefault(currency, Sums())
            for verdict in COUNTED:
                each = sums.of(verdict)
                mine.of(verdict).add(each.total, each.tax, each.count)
        return added

    def of(self, key: str, currency: str) -> Sums:
        """Return the sums of a key."""
        found = self.sums.get((key, currency))
        return found or self.sums.setdefault((self._kept(key), currency), Sums())

    def _kept(self, key: str) -> str | None:
        if key not in self._keys:
            if len(self._keys) >= LIMITS.groups_per_summary:
                return None
            self._keys.add(key)
        return key


class OpenRows:
    """Counts the rows of people that are not done, by state; of very many people, the later ones under None."""

    def __init__(self) -> None:
        self.counts: dict[str | None, Counter[str]] = {}

    def add(self, person: str, state: str) -> None:
        """Count a row."""
        if person not in self.counts and len(self.counts) >= LIMITS.groups_per_summary:
            self.counts.setdefault(None, Counter())[state] += 1
        else:
            self.counts.setdefault(person, Counter())[state] += 1


class Totals:
    """All sums of a workbook.

    Of the rows of a call, the one it is made from is counted. If only those of a reference were `chosen_by_ref`, that
    may not be among them, and the first one is counted.
    """

    def __init__(self, place: dict[str, int], *, chosen_by_ref: bool = False) -> None:
        self._row_of_call: dict[int, int] | None = {} if chosen_by_ref else None
        self._has_tenants = "tenant" in place
        names = ("invoice_kind", "invoice_date", "currency", "total", "tax")
        self._take = itemgetter(*(place[name] for name in names))
        self._name = itemgetter(place["invoice_code"], place["invoice_number"])
        self._counted: set[str] = set()
        self.states: Counter[str] = Counter()
        self.kinds, self.months, self.people, self.tenants = Groups(), Groups(), Groups(), Groups()
        self.open_rows = OpenRows()
        self.repeated = 0
        """Rows whose invoice another row has."""
        self.empty = 0
        """Rows whose file shows no invoice."""

    def add_task(self, task: Task) -> None:
        """Count a task as a row."""
        self.states[task.state] += 1
        if task.state != "done":
            self.open_rows.add(task.staff_id, task.state)
        if task.shared or task.same_as not in (None, task.id):
            self.repeated += 1

    def add_invoice(self, task: Task, shown: Shown) -> None:
        """Count the invoice of a row, unless it has none, or another row has it."""
        verdict = shown.verdict
        if verdict is Verdict.EMPTY:
            self.empty += 1
        if verdict not in COUNTED or self._is_of_other_row(task):
            return
        if task.same_as is not None and self._was_counted(task, shown):
            return
        kind, day, stated, total, tax = self._take(shown.row)
        currency = stated or YUAN
        total, tax = _amount(total), _amount(tax)
        self.kinds.of(kind or "", currency).of(verdict).add(total, tax)
        self.months.of(f"{day.year}-{day.month:02}" if day else "", currency).of(verdict).add(total, tax)
        self.people.of(task.staff_id, currency).of(verdict).add(total, tax)
        if self._has_tenants:
            self.tenants.of(task.tenant, currency).of(verdict).add(total, tax)

    def _is_of_other_row(self, task: Task) -> bool:
        """Return whether the answer of a row is counted with another row of its call."""
        if self._row_of_call is None:
            return task.shared
        return self._row_of_call.setdefault(task.call_id, task.id) != task.id

    def _was_counted(self, task: Task, shown: Shown) -> bool:
        same = same_invoice(task.kind, task.tenant, *self._name(shown.row))
        if same is None or same in self._counted:
            return same is not None
        self._counted.add(same)
        return False


def _amount(value: Value) -> Decimal:
    return value if isinstance(value, Decimal) else _ZERO
