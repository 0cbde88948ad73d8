"""What the answers and failures of a run add up to, counted as they come, so that nothing has to be read again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.rows.kinds import CHECKS
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.store.values.answers import Answer
from ekb_async.backlog.store.values.calls import Call, CallResult
from ekb_async.backlog.store.values.ledger_answers import LedgerAnswer
from ekb_async.backlog.store.values.reports import Cause
from ekb_async.models import CheckedInvoice, VerifyResult
from ekb_async.models.wire.coerce import YUAN, is_currency


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The invoices in the answers of verifications, each call counted once, and how many of them are `usable`.

    `amounts` are the totals of all of them and `usable_amounts` of the usable ones, by currency. An invoice that states
    none is in yuan, as the tax authority's answers are; the currency is "" if it cannot be read.
    """

    invoices: int = 0
    usable: int = 0
    amounts: dict[str, Decimal] = {}
    usable_amounts: dict[str, Decimal] = {}


class _Invoice(NamedTuple):
    """What is added up of an invoice."""

    is_usable: bool
    currency: str
    total: Decimal


class Tally:
    """Adds up the results of a run."""

    def __init__(self) -> None:
        self.maybe_billed = 0
        """How often a billed call was left without an answer, of the results that were recorded."""
        self._causes: Counter[tuple[str, str, str]] = Counter()
        self._invoices = self._usable = 0
        self._amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._usable_amounts: defaultdict[str, Decimal] = defaultdict(Decimal)

    def add(self, call: Call, result: CallResult) -> None:
        """Add what became of a call."""
        if result.state == "failed":
            cause = (result.error_type, result.error, result.hint)
            if cause not in self._causes and len(self._causes) >= LIMITS.causes_counted:
                # Texts that differ with each row would fill the memory.
                cause = (result.error_type, "", "")
            self._causes[cause] += call.row_count
        elif result.state == "done" and result.answer is not None:
            for invoice in _verified_in(result.answer, call.kind):
                self._add(invoice)

    def _add(self, invoice: _Invoice) -> None:
        self._invoices += 1
        self._amounts[invoice.currency] += invoice.total
        if invoice.is_usable:
            self._usable += 1
            self._usable_amounts[invoice.currency] += invoice.total

    def causes(self) -> tuple[Cause, ...]:
        """Return the most frequent causes of failure."""
        return tuple(
            Cause(error_type=error_type, error=error, hint=hint, rows=rows)
            for (error_type, error, hint), rows in self._causes.most_common(LIMITS.causes_shown)
        )

    def verified(self) -> Verified:
        """Return the invoices that were verified so far."""
        return Verified(
            invoices=self._invoices,
            usable=self._usable,
            amounts=dict(self._amounts),
            usable_amounts=dict(self._usable_amounts),
        )


def _verified_in(answer: Answer, kind: str) -> Iterator[_Invoice]:
    """Yield the invoices of an answer that a verification gave, or the ledger in its place."""
    if isinstance(answer, VerifyResult):
        for each in answer.invoices:
            yield _Invoice(each.usable is True, *_worth(each.form))
    elif isinstance(answer, CheckedInvoice):
        yield _Invoice(answer.is_verified is True, *_worth(answer))
    elif isinstance(answer, LedgerAnswer) and kind != "ocr":
        for entry in answer.invoices:
            is_free = kind in CHECKS or entry.is_used is False
            yield _Invoice(entry.is_verified is True and is_free, *_worth(entry.form))


def _worth(values: object) -> tuple[str, Decimal]:
    """Return the currency and the total of an invoice, 0 if it states none."""
    total, stated = getattr(values, "total", None), getattr(values, "currency", None)
    currency = YUAN if stated is None else str(stated)
    return currency if is_currency(currency) else "", total if isinstance(total, Decimal) else Decimal(0)
