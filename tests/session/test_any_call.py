"""Calls of interfaces that the package does not declare, made as the declared ones are."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ekb_async import (
    AuthError,
    ConfigError,
    EkbConnectionError,
    EkbSession,
    InvalidRequestError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
    SessionConfig,
    StaticToken,
    ThrottledError,
)
from ekb_async.sandbox import Fault, Sandbox
from tests.support.frames import package_locals

URLS = "/api/openapi/v2/extension/INVOICE/url"
OCR = "/api/openapi/v2/invoice/processImageByFileUrl"
FAST = SessionConfig(max_backoff=0.02)
LOST = {"calls": {"ocr"}, "carried_out": True, "times": 1}


def reply(status: int, body: bytes) -> Fault:
    """Return what makes the vendor answer so."""
    return Fault(kind="answer", carried_out=False, calls=frozenset({"invoice_url"}), status=status, body=body)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A vendor."""
    async with Sandbox(ocr_rate=0) as running:
        yield running


@pytest.fixture
async def ekb(box: Sandbox) -> AsyncIterator[EkbSession]:
    """A session with the vendor."""
    async with EkbSession(box.credentials, base_url=box.base_url, config=FAST) as session:
        yield session


async def test_the_reply_is_returned_as_json(ekb: EkbSession) -> None:
    """A call has a method, a path, a JSON body and a query, and returns what the vendor sent."""
    reply = await ekb.request("POST", URLS, json={"invoiceId": ["c:1:1"]}, query={"lang": "zh", "n": 1, "x": True})
    assert [item["id"] for item in reply["items"]] == ["c:1:1"]
    licences = await ekb.request("GET", "/api/openapi/v1/charge/powers/list")
    assert len(licences["items"]) >= 2


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"value": 1.10}', {"value": Decimal("1.10")}),
        (b"[]", []),
        (b"[1]", [1]),
        (b'{"value": {"code": "B1", "title": "x"}}', {"value": {"code": "B1", "title": "x"}}),
        (b'{"value": "ok"}', {"value": "ok"}),
        (b'"ok"', "ok"),
        (b'{"value": {"code": "B24000001"}}', {"value": {"code": "B24000001"}}),
        (b'{"data": {"code": "D1", "value": "x"}}', {"data": {"code": "D1", "value": "x"}}),
        ('{"message": "已提交"}'.encode(), {"message": "已提交"}),
        (b"null", None),
        (b'{"errorCode": 0, "errorMessage": "", "value": [1]}', {"errorCode": 0, "errorMessage": "", "value": [1]}),
        (b'{"code": "200", "msg": "success", "data": {"a": 1}}', {"code": "200", "msg": "success", "data": {"a": 1}}),
    ],
)
async def test_any_json_is_a_result(box: Sandbox, ekb: EkbSession, body: bytes, result: object) -> None:
    """Only what is evidently an error is one."""
    box.faults.append(reply(200, body))
    assert await ekb.request("POST", URLS, json={}) == result


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, '{"errorCode": 400, "errorMessage": "x不合法", "data": null}', InvalidRequestError),
        (200, '{"value": {"errorCode": 403, "errorMessage": "未开通功能，无权访问"}}', PermissionDeniedError),
        (200, '{"code": "500", "msg": "system error", "data": null, "traceId": "t"}', ServerError),
        (200, "未开通功能，无权访问", PermissionDeniedError),
        (200, "<html><title>502</title></html>", ServerError),
        (200, "", ResponseError),
        (400, '{"errorCode": 400, "errorMessage": "请求过于频繁，请稍后再试"}', ThrottledError),
        (404, "Not Found", InvalidRequestError),
    ],
)
async def test_errors_are_those_of_all_calls(
    box: Sandbox, ekb: EkbSession, status: int, body: str, error: type[Exception]
) -> None:
    """A refusal, a gateway's page or an empty body raises the same error as for a declared call."""
    box.faults.append(reply(status, body.encode()))
    with pytest.raises(error):
        await ekb.request("POST", URLS, json={})


async def test_nothing_to_say_is_none(box: Sandbox, ekb: EkbSession) -> None:
    """A reply with status 204 has no body and is no error."""
    box.faults.append(reply(204, b""))
    assert await ekb.request("POST", URLS, json={}, rate=100) is None
    counts = ekb.stats().requests[f"POST {URLS}"]
    assert (counts.succeeded, counts.failed) == (1, 0)


