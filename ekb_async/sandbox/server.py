"""`Sandbox`: the vendor's rules behind a web server on loopback.

A request arrives after a random network delay (`jitter`). At that moment the rules are applied to it and it is logged,
so that the log shows the order and the times of arrival. An accepted call takes `latency` before it is answered. Time
is the loop's clock, set to the wall clock once, so that a change of the wall clock has no effect.

`async with` serves from the caller's loop, `with` from a separate thread with its own loop. The latter also serves
callers in any loop, callers that block their loop, and callers without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import struct
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from email.utils import formatdate
from types import TracebackType
from typing import Self, Unpack

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.config import AppCredentials
from ekb_async.redaction.masking import redact
from ekb_async.sandbox.arrivals import Arrivals
from ekb_async.sandbox.faults import Fault, next_fault
from ekb_async.sandbox.limits import LIMITS
from ekb_async.sandbox.own_thread import OwnThread
from ekb_async.sandbox.vendor.routes import call_of
from ekb_async.sandbox.vendor.rules import MAX_REQUEST, VendorArguments
from ekb_async.sandbox.vendor.vendor import Vendor, VendorReply, VendorRequest

_SLOW_CALLS = ("ocr", "verify", "verify_by_id", "verify_by_fields")


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One logged request: `at` is its arrival in epoch seconds, `path` has no query, `status` is 0 without an answer.

    `accepted` is True if it passed the checks of token, permission and rate. `body` is the request's JSON without
    the signatures of file URLs, "" for the call that sends the keys. `fault` is the kind of fault that struck it.
    """

    at: float
    call: str
    path: str
    status: int
    accepted: bool
    body: str = ""
    fault: str = ""


