"""An invoice that the tax authority was asked for, by its ID or by its printed fields.

From `/api/openapi/v2/invoice/validateByInvoiceId` and `/api/openapi/v2/invoice/validate`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from msgspec import Raw

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.envelope import value_of
from ekb_async.models.wire.fields import WireField, day, flag, money, text
from ekb_async.models.wire.model import MonetaryModel
from ekb_async.models.wire.source import Source
from ekb_async.models.wire.wire_structs import value_reader, wire_type


def _embedded(wire: str) -> WireField[Any]:
    return WireField(wire, lambda value: value_of(value) if isinstance(value, str) else value)


class CheckedInvoice(MonetaryModel, frozen=True, eq=False):
    """The invoice as the tax authority knows it."""

    shown: ClassVar = ("kind", "code", "number", "date", "seller", "total", "is_verified")
    derived: ClassVar = ("currency", "kind")

    type = text("invtype")
    """The vendor's word for the sort of invoice."""
    code = text("invcode")
    number = text("invno")
    date = day("invdate")
    pretax_amount = money("invamt")
    tax = money("invtaxamt")
    total = money("invsumamt")
    seller = text("payee")
    """Who is paid; `payee` on the wire."""
    seller_tax_id = text("payeetaxno")
    buyer = text("payer")
    """Who pays; `payer` on the wire."""
    buyer_tax_id = text("payertaxno")
    status = text("status")
    """`UNLOCK`, `LOCK` or `FINISH`."""
    verify_status = text("verify")
    """How far verification is, such as `DONE`."""
    is_verified = flag("invoiceVerify")
    item_data = _embedded("itemdata")
    """The lines, decoded from the JSON that the vendor puts into a text; None if it is none."""
    raw_data = _embedded("rawdata")
    """The provider's own answer, decoded likewise."""

    @property
    def kind(self) -> InvoiceKind:
        """The kind that `type` stands for, be it a category, a code or a name."""
        return InvoiceKind(self.type or "")

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        return cls(_read(raw), Source(raw))


_read = value_reader(wire_type(CheckedInvoice))
