"""Verified invoices: one form class per kind, with typed fields and a common shape."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ekb_async import models
from ekb_async.models import InvoiceForm, InvoiceKind, MachinePrintedForm, UnknownInvoiceForm, VatInvoiceForm
from ekb_async.protocol.decoding import decode_verify
from tests.support.samples import ENTITY_FIELDS, LINE_ENTITY, dumped, money, sample, verify_body

NOON = int(datetime(2024, 3, 5, 4, 30, tzinfo=UTC).timestamp() * 1000)
"""2024-03-05 12:30 at UTC+8, in the vendor's milliseconds."""
DAY = date(2024, 3, 5)

# entity, class, kind, the wire names (behind the kind's prefix) of total, number, code, date, seller, buyer
KINDS: list[tuple[str, type[InvoiceForm], InvoiceKind, tuple[str | None, ...]]] = [
    (
        "system_发票主体",
        models.VatInvoiceForm,
        InvoiceKind.VAT_INVOICE,
        ("价税合计", "发票号码", "发票代码", "发票日期", "销售方名称", "购买方名称"),
    ),
    (
        "system_火车票",
        models.TrainTicketForm,
        InvoiceKind.TRAIN_TICKET,
        ("金额", "号码", None, "乘车时间", None, None),
    ),
    (
        "system_出租车票",
        models.TaxiReceiptForm,
        InvoiceKind.TAXI_RECEIPT,
        ("金额", "发票号码", "发票代码", "上车时间", None, None),
    ),
    (
        "system_客运汽车发票",
        models.CoachTicketForm,
        InvoiceKind.COACH_TICKET,
        ("金额", "发票号码", "发票代码", "时间", None, None),
    ),
    (
        "system_航空运输电子客票行程单",
        models.FlightItineraryForm,
        InvoiceKind.FLIGHT_ITINERARY,
        ("金额", "电子客票号码", None, "填开日期", "填开单位", None),
    ),
    (
        "system_过路费发票",
        models.TollReceiptForm,
        InvoiceKind.TOLL_RECEIPT,
        ("金额", "发票号码", "发票代码", "时间", None, None),
    ),
    (
        "system_定额发票",
        models.FixedAmountForm,
        InvoiceKind.FIXED_AMOUNT,
        ("金额", "号码", "发票代码", None, None, None),
    ),
    (
        "system_机打发票",
        models.MachinePrintedForm,
        InvoiceKind.MACHINE_PRINTED,
        ("金额", "发票号码", "发票代码", "时间", "销售方名称", "购买方名称"),
    ),
    (
        "system_消费小票",
        models.ShoppingReceiptForm,
        InvoiceKind.SHOPPING_RECEIPT,
        ("金额", None, None, "时间", "店名", None),
    ),
    (
        "system_医疗发票",
        models.MedicalInvoiceForm,
        InvoiceKind.MEDICAL,
        ("金额合计", "票据号码", "票据代码", "开票日期", None, "交款人"),
    ),
    (
        "system_非税收入类票据",
        models.NonTaxIncomeForm,
        InvoiceKind.NON_TAX_INCOME,
        ("金额合计", "票据号码", "票据代码", "开票日期", None, None),
    ),
    (
        "system_其他",
        models.OtherInvoiceForm,
        InvoiceKind.OTHER,
        ("金额", None, None, "日期", None, None),
    ),
]

WIRE: dict[str, Any] = {
    "text": "words",
    "money": money("12.30"),
    "date": NOON,
    "flag": True,
    "number": 90.0,
    "box": [0, 0, 1072.0, 1674],
}
SHOWN: dict[str, Any] = {
    "text": "words",
    "money": "12.30",
    "date": "2024-03-05",
    "flag": True,
    "number": 90.0,
    "box": [0.0, 0.0, 1072.0, 1674.0],
}
"""The same values in `to_dict()`."""
MEANT: dict[str, tuple[Any, Any]] = {
    "E_system_机打发票_是否有印章": (1, True),
    "E_system_航空运输电子客票行程单_乘机时间": (NOON, "2024-03-05T12:30:00+08:00"),
    "E_system_出租车票_下车时间": (NOON, "2024-03-05T12:30:00+08:00"),
    "E_税率": ("9.0000", "0.090000"),
}
"""Wire fields with a meaning that differs from their declared type: wire value and value in `to_dict()`."""