class Sandbox:
    """A simulated vendor on loopback: `async with Sandbox(…) as box`, then `box.base_url` and `box.credentials`.

    A synchronous `with Sandbox(…) as box` runs it in a separate thread, for tests without a loop or with several.

    `latency` is the duration of an accepted call in seconds: a number for the recognising and verifying calls, or a
    mapping by call name. `jitter` is the longest network delay before arrival, in seconds. `faults` are injected;
    `seed` is that of their chance and of the jitter. `port` 0 is any free port. `clock_ahead` is how many seconds the
    vendor's clock is ahead of this machine's. All other arguments are the fields of `Rules`.
    """

    def __init__(
        self,
        *,
        latency: float | Mapping[str, float] = 0.0,
        jitter: float = 0.0,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        port: int = 0,
        clock_ahead: float = 0.0,
        **arguments: Unpack[VendorArguments],
    ) -> None:
        self.vendor = Vendor(**arguments)
        self.latency: dict[str, float] = (
            dict(latency) if isinstance(latency, Mapping) else dict.fromkeys(_SLOW_CALLS, latency)
        )
        self.jitter = jitter
        self.faults = list(faults)
        self.log: list[LogEntry] = []
        self._port = port
        self._clock_ahead = clock_ahead
        self._chance = random.Random(seed)
        self._epoch = 0.0
        self._arrivals = Arrivals()
        self._thread: OwnThread | None = None
        self._closing = False
        self._server: web.Server | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """The address of the server. Raises `RuntimeError` outside of the `async with` or `with` block."""
        if self._listener is None:
            raise RuntimeError("the sandbox is not running: use `async with`, or `with`")
        return self.vendor.base_url

    @property
    def credentials(self) -> AppCredentials:
        """The keys that the sandbox accepts."""
        return AppCredentials(app_key=self.vendor.rules.app_key, app_security=self.vendor.rules.app_security)

    @property
    def permissions(self) -> set[str]:
        """The features switched on, `ocr` and `verify`; changes take effect at once."""
        return self.vendor.rules.permissions

    def count(self, call: str, *, status: int | None = None) -> int:
        """Return the number of requests of an interface, or of those answered with `status`."""
        if status is None:
            return self._arrivals[call]
        return sum(entry.call == call and entry.status == status for entry in self.log)

    def starts(self, call: str) -> list[float]:
        """Return the arrival times of the accepted requests of an interface, in epoch seconds."""
        return [entry.at for entry in self.log if entry.call == call and entry.accepted]

    async def arrived(self, call: str, times: int = 1) -> None:
        """Wait until `times` requests of an interface have arrived, counted from the sandbox's start."""
        await self._arrivals.wait(call, times)

    def revoke_tokens(self) -> None:
        """Revoke every access token issued so far."""
        self.vendor.tokens.revoke_all()

    def __enter__(self) -> Self:
        self._check_idle()
        self._thread = OwnThread(self, "ekb sandbox")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def __aenter__(self) -> Self:
        self._check_idle()
        loop = asyncio.get_running_loop()
        self._epoch = time.time() + self._clock_ahead - loop.time()
        self._closing = False
        epoch = self._epoch
        self.vendor.use_clock(lambda: epoch + loop.time())
        # The vendor's rules check sizes. A handler is cancelled when its caller disconnects.
        unlimited = functools.partial(web.BaseRequest, loop=loop, client_max_size=sys.maxsize)
        self._server = web.Server(self._answer, request_factory=unlimited, handler_cancellation=True, access_log=None)
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=LIMITS.queued_connections)
        self._listener.setblocking(False)
        self.vendor.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = asyncio.create_task(self._accept(self._listener, self._server), name="sandbox accepting")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listener is None or self._server is None or self._accepting is None:
            return
        listener, self._listener = self._listener, None
        self._closing = True
        closing = self._close(listener, self._server, self._accepting)
        await await_uncancelled(asyncio.create_task(closing, name="sandbox closing"))

    async def _close(self, listener: socket.socket, server: web.Server, accepting: asyncio.Task[None]) -> None:
        try:
            # Cancelling an accept can lose the connection it has just accepted, so one last connection ends the loop.
            with socket.create_connection(listener.getsockname()):
                await accepting
        finally:
            listener.close()
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await server.shutdown(LIMITS.shutdown_seconds)

    def _check_idle(self) -> None:
        if self._listener is not None:
            raise RuntimeError("the sandbox is running already")

    async def _accept(self, listener: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            if self._closing:
                connection.close()
                return
            # The caller may have disconnected already.
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(server, connection)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.jitter:
            await asyncio.sleep(self._chance.uniform(0, self.jitter))
        arrived = await _read(request)
        at = self._epoch + asyncio.get_running_loop().time()
        call = call_of(arrived.path)
        fault = next_fault(self.faults, call, self._chance) if self.faults else None
        if fault is None or fault.carried_out:
            reply = self.vendor.reply(arrived, at)
        else:
            reply = VendorReply(0, b"", {}, call, accepted=False)
        if fault is not None:
            reply = fault.spoil(reply)
        if self._clock_ahead:
            reply.headers["Date"] = formatdate(at, usegmt=True)
        self._note(arrived, reply, fault, at)
        wait = (self.latency.get(call, 0.0) if reply.accepted else 0.0) + (fault.seconds if fault else 0.0)
        if wait:
            await asyncio.sleep(wait)
        if fault is not None and fault.kind == "reset":
            _reset(request)
        if fault is not None and fault.kind == "cut_off":
            return await _half_of(request, reply)
        # A reset connection takes no answer, but the handler must return one.
        return web.Response(status=reply.status or 500, body=reply.body, headers=reply.headers)

    def _note(self, request: VendorRequest, reply: VendorReply, fault: Fault | None, at: float) -> None:
        body = (
            ""
            if reply.call == "token"
            else redact(request.body.decode(errors="replace"), max_characters=LIMITS.logged_body_characters)
        )
        dropped = fault is not None and fault.kind == "reset"
        entry = LogEntry(
            at=at,
            call=reply.call,
            path=request.path,
            status=0 if dropped else reply.status,
            accepted=reply.accepted,
            body=body,
            fault="" if fault is None else fault.kind,
        )
        self.log.append(entry)
        self._arrivals.note(entry.call)


async def _read(request: web.BaseRequest) -> VendorRequest:
    # A request through a proxy has the full URL in its request line.
    raw_path = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path
    path = raw_path.partition("?")[0]
    upload = None
    body = b""
    if request.content_type == "multipart/form-data":
        upload = await _read_form(await request.multipart())
    elif request.body_exists:
        body = await _read_at_most(request.content.iter_chunked(LIMITS.read_chunk_bytes))
    return VendorRequest(request.method, path, dict(request.query), body, upload)


async def _read_form(reader: MultipartReader) -> tuple[str, bytes] | None:
    name, content = "", None
    async for part in reader:
        if not isinstance(part, BodyPartReader):
            continue
        if part.name == "name":
            name = (await part.read(decode=True)).decode(errors="replace")
        elif part.name == "file":
            content = await _read_at_most(_chunks(part))
    return None if content is None else (name, content)


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(LIMITS.read_chunk_bytes):
        yield chunk


async def _read_at_most(chunks: AsyncIterable[bytes]) -> bytes:
    """Read a body to its end and return it, cut a little above the largest size that the rules accept."""
    body = bytearray()
    async for chunk in chunks:
        if len(body) <= MAX_REQUEST:
            body += chunk
    return bytes(body)


def _reset(request: web.BaseRequest) -> None:
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    # With a linger time of 0 seconds, closing sends a reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def _half_of(request: web.BaseRequest, reply: VendorReply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
