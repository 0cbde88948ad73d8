"""What went wrong on the way to a host, in the package's terms.

A proxy on the way has troubles of its own, which say nothing about the host behind it: its name is not found, it
refuses the connection, TLS with it fails, it wants another login, or it does not connect to the host. Then nothing has
been sent to the vendor, so nothing is billed, and the error is a `ProxyError` that names the proxy. What is a matter of
settings, its name and its login, is a `ProxySettingError`.

The client's own texts may quote a URL with its token or login, so only its kind and the cause are passed on.
"""

from __future__ import annotations

import re
import socket

import aiohttp
import msgspec
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from ekb_async.errors import (
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    ProxyError,
    ProxySettingError,
    ResponseError,
)
from ekb_async.redaction.masking import redact

_LONGEST_REASON = 200
_QUOTED_BYTES = re.compile(r"""(?:^|(?<=[\s:(]))b?["'].*""", re.DOTALL)
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientResponseError)
LOGIN_WANTED = 407
"""The status with which a proxy, and nothing else, asks for a login."""


class Way(msgspec.Struct, frozen=True):
    """The host a request is for, and the proxy on the way there, each with its port and without a login."""

    host: str
    proxy: str = ""
    """Empty if there is none, or none that is known of."""
    redirects: bool = False
    """Whether the request may lead to other hosts."""


def place_of(url: URL | None) -> str:
    """Return the host and port of a URL, without its user and password; "" for none."""
    return "" if url is None else _place(url.raw_host or "", url.port)


def _place(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def problem(error: Exception, way: Way, endpoint: str, *, sent: bool) -> EkbError:
    """Return the error for what the client has raised; `sent` is whether the request had left by then."""
    if (proxy := _proxy_at_fault(error, way, sent=sent)) is not None:
        return _proxys(error, proxy, way.host, endpoint)
    through = f" through the proxy {way.proxy}" if way.proxy else ""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return EkbTimeoutError(f"the connection{through} could not be opened in time", endpoint=endpoint)
    if isinstance(error, aiohttp.ClientPayloadError):
        is_foreign = isinstance(error.__cause__, ContentEncodingError)
        what = "the answer cannot be decoded" if is_foreign else "the answer was cut off"
        return ResponseError(f"{what}: {_in_the_answer(error)}", endpoint=endpoint, lost=True, settled=is_foreign)
    if isinstance(error, aiohttp.ClientResponseError) and not isinstance(error, aiohttp.TooManyRedirects):
        # Statuses are not raised, so this is an answer whose head cannot be read; it would come again like that.
        what = "the answer came, but is no clean HTTP"
        return ResponseError(f"{what}: {_in_the_answer(error)}", endpoint=endpoint, lost=sent, settled=True)
    if isinstance(error, TimeoutError):
        what = "no complete answer in time" if sent or not way.proxy else f"no connection{through} in time"
        return EkbTimeoutError(what, endpoint=endpoint, sent=sent)
    text = f"the connection to {way.host}{through} failed: {_reason(error)}"
    return EkbConnectionError(text, endpoint=endpoint, sent=sent)


def login_wanted(way: Way, endpoint: str) -> ProxySettingError:
    """Return the error for an answer with status 407, which a proxy has given in the vendor's place."""
    return _refused_login(way.proxy or "on the way", way.host, endpoint)


def _proxy_at_fault(error: Exception, way: Way, *, sent: bool) -> str | None:
    """Return the proxy that an error is about, None if it is about the host."""
    if isinstance(error, aiohttp.ClientConnectorError):
        # It says which host the connection was for: with a proxy on the way, that or the one behind it.
        place = _place(error.host, error.port)
        is_proxys = isinstance(error, aiohttp.ClientProxyConnectionError)
        is_elsewhere = place == way.proxy if way.proxy else not way.redirects and place != way.host
        return place if is_proxys or is_elsewhere else None
    is_tunnels = isinstance(error, aiohttp.ClientResponseError) and error.request_info.method == "CONNECT"
    if is_tunnels or isinstance(error, aiohttp.ClientHttpProxyError):
        return way.proxy or "on the way"
    # Before anything was sent there is nobody else that a connection could be broken by, or an answer come from.
    return way.proxy if way.proxy and not sent and isinstance(error, _BROKEN) else None


def _proxys(error: Exception, proxy: str, host: str, endpoint: str) -> ProxyError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == LOGIN_WANTED:
            return _refused_login(proxy, host, endpoint)
        text = f"the proxy does not connect to {host}: status {error.status} from {proxy}"
        return ProxyError(text, endpoint=endpoint, status=error.status)
    if isinstance(error, aiohttp.ClientResponseError):
        text = f"the proxy does not connect to {host}: {proxy} answers, but not in clean HTTP"
        return ProxyError(text, endpoint=endpoint)
    text = f"the connection to the proxy for {host} failed: {proxy}: {_reason(error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    # A name server that does not answer for a while says nothing about the name.
    if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
        return ProxySettingError(text, endpoint=endpoint)
    return ProxyError(text, endpoint=endpoint)


def _refused_login(proxy: str, host: str, endpoint: str) -> ProxySettingError:
    text = f"the proxy does not connect to {host}: status {LOGIN_WANTED} from {proxy}, which refuses the login"
    error = ProxySettingError(text, endpoint=endpoint, status=LOGIN_WANTED)
    error.for_all = True
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = getattr(error.certificate_error, "verify_message", "of unknown kind")
        return f"its certificate is not trusted: {detail}"
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


def _in_the_answer(error: aiohttp.ClientPayloadError | aiohttp.ClientResponseError) -> str:
    """What the client found wrong with an answer, without the bytes of the answer that it quotes."""
    cause = error.__cause__ if isinstance(error, aiohttp.ClientPayloadError) else error
    message = getattr(cause, "message", "") or type(cause or error).__name__
    lines = _QUOTED_BYTES.sub("", redact(message[:_LONGEST_REASON])).strip().splitlines()
    return lines[0].rstrip(" :.") if lines else type(error).__name__