@pytest.mark.parametrize(("entity", "form", "kind", "shape"), KINDS)
def test_a_kind_decodes_to_its_own_class(
    entity: str, form: type[InvoiceForm], kind: InvoiceKind, shape: tuple[str | None, ...]
) -> None:
    """Each entity has a class of its own, with those of the six common attributes that the kind has."""
    values = [money("12.30"), "91068626", "031001900204", NOON, "卖方", "买方"]
    wire = {f"E_{entity}_{name}": value for name, value in zip(shape, values, strict=True) if name}
    invoice = decode_verify(verify_body(entity, wire)).invoices[0]
    read = invoice.form
    assert type(read) is form
    assert (invoice.kind, invoice.entity_id) == (kind, entity)
    expected = [Decimal("12.30"), "91068626", "031001900204", DAY, "卖方", "买方"]
    assert [read.total, read.number, read.code, read.date, read.seller, read.buyer] == [
        value if name else None for name, value in zip(shape, expected, strict=True)
    ]
    assert read.currency == "CNY"
    assert read.raw == dumped(wire)


@pytest.mark.parametrize(("entity", "form"), [(entity, form) for entity, form, *_ in KINDS])
def test_every_wire_field_has_a_typed_attribute(entity: str, form: type[InvoiceForm]) -> None:
    """Each field that the vendor lists for a kind has an attribute with an English name and the right type."""
    nothing = form.from_raw(b"{}").to_dict()
    assert all(name.isascii() for name in nothing)
    for wire_name, sort in ENTITY_FIELDS[entity].items():
        sent, shown = MEANT.get(wire_name, (WIRE[sort], SHOWN[sort]))
        read = form.from_raw(dumped({wire_name: sent})).to_dict()
        assert shown in [value for name, value in read.items() if value != nothing[name]], wire_name


def test_all_kinds_of_the_vendor_are_here() -> None:
    """Each of the twelve kinds that the vendor lists fields for has a class with the Chinese name in its docstring."""
    assert [entity for entity, *_ in KINDS if entity not in ENTITY_FIELDS] == []
    assert {entity for entity, *_ in KINDS} == set(ENTITY_FIELDS) - {LINE_ENTITY}
    assert len({form for _, form, *_ in KINDS}) == 12
    assert all(form.__doc__ and not form.__doc__.isascii() for _, form, *_ in KINDS)


def test_the_vat_sample() -> None:
    """The vendor's example of a value-added-tax invoice is read: form, line, and whether it may be used."""
    invoice = decode_verify(sample("verify-vat")).invoices[0]
    form = invoice.form
    assert isinstance(form, VatInvoiceForm)
    assert (form.total, form.amount_excluding_tax, form.tax) == (Decimal("324.00"), Decimal("305.66"), Decimal("18.34"))
    assert (form.deductible_tax, form.is_deductible, form.currency) == (Decimal("18.34"), True, "CNY")
    assert (form.seller_tax_id, form.buyer_address_phone, form.pdf_key) == ("91310115794481239D", "", None)
    assert (form.date, form.orientation, form.region) == (date(2022, 3, 4), 90.0, [0.0, 0.0, 1072.0, 1674.0])
    assert invoice.kind is InvoiceKind.VAT_NORMAL
    assert (invoice.usable, invoice.is_used, invoice.status) == (False, True, "NO_RESULT")
    assert invoice.message == "该发票在单据[B22001240]中已经关联"
    assert invoice.created_at == datetime(2022, 10, 20, 10, 22, 17, 252000, tzinfo=UTC)
    assert invoice.updated_at is not None
    assert invoice.updated_at.utcoffset() == timedelta(hours=8)
    (line,) = invoice.details
    assert (line.id, line.invoice_id, line.name) == ("ID01k6ciewufHV", invoice.id, "*住宿服务*住宿费")
    assert (line.unit_price, line.quantity, line.tax_rate, line.tax) == (
        Decimal("305.66"),
        Decimal(1),
        Decimal("0.06"),
        Decimal("18.34"),
    )
    assert (line.unit, line.specification, line.is_used) == ("", "", True)


def test_the_train_sample() -> None:
    """The vendor's example of a train ticket is read: the rate `9.0000` is 9 %, and the time of day is kept."""
    invoice = decode_verify(sample("verify-train")).invoices[0]
    form = invoice.form
    assert isinstance(form, models.TrainTicketForm)
    assert (form.total, form.number, form.code) == (Decimal("553.00"), "X027731", None)
    assert (form.tax_rate, form.tax_rate_text, form.deductible_tax) == (Decimal("0.09"), "9.0000", Decimal("45.66"))
    assert form.departed_at == datetime(2019, 4, 7, 9, 13, tzinfo=UTC)
    assert (form.date, form.origin, form.destination) == (date(2019, 4, 7), "上海虹桥", "北京南")
    assert invoice.details == []


