"""Translation of aiohttp's exceptions into the errors of this package.

A failure of a proxy says nothing about the host behind it: the proxy's name is not found, it refuses the connection,
TLS with it fails, it rejects the login, or it does not connect to the host. Nothing has been sent to the vendor then
and nothing is billed, so the error is a `ProxyError` that names the proxy. If the proxy's name or login is wrong, which
only a change of settings can repair, it is a `ProxySettingError`.

The texts of aiohttp's exceptions may quote a URL with its token or login, so messages contain only the kind of the
exception and its cause.
"""

from __future__ import annotations

import os
import re
import socket

import aiohttp
import msgspec
from aiohttp.http_exceptions import ContentEncodingError

from ekb_async.client.addresses import joined
from ekb_async.client.limits import LIMITS
from ekb_async.errors import (
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    ProxyError,
    ProxySettingError,
    ResponseError,
)
from ekb_async.redaction.masking import redact

_UNKNOWN_PROXY = "on the way"
_OF_ASYNCIO = "Connect call failed"
"""How asyncio describes a failed connection, followed by its address."""
_QUOTED_BYTES = re.compile(r"""(?:^|(?<=[\s:(]))b?["'].*""", re.DOTALL)
_BROKEN_CONNECTIONS = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientResponseError)
PROXY_LOGIN_REQUIRED = 407
"""The status with which a proxy, and nothing else, asks for a login."""


class Route(msgspec.Struct, frozen=True):
    """The host a request is for and the proxy in front of it, each with its port and without a login."""

    host: str
    proxy: str = ""
    """Empty without a proxy, and for an injected client's own proxy, which is not visible here."""
    redirects: bool = False
    """Whether the request may be redirected to other hosts."""


def translated(error: Exception, route: Route, endpoint: str, *, sent: bool) -> EkbError:
    """Return the error of this package for an exception of aiohttp.

    `sent` is whether the request had left this machine before the exception was raised.
    """
    if (proxy := _proxy_at_fault(error, route, sent=sent)) is not None:
        return _proxy_error(error, proxy, route.host, endpoint)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        text = "the connection could not be opened in time"
        if route.proxy:
            text = f"the connection through the proxy {route.proxy} could not be opened in time"
        return EkbTimeoutError(text, endpoint=endpoint)
    if isinstance(error, aiohttp.ClientPayloadError):
        is_undecodable = isinstance(error.__cause__, ContentEncodingError)
        what = "the answer cannot be decoded" if is_undecodable else "the answer was cut off"
        return ResponseError(f"{what}: {_defect(error)}", endpoint=endpoint, lost=True, settled=is_undecodable)
    if isinstance(error, aiohttp.ClientResponseError) and not isinstance(error, aiohttp.TooManyRedirects):
        # Error statuses do not raise here, so the head of the answer is malformed; a repeat would get the same answer.
        what = "the answer is not valid HTTP"
        return ResponseError(f"{what}: {_defect(error)}", endpoint=endpoint, lost=sent, settled=True)
    if isinstance(error, TimeoutError):
        is_at_proxy = route.proxy and not sent
        text = f"no connection through the proxy {route.proxy} in time" if is_at_proxy else "no complete answer in time"
        return EkbTimeoutError(text, endpoint=endpoint, sent=sent)
    text = f"the connection to {route.host} failed: {_reason(error)}"
    if route.proxy:
        text = f"the connection to {route.host} through the proxy {route.proxy} failed: {_reason(error)}"
    return EkbConnectionError(text, endpoint=endpoint, sent=sent)


def proxy_login_error(route: Route, endpoint: str) -> ProxySettingError:
    """Return the error for an answer with status 407, which comes from a proxy and not from the vendor."""
    return _login_refused(route.proxy or _UNKNOWN_PROXY, route.host, endpoint)


def _proxy_at_fault(error: Exception, route: Route, *, sent: bool) -> str | None:
    """Return the proxy that an exception is about, None if it is about the host."""
    if isinstance(error, aiohttp.ClientConnectorError):
        # It names the target of the connection. Without redirects, a target other than the host is a proxy.
        target = joined(error.host, error.port)
        is_to_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
        is_to_proxy |= target == route.proxy if route.proxy else not route.redirects and target != route.host
        return target if is_to_proxy else None
    is_from_tunnel = isinstance(error, aiohttp.ClientResponseError) and error.request_info.method == "CONNECT"
    if is_from_tunnel or isinstance(error, aiohttp.ClientHttpProxyError):
        return route.proxy or _UNKNOWN_PROXY
    # Until the request is sent, only the proxy can have answered or closed the connection.
    return route.proxy if route.proxy and not sent and isinstance(error, _BROKEN_CONNECTIONS) else None


def _proxy_error(error: Exception, proxy: str, host: str, endpoint: str) -> ProxyError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == PROXY_LOGIN_REQUIRED:
            return _login_refused(proxy, host, endpoint)
        text = f"the proxy does not connect to {host}: status {error.status} from {proxy}"
        return ProxyError(text, endpoint=endpoint, status=error.status)
    if isinstance(error, aiohttp.ClientResponseError):
        text = f"the proxy does not connect to {host}: the answer of {proxy} is not valid HTTP"
        return ProxyError(text, endpoint=endpoint)
    text = f"the connection to the proxy for {host} failed: {proxy}: {_reason(error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    # EAI_AGAIN: the name server did not answer, so the name may be right.
    if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
        return ProxySettingError(text, endpoint=endpoint)
    return ProxyError(text, endpoint=endpoint)


def _login_refused(proxy: str, host: str, endpoint: str) -> ProxySettingError:
    text = f"the proxy does not connect to {host}: status {PROXY_LOGIN_REQUIRED} from {proxy}, which refuses the login"
    error = ProxySettingError(text, endpoint=endpoint, status=PROXY_LOGIN_REQUIRED)
    error.for_all = True
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = getattr(error.certificate_error, "verify_message", "of unknown kind")
        return f"its certificate is not trusted: {detail}"
    if not isinstance(error, OSError) or not error.strerror:
        return type(error).__name__
    if error.errno and error.strerror.startswith(_OF_ASYNCIO):
        # The error names the address already.
        return os.strerror(error.errno)
    return error.strerror


def _defect(error: aiohttp.ClientPayloadError | aiohttp.ClientResponseError) -> str:
    """Return what aiohttp found wrong with an answer, without the bytes that it quotes from it."""
    cause = error.__cause__ if isinstance(error, aiohttp.ClientPayloadError) else error
    message = getattr(cause, "message", "") or type(cause or error).__name__
    lines = _QUOTED_BYTES.sub("", redact(message[: LIMITS.reason_characters])).strip().splitlines()
    return lines[0].rstrip(" :.") if lines else type(error).__name__
