"""Where in a JSON body an error stands: every object and list that holds no result is searched for a code and a text.

The names vary (`errorCode`, `errcode`, `error_code`; `errorMessage`, `msg`, `error_msg`, `errors`), the places too, so
the spelling of a name is not compared, and the search goes through whatever came, the outermost first, until it has
seen a few dozen objects. A text that stands where an object or a list should, as in `{"value": "识别失败"}`, is found
last. An entry of a result has a `code` and a `message` of its own, which are not taken for an error's.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Raw

from ekb_async.models.wire.envelope import MISSING, entries, is_null, members, value_of

CODE_LENGTH = 1_000
_MOST_PLACES, _MOST_MEMBERS, _MOST_ENTRIES = 64, 64, 16

_CODE = re.compile(r"(?:err(?:or)?|result|ret(?:urn)?|resp(?:onse)?|status|biz)?code|errno")
_OWN_CODE = re.compile(r"err(?:or)?code|errno")
_TEXTS = (
    re.compile(r"err(?:or)?(?:message|msg)s?"),
    re.compile(
        r"(?:result|ret(?:urn)?|resp(?:onse)?|status|biz)?(?:message|msg)s?|(?:fault|err(?:or)?)(?:desc(?:ription)?|string)"
    ),
    re.compile(r"errors?"),
)
"""The names of a text, those first that nothing but an error has."""
_IN_PLACE = re.compile(
    r"value|data|items?|invoices|results?|content|body|response|(?:fail)?(?:details?|reason|title|info|text)"
)
"""Names under which a text stands in place of what was promised."""
_NO_WORDS = re.compile(r"path|url|uri|.*(?:id|key|time|stamp|name|token|details?|trace|exception)")
"""Names under which a text that sounds like a failure is none."""
_NOT_SEARCHED = re.compile(r"err(?:or)?details?|entity|stacktrace|trace")
ENTRY = frozenset(
    {
        *("id", "master", "masterId", "details", "type", "region", "orientation", "key", "url", "form"),
        *("invoiceId", "invoiceItemId", "invoiceType"),
    }
)
"""Members of which an entry of a result has one at least."""
_HAS_MESSAGE = frozenset({"master", "form"})
"""Members of which an entry has one whose `message` is no error's."""

