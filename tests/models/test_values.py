"""Coercion of texts to numbers, rates, dates and flags, tested through the models."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async.models import InvoiceDetail, InvoiceId, OcrDetails, TaxiReceiptForm
from tests.support.samples import dumped, money


def line(**fields: Any) -> InvoiceDetail:
    return InvoiceDetail.from_raw(dumped({f"E_system_发票明细_{name}": value for name, value in fields.items()}))


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("6%", "0.06"),
        ("13％", "0.13"),
        ("1.5%", "0.015"),
        ("9.0000", "0.09"),
        ("0", "0"),
        ("0%", "0"),
        ("6", "0.06"),
        ("0.06", "0.06"),
        ("0.5", "0.005"),
        ("免税", None),
        ("不征税", None),
        ("***", None),
        ("", None),
        ("-6%", None),
        ("600", None),
    ],
)
def test_rates(text: str, fraction: str | None) -> None:
    """A rate is a fraction, with or without a percent sign; a word is None, and the text is kept."""
    read = line(税率=text)
    assert read.tax_rate == (None if fraction is None else Decimal(fraction))
    assert read.tax_rate_text == text


def test_a_rate_may_be_a_number() -> None:
    """A rate may be a number, in percent."""
    read = line(税率=6)
    assert (read.tax_rate, read.tax_rate_text) == (Decimal("0.06"), "6")


@pytest.mark.parametrize(
    ("standard", "amount"),
    [
        ("324.00", "324.00"),
        ("1", "1"),
        ("-5.10", "-5.10"),
        ("1,234,567.89", "1234567.89"),
        ("¥103834.00", "103834.00"),
        ("￥12.5元", "12.5"),
        (" 7 ", "7"),
        (57.02, "57.02"),
        (12, "12"),
        ("", None),
        ("-", None),
        ("1,23", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e5", None),
        ("壹拾", None),
        (True, None),
        ([], None),
    ],
)
def test_amounts(standard: object, amount: str | None) -> None:
    """An amount is the decimal as written, with its scale; anything else is None."""
    read = line(金额=money(standard)).amount
    assert (None if read is None else str(read)) == amount


def test_amounts_never_pass_through_a_binary_float() -> None:
    """An amount that is a JSON number keeps all its digits."""
    form = '{"E_system_出租车票_金额": {"standard": 12345678901234567.89}}'
    assert TaxiReceiptForm.from_raw(form.encode()).total == Decimal("12345678901234567.89")


@given(st.text("0123456789.٣", max_size=45))
def test_digits_and_points_are_read_like_any_other_amount(text: str) -> None:
    """The shortcut for plain digits gives the amounts that the general way gives."""
    short, general = line(金额=text).amount, line(金额=f"{text}元").amount
    assert repr(short) == repr(general)


@pytest.mark.parametrize("number", ["1e999999", "1e99999999999999999999", "1e-99", "123456789012345678901234567890"])
def test_absurd_numbers_are_none(number: str) -> None:
    """A number with more digits than any amount is None, and its digits are in `raw`."""
    raw = f'{{"E_system_出租车票_金额":{number}}}'.encode()
    form = TaxiReceiptForm.from_raw(raw)
    assert (form.total, form.raw) == (None, raw)


@pytest.mark.parametrize(
    "written",
    [
        "2021年06月11日",
        "2021年6月11日",
        "2021 年 06 月 11 日",
        "20210611",
        20210611,
        "2021-06-11",
        "2021/6/11",
        "2021.06.11",
        "2021-06-11 10:13",
        "2021-06-11T10:13:14",
        "2021-06-10T18:00:00Z",
        "2021年06月11日 10时13分14秒",
        1623340800000,
        "1623340800000",
        20210611101314,
        "202106111013",
    ],
)
def test_dates(written: object) -> None:
    """Every written form of a date, and epoch milliseconds, is the date at UTC+8."""
    assert OcrDetails.from_raw(dumped({"date": written})).date == date(2021, 6, 11)


@pytest.mark.parametrize(
    "written", ["", "2021-02-30", "20211301", "210611", "昨天", 0, 1623340800, 1e30, -(10**20), [], True]
)
def test_dates_that_are_none(written: object) -> None:
    """A value that is not a date is None."""
    assert OcrDetails.from_raw(dumped({"date": written})).date is None


@pytest.mark.parametrize("written", [1709613000000, "1709613000000", "2024-03-05 12:30", "2024-03-05T04:30:00+00:00"])
def test_times_are_aware(written: object) -> None:
    """A point in time has the time zone UTC+8, in whatever form it was written."""
    read = TaxiReceiptForm.from_raw(dumped({"E_system_出租车票_上车时间": written}))
    assert read.boarded_at == datetime(2024, 3, 5, 4, 30, tzinfo=UTC)
    assert str(read.boarded_at).endswith("+08:00")
    assert read.date == date(2024, 3, 5)


@pytest.mark.parametrize(("text", "quantity"), [("1", "1"), ("2.5", "2.5"), (3, "3"), ("", None), ("若干", None)])
def test_quantities(text: object, quantity: str | None) -> None:
    """A quantity is a Decimal, or None if the vendor left it empty or wrote a word."""
    assert line(数量=text).quantity == (None if quantity is None else Decimal(quantity))


def test_empty_and_left_out_differ() -> None:
    """An empty text is "", a missing or null one is None."""
    assert (line(规格型号="").specification, line(规格型号=None).specification, line().specification) == (
        "",
        None,
        None,
    )


def test_to_dict_is_ready_for_json() -> None:
    """`to_dict()` has amounts as texts with all their digits, and dates in ISO 8601."""
    taxi = TaxiReceiptForm.from_raw(
        dumped({"E_system_出租车票_金额": money("31.00"), "E_system_出租车票_上车时间": 1709613000000})
    )
    shown = taxi.to_dict()
    assert (shown["total"], shown["date"], shown["boarded_at"]) == ("31.00", "2024-03-05", "2024-03-05T12:30:00+08:00")
    assert json.loads(json.dumps(shown)) == shown
    assert line(金额=money("0.000000001")).to_dict()["amount"] == "0.000000001"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rGN3lum_4o00hM:031001900204:91068626", ("rGN3lum_4o00hM", "031001900204", "91068626", None)),
        ("Tdk3tgber501v0::23312000000123878916:2", ("Tdk3tgber501v0", "", "23312000000123878916", "2")),
        ("corp:code:number:", ("corp", "code", "number", "")),
        ("corp:code:number:4:x", ("corp", "code", "number", "4:x")),
        ("ID01xO4jZjprrx", (None, None, "ID01xO4jZjprrx", None)),
        ("5-sbyDJSOI0800", (None, None, "5-sbyDJSOI0800", None)),
        ("a:b", (None, None, "a:b", None)),
        ("", (None, None, "", None)),
    ],
)
def test_invoice_ids(text: str, parts: tuple[str | None, ...]) -> None:
    """An ID is split into corporation, code, number and suffix and joined again; an opaque one stays whole."""
    read = InvoiceId.parse(text)
    assert (read.corporation, read.code, read.number, read.suffix) == parts
    assert read.is_opaque == (parts[0] is None)
    assert str(read) == text
