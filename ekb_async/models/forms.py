"""The data of a verified invoice, one class per invoice kind.

`master.entityId` names the kind and with it the wire fields of `master.form`. `InvoiceForm` has what all kinds share,
and `total`, `number`, `code`, `date`, `seller` and `buyer`: a report reads these six without asking for the kind, and
one that the kind does not have is None.
"""

from __future__ import annotations

from typing import ClassVar

from ekb_async.models.kinds import VAT_ENTITY, VatCategory
from ekb_async.models.wire.fields import angle, box, day, flag, moment, money, printed, rate, text
from ekb_async.models.wire.model import Model, MonetaryModel

_FLIGHT = "E_system_航空运输电子客票行程单_"


class InvoiceForm(MonetaryModel, frozen=True, eq=False):
    """What the forms of all kinds have in common."""

    entity: ClassVar[str] = ""
    """The `entityId` of the kind."""
    shown: ClassVar = ("code", "number", "date", "seller", "total", "currency")
    deferring: ClassVar = True

    total = money()
    """What was paid, tax included."""
    number = text()
    code = text()
    """发票代码; fully digital invoices have none and leave it empty."""
    date = day()
    seller = text()
    buyer = text()

    tax_rate = rate("E_税率")
    """Rate of the whole invoice; value-added-tax invoices have one per line instead."""
    tax_rate_text = printed("E_税率")
    deductible_tax = money("E_税额")
    """可抵扣税额; not the tax printed on the invoice."""
    amount_excluding_tax = money("E_不计税金额")
    """不计税金额; value-added-tax invoices print one of their own (发票金额), which they have here instead."""
    is_deductible = flag("E_是否抵扣")
    receipt_status = text("E_system_收票状态")
    """收票状态: whether the paper has been handed in, such as `NORECEIVE`."""
    source = text("E_system_发票主体_来源")
    """发票导入方式: how it came in, such as `OCR`."""
    source_entity_id = text("E_system_票据来源_sourceEntityId")
    image_key = text("E_system_发票主体_图片")
    pdf_key = text("E_system_发票主体_PDF")
    ofd_key = text("E_system_发票主体_OFD")
    orientation = angle("E_system_发票主体_方向")
    region = box("E_system_发票主体_识别范围")

    @classmethod
    def wire_models(cls) -> tuple[type[Model], ...]:
        """All kinds, whose wire fields do not clash: so a reply is decoded before the kinds of its forms are known."""
        return (InvoiceForm, *FORMS.values())


class VatInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """发票主体: a value-added-tax invoice, paper, electronic or fully digital."""

    entity = VAT_ENTITY
    derived = ("currency", "category")

    total = money("E_system_发票主体_价税合计")
    number = text("E_system_发票主体_发票号码")
    code = text("E_system_发票主体_发票代码")
    date = day("E_system_发票主体_发票日期")
    seller = text("E_system_发票主体_销售方名称")
    seller_tax_id = text("E_system_发票主体_销售方纳税人识别号")
    seller_address_phone = text("E_system_发票主体_销售方地址电话")
    seller_bank_account = text("E_system_发票主体_销售方开户行及账号")
    buyer = text("E_system_发票主体_购买方名称")
    buyer_tax_id = text("E_system_发票主体_购买方纳税人识别号")
    buyer_address_phone = text("E_system_发票主体_购买方地址电话")
    buyer_bank_account = text("E_system_发票主体_购买方开户行及账号")
    amount_excluding_tax = money("E_system_发票主体_发票金额")
    """发票金额 as printed."""
    amount_excluding_deductible_tax = money("E_不计税金额")
    """不计税金额: the total without `deductible_tax`."""
    tax = money("E_system_发票主体_税额")
    """税额 as printed; what of it may be deducted is `deductible_tax`."""
    category_text = text("E_system_发票主体_发票类别")
    status = text("E_system_发票主体_发票状态")
    """发票状态: whether the invoice is valid, voided or reversed."""
    check_code = text("E_system_发票主体_校验码")
    printed_number = text("E_system_发票主体_发票印刷号码")
    remark = text("E_system_发票主体_备注")
    payee = text("E_system_发票主体_收款人")
    reviewer = text("E_system_发票主体_复核人")
    issuer = text("E_system_发票主体_开票人")
    is_verified = flag("E_system_发票主体_验真")
    is_signature_verified = flag("E_system_发票主体_验签")
    has_original = flag("E_system_发票主体_是否有发票原件")
    is_opened_normally = flag("E_system_发票主体_ifNormOpen")
    direction = text("E_system_发票主体_进销项标识")
    """进销项标识: input or output tax."""
    train_number = text("E_system_发票主体_车次")
    """车次, here and below of an electronic train ticket."""
    carriage = text("E_system_发票主体_车厢")
    seat = text("E_system_发票主体_席位")
    seat_class = text("E_system_发票主体_座位类型")
    origin = text("E_system_发票主体_上车车站")
    destination = text("E_system_发票主体_下车车站")
    passenger = text("E_system_发票主体_乘车人姓名")
    serial_number = text("E_system_发票主体_编号")
    card_id = text("E_system_发票主体_cardId")
    encrypt_code = text("E_system_发票主体_encryptCode")
    record_code = text("E_system_发票主体_code")
    """编码 of the vendor's record."""
    record_name = text("E_system_发票主体_name")
    """名称 of the vendor's record."""

    @property
    def category(self) -> VatCategory | None:
        """发票类别; UNKNOWN for a word that is not known, which `category_text` keeps."""
        return VatCategory(self.category_text) if self.category_text else None


