"""Long replies that are not results block the event loop hardly longer than decoding JSON of their length."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from ekb_async import ApiError, EkbError
from ekb_async.models import Attachment
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply, read_reply
from tests.support.canned_vendor import CannedVendor, reply, session_with

LIMIT = 0.05
SIZE = 8 * 1024 * 1024
TEXT = "单据章不清晰"
URL = "https://files.example/a.png"

REQUESTS: dict[str, Request[object]] = {
    "ocr": endpoints.ocr(URL),
    "verify": endpoints.verify(URL, file_name="a.png", staff_id="s", is_ex_ocr=True),
    "verify_by_id": endpoints.verify_by_id("c:1:1"),
    "invoice_urls": endpoints.invoice_urls(["c:1:1"]),
    "details": endpoints.details("c:1:1"),
    "flow_invoices": endpoints.flow_invoices("code", ["B1"]),
    "download_urls": endpoints.download_urls([Attachment("f", "k")], 1800),
    "upload": endpoints.upload("a.png", b"x"),
}


def many(piece: str, size: int = SIZE, encoding: str = "utf-8") -> bytes:
    encoded = piece.encode(encoding)
    return encoded * (size // len(encoded))


def listed(piece: str, size: int = 400_000) -> list[bytes]:
    """Return long lists of one repeated entry, in the wrappers of all endpoints."""
    inside = b"[" + many(f"{piece},", size) + piece.encode() + b"]"
    wrappings = (b"%b", b'{"items":%b}', b'{"value":{"invoices":%b}}', b'{"value":{"B1":%b}}')
    return [wrapping % inside for wrapping in wrappings]


def bodies() -> dict[str, tuple[list[bytes], str]]:
    """Return long bodies by name, with their content types."""
    gbk = many("识别失败", encoding="gbk")
    return {
        "GBK": ([gbk, b'{"value":"%b"}' % gbk, b'{"value":{"invoices":["%b"]}}' % gbk], ""),
        "GBK declared": ([many("<p>识别失败</p>", encoding="gbk")], "text/html; charset=gbk"),
        "Latin declared": ([many("<p>识别失败</p>")], "text/html; charset=iso-8859-1"),
        "UTF-16 declared": ([many("<p>识别失败</p>", encoding="utf-16-le")], "text/html; charset=utf-16"),
        "numbers": (listed("1"), ""),
        "nulls": (listed("null"), ""),
        "objects": (listed("{}"), ""),
        "lists": (listed("[]"), ""),
        "texts": (listed('"a"'), ""),
        "byte order mark": ([b"\xef\xbb\xbf" + listed("1")[1]], ""),
        "NaN": (listed("NaN"), ""),
        "single quotes": ([many("{'a':1},", 1_000_000), b"{'value':[%b]}" % many("'a',", 1_000_000)], ""),
        "control characters": ([b'{"value":"%b"}' % many("a\t", 1_000_000)], ""),
        "cut off": ([b'{"value":"%b' % many("识"), listed("1")[1][:-2]], ""),
        "trailing": ([f'{{"errorMessage":"{TEXT}"}}'.encode() + many("识")], ""),
    }


def seconds(function: Callable[[], object], limit: float) -> float:
    """Return the shortest processor time of up to three runs; a run within `limit` is the last."""
    took = []
    for _ in range(3):
        began = time.process_time()
        function()
        took.append(time.process_time() - began)
        if took[-1] < limit:
            break
    return min(took)


@pytest.mark.realtime
@pytest.mark.parametrize("name", bodies())
def test_what_was_not_promised_is_refused_at_once(name: str) -> None:
    """A long body that is not a result raises an error in hardly more time than decoding it takes."""
    made, content_type = bodies()[name]
    headers = {"Content-Type": content_type}
    for body in made:
        limit = 1.5 * seconds(partial(_decode, body), 0.0) + LIMIT
        for call, status in [*((call, 200) for call in REQUESTS), ("ocr", 500)]:

            def refuse(body: bytes = body, status: int = status, call: str = call) -> None:
                with pytest.raises(EkbError):
                    read_reply(REQUESTS[call], Reply(status, headers, body))

            assert seconds(refuse, limit) < limit, (call, status, body[:40])


def _decode(body: bytes) -> None:
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
        msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))


async def test_a_long_result_is_read() -> None:
    """Long results are read: invoices with long lists of numbers, and many lines."""
    region = ",".join(["1"] * 200_000)
    invoices = f'{{"type":"10100","details":{{"total":"1.50"}},"odd":[{region}]}}'
    lines = [{"id": f"l{n}", "masterId": "c:1:1", "E_system_发票明细_name": "*餐饮服务*餐费"} for n in range(15_000)]
    vendor = CannedVendor(
        ocr=reply(200, f'{{"value":{{"invoices":[{invoices}]}}}}'),
        invoice_details_many=reply(200, {"items": lines}),
    )
    async with session_with(vendor) as ekb:
        assert str((await ekb.ocr(URL)).invoices[0].details.total) == "1.50"
        assert len(await ekb.invoice_details("c:1:1")) == 15_000


@pytest.mark.parametrize(
    ("encoding", "charset"), [("gbk", ""), ("gbk", "; charset=gbk"), ("utf-8-sig", ""), ("utf-16", "; charset=utf-16")]
)
async def test_a_long_result_in_another_encoding_is_read(encoding: str, charset: str) -> None:
    """A result of a few hundred kilobytes is read in any encoding."""
    body = json.dumps(
        {"value": {"invoices": [{"type": "10100", "details": {"remark": "北京" * 60_000, "total": "1.50"}}]}},
        ensure_ascii=False,
    )
    answer = Reply(200, {"Content-Type": f"application/json{charset}"}, body.encode(encoding))
    async with session_with(CannedVendor(ocr=answer)) as ekb:
        assert str((await ekb.ocr(URL)).invoices[0].details.total) == "1.50"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("listed_first", [True, False])
async def test_a_long_list_of_errors_quotes_the_first(status: int, *, listed_first: bool) -> None:
    """The error at the beginning of a long body is raised, wherever the body is truncated."""
    error = {"code": 400, "message": TEXT}
    body: dict[str, object] = {"errors": [error] * 20_000} if listed_first else {"errorCode": 400, "errorMessage": TEXT}
    if not listed_first:
        body["data"] = [{"a": 1}] * 50_000
    async with session_with(CannedVendor(ocr=reply(status, body)), max_tries=1) as ekb:
        with pytest.raises(ApiError, match=TEXT):
            await ekb.ocr(URL)
