"""Recognised and verified invoices (发票OCR识别+验真), from `/api/openapi/v2/invoice/multiple_items`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Raw

from ekb_async.models.details import InvoiceDetail
from ekb_async.models.forms import FORMS, InvoiceForm, UnknownInvoiceForm, VatInvoiceForm
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import MISSING
from ekb_async.models.wire.fields import MONEY, WireField, fields_of, flag, moment, negated, text, whole
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import JsonPath, Source, in_items
from ekb_async.models.wire.wire_structs import items_reader, override, wire_of, wire_struct, wire_type

_BESIDE = ("message", "status", "ischeck", "details")
"""Wire fields next to `master`; the others are inside it."""
_FORM_IN_MASTER: JsonPath = ("master", "form")
_FORM_BESIDE_MASTER: JsonPath = ("form",)


class VerifiedInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice of an image: its data in `form`, its lines in `details`, and whether it may be used."""

    form: InvoiceForm
    """发票主体数据. The data of the invoice, in the class of its kind."""
    _lines: list[InvoiceDetail] | None = None

    shown: ClassVar = ("id", "kind", "usable", "message", "form")
    derived: ClassVar = ("kind", "form", "details")
    parts: ClassVar = {"form": InvoiceForm, "details": Raw, "master": Raw}

    id = text("id")
    """发票ID."""
    entity_id = text("entityId")
    """发票种类. The vendor's name of the kind, such as `system_火车票`."""
    usable = flag("ischeck")
    """是否可以使用. Whether the invoice may be put on a document; if not, `message` has the reason."""
    message = WireField("message", coerce.message)
    """使用提示信息. The vendor's remark on the use of the invoice, as plain text."""
    status = text("status")
    """是否可以被编辑的状态, such as `NO_RESULT`."""
    is_used = negated("active")
    """是否已使用. Whether the invoice is linked to a document already; the opposite of the vendor's `active`."""
    created_at = moment("createTime")
    updated_at = moment("updateTime")
    name = text("name")
    record_code = text("code")
    """Key of the vendor's record; 发票代码 is in `form.code`."""
    corporation_id = text("corporationId")
    owner_id = text("ownerId")
    operator_id = text("operatorId")
    use_count = whole("useCount")
    total_count = whole("totalCount")
    source = text("source")

    @classmethod
    def wire_path(cls, wire: str) -> str:
        return wire if wire in _BESIDE else f"master.{wire}"

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls._of(_read_item(raw), Source(raw), ())

    @classmethod
    def _of(cls, wire: Any, source: Source, path: JsonPath) -> Self:
        master = wire.master
        form = FORMS.get(master.entityId or "", UnknownInvoiceForm)
        form_path = path + (_FORM_BESIDE_MASTER if wire.form else _FORM_IN_MASTER)
        return cls(wire, source, path, form=form(master.form or _FORM(), source, form_path))

    @property
    def details(self) -> list[InvoiceDetail]:
        """发票明细数据. The lines; only value-added-tax invoices that are not yet linked to a document have any."""
        lines = self._lines
        if lines is None:
            lines = InvoiceDetail._all_in(self._wire.details)
            msgspec.structs.force_setattr(self, "_lines", lines)
        return lines

    @property
    def kind(self) -> InvoiceKind:
        """发票种类. The kind of `entity_id`; of a value-added-tax invoice, the kind of its category."""
        category = self.form.category if isinstance(self.form, VatInvoiceForm) else None
        return InvoiceKind.of_entity(self.entity_id, category)


_FORM: Any = wire_type(InvoiceForm)
_MASTER: Any = wire_type(VerifiedInvoice)


def _item_type(only: frozenset[str] | None = None) -> Any:
    """Return the struct of an entry as it is documented; a wire field at the other level fails to decode."""
    declared = wire_type(VerifiedInvoice, only)
    types = {field.name: field.type for field in msgspec.structs.fields(declared) if field.name != "master"}
    inside = wire_struct("Master", {name: None if name in _BESIDE else kind for name, kind in types.items()}, [])
    beside = {name: kind if name in _BESIDE else None for name, kind in types.items() if name != "details"}
    parts = [("master", inside, msgspec.field(default_factory=inside)), ("details", Raw, MISSING)]
    return wire_struct("VerifiedItem", beside, parts)


_ITEM = _item_type()


def _read_item(raw: Raw) -> Any:
    """Read an entry of any shape, with each field next to `master` or inside it."""
    beside = wire_of(_MASTER, raw)
    master = wire_of(_MASTER, beside.master)
    override(master, beside, _MASTER.__struct_fields__)
    item = _ITEM(master=master, form=beside.form)
    override(item, master, _BESIDE)
    return item


_read = items_reader(_ITEM, _read_item)


class VerifyResult(Model, frozen=True, eq=False, kw_only=True):
    """The invoices of one image or PDF, of which there may be several."""

    invoices: list[VerifiedInvoice]
    """发票数据集合."""

    shown: ClassVar = ("invoices",)
    derived: ClassVar = ("invoices",)

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        source = Source(raw, in_items)
        # A loop, as in `Model._all`.
        invoices: list[VerifiedInvoice] = []
        for wire in _read(raw):
            invoices.append(VerifiedInvoice._of(wire, source, (len(invoices),)))
        return cls(None, source, invoices=invoices)


def verify_reader(names: Collection[str]) -> Callable[[bytes], list[VerifiedInvoice]]:
    """Return a reader of replies that decodes only these attributes of invoices and their forms, and the kind.

    It takes half the time of `VerifyResult.from_raw` for a reply, and a third for an attribute. Another attribute may
    not be read, nor may `raw`. The reader raises `ResponseError` if the reply is not as it should be.
    """
    only = {*names, "entity_id", "category_text"}
    if "currency" in only:
        only |= {name for form in FORMS.values() for name, field in fields_of(form).items() if field.wire_type == MONEY}
    read = items_reader(_item_type(frozenset(only)), _read_item)

    def invoices(reply: bytes) -> list[VerifiedInvoice]:
        source = Source(reply, in_items)
        return [VerifiedInvoice._of(wire, source, (index,)) for index, wire in enumerate(read(reply))]

    return invoices
