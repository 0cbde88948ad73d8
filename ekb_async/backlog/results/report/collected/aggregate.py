"""All figures of a report, collected row by row.

Verified and recognised invoices are counted separately, because the same invoice often goes through both and
recognition names no currency. Rows that share a call have one answer: its invoices and attempts are counted with the
row that represents the call, while rows are counted individually. An invoice that several calls returned counts once.

Messages that name an invoice or a file are all different, so such names are removed before messages are grouped.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from ekb_async.backlog.input.rows.kinds import CHECKS, PAID
from ekb_async.backlog.results.found import Found, invoices_in, same_invoice
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report.collected.attention import Attention
from ekb_async.backlog.results.report.collected.duplicates import Duplicates, repeats
from ekb_async.backlog.results.report.collected.groups import NOT_STATED, OTHERS, Group, Person, Tally, Tax, Work
from ekb_async.backlog.results.report.collected.throughput import Throughput
from ekb_async.backlog.store.values.calls import StoredRow
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA, YUAN, is_currency

_LONG_NUMBER = re.compile(r"[A-Za-z]{0,8}\d{6,}")
_ENDPOINT = re.compile(r" \(/[^\s()]*\)(?:\.\Z)?")
_STATUS = re.compile(r"\A\d{3}(?: \[[^\]]*\])? ")
_NOTHING = Decimal(0)


class Invoices:
    """The invoices in all answers of one kind of call."""

    def __init__(self) -> None:
        self.total = Group()
        self.by_kind: Tally[InvoiceKind, Group] = Tally(Group)
        self.by_month: Tally[str, Group] = Tally(Group)
        """By the month of the invoice date, such as `2024-03`; "" for invoices without a date."""
        self.by_seller: Tally[str, Group] = Tally(Group)
        self.refused: Tally[str, Group] = Tally(Group)
        """The invoices that are not usable, by the vendor's message."""
        self.tax: dict[tuple[InvoiceKind, str], Tax] = {}
        """By kind and currency, of the usable invoices that state a tax."""

    def add(self, invoice: Found, currency: str | None, person: Group, *, usable: bool) -> None:
        """Add an invoice; `currency` is None if it has no amount."""
        amount, day = invoice.total or _NOTHING, invoice.invoice_date
        kind = invoice.invoice_kind or InvoiceKind.UNKNOWN
        groups = (
            self.total,
            self.by_kind.of(kind),
            self.by_month.of("" if day is None else day.isoformat()[:7]),
            self.by_seller.of(invoice.seller or ""),
            person,
        )
        for group in groups:
            group.add(currency, amount, usable=usable)
        if not usable:
            self.refused.of(_without_numbers(invoice.message or "")).add(currency, amount, usable=False)
        elif invoice.tax or invoice.deductible_tax:
            key = kind, NOT_STATED if currency is None else currency
            tax = self.tax.get(key)
            if tax is None:
                tax = self.tax[key] = Tax()
            tax.count += 1
            tax.net += invoice.amount_excluding_tax or _NOTHING
            tax.tax += invoice.tax or _NOTHING
            tax.deductible += invoice.deductible_tax or _NOTHING


class Cause(NamedTuple):
    """The cause of failed rows: the class of the error, its text without the names of a single row, and its hint."""

    error_type: str
    text: str
    hint: str


