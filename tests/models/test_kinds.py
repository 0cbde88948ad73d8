"""Invoice kinds: recognition codes, verified entities and VAT categories in one vocabulary."""

from __future__ import annotations

from typing import Any

import pytest

from ekb_async.models import InvoiceKind, OcrInvoice, VatCategory, VatInvoiceForm, VerifiedInvoice
from ekb_async.protocol.decoding import decode_ocr, decode_verify
from tests.support.samples import dumped, verify_body

OCR_KINDS = [
    ("10100", {}, InvoiceKind.VAT_SPECIAL, "增值税专用发票"),
    ("10100", {"electronic_mark": 1}, InvoiceKind.VAT_SPECIAL_ELECTRONIC, "增值税电子专用发票"),
    ("10101", {}, InvoiceKind.VAT_NORMAL, "增值税普通发票"),
    ("10102", {}, InvoiceKind.VAT_NORMAL_ELECTRONIC, "增值税电子普通发票"),
    ("10102", {"block_chain": 1}, InvoiceKind.BLOCKCHAIN, "区块链电子发票"),
    ("10103", {}, InvoiceKind.VAT_ROLL, "增值税普通发票(卷式)"),
    ("10104", {}, InvoiceKind.MOTOR_VEHICLE_SALE, "机动车销售统一发票"),
    ("10105", {}, InvoiceKind.USED_VEHICLE_SALE, "二手车销售统一发票"),
    ("10107", {}, InvoiceKind.DIGITAL_SPECIAL, "电子发票(增值税专用发票)"),
    ("10108", {}, InvoiceKind.DIGITAL_NORMAL, "电子发票(普通发票)"),
    ("10109", {}, InvoiceKind.VAT_TOLL, "增值税电子普通发票(通行费)"),
    ("10200", {}, InvoiceKind.FIXED_AMOUNT, "定额发票"),
    ("10400", {}, InvoiceKind.MACHINE_PRINTED, "机打发票"),
    ("10500", {}, InvoiceKind.TAXI_RECEIPT, "出租车发票"),
    ("10503", {}, InvoiceKind.TRAIN_TICKET, "火车票"),
    ("10505", {}, InvoiceKind.COACH_TICKET, "客运汽车票"),
    ("10506", {}, InvoiceKind.FLIGHT_ITINERARY, "航空运输电子客票行程单"),
    ("10507", {}, InvoiceKind.TOLL_RECEIPT, "过路费发票"),
    ("20100", {}, InvoiceKind.SHOPPING_RECEIPT, "消费小票"),
    ("102015", {}, InvoiceKind.NON_TAX_INCOME, "非税收入类票据"),
    ("102021", {}, InvoiceKind.MEDICAL, "医疗票据"),
    ("105030", {}, InvoiceKind.DIGITAL_TRAIN_TICKET, "电子发票(铁路电子客票)"),
    ("105060", {}, InvoiceKind.DIGITAL_FLIGHT_ITINERARY, "电子发票(航空运输电子客票行程单)"),
]

CATEGORY_KINDS = [
    ("DIGITAL_NORMAL", InvoiceKind.VAT_NORMAL_ELECTRONIC),
    ("DIGITAL_SPECIAL", InvoiceKind.VAT_SPECIAL_ELECTRONIC),
    ("PAPER_NORMAL", InvoiceKind.VAT_NORMAL),
    ("PAPER_SPECIAL", InvoiceKind.VAT_SPECIAL),
    ("PAPER_ROLL", InvoiceKind.VAT_ROLL),
    ("PAPER_CAR", InvoiceKind.MOTOR_VEHICLE_SALE),
    ("SECOND_CAR", InvoiceKind.USED_VEHICLE_SALE),
    ("PAPER_FEE", InvoiceKind.VAT_TOLL),
    ("BLOCK_CHAIN", InvoiceKind.BLOCKCHAIN),
    ("FULL_DIGITAl_NORMAL", InvoiceKind.DIGITAL_NORMAL),
    ("FULL_DIGITAL_NORMAL", InvoiceKind.DIGITAL_NORMAL),
    ("FULL_DIGITAl_SPECIAL", InvoiceKind.DIGITAL_SPECIAL),
    ("FULL_DIGITAl_PAPER", InvoiceKind.DIGITAL_SPECIAL_PAPER),
    ("FULL_DIGITAl_PAPER_NORMAL", InvoiceKind.DIGITAL_NORMAL_PAPER),
    ("ELECTRONIC_AIRCRAFT_INVOICE", InvoiceKind.DIGITAL_FLIGHT_ITINERARY),
    ("ELECTRONIC_TRAIN_INVOICE", InvoiceKind.DIGITAL_TRAIN_TICKET),
    ("SOMETHING_NEW", InvoiceKind.VAT_INVOICE),
]


