"""The forms of all other kinds, and the one for kinds that are not known."""

from __future__ import annotations

from ekb_async.models.forms.base import InvoiceForm
from ekb_async.models.wire.fields import day, flag, moment, money, text


class FixedAmountForm(InvoiceForm, frozen=True, eq=False):
    """定额发票: an invoice of a preprinted amount, without a date."""

    entity = "system_定额发票"

    total = money("E_system_定额发票_金额")
    """金额."""
    number = text("E_system_定额发票_号码")
    """号码."""
    code = text("E_system_定额发票_发票代码")
    """发票代码."""
    consumption_type = text("E_system_定额发票_消费类型")
    """消费类型."""


class MachinePrintedForm(InvoiceForm, frozen=True, eq=False):
    """机打发票: a machine-printed invoice."""

    entity = "system_机打发票"

    total = money("E_system_机打发票_金额")
    """金额."""
    number = text("E_system_机打发票_发票号码")
    """发票号码."""
    code = text("E_system_机打发票_发票代码")
    """发票代码."""
    date = day("E_system_机打发票_时间")
    """时间: the date."""
    issued_at = moment("E_system_机打发票_时间")
    """时间: date and time."""
    seller = text("E_system_机打发票_销售方名称")
    """销售方名称."""
    seller_tax_id = text("E_system_机打发票_销售方税号")
    """销售方税号."""
    buyer = text("E_system_机打发票_购买方名称")
    """购买方名称."""
    buyer_tax_id = text("E_system_机打发票_购买方税号")
    """购买方税号."""
    tax = money("E_system_机打发票_税额")
    """税额."""
    invoice_type = text("E_system_机打发票_发票种类")
    """发票种类."""
    province = text("E_system_机打发票_所属省份")
    """所属省份."""
    city = text("E_system_机打发票_所属城市")
    """所属城市."""
    check_code = text("E_system_机打发票_校验码")
    """校验码."""
    has_seal = flag("E_system_机打发票_是否有印章")
    """是否有印章."""
    has_original = flag("E_system_发票主体_是否有发票原件")
    """是否有发票原件."""
    is_opened_normally = flag("E_system_发票主体_ifNormOpen")


class ShoppingReceiptForm(InvoiceForm, frozen=True, eq=False):
    """消费小票: a till receipt, often a foreign one."""

    entity = "system_消费小票"

    total = money("E_system_消费小票_金额")
    """金额."""
    date = day("E_system_消费小票_时间")
    """时间: the date."""
    issued_at = moment("E_system_消费小票_时间")
    """时间: date and time."""
    seller = text("E_system_消费小票_店名")
    """店名."""
    subtotal = money("E_system_消费小票_小计")
    """小计."""
    tip = money("E_system_消费小票_小费")
    """小费."""
    discount = money("E_system_消费小票_折扣")
    """折扣."""
    tax = money("E_system_消费小票_税费")
    """税费."""
    printed_currency = text("E_system_消费小票_币种")
    """币种 as printed on the receipt; `currency` is that of the vendor's amounts."""
    consumption_type = text("E_system_消费小票_消费类型")
    """消费类型."""


class MedicalInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """医疗发票: a hospital bill."""

    entity = "system_医疗发票"

    total = money("E_system_医疗发票_金额合计")
    """金额合计."""
    number = text("E_system_医疗发票_票据号码")
    """票据号码."""
    code = text("E_system_医疗发票_票据代码")
    """票据代码."""
    date = day("E_system_医疗发票_开票日期")
    """开票日期."""
    buyer = text("E_system_医疗发票_交款人")
    """交款人. Payer."""
    invoice_type = text("E_system_医疗发票_发票种类")
    """发票种类."""
    check_code = text("E_system_医疗发票_校验码")
    """校验码."""


class NonTaxIncomeForm(InvoiceForm, frozen=True, eq=False):
    """非税收入类票据 (财政票据): a receipt for government charges."""

    entity = "system_非税收入类票据"

    total = money("E_system_非税收入类票据_金额合计")
    """金额合计."""
    number = text("E_system_非税收入类票据_票据号码")
    """票据号码."""
    code = text("E_system_非税收入类票据_票据代码")
    """票据代码."""
    date = day("E_system_非税收入类票据_开票日期")
    """开票日期."""
    seller = text("E_system_非税收入类票据_收款单位")
    """收款单位. Payee."""
    invoice_type = text("E_system_非税收入类票据_发票种类")
    """发票种类."""
    category_text = text("E_system_非税收入类票据_发票类别")
    """发票类别."""
    check_code = text("E_system_非税收入类票据_校验码")
    """校验码."""
    is_verified = flag("E_system_发票主体_验真")
    """验真."""
    invoice_number = text("E_system_发票主体_发票号码")
    """发票号码, in addition to the receipt's own 票据号码 in `number`."""
    invoice_code = text("E_system_发票主体_发票代码")
    """发票代码, in addition to the receipt's own 票据代码 in `code`."""
    record_code = text("E_system_发票主体_code")
    """编码 of the vendor's record."""
    record_name = text("E_system_发票主体_name")
    """名称 of the vendor's record."""


class OtherInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """其他: any other receipt, with no more than a date and an amount."""

    entity = "system_其他"

    total = money("E_system_其他_金额")
    """金额."""
    date = day("E_system_其他_日期")
    """日期."""
    is_signature_verified = flag("E_system_发票主体_验签")
    """验签."""
    has_original = flag("E_system_发票主体_是否有发票原件")
    """是否有发票原件."""


class UnknownInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """A kind without a class in this version; `raw` has all of its data."""
