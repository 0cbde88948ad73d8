"""Results of OCR (发票OCR识别), from `/api/openapi/v2/invoice/processImageByFileUrl`.

The vendor sends amounts as plain texts without a currency. It documents the details of value-added-tax invoices only;
further fields of other kinds are in `raw`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from msgspec import Raw

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.envelope import check_count
from ekb_async.models.wire.fields import angle, box, day, flag, money, text
from ekb_async.models.wire.limits import LIMITS
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import JsonPath, Source, in_invoices
from ekb_async.models.wire.wire_structs import value_reader, wire_of, wire_type

_MAX_ENTRIES = LIMITS.max_list_entries
_DETAILS: JsonPath = ("details",)


class OcrDetails(Model, frozen=True, eq=False):
    """The texts read from an invoice."""

    shown: ClassVar = ("code", "number", "date", "seller", "total")
    deferring: ClassVar = True

    code = text("code")
    """发票代码."""
    number = text("number")
    """发票号码."""
    date = day("date")
    """开票日期."""
    pretax_amount = money("pretax_amount")
    """税前金额, excluding tax."""
    tax = money("tax")
    """税额."""
    total = money("total")
    """总金额 (价税合计), including tax."""
    total_in_words = text("total_cn")
    """价税合计（大写）. The total in Chinese capital numerals."""
    check_code = text("check_code")
    """校验码."""
    seller = text("seller")
    """销售方名称."""
    seller_tax_id = text("seller_tax_id")
    """销售单位纳税人识别号."""
    seller_address_phone = text("seller_addr_tel")
    """销售方地址电话."""
    seller_bank_account = text("seller_bank_account")
    """销售方开户行及账号."""
    buyer = text("buyer")
    """购买方名称."""
    buyer_tax_id = text("buyer_tax_id")
    """购买方纳税人识别号."""
    title = text("title")
    form_type = text("form_type")
    """发票是第几联. Number of this copy of the invoice, such as 第二联."""
    form_name = text("form_name")
    """发票联次. Purpose of this copy, such as 抵扣联."""
    consumption_type = text("kind")
    """发票消费类型, such as 通讯."""
    service_name = text("service_name")
    """服务类型."""
    item_names = text("item_names")
    """项目名称 of all lines, separated by commas."""
    remark = text("remark")
    """备注."""
    ciphertext = text("ciphertext")
    """密码区. Its four lines, separated by commas."""
    printed_number = text("number_confirm")
    """印刷体号码. Number as printed on the paper, to compare with `number`."""
    payee = text("receiptor")
    """收款人."""
    reviewer = text("reviewer")
    """复核人."""
    issuer = text("issuer")
    """开票人."""
    producer_stamp = text("producer_stamp")
    """监制单位. Authority named in the printed stamp."""
    has_company_seal = flag("company_seal")
    """是否有公司印章."""
    is_blockchain = flag("block_chain")
    """区块链标识."""
    is_electronic = flag("electronic_mark")
    """是否电子票."""


class OcrInvoice(Model, frozen=True, eq=False, kw_only=True):
    """One invoice found on the image."""

    details: OcrDetails

    shown: ClassVar = ("kind", "details")
    derived: ClassVar = ("kind", "details")
    parts: ClassVar = {"details": OcrDetails}

    type = text("type")
    """发票类型. The vendor's code of the kind, such as `10100`."""
    orientation = angle("orientation")
    """方向. Degrees by which the invoice is rotated on the image."""
    region = box("region")
    """识别范围. Left, top, right, bottom on the image, in pixels."""

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls._of(wire_of(wire_type(cls), raw), Source(raw), ())

    @classmethod
    def _of(cls, wire: Any, source: Source, path: JsonPath) -> Self:
        details = OcrDetails(wire.details or wire_type(OcrDetails)(), source, path + _DETAILS)
        return cls(wire, source, path, details=details)

    @property
    def kind(self) -> InvoiceKind:
        """发票类型. The kind of `type`; for two of the codes it depends on a flag in `details`."""
        details = self.details
        return InvoiceKind.of_ocr(self.type, electronic=details.is_electronic, blockchain=details.is_blockchain)


class OcrResult(Model, frozen=True, eq=False, kw_only=True):
    """All invoices found on one image or PDF."""

    invoices: list[OcrInvoice]

    shown: ClassVar = ("platform", "invoices")
    derived: ClassVar = ("invoices",)
    parts: ClassVar = {"invoices": list[OcrInvoice]}

    platform = text("platform")
    """OCR服务平台. The provider of the OCR service, such as `ruiqi`."""
    is_express_image = flag("isExpressImage")

    @classmethod
    def _from(cls, raw: bytes | Raw) -> Self:
        wire, source = _read(raw), Source(raw, in_invoices)
        listed = wire.invoices or ()
        if len(listed) > _MAX_ENTRIES:
            check_count(listed)
        # A loop, as in `Model._all`.
        invoices: list[OcrInvoice] = []
        for each in listed:
            invoices.append(OcrInvoice._of(each, source, (len(invoices),)))
        return cls(wire, source, invoices=invoices)


_read = value_reader(wire_type(OcrResult), in_invoices)
