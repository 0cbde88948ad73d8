"""The invoices linked to a document, from `/api/openapi/v2/extension/flow/INVOICE/search`."""

from __future__ import annotations

from typing import ClassVar

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.fields import text, texts
from ekb_async.models.wire.model import Model


class InvoiceRef(Model, frozen=True, eq=False):
    """One linked invoice: its ID, and those of the lines that are linked."""

    shown: ClassVar = ("invoice_id", "item_ids", "type")
    derived: ClassVar = ("kind",)

    invoice_id = text("invoiceId")
    item_ids = texts("invoiceItemId")
    type = text("invoiceType")
    """The vendor's word for the sort of invoice."""

    @property
    def kind(self) -> InvoiceKind:
        """The kind that `type` stands for."""
        return InvoiceKind(self.type or "")
