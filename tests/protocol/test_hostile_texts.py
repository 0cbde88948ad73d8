"""Texts of any length and content are processed in a few hundredths of a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from ekb_async import AppCredentials, EkbError, EkbSession, SessionConfig
from ekb_async.models import VerifyResult
from ekb_async.protocol import endpoints
from ekb_async.protocol.decoding import decode_verify
from ekb_async.protocol.replies import Reply, read_reply
from ekb_async.redaction.masking import redact
from ekb_async.storage.file_names import file_name
from tests.conftest import FAST
from tests.support.fixed_answer import TOKEN, FixedAnswer

LIMIT = 0.05
MEGABYTE = 1024 * 1024
SECRET = "5ecret:of-the_app"
SIGNED = "https://files.example/a.png?Expires=1&OSSAccessKeyId=STS.key&Signature=5ignature%3D"

PIECES = [
    *("?", "a.a.a.", "-_", "http://", "<", '"', "\\", " ", "{", "[", "%25", "&amp;", "&#58;", "\\u0026"),
    *("token", "token: ", "://a@", "https%3A%2F%2F", "http://a?", "<title>", "<h1", "< br", "没有权限", "1"),
]


def long(piece: str, size: int = 2 * MEGABYTE) -> bytes:
    encoded = piece.encode()
    return encoded * (size // len(encoded))


def seconds(function: Callable[[], object]) -> float:
    """Return the processor time of a function; a slow run is repeated up to twice."""
    took = 0.0
    for _ in range(3):
        began = time.process_time()
        function()
        took = time.process_time() - began
        if took < LIMIT:
            break
    return took


@pytest.mark.realtime
@pytest.mark.parametrize("piece", PIECES)
def test_an_endless_error_is_classified_at_once(piece: str) -> None:
    """A very long body, as plain text, JSON or an HTML page, becomes an error within 50 ms."""
    for begin in (b"", b'{"errorCode":"500","errorMessage":"', b"<html><title>"):
        body = begin + long(piece)

        def classify(body: bytes = body) -> None:
            with pytest.raises(EkbError):
                read_reply(endpoints.ocr(SIGNED), Reply(502, {}, body), SECRET, TOKEN)

        assert seconds(classify) < LIMIT


@pytest.mark.realtime
@pytest.mark.parametrize("piece", PIECES)
def test_an_endless_text_is_redacted_at_once(piece: str) -> None:
    """Masking a very long text takes less than 50 ms."""
    text = long(piece).decode()
    assert seconds(lambda: redact(text, SECRET, TOKEN)) < LIMIT


@pytest.mark.realtime
@pytest.mark.parametrize("piece", [" ", "<", "< ", "<br", "</ ", "&lt;", "&lt; ", "\t\n", "¥ "])
def test_a_long_message_is_read_at_once(piece: str) -> None:
    """Long texts and amounts of a reply are decoded in linear time."""
    text = piece * (400_000 // len(piece))
    body = b'{"items":[{"master":{"form":{"E_\\u7a0e\\u989d":"%b"}},"message":"%b"}]}' % (
        text.replace("\t\n", "  ").encode(),
        text.replace("\t\n", "\\t\\n").encode(),
    )

    def read() -> None:
        (invoice,) = decode_verify(body).invoices
        assert invoice.message is not None
        assert invoice.form.deductible_tax is None

    assert seconds(read) < LIMIT


@pytest.mark.realtime
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("begin", [b"", b'{"errorCode":500,"errorMessage":"'])
@pytest.mark.parametrize("piece", ["?", "http://"])
async def test_an_endless_error_does_not_hold_up_the_loop(status: int, piece: str, begin: bytes) -> None:
    """A reply of 64 MB of any content does not block the event loop."""
    keys = AppCredentials(app_key="key", app_security=SECRET)
    config = SessionConfig(**{**FAST, "max_tries": 1})
    async with EkbSession(
        keys, config=config, transport=FixedAnswer(status, begin + long(piece, 64 * MEGABYTE) + b'"}')
    ) as ekb:
        began = time.process_time()
        results = await asyncio.gather(
            ekb.ocr(SIGNED), ekb.invoice_url("c:1:1"), ekb.flow_invoices(codes=["B1"]), return_exceptions=True
        )
        took = time.process_time() - began
    assert all(isinstance(result, EkbError) for result in results)
    # Three calls, of which one with a refused token is tried twice.
    assert took < 6 * LIMIT


@pytest.mark.parametrize("status", [200, 400])
def test_an_endless_error_is_still_understood(status: int) -> None:
    """The code and the text at the beginning of a long error decide its class."""
    body = '{"errorCode":"400","errorMessage":"识别失败","errorDetails":"%s' % ("at com.example\\n" * 100_000)
    with pytest.raises(EkbError, match="识别失败") as caught:
        read_reply(
            endpoints.verify(SIGNED, file_name="a", staff_id="s", is_ex_ocr=True),
            Reply(status, {}, body.encode() + b'"}'),
        )
    assert type(caught.value).__name__ == "RecognitionError"


@pytest.mark.slow
@pytest.mark.parametrize("secret", [TOKEN, TOKEN.replace(":", "%3a"), TOKEN.replace(":", "&#58;")])
@pytest.mark.parametrize("limit", [300, 4_096, 20_000])
def test_no_part_of_a_secret_is_left_by_a_cut(secret: str, limit: int) -> None:
    """Wherever a text is truncated, no part of a secret is left in it."""
    for before in range(limit - 50, limit + 10):
        body = f"{'。' * before}{secret} and more {'x' * 70_000}".encode()
        with pytest.raises(EkbError) as caught:
            read_reply(endpoints.ocr(SIGNED), Reply(400, {}, body), TOKEN)
        assert not any(part in str(caught.value) for part in (TOKEN[:4], "djg8"))


def test_breaks_in_a_message() -> None:
    """All spellings of `<br>` in a message are line breaks, with the spaces around them removed."""
    body = '{"items":[{"master":{},"message":" a <br>b< br / > c&lt;br/&gt;d<BR clear=\\"all\\">\\n<br>e "}]}'
    result: VerifyResult = decode_verify(body.encode())
    assert result.invoices[0].message == " a\nb\nc\nd\n\ne "


@pytest.mark.realtime
@pytest.mark.parametrize("piece", ["\u0300\u0316", "/", "\\", "a", " ", ".", "发票"])
def test_a_long_name_is_made_a_name_at_once(piece: str) -> None:
    """A file name of any length is shortened in linear time and keeps its suffix."""
    name = f"a{piece * (MEGABYTE // len(piece))}b.pdf"
    assert seconds(lambda: file_name("c:1:1", name)) < LIMIT
    assert file_name("c:1:1", name).endswith(".pdf")
