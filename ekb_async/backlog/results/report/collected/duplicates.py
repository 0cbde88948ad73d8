"""Rows that show an invoice which another row has already. The first few are kept, all are counted."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from ekb_async.backlog.results.found import Found
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report.collected.attention import Named, named
from ekb_async.backlog.results.report.collected.stated import stated_by
from ekb_async.backlog.store.values.calls import StoredRow


class Duplicate(NamedTuple):
    """A row, the number of the first row with its invoice, and what both share: `content` or `invoice`.

    `amount` and `currency` are those of the invoice, None if unknown.
    """

    named: Named
    first: int
    shared_by: str
    amount: Decimal | None
    currency: str | None


class Repeats(NamedTuple):
    """The row whose invoice another row repeats, and what both share: `content` or `invoice`."""

    first: int
    shared_by: str


def repeats(row: StoredRow) -> Repeats | None:
    """Return which row this row repeats, None if it repeats none."""
    if row.shared and row.same_as in (None, row.lead_id):
        return Repeats(row.lead_id, "invoice" if row.same_invoice else "content")
    return None if row.same_as in (None, row.id) else Repeats(row.same_as, "invoice")


class Duplicates:
    """Rows that repeat an invoice."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Duplicate] = []
        self.firsts: dict[int, Named] = {}
        """The rows that are repeated, as far as they are known, by number."""

        self._earliest: dict[int, Repeats] = {}
        """The first row of some calls that a later row represents, by the number of that one."""

    @property
    def missing(self) -> list[int]:
        """The numbers of the repeated rows that are still to be added with `add_first`."""
        return sorted({each.first for each in self.listed} - self.firsts.keys())

    def earliest(self, row: StoredRow) -> Repeats | None:
        """Return an earlier row that shares the call of this row, which represents it; None if none is known."""
        return self._earliest.get(row.id)

    def add(self, row: StoredRow, repeated: Repeats, invoices: Sequence[Found]) -> None:
        """Add a row that repeats another, and the invoices in its answer; the first of all such rows repeats none."""
        first, shared_by = repeated
        if first > row.id:
            known = self._earliest.get(first)
            if known is None and len(self._earliest) < LIMITS.duplicates_listed:
                self._earliest[first] = Repeats(row.id, shared_by)
                self.firsts[row.id] = named(row, ())
                return
            first = known.first if known else first
        self.count += 1
        if len(self.listed) >= LIMITS.duplicates_listed:
            return
        if invoices:
            numbers = tuple(each.invoice_number or "" for each in invoices)
            amount, currency = (invoices[0].total, invoices[0].currency) if len(invoices) == 1 else (None, None)
        else:
            numbers, amount = stated_by(row)
            currency = None
        self.listed.append(Duplicate(named(row, numbers), first, shared_by, amount, currency))

    def add_first(self, row: StoredRow) -> None:
        """Add a row that is repeated."""
        self.firsts[row.id] = named(row, ())
