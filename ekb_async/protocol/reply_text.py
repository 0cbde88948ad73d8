"""The encoding of a reply, and JSON that is whole but breaks the rules.

A reply may be of any length, and nothing here may hold up the loop. So what a long one is says its beginning; it is
brought into order only up to a length that takes a few hundredths of a second, and one that does not begin as JSON does
is not decoded as a whole.

JSON is UTF-8, yet gateways and older servers answer in the encodings of China. A charset that the reply declares
decides if the body is valid in it. Without one, text that is valid GB18030 and not UTF-8 is GB18030, unless it is a
long text in UTF-8 of which a few characters are damaged.

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

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)
_UTF_8 = "utf-8"
_GB18030 = "gb18030"
_CHINESE = {"gb2312", "gbk", _GB18030}
_ONE_BYTE = {"ascii", "iso8859-1", "cp1252"}
READ_AS_IT_IS = frozenset({None, _UTF_8, *_ONE_BYTE})
"""Declared charsets of which a body is taken for UTF-8 as long as it is valid in it."""
_OTHERS = {"big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}

_CJK = re.compile("[\u2e80-\uffef]")
_FEW, _SHARE = 8, 8
"""A text of at least this many CJK characters, of which at most one in so many is damaged, is UTF-8 after all."""

_SAMPLE = 200_000
"""Characters that tell the encoding of a damaged text."""

_MOST_TRANSCODED = 1_048_576
"""Bytes of JSON in another encoding; the largest documented reply is a few hundred kilobytes."""
_MOST_CARELESS = 262_144
"""Bytes of JSON that breaks the rules, which takes much longer to read."""
_BOM = b"\xef\xbb\xbf"
_OPENING = 8_192
_MOST_PIECES = 10_000
"""Brackets, marks and texts of a beginning that are looked at."""
_OPENS_JSON = re.compile(r'\ufeff?\s*+[{\["]')
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:"]', re.DOTALL)
_HALF_AN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*+\\(?:u[0-9a-fA-F]{0,3})?\Z")

_encode_exactly = msgspec.json.Encoder(decimal_format="number").encode


@lru_cache(maxsize=64)
def declared_charset(content_type: str) -> str | None:
    """Return the codec of a `Content-Type`; None if it names no charset, or one that no text is written in."""
    found = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(found[1]).name if found else ""
    except LookupError:
        return None
    if name in _CHINESE:
        return _GB18030
    return name if name == _UTF_8 or name in _ONE_BYTE or name in _OTHERS else None


def text_of(body: bytes, charset: str | None) -> str:
    """Return the body as text, damaged characters as U+FFFD; `charset` is the one that was declared."""
    # The default of many servers is ISO-8859-1, in which every body is valid, those in UTF-8 included.
    order = (_UTF_8, charset) if charset in _ONE_BYTE else (charset, _UTF_8)
    for name in order:
        try:
            return body.decode(name or _UTF_8)
        except UnicodeError:
            continue
    damaged = body.decode(errors="replace")
    sample = damaged[:_SAMPLE]
    broken = sample.count("\ufffd")
    is_mostly_utf8 = broken * 2 <= sum(not character.isascii() for character in sample)
    if charset != _UTF_8:
        try:
            chinese = body.decode(_GB18030)
        except UnicodeError:
            pass
        else:
            whole = len(_CJK.findall(sample)) - broken
            return damaged if whole >= max(_FEW, broken * _SHARE) else chinese
    return damaged if is_mostly_utf8 else body.decode(_GB18030, "replace")


def utf8_of(body: bytes, charset: str | None) -> bytes:
    """Return the body in UTF-8, byte for byte as it came if it is."""
    try:
        if charset is None or charset == _UTF_8:
            body.decode()
            return body
    except UnicodeDecodeError:
        pass
    return text_of(body, charset).encode(errors="replace")


def in_order(body: bytes, charset: str | None) -> bytes | None:
    """Return strict JSON in UTF-8 for what is whole JSON in another encoding, has something behind it, or breaks the
    rules; it may have been paid for. None if it is no JSON, or too long.
    """
    if not opens_json(body, charset):
        return None
    if charset in READ_AS_IT_IS and (whole := whole_json(body)) is not None:
        return whole
    if len(body) > _MOST_TRANSCODED:
        return None
    text = utf8_of(body, charset)
    if (whole := whole_json(text)) is not None:
        return whole
    return careless_json(text) if len(text) <= _MOST_CARELESS else None


def opens_json(body: bytes, charset: str | None) -> bool:
    """Whether a body begins as an object, a list or a text of JSON does, of this declared charset."""
    if charset in READ_AS_IT_IS and body.startswith((b"{", b"[")):
        return True
    return _OPENS_JSON.match(body[:_OPENING].decode(charset or _UTF_8, "replace")) is not None


def whole_json(body: bytes) -> bytes | None:
    """Return the JSON that a body is, or begins with; None if it is not strict JSON in UTF-8."""
    body = body.removeprefix(_BOM)
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except NOT_JSON as error:
        trailing = _TRAILING.search(str(error))
        # The message names the byte after the first one that is too many.
        return whole_json(body[: int(trailing[1]) - 1]) if trailing is not None else None
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    return body


def beginning_of(body: bytes, most: int) -> bytes:
    """Return the beginning of a body, without a half of a character at its end if it is UTF-8."""
    if len(body) <= most:
        return body
    piece = body[:most]
    try:
        return getincrementaldecoder("utf-8")().decode(piece).encode()
    except UnicodeDecodeError:
        return piece


def ended_json(text: str) -> str:
    """Return the beginning of a JSON document up to the last value that is whole, or is a text and begun, with all that
    is open closed.
    """
    still_open: list[str] = []
    end, before = 0, ""
    for found in islice(_JSON_PIECE.finditer(text), _MOST_PIECES):
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
                    text = _HALF_AN_ESCAPE.sub("", text) + '"'
                    end = len(text)
                break
            case _ if is_value:
                end = found.end()
        before = piece
    return text[:end] + "".join(reversed(still_open))


def careless_json(body: bytes) -> bytes | None:
    """Return strict JSON for what is whole but breaks the rules, None if it is no JSON; it may have been paid for.

    Servers send raw control characters, half an emoji, NaN or a byte order mark.
    """
    try:
        text = body.decode(errors="replace").removeprefix("\ufeff")
        content = json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=Decimal)
        # Only an escape makes half a character.
        return _encode_exactly(_without_halves(content) if "\\ud" in text.lower() else content)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _without_halves(content: Any) -> Any:
    """Return JSON values without halves of characters, which no encoding has."""
    match content:
        case str():
            return content.encode(errors="replace").decode()
        case dict():
            return {_without_halves(name): _without_halves(value) for name, value in content.items()}
        case list():
            return [_without_halves(value) for value in content]
        case _:
            return content
