"""Read the error in a reply: its code, its text, and the identifiers that support can look up.

The vendor's errors come in five shapes: a flat object, an object under `value`, a newer gateway's `code` and `msg`,
bare text, and a gateway's HTML page. The whole body is searched for the code and the text (see `error_places`). Of a
long body only the beginning is read; if that has no text, error members behind long members are read as well. All
texts returned are truncated.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from itertools import islice
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models.wire.envelope import MISSING, NOT_JSON, json_of
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.error_places import HTTP_STATUS, Refusal, code_text, error_candidates, text_in
from ekb_async.protocol.limits import LIMITS
from ekb_async.protocol.reply_text import beginning_of, closed_json, repaired_json, starts_as_json, text_of, utf8_of
from ekb_async.redaction.quoting import quoted_forms

_DETAILS = ("errorDetails", "errorDetail")
_REQUEST_IDS = ("requestId", "traceId", "request_id")

_PAGE = re.compile(r"<(?:!doctype|html|head|body|title|h1)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^<>]{0,200}>([^<]{0,1000})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,1000}>")


def refusal_in(body: bytes, charset: str | None) -> Refusal:
    """Return the error in a body; it is empty if there is none."""
    found = _json(body, charset)
    if found is None:
        return _from_text(text_of(beginning_of(body, LIMITS.bare_text_characters), charset))
    if text := text_in(found):
        return _from_text(text)
    refusal = _from_json(found)
    is_long = LIMITS.error_json_bytes < len(body) <= LIMITS.long_error_bytes
    if (refusal.text and refusal.may_be_error_without_code) or not is_long:
        return refusal
    short = _short_members(body)
    further = _from_json(json_of(msgspec.json.encode(short)))
    return further._replace(details=refusal.details, request_id=refusal.request_id) if further.is_an_error else refusal


def text_to_classify(text: str, request: Request[Any], is_misleading: Callable[[str], object]) -> str:
    """Return the text without quotations of the request, since a quoted file name says nothing about the error.

    `is_misleading` decides about parts of what was sent, such as a name without its suffix, a folder or a value: those
    for which it returns something true are removed as well.
    """
    text = unescape(text)
    sent = list(_texts_sent(request))
    parts = {part for each in sent for part in _parts(each) if is_misleading(part)}
    quoted = sorted({form for each in (*sent, *parts) for form in quoted_forms(each)}, key=len, reverse=True)
    if not quoted:
        return text
    rest = re.sub("|".join(map(re.escape, quoted)), " ", text, flags=re.IGNORECASE)
    # A file may be named exactly like the vendor's message.
    return rest if re.search(r"\w", rest) else text


def _parts(sent: str) -> Iterator[str]:
    """Yield the path segments, query values and words of a text that was sent."""
    for part in re.split(r"[/?&=#]", unquote(unquote(sent))):
        yield part
        yield from (word for word in re.split(r"[\s+_.,;·-]+", part) if word != part)


def _json(body: bytes, charset: str | None) -> Raw | None:
    text = utf8_of(beginning_of(body, LIMITS.error_json_bytes), charset)
    if len(body) > LIMITS.error_json_bytes and starts_as_json(text, None):
        text = closed_json(text.decode(errors="replace")).encode()
    try:
        return json_of(repaired_json(text, None) or text)
    except ResponseError:
        return None


class _ErrorMembers(msgspec.Struct, gc=False):
    """The members of an error that are read from a long body. All others are skipped."""

    errorCode: Raw = MISSING  # noqa: N815 - as on the wire
    errorMessage: Raw = MISSING  # noqa: N815
    errorMsg: Raw = MISSING  # noqa: N815
    code: Raw = MISSING
    message: Raw = MISSING
    msg: Raw = MISSING
    value: Raw = MISSING
    data: Raw = MISSING
    error: Raw = MISSING


_read_error_members = msgspec.json.Decoder(_ErrorMembers).decode


def _short_members(body: bytes | Raw, levels: int = 2) -> dict[str, object]:
    """Return the members of an error without the long ones, reading up to `levels` levels of objects."""
    try:
        found = _read_error_members(body)
    except NOT_JSON:
        return {}
    short: dict[str, object] = {}
    for name in _ErrorMembers.__struct_fields__:
        raw: Raw = getattr(found, name)
        length = len(memoryview(raw))
        if length <= LIMITS.error_json_bytes:
            short[name] = raw
        elif levels and bytes(memoryview(raw)[:1]) == b"{":
            short[name] = _short_members(raw, levels - 1)
    return short


def _from_text(text: str) -> Refusal:
    if _PAGE.search(text):
        title = _TITLE.search(text)
        return Refusal(text=_one_line(title[2] if title else _TAG.sub(" ", text)), is_page=True)
    line = _one_line(text)
    is_text = bool(line) and not line.startswith(("{", "[", "<", '"')) and all(map(_is_readable, line))
    return Refusal(text=line, is_readable_text=is_text)


def _one_line(text: str) -> str:
    return " ".join(text[: LIMITS.bare_text_characters].split())[: LIMITS.message_characters]


def _is_readable(character: str) -> bool:
    return character.isprintable() and character != "\ufffd"


def _from_json(found: Raw) -> Refusal:
    candidates, objects = zip(*error_candidates(found), strict=True)
    if not any(objects) and not any(each.text for each in candidates):
        return Refusal(is_json=True)
    by_weight: list[Refusal] = sorted(candidates, key=lambda each: each.weight, reverse=True)
    code = next((each.code for each in by_weight if each.code), None) or _status_member(objects[0])
    return by_weight[0]._replace(
        code=code,
        text=next((each.text for each in by_weight if each.text), "")[: LIMITS.message_characters],
        details=_first(objects, _DETAILS)[: LIMITS.details_characters],
        request_id=_first(objects, _REQUEST_IDS)[: LIMITS.code_characters],
        reports_failure=any(each.reports_failure for each in candidates),
        is_documented=any(each.is_documented for each in candidates),
    )


def _status_member(found: dict[str, Raw]) -> str | None:
    """Return the `status` of a web framework's error object, a number beside the member `error`."""
    status = code_text(found["status"]) if "status" in found and "error" in found else ""
    return status if HTTP_STATUS.fullmatch(status) else None


def _first(objects: tuple[dict[str, Raw], ...], names: tuple[str, ...]) -> str:
    """Return the first of these members that is not empty, as text."""
    for found in objects:
        for name in names:
            raw = found.get(name, MISSING)
            if text := text_in(raw) or _json_text(raw):
                return text
    return ""


def _json_text(raw: Raw) -> str:
    head = bytes(memoryview(raw)[: LIMITS.details_characters + 1])
    return "" if head in {b"null", b"{}", b"[]"} or head[:1] == b'"' else head.decode("utf-8", "replace")


def _texts_sent(request: Request[Any]) -> Iterator[str]:
    """Yield the texts that a request carries, the first of very many, each to a limited length."""
    return (text[: LIMITS.quoted_characters] for text in islice(_all_texts_sent(request), LIMITS.quoted_texts))


def _all_texts_sent(request: Request[Any]) -> Iterator[str]:
    if request.upload is not None:
        yield request.upload.name
    yield from (value for _, value in request.query if not value.isdecimal())
    template = request.endpoint.path.split("/")
    for segment in request.path.split("/"):
        if segment not in template:
            yield segment
        if "%" in segment:
            yield unquote(segment)
    if request.body is not None:
        yield from _strings(msgspec.json.decode(request.body))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for item in value.values():
                yield from _strings(item)
