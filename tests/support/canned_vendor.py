"""A transport without a network that answers each call with a prepared reply."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from ekb_async import AppCredentials, EkbSession, SessionConfig, StaticToken
from ekb_async.config import Credentials
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from tests.conftest import FAST

CREDENTIALS = AppCredentials(app_key="key", app_security="a-secret-of-the-app")
GIVEN = StaticToken("ID01:a-given-token")
TOKEN = "ID01:a-token-of-the-vendor"

RESULTS: dict[str, object] = {
    "token": {"value": {"accessToken": TOKEN, "refreshToken": "ID01:a-refresh-token", "expireTime": 0}},
    "upload": {"value": {"fileId": "f", "key": "k", "fileName": "a.png"}},
    "download_urls": [{"id": "f", "key": "k", "url": "https://files.example/a.png?Signature=5igned"}],
}


def reply(status: int, body: bytes | str | object, content_type: str = "application/json") -> Reply:
    """Return a reply whose body is given as bytes, as text, or as an object to encode as JSON."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
    return Reply(status, {"Content-Type": content_type}, body)


class CannedVendor:
    """A transport that answers a call with `answers[name]`: a reply, or a function from the request to a reply."""

    def __init__(self, **answers: Reply | Callable[[Request[Any]], Reply]) -> None:
        self.answers: dict[str, Reply | Callable[[Request[Any]], Reply]] = {
            **{name: reply(200, result) for name, result in RESULTS.items()},
            **answers,
        }
        self.sent: Counter[str] = Counter()
        self._awaited: dict[tuple[str, int], asyncio.Event] = {}

    async def arrived(self, name: str, count: int) -> None:
        """Return when the call has been received `count` times."""
        if self.sent[name] < count:
            await self._awaited.setdefault((name, count), asyncio.Event()).wait()

    async def send(
        self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        on_sent()
        name = request.endpoint.name
        self.sent[name] += 1
        if event := self._awaited.get((name, self.sent[name])):
            event.set()
        answer = self.answers[name]
        return answer if isinstance(answer, Reply) else answer(request)

    async def download(self, url: str, *, timeout: float, write: object) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def session_with(vendor: CannedVendor, *, credentials: Credentials = CREDENTIALS, **config: Any) -> EkbSession:
    """Return a session with short waits on such a vendor; a call has two attempts."""
    return EkbSession(credentials, transport=vendor, config=SessionConfig(**{**FAST, "max_tries": 2, **config}))
