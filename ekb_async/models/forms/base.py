"""The attributes that the forms of all invoice kinds share.

`master.entityId` names the kind, and the kind determines the wire fields of `master.form`. `total`, `number`, `code`,
`date`, `seller` and `buyer` exist for every kind, so that a report reads them without a case for each; one that the
kind does not have is None.
"""

from __future__ import annotations

from typing import ClassVar

from ekb_async.models.wire.fields import angle, box, day, flag, money, printed, rate, text
from ekb_async.models.wire.model import Model, MonetaryModel


class InvoiceForm(MonetaryModel, frozen=True, eq=False):
    """The common part of the forms of all kinds."""

    entity: ClassVar[str] = ""
    """The `entityId` of the kind."""
    shown: ClassVar = ("code", "number", "date", "seller", "total", "currency")
    deferring: ClassVar = True

    total = money()
    """价税合计 or 金额. Amount paid, including tax."""
    number = text()
    """发票号码."""
    code = text()
    """发票代码. Empty for fully digital invoices, which have none."""
    date = day()
    """发票日期."""
    seller = text()
    """销售方名称."""
    buyer = text()
    """购买方名称."""

    tax_rate = rate("E_税率")
    """税率. Rate of the whole invoice as a fraction; value-added-tax invoices have one per line instead."""
    tax_rate_text = printed("E_税率")
    """税率. Rate of the whole invoice as the vendor writes it."""
    deductible_tax = money("E_税额")
    """可抵扣税额. Differs from the tax printed on the invoice."""
    amount_excluding_tax = money("E_不计税金额")
    """不计税金额. For value-added-tax invoices, the printed 发票金额 instead."""
    is_deductible = flag("E_是否抵扣")
    """是否抵扣."""
    receipt_status = text("E_system_收票状态")
    """收票状态. Whether the paper invoice has been handed in, such as `NORECEIVE`."""
    source = text("E_system_发票主体_来源")
    """发票导入方式. How the invoice was imported, such as `OCR`."""
    source_entity_id = text("E_system_票据来源_sourceEntityId")
    """票据来源. ID of the source entity."""
    image_key = text("E_system_发票主体_图片")
    """图片. Key of the invoice's image."""
    pdf_key = text("E_system_发票主体_PDF")
    """Key of the invoice's PDF file."""
    ofd_key = text("E_system_发票主体_OFD")
    """Key of the invoice's OFD file."""
    orientation = angle("E_system_发票主体_方向")
    """方向. Degrees by which the invoice is rotated on the image."""
    region = box("E_system_发票主体_识别范围")
    """识别范围. Left, top, right, bottom on the image, in pixels."""

    @classmethod
    def wire_models(cls) -> tuple[type[Model], ...]:
        """Return the forms of all kinds, which share one wire struct because their wire fields do not clash.

        So a reply is decoded in one pass, before the kinds of its forms are known.
        """
        return (InvoiceForm, *FORMS.values())


FORMS: dict[str, type[InvoiceForm]] = {}
"""The form class of each `entityId`; filled by the package that imports all of them."""
