"""Odd answers to a token call: each is a token, or a typed error of the calls that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ekb_async import AppCredentials, EkbError, EkbSession, SessionConfig
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from tests.conftest import FAST

KEYS = AppCredentials(app_key="key", app_security="secret-of-the-app")
OCR = b'{"value":{"platform":"p","invoices":[]}}'
LONG = "9" * 400
USED = [
    *(LONG, f"-{LONG}", f"{LONG}.5", f'"{LONG}"', "1e308", "1e999", "-1e999", "NaN", "Infinity", "true", "[]", "{}"),
    *("9" * 5000, "0.1", "-0", "null", '"x"', f"[{LONG}]", "18446744073709551616", "1e-400"),
]
REFUSED = [
    b"",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"value":null}',
    b'{"value":{"accessToken":""}}',
    b'{"value":{"accessToken":null}}',
    b'{"value":{"accessToken":7}}',
    b'{"value":{"accessToken":["x"]}}',
    b'{"value":{"accessToken":"%b"}}' % (b"x" * 1_000_000),
    b'{"value":' * 5000,
    b'{"value":{"accessToken":',
    b'{"value":{"errorCode":%b,"errorMessage":"no"}}' % LONG.encode(),
    b'{"errorCode":%b,"errorMessage":%b}' % (LONG.encode(), LONG.encode()),
    b'{"code":-1e999,"msg":{"a":[]}}',
]


class Tokens:
    """Answers the token call with a body, and every other call with an OCR result."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        on_sent()
        return Reply(200, {}, self._body if token is None else OCR)

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def session(body: bytes) -> EkbSession:
    return EkbSession(KEYS, config=SessionConfig(**{**FAST, "max_tries": 1}), transport=Tokens(body))


@pytest.mark.parametrize("end", USED, ids=lambda end: end[:20])
async def test_any_end_of_a_token(end: str) -> None:
    """A token is used whatever its end and its refresh token are."""
    odd = end.encode()
    async with session(b'{"value":{"accessToken":"ID01:x","refreshToken":%b,"expireTime":%b}}' % (odd, odd)) as ekb:
        results = await asyncio.gather(*(ekb.ocr(f"https://f.example/{n}.png") for n in range(3)))
        assert all(result.platform == "p" for result in results)


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: repr(body[:40]))
async def test_what_is_no_token_is_a_typed_error(body: bytes) -> None:
    """Without a token each waiting call fails with an error of the package, and later ones are tried again."""
    async with session(body) as ekb:
        for _ in range(2):
            async with asyncio.timeout(5):
                calls = [ekb.ocr(f"https://f.example/{n}.png") for n in range(3)]
                results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, EkbError) for result in results)
