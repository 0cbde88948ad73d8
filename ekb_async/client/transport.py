"""One attempt on the network: a request goes out, a reply comes back.

`Transport` is the port the rest of the package speaks to; `AiohttpTransport` is its real end. It knows nothing of
retries, tokens' lifetimes or pacing. Three time limits apply: to opening a connection, to silence in the middle of an
answer, and to the attempt as a whole. Redirects are not followed, since they would carry the token elsewhere.

Files are fetched by their signed URLs, which stand for themselves: no token goes along, so a redirect is followed. How
long a file takes depends on its size, so each piece that arrives extends the time limit; a host that drips is left.

An answer of which only the frame is broken is handed on with what is wrong, since it may be whole all the same.

Whether a call has left this machine decides whether it may have been billed, so the body itself reports when it is
being written: a refused connection, or one that never opened, is known not to have cost anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import os
import string
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from ekb_async.client.connection_errors import LOGIN_WANTED, Way, login_wanted, place_of, problem
from ekb_async.client.environment import Environment, is_this_machine
from ekb_async.config import SessionConfig
from ekb_async.errors import (
    ConfigError,
    EkbError,
    ResponseError,
    SessionClosedError,
)
from ekb_async.protocol.endpoints import Request
from ekb_async.redaction.masking import HiddenRepr

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A longer answer raises `ResponseError`; the largest documented one is a few hundred kilobytes."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""A longer file raises `ResponseError`; the vendor takes files of at most 30 MB."""

_UPLOAD_BYTES_PER_SECOND = 100_000
_URLS_KEPT = 32
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# What is kept is what the host holds, and its length is checked against the one announced.
_FILE_HEADERS = {"Accept-Encoding": "identity"}
_MAX_REDIRECTS = 5
_NO_OPTIONS: Mapping[str, Any] = {}
_SLOWEST_BYTES_PER_SECOND = 10_000
_NO_URL = "the vendor gave no URL that can be opened for the file"


