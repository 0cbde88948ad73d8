"""A server that answers at once with what it has ready, so that it is the clients that are measured.

It speaks as much HTTP/1.1 as the clients here send: requests with a Content-Length over connections that stay open.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.bodies import body
from benchmarks.contest import Figures, Served

TOKEN_PATH = "/api/openapi/v1/auth/getAccessToken"  # noqa: S105 - a path
VERIFY_PATH = "/api/openapi/v2/invoice/multiple_items"
URLS_PATH = "/api/openapi/v2/extension/INVOICE/url"


@asynccontextmanager
async def canned_vendor(latency: float) -> AsyncIterator[Served]:
    """Serves on loopback; an answer leaves `latency` seconds after its request has come. Reports what it counted."""
    counts = _Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency, counts), "127.0.0.1", 0, backlog=1024)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", counts.report)
    finally:
        server.close()


class _Counts:
    """Requests other than for tokens, and the most of them that were there at a time."""

    def __init__(self) -> None:
        self.requests = 0
        self.now = 0
        self.most = 0

    def arrived(self) -> None:
        self.requests += 1
        self.now += 1
        self.most = max(self.most, self.now)

    def report(self) -> Figures:
        return {"requests": self.requests, "in_flight": self.most}


class _Connection(asyncio.Protocol):
    _verified = body("verify")

    def __init__(self, latency: float, counts: _Counts) -> None:
        self._latency = latency
        self._counts = counts
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _content_length(head)
        if len(rest) < length:
            return
        self._received = rest[length:]
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        self._answer(path, rest[:length])

    def _answer(self, path: str, request: bytes) -> None:
        content = self._content(path, request)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        if path == TOKEN_PATH:
            self._send(head.encode() + content)
            return
        self._counts.arrived()
        loop = asyncio.get_running_loop()
        loop.call_later(self._latency, self._send_counted, head.encode() + content)

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
        self._send(answer)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _url_item(invoice_id: str) -> dict[str, object]:
    url = f"https://files.example.com/{invoice_id}.png?Expires=1899556324&OSSAccessKeyId=STS.KEYID&Signature=c2lnbg%3D"
    return {"id": invoice_id, "url": url, "thumbUrl": url, "source": "ocr", "fileName": "a.png", "region": [0, 0, 9, 9]}
