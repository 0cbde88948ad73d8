"""No message, repr, log record or traceback contains a secret."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

import pytest
from rich.pretty import pretty_repr

from ekb_async import AppCredentials, EkbError, EkbSession, Outcome, SessionConfig, StaticToken
from ekb_async.protocol import decoding, endpoints
from ekb_async.protocol.replies import Reply
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import without_signature, without_signed_queries
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import FAST

SECRET = "5ecret-of-the-app"
SIGNED = "https://files.example/a.png?Expires=1&OSSAccessKeyId=STS.key&Signature=5ignature%3D&security-token=t0ken"


async def run_into_everything(box: Sandbox) -> list[str]:
    """Return the messages, tracebacks and reprs of calls that fail in every way."""
    keys = AppCredentials(app_key="key", app_security=SECRET)
    texts = [repr(keys), str(keys), repr(StaticToken(SECRET))]
    config = SessionConfig(**{**FAST, "max_tries": 2, "request_timeout": 0.2})
    async with EkbSession(keys, base_url=box.base_url, config=config) as ekb:
        job = ekb.submit_ocr(SIGNED)
        calls = [
            *(ekb.ocr(f"{SIGNED}&n={n}") for n in range(40)),
            *(ekb.verify(f"{SIGNED}&n={n}", staff_id="c:s") for n in range(40)),
            *(ekb.invoice_url(f"c:1:{n}") for n in range(20)),
            *(ekb.flow_invoices(codes=[f"B{n}"]) for n in range(20)),
        ]
        results = await asyncio.gather(*calls, job, return_exceptions=True)
        texts += [repr(ekb), repr(job), repr(ekb.stats())]
        async for outcome in ekb.ocr_many([SIGNED, 7]):  # type: ignore[type-var]
            texts.append(repr(outcome))
    for result in results:
        texts.append(repr(result))
        if isinstance(result, BaseException):
            texts += [str(result), *traceback.format_exception(result)]
            if isinstance(result, EkbError):
                texts.append(repr(vars(result)))
    return texts


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        [Fault.reset()],
        [Fault.lost_answer()],
        [Fault.cut_off()],
        [Fault.gateway_page()],
        [Fault.not_json()],
        [Fault.delay(0.5)],
        [Fault.answer(401, f"bad token {SECRET} in accessToken=ID01:zz {SIGNED}")],
        [Fault.answer(400, f"cannot open {SIGNED}", calls=("ocr", "verify"))],
        [],
    ],
)
async def test_no_failure_shows_a_secret(
    faults: list[Fault], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No failure shows a secret, even with debug logs of asyncio and aiohttp."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with Sandbox(ocr_rate=0, verify_rate=0, app_key="key", app_security=SECRET, faults=faults) as box:
        texts = await run_into_everything(box)
        tokens = [token.partition(":")[0] for token in box.vendor.tokens.secrets]
    output = capfd.readouterr()
    texts += [record.getMessage() for record in caplog.records] + [caplog.text, output.out, output.err]
    secrets = [SECRET, "5ignature", "t0ken", "STS.key", *tokens]
    for text in texts:
        assert not any(secret in text for secret in secrets), text
        assert "accessToken=ID" not in text


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (SIGNED, "https://files.example/a.png"),
        ("https://h.example/f?id=7&Signature=x&v=2", "https://h.example/f?id=7&v=2"),
        ("https://u:p@h.example/f?X-Amz-Signature=1&X-Amz-Date=2", "https://h.example/f"),
        ("https://h.example/f#part", "https://h.example/f"),
        (
            "https://h.example/f?x-oss-process=image%2Fcrop%2Cx_0&x-oss-signature=x",
            "https://h.example/f?x-oss-process=image%2Fcrop%2Cx_0",
        ),
        (
            "https://h.example/f?X-Tos-Signature=1&x-obs-process=2&x-goog-credential=3",
            "https://h.example/f?x-obs-process=2",
        ),
        ("https://h.example/f", "https://h.example/f"),
        ("https://[broken?Signature=x", "https://[broken"),
    ],
)
def test_urls_without_signature(url: str, file: str) -> None:
    """Parameters that identify the file stay, and those that grant access are removed."""
    assert without_signature(url) == file


@pytest.mark.parametrize("query", ["a" * 300_000, "a.b-" * 75_000, "?" * 300_000, "a=b&" * 75_000])
def test_a_long_query_takes_no_long_time(query: str) -> None:
    """The time for a text grows with its length, not with the square of it."""
    began = time.monotonic()
    without_signed_queries(f"https://h.example/a?{query}")
    assert time.monotonic() - began < 10


def test_pretty_printing_shows_no_secret() -> None:
    """Pretty-printing with rich shows no secret either."""
    outcome: Outcome[str, None] = Outcome(SIGNED, error=ValueError("x"))
    keys = AppCredentials(app_key="key", app_security=SECRET)
    internal_values = [
        endpoints.ocr(SIGNED),
        endpoints.get_token(keys),
        decoding.TokenGrant(SECRET),
        Reply(200, {}, SECRET.encode()),
    ]
    for value in (keys, StaticToken(SECRET), outcome, *internal_values):
        assert SECRET not in repr(value)
        assert not any(secret in pretty_repr(value) for secret in (SECRET, "5ignature", "t0ken"))


def test_redacting_every_spelling() -> None:
    """A secret is masked literally, percent-encoded, and in fields named like a secret."""
    text = redact('{"appSecurity": "abc/d", "refreshToken":"r1"} abc%2Fd abc/d access_token=zzz', "abc/d")
    assert not any(secret in text for secret in ("abc", "r1", "zzz"))


@pytest.mark.parametrize("url", ["https://user:pa55word@files.example.com/a.png", "postgresql://ekb:pa55word@db/ekb"])
def test_a_url_shows_no_password(url: str) -> None:
    """The user and the password of a URL are masked."""
    assert (
        redact(f"cannot open {url}: refused")
        == f"cannot open {url.partition('//')[0]}//***@{url.partition('@')[2]}: refused"
    )
