"""What a reply says went wrong: its code, its text, and what support can look up.

The vendor's errors come in five shapes: a flat object, one under `value`, a newer gateway's `code` and `msg`, bare
text, and a gateway's page. So the code and the text are looked for in whatever came, under any of their names, at the
top and under `value`, `data` and `error`. Only the beginning of a long body is read, and what is handed out is cut.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from msgspec import Raw

from ekb_async.calls import Request
from ekb_async.errors import ResponseError
from ekb_async.models.envelope import MISSING, entries, json_of, members, value_of
from ekb_async.reply_text import careless_json, text_of, utf8_of

_MOST_JSON = 65_536
"""Bytes of a body that are read; a longer one is JSON as far as it goes."""
_MOST_TEXT = 20_000
CODE_LENGTH, TEXT_LENGTH, DETAILS_LENGTH = 1_000, 4_000, 8_000

_NESTED = ("value", "data", "error")
_OWN_CODE, _OWN_TEXTS = ("errorCode",), ("errorMessage", "errorMsg")
_CODES, _TEXTS = (*_OWN_CODE, "code"), (*_OWN_TEXTS, "message", "msg")
_ENTRY = frozenset({"id", "master", "masterId", "details", "type", "ischeck", "invoiceId", "key", "url"})
"""Members of which an entry of a result has one at least."""
_DETAILS = ("errorDetails", "errorDetail")
_REQUEST_IDS = ("requestId", "traceId")

_NO_CODE = re.compile(r"null|false|\[.*|\{.*|", re.DOTALL)
_SUCCESS_CODE = re.compile(r"(?:0+|20\d)(?:\.0+)?|true|ok|success", re.IGNORECASE)
_SUCCESS_TEXT = re.compile(r"\W*(?:ok|success\w{0,5}|(?:(?![不未没])\w){0,8}成功)\W*", re.IGNORECASE)
_NOTHING_FOUND = re.compile(
    r"(?:未|没有?)能?(?:识别|查询|查|找|检索|搜索|匹配)到|(?:没有|无|暂无)(?:任何|相关)?(?:数据|记录|结果|发票|明细)|结果为空|共\s*0\s*[条张]"
    r"|\b(?:no|0) (?:data|records?|results?|items?)\b|\bnot found\b",
    re.IGNORECASE,
)
_HTTP_STATUS = re.compile(r"[45]\d\d")
_STATUS_IN_TEXT = re.compile(
    r"\W{0,9}(?:error|http(?:/[\d.]{1,3})?)?\W{0,9}([45]\d\d)(?=\W{0,9}(?:$|[a-z]))", re.IGNORECASE | re.ASCII
)
_PAGE = re.compile(r"<(?:!doctype|html|head|body|title|h1)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^<>]{0,200}>([^<]{0,1000})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,1000}>")
_JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}"]', re.DOTALL)
_HALF_AN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*+\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CJK = re.compile("[\u4e00-\u9fff]")


class Refusal(NamedTuple):
    """An error as it stands in a reply, unmasked; `code` is None and `text` "" where there is none."""

    code: str | None = None
    text: str = ""
    details: str = ""
    request_id: str = ""
    is_json: bool = False
    is_object: bool = True
    """Whether JSON has an object in it, which a lone null, number or empty list has not."""
    is_page: bool = False
    is_words: bool = False
    """Whether it is bare text that a person can read."""
    is_open: bool = True
    """Whether its text may be an error where no code says so: nothing beside it says that all went well."""
    has_failed: bool = False
    """Whether a member of its own says that the call did not succeed."""

    @property
    def is_an_error(self) -> bool:
        """Whether this is an error, when it stands where a result should."""
        if self.is_json:
            return self.code is not None or bool(self.text and not _SUCCESS_TEXT.fullmatch(self.text))
        return self.is_words

    @property
    def contradicts_an_empty_result(self) -> bool:
        """Whether this is an error, when it stands beside a result with nothing in it."""
        if self.has_failed or (self.code is not None and _HTTP_STATUS.match(self.code)):
            return True
        says_no = not _SUCCESS_TEXT.fullmatch(self.text) and not _NOTHING_FOUND.search(self.text)
        return self.is_json and self.is_open and bool(self.text) and says_no

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

        It writes an object, or Chinese; a gateway writes a page, English, an object with a lone `message`, or nothing.
        """
        if _CJK.search(self.text) and not self.is_page:
            return True
        return self.is_json and self.is_object and (self.code is not None or not self.text)