class TrainTicketForm(InvoiceForm, frozen=True, eq=False):
    """火车票 (铁路客票): a train ticket."""

    entity = "system_火车票"

    total = money("E_system_火车票_金额")
    number = text("E_system_火车票_号码")
    date = day("E_system_火车票_乘车时间")
    departed_at = moment("E_system_火车票_乘车时间")
    train_number = text("E_system_火车票_车次")
    origin = text("E_system_火车票_上车车站")
    destination = text("E_system_火车票_下车车站")
    passenger = text("E_system_火车票_乘车人姓名")
    seat_class = text("E_system_火车票_座位类型")
    serial_number = text("E_system_火车票_序列码")
    consumption_type = text("E_system_火车票_消费类型")


class TaxiReceiptForm(InvoiceForm, frozen=True, eq=False):
    """出租车票: a taxi receipt."""

    entity = "system_出租车票"

    total = money("E_system_出租车票_金额")
    number = text("E_system_出租车票_发票号码")
    code = text("E_system_出租车票_发票代码")
    date = day("E_system_出租车票_上车时间")
    boarded_at = moment("E_system_出租车票_上车时间")
    alighted_at = moment("E_system_出租车票_下车时间")
    place_of_issue = text("E_system_出租车票_发票所在地")
    province = text("E_system_出租车票_省份")
    city = text("E_system_出租车票_城市")
    plate_number = text("E_system_出租车票_车牌号码")
    mileage = text("E_system_出租车票_里程")
    """Distance as printed, unit included if there is one."""
    consumption_type = text("E_system_出租车票_消费类型")


class CoachTicketForm(InvoiceForm, frozen=True, eq=False):
    """客运汽车发票: a ticket of a passenger coach."""

    entity = "system_客运汽车发票"

    total = money("E_system_客运汽车发票_金额")
    number = text("E_system_客运汽车发票_发票号码")
    code = text("E_system_客运汽车发票_发票代码")
    date = day("E_system_客运汽车发票_时间")
    departed_at = moment("E_system_客运汽车发票_时间")
    origin = text("E_system_客运汽车发票_出发车站")
    destination = text("E_system_客运汽车发票_达到车站")
    passenger = text("E_system_客运汽车发票_姓名")
    consumption_type = text("E_system_客运汽车发票_消费类型")


class FlightItineraryForm(InvoiceForm, frozen=True, eq=False):
    """航空运输电子客票行程单: the itinerary of an e-ticket for a flight."""

    entity = "system_航空运输电子客票行程单"

    total = money(_FLIGHT + "金额")
    number = text(_FLIGHT + "电子客票号码")
    """电子客票号码, the number of the e-ticket."""
    date = day(_FLIGHT + "填开日期")
    """填开日期, the day of issue; the day of the flight is in `departed_at`."""
    seller = text(_FLIGHT + "填开单位")
    """填开单位, who issued it."""
    departed_at = moment(_FLIGHT + "乘机时间")
    flight_number = text(_FLIGHT + "航班号")
    origin = text(_FLIGHT + "出发站")
    destination = text(_FLIGHT + "到达站")
    passenger = text(_FLIGHT + "乘机人姓名")
    invoice_number = text(_FLIGHT + "身份证号")
    """The wire name says identity card number (身份证号), the vendor's label invoice number (发票号码)."""
    seat_class = text(_FLIGHT + "座位等级")
    fare = money(_FLIGHT + "票价")
    fuel_surcharge = money(_FLIGHT + "燃油附加费")
    aviation_fund = money(_FLIGHT + "民航发展基金")
    """民航发展基金, the levy for civil aviation development."""
    taxes_and_fees = money(_FLIGHT + "税费")
    insurance = money(_FLIGHT + "保险费")
    agent_code = text(_FLIGHT + "销售单位代号")
    check_code = text(_FLIGHT + "验证码")
    consumption_type = text(_FLIGHT + "消费类型")


class TollReceiptForm(InvoiceForm, frozen=True, eq=False):
    """过路费发票: a receipt for road tolls."""

    entity = "system_过路费发票"

    total = money("E_system_过路费发票_金额")
    number = text("E_system_过路费发票_发票号码")
    code = text("E_system_过路费发票_发票代码")
    date = day("E_system_过路费发票_时间")
    passed_at = moment("E_system_过路费发票_时间")
    entrance = text("E_system_过路费发票_入口")
    exit = text("E_system_过路费发票_出口")
    consumption_type = text("E_system_过路费发票_消费类型")


