"""The kinds of invoices, in one vocabulary for recognition and verification.

Recognition names a kind by a code (`10100`); two of the codes stand for two kinds each, which a flag of the invoice
distinguishes. Verification names it by an entity (`system_火车票`), documents by an object (`train`); all VAT invoices
share one entity and one object, and differ in category. Any other word becomes UNKNOWN; the models keep the vendor's
word in an attribute of its own.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Self

VAT_ENTITY = "system_发票主体"


class _Labelled(StrEnum):
    """An enum of texts, each with a Chinese label."""

    label: str

    def __new__(cls, value: str, label: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member


class InvoiceKind(_Labelled):
    """发票种类, the kind of an invoice; `label` is its Chinese name.

    `InvoiceKind(x)` accepts its own value, an OCR code (`10503`), an entity (`system_火车票`), an object (`train`), a
    category (`PAPER_NORMAL`) or a Chinese name; anything else is UNKNOWN.
    """

    VAT_SPECIAL = "vat_special", "增值税专用发票"
    VAT_SPECIAL_ELECTRONIC = "vat_special_electronic", "增值税电子专用发票"
    VAT_NORMAL = "vat_normal", "增值税普通发票"
    VAT_NORMAL_ELECTRONIC = "vat_normal_electronic", "增值税电子普通发票"
    VAT_ROLL = "vat_roll", "增值税普通发票(卷式)"
    VAT_TOLL = "vat_toll", "增值税电子普通发票(通行费)"
    BLOCKCHAIN = "blockchain", "区块链电子发票"
    MOTOR_VEHICLE_SALE = "motor_vehicle_sale", "机动车销售统一发票"
    USED_VEHICLE_SALE = "used_vehicle_sale", "二手车销售统一发票"
    DIGITAL_SPECIAL = "digital_special", "电子发票(增值税专用发票)"
    DIGITAL_NORMAL = "digital_normal", "电子发票(普通发票)"
    DIGITAL_SPECIAL_PAPER = "digital_special_paper", "全电纸质发票(增值税专用发票)"
    DIGITAL_NORMAL_PAPER = "digital_normal_paper", "全电纸质发票(增值税普通发票)"
    DIGITAL_FLIGHT_ITINERARY = "digital_flight_itinerary", "电子发票(航空运输电子客票行程单)"
    DIGITAL_TRAIN_TICKET = "digital_train_ticket", "电子发票(铁路电子客票)"
    VAT_INVOICE = "vat_invoice", "增值税发票"
    """A value-added-tax invoice whose category is missing or not listed here."""
    TRAIN_TICKET = "train_ticket", "火车票"
    TAXI_RECEIPT = "taxi_receipt", "出租车发票"
    COACH_TICKET = "coach_ticket", "客运汽车票"
    FLIGHT_ITINERARY = "flight_itinerary", "航空运输电子客票行程单"
    TOLL_RECEIPT = "toll_receipt", "过路费发票"
    FIXED_AMOUNT = "fixed_amount", "定额发票"
    MACHINE_PRINTED = "machine_printed", "机打发票"
    SHOPPING_RECEIPT = "shopping_receipt", "消费小票"
    MEDICAL = "medical", "医疗票据"
    NON_TAX_INCOME = "non_tax_income", "非税收入类票据"
    SHIP_TICKET = "ship_ticket", "船票"
    RIDE_HAILING_ITINERARY = "ride_hailing_itinerary", "网约车行程单"
    TAX_PAYMENT_CERTIFICATE = "tax_payment_certificate", "完税证明"
    OVERSEAS = "overseas", "海外发票"
    OTHER = "other", "其他"
    UNKNOWN = "unknown", "未知"

    @classmethod
    def _missing_(cls, value: object) -> InvoiceKind:
        name = str(value).strip()
        known = _OCR_KINDS.get(name) or _ENTITY_KINDS.get(name) or _OBJECT_KINDS.get(name)
        return known or _CATEGORY_KINDS.get(VatCategory(name)) or _LABELLED.get(_plain(name)) or cls.UNKNOWN

    @classmethod
    def of_ocr(cls, code: str | None, *, electronic: bool | None = None, blockchain: bool | None = None) -> InvoiceKind:
        """Return the kind of an OCR `type` and the invoice's flags `electronic_mark` and `block_chain`."""
        kind = _OCR_KINDS.get(code or "", cls.UNKNOWN)
        if kind is cls.VAT_SPECIAL and electronic:
            return cls.VAT_SPECIAL_ELECTRONIC
        if kind is cls.VAT_NORMAL_ELECTRONIC and blockchain:
            return cls.BLOCKCHAIN
        return kind

    @property
    def object_id(self) -> str | None:
        """业务对象. The part of the ledger that holds invoices of this kind; None if it is not known."""
        if self in _CATEGORY_KINDS.values():
            return "invoice"
        return next((object_id for object_id, kind in _OBJECT_KINDS.items() if kind is self), None)

    @classmethod
    def of_entity(cls, entity_id: str | None, category: VatCategory | None = None) -> InvoiceKind:
        """Return the kind of a verified invoice's `entityId` and, for a value-added-tax invoice, its category."""
        kind = _ENTITY_KINDS.get(entity_id or "", cls.UNKNOWN)
        if kind is cls.VAT_INVOICE and category is not None:
            return _CATEGORY_KINDS.get(category, kind)
        return kind