def refusal_in(body: bytes, charset: str | None) -> Refusal:
    """Return the error that stands in a body, as far as there is one."""
    found = _json(body, charset)
    if found is None:
        return _bare(text_of(_beginning(body, _MOST_TEXT), charset))
    value = value_of(found) if bytes(memoryview(found)[:1]) not in {b"{", b"["} else None
    if isinstance(value, str):
        return _bare(value)
    return _in_json(found)


def classified_text(text: str, request: Request[Any], misleads: Callable[[str], bool]) -> str:
    """Return the text without what the request had in it: a file's name that is quoted says nothing about the error.

    Of a part that `misleads`, less than the whole may be quoted: a name without its suffix, a folder, a value.
    """
    text = unescape(text)
    sent = list(_sent(request))
    parts = {part for each in sent for part in _parts(each) if misleads(part)}
    quoted = sorted({spelling for each in (*sent, *parts) for spelling in _spellings(each)}, key=len, reverse=True)
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


def names_what_was_sent(text: str, sent: str) -> bool:
    """Whether a text quotes this one."""
    return any(spelling.casefold() in text.casefold() for spelling in _spellings(sent))


def _beginning(body: bytes, most: int) -> bytes:
    """Return the beginning of a body, without a half of a character at its end if it is UTF-8."""
    if len(body) <= most:
        return body
    piece = body[:most]
    try:
        return getincrementaldecoder("utf-8")().decode(piece).encode()
    except UnicodeDecodeError:
        return piece


