"""Models keep the vendor's bytes, a broken envelope is a ResponseError, and no `repr` shows a signature."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ekb_async import models
from ekb_async.errors import ResponseError
from ekb_async.models import Attachment, FileUrl, InvoiceDetail, InvoiceKind, InvoiceUrl
from ekb_async.models.wire.limits import LIMITS
from ekb_async.protocol import decoding
from tests.support.samples import dumped, loaded, sample

DECODERS: list[tuple[Callable[[bytes], Any], str]] = [
    (decoding.decode_ocr, "value"),
    (decoding.decode_verify, "items"),
    (decoding.decode_invoice_urls, "items"),
    (decoding.decode_details, "items"),
    (decoding.decode_checked, "value"),
    (decoding.decode_flow_invoices, "value"),
    (decoding.decode_attachment, "value"),
]
SIGNED = "https://files.example/1.png?Expires=1690925436&OSSAccessKeyId=STS.K&Signature=c2ln"


def sample_models() -> dict[str, tuple[Any, Any]]:
    """Every model in the sample replies, with the JSON value that its `raw` should contain."""
    ocr, verify = loaded("ocr"), loaded("verify-vat")
    read, checked = decoding.decode_ocr(sample("ocr")), decoding.decode_verify(sample("verify-vat"))
    return {
        "result": (read, ocr),
        "invoice": (read.invoices[0], ocr["value"]["invoices"][0]),
        "details": (read.invoices[0].details, ocr["value"]["invoices"][0]["details"]),
        "verify": (checked, verify),
        "verified": (checked.invoices[0], verify["items"][0]),
        "form": (checked.invoices[0].form, verify["items"][0]["master"]["form"]),
        "nested line": (checked.invoices[0].details[0], verify["items"][0]["details"][0]),
        "line": (decoding.decode_details(sample("invoice-detail"))[0], loaded("invoice-detail")["items"][0]),
        "url": (decoding.decode_invoice_urls(sample("invoice-url"))[0], loaded("invoice-url")["items"][0]),
    }


MODELS = sample_models()


@pytest.mark.parametrize("name", MODELS)
def test_raw_is_what_the_vendor_sent(name: str) -> None:
    """`raw` is the part of the reply that the model came from, byte for byte."""
    model, wire = MODELS[name]
    bodies = [sample(body) for body in ("ocr", "verify-vat", "invoice-detail", "invoice-url")]
    assert any(model.raw in body for body in bodies)
    assert msgspec.json.decode(model.raw) == wire


@pytest.mark.parametrize("name", MODELS)
def test_models_copy_pickle_and_compare(name: str) -> None:
    """A copy, and a model read again from `raw`, equal the original in all values and in `raw`."""
    model, _ = MODELS[name]
    pickled = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    for twin in (pickled, copy.copy(model), copy.deepcopy(model), model.from_raw(model.raw)):
        assert twin == model
        assert twin.raw == model.raw
    assert model != model.from_raw(b'{"value": {}, "items": []}')
    assert not model != model.from_raw(model.raw)  # noqa: SIM202 - the operator itself is in question
    assert model != "something else"


@pytest.mark.parametrize("name", MODELS)
def test_reprs_are_short(name: str) -> None:
    """A `repr` contains the class and the main values, without the bytes."""
    model, _ = MODELS[name]
    assert repr(model).startswith(type(model).__name__ + "(")
    assert len(repr(model)) < 500
    assert "b'" not in repr(model)


@pytest.mark.parametrize("name", MODELS)
def test_models_cannot_be_changed(name: str) -> None:
    """Models are immutable."""
    model, _ = MODELS[name]
    with pytest.raises(AttributeError):
        model.anything = 1


def test_equal_values_from_other_bytes_are_equal() -> None:
    """Spacing and unknown fields do not affect equality, but are kept in `raw`."""
    one = InvoiceDetail.from_raw(b'{"id":"a","later":1}')
    two = InvoiceDetail.from_raw(b'{ "id" : "a" }')
    assert one == two
    assert one.raw != two.raw


def test_the_ocr_sample() -> None:
    """The vendor's example of OCR is read."""
    result = decoding.decode_ocr(sample("ocr"))
    assert (result.platform, result.is_express_image) == ("ruiqi", False)
    (invoice,) = result.invoices
    assert (invoice.type, invoice.kind, invoice.orientation) == ("10100", InvoiceKind.VAT_SPECIAL, 0.0)
    details = invoice.details
    assert (details.date, details.pretax_amount, details.tax, details.total) == (
        date(2021, 6, 11),
        Decimal("95598.73"),
        Decimal("8235.27"),
        Decimal("103834.00"),
    )
    assert (details.check_code, details.seller_tax_id, details.payee) == ("", "91110108102068***K", "")
    assert (details.has_company_seal, details.is_electronic, details.printed_number) == (True, False, "93492912")
    assert set(loaded("ocr")["value"]["invoices"][0]["details"].values()) >= {details.title, details.total_in_words}


