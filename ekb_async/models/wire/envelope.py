"""The envelope of a reply: an object with `value` or `items`, split without decoding its content.

A missing envelope is a `ResponseError` whose message names the member and never quotes the content. Unexpected values
inside the envelope are not an error.
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
from ekb_async.models.wire.limits import LIMITS

NOT_JSON = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""The exceptions that msgspec raises for bytes it cannot decode, excessive nesting included."""

MISSING = Raw(b"null")
"""The value of a member that the vendor left out."""

_INVOICE = "发票".encode()
"""A word in nearly every reply; in other encodings of Chinese, these bytes are not text."""
_beyond_two_bytes = re.compile("[\u0800-\U0010ffff]").search
"""Finds a character of three or more UTF-8 bytes, as Chinese ones are; one of two bytes may be another encoding's."""

_as_raw = msgspec.json.Decoder(Raw).decode
_as_list = msgspec.json.Decoder(list[Raw]).decode
_as_dict = msgspec.json.Decoder(dict[str, Raw]).decode


def document(body: bytes) -> Raw:
    """Decode a whole reply; raises `ResponseError` if it is not JSON in UTF-8."""
    check_encoding(body)
    return json_of(body)


def json_of(body: bytes | Raw) -> Raw:
    """Decode a part of a reply, or a stored one; raises `ResponseError` if it is not JSON."""
    try:
        return _as_raw(body)
    except NOT_JSON as error:
        raise ResponseError(f"this is not JSON: {error}", lost=True) from None


def check_encoding(body: bytes) -> None:
    """Raise `ResponseError` if the reply is not in UTF-8, judged by one word or by the first bytes that are not ASCII.

    A broken character behind these does not make another encoding; it affects at most the value that contains it.
    """
    # Not `in`, which first tries its left side as an integer, and drops the error. From the end, since replies end with
    # the entity, the schema of a line or the title of the invoice, which have the word.
    if body.isascii() or body.rfind(_INVOICE) >= 0:
        return
    start, step = 0, LIMITS.ascii_step_bytes
    while body[start : start + step].isascii():
        start += step
    try:
        words, _ = utf_8_decode(body[start : start + LIMITS.encoding_sample_bytes], "strict", False)
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
    """Return a decoder of the type, with fractions as Decimal if the type does not specify them."""
    return msgspec.json.Decoder(kind, float_hook=_exact).decode


_as_value = value_decoder(Any)


def value_of(raw: Raw | bytes | str) -> object:
    """Return the JSON value of `raw`, with fractions as Decimal; None if it cannot be decoded."""
    try:
        return _as_value(raw)
    except NOT_JSON:
        return None


def members(raw: Raw) -> dict[str, Raw]:
    """Return the members of an object; an empty dict if `raw` is not an object."""
    try:
        return _as_dict(raw)
    except NOT_JSON:
        return {}


class _Members(msgspec.Struct, gc=False):
    """The members that wrap others. Undeclared names are skipped without decoding, broken ones included."""

    value: Raw = MISSING
    items: Raw = MISSING
    invoices: Raw = MISSING
    master: Raw = MISSING
    form: Raw = MISSING
    details: Raw = MISSING


_as_members = msgspec.json.Decoder(_Members).decode


def member(raw: Raw, name: str) -> Raw:
    """Return one of the members that wrap others; null if it is missing or `raw` is not an object."""
    try:
        found: Raw = getattr(_as_members(raw), name)
    except NOT_JSON:
        return MISSING
    return found


def entries(raw: Raw) -> list[Raw]:
    """Return the entries of a list; an empty list if `raw` is not a list."""
    try:
        return _as_list(raw)
    except NOT_JSON:
        return []


def required_object(raw: Raw, name: Literal["value", "items"]) -> Raw:
    """Return the member `name`; raises `ResponseError` if it is not an object."""
    found = member(raw, name)
    if not _starts_with(found, b"{"):
        raise ResponseError(f"the reply has no object in `{name}`")
    return found


def required_list(raw: Raw, name: Literal["value", "items"]) -> list[Raw]:
    """Return the entries of the list `name`; raises `ResponseError` if it is not a list."""
    return as_list(member(raw, name), f"the reply has no list in `{name}`")


def as_list(raw: Raw, complaint: str) -> list[Raw]:
    """Return the entries of a list; raises `ResponseError` with `complaint` as its message if `raw` is not a list."""
    if not is_list(raw):
        raise ResponseError(complaint)
    listed = entries(raw)
    check_count(listed)
    return listed


def check_count(listed: Sized) -> None:
    """Raise `ResponseError` for a list longer than any call requests, before a model is created for each entry."""
    if len(listed) > LIMITS.max_list_entries:
        raise ResponseError(f"the reply lists more than {LIMITS.max_list_entries:,} entries")


def is_list(raw: Raw) -> bool:
    """Return whether this is a list."""
    return _starts_with(raw, b"[")


def is_null(raw: Raw) -> bool:
    """Return whether this is `null`."""
    return _starts_with(raw, b"n")


def _starts_with(raw: Raw, byte: bytes) -> bool:
    return memoryview(raw)[:1].tobytes() == byte
