"""Sessions that are captured and replayed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ekb_async import EkbError, EkbSession, SessionConfig
from ekb_async.client.capture.bundle import Exchange, read_bundle
from ekb_async.client.capture.transport import CapturingTransport
from ekb_async.client.transport import Transport
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Replay, Sandbox
from tests.conftest import FAST
from tests.support.canned_vendor import CREDENTIALS, CannedVendor, reply


class Watched:
    """A transport that keeps the requests that go through it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.requests: list[Request[Any]] = []
        self.secrets: set[str] = set()

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        self.requests.append(request)
        self.secrets |= {token} if token is not None else set()
        return await self._inner.send(request, token=token, timeout=timeout, on_sent=on_sent)

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        return await self._inner.download(url, timeout=timeout, write=write)

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def captured_session(
    box: Sandbox | Replay, directory: Path, **config: Any
) -> AsyncIterator[tuple[EkbSession, CapturingTransport]]:
    """Open a fast session that is captured; the bundle is complete after it."""
    settings = SessionConfig(**{**FAST, **config})
    ekb = EkbSession(box.credentials, base_url=box.base_url, config=settings)
    capture = ekb.capture(directory)
    async with ekb:
        yield ekb, capture


def exchanges(directory: Path) -> list[Exchange]:
    """Return the exchanges of a bundle without those for a token."""
    return [each for each in read_bundle(directory)[1] if "/auth/" not in each.path]


def text_of(directory: Path) -> str:
    """Return the text of all files of a bundle."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(directory.iterdir()))


def translation(requests: list[Request[Any]], recorded: list[Exchange]) -> dict[str, str]:
    """Return the substitutes of the texts in requests, found by comparing them with their records."""
    found: dict[str, str] = {}
    for request, exchange in zip(requests, recorded, strict=True):
        if request.body is not None:
            _compare(json.loads(request.body), json.loads(exchange.body or ""), found)
    return found


def _compare(before: Any, after: Any, found: dict[str, str]) -> None:
    if isinstance(before, str):
        assert found.setdefault(before, after) == after
    elif isinstance(before, list):
        for each, masked in zip(before, after, strict=True):
            _compare(each, masked, found)
    elif isinstance(before, dict):
        for each, masked in zip(before.values(), after.values(), strict=True):
            _compare(each, masked, found)


async def captured_calls(directory: Path, answers: list[Reply], ids: list[str]) -> None:
    """Capture one call per ID, with these answers."""
    waiting = iter(answers)
    capture = CapturingTransport(CannedVendor(invoice_url=lambda _: next(waiting)), directory)
    async with EkbSession(CREDENTIALS, transport=capture, config=SessionConfig(**{**FAST, "max_tries": 1})) as ekb:
        for each in ids:
            with contextlib.suppress(EkbError):
                await ekb.invoice_urls([each])


def urls(number: int) -> Reply:
    """Return a reply with so many URLs."""
    return reply(200, {"items": [{"id": f"c:1:{each}", "url": "https://f.example/a"} for each in range(number)]})