@pytest.mark.parametrize("entity", ["system_新票种", "", None, 5, [], {"a": 1}])
def test_a_kind_to_come_decodes(entity: Any) -> None:
    """An unknown entity gives a form with the common attributes and all of its bytes."""
    form = {"E_system_新票种_金额": money("1.00"), "E_税额": money("0.10"), "E_是否抵扣": True}
    invoice = decode_verify(verify_body(entity, form)).invoices[0]
    assert type(invoice.form) is UnknownInvoiceForm
    assert invoice.kind is InvoiceKind.UNKNOWN
    assert (invoice.form.deductible_tax, invoice.form.is_deductible, invoice.form.total) == (
        Decimal("0.10"),
        True,
        None,
    )
    assert invoice.form.raw == dumped(form)


@pytest.mark.parametrize("form", [None, [], "text", 1, {}])
def test_a_form_that_is_none_is_empty(form: Any) -> None:
    """A form that is not an object has None in every attribute and its bytes in `raw`."""
    read = decode_verify(verify_body("system_火车票", form)).invoices[0].form
    assert isinstance(read, models.TrainTicketForm)
    assert set(read.to_dict().values()) == {None}
    assert read.raw == dumped(form)


def test_types_that_the_vendor_does_not_keep() -> None:
    """Integers as texts, scales as texts, empty regions and amounts as numbers are read; missing values are None."""
    wire = {
        "E_system_机打发票_发票号码": 12345678,
        "E_system_机打发票_是否有印章": 1,
        "E_system_机打发票_金额": {"standard": 57.02, "standardScale": "2", "standardStrCode": "CNY"},
        "E_system_机打发票_税额": None,
        "E_system_机打发票_校验码": {"not": "text"},
        "E_system_机打发票_时间": "2024-03-05",
        "E_system_发票主体_识别范围": [],
        "E_system_发票主体_方向": "90",
        "E_不计税金额": {"standard": "nonsense"},
        "E_later": 1,
    }
    form = decode_verify(verify_body("system_机打发票", wire)).invoices[0].form
    assert isinstance(form, MachinePrintedForm)
    assert (form.number, form.has_seal, form.total, form.date) == ("12345678", True, Decimal("57.02"), DAY)
    assert (form.region, form.orientation) == ([], 90.0)
    assert (form.tax, form.check_code, form.amount_excluding_tax, form.seller) == (None, None, None, None)
    assert form.raw == dumped(wire)


def test_the_currency_is_not_taken_for_granted() -> None:
    """The currency is that of the amounts; it is None if they have none or several."""
    total, tip = "E_system_消费小票_金额", "E_system_消费小票_小费"
    read = models.ShoppingReceiptForm.from_raw
    assert read(dumped({total: money("9.00", "USD"), tip: money("1.00", "USD")})).currency == "USD"
    assert read(dumped({total: money("9.00", "USD"), tip: money("1.00")})).currency is None
    assert read(dumped({total: {"standard": "9.00"}})).currency is None
    assert read(b"{}").currency is None


@pytest.mark.parametrize("mark", ["<br>", "<br/>", "<br />", "<BR>", "</br>", "&lt;br&gt;", " <br> "])
def test_the_message_is_plain_text(mark: str) -> None:
    """`<br>` in any spelling becomes a line break."""
    body = verify_body("system_其他", {}, message=f"已使用{mark}请更换{mark}{mark}谢谢")
    assert decode_verify(body).invoices[0].message == "已使用\n请更换\n\n谢谢"


def test_used_is_the_opposite_of_active() -> None:
    """`active` true means unused, false means used; if it is missing, `is_used` is None."""
    for active, used in ((True, False), (False, True), (None, None)):
        master: dict[str, Any] = {"entityId": "system_其他", "form": {}, "active": active}
        (invoice,) = decode_verify(dumped({"items": [{"master": master}]})).invoices
        assert invoice.is_used is used


def test_several_invoices_of_an_image_keep_their_order() -> None:
    """The invoices of one image keep their order; an entry that is not an object becomes an empty invoice."""
    items = [{"master": {"id": "a"}}, None, {"master": None}, {"master": {"id": "b"}, "details": None}]
    result = decode_verify(dumped({"items": items}))
    assert [invoice.id for invoice in result.invoices] == ["a", None, None, "b"]
    assert [invoice.raw for invoice in result.invoices] == [dumped(item) for item in items]
