"""Every error of the vendor, in every shape and for every call, is raised with the vendor's text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ekb_async import (
    ApiError,
    AuthError,
    EkbError,
    ProviderError,
    RecognitionError,
    ServerError,
    StaticToken,
    ThrottledError,
)
from ekb_async.backlog import Backlog
from ekb_async.models import Attachment
from tests.support.backlogs import all_tasks, manifest
from tests.support.canned_vendor import CREDENTIALS, GIVEN, CannedVendor, reply, session_with
from tests.support.error_shapes import ERRORS, SHAPES
from tests.support.every_call import CALLS, URL

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("under_200", [False, True], ids=["own status", "200"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CALLS)
async def test_no_error_is_a_result(name: str, shape: str, *, under_200: bool) -> None:
    """An error raises its own class with the vendor's text, for every call, shape and status."""
    call, make = CALLS[name]
    # Errors that stop the queue or are cached come last in a session, and refused keys have a session of their own.
    for errors in ERRORS[:-2], ERRORS[-2:-1], ERRORS[-1:]:
        vendor = CannedVendor()
        # A token that the session fetches may not be valid at once; a given one is.
        credentials = CREDENTIALS if call == "token" else GIVEN
        async with session_with(vendor, credentials=credentials, max_tries=1) as ekb:
            for status, text, kind in errors:
                if kind is ThrottledError and call in {"ocr", "verify", "verify_by_id", "verify_by_fields"}:
                    continue  # paced calls retry it without limit
                if shape == "in a list" and not under_200:
                    continue
                vendor.answers[call] = reply(200 if under_200 else status, SHAPES[shape](status, text))
                with pytest.raises(kind) as caught:
                    await make(ekb)
                assert text in caught.value.message
                assert caught.value.endpoint


@pytest.mark.parametrize("name", ["ocr", "verify", "verify_by_id", "verify_by_fields", "upload", "token"])
@pytest.mark.parametrize("body", [{}, {"value": {}}, {"value": {"other": 1}}, {"items": {}}, [], [{}], "null", "7"])
async def test_an_object_without_what_was_promised_is_no_result(name: str, body: object) -> None:
    """A body with neither a result nor an error is unreadable, and is not requested again."""
    call, make = CALLS[name]
    vendor = CannedVendor(**{call: reply(200, body)})
    async with session_with(vendor) as ekb:
        with pytest.raises(EkbError, match=r"the (reply|answer)"):
            await make(ekb)
    assert vendor.sent[call] == 1


@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"code": 200, "msg": "success"},
        {"code": "0", "message": "操作成功"},
        {"errorCode": None, "errorMessage": None},
        {"errorCode": "", "errorMessage": ""},
        {"message": "查询成功"},
        {"msg": "未查询到数据"},
        {"success": True, "message": "共 0 条"},
        {"count": 0},
    ],
)
async def test_nothing_found_is_a_result(beside: dict[str, object]) -> None:
    """An empty result beside a text that reports success is an empty result."""
    empty = reply(200, {"items": [], "value": {}, **beside})
    found = reply(200, {"value": {"invoices": []}, **beside})
    vendor = CannedVendor(invoice_url=empty, invoice_details_many=empty, flow_invoices=empty, verify=empty, ocr=found)
    async with session_with(vendor) as ekb:
        assert await ekb.invoice_urls(["c:1:1"]) == {"c:1:1": None}
        assert await ekb.invoice_details("c:1:1") == []
        assert await ekb.flow_invoices(codes=["B1"]) == {}
        assert (await ekb.verify(URL, staff_id="c:s")).invoices == []
        assert (await ekb.ocr(URL)).invoices == []


@pytest.mark.parametrize("body", ["{[]}", " { [ ]\n} ", "[]"])
async def test_no_download_urls(body: str) -> None:
    """Both forms of a reply without URLs give an empty result."""
    vendor = CannedVendor(download_urls=reply(200, body))
    async with session_with(vendor) as ekb:
        assert await ekb.download_urls([Attachment("f", "k")]) == {}
    assert vendor.sent["download_urls"] == 1


async def test_an_error_that_stands_in_a_result_is_retried_as_any() -> None:
    """In any shape, a failure of the provider is retried, and refused keys are cached."""
    trouble = reply(200, {"value": {"errorCode": "400", "errorMessage": "第三方出现问题请稍后再试"}})
    vendor = CannedVendor(ocr=trouble, token=reply(200, {"value": {"errorCode": 403, "errorMessage": "密钥无效"}}))
    async with session_with(vendor) as ekb:
        for _ in range(3):
            with pytest.raises(AuthError):
                await ekb.ocr(URL)
    assert vendor.sent == {"token": 1}
    vendor = CannedVendor(ocr=trouble)
    async with session_with(vendor) as ekb:
        with pytest.raises(ProviderError):
            await ekb.ocr(URL)
    assert vendor.sent["ocr"] == 2


