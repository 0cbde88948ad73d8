"""The invoices in the answer of a row: only the values that a report needs, since there may be millions.

The models read a value when it is used, so this takes a fraction of the time of reading an answer completely.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ekb_async.backlog.input.rows.fields import fields_of
from ekb_async.backlog.store.answers import show
from ekb_async.backlog.store.calls import StoredRow
from ekb_async.errors import ResponseError
from ekb_async.models import CheckedInvoice, InvoiceKind, OcrResult, VerifyResult
from ekb_async.models.wire.coerce import number as number_of


class Found(NamedTuple):
    """An invoice. `date` is "" without one, an amount is None if it is not stated."""

    kind: InvoiceKind
    usable: bool
    total: Decimal | None
    currency: str | None
    date: str
    code: str
    number: str
    seller: str
    net: Decimal | None = None
    tax: Decimal | None = None
    deductible: Decimal | None = None
    message: str = ""


def invoices_of(row: StoredRow) -> list[Found] | None:
    """Return the invoices in the answer of a billed call, None if it cannot be read."""
    if row.result is None:
        return None
    try:
        if row.source:
            shown = show(row.kind, row.result, row.source)
            return None if shown is None else list(_shown(row.kind, shown))
        if row.kind == "verify":
            return [_verified(each) for each in VerifyResult.from_raw(row.result).invoices]
        if row.kind == "ocr":
            return [_recognised(each) for each in OcrResult.from_raw(row.result).invoices]
        return [_checked(CheckedInvoice.from_raw(row.result))]
    except (ResponseError, msgspec.DecodeError, RecursionError):
        return None


def _verified(invoice: Any) -> Found:
    form = invoice.form
    return Found(
        invoice.kind,
        invoice.usable is True,
        form.total,
        form.currency,
        _text(form.date),
        form.code or "",
        form.number or "",
        form.seller or "",
        form.amount_excluding_tax,
        getattr(form, "tax", None),
        form.deductible_tax,
        invoice.message or "",
    )


def _recognised(invoice: Any) -> Found:
    details = invoice.details
    return Found(
        invoice.kind,
        True,
        details.total,
        None,
        _text(details.date),
        details.code or "",
        details.number or "",
        details.seller or "",
        details.pretax_amount,
        details.tax,
    )


def _checked(invoice: CheckedInvoice) -> Found:
    return Found(
        invoice.kind,
        invoice.is_verified is True,
        invoice.total,
        invoice.currency,
        _text(invoice.date),
        invoice.code or "",
        invoice.number or "",
        invoice.seller or "",
        invoice.pretax_amount,
        invoice.tax,
    )


def _shown(kind: str, shown: dict[str, Any]) -> Iterator[Found]:
    """Yield the invoices of an answer that comes from elsewhere."""
    for each in shown.get("invoices", [shown]):
        values = each.get("form") or each.get("details") or each
        usable = each.get("usable", True) if kind in {"verify", "ocr"} else each.get("is_verified")
        yield Found(
            InvoiceKind(each["kind"]),
            usable is True or kind == "ocr",
            number_of(values.get("total")),
            values.get("currency"),
            values.get("date") or "",
            values.get("code") or "",
            values.get("number") or "",
            values.get("seller") or "",
            number_of(values.get("amount_excluding_tax") or values.get("pretax_amount")),
            number_of(values.get("tax")),
            number_of(values.get("deductible_tax")),
            each.get("message") or "",
        )


class Stated(NamedTuple):
    """What a row without an answer names: numbers of invoices, and their amount if it is known."""

    numbers: tuple[str, ...]
    total: Decimal | None


def stated_by(row: StoredRow) -> Stated:
    """Return what a row or its file says of its invoices."""
    if row.identity and (fields := fields_of(row.identity)) is not None:
        return Stated((fields.number,), number_of(fields.amount))
    if not row.printed:
        return Stated((), None)
    printed = msgspec.json.decode(row.printed)
    numbers = tuple(each.rpartition("-")[2] for each in printed.get("invoices") or ())
    parts = [number_of(part) for part in (printed.get("total") or "").split("+")]
    totals = [part for part in parts if part is not None]
    return Stated(numbers, sum(totals, Decimal(0)) if totals and len(totals) == len(parts) else None)


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()
