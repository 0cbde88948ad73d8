"""Answers that a run takes from the vendor's ledger instead of a billed call.

The entries of the ledger are stored as they are. They are shown in the shape of the call's own answer, with None for
what the ledger does not have, and with `document_id` and `is_verified` for each invoice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from ekb_async.backlog.input.rows.kinds import CHECKS
from ekb_async.models import CheckedInvoice, LedgerInvoice, OcrInvoice, OcrResult, VerifiedInvoice
from ekb_async.models.ocr import OcrDetails

SOURCE = "ledger"
"""The source of such an answer, see `CallResult`."""
_USED = "a document uses it, according to the ledger"


class LedgerAnswer(NamedTuple):
    """The invoices of a call, as the ledger has them; at least one."""

    invoices: tuple[LedgerInvoice, ...]


class LedgerEntry(msgspec.Struct, frozen=True):
    """An entry as it is stored, and the part of the ledger that it is in."""

    object_id: str
    raw: Raw


class StoredEntries(msgspec.Struct, frozen=True):
    """What is stored of an answer."""

    ledger: list[LedgerEntry]


def stored_invoices(stored: bytes) -> list[LedgerInvoice]:
    """Return the invoices of stored entries. Raises as `show_entries` does."""
    entries = msgspec.json.decode(stored, type=StoredEntries).ledger
    return [LedgerInvoice.from_part(entry.object_id, bytes(entry.raw)) for entry in entries]


def verdict(*, is_verified: bool | None, is_used: bool | None) -> tuple[bool, str]:
    """Return whether an invoice of the ledger is usable, and the reason if a document uses it already."""
    return is_verified is True and is_used is False, _USED if is_used else ""


def show_entries(kind: str, stored: bytes) -> dict[str, Any]:
    """Return stored entries in the shape of an answer to a call of this kind.

    Raises `msgspec.DecodeError` or `ResponseError` if they cannot be read.
    """
    invoices = [each.to_dict() for each in stored_invoices(stored)]
    if kind in CHECKS:
        return _as_checked(invoices[0])
    if kind == "ocr":
        return {**dict.fromkeys(OcrResult.value_names()), "invoices": [_as_recognised(each) for each in invoices]}
    return {"invoices": [_as_verified(each) for each in invoices]}


def _as_verified(invoice: Mapping[str, Any]) -> dict[str, Any]:
    usable, message = verdict(is_verified=invoice["is_verified"], is_used=invoice["is_used"])
    return {
        **dict.fromkeys(VerifiedInvoice.value_names()),
        **invoice,
        "usable": usable,
        "message": message,
        "details": [],
    }


def _as_recognised(invoice: Mapping[str, Any]) -> dict[str, Any]:
    details = {name: value for name, value in _printed(invoice).items() if name in OcrDetails.value_names()}
    return {
        **dict.fromkeys(OcrInvoice.value_names()),
        **_of_ledger(invoice),
        "details": dict.fromkeys(OcrDetails.value_names()) | details,
    }


def _as_checked(invoice: Mapping[str, Any]) -> dict[str, Any]:
    printed = {name: value for name, value in _printed(invoice).items() if name in CheckedInvoice.value_names()}
    return {**dict.fromkeys(CheckedInvoice.value_names()), **printed, **_of_ledger(invoice)}


def _printed(invoice: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is printed on an invoice, under the names that OCR and checks have for it."""
    form = invoice["form"]
    names = ("code", "number", "date", "tax", "total", "currency", "seller", "buyer", "check_code", "remark")
    return {
        **{name: form.get(name) for name in (*names, "seller_tax_id", "buyer_tax_id", "payee", "reviewer", "issuer")},
        "pretax_amount": form.get("amount_excluding_tax"),
    }


def _of_ledger(invoice: Mapping[str, Any]) -> dict[str, Any]:
    return {name: invoice[name] for name in ("id", "kind", "is_used", "is_verified", "document_id")}
