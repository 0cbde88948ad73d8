"""What OCR recognised, from `/api/openapi/v2/invoice/processImageByFileUrl`.

Amounts are plain texts here, without a currency. The vendor shows the details of a value-added-tax invoice only; what
other kinds have besides is in `raw`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from msgspec import Raw

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.envelope import MOST_ENTRIES, check_count
from ekb_async.models.wire.fields import angle, box, day, flag, money, text
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import JsonPath, Source, in_invoices
from ekb_async.models.wire.wire_structs import value_reader, wire_of, wire_type


class OcrDetails(Model, frozen=True, eq=False):
    """The texts read from an invoice."""

    shown: ClassVar = ("code", "number", "date", "seller", "total")
    deferring: ClassVar = True

    code = text("code")
    number = text("number")
    date = day("date")
    pretax_amount = money("pretax_amount")
    tax = money("tax")
    total = money("total")
    """价税合计, tax included."""
    total_in_words = text("total_cn")
    """The total in Chinese capital numerals."""
    check_code = text("check_code")
    seller = text("seller")
    seller_tax_id = text("seller_tax_id")
    seller_address_phone = text("seller_addr_tel")
    seller_bank_account = text("seller_bank_account")
    buyer = text("buyer")
    buyer_tax_id = text("buyer_tax_id")
    title = text("title")
    form_type = text("form_type")
    """Which copy of the invoice, such as 第二联."""
    form_name = text("form_name")
    """What that copy is for, such as 抵扣联."""
    consumption_type = text("kind")
    """发票消费类型, such as 通讯."""
    service_name = text("service_name")
    item_names = text("item_names")
    """项目名称 of all lines, separated by commas."""
    remark = text("remark")
    ciphertext = text("ciphertext")
    """密码区 of a paper invoice."""
    printed_number = text("number_confirm")
    """The number as printed by the press, to compare with `number`."""
    payee = text("receiptor")
    """收款人, who took the money."""
    reviewer = text("reviewer")
    issuer = text("issuer")
    producer_stamp = text("producer_stamp")
    """监制单位, the authority named in the printed stamp."""
    has_company_seal = flag("company_seal")
    is_blockchain = flag("block_chain")
    is_electronic = flag("electronic_mark")


class OcrInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice found on the image."""

    details: OcrDetails

    shown: ClassVar = ("kind", "details")
    derived: ClassVar = ("kind", "details")
    parts: ClassVar = {"details": OcrDetails}

    type = text("type")
    """The vendor's code, such as `10100`."""
    orientation = angle("orientation")
    region = box("region")

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls._of(wire_of(wire_type(cls), raw), Source(raw), ())

    @classmethod
    def _of(cls, wire: Any, source: Source, place: JsonPath) -> Self:
        details = OcrDetails(wire.details or wire_type(OcrDetails)(), source, (*place, "details"))
        return cls(wire, source, place, details=details)

    @property
    def kind(self) -> InvoiceKind:
        """The kind that `type` stands for, two of the codes together with a flag of the details."""
        details = self.details
        return InvoiceKind.of_ocr(self.type, electronic=details.is_electronic, blockchain=details.is_blockchain)


class OcrResult(Model, frozen=True, eq=False, kw_only=True):
    """All invoices found on one image or PDF."""

    invoices: list[OcrInvoice]

    shown: ClassVar = ("platform", "invoices")
    derived: ClassVar = ("invoices",)
    parts: ClassVar = {"invoices": list[OcrInvoice]}

    platform = text("platform")
    """Who did the OCR."""
    is_express_image = flag("isExpressImage")

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        wire, source = _read(raw), Source(raw, in_invoices)
        listed = wire.invoices or ()
        if len(listed) > MOST_ENTRIES:
            check_count(listed)
        invoices = [OcrInvoice._of(each, source, (index,)) for index, each in enumerate(listed)]
        return cls(wire, source, invoices=invoices)


_read = value_reader(wire_type(OcrResult), in_invoices)
