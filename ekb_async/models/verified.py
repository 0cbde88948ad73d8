"""Recognised and verified invoices, from `/api/openapi/v2/invoice/multiple_items`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec
from msgspec import Raw

from ekb_async.models.details import InvoiceDetail
from ekb_async.models.forms import FORMS, InvoiceForm, UnknownInvoiceForm, VatInvoiceForm
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import MISSING
from ekb_async.models.wire.fields import WireField, flag, moment, negated, text, whole
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import JsonPath, Source, in_items
from ekb_async.models.wire.wire_structs import items_reader, override, wire_of, wire_struct, wire_type

_BESIDE = ("message", "status", "ischeck", "details")
"""Wire fields that stand beside `master`; the others stand in it."""


class VerifiedInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice of an image: what it says in `form`, its lines in `details`, and whether it may be used."""

    form: InvoiceForm
    _lines: list[InvoiceDetail] | None = None

    shown: ClassVar = ("id", "kind", "usable", "message", "form")
    derived: ClassVar = ("kind", "form", "details")
    parts: ClassVar = {"form": InvoiceForm, "details": Raw, "master": Raw}

    id = text("id")
    entity_id = text("entityId")
    """The invoice kind in the vendor's words, such as `system_火车票`."""
    usable = flag("ischeck")
    """Whether it may be put on a document; if not, `message` says why."""
    message = WireField("message", coerce.message)
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
    def way_to(cls, wire: str) -> str:
        return wire if wire in _BESIDE else f"master.{wire}"

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls._of(_read_item(raw), Source(raw), ())

    @classmethod
    def _of(cls, wire: Any, source: Source, place: JsonPath) -> Self:
        master = wire.master
        form = FORMS.get(master.entityId or "", UnknownInvoiceForm)
        at_form = (*place, "form") if wire.form else (*place, "master", "form")
        return cls(wire, source, place, form=form(master.form or _FORM(), source, at_form))

    @property
    def details(self) -> list[InvoiceDetail]:
        """Its lines; only value-added-tax invoices have any, and only those that are not linked to a document yet."""
        lines = self._lines
        if lines is None:
            lines = InvoiceDetail._all_in(self._wire.details)
            msgspec.structs.force_setattr(self, "_lines", lines)
        return lines

    @property
    def kind(self) -> InvoiceKind:
        """The kind that `entity_id` stands for; a value-added-tax invoice's by its category."""
        category = self.form.category if isinstance(self.form, VatInvoiceForm) else None
        return InvoiceKind.of_entity(self.entity_id, category)


_FORM: Any = wire_type(InvoiceForm)
_MASTER: Any = wire_type(VerifiedInvoice)


def _item_type() -> Any:
    """An entry of the reply with each wire field where it is documented. A field anywhere else is odd."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(_MASTER) if field.name != "master"}
    inside = wire_struct("Master", {name: None if name in _BESIDE else kind for name, kind in kinds.items()}, [])
    beside = {name: kind if name in _BESIDE else None for name, kind in kinds.items() if name != "details"}
    parts = [("master", inside, msgspec.field(default_factory=inside)), ("details", Raw, MISSING)]
    return wire_struct("VerifiedItem", beside, parts)


_ITEM = _item_type()


def _read_item(raw: Raw) -> Any:
    """An entry of any shape: a field may stand beside `master` or in it."""
    beside = wire_of(_MASTER, raw)
    master = wire_of(_MASTER, beside.master)
    override(master, beside, _MASTER.__struct_fields__)
    item = _ITEM(master=master, form=beside.form)
    override(item, master, _BESIDE)
    return item


_read = items_reader(_ITEM, _read_item)


class VerifyResult(Model, frozen=True, eq=False, kw_only=True):
    """All invoices of one image or PDF; there may be several."""

    invoices: list[VerifiedInvoice]

    shown: ClassVar = ("invoices",)
    derived: ClassVar = ("invoices",)

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        source = Source(raw, in_items)
        invoices = [VerifiedInvoice._of(wire, source, (index,)) for index, wire in enumerate(_read(raw))]
        return cls(None, source, invoices=invoices)
