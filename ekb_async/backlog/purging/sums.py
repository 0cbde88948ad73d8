"""Which invoices of purged calls are counted, by what became of them and by currency.

An invoice counts once, as in a report: with the last of the calls that were answered with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from ekb_async.backlog.input.rows.kinds import CHECKS
from ekb_async.backlog.results.found import Found, invoices_in, same_invoice
from ekb_async.backlog.store.transactions.purged import InvoiceSum, plus
from ekb_async.models.wire.coerce import YUAN, is_currency

_UNREADABLE = ""


class OldCall(NamedTuple):
    """A call that ended before the moment of a purge; its answer is None if it has none that names invoices."""

    call_id: int
    tenant: str
    kind: str
    source: str
    ended_at: float
    same_as: int | None
    result: bytes | None


class NamedInvoice(NamedTuple):
    """An invoice in an answer: what it is added to, its total, and what is equal for the same invoice."""

    tenant: str
    kind: str
    verdict: str
    currency: str
    total: str
    same: str | None


def named_in(calls: Iterable[OldCall]) -> dict[int, list[NamedInvoice]]:
    """Return the invoices in the answers of calls, by call."""
    return {call.call_id: list(_named(call)) for call in calls if call.result is not None}


def _named(call: OldCall) -> Iterator[NamedInvoice]:
    for each in invoices_in(call.kind, call.result, call.source) or ():
        same = None
        if call.same_as is not None:
            same = same_invoice(call.kind, call.tenant, each.invoice_code, each.invoice_number)
        total = "0" if each.total is None else str(each.total)
        yield NamedInvoice(call.tenant, call.kind, _verdict(call.kind, each), _currency(each.currency), total, same)


def _verdict(kind: str, invoice: Found) -> str:
    if kind == "ocr":
        return "read"
    return "usable" if (invoice.is_verified if kind in CHECKS else invoice.usable) is True else "refused"


def _currency(code: str | None) -> str:
    """Return the currency to count with: recognition and the tax authority state none for yuan."""
    if code is None:
        return YUAN
    return code if is_currency(code) else _UNREADABLE


def sums_of(
    named: dict[int, list[NamedInvoice]], calls: Collection[int], remaining: Iterable[OldCall] = ()
) -> list[InvoiceSum]:
    """Return the sums of the invoices of these calls, in one order; those of `remaining` calls are left out."""
    counted = {each.same for found in named_in(remaining).values() for each in found}
    numbers: Counter[tuple[str, str, str, str]] = Counter()
    totals: defaultdict[tuple[str, str, str, str], str] = defaultdict(lambda: "0")
    for call_id in sorted(calls):
        for tenant, kind, verdict, currency, total, same in named.get(call_id, ()):
            if same is not None:
                if same in counted:
                    continue
                counted.add(same)
            key = tenant, kind, verdict, currency
            numbers[key] += 1
            totals[key] = plus(totals[key], total)
    return [InvoiceSum(*key, count, totals[key]) for key, count in sorted(numbers.items())]