class VatCategory(_Labelled):
    """发票类别 of a value-added-tax invoice; `label` is the Chinese name.

    Accepts the vendor's misspelling with a small L (`FULL_DIGITAl_NORMAL`); any other word is UNKNOWN.
    """

    DIGITAL_NORMAL = "DIGITAL_NORMAL", "增值税电子普通发票"
    DIGITAL_SPECIAL = "DIGITAL_SPECIAL", "增值税电子专用发票"
    PAPER_NORMAL = "PAPER_NORMAL", "增值税普通发票"
    PAPER_SPECIAL = "PAPER_SPECIAL", "增值税专用发票"
    PAPER_ROLL = "PAPER_ROLL", "增值税普通发票（卷式）"
    PAPER_CAR = "PAPER_CAR", "机动车销售统一发票"
    SECOND_CAR = "SECOND_CAR", "二手车销售统一发票"
    PAPER_FEE = "PAPER_FEE", "通行费发票"
    BLOCK_CHAIN = "BLOCK_CHAIN", "区块链发票"
    FULL_DIGITAL_NORMAL = "FULL_DIGITAL_NORMAL", "电子发票（普通发票）"
    FULL_DIGITAL_SPECIAL = "FULL_DIGITAL_SPECIAL", "电子发票（增值税专用发票）"
    FULL_DIGITAL_PAPER = "FULL_DIGITAL_PAPER", "全电纸质发票（增值税专用发票）"
    FULL_DIGITAL_PAPER_NORMAL = "FULL_DIGITAL_PAPER_NORMAL", "全电纸质发票（增值税普通发票）"
    ELECTRONIC_AIRCRAFT_INVOICE = "ELECTRONIC_AIRCRAFT_INVOICE", "电子发票（航空运输电子客票行程单）"
    ELECTRONIC_TRAIN_INVOICE = "ELECTRONIC_TRAIN_INVOICE", "电子发票（铁路电子客票）"
    ELECTRONIC_PAPER_FEE = "ELECTRONIC_PAPER_FEE", "电子发票（通行费发票）"
    ELECTRONIC_PAPER_CAR = "ELECTRONIC_PAPER_CAR", "电子发票（机动车销售统一发票）"
    UNKNOWN = "UNKNOWN", "未知"

    @classmethod
    def _missing_(cls, value: object) -> VatCategory:
        return cls.__members__.get(str(value).strip().upper(), cls.UNKNOWN)


@lru_cache(maxsize=64)
def category_of(text: str) -> VatCategory:
    """Return the category of a word, at once for one that was seen before: vendors write few, and misspell some."""
    return VatCategory(text)


_OCR_KINDS = {
    "10100": InvoiceKind.VAT_SPECIAL,
    "10101": InvoiceKind.VAT_NORMAL,
    "10102": InvoiceKind.VAT_NORMAL_ELECTRONIC,
    "10103": InvoiceKind.VAT_ROLL,
    "10104": InvoiceKind.MOTOR_VEHICLE_SALE,
    "10105": InvoiceKind.USED_VEHICLE_SALE,
    "10105a": InvoiceKind.USED_VEHICLE_SALE,
    "10107": InvoiceKind.DIGITAL_SPECIAL,
    "10108": InvoiceKind.DIGITAL_NORMAL,
    "10109": InvoiceKind.VAT_TOLL,
    "10200": InvoiceKind.FIXED_AMOUNT,
    "10400": InvoiceKind.MACHINE_PRINTED,
    "10500": InvoiceKind.TAXI_RECEIPT,
    "10503": InvoiceKind.TRAIN_TICKET,
    "10505": InvoiceKind.COACH_TICKET,
    "10505a": InvoiceKind.SHIP_TICKET,
    "10506": InvoiceKind.FLIGHT_ITINERARY,
    "10507": InvoiceKind.TOLL_RECEIPT,
    "10900": InvoiceKind.OTHER,
    "10902": InvoiceKind.TAX_PAYMENT_CERTIFICATE,
    "20100": InvoiceKind.SHOPPING_RECEIPT,
    "20105": InvoiceKind.RIDE_HAILING_ITINERARY,
    "102015": InvoiceKind.NON_TAX_INCOME,
    "102021": InvoiceKind.MEDICAL,
    "105030": InvoiceKind.DIGITAL_TRAIN_TICKET,
    "105060": InvoiceKind.DIGITAL_FLIGHT_ITINERARY,
}

