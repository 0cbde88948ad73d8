"""What a reply says went wrong: its code, its text, and what support can look up.

The vendor's errors come in five shapes: a flat object, one under `value`, a newer gateway's `code` and `msg`, bare
text, and a gateway's page. The code and the text are looked for in whatever came (see `error_places`). Of a long
 body the beginning is read, and where that has no text the members of an error behind its long parts. What is
handed out is cut.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models.wire.envelope import MISSING, NOT_JSON, json_of, value_of
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.error_places import CODE_LENGTH, is_success, places_in, written
from ekb_async.protocol.reply_text import (
    beginning_of,
    careless_json,
    ended_json,
    opens_json,
    text_of,
    utf8_of,
    whole_json,
)
from ekb_async.redaction.quoting import spellings

_MOST_JSON = 65_536
"""Bytes of a body that are read; a longer one is JSON as far as it goes."""
_MOST_TEXT = 20_000
_MOST_LONG = 4_194_304
"""Bytes of a body that are searched for a text behind parts that are longer than what is read."""
TEXT_LENGTH, DETAILS_LENGTH = 4_000, 8_000

_DETAILS = ("errorDetails", "errorDetail")
_REQUEST_IDS = ("requestId", "traceId", "request_id")

_NOTHING_FOUND = re.compile(
    r"(?:[未没无]有?|暂无)能?(?:识别|查询|查|找|检索|搜索|匹配|检测|发现|提取)?[到出]?"
    r"[任何相关有效可用识别的符合条件对应匹配图片文件中该此]{0,8}"
    r"(?:(?:数据|记录|结果|发票|票据|明细|内容)(?:信息|列表)?|(?<=到))(?!\w)"
    r"|(?:结果|列表|返回数据)为空|查无此?(?:票|发票|数据|记录|结果)(?!\w)|(?:不含|不是|非)发票(?:图片)?(?!\w)|共\s*0\s*[条张]"
    r"|\b(?:no|0) (?:valid |matching )?(?:data|records?|results?|items?|invoices?)"
    r"(?: (?:was |were )?(?:found|detected|recogni[sz]ed|available))?(?=\W*$|[,;.])"
    r"|^\W*(?:(?:data|records?|results?|items?|invoices?) )?not found\W*$",
    re.IGNORECASE,
)
"""A text that what was looked for is not there, which a permission, a person or an enterprise never is."""
_CONDITION = re.compile(r"权限|授权|开通|登录|失败|错误|异常|频繁|限流|稍[后候]|第三方")
"""Beside which a text that nothing was found is about something else."""
_HTTP_STATUS = re.compile(r"[45]\d\d")
_STATUS_IN_TEXT = re.compile(
    r"\W{0,9}(?:error|http(?:/[\d.]{1,3})?)?\W{0,9}([45]\d\d)(?=\W{0,9}(?:$|[a-z]))", re.IGNORECASE | re.ASCII
)
_PAGE = re.compile(r"<(?:!doctype|html|head|body|title|h1)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^<>]{0,200}>([^<]{0,1000})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,1000}>")
_CJK = re.compile("[\u4e00-\u9fff]")


class Refusal(NamedTuple):
    """An error as it stands in a reply, unmasked; `code` is None and `text` "" where there is none."""

    code: str | None = None
    text: str = ""
    details: str = ""
    request_id: str = ""
    is_json: bool = False
    is_page: bool = False
    is_words: bool = False
    """Whether it is bare text that a person can read."""
    is_open: bool = True
    """Whether its text may be an error where no code says so: nothing beside it says that all went well."""
    has_failed: bool = False
    """Whether a member of its own says that the call did not succeed."""
    is_documented: bool = False
    """Whether it has the members of an error that the vendor documents."""

    @property
    def is_an_error(self) -> bool:
        """Whether this is an error, when it stands where a result should."""
        if self.is_json:
            return self.code is not None or bool(self.text and not is_success(self.text))
        return self.is_words

    @property
    def contradicts_an_empty_result(self) -> bool:
        """Whether this is an error, when it stands beside a result with nothing in it."""
        if self.has_failed or (self.code is not None and _HTTP_STATUS.match(self.code)):
            return True
        says_nothing_else = is_success(self.text) or _says_that_nothing_was_found(self.text)
        if self.text and (self.is_open or self.code is not None):
            return self.is_json and not says_nothing_else
        return self.code is not None

    def http_status(self, text: str) -> int | None:
        """The HTTP status that the code repeats, as in `403` or `403001`, or with which a bare `text` begins."""
        if self.code is not None:
            found = _HTTP_STATUS.match(self.code)
            return int(found[0]) if found else None
        stated = None if self.is_json else _STATUS_IN_TEXT.match(text)
        return int(stated[1]) if stated else None

    @property
    def is_the_vendors(self) -> bool:
        """Whether the vendor's own application has answered, and not something on the way to it.

        It writes an object with the members that are documented for its errors, or Chinese. Whatever else comes, an
        empty object and an English one with a code included, may be a gateway's.
        """
        return self.is_documented or (_CJK.search(self.text) is not None and not self.is_page)


def refusal_in(body: bytes, charset: str | None) -> Refusal:
    """Return the error that stands in a body, as far as there is one."""
    found = _json(body, charset)
    if found is None:
        return _bare(text_of(beginning_of(body, _MOST_TEXT), charset))
    value = value_of(found) if bytes(memoryview(found)[:1]) not in {b"{", b"["} else None
    if isinstance(value, str):
        return _bare(value)
    refusal = _in_json(found)
    if (refusal.text and refusal.is_open) or not _MOST_JSON < len(body) <= _MOST_LONG:
        return refusal
    short = _without_long_parts(body)
    further = _in_json(json_of(msgspec.json.encode(short)))
    return further._replace(details=refusal.details, request_id=refusal.request_id) if further.is_an_error else refusal


def classified_text(text: str, request: Request[Any], misleads: Callable[[str], bool]) -> str:
    """Return the text without what the request had in it: a file's name that is quoted says nothing about the error.

    Of a part that `misleads`, less than the whole may be quoted: a name without its suffix, a folder, a value.
    """
    text = unescape(text)
    sent = list(_sent(request))
    parts = {part for each in sent for part in _parts(each) if misleads(part)}
    quoted = sorted({spelling for each in (*sent, *parts) for spelling in spellings(each)}, key=len, reverse=True)
    if not quoted:
        return text
    left = re.sub("|".join(map(re.escape, quoted)), " ", text, flags=re.IGNORECASE)
    # A file may be called what the vendor says.
    return left if re.search(r"\w", left) else text


def _parts(sent: str) -> Iterator[str]:
    """Yield the segments of a path, the values of a query and the words of a name that was sent."""
    for part in re.split(r"[/?&=#]", unquote(unquote(sent))):
        yield part
        yield from (word for word in re.split(r"[\s+_.,;·-]+", part) if word != part)


def _json(body: bytes, charset: str | None) -> Raw | None:
    text = utf8_of(beginning_of(body, _MOST_JSON), charset)
    if not opens_json(text, None):
        try:
            return json_of(text)
        except ResponseError:
            return None
    if len(body) > _MOST_JSON:
        text = ended_json(text.decode(errors="replace")).encode()
    strict = whole_json(text) or careless_json(text)
    return None if strict is None else json_of(strict)


def _says_that_nothing_was_found(text: str) -> bool:
    return _NOTHING_FOUND.search(text) is not None and _CONDITION.search(text) is None


class _Long(msgspec.Struct, gc=False):
    """The members of an error that are looked for behind a long one. All others are skipped unread."""

    errorCode: Raw = MISSING  # noqa: N815 - as on the wire
    errorMessage: Raw = MISSING  # noqa: N815
    errorMsg: Raw = MISSING  # noqa: N815
    code: Raw = MISSING
    message: Raw = MISSING
    msg: Raw = MISSING
    value: Raw = MISSING
    data: Raw = MISSING
    error: Raw = MISSING


_as_long = msgspec.json.Decoder(_Long).decode


def _without_long_parts(body: bytes | Raw, levels: int = 2) -> dict[str, object]:
    """Return the members of an error, however long those are that stand before them."""
    try:
        found = _as_long(body)
    except NOT_JSON:
        return {}
    short: dict[str, object] = {}
    for name in _Long.__struct_fields__:
        raw: Raw = getattr(found, name)
        length = len(memoryview(raw))
        if length <= _MOST_JSON:
            short[name] = raw
        elif levels and bytes(memoryview(raw)[:1]) == b"{":
            short[name] = _without_long_parts(raw, levels - 1)
    return short


def _bare(text: str) -> Refusal:
    if _PAGE.search(text):
        title = _TITLE.search(text)
        return Refusal(text=_line(title[2] if title else _TAG.sub(" ", text)), is_page=True)
    words = _line(text)
    is_words = bool(words) and not words.startswith(("{", "[", "<", '"')) and all(map(_is_readable, words))
    return Refusal(text=words, is_words=is_words)


def _line(text: str) -> str:
    return " ".join(text[:_MOST_TEXT].split())[:TEXT_LENGTH]


def _is_readable(character: str) -> bool:
    return character.isprintable() and character != "\ufffd"


def _in_json(found: Raw) -> Refusal:
    places, objects = zip(*places_in(found), strict=True)
    if not any(objects) and not any(place.text for place in places):
        return Refusal(is_json=True)
    best, *_ = by_weight = sorted(places, key=lambda place: place.weight, reverse=True)
    code = next((place.code for place in by_weight if place.code), None) or _status_member(objects[0])
    return Refusal(
        code=code,
        text=next((place.text for place in by_weight if place.text), "")[:TEXT_LENGTH],
        details=_first(objects, _DETAILS)[:DETAILS_LENGTH],
        request_id=_first(objects, _REQUEST_IDS)[:CODE_LENGTH],
        is_json=True,
        is_open=best.is_open,
        has_failed=any(place.has_failed for place in places),
        is_documented=any(place.is_documented for place in places),
    )


def _status_member(found: dict[str, Raw]) -> str | None:
    """Return the `status` of a framework's own error object, a number beside an `error`."""
    status = written(found["status"]) if "status" in found and "error" in found else ""
    return status if _HTTP_STATUS.fullmatch(status) else None


def _first(objects: tuple[dict[str, Raw], ...], names: tuple[str, ...]) -> str:
    """Return the first of these members that holds anything, as text."""
    for found in objects:
        for name in names:
            value = value_of(raw) if bytes(memoryview(raw := found.get(name, MISSING))[:1]) == b'"' else None
            text = value.strip() if isinstance(value, str) else _written_object(raw)
            if text:
                return text
    return ""


def _written_object(raw: Raw) -> str:
    head = bytes(memoryview(raw)[: DETAILS_LENGTH + 1])
    return "" if head in {b"null", b'""', b"{}", b"[]"} else head.decode("utf-8", "replace")


def _sent(request: Request[Any]) -> Iterator[str]:
    """Yield the texts that went out with a request."""
    if request.upload is not None:
        yield request.upload.name
    if request.body is not None:
        yield from _strings(msgspec.json.decode(request.body))
    yield from (segment for segment in request.path.split("/") if segment not in request.endpoint.path.split("/"))


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
