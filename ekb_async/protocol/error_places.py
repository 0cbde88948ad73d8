"""Find the error in a JSON body: search every object and list that holds no result for a code and a text.

Names vary (`errorCode`, `errcode`, `error_code`; `errorMessage`, `msg`, `error_msg`, `errors`), and so do places.
Names are therefore compared without regard to spelling, and the search covers the whole body, outermost objects first,
up to a few dozen objects. A text in place of an object or a list, as in `{"value": "识别失败"}`, ranks last. The `code`
and `message` of a result entry are its own and are not taken for an error's.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Raw

from ekb_async.models.wire.envelope import MISSING, entries, is_null, members, value_of
from ekb_async.protocol.limits import LIMITS

_CODE = re.compile(r"(?:err(?:or)?|result|ret(?:urn)?|resp(?:onse)?|status|biz)?code|errno")
_ERROR_CODE = re.compile(r"err(?:or)?code|errno")
_TEXTS = (
    re.compile(r"err(?:or)?(?:message|msg)s?"),
    re.compile(
        r"(?:result|ret(?:urn)?|resp(?:onse)?|status|biz)?(?:message|msg)s?|(?:fault|err(?:or)?)(?:desc(?:ription)?|string)"
    ),
    re.compile(r"errors?"),
)
"""Member names of an error text, those first that occur in errors only."""
_IN_PLACE = re.compile(
    r"value|data|items?|invoices|results?|content|body|response|(?:fail)?(?:details?|reason|title|info|text)"
)
"""Member names that should hold a result, and under which an error text may stand instead."""
_NO_ERROR_TEXT = re.compile(r"path|url|uri|.*(?:id|key|time|stamp|name|token|details?|trace|exception)")
"""Member names under which a text that sounds like a failure is not an error."""
_NOT_SEARCHED = re.compile(r"err(?:or)?details?|entity|stacktrace|trace")
ENTRY_MEMBERS = frozenset(
    {
        *("id", "master", "masterId", "details", "type", "region", "orientation", "key", "url", "form"),
        *("invoiceId", "invoiceItemId", "invoiceType"),
    }
)
"""A result entry has at least one of these members."""
_WITH_OWN_MESSAGE = frozenset({"master", "form"})
"""If an entry has one of these members, its `message` is not an error."""

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
"""A text that reports that nothing was found, unlike one about a missing permission, person or enterprise."""
_OTHER_SUBJECT = re.compile(r"权限|授权|开通|登录|失败|错误|异常|频繁|限流|稍[后候]|第三方")
"""Words that show that a text matching `_NOTHING_FOUND` is about something else."""
HTTP_STATUS = re.compile(r"[45]\d\d")
_STATUS_IN_TEXT = re.compile(
    r"\W{0,9}(?:error|http(?:/[\d.]{1,3})?)?\W{0,9}([45]\d\d)(?=\W{0,9}(?:$|[a-z]))", re.IGNORECASE | re.ASCII
)
_CJK = re.compile("[\u4e00-\u9fff]")


class Refusal(NamedTuple):
    """The error in a reply or in one of its objects, unmasked; without one `code` is None and `text` is ""."""

    code: str | None = None
    text: str = ""
    details: str = ""
    request_id: str = ""
    is_json: bool = False
    is_page: bool = False
    is_readable_text: bool = False
    """Whether the body is bare text without markup or damaged characters."""
    rank: int = 0
    """Index into `_TEXTS`, the surest first; a text in place of a result ranks last."""
    reports_success: bool = False
    """Whether a success code stands beside the text."""
    reports_failure: bool = False
    """Whether a member `success` is false."""
    is_documented: bool = False
    """Whether it has the members of a documented error, which no gateway writes."""

    @property
    def is_an_error(self) -> bool:
        """Whether this is an error, if the body is not a result."""
        if self.is_json:
            return self.code is not None or bool(self.text and not is_success(self.text))
        return self.is_readable_text

    @property
    def may_be_error_without_code(self) -> bool:
        """Whether the text may be an error although there is no error code: nothing beside it reports success."""
        return self.rank == 0 or (self.rank < len(_TEXTS) and not self.reports_success)

    @property
    def weight(self) -> tuple[bool, int]:
        """Sort key: objects with more evidence of an error have a higher weight."""
        says_error = bool(self.text) and not is_success(self.text)
        return self.code is not None, len(_TEXTS) + 1 - self.rank if says_error else 0

    @property
    def contradicts_an_empty_result(self) -> bool:
        """Whether this is an error, if the body also holds an empty result."""
        if self.reports_failure or (self.code is not None and HTTP_STATUS.match(self.code)):
            return True
        fits_an_empty_result = is_success(self.text) or _reports_nothing_found(self.text)
        if self.text and (self.may_be_error_without_code or self.code is not None):
            return self.is_json and not fits_an_empty_result
        return self.code is not None

    def http_status(self, text: str) -> int | None:
        """Return the HTTP status that the code repeats, as in `403` or `403001`, or that starts a bare `text`."""
        if self.code is not None:
            found = HTTP_STATUS.match(self.code)
            return int(found[0]) if found else None
        stated = None if self.is_json else _STATUS_IN_TEXT.match(text)
        return int(stated[1]) if stated else None

    @property
    def is_from_vendor(self) -> bool:
        """Whether the vendor's own application replied, and not a gateway in front of it.

        The vendor writes an object with the documented members of an error, or Chinese. Anything else, including an
        empty object and an English one with a code, may come from a gateway.
        """
        return self.is_documented or (_CJK.search(self.text) is not None and not self.is_page)


def is_success(text: str) -> bool:
    """Return whether a text reports success."""
    return _SUCCESS_TEXT.fullmatch(text) is not None


def _reports_nothing_found(text: str) -> bool:
    return _NOTHING_FOUND.search(text) is not None and _OTHER_SUBJECT.search(text) is None


def is_result_list(items: list[Raw]) -> bool:
    """Return whether a list is empty or has a result entry among its first items."""
    return not items or any(is_entry(members(each)) for each in items[: LIMITS.searched_objects])


def is_entry(found: dict[str, Raw]) -> bool:
    """Return whether an object has a member of a result entry."""
    return any(not is_null(found[name]) for name in ENTRY_MEMBERS if name in found) or any(
        name[:2] == "E_" for name in found
    )


def error_candidates(found: Raw) -> Iterator[tuple[Refusal, dict[str, Raw]]]:
    """Yield what each object and list of a reply says about an error, with its members, outermost first."""
    waiting = deque([(found, "", False)])
    for _ in range(LIMITS.searched_objects):
        if not waiting:
            return
        raw, name, in_list = waiting.popleft()
        if _first_byte(raw) == b"[":
            items = entries(raw)[: LIMITS.searched_entries]
            yield Refusal(text=next(filter(_is_sentence, map(text_in, items)), ""), rank=len(_TEXTS), is_json=True), {}
            waiting.extend((each, name, True) for each in items if _first_byte(each) in b"{[")
            continue
        inside = members(raw)
        is_result = in_list and is_entry(inside)
        yield _candidate(inside, name, is_result=is_result), inside
        if not is_result:
            waiting.extend(
                (each, inner, False)
                for inner, each in list(inside.items())[: LIMITS.searched_members]
                if _first_byte(each) in b"{[" and not _NOT_SEARCHED.fullmatch(_normalized(inner))
            )


def code_text(raw: Raw) -> str:
    """Return a code as it is in the reply, without quotation marks."""
    length = LIMITS.code_characters
    is_string = _first_byte(raw) == b'"'
    text = text_in(raw) if is_string else bytes(memoryview(raw)[:length]).decode("utf-8", "replace").strip()
    return text[:length]


def text_in(raw: Raw) -> str:
    """Return the text of a JSON string without the blanks around it, "" if it is none."""
    value = value_of(raw) if _first_byte(raw) == b'"' else None
    return value.strip() if isinstance(value, str) else ""


def _candidate(inside: dict[str, Raw], holder: str, *, is_result: bool) -> Refusal:
    members_by_name = [(_normalized(name), raw) for name, raw in list(inside.items())[: LIMITS.searched_members]]
    code_name = _ERROR_CODE if is_result else _CODE
    codes = [code_text(raw) for name, raw in members_by_name if code_name.fullmatch(name)]
    text, rank = _best_text(
        members_by_name, is_result=is_result, is_item=is_result and not _WITH_OWN_MESSAGE.isdisjoint(inside)
    )
    success = code_text(inside.get("success", MISSING))
    return Refusal(
        next((each for each in codes if not _NO_CODE.fullmatch(each) and not _SUCCESS_CODE.fullmatch(each)), None),
        text,
        rank=rank,
        is_json=True,
        reports_success=any(map(_SUCCESS_CODE.fullmatch, [*codes, success])) or success == "1",
        reports_failure=success.lower() == "false",
        is_documented=_is_documented(inside, holder),
    )


def _is_documented(inside: dict[str, Raw], holder: str) -> bool:
    if "errorCode" in inside:
        return "errorMessage" in inside or "errorMsg" in inside
    return "code" in inside and "msg" in inside and (holder == "value" or "data" in inside or "traceId" in inside)


def _best_text(members_by_name: list[tuple[str, Raw]], *, is_result: bool, is_item: bool) -> tuple[str, int]:
    """Return the text among the members of an object that is most surely an error, and its rank."""
    names = _TEXTS[:1] if is_item else _TEXTS
    for rank, pattern in enumerate(names):
        for name, raw in members_by_name:
            if pattern.fullmatch(name) and _LETTERS.match(text := text_in(raw) or _texts_in(raw)):
                return text, rank
    if not is_result:
        for name, raw in members_by_name:
            text = text_in(raw)
            in_place = _IN_PLACE.fullmatch(name) and _is_sentence(text)
            if in_place or (_FAILURE.search(text[: LIMITS.code_characters]) and not _NO_ERROR_TEXT.fullmatch(name)):
                return text, len(_TEXTS)
    return "", len(_TEXTS)


def _texts_in(raw: Raw) -> str:
    """Return the joined texts of a list or an object that stands in place of a text."""
    match _first_byte(raw):
        case b"[":
            inner = entries(raw)
        case b"{":
            inner = [each for name, each in members(raw).items() if not _CODE.fullmatch(_normalized(name))]
        case _:
            return ""
    return "; ".join(filter(None, map(text_in, inner[: LIMITS.searched_entries])))


def _normalized(name: str) -> str:
    """Return a name without its spelling: `error_code`, `errorCode` and `ErrorCode` become the same."""
    return name[:40].replace("_", "").replace("-", "").lower()


def _is_sentence(text: str) -> bool:
    return _SENTENCE.search(text[: LIMITS.code_characters]) is not None


def _first_byte(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
