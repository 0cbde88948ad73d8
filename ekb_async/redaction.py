"""Keeps secrets out of texts.

The vendor takes its token as a query parameter and signs its file URLs in the query, so a URL is the place where
secrets travel. A text that may show one (a vendor's message, an exception of the HTTP client, a `repr`) goes through
`redact`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

_MASK = "***"

_ESCAPES = (("\\u0026", "&"), ("\\u003d", "="), ("\\u003D", "="), ("\\/", "/"))
_URL_QUERY = re.compile(r"""(\bhttps?://[^\s?#"'<>\\]*)[?#][^\s"'<>\\]*""", re.IGNORECASE)
_ENCODED_URL_QUERY = re.compile(r"""(\bhttps?%3A%2F%2F[^\s"'<>\\]*?)%3F[^\s"'<>\\]*""", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"""(?P<name>\b(?:(?:access|refresh|security)?[_-]?token|app_?security|sign|sig|signature|ossaccesskeyid)\b)"""
    r"""(?P<mark>["']?\s*[=:]\s*["']?)[^\s&"',;<>}]+""",
    re.IGNORECASE,
)
_SHORTEST_SECRET = 4

_ANY_QUERY = re.compile(r"""\?((?:[^\s?"'<>\\#]|\\u0026|\\u003[dD]|\\/)+)""")
_PAIR_MARK = re.compile(r"(&amp;|&|\\u0026)")
_EQUALS = re.compile(r"=|\\u003[dD]")

_SIGNING = re.compile(
    r"""(?:access_?token|auth_?key|authorization|expires|(?:oss|aws|google)?accesskey(?:id)?|googleaccessid|policy"""
    r"""|(?:security[-_]?|session[-_]?)?token|sig|sign|signature|key-pair-id"""
    r"""|x-[a-z]+-(?:signature|signature-version|credential|date|expires|security-token|signedheaders|additional-headers"""
    r"""|algorithm|signedqueries|policy)"""
    r"""|q-(?:sign-algorithm|ak|sign-time|key-time|header-list|url-param-list|signature))""",
    re.IGNORECASE,
)


def redact(text: str, *secrets: str) -> str:
    """The text with URL queries, secret-looking fields and every one of `secrets` masked."""
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret), quote(secret, safe=":")):
                text = text.replace(spelling, _MASK)
    text = _URL_QUERY.sub(rf"\1?{_MASK}", text)
    text = _ENCODED_URL_QUERY.sub(rf"\1?{_MASK}", text)
    return _SECRET_FIELD.sub(rf"\g<name>\g<mark>{_MASK}", text)


def without_signatures(text: str) -> str:
    """A longer text, JSON for one, with what signs URLs taken out of every query in it; all else stays as it is."""
    return _ENCODED_URL_QUERY.sub(r"\1", _ANY_QUERY.sub(_unsigned_query, text))


def _unsigned_query(found: re.Match[str]) -> str:
    parts = _PAIR_MARK.split(found[1])
    kept = [pair for pair in parts[::2] if not _SIGNING.fullmatch(_EQUALS.split(pair, maxsplit=1)[0])]
    if len(kept) == len(parts[::2]):
        return found[0]
    return f"?{'&'.join(kept)}" if kept else ""


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
