"""What needs attention: failed rows, unusable invoices, files without one. All are counted, the first are kept."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from ekb_async.backlog.results.found import Found
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report.collected.stated import stated_by
from ekb_async.backlog.results.tasks import Task, task_of
from ekb_async.backlog.store.values.calls import StoredRow

_SEPARATOR = "、"


class Named(NamedTuple):
    """A row as people find it: its number, file, reference and person, and the numbers of its invoices."""

    row: int
    file: str
    ref: str
    person: str
    numbers: str


class Finding(NamedTuple):
    """A failed row, with its `task`; or an invoice that is not usable, with the vendor's `message`, None if there is
    no invoice in the file.

    `amount` is None if it is unknown; `currency` is None if it is not stated.
    """

    named: Named
    amount: Decimal | None
    currency: str | None
    task: Task | None
    message: str | None = None


class Attention:
    """Failed rows, unusable invoices and files without one, all counted and the first of each kept."""

    def __init__(self) -> None:
        self.failed = 0
        self.unusable = 0
        self.empty = 0
        self._failed: list[Finding] = []
        self._unusable: list[Finding] = []

    @property
    def count(self) -> int:
        """The number of all that need attention."""
        return self.failed + self.unusable + self.empty

    @property
    def listed(self) -> list[Finding]:
        """What is kept, in the order of the rows."""
        return sorted((*self._failed, *self._unusable), key=lambda each: each.named.row)

    def add_failed(self, row: StoredRow) -> None:
        """Add a failed row."""
        self.failed += 1
        if len(self._failed) < LIMITS.failures_listed:
            stated = stated_by(row)
            # Only cause and hint are shown of the task; the other values of the row may be of any size.
            task = task_of(row._replace(own="", printed="", warning="", identity="", error=_cut(row.error)))
            self._failed.append(Finding(named(row, stated.numbers), stated.total, None, task))

    def add_unusable(self, row: StoredRow, invoice: Found) -> None:
        """Add an invoice that is not usable."""
        self.unusable += 1
        if len(self._unusable) < LIMITS.unusable_listed:
            name = named(row, (invoice.invoice_number or "",))
            message = _cut(invoice.message or "")
            self._unusable.append(Finding(name, invoice.total, invoice.currency, None, message))

    def add_empty(self, row: StoredRow) -> None:
        """Add a row whose file shows no invoice."""
        self.empty += 1
        if len(self._unusable) < LIMITS.unusable_listed:
            self._unusable.append(Finding(named(row, ()), None, None, None))


def named(row: StoredRow, numbers: tuple[str, ...]) -> Named:
    """Return how people find a row whose invoices have these numbers."""
    file = row.file or row.invoice_id
    joined = _SEPARATOR.join(numbers[: LIMITS.numbers_listed])
    return Named(row.id, *map(_cut, (file, row.ref, row.staff_id, joined)))


def _cut(text: str) -> str:
    return text if len(text) <= LIMITS.text_characters else f"{text[: LIMITS.text_characters]}…"