class Aggregate:
    """All figures of a report."""

    def __init__(self) -> None:
        self.work: dict[str, Work] = {}
        """By kind of call."""
        self.tenants: Tally[str, Work] = Tally(Work)
        """By tenant, "" for rows without one."""
        self.people: Tally[str, Person] = Tally(Person)
        """By staff ID, "" for rows without one."""
        self.verified = Invoices()
        self.recognised = Invoices()
        self.attention = Attention()
        self.duplicates = Duplicates()
        self.failures: Tally[Cause, Group] = Tally(Group)
        self.throughput = Throughput()
        self.unreadable = 0
        self.waiting = 0
        self._waits_until: float | None = None
        self._currencies = {YUAN}
        self._counted: set[int] = set()
        """The invoices that several calls returned and that are counted; only their hashes, since there may be many."""

    @property
    def states(self) -> Counter[str]:
        """Rows by state, of all kinds of calls."""
        return sum((work.states for work in self.work.values()), Counter())

    @property
    def waits_until(self) -> datetime | None:
        """The time at which the last of the `waiting` rows is due."""
        return None if self._waits_until is None else datetime.fromtimestamp(self._waits_until, CHINA)

    def add(self, row: StoredRow) -> None:
        """Add a row."""
        work = self.work.get(row.kind)
        if work is None:
            work = self.work[row.kind] = Work()
        work.add(row)
        self.tenants.of(row.tenant).add(row)
        person = self.people.of(row.staff_id)
        person.count += 1
        if row.state == "failed":
            person.failed += 1
            self.failures.of(_cause(row)).count += 1
            self.attention.add_failed(row)
        elif row.due_at is not None:
            self.waiting += 1
            self._waits_until = max(self._waits_until or row.due_at, row.due_at)
        if row.ended_at is not None and not row.shared and row.state in {"done", "failed"}:
            self.throughput.add(row.ended_at, done=row.state == "done")
        if row.kind in PAID:
            self._add_paid(row, person)

    def _add_paid(self, row: StoredRow, person: Person) -> None:
        """Add what a billed call has found, and what the row repeats."""
        invoices = invoices_in(row.kind, row.result, row.source) if row.state == "done" else ()
        if (repeated := repeats(row) or self.duplicates.earliest(row)) is not None:
            self.duplicates.add(row, repeated, invoices or ())
        if invoices is None:
            self.unreadable += not row.shared
            return
        if row.state == "done" and not invoices:
            self.attention.add_empty(row)
        recognised = row.kind == "ocr"
        group, mine = (self.recognised, person.recognised) if recognised else (self.verified, person.verified)
        for each in invoices:
            usable = recognised or (each.is_verified if row.kind in CHECKS else each.usable) is True
            if not usable:
                self.attention.add_unusable(row, each)
            if not row.shared and (row.same_as is None or self._is_new(row, each)):
                currency = None if each.total is None else self._currency(each.currency)
                group.add(each, currency, mine, usable=usable)

    def _is_new(self, row: StoredRow, invoice: Found) -> bool:
        """Return whether no earlier row had an invoice, for a row whose answer has one in common with another."""
        same = same_invoice(row.kind, row.tenant, invoice.invoice_code, invoice.invoice_number)
        if same is None:
            return True
        if (key := hash(same)) in self._counted:
            return False
        self._counted.add(key)
        return True

    def _currency(self, code: str | None) -> str:
        """Return a currency that may have a line of its own; recognition and the tax authority state none for yuan."""
        if code is None:
            return YUAN
        if code in self._currencies:
            return code
        if not is_currency(code):
            return NOT_STATED
        if len(self._currencies) >= LIMITS.currencies:
            return OTHERS
        self._currencies.add(code)
        return code


def _cause(row: StoredRow) -> Cause:
    text = row.error
    for name in (row.file, row.invoice_id):
        if name and name in text:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return Cause(row.error_type, _without_endpoint(text), row.hint)


@lru_cache(maxsize=1024)
def _without_endpoint(text: str) -> str:
    brief, interfaces = _ENDPOINT.subn("", text)
    # Like the interface, the status of an answer means nothing to a person.
    return _without_numbers(_STATUS.sub("", brief) if interfaces else brief)


@lru_cache(maxsize=1024)
def _without_numbers(text: str) -> str:
    """Return a text without the long numbers that identify a single invoice."""
    brief = text if len(text) <= LIMITS.message_characters else f"{text[: LIMITS.message_characters]}…"
    return _LONG_NUMBER.sub("…", " / ".join(line.strip() for line in brief.splitlines() if line.strip()))
