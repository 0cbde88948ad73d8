"""The invoices in the answer of a row, and those that a row without an answer states: what a table shows of them.

The models read a value when it is used, so this takes a fraction of the time of reading an answer completely.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ekb_async.backlog.input.rows.kinds import CHECKS, PAID
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.store.reading.answered import invoice_key
from ekb_async.backlog.store.values.ledger_answers import SOURCE, stored_invoices, verdict
from ekb_async.einvoice import identity_of
from ekb_async.errors import ResponseError
from ekb_async.models import CheckedInvoice, InvoiceKind, LedgerInvoice, OcrResult
from ekb_async.models.forms import InvoiceForm
from ekb_async.models.ocr import OcrDetails
from ekb_async.models.verified import VerifiedInvoice, verify_reader


class Found(NamedTuple):
    """An invoice, or what else an answer has, under the names of the columns; None for what is not known."""

    invoice_kind: InvoiceKind | None = None
    invoice_code: str | None = None
    invoice_number: str | None = None
    invoice_date: date | None = None
    total: Decimal | None = None
    seller: str | None = None
    buyer: str | None = None
    amount_excluding_tax: Decimal | None = None
    tax: Decimal | None = None
    seller_tax_id: str | None = None
    buyer_tax_id: str | None = None
    check_code: str | None = None
    currency: str | None = None
    deductible_tax: Decimal | None = None
    verified_id: str | None = None
    usable: bool | None = None
    is_used: bool | None = None
    message: str | None = None
    is_verified: bool | None = None
    document_id: str | None = None
    url: str | None = None
    url_file_name: str | None = None
    detail_lines: int | None = None
    path: str | None = None


_read_verified = verify_reader(
    (
        *("id", "usable", "is_used", "message", "code", "number", "date", "total", "seller", "buyer", "currency"),
        *("amount_excluding_tax", "deductible_tax", "tax", "seller_tax_id", "buyer_tax_id", "check_code"),
    )
)


def found_in(task: Task) -> list[Found]:
    """Return what the answer of a task has, at least one; without an answer, what the row and its file state."""
    return invoices_in(task.kind, task.raw, task.source) or _stated_by(task)


def invoices_in(kind: str, answer: bytes | None, source: str | None) -> list[Found] | None:
    """Return the invoices in a stored answer, or else what it has; None if there is none, or it cannot be read."""
    if answer is None:
        return None
    try:
        return _of_ledger(kind, answer) if source == SOURCE else _READERS[kind](answer)
    except (ResponseError, msgspec.DecodeError, RecursionError):
        return None


def _of_ocr(answer: bytes) -> list[Found]:
    return [
        Found(each.kind, *_printed(each.details, each.details.pretax_amount))
        for each in OcrResult.from_raw(answer).invoices
    ]


def _of_verify(answer: bytes) -> list[Found]:
    return [_verified(each) for each in _read_verified(answer)]


def _verified(invoice: VerifiedInvoice) -> Found:
    form = invoice.form
    return Found(
        invoice.kind,
        *_printed(form, form.amount_excluding_tax),
        form.currency,
        form.deductible_tax,
        invoice.id,
        invoice.usable,
        invoice.is_used,
        invoice.message,
    )


def _of_check(answer: bytes) -> list[Found]:
    invoice = CheckedInvoice.from_raw(answer)
    printed = _printed(invoice, invoice.pretax_amount)
    return [Found(invoice.kind, *printed, invoice.currency, is_verified=invoice.is_verified)]


_Text: TypeAlias = str | None
_Amount: TypeAlias = Decimal | None
_Printed: TypeAlias = tuple[_Text, _Text, date | None, _Amount, _Text, _Text, _Amount, _Amount, _Text, _Text, _Text]


def _printed(values: InvoiceForm | OcrDetails | CheckedInvoice, net: Decimal | None) -> _Printed:
    """Return the values of `Found` from the code to the check code; not all kinds of invoices have the last four."""
    return (
        values.code,
        values.number,
        values.date,
        values.total,
        values.seller,
        values.buyer,
        net,
        getattr(values, "tax", None),
        getattr(values, "seller_tax_id", None),
        getattr(values, "buyer_tax_id", None),
        getattr(values, "check_code", None),
    )


def _of_url(answer: bytes) -> list[Found]:
    values = msgspec.json.decode(answer)
    return [Found(url=_text(values, "url"), url_file_name=_text(values, "file_name"))]


def _of_detail(answer: bytes) -> list[Found]:
    return [Found(detail_lines=len(msgspec.json.decode(answer, type=list[msgspec.Raw])))]


def _of_download(answer: bytes) -> list[Found]:
    return [Found(path=_text(msgspec.json.decode(answer), "path"))]


def _text(values: Any, name: str) -> str | None:
    """Return a text of an answer that is stored as it is shown, None if it has none: such answers are not validated."""
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None


_READERS: dict[str, Callable[[bytes], list[Found]]] = {
    "ocr": _of_ocr,
    "verify": _of_verify,
    "verify_by_id": _of_check,
    "verify_by_fields": _of_check,
    "url": _of_url,
    "detail": _of_detail,
    "download": _of_download,
}


def same_invoice(kind: str, tenant: str, code: str | None, number: str | None) -> str | None:
    """Return what is equal for rows that show the same invoice, None without a number.

    As in the index of answers, recognised invoices are apart, and how code and number are written does not matter.
    """
    if not number:
        return None
    identity = identity_of(code, number) or f"{code or ''}-{number}"
    return f"{tenant}:{invoice_key(kind, identity)}"


# Answers from the ledger


def _of_ledger(kind: str, answer: bytes) -> list[Found]:
    invoices = stored_invoices(answer)
    if kind == "verify":
        return [_verified_in_ledger(each) for each in invoices]
    if kind in CHECKS:
        # The answer of a check has no check code.
        return [_in_ledger(invoices[0])._replace(check_code=None, currency=invoices[0].form.currency)]
    return [_in_ledger(each) for each in invoices]


def _verified_in_ledger(invoice: LedgerInvoice) -> Found:
    form, (usable, message) = invoice.form, verdict(is_verified=invoice.is_verified, is_used=invoice.is_used)
    return _in_ledger(invoice)._replace(
        currency=form.currency,
        deductible_tax=form.deductible_tax,
        verified_id=invoice.id,
        usable=usable,
        is_used=invoice.is_used,
        message=message,
    )


def _in_ledger(invoice: LedgerInvoice) -> Found:
    printed = _printed(invoice.form, invoice.form.amount_excluding_tax)
    return Found(invoice.kind, *printed, is_verified=invoice.is_verified, document_id=invoice.document_id)


# Rows without an answer


def _stated_by(task: Task) -> list[Found]:
    """Return what a row names by its fields and what its file states; at least one."""
    fields = _of_fields(task.fields) if task.fields else {}
    printed = _of_printed(task.printed) if task.printed and task.kind in PAID else [{}]
    return [Found(**{**fields, **_known(each), **_known(fields)}) for each in printed]


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _of_fields(fields: dict[str, str]) -> dict[str, Any]:
    """Return the values of an invoice that a row names by its fields."""
    return {
        "invoice_code": fields["code"],
        "invoice_number": fields["number"],
        "invoice_date": date.fromisoformat(fields["date"]),
        "check_code": fields["check_code"],
    }


def _of_printed(printed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the invoices that a file names; the parties of several are not told apart."""
    parties = {name: printed.get(name) for name in ("seller", "buyer", "buyer_tax_id")}
    identities = printed.get("invoices") or [""]
    names = ("date", "net", "tax", "total")
    values = [_each_of(printed.get(name) or "", len(identities)) for name in names]
    return [
        parties
        | _named(identity)
        | {
            "invoice_date": date.fromisoformat(day) if day else None,
            "amount_excluding_tax": Decimal(net) if net else None,
            "tax": Decimal(tax) if tax else None,
            "total": Decimal(total) if total else None,
        }
        for identity, day, net, tax, total in zip(identities, *values, strict=True)
    ]


def _each_of(joined: str, count: int) -> list[str]:
    """Return the values of so many invoices, which have `+` between them; "" for each if they are not known."""
    values = joined.split("+")
    return values if len(values) == count else [""] * count


def _named(identity: str) -> dict[str, Any]:
    code, _, number = identity.rpartition("-")
    return {"invoice_code": code, "invoice_number": number}
