"""Invoices of the vendor's ledger (发票主体), from `/api/openapi/v2/extension/INVOICE/object/{objectId}/search`.

An entry is flat: the fields of the form stand beside those of the record, and beside a schema that is skipped.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec
from msgspec import Raw

from ekb_async.models.forms import FORMS, InvoiceForm, UnknownInvoiceForm, VatInvoiceForm
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.envelope import json_of
from ekb_async.models.wire.fields import flag, moment, negated, text
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import Source
from ekb_async.models.wire.wire_structs import wire_of, wire_type

OBJECTS = (
    *("invoice", "train", "taxi", "flightItinerary", "tolls", "machinePrint", "passengerCar", "fixed", "medical"),
    *("shopping", "noTaxIncome", "other", "overseasInvoice"),
)
"""The parts of the ledger (`objectId`), those first that hold most invoices in general."""


class LedgerInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice of the enterprise, with its data in `form`."""

    object_id: str = ""
    """业务对象. The vendor's word for the part of the ledger that it is in, such as `train`."""
    _form: InvoiceForm | None = None

    shown: ClassVar = ("id", "kind", "is_used", "form")
    derived: ClassVar = ("kind", "form", "object_id")

    id = text("id")
    """发票ID."""
    entity_id = text("entityId")
    """发票种类. The vendor's name of the kind, such as `system_火车票`."""
    is_used = negated("active")
    """是否已使用. Whether the invoice is linked to a document; the opposite of the vendor's `active`."""
    is_verified = flag("E_system_发票主体_验真")
    """验真. Whether the tax authority has confirmed it; None for kinds that are not verified."""
    document_id = text("flowId")
    """单据ID. ID of the document that it is linked to."""
    created_at = moment("createTime")
    """创建时间."""
    updated_at = moment("updateTime")
    """更新时间."""
    master_id = text("masterId")

    @property
    def form(self) -> InvoiceForm:
        """发票主体数据. The data of the invoice, in the class of its kind."""
        form = self._form
        if form is None:
            kind = FORMS.get(self.entity_id or "", UnknownInvoiceForm)
            form = kind(wire_of(_FORM, json_of(self.raw)), self._source, self._path)
            msgspec.structs.force_setattr(self, "_form", form)
        return form

    @property
    def kind(self) -> InvoiceKind:
        """发票种类. The kind of `entity_id`, or else of `object_id`; of a VAT invoice, the kind of its category."""
        category = self.form.category if isinstance(self.form, VatInvoiceForm) else None
        kind = InvoiceKind.of_entity(self.entity_id, category)
        return InvoiceKind(self.object_id) if kind is InvoiceKind.UNKNOWN else kind

    @classmethod
    def in_object(cls, object_id: str, wire: Any, source: Source, index: int) -> Self:
        """Return the invoice of an entry in the reply about one part of the ledger."""
        return cls(wire, source, (index,), object_id=object_id)

    @classmethod
    def from_part(cls, object_id: str, raw: bytes) -> Self:
        """Return the invoice of an entry that was kept with the name of its part of the ledger."""
        return cls._restored(raw, object_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restored, (self.raw, self.object_id)

    @classmethod
    def _restored(cls, raw: bytes, object_id: str) -> Self:
        return cls(wire_of(wire_type(cls), Raw(raw)), Source(Raw(raw)), object_id=object_id)


_FORM: Any = wire_type(InvoiceForm)
