"""Addresses of platforms, hosts and this machine. Needs no HTTP client, which takes long to import."""

from __future__ import annotations

import ipaddress
import os

from yarl import URL

from ekb_async.errors import ConfigError


def checked_base_url(text: str, *, allow_http: bool = False) -> str:
    """Return the base URL without a trailing slash.

    Raises `ConfigError` unless it is an http(s) URL with a host and without query, fragment or user. Plain http to
    another machine also needs `allow_http` or `EKB_ALLOW_HTTP=1`.
    """
    try:
        url = URL(text)
        (url.host or "").encode("idna")
    except (TypeError, ValueError):
        raise ConfigError("base_url is not a URL with a host name that can exist") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError("base_url must begin with https:// or http:// and name a host")
    if url.query_string or url.fragment or url.user or url.password:
        raise ConfigError("base_url must have no query, fragment or user")
    allowed = allow_http or os.environ.get("EKB_ALLOW_HTTP") == "1"
    if url.scheme == "http" and not allowed and not is_this_machine(url.host):
        raise ConfigError(
            f"base_url leads to {url.host} by http://, so keys and tokens could be read in transit: use https://, "
            "or allow it with allow_http=True or EKB_ALLOW_HTTP=1"
        )
    return str(url).rstrip("/")


def host_and_port(url: URL | None) -> str:
    """Return the host and port of a URL, without its user and password; "" for None."""
    return "" if url is None else joined(url.raw_host or "", url.port)


def joined(host: str, port: int | None) -> str:
    """Return a host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_this_machine(host: str) -> bool:
    """Return whether the host of a URL is a loopback name or address, or the unspecified address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        # Only an IPv6 address may have a zone after "%"; in any other host the "%" belongs to the name.
        address = ipaddress.ip_address(name.partition("%")[0] if ":" in name else name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified
