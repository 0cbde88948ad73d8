"""A replayed bundle answers as the vendor did when it was captured."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ekb_async import (
    EkbConnectionError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    InvoiceUrl,
    ResponseError,
    SessionConfig,
    StaticToken,
)
from ekb_async.client.capture.bundle import RecordedError
from ekb_async.client.capture.transport import CapturingTransport
from ekb_async.client.transport import AiohttpTransport
from ekb_async.errors import ProxyError, ProxySettingError
from ekb_async.models.wire.returnable import Returnable
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Replay, Sandbox
from tests.conftest import FAST
from tests.support.canned_vendor import CREDENTIALS, CannedVendor, reply
from tests.support.captures import Watched, captured_calls, captured_session, exchanges, translation, urls
from tests.support.error_shapes import SHAPES
from tests.support.every_call import CALLS
from tests.support.raw_server import Handler, server

ONCE = SessionConfig(**{**FAST, "max_tries": 1, "request_timeout": 0.5})
IMPATIENT = SessionConfig(**{**FAST, "max_tries": 1, "request_timeout": 0.15})
Call = Callable[[EkbSession, Callable[[str], str]], Awaitable[object]]


@asynccontextmanager
async def replayed(directory: Path, config: SessionConfig = ONCE) -> AsyncIterator[tuple[EkbSession, Replay]]:
    """Replay a bundle to a session."""
    async with Replay(directory) as box, EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
        yield ekb, box


async def outcome(call: Awaitable[object]) -> object:
    """Return the result of a call, or its error."""
    try:
        return await call
    except EkbError as error:
        return error


async def everything(walk: AsyncIterator[object]) -> list[object]:
    """Return all that a walk returns."""
    return [each async for each in walk]


def shape(result: object) -> object:
    """Return the classes of a result and of everything in it."""
    if isinstance(result, dict):
        return {"dict": [shape(each) for each in result.values()]}
    if isinstance(result, list):
        return [shape(each) for each in result]
    if isinstance(result, Returnable):
        return type(result), {name: shape(value) for name, value in result.to_dict().items()}
    return type(result)


NUMBER = "24125856878656629625"
RESULTS: dict[str, Call] = {
    "ocr": lambda ekb, at: ekb.ocr(at("https://files.example/a.png")),
    "verify": lambda ekb, at: ekb.verify(at("https://files.example/b.png"), staff_id=at("corp:staff")),
    "verify_by_id": lambda ekb, at: ekb.verify_by_id(at("corp:031001900204:91068626")),
    "verify_by_fields": lambda ekb, at: ekb.verify_by_fields(
        code="", number=at("24125856878656629625"), date="20220110"
    ),
    "invoice_url": lambda ekb, at: ekb.invoice_url(at("corp:031001900204:91068626")),
    "invoice_urls": lambda ekb, at: ekb.invoice_urls([at("corp:1:22345678"), at("corp:1:unknown")]),
    "invoice_details": lambda ekb, at: ekb.invoice_details(at("corp:031001900204:91068626")),
    "invoice_details_many": lambda ekb, at: ekb.invoice_details_many([at("corp:1:22345678"), at("corp:1:32345678")]),
    "flow_invoices": lambda ekb, at: ekb.flow_invoices(codes=[at("B22001240"), at("B22001241")]),
    "upload": lambda ekb, at: ekb.upload(b"\x89PNG\r\n\x1a\nx", "a.png"),
    "ledger_invoices": lambda ekb, at: ekb.ledger_invoices([at("corp:1:22345678")]),
    "ledger": lambda ekb, at: everything(ekb.ledger(["train", "invoice"])),
    "documents": lambda ekb, at: everything(ekb.documents()),
    "document_files": lambda ekb, at: ekb.document_files([at("ID01claim")]),
    "staff": lambda ekb, at: ekb.staff(codes=[at("S0044"), at("S0045")]),
    "licences": lambda ekb, at: ekb.licences(),
    "payers": lambda ekb, at: ekb.payers(),
    "request": lambda ekb, at: ekb.request("GET", "/api/openapi/v1/charge/powers/list"),
}


async def test_every_result_is_replayed_in_its_shape(tmp_path: Path) -> None:
    """Each call of a captured session returns a result of the same classes when replayed, asked for with masked IDs."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        box.vendor.add_flow(code="B22001240", flow_id="ID01flow", invoice_ids=["corp:1:22345678"])
        box.vendor.add_invoice("corp:1:22345678")
        box.vendor.add_document(id="ID01claim", title="张三的差旅报销", invoices=["corp:1:22345678"])
        box.vendor.add_staff(id="corp:staff", name="张三", code="S0044")
        watched = Watched(AiohttpTransport(box.base_url, ONCE, None))
        capture = CapturingTransport(watched, tmp_path / "bundle", base_url=box.base_url)
        async with EkbSession(box.credentials, base_url=box.base_url, config=ONCE, transport=capture) as ekb:
            before = {name: await outcome(call(ekb, lambda text: text)) for name, call in RESULTS.items()}
    sent = [each for each in watched.requests if "/auth/" not in each.path]
    masked = translation(sent, exchanges(tmp_path / "bundle"))
    assert [name for name, result in before.items() if isinstance(result, EkbError) or not result] == []
    async with replayed(tmp_path / "bundle") as (ekb, replay):
        for name, call in RESULTS.items():
            after = await outcome(call(ekb, lambda text: masked.get(text, text)))
            assert shape(after) == shape(before[name]), name
        assert [(each.call, each.status) for each in replay.log if each.call != "token"] == [
            (each.call, each.status) for each in box.log if each.call != "token"
        ]


ANSWERS = {
    "a service is busy": reply(503, {"errorCode": 503, "errorMessage": "系统繁忙，请稍后再试"}),
    "no permission": reply(403, {"errorCode": 403, "errorMessage": "未开通功能，无权访问"}),
    "not found": reply(404, {"errorCode": 404, "errorMessage": "接口不存在"}),
    "a gateway": reply(502, "<html><head><title>502 Bad Gateway</title></head></html>", "text/html"),
    "a page": reply(200, "<html><head><title>Login</title></head></html>", "text/html"),
    "bare text": reply(400, "上传附件大小不可超过30Mb", "text/plain"),
    "GBK": reply(400, '{"errorMessage": "人员张三不存在"}'.encode("gbk"), "application/json; charset=gbk"),
    "no JSON": reply(200, "{[]}"),
    "garbage": reply(200, b"\x00\xff<<garbage>>"),
    "nothing": reply(200, b""),
    "a redirect": reply(307, b""),
    **{f"in {name}": reply(400, form(400, "识别失败")) for name, form in SHAPES.items()},
    "with 200": reply(200, SHAPES["gateway"](500, "系统异常")),
    "beside an empty result": reply(200, SHAPES["beside nothing"](500, "系统异常")),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_error_is_replayed(tmp_path: Path, name: str) -> None:
    """For each call an answer raises the same error, with the same text, as it did when it was captured."""
    vendor = CannedVendor(**{call: ANSWERS[name] for call, _ in CALLS.values() if call != "token"})
    vendor.answers["invoice_details"] = ANSWERS[name]
    capture = CapturingTransport(vendor, tmp_path / "bundle")
    async with EkbSession(CREDENTIALS, transport=capture, config=ONCE) as ekb:
        before = {call: await outcome(make(ekb)) for call, (_, make) in CALLS.items()}
    assert capture.problem is None
    async with replayed(tmp_path / "bundle") as (ekb, _):
        after = {call: await outcome(make(ekb)) for call, (_, make) in CALLS.items()}
    assert {call: type(each) for call, each in after.items()} == {call: type(each) for call, each in before.items()}
    if name != "GBK":  # in which a name is masked
        for call, error in before.items():
            assert not isinstance(error, EkbError) or str(after[call]) == str(error)


async def reset(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def silence(_head: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def no_http(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def cut_off(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b'Content-Length: 99\r\n\r\n{"items": [{"id": "c:1:1", "url": "https')


async def half_then_reset(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b'Content-Length: 99\r\n\r\n{"items": [')
    await writer.drain()
    writer.transport.abort()


async def half_then_silence(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b'Content-Length: 99\r\n\r\n{"items": [')
    await writer.drain()
    await asyncio.Event().wait()


async def not_compressed(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n" + b'{"items":[]}')


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (reset, EkbConnectionError),
        (silence, EkbTimeoutError),
        (no_http, ResponseError),
        (cut_off, ResponseError),
        (half_then_reset, EkbError),
        (half_then_silence, EkbTimeoutError),
        (not_compressed, ResponseError),
    ],
)
async def test_broken_answers_are_replayed(tmp_path: Path, handler: Handler, kind: type[EkbError]) -> None:
    """A connection that breaks, an answer that does not come or not to its end, and no HTTP are repeated."""
    async with server(handler) as (base_url, _):
        config = IMPATIENT if kind is EkbTimeoutError else ONCE
        ekb = EkbSession(StaticToken("ID01:a-token"), base_url=base_url, config=config)
        ekb.capture(tmp_path / "bundle")
        async with ekb:
            before = await outcome(ekb.invoice_url("c:1:1"))
    async with (
        Replay(tmp_path / "bundle") as box,
        EkbSession(StaticToken("ID01:t"), base_url=box.base_url, config=config) as ekb,
    ):
        after = await outcome(ekb.invoice_url("c:1:1"))
    assert isinstance(before, kind)
    assert type(after) is type(before)
    assert getattr(after, "sent", None) == getattr(before, "sent", None)
    assert getattr(after, "lost", None) == getattr(before, "lost", None)


@pytest.mark.parametrize("kind", [EkbConnectionError, ProxyError, ProxySettingError])
async def test_a_refused_connection_is_replayed_as_a_broken_one(tmp_path: Path, kind: type[EkbError]) -> None:
    """What happened before the request left cannot be repeated by a server, so the connection breaks."""

    class Unreachable(CannedVendor):
        async def send(self, request: Any, **_: Any) -> Reply:
            raise kind("the proxy fails")

    capture = CapturingTransport(Unreachable(), tmp_path / "bundle")
    async with EkbSession(StaticToken("ID01:a-token"), transport=capture, config=ONCE) as ekb:
        assert isinstance(await outcome(ekb.invoice_url("c:1:1")), kind)
    assert exchanges(tmp_path / "bundle")[0].error == RecordedError(kind.__name__, "the proxy fails", sent=False)
    async with replayed(tmp_path / "bundle") as (ekb, _):
        assert type(await outcome(ekb.invoice_url("c:1:1"))) is EkbConnectionError


async def asked(box: Replay, invoice_id: str) -> tuple[int, int]:
    """Return the status of the reply to a raw request, and how many entries it has."""
    async with aiohttp.ClientSession(box.base_url) as client:
        body = {"invoiceId": [invoice_id]}
        async with client.post("/api/openapi/v2/extension/INVOICE/url?accessToken=x", json=body) as answer:
            found = await answer.json()
            return answer.status, len(found.get("items", ()))


async def test_the_order_of_replies(tmp_path: Path) -> None:
    """An equal request gets its own replies in order, the last one again and again; another the next unused reply."""
    answers = [urls(1), reply(503, {"errorMessage": "x"}), urls(2), urls(3)]
    await captured_calls(tmp_path / "bundle", answers, ["c:1:a4", "c:1:b5", "c:1:b5", "c:1:c6"])
    a, b, _, c = [json.loads(each.body or "")["invoiceId"][0] for each in exchanges(tmp_path / "bundle")]
    async with Replay(tmp_path / "bundle") as box:
        assert [await asked(box, each) for each in (b, b, b)] == [(503, 0), (200, 2), (200, 2)]
        assert [await asked(box, each) for each in ("new", "new", "new")] == [(200, 1), (200, 3), (200, 3)]
        assert [await asked(box, each) for each in (a, c)] == [(200, 1), (200, 3)]
        async with aiohttp.ClientSession(box.base_url) as client, client.get("/api/openapi/v1/staffs") as answer:
            assert answer.status == 404
            assert "no call of GET /api/openapi/v1/staffs" in (await answer.json())["errorMessage"]
        assert [each.status for each in box.log][-1] == box.log[-1].status == 404
    async with Replay(tmp_path / "bundle") as box:
        assert await asked(box, b) == (503, 0)  # from the beginning again


async def test_another_id_in_the_path_is_the_same_interface(tmp_path: Path) -> None:
    """IDs in a path do not matter for a request that was not recorded."""
    vendor = CannedVendor(invoice_details_many=reply(404, ""), invoice_details=reply(200, {"items": []}))
    capture = CapturingTransport(vendor, tmp_path / "bundle")
    async with EkbSession(CREDENTIALS, transport=capture, config=ONCE) as ekb:
        assert await ekb.invoice_details("corp:1:12345678") == []
    async with replayed(tmp_path / "bundle") as (ekb, _):
        assert await ekb.invoice_details("other:2:87654321") == []


async def test_a_cancelled_call_answers_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    """What a call that was given up would have got is not known, so a later answer is used, else none comes."""
    for name, calls in (("both", 2), ("one", 1)):
        async with Sandbox(latency=60, ocr_rate=0) as box, captured_session(box, tmp_path / name) as (ekb, _):
            call = asyncio.create_task(ekb.ocr("https://files.example/a.png"))
            await box.arrived("ocr")
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            box.latency.clear()
            if calls == 2:
                await ekb.ocr("https://files.example/a.png")
    async with replayed(tmp_path / "both") as (ekb, _):
        assert not isinstance(await outcome(ekb.ocr("https://files.example/a.png")), EkbError)
    async with replayed(tmp_path / "one") as (ekb, _):
        assert isinstance(await outcome(ekb.ocr("https://files.example/a.png")), EkbTimeoutError)


async def test_a_usable_token_is_issued(tmp_path: Path) -> None:
    """A session with keys works on a bundle that was captured with a token, and refused keys are refused again."""
    vendor = CannedVendor(invoice_url=urls(1))
    async with EkbSession(StaticToken("ID01:given"), transport=CapturingTransport(vendor, tmp_path / "a")) as ekb:
        await ekb.invoice_urls(["c:1:1"])
    async with replayed(tmp_path / "a") as (ekb, box):
        assert await ekb.invoice_urls(["c:1:1"])
        assert box.count("token") == 1
    refused = CannedVendor(token=reply(403, {"errorCode": 403, "errorMessage": "密钥无效"}))
    async with EkbSession(CREDENTIALS, transport=CapturingTransport(refused, tmp_path / "b"), config=ONCE) as ekb:
        before = await outcome(ekb.invoice_url("c:1:1"))
    async with replayed(tmp_path / "b") as (ekb, _):
        assert str(await outcome(ekb.invoice_url("c:1:1"))) == str(before)


async def test_files_come_from_the_replay(quick_box: Sandbox, tmp_path: Path) -> None:
    """URLs of files lead to the replay, and a file has its size and its kind."""
    quick_box.vendor.add_invoice("corp:1:12345678", content=b"%PDF-1.7 " + b"x" * 5000, file_name="a.pdf")
    async with captured_session(quick_box, tmp_path / "bundle") as (ekb, _):
        assert [each.error async for each in ekb.download_invoices(["corp:1:12345678"], tmp_path / "a")] == [None]
    masked = json.loads(exchanges(tmp_path / "bundle")[0].body or "")["invoiceId"]
    async with replayed(tmp_path / "bundle") as (ekb, box):
        (found,) = [each async for each in ekb.download_invoices(masked, tmp_path / "b")]
        assert isinstance(link := await ekb.invoice_url(masked[0]), InvoiceUrl)
        assert (link.url or "").startswith(box.base_url)
        assert box.count("file", status=200) == 1
    assert found.result is not None
    assert found.result.read_bytes() == b"%PDF-".ljust(5009, b"\0")


def test_it_serves_callers_without_a_loop(tmp_path: Path) -> None:
    """`with` runs it in a thread of its own, as a sandbox; its address is known inside the block only."""
    asyncio.run(captured_calls(tmp_path / "bundle", [urls(2)], ["c:1:1"]))
    box = Replay(str(tmp_path / "bundle"))
    with pytest.raises(RuntimeError):
        _ = box.base_url
    with pytest.raises(RuntimeError):
        _ = box.description
    with box:
        assert box.description.exchanges == 2
        assert asyncio.run(asked(box, "c:1:1")) == (200, 2)
        assert [(each.call, each.path, each.status) for each in box.log] == [
            ("invoice_url", "/api/openapi/v2/extension/INVOICE/url", 200)
        ]
