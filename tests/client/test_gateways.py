"""Which 5xx answers of billed calls are refusals by the vendor, and which leave open whether the call was billed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import EkbError, OutcomeUnknownError, ServerError
from ekb_async.backlog import Backlog
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on
from tests.support.backlogs import all_tasks, manifest
from tests.support.canned_vendor import CannedVendor, reply, session_with

URL = "https://files.example/a.png"
PAGE = "<html><head><title>Service Unavailable</title></head></html>"

LOST = [
    *(reply(status, PAGE, "text/html") for status in (500, 502, 503, 504, 520, 524, 599)),
    *(reply(status, "") for status in (500, 502, 503, 504, 522)),
    reply(502, {"errorCode": 502, "errorMessage": "系统异常"}),
    reply(504, {"code": "504", "msg": "timeout"}),
    reply(500, {"message": "Internal server error"}),
    reply(503, "upstream connect error or disconnect/reset before headers", "text/plain"),
    reply(503, "no healthy upstream", "text/plain"),
    # Nothing in these shows that they come from the vendor, so the call may have been carried out.
    *(reply(status, {}) for status in (500, 503)),
    reply(500, []),
    reply(500, "null"),
    reply(500, {"status": 500, "error": "Internal Server Error", "path": "/api"}),
    reply(500, {"timestamp": 1, "path": "/api", "status": 500, "error": "Internal Server Error", "requestId": "a-1"}),
    reply(503, {"code": 503, "message": "upstream connect error"}),
    reply(503, {"code": "503", "msg": "Service Unavailable"}),
    reply(503, {"message": "An invalid response was received from the upstream server", "request_id": "7"}),
    reply(503, {"detail": "Service Unavailable"}),
    reply(500, {"error_msg": "Backend unavailable", "error_code": "APIG.0201", "request_id": "7"}),
    reply(500, {"error": {"code": 500, "message": "backend error"}}),
    reply(500, {"errorMessage": "Task timed out", "errorType": "Timeout"}),
    reply(200, {"code": 500, "message": "Internal Server Error"}),
    # The vendor's own timeouts, after which the call may still have been carried out.
    reply(500, {"errorCode": 500, "errorMessage": "请求超时"}),
    reply(400, {"errorCode": 400, "errorMessage": "调用第三方服务超时，请稍后重试"}),
]
REFUSED = [
    reply(500, {"errorCode": 500, "errorMessage": "系统异常"}),
    reply(500, {"code": "500", "msg": "system error", "data": None, "traceId": "t"}),
    reply(500, {"value": {"errorCode": "500", "errorMessage": ""}}),
    reply(503, {"errorCode": 503, "errorMessage": "服务不可用"}),
    reply(503, "系统维护中", "text/plain"),
    reply(500, {"message": "系统异常"}),
    reply(500, {"errorCode": "500", "errorMsg": "Internal error", "requestId": "r", "time": 1}),
    reply(500, {"value": {"code": 500, "msg": "system error"}}),
    reply(500, {"error": "系统异常", "status": 500}),
    reply(400, {"errorCode": 500, "errorMessage": "可尝试再次请求"}),
]


def name_of(answer: Reply) -> str:
    """Return the name of a test case."""
    return f"{answer.status} {answer.body.decode()[:24]}"


@pytest.mark.slow
@pytest.mark.parametrize("answer", LOST, ids=name_of)
async def test_a_gateways_answer_leaves_it_open(answer: Reply) -> None:
    """After a gateway's answer a billed call is not repeated with `repeat_unknown=False`, and counted otherwise."""
    vendor = CannedVendor(ocr=answer)
    async with session_with(vendor, repeat_unknown=False) as ekb:
        with pytest.raises(OutcomeUnknownError):
            await ekb.ocr(URL)
    assert vendor.sent["ocr"] == 1
    vendor = CannedVendor(ocr=answer)
    async with session_with(vendor, max_tries=3) as ekb:
        with pytest.raises(ServerError):
            await ekb.ocr(URL)
        assert ekb.stats().ocr.maybe_billed == 2


@pytest.mark.parametrize("answer", REFUSED, ids=name_of)
async def test_the_vendors_own_answer_is_a_refusal(answer: Reply) -> None:
    """After a refusal by the vendor itself nothing was billed, and the call is repeated."""
    vendor = CannedVendor(ocr=answer)
    async with session_with(vendor, max_tries=3, repeat_unknown=False) as ekb:
        with pytest.raises(ServerError):
            await ekb.ocr(URL)
        assert ekb.stats().ocr.maybe_billed == 0
    assert vendor.sent["ocr"] == 3


async def test_free_calls_are_repeated_whatever_answered() -> None:
    """A free call is repeated after a gateway's answer as well."""
    vendor = CannedVendor(flow_invoices=reply(502, PAGE, "text/html"))
    async with session_with(vendor, max_tries=3, repeat_unknown=False) as ekb:
        with pytest.raises(ServerError):
            await ekb.flow_invoices(codes=["B1"])
    assert vendor.sent["flow_invoices"] == 3


@pytest.mark.parametrize("status", [502, 504, 521])
async def test_a_row_is_not_sent_over_and_over(status: int, tmp_path: Path) -> None:
    """A row whose calls a gateway answers is sent `max_tries` times at most, and counted as maybe billed."""
    vendor = CannedVendor(ocr=reply(status, PAGE, "text/html"))
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, session_with(vendor, max_tries=2) as ekb:
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{URL},,,,a"))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
    assert (task.state, vendor.sent["ocr"], task.maybe_billed) == ("failed", 2, 2)


async def test_over_a_socket() -> None:
    """A gateway's page with status 502 after the call was carried out does not lead to a second billed call."""
    fault = Fault.gateway_page(502, carried_out=True, calls="ocr", times=1)
    async with Sandbox(ocr_rate=0, faults=[fault]) as box, session_on(box, repeat_unknown=False) as ekb:
        with pytest.raises(OutcomeUnknownError) as caught:
            await ekb.ocr(URL)
        assert isinstance(caught.value, EkbError)
        assert box.vendor.billed["ocr"].total() == 1
