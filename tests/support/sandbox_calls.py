"""Requests to the sandbox without a session: to its rules, or over plain HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Unpack

import aiohttp
import msgspec

from ekb_async.sandbox import Fault, Sandbox, Vendor, VendorReply, VendorRequest
from ekb_async.sandbox.vendor.routes import PATHS
from ekb_async.sandbox.vendor.rules import VendorArguments

START = 1_700_000_000.0
"""The time of requests to the rules, in epoch seconds."""
PNG = b"\x89PNG\r\n\x1a\n and then some"
OTHER_HOST = "https://files.example/invoice-1.png?Expires=1&Signature=x"
DETAIL = "/api/openapi/v2/extension/INVOICE/object/invoice/{}/detail"


def query_for(vendor: Vendor, at: float = START) -> dict[str, str]:
    """Return a query with a new access token."""
    rules = vendor.rules
    body = post(vendor, "token", {"appKey": rules.app_key, "appSecurity": rules.app_security}, at, token=False)
    return {"accessToken": content_of(body)["value"]["accessToken"]}


def post(
    vendor: Vendor, call: str, body: object, at: float = START, *, token: bool = True, path: str = ""
) -> VendorReply:
    """Send one request to the rules; with `token`, get a token for it first."""
    query = query_for(vendor, at) if token else {}
    return send(vendor, call, body, query, at, path=path)


def send(
    vendor: Vendor, call: str, body: object, query: Mapping[str, str], at: float = START, *, path: str = ""
) -> VendorReply:
    """Send one request with this query to the rules."""
    path = path or PATHS[call][1]
    return vendor.reply(VendorRequest("POST", path, query, msgspec.json.encode(body)), at)


def content_of(reply: VendorReply) -> Any:
    """Return the JSON of an answer. It must be a success."""
    assert reply.status == 200, reply.body.decode()
    return msgspec.json.decode(reply.body)


def refusal_of(reply: VendorReply) -> tuple[int, str]:
    """Return status and text of an answer. It must be a refusal."""
    return reply.status, msgspec.json.decode(reply.body)["errorMessage"]


def verify_body(url: str = OTHER_HOST) -> dict[str, object]:
    """Return valid parameters of the OCR with verification."""
    return {"fileName": "a.png", "fileUrl": url, "staffId": "corp:staff"}


def attachment_url(vendor: Vendor, content: bytes = PNG, at: float = START, expiration: int = 1800) -> str:
    """Store a file and return its URL."""
    stored = vendor.add_file(content, "发票.png")
    entry = {"id": stored.id, "key": stored.key, "expiration": expiration}
    [answer] = content_of(post(vendor, "download_urls", [entry], at))
    return str(answer["url"])


class Connected(NamedTuple):
    """A running sandbox, a plain HTTP client on it, and the query with a token."""

    box: Sandbox
    http: aiohttp.ClientSession
    query: dict[str, str]

    def post(self, call: str, body: object) -> Any:
        return self.http.post(PATHS[call][1], params=self.query, json=body)

    async def answer(self, call: str, body: object = None, **query: object) -> Answer:
        """Send one request with the token and return its answer; `body` is for POST."""
        method, path = PATHS[call]
        return await self.answer_at(method, path, body, **query)

    async def answer_at(self, method: str, path: str, body: object = None, **query: object) -> Answer:
        """Send one request with the token to a path that depends on the arguments."""
        params = self.query | {name: str(value) for name, value in query.items()}
        async with self.http.request(method, path, params=params, json=body) as reply:
            text = await reply.text()
            return Answer(reply.status, msgspec.json.decode(text) if reply.content_type == "application/json" else text)


class Answer(NamedTuple):
    """The answer to one request: `content` is its JSON, or its text if it has another type."""

    status: int
    content: Any

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and text of an answer that must be a refusal in JSON."""
        return self.status, self.content["errorMessage"]


@asynccontextmanager
async def connected(
    *, latency: float = 0.0, faults: tuple[Fault, ...] = (), **arguments: Unpack[VendorArguments]
) -> AsyncIterator[Connected]:
    """Run a sandbox; yield it with a plain HTTP client and a token."""
    async with (
        Sandbox(latency=latency, faults=faults, **arguments) as box,
        aiohttp.ClientSession(box.base_url) as http,
    ):
        # Issued a second in the past, since the sandbox's clock may be slightly behind.
        query = query_for(box.vendor, time.time() - 1)
        yield Connected(box, http, query)