async def test_a_refresh_that_is_refused_in_a_result() -> None:
    """A refusal in the reply to a refresh is not taken for tokens: the keys fetch new ones."""
    short = reply(200, {"value": {"accessToken": "ID01:short", "refreshToken": "r", "expireTime": 4_102_444_800_000}})
    refused = reply(200, {"value": {"errorCode": 403, "errorMessage": "未授权", "accessToken": ""}})
    vendor = CannedVendor(token=short, refresh=refused, invoice_url=reply(200, {"items": []}))
    async with session_with(vendor) as ekb:
        await ekb.invoice_urls(["c:1:1"])
        token = await ekb._open().api.tokens.get()
        token.renew_from = 0.0
        await ekb.invoice_urls(["c:1:1"])
        renewal = ekb._open().api.tokens._renewal
        if renewal is not None:
            await renewal
    assert vendor.sent["refresh"] == 1
    assert vendor.sent["token"] == 2


@pytest.mark.parametrize(("status", "code"), [(400, 500), (400, "500"), (200, 500), (500, 500)])
async def test_a_code_of_the_server_under_400_is_transient(status: int, code: object) -> None:
    """Status 400 with the vendor's code 500 is a failure of its server, and is retried."""
    text = "服务器繁忙，可尝试再次请求"
    vendor = CannedVendor(verify_by_id=reply(status, {"errorCode": code, "errorMessage": text}))
    async with session_with(vendor, max_tries=3) as ekb:
        with pytest.raises(ServerError, match=text):
            await ekb.verify_by_id("c:1:1")
        assert ekb.stats().verify_by_id.maybe_billed == 0
    assert vendor.sent["verify_by_id"] == 3


async def test_a_bare_text_is_not_asked_for_again() -> None:
    """A bare text with status 200 is a refusal with that text, and is not sent again."""
    vendor = CannedVendor(ocr=reply(200, "单次请求数量超限", "text/plain"))
    async with session_with(vendor, max_tries=5) as ekb:
        with pytest.raises(ApiError, match="单次请求数量超限"):
            await ekb.ocr(URL)
    assert vendor.sent["ocr"] == 1


async def test_a_batch_is_split_for_a_bare_text() -> None:
    """A batch that is too large for the vendor is sent in smaller requests."""

    def answer(request: Any) -> Any:
        ids = json.loads(request.body)["invoiceId"]
        if len(ids) > 10:
            return reply(200, "单次请求数量超限", "text/plain")
        return reply(200, {"items": [{"id": each, "url": "https://f.example/a"} for each in ids]})

    vendor = CannedVendor(invoice_url=answer)
    ids = [f"c:1:{n}" for n in range(40)]
    async with session_with(vendor) as ekb:
        assert [link and link.id for link in (await ekb.invoice_urls(ids)).values()] == ids
    assert vendor.sent["invoice_url"] == 7


@pytest.mark.parametrize("shape", ["flat", "nested", "errorMsg", "gateway", "bare text", "page"])
async def test_a_refused_row_is_not_done(shape: str, tmp_path: Path) -> None:
    """A row whose call is refused with status 200 fails with the vendor's text."""
    vendor = CannedVendor(ocr=reply(200, SHAPES[shape](400, "识别失败")))
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, session_with(vendor) as ekb:
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{URL},,,,a"))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
    assert task.state == "failed"
    assert task.error is not None
    assert "识别失败" in task.error


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        ({"code": "500", "msg": "system error", "data": None, "traceId": "8f3c-1"}, "8f3c-1"),
        ({"errorCode": 400, "errorMsg": "x", "requestId": "req-7", "time": 1}, "req-7"),
        ({"value": {"errorCode": 400, "errorMessage": "x", "requestId": "inner"}}, "inner"),
        ({"errorCode": 400, "errorMessage": "x"}, None),
    ],
)
async def test_what_support_asks_for_is_kept(body: object, request_id: str | None) -> None:
    """An error has the ID of its request if the vendor sends one."""
    async with session_with(CannedVendor(flow_invoices=reply(500, body)), max_tries=1) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.flow_invoices(codes=["B1"])
    assert caught.value.request_id == request_id