def test_the_detail_sample() -> None:
    """The vendor's example of a line, with its fields at the top level, is read."""
    (line,) = decoding.decode_details(sample("invoice-detail"))
    assert (line.id, line.invoice_id) == ("KzUbgEI4j4jI00", "0aM9AbvdhI0400:011001900111:07517347")
    assert (line.name, line.unit_price, line.quantity) == ("*餐饮服务*餐费", None, None)
    assert (line.amount, line.tax, line.tax_rate) == (Decimal("438.83"), Decimal("13.17"), Decimal("0.03"))
    assert (line.is_used, line.currency, line.specification) == (True, "CNY", None)


def test_both_shapes_of_a_line_are_one_class() -> None:
    """A line with its fields in `form` equals one with them at the top level."""
    fields = {
        "E_system_发票明细_name": "餐费",
        "E_system_发票明细_车牌号": "京A",
        "E_system_发票明细_通行日期起": 20240305,
    }
    nested, flat = decoding.decode_details(
        dumped({"items": [{"id": "a", "active": True, "form": fields}, {"id": "a", "active": True, **fields}]})
    )
    assert nested == flat
    assert (flat.name, flat.plate_number, flat.passed_from, flat.is_used) == ("餐费", "京A", date(2024, 3, 5), False)


def test_each_line_of_a_long_reply_has_its_own_raw() -> None:
    """Each of many lines has its own bytes."""
    items = [{"id": f"L{n}", "masterId": f"I{n % 3}", "entity": {"fields": [n]}} for n in range(500)]
    lines = decoding.decode_details(dumped({"items": items}))
    assert [line.id for line in lines] == [item["id"] for item in items]
    assert [line.raw for line in lines] == [dumped(item) for item in items]


def test_a_line_that_is_no_object_does_not_cost_the_others() -> None:
    """An entry that is not an object becomes an empty line; the others are read."""
    lines = decoding.decode_details(b'{"items": [null, {"id": "a"}, 5]}')
    assert [line.id for line in lines] == [None, "a", None]
    assert [line.raw for line in lines] == [b"null", b'{"id": "a"}', b"5"]


@pytest.mark.parametrize(("decode", "envelope"), DECODERS)
@pytest.mark.parametrize("inner", [None, 1, "text", True])
def test_a_missing_envelope_is_a_response_error(decode: Callable[[bytes], Any], envelope: str, inner: object) -> None:
    """If `value` or `items` is missing or has the wrong type, the ResponseError names it."""
    for body in ({envelope: inner}, {}, {"errorCode": 1, "errorMessage": "失败"}):
        with pytest.raises(ResponseError, match=envelope):
            decode(dumped(body))


@pytest.mark.parametrize("decode", [*(decode for decode, _ in DECODERS), decoding.decode_file_urls])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b'{"items": [',
        b'{"value": {}} trailing',
        b"null",
        b"7",
        b'"text"',
        b"NaN",
        b"[" * 200_000,
        b'{"items": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        '{"items": [], "value": {"发票": "金额"}}'.encode("gbk"),
        b'{"items": [{"entity": "\xff"}], "value": {"a": "\xff"}}',
        b'{"items": [{"entity": "' + b"a" * 40_000 + b'\xff"}], "value": {"a": "' + b"a" * 40_000 + b'\xff"}}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_is_a_response_error(decode: Callable[[bytes], Any], body: bytes) -> None:
    """A reply that is not JSON, is truncated, nested too deeply or in another encoding is a ResponseError."""
    with pytest.raises(ResponseError):
        decode(body)