def _json(body: bytes, charset: str | None) -> Raw | None:
    text = utf8_of(_beginning(body, _MOST_JSON), charset)
    if len(body) > _MOST_JSON and text.lstrip().startswith((b"{", b"[")):
        text = _ended(text.decode(errors="replace")).encode()
    try:
        text.decode()
        return json_of(text)
    except (UnicodeDecodeError, ResponseError):
        if not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[", b'"')):
            return None
        strict = careless_json(text)
        return None if strict is None else json_of(strict)


def _ended(text: str) -> str:
    """Return the beginning of a JSON document with a string it ends in, and all that is open, closed."""
    still_open: list[str] = []
    for found in _JSON_PIECE.finditer(text):
        match found[0]:
            case "{":
                still_open.append("}")
            case "[":
                still_open.append("]")
            case "}" | "]" if still_open:
                still_open.pop()
            case '"':
                text = _HALF_AN_ESCAPE.sub("", text) + '"'
                break
    return text + "".join(reversed(still_open))


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


class _Place(NamedTuple):
    """What one object in a reply says."""

    code: str | None
    text: str
    is_open: bool
    has_failed: bool

    @property
    def weight(self) -> int:
        return 2 * (self.code is not None) + bool(self.text and not _SUCCESS_TEXT.fullmatch(self.text))


def _in_json(found: Raw) -> Refusal:
    objects = list(_objects(found))
    places = [_place(each, is_entry=is_entry) for each, is_entry in objects]
    if not places:
        return Refusal(is_json=True, is_object=False)
    best, *_ = by_weight = sorted(places, key=lambda place: -place.weight)
    first = objects[0][0]
    code = next((place.code for place in by_weight if place.code), None) or _status_member(first)
    text = next((place.text for place in by_weight if place.text), "") or _text(first.get("error"))
    return Refusal(
        code=code,
        text=text[:TEXT_LENGTH],
        details=_first(objects, _DETAILS)[:DETAILS_LENGTH],
        request_id=_first(objects, _REQUEST_IDS)[:CODE_LENGTH],
        is_json=True,
        is_open=best.is_open,
        has_failed=any(place.has_failed for place in places),
    )


def _objects(found: Raw) -> Iterator[tuple[dict[str, Raw], bool]]:
    """Yield the objects an error may stand in, the outermost first, each with whether it is an entry of a list."""
    if bytes(memoryview(found)[:1]) == b"[":
        yield from _first_entry(found)
        return
    level = [members(found)]
    yield level[0], False
    for _ in range(2):
        level = [inner for outer in level for name in _NESTED if (inner := members(outer.get(name, MISSING)))]
        yield from ((inner, False) for inner in level)
    value = members(members(found).get("value", MISSING))
    # The documents of a search are lists under their codes.
    for listed in (members(found).get("items", MISSING), value.get("invoices", MISSING), *value.values()):
        yield from _first_entry(listed)


def _first_entry(listed: Raw) -> Iterator[tuple[dict[str, Raw], bool]]:
    first = next(iter(entries(listed)), None)
    if first is not None and (inner := members(first)):
        yield inner, True


def _place(found: dict[str, Raw], *, is_entry: bool) -> _Place:
    # An entry of a result has a `message` and a `code` of its own, beside what makes it an entry.
    codes, texts = (_OWN_CODE, _OWN_TEXTS) if is_entry and not _ENTRY.isdisjoint(found) else (_CODES, _TEXTS)
    written = [_written(found[name]) for name in codes if name in found]
    text = next((words for name in texts if (words := _text(found.get(name)))), "")
    is_own = any(_text(found.get(name)) for name in _OWN_TEXTS)
    success = _written(found.get("success", MISSING))
    went_well = any(map(_SUCCESS_CODE.fullmatch, [*written, success])) or success == "1"
    code = next((each for each in written if not _NO_CODE.fullmatch(each) and not _SUCCESS_CODE.fullmatch(each)), None)
    return _Place(code, text, is_own or not went_well, success.lower() == "false")


def _written(raw: Raw) -> str:
    """Return a code as it is written, without quotation marks."""
    value = value_of(raw) if bytes(memoryview(raw)[:1]) == b'"' else None
    text = value if isinstance(value, str) else bytes(memoryview(raw)[:CODE_LENGTH]).decode("utf-8", "replace")
    return text.strip()[:CODE_LENGTH]


def _text(raw: Raw | None) -> str:
    value = value_of(raw) if raw is not None and bytes(memoryview(raw)[:1]) == b'"' else None
    return value.strip() if isinstance(value, str) else ""


def _status_member(found: dict[str, Raw]) -> str | None:
    """Return the `status` of a framework's own error object, a number beside an `error`."""
    status = _written(found["status"]) if "status" in found and "error" in found else ""
    return status if _HTTP_STATUS.fullmatch(status) else None


def _first(objects: list[tuple[dict[str, Raw], bool]], names: tuple[str, ...]) -> str:
    """Return the first of these members that holds anything, as text."""
    for found, _ in objects:
        for name in names:
            written = _text(raw := found.get(name, MISSING)) or _written_object(raw)
            if written:
                return written
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
    yield from (segment for segment in request.path.split("/") if segment not in request.call.path.split("/"))


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


def _spellings(sent: str) -> Iterator[str]:
    """Yield a text in the forms in which it may be quoted; one that is no more than a letter is in every text."""
    decoded = unquote(sent)
    for spelling in (sent, decoded, quote(sent, safe=""), quote(sent, safe="/:")):
        if len(spelling) > (2 if spelling.isascii() else 1):
            yield spelling
    if "/" in decoded:
        yield from _spellings(decoded.partition("?")[0].rpartition("/")[2])
