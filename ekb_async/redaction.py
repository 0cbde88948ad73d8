"""Keeps secrets out of texts.

The vendor takes its token as a query parameter and signs its file URLs in the query, so a URL is the place where
secrets travel. A text that may show one (a vendor's message, an exception of the HTTP client, a `repr`) goes through
`redact`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

_MASK = "***"

_ESCAPES = (("\\u0026", "&"), ("\\u003d", "="), ("\\u003D", "="), ("\\/", "/"))
_URL_QUERY = re.compile(r"""(\bhttps?://[^\s?#"'<>\\]*)[?#][^\s"'<>\\]*""", re.IGNORECASE)
_ENCODED_URL_QUERY = re.compile(r"""(\bhttps?%3A%2F%2F[^\s"'<>\\]*?)%3F[^\s"'<>\\]*""", re.IGNORECASE)
_USER = re.compile(r"""(\b[a-z][a-z0-9+.-]*://)[^\s/@?#"'<>\\]+@""", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"""(?P<name>\b(?:(?:access|refresh|security)?[_-]?token|app_?security|sign|sig|signature|ossaccesskeyid)\b)"""
    r"""(?P<mark>["']?\s*[=:]\s*["']?)[^\s&"',;<>}]+""",
    re.IGNORECASE,
)
_SHORTEST_SECRET = 4

# JSON within a text has its own escapes: a query goes on behind \u0026 and ends at a quotation mark.
_QUERY = re.compile(r"""\?(?:\\u[0-9a-fA-F]{4}|\\/|[^\s"'<>\\])*""")
# Wider than what signs a URL of which all else is kept: here the whole query goes.
_SIGNATURE = re.compile(
    r"(?<![a-z])(?:[\w-]*(?:signature|token|accesskeyid|accessid|credential)|authorization|auth_?key|expires|policy"
    r"|sign|sig|q-[a-z-]+)(?:=|%3d|\\u003d)",
    re.IGNORECASE,
)

_SIGNING = re.compile(
    r"""(?:access_?token|auth_?key|authorization|expires|(?:oss|aws|google)?accesskey(?:id)?|googleaccessid|policy"""
    r"""|(?:security[-_]?|session[-_]?)?token|sig|sign|signature|key-pair-id"""
    r"""|x-[a-z]+-(?:signature|signature-version|credential|date|expires|security-token|signedheaders|additional-headers"""
    r"""|algorithm|signedqueries|policy)"""
    r"""|q-(?:sign-algorithm|ak|sign-time|key-time|header-list|url-param-list|signature))""",
    re.IGNORECASE,
)


class Discreet:
    """Shows nothing but its name, in its `repr` and where rich draws it; to be mixed into structs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return type(self).__name__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


def redact(text: str, *secrets: str) -> str:
    """The text with queries, users and passwords of URLs, secret-looking fields and every one of `secrets` masked."""
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret), quote(secret, safe=":")):
                text = text.replace(spelling, _MASK)
    text = _USER.sub(rf"\1{_MASK}@", text)
    text = _URL_QUERY.sub(rf"\1?{_MASK}", text)
    text = _ENCODED_URL_QUERY.sub(rf"\1?{_MASK}", text)
    return _SECRET_FIELD.sub(rf"\g<name>\g<mark>{_MASK}", text)


def without_signed_queries(text: str) -> str:
    """A longer text without the queries in it that sign a URL; all else stays as it is."""
    return _QUERY.sub(lambda found: "" if _SIGNATURE.search(found[0]) else found[0], text)


def query_values(url: str) -> tuple[str, ...]:
    """What the query of a URL holds, as it stands and decoded; with a signed URL these are secrets."""
    pairs = url.partition("?")[2].split("&")
    values = [pair.partition("=")[2] for pair in pairs]
    return (*values, *(unquote(value) for value in values))


def without_query(url: str) -> str:
    """The URL as it may be shown when it is not known which part of its query signs it."""
    return url.partition("?")[0]


def without_signature(url: str) -> str:
    """The URL without the query parameters that sign it or let it expire; what is left says which file it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return without_query(url)
    kept = "&".join(pair for pair in parts.query.split("&") if pair and not _SIGNING.fullmatch(pair.partition("=")[0]))
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, kept, ""))
