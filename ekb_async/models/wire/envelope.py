"""The wrapping of a reply: an object with `value` or `items`, taken apart without reading what is inside.

A wrapping that is not there is a `ResponseError`, whose message tells the place and never the content. Anything odd
further in is not an error.
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Callable, Sized
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models.wire.exact import decimal_of

NOT_JSON = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises for bytes it cannot read, nesting without end included."""

MISSING = Raw(b"null")
"""What the vendor left out."""

_INVOICE = "发票".encode()
"""A word of nearly every reply; in other encodings of Chinese, these bytes are no words at all."""
MOST_ENTRIES = 20_000
"""Entries of a list that are read. The lines of all invoices of a request are fewer, as they come in 64 MB at most."""
_STEP, _WORDS = 200, 300
"""Bytes among which the first that is not ASCII is looked for, and bytes that tell the encoding then."""
_beyond_two_bytes = re.compile("[\u0800-\U0010ffff]").search
"""A character that takes three bytes in UTF-8, as every Chinese one does; two bytes may be one of another encoding."""

_as_raw = msgspec.json.Decoder(Raw).decode
_as_list = msgspec.json.Decoder(list[Raw]).decode
_as_dict = msgspec.json.Decoder(dict[str, Raw]).decode


def document(body: bytes) -> Raw:
    """The whole reply; raises `ResponseError` if it is not JSON in UTF-8."""
    check_encoding(body)
    return json_of(body)


def json_of(body: bytes | Raw) -> Raw:
    """What was cut out of a reply, or read from a store; raises `ResponseError` if it is not JSON."""
    try:
        return _as_raw(body)
    except NOT_JSON as error:
        raise ResponseError(f"this is not JSON: {error}", lost=True) from None


def check_encoding(body: bytes) -> None:
    """Raise `ResponseError` if the reply is not in UTF-8, told by a word or by the first that are not ASCII.

    A broken character further in is in the right encoding, and costs at most the value that it stands in.
    """
    if body.isascii() or _INVOICE in body:
        return
    start = 0
    while body[start : start + _STEP].isascii():
        start += _STEP
    try:
        words, _ = utf_8_decode(body[start : start + _WORDS], "strict", False)
        if not _beyond_two_bytes(words):
            utf_8_decode(body, "strict", True)
    except UnicodeError:
        raise ResponseError("the reply is not UTF-8", lost=True) from None


def _exact(digits: str) -> Decimal | str:
    try:
        return decimal_of(digits)
    except InvalidOperation:
        return digits


@cache
def value_decoder(kind: Any) -> Callable[[Raw | bytes | str], Any]:
    """A decoder of the type, with fractions as Decimal where the type leaves it open."""
    return msgspec.json.Decoder(kind, float_hook=_exact).decode


_as_value = value_decoder(Any)


def value_of(raw: Raw | bytes | str) -> object:
    """The JSON value of `raw`, with fractions as Decimal; None if no value can be made of it."""
    try:
        return _as_value(raw)
    except NOT_JSON:
        return None


def members(raw: Raw) -> dict[str, Raw]:
    """The members of an object; none if it is no object."""
    try:
        return _as_dict(raw)
    except NOT_JSON:
        return {}


class _Members(msgspec.Struct, gc=False):
    """The members that wrap others. Names that are not declared are skipped unread, broken ones included."""

    value: Raw = MISSING
    items: Raw = MISSING
    invoices: Raw = MISSING
    master: Raw = MISSING
    form: Raw = MISSING
    details: Raw = MISSING


_as_members = msgspec.json.Decoder(_Members).decode


def member(raw: Raw, name: str) -> Raw:
    """One of the members that wrap others; null if there is none, or this is no object."""
    try:
        found: Raw = getattr(_as_members(raw), name)
    except NOT_JSON:
        return MISSING
    return found


def entries(raw: Raw) -> list[Raw]:
    """The entries of a list; none if it is no list."""
    try:
        return _as_list(raw)
    except NOT_JSON:
        return []


def required_object(raw: Raw, name: Literal["value", "items"]) -> Raw:
    """The member `name`; raises `ResponseError` if that is not an object."""
    found = member(raw, name)
    if not _opens_with(found, b"{"):
        raise ResponseError(f"the reply has no object in `{name}`")
    return found


def required_list(raw: Raw, name: Literal["value", "items"]) -> list[Raw]:
    """The entries of the list `name`; raises `ResponseError` if that is not a list."""
    return as_list(member(raw, name), f"the reply has no list in `{name}`")


def as_list(raw: Raw, complaint: str) -> list[Raw]:
    """The entries of a list; raises `ResponseError` with `complaint` if it is none."""
    if not is_list(raw):
        raise ResponseError(complaint)
    listed = entries(raw)
    check_count(listed)
    return listed


def check_count(listed: Sized) -> None:
    """Raise `ResponseError` for a list that is longer than any that a call asks for, before a model is made of each."""
    if len(listed) > MOST_ENTRIES:
        raise ResponseError(f"the reply lists more than {MOST_ENTRIES:,} entries")


def is_list(raw: Raw) -> bool:
    """Whether this is a list."""
    return _opens_with(raw, b"[")


def is_null(raw: Raw) -> bool:
    """Whether this is `null`."""
    return _opens_with(raw, b"n")


def _opens_with(raw: Raw, bracket: bytes) -> bool:
    return memoryview(raw)[:1].tobytes() == bracket
