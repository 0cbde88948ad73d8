"""The encoding of a reply, and JSON that is whole but breaks the rules.

JSON is UTF-8, yet gateways and older servers answer in the encodings of China. A charset that the reply declares
decides if the body is valid in it. Without one, text that is valid GB18030 and not UTF-8 is GB18030, unless it is a
long text in UTF-8 of which a few characters are damaged.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import codecs
import json
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)
_UTF_8 = "utf-8"
_GB18030 = "gb18030"
_CHINESE = {"gb2312", "gbk", _GB18030}
_ONE_BYTE = {"ascii", "iso8859-1", "cp1252"}
_OTHERS = {"big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}

_CJK = re.compile("[\u2e80-\uffef]")
_FEW, _SHARE = 8, 8
"""A text of at least this many CJK characters, of which at most one in so many is damaged, is UTF-8 after all."""

_SAMPLE = 200_000
"""Characters that tell the encoding of a damaged text."""

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


def careless_json(body: bytes) -> bytes | None:
    """Return strict JSON for what is whole but breaks the rules, None if it is no JSON; it may have been paid for.

    Servers send raw control characters, half an emoji, NaN or a byte order mark.
    """
    try:
        text = body.decode(errors="replace").removeprefix("\ufeff")
        content = json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=Decimal)
        return _encode_exactly(_without_halves(content))
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
