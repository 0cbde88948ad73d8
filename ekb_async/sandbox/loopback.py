"""A web server on loopback that a caller opens with `async with`, or with `with` in a thread of its own.

`async with` serves from the caller's loop, `with` from a separate thread with its own loop. The latter also serves
callers in any loop, callers that block their loop, and callers without one.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import functools
import socket
import struct
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.sandbox.arrivals import Arrivals
from ekb_async.sandbox.limits import LIMITS
from ekb_async.sandbox.own_thread import OwnThread
from ekb_async.sandbox.vendor.exchange import VendorRequest
from ekb_async.sandbox.vendor.rules import MAX_REQUEST


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


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A request and its answer: `at` is its arrival in epoch seconds, `path` has no query.

    `status` is 0 if the connection was broken or closed before the end of the answer; `seconds` is the time it took.
    """

    at: float
    method: str
    path: str
    status: int
    seconds: float


OnAnswer = Callable[[Answered], None]


class LoopbackServer(abc.ABC):
    """A server on loopback that logs its requests.

    `port` 0 is any free port. `on_answer` is called after each answer, in the thread of the server.
    """

    def __init__(self, port: int, on_answer: OnAnswer | None = None) -> None:
        self.log: list[LogEntry] = []
        self._on_answer = on_answer
        self._port = port
        self._address = ""
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
        return self._address

    def count(self, call: str, *, status: int | None = None) -> int:
        """Return the number of requests of an interface, or of those answered with `status`."""
        if status is None:
            return self._arrivals[call]
        return sum(entry.call == call and entry.status == status for entry in self.log)

    async def arrived(self, call: str, times: int = 1) -> None:
        """Wait until `times` requests of an interface have arrived, counted from the sandbox's start."""
        await self._arrivals.wait(call, times)

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
        self._closing = False
        loop = asyncio.get_running_loop()
        # The vendor's rules check sizes. A handler is cancelled when its caller disconnects.
        unlimited = functools.partial(web.BaseRequest, loop=loop, client_max_size=sys.maxsize)
        self._server = web.Server(self._watched, request_factory=unlimited, handler_cancellation=True, access_log=None)
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=LIMITS.queued_connections)
        self._listener.setblocking(False)
        self._address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._opened()
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

    async def _watched(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._on_answer is None:
            return await self._answer(request)
        at, began, status = time.time(), time.monotonic(), 0
        try:
            response = await self._answer(request)
            if request.transport is not None and not request.transport.is_closing():
                status = response.status
        finally:
            path = _path_of(request)
            seconds = time.monotonic() - began
            self._on_answer(Answered(at=at, method=request.method, path=path, status=status, seconds=seconds))
        return response

    @abc.abstractmethod
    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to a request."""

    def _opened(self) -> None:
        """Prepare for the first request; `base_url` is known."""
        return

    def _note(self, entry: LogEntry) -> None:
        self.log.append(entry)
        self._arrivals.note(entry.call)


async def read_request(request: web.BaseRequest) -> VendorRequest:
    """Return a request without I/O left to do."""
    path = _path_of(request)
    upload = None
    body = b""
    if request.content_type == "multipart/form-data":
        upload = await _read_form(await request.multipart())
    elif request.body_exists:
        body = await _read_at_most(request.content.iter_chunked(LIMITS.read_chunk_bytes))
    return VendorRequest(request.method, path, dict(request.query), body, upload)


def _path_of(request: web.BaseRequest) -> str:
    # A request through a proxy has the full URL in its request line.
    raw_path = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path
    return raw_path.partition("?")[0]


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


def reset_connection(request: web.BaseRequest) -> None:
    """Reset the connection of a request."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    # With a linger time of 0 seconds, closing sends a reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def cut_off_answer(
    request: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes, length: int
) -> web.StreamResponse:
    """Answer with the length of a whole body, send a part of it, and close the connection."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    await response.prepare(request)
    await response.write(body)
    if request.transport is not None:
        request.transport.close()
    return response