def test_a_broken_character_costs_its_own_value() -> None:
    """A broken character affects its own text only, and no text in a skipped part; `raw` has the bytes."""
    body = dumped({"items": [{"id": "餐" * 500, "masterId": "中", "entity": "发票", "useCount": 2}]})
    for text, invoice_id in ("中", None), ("发", "中"):
        damaged = body.replace(text.encode(), text.encode()[:2])
        (line,) = decoding.decode_details(damaged)
        assert (line.id, line.invoice_id, line.use_count) == ("餐" * 500, invoice_id, 2)
        assert line.raw in damaged
        assert line.from_raw(line.raw) == line
    later = body.replace(b'{"items"', '{"餐":"'.encode() + b"x" * 500 + b'","b\xffd":1,"items"')
    (line,) = decoding.decode_details(later)
    assert (line.invoice_id, line.raw) == ("中", later[later.index(b'{"id"') : -2])


def test_a_broken_name_hides_nothing_else() -> None:
    """Next to an unexpected value and a broken unknown name, all other fields are read."""
    body = '{"seller":"餐"'.encode() + b"," + b" " * 500 + b'"total":1.5,"b\xffd":"x","number":"7"}'
    details = models.OcrDetails.from_raw(body)
    assert (details.seller, details.total, details.number) == ("餐", Decimal("1.5"), "7")


def test_models_are_encoded_by_their_english_names_only() -> None:
    """Encoders that use the fields of a struct raise a TypeError; `to_dict()` is encodable."""
    (link,) = decoding.decode_invoice_urls(sample("invoice-url"))
    (line, *_) = decoding.decode_details(sample("invoice-detail"))
    for model in link, line:
        with pytest.raises(TypeError):
            msgspec.json.encode(model)
        with pytest.raises(TypeError):
            msgspec.to_builtins(model)
        assert len(repr(msgspec.structs.asdict(model))) < 300
        assert msgspec.json.decode(msgspec.json.encode(model.to_dict()))["id"] == model.id


def test_errors_do_not_show_the_reply() -> None:
    """The error of an unreadable reply quotes nothing of the reply, nor does its cause."""
    for body in (f'{{"items": ["{SIGNED}"'.encode(), f'{{"items": "{SIGNED}"}}'.encode(), SIGNED.encode() + b"\xff"):
        with pytest.raises(ResponseError) as caught:
            decoding.decode_invoice_urls(body)
        assert "Signature" not in str(caught.value)
        assert "c2ln" not in repr(caught.value.__cause__)


def test_invoice_urls() -> None:
    """A URL has its expiry from its query, at UTC+8, and its `repr` shows no query."""
    (link,) = decoding.decode_invoice_urls(sample("invoice-url"))
    assert (link.id, link.file_name, link.source) == ("5-sbyDJSOI0800", "1-1599549416718-134.png", "ocr")
    assert link.expires_at == datetime(2020, 9, 8, 9, 12, 4, tzinfo=UTC)
    assert str(link.expires_at).endswith("+08:00")
    assert link.region == [0.0, 0.0, 1080.0, 1920.0]
    assert "1-1599549416718-134.png" in repr(link)
    for secret in ("Signature", "OSSAccessKeyId", "security-token", "dG9rZW4"):
        assert secret not in repr(link)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "https://files.example/1.pdf",
        "https://files.example/1.pdf?Expires=",
        "https://files.example/1.pdf?Expires=soon",
        "https://files.example/1.pdf?Expires=-5",
        "https://files.example/1.pdf?Expires=99999999999999999999",
        "https://files.example/1.pdf?Expires=999999999999",
        17,
    ],
)
def test_a_url_without_a_sensible_end(url: object) -> None:
    """Without a sensible expiry in the query, or with an invalid URL, `expires_at` is None and the `repr` works."""
    link = InvoiceUrl.from_raw(dumped({"id": "a", "url": url}))
    assert link.expires_at is None
    assert "a" in repr(link)


