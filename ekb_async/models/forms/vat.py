"""The form of value-added-tax invoices."""

from __future__ import annotations

from ekb_async.models.forms.base import InvoiceForm
from ekb_async.models.kinds import VAT_ENTITY, VatCategory, category_of
from ekb_async.models.wire.fields import day, flag, money, text


class VatInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """发票主体: a value-added-tax invoice, paper, electronic or fully digital."""

    entity = VAT_ENTITY
    derived = ("currency", "category")

    total = money("E_system_发票主体_价税合计")
    """价税合计."""
    number = text("E_system_发票主体_发票号码")
    """发票号码."""
    code = text("E_system_发票主体_发票代码")
    """发票代码. Empty for fully digital invoices, which have none."""
    date = day("E_system_发票主体_发票日期")
    """发票日期."""
    seller = text("E_system_发票主体_销售方名称")
    """销售方名称."""
    seller_tax_id = text("E_system_发票主体_销售方纳税人识别号")
    """销售方纳税人识别号."""
    seller_address_phone = text("E_system_发票主体_销售方地址电话")
    """销售方地址电话."""
    seller_bank_account = text("E_system_发票主体_销售方开户行及账号")
    """销售方开户行及账号."""
    buyer = text("E_system_发票主体_购买方名称")
    """购买方名称."""
    buyer_tax_id = text("E_system_发票主体_购买方纳税人识别号")
    """购买方纳税人识别号."""
    buyer_address_phone = text("E_system_发票主体_购买方地址电话")
    """购买方地址电话."""
    buyer_bank_account = text("E_system_发票主体_购买方开户行及账号")
    """购买方开户行及账号."""
    amount_excluding_tax = money("E_system_发票主体_发票金额")
    """发票金额 as printed, excluding tax."""
    amount_excluding_deductible_tax = money("E_不计税金额")
    """不计税金额. The total minus `deductible_tax`."""
    tax = money("E_system_发票主体_税额")
    """税额 as printed; the part that may be deducted is `deductible_tax`."""
    category_text = text("E_system_发票主体_发票类别")
    """发票类别 as the vendor writes it; `category` is its enum member."""
    status = text("E_system_发票主体_发票状态")
    """发票状态. Whether the invoice is valid, voided or reversed."""
    check_code = text("E_system_发票主体_校验码")
    """校验码."""
    printed_number = text("E_system_发票主体_发票印刷号码")
    """发票印刷号码."""
    remark = text("E_system_发票主体_备注")
    """备注."""
    payee = text("E_system_发票主体_收款人")
    """收款人."""
    reviewer = text("E_system_发票主体_复核人")
    """复核人."""
    issuer = text("E_system_发票主体_开票人")
    """开票人."""
    is_verified = flag("E_system_发票主体_验真")
    """验真."""
    is_signature_verified = flag("E_system_发票主体_验签")
    """验签."""
    has_original = flag("E_system_发票主体_是否有发票原件")
    """是否有发票原件."""
    is_opened_normally = flag("E_system_发票主体_ifNormOpen")
    direction = text("E_system_发票主体_进销项标识")
    """进销项标识. Input or output tax."""
    train_number = text("E_system_发票主体_车次")
    """车次. This and the six attributes below are those of an electronic train ticket."""
    carriage = text("E_system_发票主体_车厢")
    """车厢."""
    seat = text("E_system_发票主体_席位")
    """席位."""
    seat_class = text("E_system_发票主体_座位类型")
    """座位类型."""
    origin = text("E_system_发票主体_上车车站")
    """上车车站."""
    destination = text("E_system_发票主体_下车车站")
    """下车车站."""
    passenger = text("E_system_发票主体_乘车人姓名")
    """乘车人姓名."""
    serial_number = text("E_system_发票主体_编号")
    """编号."""
    card_id = text("E_system_发票主体_cardId")
    encrypt_code = text("E_system_发票主体_encryptCode")
    record_code = text("E_system_发票主体_code")
    """编码 of the vendor's record."""
    record_name = text("E_system_发票主体_name")
    """名称 of the vendor's record."""

    @property
    def category(self) -> VatCategory | None:
        """发票类别. UNKNOWN for a word that is not listed; `category_text` has the word."""
        text = self.category_text
        return category_of(text) if text else None
