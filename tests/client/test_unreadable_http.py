"""Answers that are not valid HTTP or have another 2xx status: complete results are used, nothing is paid twice."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from ekb_async import (
    EkbError,
    EkbSession,
    EkbTimeoutError,
    OutcomeUnknownError,
    RecognitionError,
    ResponseError,
    SessionConfig,
    StaticToken,
)
from tests.conftest import FAST
from tests.support.raw_server import Handler, server

RESULT = json.dumps(
    {"value": {"platform": "x", "invoices": [{"type": "10100", "details": {"total": "1.50"}}]}}
).encode()
REFUSAL = '{"errorCode": 400, "errorMessage": "识别失败"}'.encode()
JSON = "Content-Type: application/json"
URL = "https://files.example/a.png"


def http(body: bytes, *headers: str, status: str = "200 OK", announced: int | None = None) -> bytes:
    """Return an answer with its length, or with the length `announced`, followed by further headers."""
    length = [f"Content-Length: {len(body) if announced is None else announced}"]
    return "\r\n".join([f"HTTP/1.1 {status}", JSON, *length, *headers]).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"", status: str = "200 OK") -> bytes:
    """Return a chunked answer with `end` in place of the last chunk."""
    head = f"HTTP/1.1 {status}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


async def outcome(answer: bytes | Handler, **config: Any) -> tuple[object, int]:
    """Return the result or error of a billed call that always gets this answer, and how often it was sent."""

    async def write(_head: bytes, writer: asyncio.StreamWriter) -> None:
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            await answer(_head, writer)

    settings = SessionConfig(**{**FAST, "close_timeout": 0.0, "max_tries": 3, **config})
    async with (
        server(write) as (base_url, heads),
        EkbSession(StaticToken("ID01:t"), base_url=base_url, config=settings) as ekb,
    ):
        try:
            result: object = await ekb.ocr(URL)
        except EkbError as error:
            result = error
        return result, len(heads)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(RESULT, "Transfer-Encoding: chunked"), "Transfer-Encoding"),
        (http(RESULT, f"Content-Length: {len(RESULT)}"), "Content-Length"),
        (http(RESULT, "Content-Encoding: br"), "content-encoding: br"),
        (http(RESULT, "Content-Encoding: gzip"), "content-encoding: gzip"),
        (http(RESULT, "Content-Encoding: br", status="400 Bad Request"), "content-encoding: br"),
        (http(RESULT, "garbage"), "[Hh]eader"),
        (http(RESULT, "X-Long: " + "a" * 9000), "8190"),
        (http(RESULT, "X Quoted: ID01:t s3cret"), "[Hh]eader"),
        (b"garbage\r\n\r\n", "HTTP"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
async def test_what_cannot_be_read_as_http(answer: bytes, reason: str) -> None:
    """An answer that is not HTTP raises an error with the reason, and is not repeated: the next would be the same."""
    error, sent = await outcome(answer)
    assert isinstance(error, ResponseError)
    assert sent == 1
    with pytest.raises(ResponseError, match=reason):
        raise error
    assert "s3cret" not in str(error)
    assert "ID01" not in str(error)
    held, sent = await outcome(answer, repeat_unknown=False)
    assert isinstance(held, OutcomeUnknownError)
    assert sent == 1


@pytest.mark.parametrize(
    "answer",
    [
        chunked(RESULT),
        chunked(RESULT[:20], RESULT[20:]),
        http(RESULT, announced=len(RESULT) + 1),
        http(RESULT, announced=10 * len(RESULT)),
        *(http(RESULT, status=status) for status in ("201 Created", "202 Accepted", "203 Non-Authoritative", "299 X")),
        http(gzip.compress(RESULT), "Content-Encoding: gzip"),
    ],
    ids=lambda answer: repr(answer[-30:]),
)
async def test_a_whole_result_is_used(answer: bytes) -> None:
    """A complete result is used although its framing is broken or its status is another 2xx."""
    result, sent = await outcome(answer)
    assert not isinstance(result, EkbError), result
    assert result.invoices[0].details.total == 1.5  # type: ignore[attr-defined]
    assert sent == 1


async def test_a_result_that_is_followed_by_silence() -> None:
    """A complete result is used if the server announces more and then stalls; half of one is a timeout."""

    async def silent(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(body, announced=len(RESULT) + 1))
        await writer.drain()
        await asyncio.Event().wait()

    result, sent = await outcome(lambda _, writer: silent(RESULT, writer), read_timeout=0.05)
    assert not isinstance(result, EkbError)
    assert sent == 1
    error, sent = await outcome(lambda _, writer: silent(RESULT[:30], writer), read_timeout=0.05, max_tries=2)
    assert isinstance(error, EkbTimeoutError)
    assert error.sent
    assert sent == 2


async def test_a_whole_refusal_is_used() -> None:
    """A complete refusal is raised as such although its framing is broken."""
    for answer in (
        http(REFUSAL, status="400 Bad Request", announced=len(REFUSAL) + 9),
        chunked(REFUSAL, status="400 Bad Request"),
        chunked(REFUSAL),
    ):
        error, sent = await outcome(answer)
        assert isinstance(error, RecognitionError)
        assert sent == 1


@pytest.mark.parametrize(
    "answer", [http(RESULT[:40], announced=400), chunked(RESULT[:40]), chunked("识别失".encode()), chunked(b"[")]
)
async def test_half_of_an_answer_is_lost(answer: bytes) -> None:
    """A call whose answer was cut off is repeated, even if what arrived is the beginning of a text."""
    error, sent = await outcome(answer, max_tries=2)
    assert isinstance(error, ResponseError)
    assert "cut off" in str(error)
    assert (error.lost, sent) == (True, 2)


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "204 No Content"])
async def test_a_2xx_without_a_result(status: str) -> None:
    """Another 2xx status without a result is an error, and the call is not repeated."""
    error, sent = await outcome(http(b"", status=status))
    assert isinstance(error, ResponseError)
    assert sent == 1
    error, sent = await outcome(http(REFUSAL, status="202 Accepted"))
    assert isinstance(error, RecognitionError)
