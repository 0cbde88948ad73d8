"""Any JSON in any field gives a result or a ResponseError, never another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async.errors import ConfigError, ResponseError
from ekb_async.models import InvoiceId, VerifyResult, expense_invoice_form
from ekb_async.protocol import decoding as d
from tests.support.samples import ENTITY_FIELDS, LINE_ENTITY, dumped, money

pytestmark = pytest.mark.slow

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.from_regex(r"[-+¥]?\d{0,9}[,.年/%-]?\d{0,4}[.月/%元-]?\d{0,3}日?")
    | st.sampled_from(
        [10**13, -(10**16), 20211399, "1e5", "2021-06-11T25:00", "9999-12-31T23:59:59-23:59", "<br>", "***"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
MONEY = st.builds(money, SCALARS, SCALARS) | JSON
LINE_FIELDS = ["id", "masterId", "active", "entityId", "createTime", "useCount", *ENTITY_FIELDS[LINE_ENTITY]]
URLS = st.text().map("https://{}".format) | st.integers().map("https://a/b?Expires={}".format) | JSON


def objects(names: list[str], value: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    """Objects with any of the fields, each with any value, or any other JSON."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, value)) | JSON


FORMS = st.sampled_from([entity for entity in ENTITY_FIELDS if entity != LINE_ENTITY]).flatmap(
    lambda entity: st.tuples(st.just(entity), objects(list(ENTITY_FIELDS[entity]), MONEY))
)
MASTERS = st.builds(
    lambda rest, form: {**(rest if isinstance(rest, dict) else {}), "entityId": form[0], "form": form[1]},
    objects(["id", "active", "createTime", "updateTime", "name", "useCount"]),
    FORMS,
)
LINES: st.SearchStrategy[Any] = objects(LINE_FIELDS, MONEY) | st.builds(dict, form=objects(LINE_FIELDS, MONEY))
VERIFIED = st.fixed_dictionaries(
    {},
    optional={
        "master": MASTERS | JSON,
        "details": st.lists(LINES, max_size=2) | JSON,
        "message": JSON,
        "status": JSON,
        "ischeck": st.just(value=True) | JSON,
    },
)
DETAILS = objects(["code", "number", "date", "total", "tax", "electronic_mark", "block_chain", "seller"])
INVOICES = st.fixed_dictionaries({}, optional={"type": JSON, "region": JSON, "orientation": JSON, "details": DETAILS})
CHECKED = objects(["invcode", "invdate", "invamt", "itemdata", "rawdata", "invoiceVerify"]) | st.builds(
    lambda inner: {"itemdata": json.dumps(inner)}, JSON
)


def read_through(found: Any) -> None:
    """Access everything that a result offers."""
    for model in found.values() if isinstance(found, dict) else found if isinstance(found, list) else [found]:
        for each in model if isinstance(model, list) else [model]:
            if hasattr(each, "to_dict"):
                json.dumps(each.to_dict())
                assert each == each.from_raw(each.raw) if hasattr(each, "from_raw") else each.raw
            repr(each)


def check(decode: Callable[[bytes], Any], value: Any) -> None:
    body = dumped(value)
    try:
        found = decode(body)
    except ResponseError:
        return
    read_through(found)


@given(st.lists(VERIFIED | JSON, max_size=3) | JSON)
def test_verified(items: Any) -> None:
    """OCR + verification accepts any JSON in any field of any kind."""
    check(d.decode_verify, {"items": items})


@given(st.fixed_dictionaries({"invoices": st.lists(INVOICES | JSON, max_size=3) | JSON, "platform": JSON}) | JSON)
def test_ocr(value: Any) -> None:
    """OCR accepts any JSON in any field."""
    check(d.decode_ocr, {"value": value})


@given(st.lists(LINES | JSON, max_size=3) | JSON)
def test_details(items: Any) -> None:
    """Lines of either shape accept any JSON in any field."""
    check(d.decode_details, {"items": items})


@given(st.lists(objects(["id", "url", "thumbUrl", "source", "region"], URLS), max_size=3) | JSON)
def test_urls(items: Any) -> None:
    """File URLs and download URLs accept any JSON in any field, invalid URLs included."""
    check(d.decode_invoice_urls, {"items": items})
    check(d.decode_file_urls, items)


@given(CHECKED)
def test_checked(value: Any) -> None:
    """Verification by ID or by fields accepts any JSON in any field, inside the JSON texts as well."""
    check(d.decode_checked, {"value": value})


@given(st.dictionaries(st.text(), st.lists(objects(["invoiceId", "invoiceItemId"])) | JSON, max_size=3) | JSON)
def test_documents_and_uploads(value: Any) -> None:
    """Invoices of documents and uploads accept any JSON in any field."""
    check(d.decode_flow_invoices, {"value": value})
    check(d.decode_attachment, {"value": value})


DECODERS = [
    d.decode_ocr,
    d.decode_verify,
    d.decode_details,
    d.decode_invoice_urls,
    d.decode_checked,
    d.decode_flow_invoices,
    d.decode_attachment,
    d.decode_file_urls,
]


@pytest.mark.parametrize("decode", DECODERS)
@settings(max_examples=50)
@given(body=st.binary() | JSON.map(dumped))
def test_any_body(decode: Callable[[bytes], Any], body: bytes) -> None:
    """Any bytes give a result or a ResponseError."""
    try:
        found = decode(body)
    except ResponseError:
        return
    read_through(found)


@given(st.lists(VERIFIED, max_size=3))
def test_expense_forms(items: list[Any]) -> None:
    """Verified invoices with any JSON are bound to an expense or refused with a ConfigError."""
    try:
        result = VerifyResult.from_raw(dumped({"items": items}))
    except ResponseError:
        return
    try:
        encoded = expense_invoice_form(result.invoices).encode()
    except ConfigError:
        return
    assert json.loads(encoded)["type"] == "exist"


@given(st.text() | st.from_regex(r"\w*:\w*:\w*:?\w*"))
def test_invoice_ids(text: str) -> None:
    """Any text that is split as an invoice ID is joined to the same text."""
    assert str(InvoiceId.parse(text)) == text
