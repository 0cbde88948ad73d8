"""The `invoiceForm` object, which binds verified invoices to an expense item of a document.

The vendor expects the rate in percent and the deductible tax as a JSON number. A value-added-tax invoice has the IDs of
its lines and rate 0, since each line has its own rate; other kinds have a rate and no lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.models.forms import InvoiceForm, VatInvoiceForm
from ekb_async.models.verified import VerifiedInvoice
from ekb_async.models.wire.coerce import YUAN
from ekb_async.models.wire.exact import exactly

_CENT = Decimal("0.01")
_YUAN = {
    "standardUnit": "元",
    "standardScale": 2,
    "standardSymbol": "¥",
    "standardNumCode": "156",
    "standardStrCode": YUAN,
}
_encode = msgspec.json.Encoder(decimal_format="number").encode


class ExpenseInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice of an expense item."""

    invoice_id: str
    """发票ID."""
    tax_rate: Decimal = Decimal(0)
    """发票主体税率 as a fraction; 0 for value-added-tax invoices."""
    deductible_tax: Decimal = Decimal(0)
    """可抵扣税额, in CNY."""
    item_ids: tuple[str, ...] | None = None
    """发票明细ID. IDs of the invoice's lines, None for kinds without lines."""

    def _wire(self) -> dict[str, Any]:
        lines = {} if self.item_ids is None else {"itemIds": self.item_ids}
        return lines | {
            "taxRate": _shortest(self.tax_rate.scaleb(2)),
            "invoiceId": self.invoice_id,
            "taxAmount": {"standard": self.deductible_tax} | _YUAN,
        }


class ExpenseInvoiceForm(msgspec.Struct, frozen=True, kw_only=True):
    """发票信息: the `invoiceForm` of an expense item."""

    type: str = "exist"
    """发票开票类型: `exist` 已有发票, `unify` 统一开票, `wait` 待开发票, `noExist` 无发票 or `noWrite` 无需填写."""
    invoices: tuple[ExpenseInvoice, ...] = ()
    """发票关联信息."""

    @exactly
    def encode(self) -> bytes:
        """Return the documented JSON object, to be put at `feeTypeForm.invoiceForm`."""
        return _encode({"type": self.type, "invoices": [invoice._wire() for invoice in self.invoices]})


@exactly
def expense_invoice_form(invoices: VerifiedInvoice | Iterable[VerifiedInvoice]) -> ExpenseInvoiceForm:
    """Return the `invoiceForm` that binds one or several verified invoices to an expense item.

    Raises `ConfigError`, with the invoice and the reason, if the vendor does not allow one to be used, or if one has no
    ID, is given twice, or has amounts that are not in CNY.
    """
    given = [invoices] if isinstance(invoices, VerifiedInvoice) else list(invoices)
    if not given:
        raise ConfigError("invoices: there is none to bind")
    bound: dict[str, ExpenseInvoice] = {}
    for invoice in given:
        entry = _bind(invoice)
        if entry.invoice_id in bound:
            raise ConfigError(f"invoices: {entry.invoice_id} is given twice")
        bound[entry.invoice_id] = entry
    return ExpenseInvoiceForm(invoices=tuple(bound.values()))


def _bind(invoice: VerifiedInvoice) -> ExpenseInvoice:
    if not invoice.id:
        raise ConfigError(f"invoices: {invoice!r} has no ID")
    if not invoice.usable:
        raise ConfigError(
            f"invoices: {invoice.id} cannot be used: {invoice.message or 'the vendor does not say it can'}"
        )
    form = invoice.form
    foreign = form.currencies.union(*(line.currencies for line in invoice.details)) - {YUAN}
    if foreign:
        raise ConfigError(f"invoices: {invoice.id} has amounts in {', '.join(sorted(foreign))}, not in CNY")
    if isinstance(form, VatInvoiceForm):
        lines = tuple(line.id for line in invoice.details if line.id)
        return ExpenseInvoice(invoice_id=invoice.id, item_ids=lines, deductible_tax=_vat_deductible(invoice, form))
    rate = form.tax_rate or Decimal(0)
    return ExpenseInvoice(invoice_id=invoice.id, tax_rate=rate, deductible_tax=_deductible(form, rate))


def _vat_deductible(invoice: VerifiedInvoice, form: VatInvoiceForm) -> Decimal:
    if form.is_deductible is False:
        return Decimal(0)
    if form.deductible_tax is not None:
        return form.deductible_tax
    if not form.is_deductible:
        return Decimal(0)
    return form.tax if form.tax is not None else sum((line.tax or Decimal(0) for line in invoice.details), Decimal(0))


def _deductible(form: InvoiceForm, rate: Decimal) -> Decimal:
    """Return the vendor's own figure, else amount x rate, with the amount excluding tax (the total includes it)."""
    if form.is_deductible is False:
        return Decimal(0)
    if form.deductible_tax is not None:
        return form.deductible_tax
    base = form.amount_excluding_tax
    if base is None:
        base = (form.total or Decimal(0)) / (1 + rate)
    return (base * rate).quantize(_CENT, ROUND_HALF_UP)


def _shortest(value: Decimal) -> int | Decimal:
    return int(value) if value == value.to_integral_value() else value.normalize()