async def test_details_show_no_secret_and_no_host() -> None:
    """The details contain neither the token, nor the file's signature, nor names of the vendor's machines."""
    stack = (
        "java.net.UnknownHostException: ekb-invoice.prod.svc.cluster.local\n"
        "\tat com.ekuaibao.invoice.internal.Client.post(Client.java:1234)\n"
        "Caused by: connect to mall-gateway:8080 [mall-gateway/10.12.3.4] failed for http://invoice-core:9000/ocr?x=1\n"
        f"token ID01:a-token-of-the-vendor of {URL} on node7.corp.example-vendor.com"
    )
    body = {"errorCode": 500, "errorMessage": "连接 http://invoice-core:9000/ocr 失败 10.12.3.4", "errorDetails": stack}
    async with session_with(CannedVendor(ocr=reply(500, body)), max_tries=1) as ekb:
        with pytest.raises(ServerError) as caught:
            await ekb.ocr(URL)
    error = caught.value
    assert error.details is not None
    shown = str(error) + repr(vars(error))
    for secret in (
        "ID01",
        "5igned",
        "svc.cluster",
        "mall-gateway",
        "10.12.3",
        "invoice-core",
        "node7",
        "example-vendor",
    ):
        assert secret not in shown
    assert "Client.java:1234" in error.details
    assert "com.ekuaibao.invoice.internal.Client.post" in error.details
    assert "失败" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff识别失败",
        "识别失败\0",
        "\u200b识别失败",
        "[识别失败]",
        '"识别失败',
        "<p>识别失败</p>",
        "{'errorMessage':'识别失败'}",
    ],
)
async def test_a_known_text_decides_however_it_is_wrapped(text: str) -> None:
    """A known text of the vendor decides also within damaged text or markup, and the call is not billed again."""
    vendor = CannedVendor(verify=reply(200, text, "text/plain; charset=utf-8"))
    async with session_with(vendor, max_tries=5) as ekb:
        with pytest.raises(RecognitionError):
            await ekb.verify("https://files.example/a.png", staff_id="c:s")
    assert vendor.sent["verify"] == 1


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("ocr", {"value": {"invoices": [{"errorCode": 500, "errorMessage": "系统异常"}]}}),
        ("ocr", {"success": False, "value": {"invoices": []}}),
        ("invoice_url", {"items": [{"code": 500, "message": "系统异常"}]}),
        ("invoice_details", {"items": [{"code": 500, "message": "系统异常"}]}),
        ("flow_invoices", {"value": {"B1": [{"errorCode": 500, "errorMessage": "系统异常"}]}}),
    ],
)
async def test_an_error_in_place_of_an_entry_is_no_entry(call: str, body: object) -> None:
    """A list whose entry is an error, or with a failure beside it, is raised as that error."""
    answered, make = CALLS[call]
    vendor = CannedVendor(**{answered: reply(200, body)})
    async with session_with(vendor, max_tries=1) as ekb:
        with pytest.raises(ApiError):
            await make(ekb)


async def test_a_result_behind_an_entry_that_failed_is_kept() -> None:
    """If one of several entries failed, the invoices of the others are returned."""
    good = {"master": {"id": "c:1:1", "entityId": "system_发票主体", "form": {}}, "ischeck": True}
    bad = {"master": None, "ischeck": False, "message": "识别失败"}
    vendor = CannedVendor(verify=reply(200, {"items": [bad, good], "message": "部分识别失败"}))
    async with session_with(vendor) as ekb:
        result = await ekb.verify("https://files.example/a.png", staff_id="c:s")
    assert [invoice.id for invoice in result.invoices][-1] == "c:1:1"


async def test_a_token_given_as_in_a_url_is_masked_as_it_is() -> None:
    """A token passed with `%3A` for its colon is masked with a colon as well."""
    vendor = CannedVendor(ocr=reply(400, {"errorCode": 400, "errorMessage": "bad ID01xyz:djg8KLmnOPqrST"}))
    async with session_with(vendor, credentials=StaticToken("ID01xyz%3Adjg8KLmnOPqrST")) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.ocr("https://files.example/a.png")
    assert "djg8KLmnOPqrST" not in f"{caught.value} {caught.value!r}"


async def test_a_cut_within_a_character_changes_no_text() -> None:
    """A long text in UTF-8 is read as UTF-8, wherever it is truncated."""
    for length in range(3):
        text = "识别失败" + "x" * length + "中" * 10_000
        vendor = CannedVendor(ocr=reply(400, text, "text/plain"))
        async with session_with(vendor) as ekb:
            with pytest.raises(RecognitionError, match="识别失败"):
                await ekb.ocr("https://files.example/a.png")


@pytest.mark.parametrize("name", ["errorDetails", "errorMessage", "errorCode", "requestId"])
async def test_no_half_of_a_token_is_left_by_a_cut(name: str) -> None:
    """A long text full of the token shows no part of it, wherever it is truncated."""
    token = "ID01abc:djg8KLmnOPqrSTuvWXyz0123456789abcdef"
    for before in range(0, 3 * len(token), 7):
        body = {"errorCode": 400, "errorMessage": "no", name: "y" * before + (token + " ") * 400}
        vendor = CannedVendor(ocr=reply(400, body))
        async with session_with(vendor, credentials=StaticToken(token)) as ekb:
            with pytest.raises(ApiError) as caught:
                await ekb.ocr("https://files.example/a.png")
        error = caught.value
        shown = f"{error} {error.details} {error.request_id} {error.code}"
        assert not any(token[i : i + 8] in shown for i in range(len(token) - 8))
