"""Errors in odd places, and lists without a result, raise an error with the vendor's text for every call and status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ekb_async import ApiError, EkbError, RecognitionError
from ekb_async.models import Attachment
from tests.support.canned_vendor import CREDENTIALS, GIVEN, CannedVendor, reply, session_with
from tests.support.every_call import CALLS, LISTS

pytestmark = pytest.mark.slow

TEXT = "单据章不清晰"
LONG = "\tat com.example.Client.post(Client.java:7)\n" * 2_000

ODD: dict[str, object] = {
    "value": {"value": TEXT},
    "data": {"data": TEXT, "code": 400},
    "items": {"items": TEXT},
    "invoices": {"value": {"invoices": TEXT}},
    "a list of errors": {"errors": [{"code": 400, "message": TEXT}]},
    "a list of texts": {"errors": [TEXT]},
    "errors beside nothing": {"items": [], "value": {"invoices": []}, "errors": [{"message": TEXT}]},
    "errCode": {"errCode": 400, "errMsg": TEXT},
    "error_code": {"error_code": 400, "error_msg": TEXT},
    "capitals": {"Code": "B1", "Message": TEXT},
    "a list as text": {"errorCode": 400, "errorMessage": [TEXT, "b"]},
    "a list as text alone": {"errorMessage": [TEXT]},
    "an object as text": {"errorMessage": {"zh": TEXT}},
    "result": {"result": {"code": 1, "msg": TEXT}},
    "detail": {"detail": TEXT},
    "deep": {"data": {"value": {"error": {"message": TEXT}}}},
    "entry text": {"items": [TEXT], "value": {"invoices": [TEXT], "B1": [TEXT]}},
    "entry error": {"items": [None, {"errMsg": TEXT}], "value": {"invoices": [None, {"errMsg": TEXT}]}},
    "bare list": [TEXT],
    "bare list of errors": [{"message": TEXT}],
    "value list": {"value": [{"message": TEXT}]},
    "echo": {"value": {"invno": "1", "invcode": "2", "invdate": 20220110}, "items": [], "errorMessage": TEXT},
    "echo inside": {"value": {"invno": "1", "invcode": "2", "errorCode": "X1", "errorMessage": TEXT}},
    "behind details": {"errorCode": 400, "errorDetails": LONG, "errorMessage": TEXT},
    "behind details alone": {"errorDetails": LONG, "errorMessage": TEXT},
    "behind details inside": {"value": {"errorCode": 400, "errorDetail": LONG, "errorMessage": TEXT}},
    "a code beside nothing": {
        "items": [],
        "value": {"invoices": []},
        "errorCode": "SYSTEM_ERROR",
        "errorMessage": TEXT,
    },
}
TRAILING = ["xyz", "\0\0", "\n\n<!-- proxy -->", "}", '{"a": 1}', "," * 100_000]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("shape", ODD)
async def test_an_error_in_an_odd_place_is_quoted(shape: str, status: int) -> None:
    """An error anywhere in a reply without a result is raised with its text."""
    for call, make in CALLS.values():
        vendor = CannedVendor(**{call: reply(status, ODD[shape])})
        # A reply to a token call is read as one only with keys.
        async with session_with(vendor, credentials=CREDENTIALS if call == "token" else GIVEN, max_tries=1) as ekb:
            with pytest.raises(ApiError) as caught:
                await make(ekb)
        assert TEXT in caught.value.message, call


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("trailing", TRAILING, ids=lambda text: repr(text[:9]))
async def test_what_follows_an_error_changes_nothing(trailing: str, status: int) -> None:
    """Bytes after the JSON of an error do not change its text and code."""
    body = json.dumps({"errorCode": "B17", "errorMessage": TEXT}, ensure_ascii=False) + trailing
    for call, make in CALLS.values():
        vendor = CannedVendor(**{call: reply(status, body)})
        async with session_with(vendor, credentials=CREDENTIALS if call == "token" else GIVEN, max_tries=1) as ekb:
            with pytest.raises(ApiError) as caught:
                await make(ekb)
        assert (caught.value.message, caught.value.code) == (TEXT, "B17"), call


@pytest.mark.parametrize("trailing", [*TRAILING, "中" * 10], ids=lambda text: repr(text[:9]))
@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "utf-8-sig"])
async def test_what_follows_a_result_changes_nothing(trailing: str, encoding: str) -> None:
    """A complete result is used whatever follows it, because it may have been billed."""
    body = '{"value":{"invoices":[{"type":"10100","details":{"total":"1.50","seller":"北京沙盒"}}]}}' + trailing
    vendor = CannedVendor(ocr=reply(200, body.encode(encoding)))
    async with session_with(vendor) as ekb:
        (invoice,) = (await ekb.ocr("https://files.example/a.png")).invoices
    assert (str(invoice.details.total), invoice.details.seller) == ("1.50", "北京沙盒")


@pytest.mark.parametrize("entry", [None, {}, 7, [], "x", {"other": 1}, {"id": None, "type": None, "url": None}])
@pytest.mark.parametrize("name", LISTS)
async def test_a_list_without_a_result_is_no_result(name: str, entry: object) -> None:
    """A list without a single result entry is an error, and is not requested again."""
    call, make = CALLS[name]
    listed = [entry, entry]
    body = listed if call == "download_urls" else {"items": listed, "value": {"invoices": listed}}
    vendor = CannedVendor(**{call: reply(200, body)})
    async with session_with(vendor, credentials=GIVEN) as ekb:
        with pytest.raises(EkbError, match="the reply"):
            await make(ekb)
    assert vendor.sent[call] <= 3


@pytest.mark.parametrize("code", ["SYSTEM_ERROR", -1, "E0001", 10001])
async def test_a_code_beside_an_empty_result_is_an_error(code: object) -> None:
    """Any code that does not mean success makes an empty result an error with that code."""
    body = {"items": [], "value": {"invoices": []}, "errorCode": code, "errorMessage": None}
    for name in ("ocr", "verify", "invoice_urls", "invoice_details", "flow_invoices", "verify_by_id"):
        call, make = CALLS[name]
        async with session_with(CannedVendor(**{call: reply(200, body)}), max_tries=1) as ekb:
            with pytest.raises(ApiError) as caught:
                await make(ekb)
        assert caught.value.code == str(code)


@pytest.mark.parametrize(
    "beside",
    [
        {"message": "查询成功，共0条"},
        {"code": "0000", "message": "操作成功"},
        {"code": "B1", "msg": "操作成功"},
        {"code": 1, "msg": "查询成功，无数据"},
        {"errorMessage": "请求成功！"},
        {"msg": "success: 0 records"},
        {"error": "0", "description": "发票的列表"},
    ],
)
async def test_success_in_words_is_no_error(beside: dict[str, Any]) -> None:
    """A text that reports success leaves an empty result a result, whatever the code."""
    empty = reply(200, {"items": [], "value": {}, **beside})
    vendor = CannedVendor(
        invoice_url=empty,
        invoice_details_many=empty,
        flow_invoices=empty,
        verify=empty,
        ocr=reply(200, {"value": {"invoices": []}, **beside}),
    )
    async with session_with(vendor) as ekb:
        assert await ekb.invoice_urls(["c:1:1"]) == {"c:1:1": None}
        assert await ekb.invoice_details("c:1:1") == []
        assert await ekb.flow_invoices(codes=["B1"]) == {}
        assert (await ekb.verify("https://f.example/a.png", staff_id="c:s")).invoices == []
        assert (await ekb.ocr("https://f.example/a.png")).invoices == []


@pytest.mark.parametrize(
    "text", ["查询成功，但识别失败", "查验成功所查发票不存在", "操作成功，发票已失效错误", "未成功"]
)
async def test_success_that_is_taken_back_is_an_error(text: str) -> None:
    """A text that mentions success but reports a failure makes an empty result an error."""
    async with session_with(CannedVendor(verify=reply(200, {"items": [], "message": text})), max_tries=1) as ekb:
        with pytest.raises(ApiError, match=text):
            await ekb.verify("https://f.example/a.png", staff_id="c:s")


async def test_an_entry_that_was_refused_spoils_no_other() -> None:
    """An entry that is an error does not affect the entries that are results."""
    bad = {"id": "c:1:1", "code": 404, "message": TEXT}
    good = {"id": "c:1:2", "url": "https://f.example/a"}
    async with session_with(CannedVendor(invoice_url=reply(200, {"items": [bad, good]}))) as ekb:
        links = await ekb.invoice_urls(["c:1:1", "c:1:2"])
    second = links["c:1:2"]
    assert second is not None
    assert second.url == "https://f.example/a"


async def test_a_check_is_used_although_an_error_stands_beside_it() -> None:
    """A verification with more data than the request is a result, because it was billed."""
    value = {"invno": "1", "invcode": "2", "payee": "北京沙盒", "invsumamt": "1.50"}
    vendor = CannedVendor(verify_by_id=reply(200, {"value": value, "errorCode": "X1", "message": TEXT}))
    async with session_with(vendor) as ekb:
        assert (await ekb.verify_by_id("c:2:1")).seller == "北京沙盒"


async def test_an_attachment_without_url_is_left_out() -> None:
    """An attachment without a URL is left out, and is not an error."""
    vendor = CannedVendor(download_urls=reply(200, [{"id": "f", "key": "k", "url": None}]))
    async with session_with(vendor) as ekb:
        assert await ekb.download_urls([Attachment("f", "k")]) == {}


@pytest.mark.parametrize(("text", "kind"), [("识别失败", RecognitionError), (TEXT, ApiError)])
async def test_an_entry_without_an_invoice_is_an_error(text: str, kind: type[ApiError]) -> None:
    """An entry with only the reason why there is no invoice is raised as that error."""
    failed = {"master": None, "ischeck": False, "message": text}
    async with session_with(CannedVendor(verify=reply(200, {"items": [failed]})), max_tries=1) as ekb:
        with pytest.raises(kind, match=text):
            await ekb.verify("https://f.example/a.png", staff_id="c:s")


@pytest.mark.parametrize(("listed", "calls"), [(True, 1), (False, 2)])
async def test_a_file_that_was_read_is_not_sent_again(listed: bool, calls: int) -> None:
    """A billed call is made again only if the vendor may not have opened the file, and then with a fresh URL."""
    failed = {"master": None, "ischeck": False, "message": "识别失败"}
    vendor = CannedVendor(verify=reply(200, {"items": [failed]} if listed else failed))
    async with session_with(vendor) as ekb:
        with pytest.raises(RecognitionError):
            await ekb.verify(b"%PDF-1.4", file_name="a.pdf", staff_id="c:s")
    assert (vendor.sent["verify"], vendor.sent["upload"]) == (calls, 1)


async def test_a_message_beside_an_invoice_is_no_error() -> None:
    """A message beside an invoice belongs to the invoice and is not an error."""
    item = {"master": {"id": "c:1:1", "form": {}}, "ischeck": False, "message": "该发票识别失败", "code": "x"}
    async with session_with(CannedVendor(verify=reply(200, {"items": [item]}))) as ekb:
        (invoice,) = (await ekb.verify("https://f.example/a.png", staff_id="c:s")).invoices
    assert invoice.message == "该发票识别失败"


async def test_what_was_recognised_without_its_type_is_a_result() -> None:
    """A recognised amount is a result, whatever stands beside it."""
    body = {"value": {"invoices": [{"details": {"total": "1.50"}}]}, "code": "B1", "message": TEXT}
    async with session_with(CannedVendor(ocr=reply(200, body))) as ekb:
        assert str((await ekb.ocr("https://f.example/a.png")).invoices[0].details.total) == "1.50"
