"""An invoice checked with the tax authority, by its ID (发票ID验真) or by its printed fields (四要素验真).

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
    """The data that the tax authority has of an invoice."""

    shown: ClassVar = ("kind", "code", "number", "date", "seller", "total", "is_verified")
    derived: ClassVar = ("currency", "kind")

    type = text("invtype")
    """The vendor's word for the kind."""
    code = text("invcode")
    number = text("invno")
    date = day("invdate")
    pretax_amount = money("invamt")
    tax = money("invtaxamt")
    total = money("invsumamt")
    seller = text("payee")
    """Name of the seller; `payee` on the wire."""
    seller_tax_id = text("payeetaxno")
    buyer = text("payer")
    """Name of the buyer; `payer` on the wire."""
    buyer_tax_id = text("payertaxno")
    status = text("status")
    """`UNLOCK`, `LOCK` or `FINISH`."""
    verify_status = text("verify")
    """State of the verification, such as `DONE`."""
    is_verified = flag("invoiceVerify")
    item_data = _embedded("itemdata")
    """The lines, decoded from the JSON inside the vendor's text; None if it is not JSON."""
    raw_data = _embedded("rawdata")
    """The provider's own answer, decoded in the same way."""

    @property
    def kind(self) -> InvoiceKind:
        """The kind of `type`, which may be a category, a code or a Chinese name."""
        return InvoiceKind(self.type or "")

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        return cls(_read(raw), Source(raw))


_read = value_reader(wire_type(CheckedInvoice))
