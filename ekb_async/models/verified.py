"""Recognised and verified invoices, from `/api/openapi/v2/invoice/multiple_items`."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

from msgspec import Raw

from ekb_async.models import readings
from ekb_async.models.details import InvoiceDetail
from ekb_async.models.envelope import entries, required_list
from ekb_async.models.forms import FORMS, InvoiceForm, UnknownInvoiceForm, VatInvoiceForm
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.model import Field, Model, fill, flag, moment, negated, text, whole, wire_of


class VerifiedInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice of an image: what it says in `form`, its lines in `details`, and whether it may be used."""

    form: InvoiceForm
    details: list[InvoiceDetail]

    shown: ClassVar = ("id", "kind", "usable", "message", "form")
    derived: ClassVar = ("kind", "form", "details")
    parts: ClassVar = ("master", "form", "details")

    id = text("id")
    entity_id = text("entityId")
    """The invoice kind in the vendor's words, such as `system_火车票`."""
    usable = flag("ischeck")
    """Whether it may be put on a document; if not, `message` says why."""
    message = Field("message", readings.message)
    """What the vendor says about its use, as plain text."""
    status = text("status")
    """Whether it may be edited, such as `NO_RESULT`."""
    is_used = negated("active")
    """Whether it is linked to a document already."""
    created_at = moment("createTime")
    updated_at = moment("updateTime")
    name = text("name")
    record_code = text("code")
    """The vendor's key of the record; the invoice's own code is `form.code`."""
    corporation_id = text("corporationId")
    owner_id = text("ownerId")
    operator_id = text("operatorId")
    use_count = whole("useCount")
    total_count = whole("totalCount")
    source = text("source")

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        wire = wire_of(cls, raw)
        fill(wire, wire_of(cls, wire.master))
        form = FORMS.get(readings.text(wire.entityId) or "", UnknownInvoiceForm)
        lines = [InvoiceDetail._from(line) for line in entries(wire.details)]
        return cls(wire, partial(bytes, raw), form=form._from(wire.form), details=lines)

    @property
    def kind(self) -> InvoiceKind:
        """The kind that `entity_id` stands for; a value-added-tax invoice's by its category."""
        category = self.form.category if isinstance(self.form, VatInvoiceForm) else None
        return InvoiceKind.of_entity(self.entity_id, category)


class VerifyResult(Model, frozen=True, eq=False, kw_only=True):
    """All invoices of one image or PDF; there may be several."""

    invoices: list[VerifiedInvoice]

    shown: ClassVar = ("invoices",)
    derived: ClassVar = ("invoices",)

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        found = [VerifiedInvoice._from(item) for item in required_list(raw, "items")]
        return cls(wire_of(cls, raw), partial(bytes, raw), invoices=found)
