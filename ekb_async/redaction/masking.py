"""Keeps secrets out of texts.

The vendor takes its token as a query parameter and signs its file URLs in the query, so a URL is the place where
secrets travel. A text that may show one (a vendor's message, an exception of the HTTP client, a `repr`) goes through
`redact`.

What comes from elsewhere may be of any length and make, so it is cut before it is searched, and each pattern here takes
time in proportion to the text: none begins with a repetition that can begin again at every character of the same run.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html.entities import html5
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from ekb_async.redaction.signed_urls import could_be_kept_of, is_signed, same_host, which_file

E = TypeVar("E", bound=BaseException)

MASK = "***"

_MOST = 16_384
_SHORTEST_SECRET = 4
_PLAIN = re.compile(r"[A-Za-z0-9]+")
SPELLINGS = 6
"""Characters at most that one character of a secret becomes when it is escaped; escapes of escapes are rarer still."""

_ESCAPED = re.compile(
    r"%(?:25)*+([0-9a-f]{2})"
    r"|(?<!\\)\\++(?:u00([0-9a-f]{2})|x([0-9a-f]{2})|([^\w\s\\]))"
    r"|&(?:amp;)*+(?:#0*+([0-9]{1,3});?|#x0*+([0-9a-f]{1,2});?|([a-z]{2,8});)",
    re.IGNORECASE,
)
"""One character in the escapes of URLs, JSON and HTML, however often these were escaped in turn."""
_ANY_ESCAPE = re.compile(rb"%[0-9a-fA-F]{2}|&#|\\u00")
_ESCAPED_MARK = re.compile(
    r"(?<!\\)\\++(?:u00(2[1356789a-f]|3[a-b0-9df]|40)|(/))|&(?:amp;)*+(?:#0*+([0-9]{2});|#x0*+([0-9a-f]{2});|(amp;))",
    re.IGNORECASE,
)
"""A mark in the escapes of JSON and HTML, which stands in the way of the patterns below."""
_MARKS = frozenset("!#$%&()*+,-./:;=?@_~")

_URL = re.compile(r"""(?<![a-z0-9])https?://[^\s"'<>\\]+""", re.IGNORECASE)
_QUERY_BEGINS = re.compile(r"[?#]")
_ENCODED_URL = re.compile(r"""(?<![a-z0-9])https?%(?:25)*3A[^\s"'<>\\]+""", re.IGNORECASE)
_ENCODED_QUERY_BEGINS = re.compile(r"%(?:25)*(?:3F|23)|[?#]", re.IGNORECASE)
_USER = re.compile(r"""(?<=://)[^\s/?#"'<>\\]+@""")
# A name may be broken where a line of the text is.
_NAMES = "|".join(
    r"\s{0,2}".join(name)
    for name in ("token", "secret", "security", "signature", "password", "passwd", "authorization", "credential")
)
_SECRET_FIELD = re.compile(
    rf"""(?P<name>{_NAMES}|access_?key(?:_?id)?|(?<![a-z])(?:sign|sig|pwd|jwt|hmac|_upt))"""
    r"""(?P<mark>(?:\\*["'])?(?:\s|\\[nrt])*+(?:[=:：﹦﹕]{1,2}>?|->|%(?:25)*3[ad])\s*(?:(?:bearer|basic)\s+)?)"""
    r"""(?:(?P<quote>\\*["'])[^"'\\]+|[^\s&"',;<>}\\]+)""",
    re.IGNORECASE,
)
_WIDE = re.compile("[＝＿Ａ-Ｚａ-ｚ]")
"""Full-width forms in which a field of a Chinese text may be written."""

# JSON within a text has its own escapes: a query goes on behind \u0026 and ends at a quotation mark.
_QUERY = re.compile(r"""\?(?:[^\s"'<>\\]++|\\u[0-9a-fA-F]{4}|\\/)*+""")
# What signs a URL that stands in the query of another is escaped.
_SIGNATURE = re.compile(
    r"(?:signature|token|accesskeyid|accessid|credential"
    r"|(?<![a-z])(?:authorization|auth_?key|expires|policy|sign|sig|q-[a-z-]+))(?:=|%3d|\\u003d)",
    re.IGNORECASE,
)


class HiddenRepr:
    """Shows nothing but its name, in its `repr` and where rich draws it; to be mixed into structs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return type(self).__name__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Secrets(HiddenRepr):
    """What a reply must not quote where it is stored. It is no struct, so that nothing writes it out by mistake."""

    __slots__ = ("texts",)

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts

    def may_be_in(self, body: bytes) -> bool:
        """Return whether the body quotes one of them, or has escapes that may hide one."""
        return any(_core(secret) in body for secret in self.texts) or _ANY_ESCAPE.search(body) is not None

    def mask(self, text: str) -> str:
        """Return the text with each of them masked."""
        return mask(text, self.texts)


def redact(text: str, *secrets: str, most: int = _MOST) -> str:
    """Return at most `most` characters of the text, with queries, users and passwords of URLs, fields that are called
    like a secret, and every one of `secrets` masked.
    """
    secrets = tuple(each for each in dict.fromkeys(secrets) if len(each) >= _SHORTEST_SECRET)
    # A secret that is cut in two is not found, so its first half goes as well.
    halves = SPELLINGS * max(map(len, secrets), default=0)
    cut = len(text) > most + halves
    text = mask(text[: most + halves] if cut else text, secrets)
    if cut:
        text = text[: max(0, len(text) - halves)]
    text = _ESCAPED_MARK.sub(_mark, text)
    text = _WIDE.sub(lambda found: chr(ord(found[0]) - 0xFEE0), text)
    text = _USER.sub(f"{MASK}@", text)
    text = _URL.sub(lambda found: _up_to(_QUERY_BEGINS, found[0]), text)
    text = _ENCODED_URL.sub(lambda found: _up_to(_ENCODED_QUERY_BEGINS, found[0]), text)
    return _SECRET_FIELD.sub(_named_only, text)[:most]


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with the secrets masked, as they stand and in the escapes of URLs, JSON and HTML."""
    # A token may have been given as it stands in a URL, and be quoted as it is.
    secrets = (*secrets, *(plain for secret in secrets if (plain := _unescaped(secret)[0]) != secret))
    # A form has pluses for spaces.
    secrets = (*secrets, *(secret.replace(" ", "+") for secret in secrets if " " in secret))
    for secret in secrets:
        text = _across_lines(secret).sub(MASK, text.replace(secret, MASK))
    if not secrets or _ESCAPED.search(text) is None:
        return text
    plain, places = _unescaped(text)
    spans = sorted(span for secret in secrets for span in _occurrences(plain, secret))
    kept, end = [], 0
    for begin, stop in spans:
        if places[begin] >= end:
            kept += [text[end : places[begin]], MASK]
        end = max(end, places[stop])
    return "".join((*kept, text[end:]))


