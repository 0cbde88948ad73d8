"""A server on loopback that answers with one page, and with nothing else.

Any website that a person opens can send requests to loopback, and can give its own name the address of loopback (DNS
rebinding). So a request must name loopback as its host, and come from no other origin.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from aiohttp.http import HttpProcessingError

from ekb_async.cli.limits import LIMITS
from ekb_async.errors import ConfigError

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "ekb",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS = {"GET", "HEAD"}
_log = logging.getLogger("ekb_async.cli.page")


def _is_own(record: logging.LogRecord) -> bool:
    """Return whether an error is one of this program, not of a request that is no HTTP: any website can send those."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log.addFilter(_is_own)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page(Protocol):
    """A page, its version, which is an entity tag, and its policy."""

    @property
    def html(self) -> bytes: ...

    @property
    def version(self) -> str: ...

    @property
    def policy(self) -> str: ...


class PageServer:
    """Answers `GET /` with what `page` returns. Requests of other methods, hosts, origins and paths are refused."""

    def __init__(self, page: Callable[[], Awaitable[Page]]) -> None:
        self._page = page
        self._hosts: frozenset[str] = frozenset()

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[str]:
        """Listen for the duration of an `async with` block; yields the URL. Raises `ConfigError` for a port in use."""
        application = web.Application(middlewares=[self._guarded])
        application.router.add_get("/", self._answer)
        shutdown = LIMITS.live_shutdown_seconds
        runner = web.AppRunner(application, access_log=None, logger=_log, shutdown_timeout=shutdown)
        await runner.setup()
        try:
            site = web.TCPSite(runner, LOOPBACK, port)
            try:
                await site.start()
            except OSError as error:
                raise ConfigError(f"port {port} cannot be used: {os.strerror(error.errno or 0)}") from None
            port = runner.addresses[0][1]
            names = [LOOPBACK, "localhost"]
            self._hosts = frozenset([f"{name}:{port}" for name in names] + (names if port == 80 else []))
            yield f"http://{LOOPBACK}:{port}/"
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            response = _plain(HTTPStatus(error.status))
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _plain(HTTPStatus.MISDIRECTED_REQUEST)
        origins = request.headers.getall("Origin", [])
        if any(origin != f"http://{hosts[0].lower()}" for origin in origins):
            return _plain(HTTPStatus.FORBIDDEN)
        if request.method not in _METHODS:
            response = _plain(HTTPStatus.METHOD_NOT_ALLOWED)
            response.headers["Allow"] = ", ".join(sorted(_METHODS))
            return response
        return None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        page = await self._page()
        headers = {"ETag": page.version, "Content-Security-Policy": f"{page.policy}; frame-ancestors 'none'"}
        if request.headers.get("If-None-Match") == page.version:
            return web.Response(status=304, headers=headers)
        response = web.Response(body=page.html, content_type="text/html", charset="utf-8", headers=headers)
        response.enable_compression()
        return response


def _plain(status: HTTPStatus) -> web.Response:
    return web.Response(status=status, text=f"{status.value} {status.phrase}\n")
