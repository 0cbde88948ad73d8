"""Invoices linked to a document, from `/api/openapi/v2/extension/flow/INVOICE/search`."""

from __future__ import annotations

from typing import ClassVar

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.fields import text, texts
from ekb_async.models.wire.model import Model


class InvoiceRef(Model, frozen=True, eq=False):
    """One linked invoice: its ID, and the IDs of its linked lines."""

    shown: ClassVar = ("invoice_id", "item_ids", "type")
    derived: ClassVar = ("kind",)

    invoice_id = text("invoiceId")
    """发票ID."""
    item_ids = texts("invoiceItemId")
    """发票明细ID. IDs of the linked lines."""
    type = text("invoiceType")
    """The vendor's word for the kind, such as `train`."""

    @property
    def kind(self) -> InvoiceKind:
        """The kind of `type`."""
        return InvoiceKind(self.type or "")
