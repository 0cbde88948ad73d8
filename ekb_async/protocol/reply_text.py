"""The encoding of a reply, and JSON that is complete but malformed.

A reply may have any length, and reading it must not block the event loop. A long reply is therefore judged by its
beginning. It is repaired only up to a length that takes a few hundredths of a second, and a reply that does not start
as JSON is not decoded as a whole.

JSON is UTF-8, yet gateways and older servers reply in Chinese encodings. The declared charset is used if the body is
valid in it. Without one, a body that is valid GB18030 but not UTF-8 is GB18030, unless it is a long text in UTF-8 with
a few damaged characters.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import codecs
import json
import re
from codecs import getincrementaldecoder
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from ekb_async.models.wire.envelope import NOT_JSON
from ekb_async.protocol.limits import LIMITS

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)
_UTF_8 = "utf-8"
_GB18030 = "gb18030"
_CHINESE = {"gb2312", "gbk", _GB18030}
_ONE_BYTE = {"ascii", "iso8859-1", "cp1252"}
TRIED_AS_UTF_8 = frozenset({None, _UTF_8, *_ONE_BYTE})
"""Declared charsets for which a body is read as UTF-8 if it is valid UTF-8."""
_OTHER_CHARSETS = {"big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}

_CJK = re.compile("[\u2e80-\uffef]")
_BOM = b"\xef\xbb\xbf"
_JSON_START = re.compile(r'\ufeff?\s*+[{\["]')
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:"]', re.DOTALL)
_INCOMPLETE_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*+\\(?:u[0-9a-fA-F]{0,3})?\Z")

_encode_exactly = msgspec.json.Encoder(decimal_format="number").encode


@lru_cache(maxsize=LIMITS.cached_content_types)
def declared_charset(content_type: str) -> str | None:
    """Return the codec of a `Content-Type`; None if it names no charset, or one that is not supported."""
    found = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(found[1]).name if found else ""
    except LookupError:
        return None
    if name in _CHINESE:
        return _GB18030
    return name if name == _UTF_8 or name in _ONE_BYTE or name in _OTHER_CHARSETS else None


def text_of(body: bytes, charset: str | None) -> str:
    """Return the body as text, damaged characters as U+FFFD; `charset` is the declared one."""
    # Many servers declare ISO-8859-1 by default, in which every body is valid, also one in UTF-8.
    order = (_UTF_8, charset) if charset in _ONE_BYTE else (charset, _UTF_8)
    for name in order:
        try:
            return body.decode(name or _UTF_8)
        except UnicodeError:
            continue
    damaged = body.decode(errors="replace")
    sample = damaged[: LIMITS.encoding_sample_characters]
    broken = sample.count("\ufffd")
    is_mostly_utf8 = broken * 2 <= sum(not character.isascii() for character in sample)
    if charset != _UTF_8:
        try:
            chinese = body.decode(_GB18030)
        except UnicodeError:
            pass
        else:
            intact = len(_CJK.findall(sample)) - broken
            needed = max(LIMITS.min_intact_cjk_characters, broken * LIMITS.intact_per_damaged_character)
            return damaged if intact >= needed else chinese
    return damaged if is_mostly_utf8 else body.decode(_GB18030, "replace")


def utf8_of(body: bytes, charset: str | None) -> bytes:
    """Return the body in UTF-8, unchanged if it is UTF-8 already."""
    try:
        if charset is None or charset == _UTF_8:
            body.decode()
            return body
    except UnicodeDecodeError:
        pass
    return text_of(body, charset).encode(errors="replace")


def repaired_json(body: bytes, charset: str | None) -> bytes | None:
    """Return strict JSON in UTF-8 for complete JSON in another encoding, with trailing characters, or malformed.

    Such a body is repaired because the call may have been billed. None if it is not JSON, or too long.
    """
    if not starts_as_json(body, charset):
        return None
    if charset in TRIED_AS_UTF_8 and (strict := strict_json(body)) is not None:
        return strict
    if len(body) > LIMITS.transcoded_bytes:
        return None
    text = utf8_of(body, charset)
    if (strict := strict_json(text)) is not None:
        return strict
    return lenient_json(text) if len(text) <= LIMITS.malformed_bytes else None


def starts_as_json(body: bytes, charset: str | None) -> bool:
    """Return whether a body in the declared charset starts as a JSON object, list or string."""
    if charset in TRIED_AS_UTF_8 and body.startswith((b"{", b"[")):
        return True
    return _JSON_START.match(body[: LIMITS.json_start_bytes].decode(charset or _UTF_8, "replace")) is not None


def strict_json(body: bytes) -> bytes | None:
    """Return the strict JSON in UTF-8 at the start of a body, without what follows; None if there is none."""
    body = body.removeprefix(_BOM)
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except NOT_JSON as error:
        trailing = _TRAILING.search(str(error))
        # msgspec names the byte after the first trailing one.
        return strict_json(body[: int(trailing[1]) - 1]) if trailing is not None else None
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    return body


def beginning_of(body: bytes, max_bytes: int) -> bytes:
    """Return the first `max_bytes` of a body, without an incomplete character at the end if it is UTF-8."""
    if len(body) <= max_bytes:
        return body
    piece = body[:max_bytes]
    try:
        return getincrementaldecoder("utf-8")().decode(piece).encode()
    except UnicodeDecodeError:
        return piece


def closed_json(text: str) -> str:
    """Return truncated JSON as a complete document: up to its last complete value or last string, and closed."""
    still_open: list[str] = []
    end, before = 0, ""
    for found in islice(_JSON_PIECE.finditer(text), LIMITS.closed_json_tokens):
        piece = found[0]
        is_value = before == ":" or still_open[-1:] == ["]"]
        match piece:
            case "{" | "[":
                still_open.append("}" if piece == "{" else "]")
                end = found.end()
            case "}" | "]":
                if still_open:
                    still_open.pop()
                end = found.end()
                if not still_open:
                    break
            case ",":
                end = found.start()
            case '"':
                if is_value:
                    text = _INCOMPLETE_ESCAPE.sub("", text) + '"'
                    end = len(text)
                break
            case _ if is_value:
                end = found.end()
        before = piece
    return text[:end] + "".join(reversed(still_open))


def lenient_json(body: bytes) -> bytes | None:
    """Return strict JSON for complete but malformed JSON, None if it is not JSON.

    Servers send raw control characters, lone surrogates, NaN or a byte order mark.
    """
    try:
        text = body.decode(errors="replace").removeprefix("\ufeff")
        content = json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=Decimal)
        # Only an escape can produce a lone surrogate.
        return _encode_exactly(_without_surrogates(content) if "\\ud" in text.lower() else content)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _without_surrogates(content: Any) -> Any:
    """Return JSON values without lone surrogates, which cannot be encoded."""
    match content:
        case str():
            return content.encode(errors="replace").decode()
        case dict():
            return {_without_surrogates(name): _without_surrogates(value) for name, value in content.items()}
        case list():
            return [_without_surrogates(value) for value in content]
        case _:
            return content
