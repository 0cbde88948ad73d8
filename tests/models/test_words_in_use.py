"""Words that the vendor uses without documenting them: categories, codes, objects, and fields of forms."""

from __future__ import annotations

import pytest

from ekb_async import EkbSession
from ekb_async.models import (
    CheckedInvoice,
    InvoiceKind,
    InvoiceRef,
    NonTaxIncomeForm,
    OcrInvoice,
    VatCategory,
    VatInvoiceForm,
)
from ekb_async.protocol.decoding import decode_verify
from ekb_async.sandbox import Sandbox
from tests.support.samples import dumped, verify_body


@pytest.mark.parametrize(
    ("word", "kind"),
    [("ELECTRONIC_PAPER_FEE", InvoiceKind.VAT_TOLL), ("ELECTRONIC_PAPER_CAR", InvoiceKind.MOTOR_VEHICLE_SALE)],
)
def test_categories(word: str, kind: InvoiceKind) -> None:
    """Each undocumented category has a member and a kind."""
    (invoice,) = decode_verify(verify_body("system_发票主体", {"E_system_发票主体_发票类别": word})).invoices
    assert isinstance(invoice.form, VatInvoiceForm)
    assert invoice.form.category == word == VatCategory[word]
    assert invoice.kind is kind


@pytest.mark.parametrize(
    ("code", "kind", "label"),
    [
        ("10105a", InvoiceKind.USED_VEHICLE_SALE, "二手车销售统一发票"),
        ("10505a", InvoiceKind.SHIP_TICKET, "船票"),
        ("10900", InvoiceKind.OTHER, "其他"),
        ("10902", InvoiceKind.TAX_PAYMENT_CERTIFICATE, "完税证明"),
        ("20105", InvoiceKind.RIDE_HAILING_ITINERARY, "网约车行程单"),
    ],
)
def test_codes(code: str, kind: InvoiceKind, label: str) -> None:
    """Each undocumented code of the OCR provider has a kind."""
    invoice = OcrInvoice.from_raw(dumped({"type": code, "details": {}}))
    assert (invoice.kind, invoice.kind.label) == (kind, label)


def test_an_electronic_train_ticket() -> None:
    """A value-added-tax invoice that is an electronic train ticket has the attributes of a train ticket."""
    names = ("座位类型", "车次", "车厢", "席位", "上车车站", "下车车站", "乘车人姓名")
    form = VatInvoiceForm.from_raw(dumped({f"E_system_发票主体_{name}": f"<{name}>" for name in names}))
    read = (form.seat_class, form.train_number, form.carriage, form.seat, form.origin, form.destination, form.passenger)
    assert read == tuple(f"<{name}>" for name in names)


def test_a_receipt_for_government_charges() -> None:
    """The unit that receives a government charge is the seller."""
    form = NonTaxIncomeForm.from_raw(dumped({"E_system_非税收入类票据_收款单位": "某大学"}))
    assert form.seller == "某大学"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("invoice", InvoiceKind.VAT_INVOICE),
        ("train", InvoiceKind.TRAIN_TICKET),
        ("noTaxIncome", InvoiceKind.NON_TAX_INCOME),
        ("overseasInvoice", InvoiceKind.OVERSEAS),
        ("other", InvoiceKind.OTHER),
        ("somethingNew", InvoiceKind.UNKNOWN),
        (None, InvoiceKind.UNKNOWN),
    ],
)
def test_objects(word: str | None, kind: InvoiceKind) -> None:
    """A document's word for the object of an invoice is a kind."""
    ref = InvoiceRef.from_raw(dumped({"invoiceId": "c:1:1", "invoiceType": word}))
    assert (ref.type, ref.kind) == (word, kind)
    assert ref.to_dict()["kind"] == kind.value


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("10101", InvoiceKind.VAT_NORMAL),
        ("FULL_DIGITAl_SPECIAL", InvoiceKind.DIGITAL_SPECIAL),
        ("电子发票（普通发票）", InvoiceKind.DIGITAL_NORMAL),
        ("system_火车票", InvoiceKind.TRAIN_TICKET),
        (10101, InvoiceKind.VAT_NORMAL),
        ("", InvoiceKind.UNKNOWN),
        (None, InvoiceKind.UNKNOWN),
        ([], InvoiceKind.UNKNOWN),
    ],
)
def test_the_kind_of_a_checked_invoice(word: object, kind: InvoiceKind) -> None:
    """`invtype` is a kind, in any of the vendor's vocabularies."""
    checked = CheckedInvoice.from_raw(dumped({"value": {"invtype": word}}))
    assert checked.kind is kind
    assert checked.to_dict()["kind"] == kind.value


async def test_a_check_says_the_kind(ekb: EkbSession, quick_box: Sandbox) -> None:
    """A checked invoice of the sandbox has the kind of its category."""
    quick_box.vendor.add_invoice("c:1:1")
    assert (await ekb.verify_by_id("c:1:1")).kind is not InvoiceKind.UNKNOWN