def without_frames(error: E) -> E:
    """Return the error without the frames it came through and what it came from: their locals hold tokens, signed URLs,
    and replies as they were sent, and a reporter of errors sends all of them.
    """
    error.__context__ = None
    return error.with_traceback(None)


def without_signed_queries(text: str) -> str:
    """A longer text without the queries in it that sign a URL; all else stays as it is."""

    def kept(found: re.Match[str]) -> str:
        query = found[0]
        return "" if _SIGNATURE.search(query) or is_signed(query[1:]) else query

    return _QUERY.sub(kept, text)


def query_values(url: str) -> tuple[str, ...]:
    """What the query of a URL holds, as it stands and decoded; with a signed URL these are secrets."""
    pairs = url.partition("?")[2].split("&")
    values = [pair.partition("=")[2] for pair in pairs]
    return (*values, *(unquote(value) for value in values))


def without_query(url: str) -> str:
    """The URL as it may be shown when it is not known which part of its query signs it."""
    return url.partition("?")[0]


def without_signature(url: str) -> str:
    """The URL without what signs it or lets it expire (see `signed_urls`), its host in the one spelling of it; what is
    left says which file it is.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return without_query(url)
    netloc = same_host(parts.scheme, parts.netloc.rpartition("@")[2])
    return urlunsplit((parts.scheme, netloc, parts.path, which_file(netloc, parts.path, parts.query), ""))


def is_kept_of(kept: str, url: str) -> bool:
    """Return whether `kept` is what this version keeps of a URL, or what another one may have kept of it."""
    now = without_signature(url)
    if without_signature(kept) == now:
        return True
    (place, _, query), (place_now, _, query_now) = without_fragment(kept).partition("?"), now.partition("?")
    is_one_place = without_signature(place) == place_now
    return is_one_place and could_be_kept_of(query, without_fragment(url).partition("?")[2], query_now)


def without_fragment(url: str) -> str:
    """The URL without what a browser alone is to know of it."""
    return url.partition("#")[0]


def opens_a_file(url: str) -> bool:
    """Return whether a URL has a user, or a query with anything that signs it or lets it expire."""
    query = without_fragment(url).partition("?")[2]
    return _USER.search(url) is not None or without_signature(url).partition("?")[2] != query


@lru_cache(maxsize=256)
def _core(secret: str) -> bytes:
    """The longest part of a secret that no escape changes."""
    return max(_PLAIN.findall(secret), key=len, default="").encode()


@lru_cache(maxsize=256)
def _across_lines(secret: str) -> re.Pattern[str]:
    """A pattern of a secret that lines of a text may break."""
    return re.compile(r"\s*+".join(map(re.escape, filter(str.strip, secret))))


def _unescaped(text: str) -> tuple[str, list[int]]:
    """The text without escapes, and where in `text` each of its characters begins, and its end."""
    pieces: list[str] = []
    places: list[int] = []
    end = 0
    for found in _ESCAPED.finditer(text):
        character = _character(*found.groups())
        if character is None:
            continue
        pieces += [text[end : found.start()], character]
        places.extend(range(end, found.start() + 1))
        end = found.end()
    pieces.append(text[end:])
    places.extend(range(end, len(text) + 1))
    return "".join(pieces), places


def _character(
    percent: str | None, json: str | None, hexadecimal: str | None, bare: str | None, *html: str | None
) -> str | None:
    if code := percent or json or hexadecimal:
        return chr(int(code, 16))
    if bare:
        return bare
    decimal, code, name = html
    if name:
        found = html5.get(f"{name};")
        return found if found is not None and len(found) == 1 else None
    return chr(int(decimal) if decimal else int(code or "0", 16))


def _occurrences(text: str, secret: str) -> list[tuple[int, int]]:
    found = []
    begin = text.find(secret)
    while begin >= 0:
        found.append((begin, begin + len(secret)))
        begin = text.find(secret, begin + len(secret))
    return found


def _mark(found: re.Match[str]) -> str:
    json, slash, decimal, hexadecimal, ampersand = found.groups()
    if slash:
        return "/"
    if ampersand:
        return "&"
    character = chr(int(decimal) if decimal else int(json or hexadecimal, 16))
    return character if character in _MARKS else found[0]


def _up_to(mark: re.Pattern[str], url: str) -> str:
    found = mark.search(url)
    return f"{url[: found.start()]}?{MASK}" if found else url


def _named_only(found: re.Match[str]) -> str:
    return f"{found['name']}{found['mark']}{found['quote'] or ''}{MASK}"
