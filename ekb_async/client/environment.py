"""Proxies and certificate authorities from the environment.

Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or from the settings of the system where it
has some. Certificates are checked against the authorities of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and
additionally against those of `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE`: an enterprise whose gateway decrypts TLS sets
one or the other.

The `trust_env` of aiohttp is not used: it reads all of this for each request, in a thread, and sends passwords from
`~/.netrc`. Here a session reads the environment once, when it is made. No message contains a proxy's password.
"""

from __future__ import annotations

import functools
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yarl import URL

from ekb_async.client.addresses import is_this_machine
from ekb_async.client.limits import LIMITS
from ekb_async.errors import ConfigError

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DEFAULT_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_OTHER_WAYS = "pass a client_session that can use it, or trust_env=False"
_DEFAULTS = {"proxy": None, "ssl": True}

_Authorities = tuple[tuple[str, str], ...]
"""The variables that are set, with their values."""


class Environment:
    """A snapshot of the proxy and certificate variables, taken when it is made."""

    def __init__(self) -> None:
        from urllib.request import getproxies

        self._proxies = getproxies()
        self._authorities = _authorities()
        _authorities_of_aiohttp()

    def options(self, url: URL, *, redirects: bool = False) -> Mapping[str, Any]:
        """Return the arguments with which `aiohttp` sends a request to this host and, with `redirects`, follows them.

        Raises `ConfigError` if the environment names a proxy or a bundle that cannot be used.
        """
        may_use_tls = url.scheme == "https" or redirects
        ssl_option = _ssl_option(self._authorities) if may_use_tls else True
        options: dict[str, Any] = {"proxy": self._proxy(url), "ssl": ssl_option}
        # aiohttp's defaults are left out, since these arguments are passed with every request.
        return {name: option for name, option in options.items() if option is not _DEFAULTS[name]}

    def _proxy(self, url: URL) -> URL | None:
        from urllib.request import proxy_bypass

        text = self._proxies.get(url.scheme) or self._proxies.get("all")
        if not text or url.host is None or proxy_bypass(f"{url.host}:{url.port}") or proxy_bypass(url.host):
            return None
        proxy = _proxy_url(text)
        if proxy is None or proxy.scheme not in {"http", "https"} or not proxy.host:
            kind = proxy and proxy.scheme
            # The URL may contain a password, and error reporters send the local variables of each frame.
            del text, proxy
            if kind is None:
                raise ConfigError(f"the environment's proxy for {url.scheme} is not a URL: {_OTHER_WAYS}")
            raise ConfigError(
                f"the environment's proxy for {url.scheme} is of the kind {kind!r}, not http: {_OTHER_WAYS}"
            )
        if is_this_machine(url.host) and not is_this_machine(proxy.host):
            # A proxy elsewhere cannot reach the loopback address of this machine.
            return None
        return proxy


def _proxy_url(text: str) -> URL | None:
    """Return the URL of a proxy, None if the text is not one: an error would have a frame with the text in it."""
    try:
        return URL(text if "://" in text else f"http://{text}")
    except ValueError:
        return None


def _authorities() -> _Authorities:
    names = (*_DEFAULT_AUTHORITIES, *_BUNDLES)
    return tuple((name, value) for name in names if (value := os.environ.get(name)))


@functools.cache
def _authorities_of_aiohttp() -> _Authorities:
    """Return the variables with which aiohttp loads the default authorities, which it does when it is imported.

    The first session that trusts the environment calls this right before it imports aiohttp. What the variables were
    when the program imported it earlier is not known; none is assumed.
    """
    return () if "aiohttp" in sys.modules else _authorities()


@functools.lru_cache(maxsize=LIMITS.cached_ssl_contexts)
def _ssl_option(settings: _Authorities) -> ssl.SSLContext | bool:
    """Return the `ssl` argument of `aiohttp` for these variables; True, its default, if nothing else is needed."""
    # Loading the authorities again takes a tenth of a second.
    if settings == _authorities_of_aiohttp() and not any(name in _BUNDLES for name, _ in settings):
        return True
    context = ssl.create_default_context()
    for name, value in settings:
        if name not in _BUNDLES:
            continue
        try:
            context.load_verify_locations(**{"capath" if Path(value).is_dir() else "cafile": value})
        except OSError as error:  # includes ssl.SSLError
            reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{name}: {value}: {reason}") from None
    return context