def test_download_urls() -> None:
    """Download URLs have their expiry and bytes; entries without a URL are left out; a `repr` shows no query."""
    entries = [{"id": "f1", "key": "k1", "url": SIGNED}, {"id": "f2", "key": "k2", "url": None}, None]
    (link,) = decoding.decode_file_urls(dumped(entries))
    assert (link.id, link.key, link.url, link.thumb_url) == ("f1", "k1", SIGNED, "")
    assert link.expires_at == datetime.fromtimestamp(1690925436, UTC)
    assert link.raw == dumped(entries[0])
    assert link.to_dict()["url"] == SIGNED
    assert "https://files.example/1.png" in repr(link)
    assert "Signature" not in repr(link) + repr(FileUrl(id="a", key="b", url="https://[x?Signature=c2ln"))


def test_an_upload() -> None:
    """An upload returns the attachment; without an ID or a key it is a ResponseError."""
    body = {"value": {"key": "k", "fileId": "f", "fileName": "发票.png"}}
    assert decoding.decode_attachment(dumped(body)) == Attachment(id="f", key="k")
    with pytest.raises(ResponseError, match="fileId"):
        decoding.decode_attachment(b'{"value": {"key": "k"}}')


def test_invoices_of_documents() -> None:
    """Invoices are listed under the document's code or ID; without any, the result is empty."""
    refs = {"B1": [{"invoiceId": "a", "invoiceItemId": ["x", "y"], "invoiceType": "VAT"}], "B2": [], "B3": None}
    found = decoding.decode_flow_invoices(dumped({"value": refs}))
    assert list(found) == ["B1", "B2", "B3"]
    assert (found["B2"], found["B3"], decoding.decode_flow_invoices(b'{"value": {}}')) == ([], [], {})
    (ref,) = found["B1"]
    assert (ref.invoice_id, ref.item_ids, ref.type) == ("a", ["x", "y"], "VAT")


def test_what_is_exported() -> None:
    """All names in `__all__` exist, and results have `raw` and `to_dict`."""
    for name in models.__all__:
        assert getattr(models, name) is not None
    for result in (models.OcrResult, models.VerifyResult, models.VerifiedInvoice, models.InvoiceDetail, models.FileUrl):
        assert hasattr(result, "raw")
        assert hasattr(result, "to_dict")


def test_a_checked_invoice() -> None:
    """Verification by ID or by fields has typed values, and the JSON inside its texts is decoded."""
    value = {
        "invcode": "031001900204",
        "invno": "91068626",
        "invdate": 20220110,
        "invamt": "305.66",
        "invtaxamt": 18.34,
        "invsumamt": 324,
        "payee": "卖方",
        "payeetaxno": "S1",
        "payer": "买方",
        "payertaxno": "B1",
        "invtype": "10101",
        "itemdata": '[{"name": "住宿费", "amount": 305.66}]',
        "rawdata": "{broken",
        "status": "UNLOCK",
        "verify": "DONE",
        "invoiceVerify": True,
    }
    body = dumped({"value": value})
    checked = decoding.decode_checked(body)
    assert (checked.code, checked.number, checked.date) == ("031001900204", "91068626", date(2022, 1, 10))
    assert (checked.pretax_amount, checked.tax, checked.total) == (Decimal("305.66"), Decimal("18.34"), Decimal(324))
    assert (checked.seller, checked.seller_tax_id, checked.buyer, checked.buyer_tax_id) == ("卖方", "S1", "买方", "B1")
    assert (checked.type, checked.status, checked.verify_status, checked.is_verified) == (
        "10101",
        "UNLOCK",
        "DONE",
        True,
    )
    assert checked.item_data == [{"name": "住宿费", "amount": Decimal("305.66")}]
    assert checked.raw_data is None
    assert checked.to_dict()["item_data"] == [{"name": "住宿费", "amount": "305.66"}]
    assert checked.raw == body


@pytest.mark.parametrize("first", [{"id": "c:1:1"}, {"id": 1}], ids=["as documented", "of another type"])
def test_a_list_longer_than_any_request(first: dict[str, object]) -> None:
    """A list with more entries than any call requests is refused, however it is decoded."""
    rest = [{"id": "c:1:1"}] * (LIMITS.max_list_entries - 1)
    assert len(decoding.decode_invoice_urls(dumped({"items": [first, *rest]}))) == LIMITS.max_list_entries
    with pytest.raises(ResponseError, match="more than 20,000 entries"):
        decoding.decode_invoice_urls(dumped({"items": [first, *rest, {}]}))