async def test_passing_failures_are_repeated_and_a_dead_token_is_replaced(box: Sandbox, ekb: EkbSession) -> None:
    """Retries and tokens are those of the session."""
    await ekb.request("POST", URLS, json={"invoiceId": ["c:1:1"]})
    box.revoke_tokens()
    box.faults.append(Fault.answer(503, "系统繁忙", calls={"invoice_url"}, times=1))
    assert (await ekb.request("POST", URLS, json={"invoiceId": ["c:1:1"]}))["items"]
    assert box.vendor.tokens_issued == 2


@pytest.mark.realtime
async def test_calls_with_a_rate_have_a_queue_of_their_own(box: Sandbox, ekb: EkbSession) -> None:
    """Their starts keep the rate, and other calls do not wait for them."""
    body = {"fileUrl": "https://files.example/a.png"}
    calls = [ekb.request("POST", OCR, json=body, rate=4, billed=True) for _ in range(4)]
    await asyncio.gather(*calls)
    starts = box.starts("ocr")
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= 0.24
    counts = ekb.stats().requests[f"POST {OCR}"]
    assert (counts.sent, counts.succeeded, counts.maybe_billed) == (4, 4, 0)
    assert ekb.metrics()[f"POST {OCR}.sent"] == 4


async def test_a_lost_answer_of_a_billed_call_is_counted(box: Sandbox, ekb: EkbSession) -> None:
    """The call is made again, and counts as one that may have been billed twice."""
    box.faults.append(Fault.reset(**LOST))  # type: ignore[arg-type]
    await ekb.request("POST", OCR, json={"fileUrl": "https://files.example/a.png"}, billed=True)
    counts = ekb.stats().requests[f"POST {OCR}"]
    assert (counts.sent, counts.maybe_billed) == (2, 1)


async def test_a_billed_call_is_not_repeated_if_that_is_forbidden(box: Sandbox) -> None:
    """With `repeat_unknown=False` a lost answer is an `OutcomeUnknownError`, and a refused connection is not."""
    config = SessionConfig(repeat_unknown=False, max_tries=1)
    async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
        box.faults.append(Fault.reset(**LOST))  # type: ignore[arg-type]
        with pytest.raises(OutcomeUnknownError):
            await ekb.request("POST", OCR, json={"fileUrl": "https://files.example/a.png"}, billed=True)
    async with EkbSession(StaticToken("t"), base_url="http://127.0.0.1:9", config=config) as ekb:
        with pytest.raises(EkbConnectionError) as refused:
            await ekb.request("POST", OCR, billed=True)
    assert not refused.value.sent


async def test_a_call_with_a_rate_is_not_billed_by_that(box: Sandbox) -> None:
    """A lost answer of a call that is not billed is repeated and not counted, whatever `repeat_unknown` says."""
    config = SessionConfig(repeat_unknown=False, max_backoff=0.02)
    async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
        box.faults.append(Fault.reset(**LOST))  # type: ignore[arg-type]
        await ekb.request("POST", OCR, json={"fileUrl": "https://files.example/a.png"}, rate=100)
        counts = ekb.stats().requests[f"POST {OCR}"]
    assert (counts.sent, counts.succeeded, counts.maybe_billed) == (2, 1, 0)


@pytest.mark.realtime
async def test_the_pace_of_a_declared_call_is_shared(box: Sandbox) -> None:
    """`request` to the path of a declared call, at the same rate, keeps to one pace with it."""
    config = SessionConfig(ocr_rate=4)
    async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
        url = "https://files.example/a.png"
        await ekb.licences()
        await asyncio.gather(ekb.ocr(url), ekb.request("POST", OCR, json={"fileUrl": url}, rate=4, billed=True))
    first, second = box.starts("ocr")
    assert second - first >= 0.24


@pytest.mark.parametrize("name", ["权限不足", "请求频繁登记表", "密钥无效"])
async def test_a_quotation_of_the_query_is_no_error_text(box: Sandbox, ekb: EkbSession, name: str) -> None:
    """The vendor may quote what was asked for, which says nothing about permission, rate or keys."""
    refusal = {"errorCode": 400, "errorMessage": f"没有找到模板：{name}"}
    box.faults.append(reply(400, msgspec.json.encode(refusal)))
    with pytest.raises(InvalidRequestError):
        await ekb.request("POST", URLS, query={"name": name})
    with pytest.raises(InvalidRequestError):
        await ekb.request("POST", URLS, json={"name": name})