_NO_CODE = re.compile(r"null|false|\[.*|\{.*|", re.DOTALL)
_SUCCESS_CODE = re.compile(r"(?:0+|20\d)(?:\.0+)?|true|ok|success", re.IGNORECASE)
_SUCCESS_TEXT = re.compile(
    r"\W*(?:ok|(?:(?:request|it) )?(?:(?:is|was|has) )?(?:success\w{0,5}|succeeded|completed|done)|no error"
    r"|(?:(?![不未没非])\w){0,8}(?:成功|完成|完毕|正常)|成功(?:返回|获取|查询|识别|处理)(?:发票|数据|结果|列表)?)"
    r"(?:\W+(?:(?!失败|错误|异常|无效|过期|超[过出时]|但|[不未没]|but|error|fail|false).)*+)?",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE = re.compile(
    r"[\u4e00-\u9fff]\W{0,3}[\u4e00-\u9fff]\W{0,3}[\u4e00-\u9fff]|[a-z]{2}[,:]?\s+[a-z]{2}", re.IGNORECASE
)
_LETTERS = re.compile(r"(?!(?:null|none|false)\Z)[\W\d_]*+\w", re.IGNORECASE)
_FAILURE = re.compile(
    r"失败|错误|异常|无效|无权|权限|未授权|不存在|不允许|不支持|不正确|不能|超限|超时|频繁|限流|\b(?:fail|error|invalid)"
)


class JsonPath(NamedTuple):
    """What one object or list in a reply says."""

    code: str | None = None
    text: str = ""
    rank: int = len(_TEXTS)
    """How surely the text is an error's, 0 best; one that stands in place of something else is last."""
    went_well: bool = False
    has_failed: bool = False
    """Whether a member of its own says that the call did not succeed."""
    is_documented: bool = False
    """Whether it has the members of a documented error, which nothing on the way to the vendor writes."""

    @property
    def is_open(self) -> bool:
        """Whether its text may be an error where no code says so: nothing beside it says that all went well."""
        return self.rank == 0 or (self.rank < len(_TEXTS) and not self.went_well)

    @property
    def weight(self) -> tuple[bool, int]:
        """How much it says of an error."""
        says_error = bool(self.text) and not is_success(self.text)
        return self.code is not None, len(_TEXTS) + 1 - self.rank if says_error else 0


def is_success(text: str) -> bool:
    """Whether a text says that all went well."""
    return _SUCCESS_TEXT.fullmatch(text) is not None


def has_an_entry(listed: list[Raw]) -> bool:
    """Whether a list has an entry of a result among its first, or no entry at all."""
    return not listed or any(is_entry(members(entry)) for entry in listed[:_MOST_PLACES])


def is_entry(found: dict[str, Raw]) -> bool:
    """Whether an object has what an entry of a result has."""
    return any(not is_null(found[name]) for name in ENTRY if name in found) or any(name[:2] == "E_" for name in found)


def places_in(found: Raw) -> Iterator[tuple[JsonPath, dict[str, Raw]]]:
    """Yield what the objects and lists of a reply say, each with its members, the outermost first."""
    waiting = deque([(found, "", False)])
    for _ in range(_MOST_PLACES):
        if not waiting:
            return
        raw, name, in_list = waiting.popleft()
        if _first(raw) == b"[":
            listed = entries(raw)[:_MOST_ENTRIES]
            yield JsonPath(text=next(filter(_is_sentence, map(_text, listed)), "")), {}
            waiting.extend((each, name, True) for each in listed if _first(each) in b"{[")
            continue
        inside = members(raw)
        is_result = in_list and is_entry(inside)
        yield _place(inside, name, is_result=is_result), inside
        if not is_result:
            waiting.extend(
                (each, inner, False)
                for inner, each in list(inside.items())[:_MOST_MEMBERS]
                if _first(each) in b"{[" and not _NOT_SEARCHED.fullmatch(_plain(inner))
            )


def written(raw: Raw) -> str:
    """Return a code as it is written, without quotation marks."""
    value = value_of(raw) if _first(raw) == b'"' else None
    text = value if isinstance(value, str) else bytes(memoryview(raw)[:CODE_LENGTH]).decode("utf-8", "replace")
    return text.strip()[:CODE_LENGTH]


def _place(inside: dict[str, Raw], holder: str, *, is_result: bool) -> JsonPath:
    plain = [(_plain(name), raw) for name, raw in list(inside.items())[:_MOST_MEMBERS]]
    code_name = _OWN_CODE if is_result else _CODE
    codes = [written(raw) for name, raw in plain if code_name.fullmatch(name)]
    text, rank = _said(plain, is_result=is_result, is_item=is_result and not _HAS_MESSAGE.isdisjoint(inside))
    success = written(inside.get("success", MISSING))
    return JsonPath(
        next((each for each in codes if not _NO_CODE.fullmatch(each) and not _SUCCESS_CODE.fullmatch(each)), None),
        text,
        rank,
        went_well=any(map(_SUCCESS_CODE.fullmatch, [*codes, success])) or success == "1",
        has_failed=success.lower() == "false",
        is_documented=_is_documented(inside, holder),
    )


def _is_documented(inside: dict[str, Raw], holder: str) -> bool:
    if "errorCode" in inside:
        return "errorMessage" in inside or "errorMsg" in inside
    return "code" in inside and "msg" in inside and (holder == "value" or "data" in inside or "traceId" in inside)


def _said(plain: list[tuple[str, Raw]], *, is_result: bool, is_item: bool) -> tuple[str, int]:
    """Return the text among the members of an object, and how surely it is an error's."""
    names = _TEXTS[:1] if is_item else _TEXTS
    for rank, pattern in enumerate(names):
        for name, raw in plain:
            if pattern.fullmatch(name) and _LETTERS.match(text := _text(raw) or _texts_in(raw)):
                return text, rank
    if not is_result:
        for name, raw in plain:
            text = _text(raw)
            in_place = _IN_PLACE.fullmatch(name) and _is_sentence(text)
            if in_place or (_FAILURE.search(text[:CODE_LENGTH]) and not _NO_WORDS.fullmatch(name)):
                return text, len(_TEXTS)
    return "", len(_TEXTS)


def _texts_in(raw: Raw) -> str:
    """Return the texts in a list or an object that stands where a text should."""
    match _first(raw):
        case b"[":
            inner = entries(raw)[:_MOST_ENTRIES]
        case b"{":
            inner = [each for name, each in members(raw).items() if not _CODE.fullmatch(_plain(name))][:_MOST_ENTRIES]
        case _:
            return ""
    return "; ".join(filter(None, map(_text, inner)))


def _plain(name: str) -> str:
    """Return a name without what its spelling adds: `error_code`, `errorCode` and `ErrorCode` are the same."""
    return name[:40].replace("_", "").replace("-", "").lower()


def _text(raw: Raw) -> str:
    value = value_of(raw) if _first(raw) == b'"' else None
    return value.strip() if isinstance(value, str) else ""


def _is_sentence(text: str) -> bool:
    return _SENTENCE.search(text[:CODE_LENGTH]) is not None


def _first(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
