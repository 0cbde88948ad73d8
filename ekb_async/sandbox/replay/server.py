"""`Replay`: a web server on loopback that answers as a captured bundle records.

    async with Replay("bundle") as box:
        async with EkbSession(box.credentials, base_url=box.base_url) as ekb:
            …

So what the vendor did once becomes a test. The IDs to ask for are those in `exchanges.jsonl`.
"""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import formatdate
from pathlib import Path
from typing import NoReturn, Self

import msgspec
from aiohttp import web

from ekb_async.aio.tasks import in_thread
from ekb_async.client.capture.bundle import Description, Exchange, RecordedError, RecordedReply, read_bundle
from ekb_async.config import AppCredentials
from ekb_async.errors import ConfigError, EkbConnectionError, EkbTimeoutError, ProxyError, ProxySettingError
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import http_date
from ekb_async.redaction.masking import MASK, redact
from ekb_async.redaction.personal.recorded import MaskedText, bytes_of
from ekb_async.redaction.personal.texts import PLACEHOLDER
from ekb_async.sandbox.limits import LIMITS
from ekb_async.sandbox.loopback import (
    LogEntry,
    LoopbackServer,
    OnAnswer,
    cut_off_answer,
    read_request,
    reset_connection,
)
from ekb_async.sandbox.replay.recording import Recording, is_cancelled
from ekb_async.sandbox.vendor.exchange import JSON_TYPE, VendorRequest
from ekb_async.sandbox.vendor.routes import call_of

_GRANTS = frozenset({endpoints.TOKEN.path, endpoints.REFRESH.path})
_TOKEN_FIELD = re.compile(rf'("(?:access|refresh)Token"\s*:\s*)"{re.escape(MASK)}"')
_EXPIRY_FIELD = re.compile(r'("expireTime"\s*:\s*)-?\d+')
_LOST = frozenset(each.__name__ for each in (EkbConnectionError, ProxyError, ProxySettingError))
_TOO_LATE = EkbTimeoutError.__name__
_TOKEN_LIFETIME = 7200.0
_NO_HTTP = b"no HTTP\r\n\r\n"


class Replay(LoopbackServer):
    """A server that answers each request with the recorded replies to it, in the order of their recording.

    Statuses, headers, bodies, answers that were cut off, broken connections and timeouts are repeated; a timeout is an
    answer that does not come. A connection that could not be opened, or a proxy that failed, is replayed as one that
    breaks. A request that was not recorded gets the next unused reply of its interface, then the last one, and 404 if
    there is none. Tokens are not in a bundle, so any is accepted and a usable one is issued. A file has its recorded
    size and zeros for content. Opening it raises `ConfigError` for a directory that is no bundle, and `StorageError`
    for a damaged one.
    """

    def __init__(self, directory: Path | str, *, port: int = 0, on_answer: OnAnswer | None = None) -> None:
        if not isinstance(directory, Path | str):
            raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
        super().__init__(port, on_answer)
        self._directory = Path(directory)
        self._recording = Recording(())
        self._issued = 0
        self._description: Description | None = None

    @property
    def description(self) -> Description:
        """What `bundle.json` says. Raises `RuntimeError` outside of the `async with` or `with` block."""
        if self._description is None:
            raise RuntimeError("the bundle has not been read: use `async with`, or `with`")
        return self._description

    @property
    def credentials(self) -> AppCredentials:
        """Keys to make a session with; any others are accepted as well."""
        return AppCredentials(app_key="replay-key", app_security="replay-security")

    async def __aenter__(self) -> Self:
        self._check_idle()
        self._description, exchanges = await in_thread(read_bundle, self._directory)
        self._recording = Recording(exchanges)
        return await super().__aenter__()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = await read_request(request)
        exchange = self._recording.take(arrived, self.base_url)
        reply = exchange.reply if exchange is not None else None
        self._note(_entry(arrived, 404 if exchange is None else reply.status if reply is not None else 0))
        if exchange is None:
            return self._unrecorded(arrived)
        if reply is None:
            return await _without_reply(request, exchange)
        body, headers = await in_thread(self._body, arrived, reply), {**reply.headers}
        if reply.problem is None:
            return web.Response(status=reply.status, headers=headers, body=body)
        return await _spoilt(request, reply, body, reply.problem)

    def _unrecorded(self, request: VendorRequest) -> web.Response:
        if request.path in _GRANTS:
            now = time.time()
            grant = {"accessToken": MASK, "refreshToken": MASK, "expireTime": 0, "corporationId": "replay"}
            text = self._usable(msgspec.json.encode({"value": grant}).decode(), now)
            return web.Response(text=text, headers={"Content-Type": JSON_TYPE, "Date": formatdate(now, usegmt=True)})
        problem = {"errorCode": 404, "errorMessage": f"the bundle has no call of {request.method} {request.path}"}
        return web.Response(status=404, body=msgspec.json.encode(problem), headers={"Content-Type": JSON_TYPE})

    def _body(self, request: VendorRequest, reply: RecordedReply) -> bytes:
        if reply.body is None:
            content = bytes.fromhex(reply.begins)
            return content.ljust(min(reply.size, LIMITS.replayed_file_bytes), b"\0")
        text = reply.body.replace(PLACEHOLDER, self.base_url)
        text = text.replace(PLACEHOLDER.replace("/", "\\/"), self.base_url.replace("/", "\\/"))
        if request.path in _GRANTS:
            text = self._usable(text, http_date(reply.headers.get("Date", "")) or time.time())
        return bytes_of(MaskedText(text, reply.encoding))

    def _usable(self, text: str, now: float) -> str:
        """Return the reply of a token call with a token that can be used, valid from the reply's own time on."""
        self._issued += 1
        text = _TOKEN_FIELD.sub(rf'\1"ID01replayed{self._issued}:token"', text)
        return _EXPIRY_FIELD.sub(rf"\g<1>{int((now + _TOKEN_LIFETIME) * 1000)}", text)


async def _without_reply(request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
    error = exchange.error or RecordedError("")
    if is_cancelled(exchange) or error.kind == _TOO_LATE:
        await _never()
    if error.kind in _LOST:
        reset_connection(request)
    elif request.transport is not None:
        # The answer was read and thrown away: it was no HTTP, or too long.
        request.transport.write(_NO_HTTP)
        request.transport.close()
    # A closed connection takes no answer, but the handler must return one.
    return web.Response(status=500)


async def _spoilt(
    request: web.BaseRequest, reply: RecordedReply, body: bytes, problem: RecordedError
) -> web.StreamResponse:
    """Answer with a body that is cut short as the recorded one was."""
    if problem.settled:
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return web.Response(status=reply.status, headers=headers, body=b"no gzip" + body)
    if problem.kind not in {_TOO_LATE, *_LOST}:
        return await cut_off_answer(request, reply.status, reply.headers, body, len(body) + 1)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(body) + 1
    await response.prepare(request)
    await response.write(body)
    if problem.kind == _TOO_LATE:
        await _never()
    reset_connection(request)
    return response


async def _never() -> NoReturn:
    """Wait until the caller disconnects, which cancels the handler."""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")


def _entry(request: VendorRequest, status: int) -> LogEntry:
    call = call_of(request.path)
    body = "" if request.path in _GRANTS else request.body.decode(errors="replace")
    return LogEntry(
        at=time.time(),
        call=call or ("file" if request.method == "GET" else ""),
        path=request.path,
        status=status,
        accepted=True,
        body=redact(body, max_characters=LIMITS.logged_body_characters),
    )