async def test_an_interface_may_have_ids_in_its_path(box: Sandbox, ekb: EkbSession) -> None:
    """Calls that name an interface share its queue, with one rate."""
    path = "/api/openapi/v2/extension/INVOICE/object/invoice/{}/detail"
    for number in range(3):
        await ekb.request("POST", path.format(f"c:1:{number}"), rate=500, interface="details")
    assert ekb.stats().requests["details"].succeeded == 3
    with pytest.raises(ConfigError):
        await ekb.request("POST", path.format("c:1:1"), rate=5, interface="details")


async def test_paths_are_encoded(box: Sandbox, ekb: EkbSession) -> None:
    """Chinese and blanks in a path are percent-encoded; what is encoded already stays as it is."""
    with pytest.raises(InvalidRequestError):
        await ekb.request("GET", "/api/openapi/单据%20{x}")
    assert box.log[-1].path == "/api/openapi/%E5%8D%95%E6%8D%AE%20%7Bx%7D"


WRONG: list[tuple[Any, Any, dict[str, Any]]] = [
    ("TRACE", "/a", {}),
    ("post", "/a", {}),
    (None, "/a", {}),
    ("GET", "a", {}),
    ("GET", "//elsewhere.example/a", {}),
    ("GET", "https://elsewhere.example/a", {}),
    ("GET", "/a/../b", {}),
    ("GET", "/a/%2E%2e/b", {}),
    ("GET", "/a/..%2fb", {}),
    ("GET", "/a/%252e%252E/b", {}),
    ("GET", "/a/..;/b", {}),
    ("GET", "/a?b=1", {}),
    ("GET", "/a#b", {}),
    ("GET", "/a b", {}),
    ("GET", "/a\r\nHost: x", {}),
    ("GET", "/a\\b", {}),
    ("GET", "/\ud800", {}),
    ("GET", "/" + "a" * 3000, {}),
    ("GET", 7, {}),
    ("GET", "/a", {"query": {"accessToken": "t"}}),
    ("GET", "/a", {"query": {"AccessToken": "t"}}),
    ("GET", "/a", {"query": [("a", "b")]}),
    ("GET", "/a", {"query": {"a": None}}),
    ("GET", "/a", {"query": {7: "b"}}),
    ("GET", "/a", {"query": {"a": float("nan")}}),
    ("GET", "/a", {"json": object()}),
    ("GET", "/a", {"json": {"a": "\ud800"}}),
    ("GET", "/a", {"rate": 0}),
    ("GET", "/a", {"rate": -1}),
    ("GET", "/a", {"rate": "1"}),
    ("GET", "/a", {"rate": float("nan")}),
    ("GET", "/a", {"billed": 1}),
    ("GET", "/a", {"rate": 1, "interface": ""}),
    ("GET", "/a", {"rate": 1, "interface": "ocr"}),
]


@pytest.mark.parametrize(("method", "path", "options"), WRONG)
async def test_wrong_arguments_are_refused(
    box: Sandbox, ekb: EkbSession, method: Any, path: Any, options: dict[str, Any]
) -> None:
    """Nothing is sent for them, and no host but the vendor's can be reached."""
    with pytest.raises(ConfigError):
        await ekb.request(method, path, **options)
    assert not box.log


async def test_too_many_interfaces_with_a_rate_are_refused(ekb: EkbSession) -> None:
    """An ID in each path would otherwise make a queue for each ID."""
    for number in range(100):
        with pytest.raises(InvalidRequestError):
            await ekb.request("POST", f"/api/openapi/unknown/{number}", rate=1000)
    with pytest.raises(ConfigError, match="interface"):
        await ekb.request("POST", "/api/openapi/unknown/100", rate=1000)


async def test_an_error_shows_no_token(box: Sandbox, ekb: EkbSession) -> None:
    """Neither message nor traceback contain it."""
    await ekb.request("POST", URLS, json={"invoiceId": ["c:1:1"]})
    token = box.vendor.tokens.log_in(box.credentials.app_key, box.credentials.app_security, 0.0).access
    box.faults.append(Fault.answer(400, f"token {token} 不合法", calls={"invoice_url"}))
    async with EkbSession(StaticToken(token), base_url=box.base_url, config=FAST) as other:
        with pytest.raises((InvalidRequestError, AuthError)) as refused:
            await other.request("POST", URLS, json={"invoiceId": ["a"]})
    assert token not in "".join(traceback.format_exception(refused.value))
    assert not any(token in shown for shown in package_locals(refused.value))
