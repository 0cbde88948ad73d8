"""Mask secrets in texts.

The vendor takes its token as a query parameter and signs its file URLs in the query, so secrets are mostly in URLs. Any
text that may show one (a vendor's message, an exception of the HTTP client, a `repr`) goes through `redact`.

Foreign texts may have any length and content. They are truncated before they are searched, and each pattern here takes
time proportional to the text: none starts with a repetition that can start again at every character of the same run.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html.entities import html5
from typing import Any, TypeVar

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.signed_urls import URL_USER

E = TypeVar("E", bound=BaseException)

MASK = "***"

_PLAIN = re.compile(r"[A-Za-z0-9]+")
MAX_ESCAPE_LENGTH = 6
"""Most characters that one escaped character of a secret takes; escapes of escapes, which are rare, take more."""

_ESCAPED = re.compile(
    r"%(?:25)*+([0-9a-f]{2})"
    r"|(?<!\\)\\++(?:u00([0-9a-f]{2})|x([0-9a-f]{2})|([^\w\s\\]))"
    r"|&(?:amp;)*+(?:#0*+([0-9]{1,3});?|#x0*+([0-9a-f]{1,2});?|([a-z]{2,8});)",
    re.IGNORECASE,
)
"""One character escaped as in URLs, JSON or HTML, any number of times."""
_ANY_ESCAPE = re.compile(rb"%[0-9a-fA-F]{2}|&#|\\u00")
_PUNCTUATION = frozenset("!#$%&()*+,-./:;=?@_~")
"""Marks that are unescaped where a text has them as in JSON or HTML, since the patterns below would miss them."""

_URL = re.compile(r"""(?<![a-z0-9])https?://[^\s"'<>\\]+""", re.IGNORECASE)
_QUERY_BEGINS = re.compile(r"[?#]")
_ENCODED_URL = re.compile(r"""(?<![a-z0-9])https?%(?:25)*3A[^\s"'<>\\]+""", re.IGNORECASE)
_ENCODED_QUERY_BEGINS = re.compile(r"%(?:25)*(?:3F|23)|[?#]", re.IGNORECASE)
# A line break may split a name.
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
_FULL_WIDTH = re.compile("[＝＿Ａ-Ｚａ-ｚ]")
"""Full-width characters, in which a Chinese text may write a field."""


class HiddenRepr:
    """Mixin for structs: `repr` and rich show the class name only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return type(self).__name__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Secrets(HiddenRepr):
    """Secrets to mask in a stored reply. Not a struct, so that it cannot be serialised by mistake."""

    __slots__ = ("texts",)

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts

    def may_be_in(self, body: bytes) -> bool:
        """Return whether the body quotes a secret, or has escapes that may hide one."""
        return any(_unescaped_part(secret) in body for secret in self.texts) or _ANY_ESCAPE.search(body) is not None

    def mask(self, text: str) -> str:
        """Return the text with every secret masked."""
        return mask(text, self.texts)


def redact(text: str, *secrets: str, max_characters: int = LIMITS.text_characters) -> str:
    """Return the first `max_characters` of the text with secrets masked.

    Masked are the queries, users and passwords of URLs, fields named like a secret, and every one of `secrets`.
    """
    secrets = tuple(each for each in dict.fromkeys(secrets) if len(each) >= LIMITS.min_secret_characters)
    # A secret cut by the truncation would not be found, so the longest possible one is dropped from the end as well.
    margin = MAX_ESCAPE_LENGTH * max(map(len, secrets), default=0)
    is_truncated = len(text) > max_characters + margin
    text = mask(text[: max_characters + margin] if is_truncated else text, secrets)
    if is_truncated:
        text = text[: max(0, len(text) - margin)]
    text = _ESCAPED.sub(_unescaped_punctuation, text.replace("&amp;", "&"))
    text = _FULL_WIDTH.sub(lambda found: chr(ord(found[0]) - 0xFEE0), text)
    text = URL_USER.sub(f"{MASK}@", text)
    text = _URL.sub(lambda found: _with_masked_query(_QUERY_BEGINS, found[0]), text)
    text = _ENCODED_URL.sub(lambda found: _with_masked_query(_ENCODED_QUERY_BEGINS, found[0]), text)
    return _SECRET_FIELD.sub(_with_masked_value, text)[:max_characters]


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with the secrets masked, literally and as escaped in URLs, JSON and HTML."""
    # A token may have been passed in its URL-encoded form and be quoted decoded.
    secrets = (*secrets, *(plain for secret in secrets if (plain := unescaped(secret)[0]) != secret))
    # Form encoding writes spaces as pluses.
    secrets = (*secrets, *(secret.replace(" ", "+") for secret in secrets if " " in secret))
    for secret in secrets:
        text = _pattern_across_lines(secret).sub(MASK, text.replace(secret, MASK))
    if not secrets or _ESCAPED.search(text) is None:
        return text
    plain, positions = unescaped(text)
    spans = sorted(found.span() for secret in secrets for found in re.finditer(re.escape(secret), plain))
    pieces, end = [], 0
    for begin, stop in spans:
        if positions[begin] >= end:
            pieces += [text[end : positions[begin]], MASK]
        end = max(end, positions[stop])
    return "".join((*pieces, text[end:]))


def without_frames(error: E) -> E:
    """Return the error without its traceback and context.

    The local variables of those frames hold tokens, signed URLs and raw replies, and error reporters send them all.
    """
    error.__context__ = None
    return error.with_traceback(None)


@lru_cache(maxsize=LIMITS.cached_secrets)
def _unescaped_part(secret: str) -> bytes:
    """Return the longest part of a secret that no escaping changes."""
    return max(_PLAIN.findall(secret), key=len, default="").encode()


@lru_cache(maxsize=LIMITS.cached_secrets)
def _pattern_across_lines(secret: str) -> re.Pattern[str]:
    """Return a pattern that finds a secret split by line breaks."""
    return re.compile(r"\s*+".join(map(re.escape, filter(str.strip, secret))))


def unescaped(text: str) -> tuple[str, list[int]]:
    """Return the text unescaped, and the position in `text` of each of its characters and of its end."""
    pieces: list[str] = []
    positions: list[int] = []
    end = 0
    for found in _ESCAPED.finditer(text):
        character = _character(*found.groups())
        if character is None:
            continue
        pieces += [text[end : found.start()], character]
        positions.extend(range(end, found.start() + 1))
        end = found.end()
    pieces.append(text[end:])
    positions.extend(range(end, len(text) + 1))
    return "".join(pieces), positions


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


def _unescaped_punctuation(found: re.Match[str]) -> str:
    percent, _, _, bare, *_ = found.groups()
    # A backslash may also be part of a path.
    if percent or bare not in {None, "/"}:
        return found[0]
    character = _character(*found.groups())
    return character if character is not None and character in _PUNCTUATION else found[0]


def _with_masked_query(query_begins: re.Pattern[str], url: str) -> str:
    found = query_begins.search(url)
    return f"{url[: found.start()]}?{MASK}" if found else url


def _with_masked_value(found: re.Match[str]) -> str:
    return f"{found['name']}{found['mark']}{found['quote'] or ''}{MASK}"
