"""What the tax authority's check by fields (四要素验真) asks for, by the kind of an invoice."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from ekb_async.einvoice.model import IDENTIFYING, EInvoice
from ekb_async.models.kinds import InvoiceKind

_LAST_OF_CHECK_CODE = 6
_LAST_OF_BLOCK_CHAIN = 5
_BY_CHECK_CODE = {
    *(InvoiceKind.VAT_NORMAL, InvoiceKind.VAT_NORMAL_ELECTRONIC),
    *(InvoiceKind.VAT_ROLL, InvoiceKind.VAT_TOLL),
}
_BY_AMOUNT = {
    *(InvoiceKind.VAT_SPECIAL, InvoiceKind.VAT_SPECIAL_ELECTRONIC),
    InvoiceKind.MOTOR_VEHICLE_SALE,
}


class CheckFields(NamedTuple):
    """The arguments of `verify_by_fields`; "" where a kind of invoice needs none."""

    code: str
    number: str
    date: str
    """As yyyymmdd."""
    amount: str
    """In yuan, plain decimals."""
    check_code: str


def check_fields(invoice: EInvoice) -> CheckFields | None:
    """Return what `verify_by_fields` needs for an invoice; None if that is missing, in conflict or not certain.

    A digital invoice needs its total, an older one its check code (普票), amount without tax (专票, 机动车), both
    (区块链), or total (二手车).
    """
    if not invoice.is_certain or invoice.conflicts.keys() & IDENTIFYING or invoice.date is None:
        return None
    code, _, number = (invoice.identity or "").rpartition("-")
    needed = (_plain(invoice.total), "") if not code else _of_older(invoice)
    if None in needed:
        return None
    amount, check_code = needed
    return CheckFields(code, number, f"{invoice.date:%Y%m%d}", amount or "", check_code or "")


def _of_older(invoice: EInvoice) -> tuple[str | None, str | None]:
    """Return the amount and the check code of an invoice with a code; None for what is missing."""
    if invoice.kind in _BY_CHECK_CODE:
        return "", _end(invoice.check_code, _LAST_OF_CHECK_CODE)
    if invoice.kind in _BY_AMOUNT:
        return _plain(invoice.amount_excluding_tax), ""
    if invoice.kind is InvoiceKind.BLOCKCHAIN:
        return _plain(invoice.amount_excluding_tax), _end(invoice.check_code, _LAST_OF_BLOCK_CHAIN)
    return (_plain(invoice.total) if invoice.kind is InvoiceKind.USED_VEHICLE_SALE else None), ""


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _end(check_code: str | None, count: int) -> str | None:
    return check_code[-count:] if check_code and len(check_code) >= count else None
