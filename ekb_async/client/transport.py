"""One attempt on the network: send a request, receive a reply.

`Transport` is the interface that the rest of the package uses, `AiohttpTransport` its implementation for the real
network. Neither handles retries, token lifetimes or pacing. Three time limits apply: to opening a connection, to
silence in the middle of an answer, and to the attempt as a whole. Redirects are not followed, since they would send the
token to another host.

Files are fetched by their signed URLs. No token is sent with these, so redirects are followed. A file's time limit
grows with its size: each piece that arrives extends it, and a host that sends too slowly is given up.

If only the framing of an answer is broken (chunks, length), the body is returned together with the error, since it may
be complete all the same.

A call may have been billed once it has left this machine, so the body itself reports when it is being written. A
connection that was refused or never opened is known not to have cost anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import string
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

from ekb_async.client.addresses import host_and_port
from ekb_async.client.connection_errors import PROXY_LOGIN_REQUIRED, Route, proxy_login_error, translated
from ekb_async.client.environment import Environment
from ekb_async.client.limits import LIMITS, ClientLimits
from ekb_async.config import SessionConfig
from ekb_async.errors import EkbError, ResponseError, SessionClosedError
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply

# The header names and the mapping are of the types that aiohttp uses, so that it converts nothing for each request.
_HEADERS = CIMultiDict({hdrs.CONTENT_TYPE: "application/json", hdrs.ACCEPT: "application/json"})
# Without compression the bytes saved are the bytes stored at the host, and their number must match Content-Length.
_FILE_HEADERS = {"Accept-Encoding": "identity"}
_NO_OPTIONS: Mapping[str, Any] = {}
_NO_URL = "the vendor gave no URL that can be opened for the file"


class Transport(Protocol):
    """What sends requests; raises `EkbTimeoutError`, `EkbConnectionError` (both with `.sent`) or `ResponseError`."""

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        """Make one attempt within `timeout` seconds; `on_sent` is called when the request leaves this machine.

        If `on_sent` raises, the request is not sent and the same exception is raised.
        """
        ...

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        """Make one attempt to fetch a file, within `timeout` seconds plus an allowance for its size.

        With status 200 the body is passed to `write` piece by piece and the reply's body is empty. With any other
        status the reply holds the beginning of the body.
        """
        ...

    async def close(self) -> None:
        """Close what the transport opened itself."""
        ...


class AiohttpTransport:
    """The real network. An injected client session is used as it is and not closed.

    With an `environment`, requests use its proxies and certificate authorities, in an injected session as well.
    """

    def __init__(
        self,
        base_url: str,
        config: SessionConfig,
        client_session: aiohttp.ClientSession | None,
        environment: Environment | None = None,
        *,
        limits: ClientLimits = LIMITS,
    ) -> None:
        # yarl parses a URL lazily and caches the parts in the object; most requests go to one of a few URLs.
        self._url = functools.lru_cache(limits.cached_urls)(functools.partial(_url, base_url))
        self._environment = environment
        self._options = self._options_for(URL(base_url))
        self._route = _route(URL(base_url), self._options)
        self._read_timeout = config.read_timeout
        self._limits = limits
        self._timeouts = aiohttp.ClientTimeout(total=None, connect=config.connect_timeout)
        self._injected = client_session
        self._own: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        sent = False
        refusal: BaseException | None = None

        def report_sent() -> None:
            nonlocal sent, refusal
            if sent:
                return
            try:
                on_sent()
            except BaseException as raised:
                # aiohttp replaces an exception raised while the body is written by one of its own.
                refusal = raised
                raise
            sent = True

        if request.upload is not None:
            timeout += len(request.upload.content) / self._limits.min_upload_bytes_per_second
        try:
            async with asyncio.timeout(timeout):
                response = await self._request(request, token, report_sent)
                async with response:
                    return await self._read(response, request.endpoint.path)
        # A `UnicodeError` is about the name of a host, of a proxy for example.
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            was_connected = not isinstance(error, aiohttp.ClientConnectorError | UnicodeError)
            failure = refusal or translated(error, self._route, request.endpoint.path, sent=sent and was_connected)
        raise failure from None

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        location = _file_url(url)
        try:
            return await self._receive(location, timeout, write)
        except (aiohttp.ClientError, OSError) as error:
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            failure = translated(error, self._file_route(location), location.path, sent=sent)
        raise failure from None

    @property
    def host(self) -> str:
        """The host and port of the platform."""
        return self._route.host

    @property
    def proxy(self) -> str:
        """The host and port of the proxy between this machine and the vendor, "" if there is none."""
        return self._route.proxy

    async def close(self) -> None:
        self._closed = True
        if self._own is not None:
            await self._own.close()

    def _request(
        self, request: Request[object], token: str | None, report_sent: Callable[[], None]
    ) -> Awaitable[aiohttp.ClientResponse]:
        url, body = self._url(request.path, request.query, token), _body(request, report_sent)
        if request.body is None:
            # Nothing reports when a form or a head alone is written.
            report_sent()
        return self._client().request(
            request.endpoint.method,
            url,
            data=body,
            headers=_HEADERS if request.upload is None else None,
            allow_redirects=False,
            raise_for_status=False,
            timeout=self._timeouts,
            **self._options,
        )

    async def _receive(self, url: URL, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        loop = asyncio.get_running_loop()
        max_bytes, min_rate = self._limits.max_file_bytes, self._limits.min_download_bytes_per_second
        async with asyncio.timeout(timeout) as limit:
            response = await self._get(url)
            async with response:
                if response.status == PROXY_LOGIN_REQUIRED:
                    raise proxy_login_error(self._file_route(url), url.path)
                if response.status != 200:
                    return Reply(response.status, response.headers, await self._next_piece(response))
                size, began = 0, loop.time()
                while piece := await self._next_piece(response):
                    size += len(piece)
                    if size > max_bytes:
                        raise ResponseError(f"the file is longer than {max_bytes:,} bytes", endpoint=url.path)
                    limit.reschedule(began + timeout + size / min_rate)
                    await write(piece)
                if not size:
                    raise ResponseError("the file arrived without content", endpoint=url.path, lost=True)
                return Reply(response.status, response.headers, b"")

    async def _get(self, url: URL) -> aiohttp.ClientResponse:
        try:
            return await self._client().get(
                url,
                headers=_FILE_HEADERS,
                max_redirects=self._limits.max_redirects,
                raise_for_status=False,
                timeout=self._timeouts,
                **self._options_for(url, redirects=True),
            )
        except aiohttp.ClientConnectorError:
            raise  # one about a certificate is a ValueError too
        except (ValueError, OverflowError):  # an impossible host or port, of the URL or of a redirect
            raise ResponseError(_NO_URL) from None

    async def _read(self, response: aiohttp.ClientResponse, endpoint: str) -> Reply:
        if response.status == PROXY_LOGIN_REQUIRED:
            raise proxy_login_error(self._route, endpoint)
        chunks: list[bytes] = []
        size = 0
        max_bytes = self._limits.max_reply_bytes
        failure: EkbError | None = None
        try:
            while chunk := await self._next_piece(response):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    raise ResponseError(f"the answer is longer than {max_bytes:,} bytes", endpoint=endpoint)
                if response.content.at_eof():
                    break
        except (aiohttp.ClientError, OSError) as error:
            failure = translated(error, self._route, endpoint, sent=True)
            chunks.append(_unread_bytes(response.content))
            response.close()
        return Reply(response.status, response.headers, b"".join(chunks), failure)

    async def _next_piece(self, response: aiohttp.ClientResponse) -> bytes:
        content = response.content
        # The whole answer usually arrives together with its head, so nothing is left to wait for.
        if (piece := content.read_nowait()) or content.at_eof():
            return piece
        async with asyncio.timeout(self._read_timeout):
            return await content.readany()

    def _options_for(self, url: URL, *, redirects: bool = False) -> Mapping[str, Any]:
        return self._environment.options(url, redirects=redirects) if self._environment is not None else _NO_OPTIONS

    def _file_route(self, url: URL) -> Route:
        return _route(url, self._options_for(url, redirects=True), redirects=True)

    def _client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError("the session is closed")
        if self._injected is not None:
            if self._injected.closed:
                raise SessionClosedError("the injected client session is closed")
            return self._injected
        if self._own is None:
            self._own = new_client()
        return self._own


def new_client() -> aiohttp.ClientSession:
    """Return a client for the vendor, without cookies and without a limit on its connections."""
    # Pacing and batching already bound the number of requests in flight.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


def _url(origin: str, path: str, query: tuple[tuple[str, str], ...], token: str | None) -> URL:
    if token is not None:
        query = (*query, ("accessToken", token))
    return URL(origin + path, encoded=True).with_query(query)


def _route(url: URL, options: Mapping[str, Any], *, redirects: bool = False) -> Route:
    return Route(host_and_port(url), host_and_port(options.get("proxy")), redirects)


def _file_url(text: str) -> URL:
    """Return the URL unchanged but for characters that cannot be sent: its signature covers its exact spelling.

    Raises `ResponseError` unless it is an http(s) URL with a host and a port.
    """
    with contextlib.suppress(ValueError):
        url = URL(quote(text, safe=string.punctuation), encoded=True)
        if url.scheme in {"http", "https"} and url.host and url.port:
            return url
    raise ResponseError(_NO_URL)


def _unread_bytes(content: aiohttp.StreamReader) -> bytes:
    """Return the bytes that had arrived when reading failed; a reader returns none while it has an exception."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def _body(request: Request[object], report_sent: Callable[[], None]) -> aiohttp.Payload | aiohttp.FormData | None:
    if request.upload is not None:
        form = aiohttp.FormData()
        form.add_field("name", request.upload.name)
        # aiohttp writes a file object in pieces, so a large upload does not block the loop as `bytes` would.
        content = io.BytesIO(request.upload.content)
        form.add_field("file", content, filename=request.upload.name, content_type="application/octet-stream")
        return form
    return None if request.body is None else _ReportingBody(request.body, report_sent)


class _ReportingBody(aiohttp.BytesPayload):
    """A JSON body that reports when it is written: the connection is open by then, and the request leaves."""

    def __init__(self, content: bytes, report_sent: Callable[[], None]) -> None:
        super().__init__(content, content_type="application/json")
        self._report_sent = report_sent

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._report_sent()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._report_sent()
        await super().write_with_length(writer, content_length)
