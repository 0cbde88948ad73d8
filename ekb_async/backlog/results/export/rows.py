"""Tasks as rows of a table: one row per invoice if a file shows several, else one per task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.results.export.columns import Columns, Row, Value
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task
from ekb_async.models.kinds import InvoiceKind

Found = dict[str, Value]


def rows_of(task: Task, columns: Columns, lang: str) -> Iterator[Row]:
    """Yield the rows of a task; with `lang` `zh`, everything is Chinese that neither the vendor nor the user wrote."""
    common = msgspec.structs.asdict(task)
    names = Names(lang) if lang == "zh" else None
    if names is not None:
        common |= _named_by(names, task)
    for found in list(_FOUND[task.kind](task.result)) or _unanswered(task):
        values = common | found
        if names is not None and "invoice_kind" in found:
            values["invoice_kind"] = names.invoice(InvoiceKind(str(found["invoice_kind"])))
        yield tuple(values.get(column.name) if column.own is None else task.own.get(column.own) for column in columns)


def _named_by(names: Names, task: Task) -> Found:
    """Return the values of a task that have names, and its sentences."""
    return {
        "kind": names.call(task.kind),
        "state": names.state(task.state),
        "error_type": names.cause(task.error_type) if task.error_type else None,
        "error": names.reason(task) or None,
        "hint": task.hint and names.texts.rendered(task.hint),
        "warning": task.warning and names.texts.rendered(task.warning),
        "shared_by": names.shared_by(task.shared_by),
        "source": names.source(task.source),
    }


def _of_ocr(result: Any) -> Iterator[Found]:
    for invoice in result["invoices"] if result else ():
        details = invoice["details"]
        yield {
            "invoice_kind": invoice["kind"],
            **_of_invoice(details),
            "amount_excluding_tax": _amount(details["pretax_amount"]),
            **_of_ledger(invoice),
        }


def _of_verify(result: Any) -> Iterator[Found]:
    for invoice in result["invoices"] if result else ():
        form = invoice["form"]
        yield {
            "invoice_kind": invoice["kind"],
            **_of_invoice(form),
            "currency": form["currency"],
            "amount_excluding_tax": _amount(form["amount_excluding_tax"]),
            "deductible_tax": _amount(form["deductible_tax"]),
            "verified_id": invoice["id"],
            "usable": invoice["usable"],
            "is_used": invoice["is_used"],
            "message": invoice["message"],
            **_of_ledger(invoice),
        }


def _of_invoice(values: dict[str, Any]) -> Found:
    """Return the values that all invoice kinds have, and the tax, tax IDs and check code that some have."""
    return {
        "invoice_code": values["code"],
        "invoice_number": values["number"],
        "invoice_date": date.fromisoformat(values["date"]) if values["date"] else None,
        "total": _amount(values["total"]),
        "seller": values["seller"],
        "buyer": values["buyer"],
        "tax": _amount(values.get("tax")),
        "seller_tax_id": values.get("seller_tax_id"),
        "buyer_tax_id": values.get("buyer_tax_id"),
        "check_code": values.get("check_code"),
    }


def _of_check(result: Any) -> Iterator[Found]:
    if result:
        yield {
            "invoice_kind": result["kind"],
            **_of_invoice(result),
            "currency": result["currency"],
            "amount_excluding_tax": _amount(result["pretax_amount"]),
            "is_verified": result["is_verified"],
            **_of_ledger(result),
        }


def _unanswered(task: Task) -> list[Found]:
    """Return what a row names by its fields and what its file says of itself, as long as there is no answer."""
    printed = _of_printed(task.printed) if task.printed and task.kind in PAID else [{}]
    fields = _of_fields(task.fields)
    return [fields | _stated(found) | _stated(fields) for found in printed]


def _stated(values: Found) -> Found:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _of_printed(printed: dict[str, Any]) -> list[Found]:
    """Return the invoices that a file names; the parties of several are not told apart."""
    parties: Found = {name: printed.get(name) for name in ("seller", "buyer", "buyer_tax_id")}
    identities = printed.get("invoices") or [""]
    names = ("date", "net", "tax", "total")
    values = [_each_of(printed.get(name) or "", len(identities)) for name in names]
    return [
        parties
        | _named(identity)
        | {
            "invoice_date": date.fromisoformat(day) if day else None,
            "amount_excluding_tax": _amount(net or None),
            "tax": _amount(tax or None),
            "total": _amount(total or None),
        }
        for identity, day, net, tax, total in zip(identities, *values, strict=True)
    ]


def _each_of(joined: str, count: int) -> list[str]:
    """Return the values of so many invoices, which have `+` between them; "" for each if they are not known."""
    values = joined.split("+")
    return values if len(values) == count else [""] * count


def _named(identity: str) -> Found:
    code, _, number = identity.rpartition("-")
    return {"invoice_code": code, "invoice_number": number}


def _of_ledger(invoice: dict[str, Any]) -> Found:
    """Return what only an answer from the ledger has."""
    return {name: invoice[name] for name in ("document_id", "is_verified") if name in invoice}


def _of_fields(fields: dict[str, str] | None) -> Found:
    """Return the values of an invoice that a row names by its fields."""
    if fields is None:
        return {}
    return {
        "invoice_code": fields["code"],
        "invoice_number": fields["number"],
        "invoice_date": date.fromisoformat(fields["date"]),
        "check_code": fields["check_code"],
    }


def _of_url(result: Any) -> Iterator[Found]:
    yield {"url": _text(result, "url"), "url_file_name": _text(result, "file_name")}


def _of_detail(result: Any) -> Iterator[Found]:
    yield {"detail_lines": None if result is None else len(result)}


def _of_download(result: Any) -> Iterator[Found]:
    yield {"path": _text(result, "path")}


def _text(result: Any, name: str) -> str | None:
    """Return a text of a result, None if it has none: these results are stored as they are shown, and not validated."""
    value = result.get(name) if isinstance(result, dict) else None
    return value if isinstance(value, str) else None


def _amount(digits: str | None) -> Decimal | None:
    return None if digits is None else Decimal(digits)


_FOUND: dict[str, Callable[[Any], Iterator[Found]]] = {
    "ocr": _of_ocr,
    "verify": _of_verify,
    "verify_by_id": _of_check,
    "verify_by_fields": _of_check,
    "url": _of_url,
    "detail": _of_detail,
    "download": _of_download,
}
