"""What the environment says about the way to the vendor: proxies and certificate authorities.

Proxies are those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or of the system's settings where it has
some. Certificates are checked against the authorities of the system or of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and those
of `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` as well: an enterprise whose gateway opens TLS sets one or the other.

The client's own `trust_env` is not used: it looks all of this up for each request, in a thread, and sends passwords
from `~/.netrc`. Here a session looks once, when it is made. A proxy's password is in no message.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ekb_async.errors import ConfigError

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DEFAULT_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_DEFAULTS = {"proxy": None, "ssl": True}

_Authorities = tuple[tuple[str, str], ...]
"""The variables that are set, with their values."""


class Environment:
    """The environment as it is when this is made."""

    def __init__(self) -> None:
        self._proxies = getproxies()
        self._authorities = _authorities()

    def options(self, url: URL, *, redirects: bool = False) -> Mapping[str, Any]:
        """Return the arguments with which `aiohttp` sends a request to this host, and follows `redirects` from it.

        Raises `ConfigError` if the environment names something that cannot be used.
        """
        checked = url.scheme == "https" or redirects
        options: dict[str, Any] = {"proxy": self._proxy(url), "ssl": _trust(self._authorities) if checked else True}
        # What the client does anyway is not handed over with each request.
        return {name: option for name, option in options.items() if option is not _DEFAULTS[name]}

    def _proxy(self, url: URL) -> URL | None:
        text = self._proxies.get(url.scheme) or self._proxies.get("all")
        if not text or url.host is None or proxy_bypass(f"{url.host}:{url.port}") or proxy_bypass(url.host):
            return None
        proxy = _url_in(text)
        if proxy is None or proxy.scheme not in {"http", "https"} or not proxy.host:
            kind = "not a URL" if proxy is None else f"of the kind {proxy.scheme!r}, not http"
            # It may have a password, and what reports errors sends the locals of each frame.
            del text, proxy
            raise ConfigError(
                f"the environment's proxy for {url.scheme} is {kind}: pass a client_session that can use it, or "
                "trust_env=False"
            )
        if is_this_machine(url.host) and not is_this_machine(proxy.host):
            # From there the way would lead to another machine.
            return None
        return proxy


def _url_in(text: str) -> URL | None:
    """Return the URL of a proxy; None, and no error that would have a frame with the text, for what is none."""
    try:
        return URL(text if "://" in text else f"http://{text}")
    except ValueError:
        return None


def is_this_machine(host: str) -> bool:
    """Return whether a host of a URL is this machine by its very name or address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        # Only an address of version 6 has a zone; in a name, what stands behind the mark is a part of it.
        address = ipaddress.ip_address(name.partition("%")[0] if ":" in name else name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified


def _authorities() -> _Authorities:
    names = (*_DEFAULT_AUTHORITIES, *_BUNDLES)
    return tuple((name, value) for name in names if (value := os.environ.get(name)))


@functools.lru_cache(maxsize=8)
def _trust(settings: _Authorities) -> ssl.SSLContext | bool:
    """Return what certificates are checked against with these variables, True for what `aiohttp` does by itself."""
    # It has read the default authorities when it was imported, and reading them again takes a tenth of a second.
    if settings == _AT_IMPORT and not any(name in _BUNDLES for name, _ in settings):
        return True
    context = ssl.create_default_context()
    for name, value in settings:
        if name not in _BUNDLES:
            continue
        try:
            context.load_verify_locations(**{"capath" if Path(value).is_dir() else "cafile": value})
        except OSError as error:  # ssl.SSLError is one
            reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{name}: {value}: {reason}") from None
    return context


_AT_IMPORT = _authorities()