_ENTITY_KINDS = {
    VAT_ENTITY: InvoiceKind.VAT_INVOICE,
    "system_火车票": InvoiceKind.TRAIN_TICKET,
    "system_出租车票": InvoiceKind.TAXI_RECEIPT,
    "system_客运汽车发票": InvoiceKind.COACH_TICKET,
    "system_航空运输电子客票行程单": InvoiceKind.FLIGHT_ITINERARY,
    "system_过路费发票": InvoiceKind.TOLL_RECEIPT,
    "system_定额发票": InvoiceKind.FIXED_AMOUNT,
    "system_机打发票": InvoiceKind.MACHINE_PRINTED,
    "system_消费小票": InvoiceKind.SHOPPING_RECEIPT,
    "system_医疗发票": InvoiceKind.MEDICAL,
    "system_非税收入类票据": InvoiceKind.NON_TAX_INCOME,
    "system_其他": InvoiceKind.OTHER,
}

_OBJECT_KINDS = {
    "invoice": InvoiceKind.VAT_INVOICE,
    "train": InvoiceKind.TRAIN_TICKET,
    "taxi": InvoiceKind.TAXI_RECEIPT,
    "passengerCar": InvoiceKind.COACH_TICKET,
    "flightItinerary": InvoiceKind.FLIGHT_ITINERARY,
    "tolls": InvoiceKind.TOLL_RECEIPT,
    "fixed": InvoiceKind.FIXED_AMOUNT,
    "machinePrint": InvoiceKind.MACHINE_PRINTED,
    "shopping": InvoiceKind.SHOPPING_RECEIPT,
    "medical": InvoiceKind.MEDICAL,
    "noTaxIncome": InvoiceKind.NON_TAX_INCOME,
    "overseasInvoice": InvoiceKind.OVERSEAS,
    "other": InvoiceKind.OTHER,
}

_CATEGORY_KINDS = {
    VatCategory.DIGITAL_NORMAL: InvoiceKind.VAT_NORMAL_ELECTRONIC,
    VatCategory.DIGITAL_SPECIAL: InvoiceKind.VAT_SPECIAL_ELECTRONIC,
    VatCategory.PAPER_NORMAL: InvoiceKind.VAT_NORMAL,
    VatCategory.PAPER_SPECIAL: InvoiceKind.VAT_SPECIAL,
    VatCategory.PAPER_ROLL: InvoiceKind.VAT_ROLL,
    VatCategory.PAPER_CAR: InvoiceKind.MOTOR_VEHICLE_SALE,
    VatCategory.SECOND_CAR: InvoiceKind.USED_VEHICLE_SALE,
    VatCategory.PAPER_FEE: InvoiceKind.VAT_TOLL,
    VatCategory.BLOCK_CHAIN: InvoiceKind.BLOCKCHAIN,
    VatCategory.FULL_DIGITAL_NORMAL: InvoiceKind.DIGITAL_NORMAL,
    VatCategory.FULL_DIGITAL_SPECIAL: InvoiceKind.DIGITAL_SPECIAL,
    VatCategory.FULL_DIGITAL_PAPER: InvoiceKind.DIGITAL_SPECIAL_PAPER,
    VatCategory.FULL_DIGITAL_PAPER_NORMAL: InvoiceKind.DIGITAL_NORMAL_PAPER,
    VatCategory.ELECTRONIC_AIRCRAFT_INVOICE: InvoiceKind.DIGITAL_FLIGHT_ITINERARY,
    VatCategory.ELECTRONIC_TRAIN_INVOICE: InvoiceKind.DIGITAL_TRAIN_TICKET,
    VatCategory.ELECTRONIC_PAPER_FEE: InvoiceKind.VAT_TOLL,
    VatCategory.ELECTRONIC_PAPER_CAR: InvoiceKind.MOTOR_VEHICLE_SALE,
}


def _plain(label: str) -> str:
    return label.replace("（", "(").replace("）", ")")


_LABELLED = {_plain(category.label): kind for category, kind in _CATEGORY_KINDS.items()} | {
    kind.label: kind for kind in InvoiceKind
}