def ocr_invoice(code: object, details: object) -> OcrInvoice:
    body = dumped({"value": {"invoices": [{"type": code, "details": details}]}})
    return decode_ocr(body).invoices[0]


def vat(category: str) -> VerifiedInvoice:
    return decode_verify(verify_body("system_发票主体", {"E_system_发票主体_发票类别": category})).invoices[0]


@pytest.mark.parametrize(("code", "details", "kind", "label"), OCR_KINDS)
def test_each_ocr_code_is_a_kind(code: str, details: dict[str, object], kind: InvoiceKind, label: str) -> None:
    """Each OCR code, with a flag of the details if two kinds share it, is one kind with its Chinese label."""
    invoice = ocr_invoice(code, details)
    assert (invoice.type, invoice.kind, invoice.kind.label) == (code, kind, label)


def test_the_ocr_kinds_differ() -> None:
    """OCR distinguishes 23 kinds."""
    assert len({kind for *_, kind, _ in OCR_KINDS}) == 23


@pytest.mark.parametrize("mark", [1, "1", 1.0, True])
def test_flags_count_in_any_type(mark: object) -> None:
    """The flag that separates two kinds may be a number, a text or a boolean, and the code may be a number."""
    assert ocr_invoice(10100, {"electronic_mark": mark}).kind is InvoiceKind.VAT_SPECIAL_ELECTRONIC
    assert ocr_invoice("10102", {"block_chain": mark}).kind is InvoiceKind.BLOCKCHAIN


@pytest.mark.parametrize("mark", [0, "0", "", None, False])
def test_flags_not_set_leave_the_plain_kind(mark: object) -> None:
    """Without a flag, or with a flag of 0 in any type, the kind is that of the code alone."""
    assert ocr_invoice("10100", {"electronic_mark": mark}).kind is InvoiceKind.VAT_SPECIAL


@pytest.mark.parametrize(("word", "kind"), CATEGORY_KINDS)
def test_each_category_is_a_kind(word: str, kind: InvoiceKind) -> None:
    """A verified value-added-tax invoice has the kind of its category, in either spelling."""
    assert vat(word).kind is kind


def test_both_spellings_are_one_category() -> None:
    """The vendor's misspelling with a small L is the same category, and the vendor's word is kept."""
    form = vat("FULL_DIGITAl_PAPER").form
    assert isinstance(form, VatInvoiceForm)
    assert form.category is not None
    assert form.category is VatCategory.FULL_DIGITAL_PAPER is VatCategory("FULL_DIGITAL_PAPER")
    assert form.category_text == "FULL_DIGITAl_PAPER"
    assert form.category.label == "全电纸质发票（增值税专用发票）"


@pytest.mark.parametrize("word", ["", "10999", "system_新票种", 7, None, [], {}])
def test_unknown_kinds_are_unknown(word: Any) -> None:
    """An unknown code, entity or category is the member UNKNOWN, never an error."""
    assert InvoiceKind(word) is InvoiceKind.UNKNOWN
    assert VatCategory(word) is VatCategory.UNKNOWN


def test_every_member_is_found_by_its_value() -> None:
    """Each member is found by the value that `to_dict()` contains, and has a label."""
    for kind in InvoiceKind:
        assert InvoiceKind(kind.value) is kind
        assert kind.label
    for category in VatCategory:
        assert VatCategory(category.value) is category
        assert category.label