class Reply(HiddenRepr, msgspec.Struct, frozen=True):
    """What came back: status, headers and the body.

    `problem` is None if the body is whole as far as HTTP can tell; otherwise it is what ended it, to be raised if what
    came of it is no answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: EkbError | None = None


class Transport(Protocol):
    """Sends requests. Raises `EkbTimeoutError`, `EkbConnectionError` (both with `.sent`) or `ResponseError`."""

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        """One attempt within `timeout` seconds; `on_sent` is called when the request leaves this machine.

        If `on_sent` raises, the request does not leave, and what it raised is raised.
        """
        ...

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        """One attempt to fetch a file, within `timeout` seconds and what its size takes.

        With status 200 the body goes to `write` piece by piece and not into the reply, which otherwise holds its
        beginning.
        """
        ...

    async def close(self) -> None:
        """Frees what the transport opened itself."""
        ...


class AiohttpTransport:
    """The real network. An injected client session is used as it is and not closed.

    With an `environment` requests go through its proxies and trust its authorities, in an injected session as well.
    """

    def __init__(
        self,
        base_url: str,
        config: SessionConfig,
        client_session: aiohttp.ClientSession | None,
        environment: Environment | None = None,
    ) -> None:
        # The client finds out a good deal about a URL and keeps it there; most requests go to one of a few.
        self._url = functools.lru_cache(_URLS_KEPT)(functools.partial(_url, base_url))
        self._environment = environment
        self._options = self._options_for(URL(base_url))
        self._way = _way(URL(base_url), self._options)
        self._read_timeout = config.read_timeout
        self._limits = aiohttp.ClientTimeout(total=None, connect=config.connect_timeout)
        self._injected = client_session
        self._own: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        sent = False
        held_back: BaseException | None = None

        def leaving() -> None:
            nonlocal sent, held_back
            if sent:
                return
            try:
                on_sent()
            except BaseException as reason:
                # The client would make an error of its own of it.
                held_back = reason
                raise
            sent = True

        if request.upload is not None:
            timeout += len(request.upload.content) / _UPLOAD_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(request, token, leaving)
        except (aiohttp.ClientError, OSError) as error:
            failure = held_back or problem(error, self._way, request.endpoint.path, sent=sent)
        raise failure from None

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        location = _file_url(url)
        try:
            return await self._receive(location, timeout, write)
        except (aiohttp.ClientError, OSError) as error:
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            way = _way(location, self._options_for(location, redirects=True), redirects=True)
            failure = problem(error, way, location.path, sent=sent)
        raise failure from None

    @property
    def proxy(self) -> str:
        """The host and port of the proxy on the way to the vendor, "" if there is none."""
        return self._way.proxy

    async def close(self) -> None:
        self._closed = True
        if self._own is not None:
            await self._own.close()

    async def _exchange(self, request: Request[object], token: str | None, leaving: Callable[[], None]) -> Reply:
        url, body, headers = self._url(request.path, request.query, token), _body(request, leaving), None
        if request.upload is None:
            headers = _HEADERS
        if request.body is None:
            # Without a body there is nothing that reports its own departure; such calls are free, early is fine.
            leaving()
        async with self._client().post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            timeout=self._limits,
            **self._options,
        ) as response:
            if response.status == LOGIN_WANTED:
                raise login_wanted(self._way, request.endpoint.path)
            return await self._read(response, request.endpoint.path)

    async def _receive(self, url: URL, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout) as limit:
            response = await self._ask_for(url)
            async with response:
                if response.status == LOGIN_WANTED:
                    way = _way(url, self._options_for(url, redirects=True), redirects=True)
                    raise login_wanted(way, url.path)
                if response.status != 200:
                    return Reply(response.status, response.headers, await self._next_piece(response))
                size, began = 0, loop.time()
                while piece := await self._next_piece(response):
                    size += len(piece)
                    if size > MAX_FILE_BYTES:
                        raise ResponseError(f"the file is longer than {MAX_FILE_BYTES:,} bytes", endpoint=url.path)
                    limit.reschedule(began + timeout + size / _SLOWEST_BYTES_PER_SECOND)
                    await write(piece)
                if not size:
                    raise ResponseError("the file came without content", endpoint=url.path, lost=True)
                return Reply(response.status, response.headers, b"")

    async def _ask_for(self, url: URL) -> aiohttp.ClientResponse:
        options = self._options_for(url, redirects=True)
        try:
            return await self._client().get(
                url,
                headers=_FILE_HEADERS,
                max_redirects=_MAX_REDIRECTS,
                raise_for_status=False,
                timeout=self._limits,
                **options,
            )
        except (ValueError, OverflowError):  # a host or port that cannot be, here or where a redirect leads
            raise ResponseError(_NO_URL) from None

    async def _read(self, response: aiohttp.ClientResponse, endpoint: str) -> Reply:
        chunks: list[bytes] = []
        size = 0
        failure: EkbError | None = None
        try:
            while chunk := await self._next_piece(response):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    raise ResponseError(f"the answer is longer than {MAX_REPLY_BYTES:,} bytes", endpoint=endpoint)
        except (aiohttp.ClientError, OSError) as error:
            failure = problem(error, self._way, endpoint, sent=True)
            chunks.append(_left_in(response.content))
            response.close()
        return Reply(response.status, response.headers, b"".join(chunks), failure)

    async def _next_piece(self, response: aiohttp.ClientResponse) -> bytes:
        content = response.content
        # As a rule the whole answer has come with its head, and nothing is left to wait for.
        if (piece := content.read_nowait()) or content.at_eof():
            return piece
        async with asyncio.timeout(self._read_timeout):
            return await content.readany()

    def _options_for(self, url: URL, *, redirects: bool = False) -> Mapping[str, Any]:
        return self._environment.options(url, redirects=redirects) if self._environment is not None else _NO_OPTIONS

    def _client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError("the session is closed")
        if self._injected is not None:
            if self._injected.closed:
                raise SessionClosedError("the injected client session is closed")
            return self._injected
        if self._own is None:
            # Pacing and batching bound what is in flight, so the connector need not.
            connector = aiohttp.TCPConnector(limit=0)
            self._own = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._own


def checked_base_url(text: str, *, allow_http: bool = False) -> str:
    """Return the base URL without a trailing slash.

    Raises `ConfigError` unless it is http(s) with a host and no query, and for http to another host than this machine
    without `allow_http` or `EKB_ALLOW_HTTP=1`.
    """
    try:
        url = URL(text)
    except (TypeError, ValueError):
        raise ConfigError("base_url is not a URL") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError("base_url must begin with https:// or http:// and name a host")
    if url.query_string or url.fragment or url.user or url.password:
        raise ConfigError("base_url must have no query, fragment or user")
    allowed = allow_http or os.environ.get("EKB_ALLOW_HTTP") == "1"
    if url.scheme == "http" and not allowed and not is_this_machine(url.host):
        raise ConfigError(
            f"base_url leads to {url.host} by http://, so keys and tokens could be read on their way: use https://, "
            "or allow it with allow_http=True or EKB_ALLOW_HTTP=1"
        )
    return str(url).rstrip("/")


def _url(origin: str, path: str, query: tuple[tuple[str, str], ...], token: str | None) -> URL:
    if token is not None:
        query = (*query, ("accessToken", token))
    return URL(origin + path, encoded=True).with_query(query)


def _way(url: URL, options: Mapping[str, Any], *, redirects: bool = False) -> Way:
    return Way(place_of(url), place_of(options.get("proxy")), redirects)


def _file_url(text: str) -> URL:
    """The URL as it stands, since its signature holds for its spelling; only what cannot be sent is encoded."""
    with contextlib.suppress(ValueError):
        url = URL(quote(text, safe=string.punctuation), encoded=True)
        if url.scheme in {"http", "https"} and url.host and url.port:
            return url
    raise ResponseError(_NO_URL)


def _left_in(content: aiohttp.StreamReader) -> bytes:
    """What had arrived when reading broke off; a reader hands out nothing as long as it has an error."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def _body(request: Request[object], leaving: Callable[[], None]) -> aiohttp.Payload | aiohttp.FormData | None:
    if request.upload is not None:
        form = aiohttp.FormData()
        form.add_field("name", request.upload.name)
        # As a file, not as bytes, it is written in pieces, which does not hold up the loop.
        content = io.BytesIO(request.upload.content)
        form.add_field("file", content, filename=request.upload.name, content_type="application/octet-stream")
        leaving()
        return form
    return None if request.body is None else _ReportingBody(request.body, leaving)


class _ReportingBody(aiohttp.BytesPayload):
    """A body that says when it is written: the connection is open and the request leaves now."""

    def __init__(self, content: bytes, leaving: Callable[[], None]) -> None:
        super().__init__(content, content_type="application/json")
        self._leaving = leaving

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._leaving()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._leaving()
        await super().write_with_length(writer, content_length)
