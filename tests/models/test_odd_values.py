"""A reply is decoded in one pass if it is as documented, else object by object, with the same result."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async.errors import ResponseError
from ekb_async.models import InvoiceDetail, OcrDetails, TaxiReceiptForm, VatInvoiceForm
from ekb_async.models.verified import verify_reader
from ekb_async.protocol import decoding
from tests.support.samples import dumped, loaded, money, verify_body

CHINA = timezone(timedelta(hours=8))
SAMPLES: list[tuple[str, Callable[[bytes], list[Any]], Callable[[Any], list[Any]]]] = [
    ("ocr", lambda body: decoding.decode_ocr(body).invoices, lambda reply: reply["value"]["invoices"]),
    ("verify-vat", lambda body: decoding.decode_verify(body).invoices, lambda reply: reply["items"]),
    ("verify-train", lambda body: decoding.decode_verify(body).invoices, lambda reply: reply["items"]),
    ("invoice-url", decoding.decode_invoice_urls, lambda reply: reply["items"]),
    ("invoice-detail", decoding.decode_details, lambda reply: reply["items"]),
]
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()) | st.builds(dict, a=st.none())
)


def parts(model: Any) -> list[Any]:
    """The model and the models inside it."""
    details = getattr(model, "details", [])
    form = getattr(model, "form", None)
    return [model, *([form] if form else []), *(details if isinstance(details, list) else [details])]


@pytest.mark.parametrize(("name", "decode", "entries"), SAMPLES)
@pytest.mark.parametrize("odd", [None, 5, "text", []])
def test_an_odd_entry_changes_none_of_the_others(name: str, decode: Any, entries: Any, odd: object) -> None:
    """An entry that is not an object changes neither the values nor the bytes of the entries before it."""
    reply = loaded(name)
    alone = decode(dumped(reply))
    entries(reply).append(odd)
    *among_odd, last = decode(dumped(reply))
    assert last.raw == dumped(odd)
    assert among_odd == alone
    for mine, theirs in zip(among_odd, alone, strict=True):
        assert mine.to_dict() == theirs.to_dict()
        assert [part.raw for part in parts(mine)] == [part.raw for part in parts(theirs)]


def unchanged(model: Any, wire: str) -> dict[str, Any]:
    """The values of all wire fields but one."""
    cls = type(model)
    named = {name: getattr(cls, name) for name in dir(cls) if hasattr(getattr(cls, name), "wire")}
    return {name: getattr(model, name) for name, field in named.items() if field.wire != wire}


FORM = loaded("verify-vat")["items"][0]["master"]["form"]
MASTER = loaded("verify-vat")["items"][0]["master"]
LINE = loaded("invoice-detail")["items"][0]
DETAILS = loaded("ocr")["value"]["invoices"][0]["details"]


@given(st.sampled_from(sorted(FORM)), VALUES)
def test_an_odd_value_of_a_form_costs_only_itself(wire: str, odd: object) -> None:
    """Any value in one field of a form leaves all other fields of the form and its invoice unchanged."""
    reply = loaded("verify-vat")
    (before,) = decoding.decode_verify(dumped(reply)).invoices
    reply["items"][0]["master"]["form"][wire] = odd
    (after,) = decoding.decode_verify(dumped(reply)).invoices
    assert unchanged(after.form, wire) == unchanged(before.form, wire)
    assert unchanged(after, wire) == unchanged(before, wire)
    assert after.details == before.details
    assert after.form.raw == dumped(reply["items"][0]["master"]["form"])


@given(st.sampled_from(sorted(MASTER.keys() - {"form", "entityId"})), VALUES)
def test_an_odd_value_of_a_master_costs_only_itself(wire: str, odd: object) -> None:
    """Any value in one field of `master` leaves the form and all other fields unchanged."""
    reply = loaded("verify-vat")
    (before,) = decoding.decode_verify(dumped(reply)).invoices
    reply["items"][0]["master"][wire] = odd
    (after,) = decoding.decode_verify(dumped(reply)).invoices
    assert unchanged(after, wire) == unchanged(before, wire)
    assert (after.form, after.details) == (before.form, before.details)


@given(st.sampled_from(sorted(DETAILS)), VALUES)
def test_an_odd_value_of_a_recognised_invoice_costs_only_itself(wire: str, odd: object) -> None:
    """Any value in one field of the OCR details leaves all other fields unchanged."""
    before, after = OcrDetails.from_raw(dumped(DETAILS)), OcrDetails.from_raw(dumped(DETAILS | {wire: odd}))
    assert unchanged(after, wire) == unchanged(before, wire)


@given(st.sampled_from(sorted(LINE)), VALUES)
def test_an_odd_value_of_a_line_costs_only_itself(wire: str, odd: object) -> None:
    """Any value in one field of a line leaves its other fields and the next line unchanged."""
    before, *_ = decoding.decode_details(dumped({"items": [LINE]}))
    after, beside = decoding.decode_details(dumped({"items": [LINE | {wire: odd}, LINE]}))
    assert unchanged(after, wire) == unchanged(before, wire)
    assert (beside, beside.raw) == (before, before.raw)


def test_a_number_for_a_text_is_its_digits_wherever_it_stands() -> None:
    """An integer where text is documented is read as its digits, in deferred fields as well."""
    numbers = {"E_system_发票主体_发票号码": 91068626, "E_system_发票主体_校验码": 717829}
    (invoice,) = decoding.decode_verify(verify_body("system_发票主体", numbers, status=7)).invoices
    assert isinstance(invoice.form, VatInvoiceForm)
    assert (invoice.form.number, invoice.form.check_code, invoice.status) == ("91068626", "717829", "7")


def test_fields_of_a_verified_invoice_may_stand_at_either_level() -> None:
    """Fields documented in `master` are read next to it as well, and the other way round."""
    form = {"E_system_出租车票_金额": money("31.00")}
    master = {"id": "a", "entityId": "system_出租车票", "active": True, "form": form}
    below = {"message": "m", "status": "s", "ischeck": True, "details": [{"id": "L"}]}
    items = [{"master": master} | below, {"master": master | below}, master | below, {"master": {"id": "b"}} | master]
    documented, inside, beside, both = decoding.decode_verify(dumped({"items": items})).invoices
    assert documented == inside == beside
    assert (documented.id, documented.message, documented.usable, documented.form.currency) == ("a", "m", True, "CNY")
    assert [line.id for line in beside.details] == ["L"]
    assert (both.id, type(both.form)) == ("a", TaxiReceiptForm)
    assert [invoice.form.raw for invoice in (documented, inside, beside, both)] == [dumped(form)] * 4
    (alone,) = decoding.decode_verify(dumped({"items": [{"master": master | below}]})).invoices
    assert alone == documented


def test_the_lines_of_an_invoice_are_one_list() -> None:
    """The lines are the same list object on every access."""
    (invoice,) = decoding.decode_verify(dumped(loaded("verify-vat"))).invoices
    assert invoice.details is invoice.details
    assert invoice.details[0].raw == dumped(loaded("verify-vat")["items"][0]["details"][0])


def test_an_amount_and_a_date_may_share_a_field_with_another_reading() -> None:
    """Two attributes of one wire field are both right, in any order of access."""
    taxi = TaxiReceiptForm.from_raw(dumped({"E_system_出租车票_上车时间": 1709613000000, "E_税率": "3%"}))
    assert (taxi.boarded_at, taxi.date) == (datetime(2024, 3, 5, 4, 30, tzinfo=UTC), date(2024, 3, 5))
    assert (taxi.tax_rate_text, str(taxi.tax_rate)) == ("3%", "0.03")
    line = InvoiceDetail.from_raw(dumped({"E_system_发票明细_税率": 6}))
    assert (line.tax_rate_text, str(line.tax_rate)) == ("6", "0.06")


@given(st.integers(10**12, 10**13 - 1))
def test_milliseconds_are_the_same_day_as_their_moment(milliseconds: int) -> None:
    """A date from epoch milliseconds is the date at UTC+8."""
    taxi = TaxiReceiptForm.from_raw(dumped({"E_system_出租车票_上车时间": milliseconds}))
    expected = datetime(1970, 1, 1, tzinfo=UTC).astimezone(CHINA) + timedelta(milliseconds=milliseconds)
    assert (taxi.boarded_at, taxi.date) == (expected, expected.date())


@given(st.dates(date(1900, 1, 1)))
def test_printed_dates_are_read_in_either_form(day: date) -> None:
    """A date is the same with and without leading zeros."""
    for written in (f"{day.year}年{day.month:02}月{day.day:02}日", f"{day.year}年{day.month}月{day.day}日"):
        assert OcrDetails.from_raw(dumped({"date": written})).date == day


@given(st.text("0123456789-/.年月日时分： ", max_size=16) | st.dates().map("{:%Y年%m月%d日}".format))
def test_a_date_is_the_day_of_its_moment(written: str) -> None:
    """A text is read as the same day, also a second time, whether the field holds dates or times."""
    taxi = TaxiReceiptForm.from_raw(dumped({"E_system_出租车票_上车时间": written}))
    expected = taxi.boarded_at and taxi.boarded_at.date()
    assert [taxi.date, taxi.date] == [expected, expected]


@given(st.sampled_from([-1, 0, 1, 2]) | st.integers(-(10**21), 10**21))
def test_an_integer_is_the_same_as_its_digits(value: int) -> None:
    """A flag and a count are the same from an integer, from a fraction with the same value, and from a text."""
    body = '{"active": %s, "useCount": %s}'
    forms = (f"{value}", f"{value}.0", f'"{value}"')
    lines = [InvoiceDetail.from_raw((body % (form, form)).encode()) for form in forms]
    assert len({(line.is_used, line.use_count) for line in lines}) == 1


@given(st.integers(0, 700))
def test_another_encoding_is_refused_wherever_it_begins(before: int) -> None:
    """A reply in another encoding is a ResponseError, even if its first bytes are ASCII."""
    body = json.dumps({"items": [{"id": "a" * before, "name": "发票明细和金额"}]}, ensure_ascii=False)
    assert decoding.decode_details(body.encode())[0].id == "a" * before
    with pytest.raises(ResponseError, match="UTF-8"):
        decoding.decode_details(body.encode("gbk"))


NEEDED = ("id", "usable", "message", "is_used", "code", "number", "date", "total", "tax", "seller", "currency")


def read_partly(body: bytes) -> list[dict[str, object]]:
    """The needed values of the invoices in a reply, read by a reader for these alone."""
    return [values_of(invoice) for invoice in verify_reader(NEEDED)(body)]


def values_of(invoice: Any) -> dict[str, object]:
    """The needed values of an invoice, its kind, and how many lines it has."""
    found = {name: getattr(invoice, name, None) or getattr(invoice.form, name, None) for name in NEEDED}
    return found | {"kind": invoice.kind, "lines": len(invoice.details)}


@pytest.mark.parametrize("sample", ["verify-vat", "verify-train"])
@given(data=st.data())
def test_a_reader_of_few_attributes_reads_the_same(sample: str, data: st.DataObject) -> None:
    """Wherever a field lies, and whatever its value is, what is read has the values of the whole model."""
    reply = loaded(sample)
    (item, *_) = reply["items"]
    place = data.draw(st.sampled_from([item, item["master"], item["master"]["form"]]))
    name = data.draw(st.sampled_from([*item, *item["master"], *item["master"]["form"]]))
    place[name] = data.draw(VALUES)
    body = dumped(reply)
    whole = decoding.decode_verify(body).invoices
    assert read_partly(body) == [values_of(invoice) for invoice in whole]


def test_a_reader_of_few_attributes_skips_others() -> None:
    """Only what is asked for is decoded, and an answer that is none is the same error."""
    (invoice,) = verify_reader(("number",))(dumped(loaded("verify-vat")))
    assert invoice.form.number == "91068626"
    with pytest.raises(AttributeError):
        _ = invoice.form.seller
    with pytest.raises(ResponseError, match="no list in `items`"):
        verify_reader(("number",))(b"{}")