class FixedAmountForm(InvoiceForm, frozen=True, eq=False):
    """定额发票: an invoice of a preprinted amount; it bears no date."""

    entity = "system_定额发票"

    total = money("E_system_定额发票_金额")
    number = text("E_system_定额发票_号码")
    code = text("E_system_定额发票_发票代码")
    consumption_type = text("E_system_定额发票_消费类型")


class MachinePrintedForm(InvoiceForm, frozen=True, eq=False):
    """机打发票: a machine-printed invoice."""

    entity = "system_机打发票"

    total = money("E_system_机打发票_金额")
    number = text("E_system_机打发票_发票号码")
    code = text("E_system_机打发票_发票代码")
    date = day("E_system_机打发票_时间")
    issued_at = moment("E_system_机打发票_时间")
    seller = text("E_system_机打发票_销售方名称")
    seller_tax_id = text("E_system_机打发票_销售方税号")
    buyer = text("E_system_机打发票_购买方名称")
    buyer_tax_id = text("E_system_机打发票_购买方税号")
    tax = money("E_system_机打发票_税额")
    invoice_type = text("E_system_机打发票_发票种类")
    province = text("E_system_机打发票_所属省份")
    city = text("E_system_机打发票_所属城市")
    check_code = text("E_system_机打发票_校验码")
    has_seal = flag("E_system_机打发票_是否有印章")
    has_original = flag("E_system_发票主体_是否有发票原件")
    is_opened_normally = flag("E_system_发票主体_ifNormOpen")


class ShoppingReceiptForm(InvoiceForm, frozen=True, eq=False):
    """消费小票: a till receipt, often a foreign one."""

    entity = "system_消费小票"

    total = money("E_system_消费小票_金额")
    date = day("E_system_消费小票_时间")
    issued_at = moment("E_system_消费小票_时间")
    seller = text("E_system_消费小票_店名")
    subtotal = money("E_system_消费小票_小计")
    tip = money("E_system_消费小票_小费")
    discount = money("E_system_消费小票_折扣")
    tax = money("E_system_消费小票_税费")
    printed_currency = text("E_system_消费小票_币种")
    """币种 as read from the receipt; `currency` is the one of the vendor's amounts."""
    consumption_type = text("E_system_消费小票_消费类型")


class MedicalInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """医疗发票: a bill of a hospital."""

    entity = "system_医疗发票"

    total = money("E_system_医疗发票_金额合计")
    number = text("E_system_医疗发票_票据号码")
    code = text("E_system_医疗发票_票据代码")
    date = day("E_system_医疗发票_开票日期")
    buyer = text("E_system_医疗发票_交款人")
    """交款人, who paid."""
    invoice_type = text("E_system_医疗发票_发票种类")
    check_code = text("E_system_医疗发票_校验码")


class NonTaxIncomeForm(InvoiceForm, frozen=True, eq=False):
    """非税收入类票据 (财政票据): a receipt for government charges."""

    entity = "system_非税收入类票据"

    total = money("E_system_非税收入类票据_金额合计")
    number = text("E_system_非税收入类票据_票据号码")
    code = text("E_system_非税收入类票据_票据代码")
    date = day("E_system_非税收入类票据_开票日期")
    seller = text("E_system_非税收入类票据_收款单位")
    """收款单位, who is paid."""
    invoice_type = text("E_system_非税收入类票据_发票种类")
    category_text = text("E_system_非税收入类票据_发票类别")
    check_code = text("E_system_非税收入类票据_校验码")
    is_verified = flag("E_system_发票主体_验真")
    invoice_number = text("E_system_发票主体_发票号码")
    """发票号码, beside the receipt's own 票据号码."""
    invoice_code = text("E_system_发票主体_发票代码")
    record_code = text("E_system_发票主体_code")
    record_name = text("E_system_发票主体_name")


class OtherInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """其他: any other receipt; the vendor keeps its date and amount."""

    entity = "system_其他"

    total = money("E_system_其他_金额")
    date = day("E_system_其他_日期")
    is_signature_verified = flag("E_system_发票主体_验签")
    has_original = flag("E_system_发票主体_是否有发票原件")


class UnknownInvoiceForm(InvoiceForm, frozen=True, eq=False):
    """A kind that came after this version; `raw` has all of it."""


FORMS: dict[str, type[InvoiceForm]] = {
    form.entity: form
    for form in (
        VatInvoiceForm,
        TrainTicketForm,
        TaxiReceiptForm,
        CoachTicketForm,
        FlightItineraryForm,
        TollReceiptForm,
        FixedAmountForm,
        MachinePrintedForm,
        ShoppingReceiptForm,
        MedicalInvoiceForm,
        NonTaxIncomeForm,
        OtherInvoiceForm,
    )
}
"""The form class of each `entityId`."""
