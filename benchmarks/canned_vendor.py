"""A server with prepared answers, so that only the clients are measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.bodies import body
from benchmarks.connection import Connection, listening
from benchmarks.contest import Figures, Served

TOKEN_PATH = "/api/openapi/v1/auth/getAccessToken"  # noqa: S105 - a path
VERIFY_PATH = "/api/openapi/v2/invoice/multiple_items"
URLS_PATH = "/api/openapi/v2/extension/INVOICE/url"


@asynccontextmanager
async def canned_vendor(latency: float) -> AsyncIterator[Served]:
    """Serve on loopback; each answer is sent `latency` seconds after its request. Reports the number of requests."""
    counts = _Counts()
    async with listening(lambda: _Connection(latency, counts)) as base_url:
        yield Served(base_url, counts.report)


class _Counts:
    """The number of requests other than for tokens, and the maximum in progress at once."""

    def __init__(self) -> None:
        self.requests = 0
        self.now = 0
        self.max = 0

    def arrived(self) -> None:
        self.requests += 1
        self.now += 1
        self.max = max(self.max, self.now)

    def report(self) -> Figures:
        return {"requests": self.requests, "in_flight": self.max}


class _Connection(Connection):
    _verified = body("verify")

    def __init__(self, latency: float, counts: _Counts) -> None:
        super().__init__()
        self._latency = latency
        self._counts = counts

    def answer(self, target: str, content: bytes) -> None:
        path = target.partition("?")[0]
        answer = self._content(path, content)
        if path == TOKEN_PATH:
            self.send(answer)
            return
        self._counts.arrived()
        asyncio.get_running_loop().call_later(self._latency, self._send_counted, answer)

    def _content(self, path: str, request: bytes) -> bytes:
        if path == TOKEN_PATH:
            expiry = int(time.time() + 7200) * 1000
            grant = {"accessToken": "token", "refreshToken": "refresh", "expireTime": expiry}
            return json.dumps({"value": grant}).encode()
        if path == URLS_PATH:
            return json.dumps({"items": [_url_item(each) for each in json.loads(request)["invoiceId"]]}).encode()
        return self._verified

    def _send_counted(self, answer: bytes) -> None:
        self._counts.now -= 1
        self.send(answer)


def _url_item(invoice_id: str) -> dict[str, object]:
    url = f"https://files.example.com/{invoice_id}.png?Expires=1899556324&OSSAccessKeyId=STS.KEYID&Signature=c2lnbg%3D"
    return {"id": invoice_id, "url": url, "thumbUrl": url, "source": "ocr", "fileName": "a.png", "region": [0, 0, 9, 9]}
