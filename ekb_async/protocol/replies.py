"""Which reply is a result and which is what error.

An object is a result only if it has what its call promises: OCR without `invoices` or a check without any `inv…` field
is none. Everything else is the error that stands in it, whatever the status says, 200 included; so is a result with
nothing in it that stands beside an error (see `refusals`). Any 2xx may carry a result, and one that is whole
is used although its frame is broken, since it may have been paid for.

Transient and permanent failures share status 400: only the text tells them apart, so it decides before the status does.
What the request itself had in it (a file's name, an ID) is taken out of the text first. Which 5xx are the vendor's own
answer and which a gateway's is said in `ekb_async.protocol.retry`.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Raw

from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbError,
    InvalidRequestError,
    InvoiceMismatchError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ProviderError,
    RecognitionError,
    ResponseError,
    ServerError,
    StaffNotFoundError,
    ThrottledError,
)
from ekb_async.protocol.clock import http_date
from ekb_async.protocol.endpoints import Endpoint, Request
from ekb_async.protocol.error_places import CODE_LENGTH, has_an_entry
from ekb_async.protocol.refusals import DETAILS_LENGTH, TEXT_LENGTH, Refusal, classified_text, refusal_in
from ekb_async.protocol.reply_text import READ_AS_IT_IS, declared_charset, ended_json, in_order, opens_json, whole_json
from ekb_async.protocol.retry import is_a_gateways
from ekb_async.redaction.host_names import without_hosts
from ekb_async.redaction.masking import SPELLINGS, query_values, redact

T = TypeVar("T")

_LONG, _BEGINNING = 262_144, 65_536
"""Bytes of a body that is looked at before it is read, and of the beginning that is looked at."""
_SAMPLES, _SAMPLE, _DENSE = 8, 1_024, 8
"""Pieces of a long body in which commas are counted, their length, and the distance of commas that is too short."""
_WRAPPING = re.compile(rb'"(?:value|items)"')
_ABSENT = frozenset({404, 405, 410})
"""Statuses that say there is no such interface at the address."""
_EXACT = frozenset({*_ABSENT, 412, 413, 415, 429})
_MAX_CODE, _MAX_TEXT, _MAX_DETAILS = 40, 300, 2_000

_ONE_THING = r"(?:文件|附件|图片|链接|单据|人员|员工)"
"""What a text about permission may name that is of one call only, so that others may well be allowed."""
_NO_FEATURE = r"(?:(?!接口|功能|服务|企业|应用|开通)[^，。；,;])"

_BY_TEXT: tuple[tuple[re.Pattern[str], type[ApiError]], ...] = (
    (
        re.compile(
            r"(?:密钥|app_?key|app_?(?:secret|security)).{0,6}(?:无效|错误|不正确|不存在|不匹配|失效)", re.IGNORECASE
        ),
        AuthError,
    ),
    (
        re.compile(
            rf"^{_NO_FEATURE}{{0,40}}(?:"
            rf"{_ONE_THING}{_NO_FEATURE}{{0,12}}(?:无权|[无没缺]{_NO_FEATURE}{{0,8}}权限|权限(?:不足|不够|受限))"
            rf"|无权{_NO_FEATURE}{{0,8}}{_ONE_THING}|[无没缺]{_NO_FEATURE}{{0,8}}{_ONE_THING}{_NO_FEATURE}{{0,8}}权限"
            rf"){_NO_FEATURE}*+(?:$|[，。；,;])(?!.*(?:接口|功能|开通))"
        ),
        InvalidRequestError,
    ),
    (
        re.compile(
            r"(?:未|没有|尚未|需要?|请先)(?:开通|开启|启用|购买|开放)|(?:没有|暂无|尚无).{0,12}权限|[无缺]{1,2}.{0,4}权限"
            r"|权限(?:不足|不够|受限)|权限.{0,12}开通|无权(?:访问|调用|使用)|无权.{0,8}(?:接口|功能)"
            r"|未(?:被|获得?|得到)?授权(?:访问|调用|使用)?.{0,6}(?:接口|功能)|(?:接口|功能|应用)(?:权限)?(?:未|没有|尚未)(?:被|获得?)?授权"
            r"|(?:不允许|不能|不可|禁止|拒绝)(?:调用|访问|使用).{0,6}(?:接口|功能)"
            r"|(?:功能|服务|许可|接口).{0,4}(?:已到期|已过期|已停用|被禁用)"
        ),
        PermissionDeniedError,
    ),
    (
        re.compile(r"频繁|限流|QPS|请求过快|请求次数过多|每秒.{0,8}限制|too many|rate.?limit", re.IGNORECASE),
        ThrottledError,
    ),
    (re.compile(r"第三方出现问题"), ProviderError),
    (re.compile(r"识别失败"), RecognitionError),
    (re.compile(r"人员不存在"), StaffNotFoundError),
    (re.compile(r"发票不一致"), InvoiceMismatchError),
    (re.compile(r"发票不存在"), InvoiceNotFoundError),
    (re.compile(r"可尝试再次请求"), ServerError),
    (re.compile(r"^\W*(?:请先登录|未授权)\W*$"), AuthError),
    (
        re.compile(
            r"(?:请|需要?)重新登录|(?:登录|会话).{0,4}(?:超时|过期|失效)"
            r"|access_?\s?token.{0,6}(?:无效|错误|不正确|不存在|失效|过期|超时|invalid|expired)"
            r"|invalid access_?\s?token",
            re.IGNORECASE,
        ),
        AuthError,
    ),
    (re.compile(r"JSON请求参数不正确|上传附件大小|Entity Too Large", re.IGNORECASE), InvalidRequestError),
    (
        re.compile(
            r"(?:系统|服务器?|网络|接口|当前|平台|业务)(?:正|太|很|较)?繁?忙|(?:稍后|稍候|过一会儿?|等会儿?)(?:再|重)(?:次|新)?[试查发尝操提请]"
            r"|稍后重试|(?:系统|服务器?|网络|请求|处理|响应|连接|调用|接口|读取|查验|识别)超时"
            r"|\b(?:system|server|service) (?:is )?(?:too )?busy|try again later|timed? ?out",
            re.IGNORECASE,
        ),
        ServerError,
    ),
)
_TIME_PASSED = re.compile(r"超时|timed? ?out", re.IGNORECASE)
"""A text that says that the vendor did not wait for the end of what it had begun."""

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"上传附件大小|Entity Too Large|^413$", re.IGNORECASE), "Upload files of at most 30 MB."),
    (re.compile(r"JSON请求参数不正确"), "Check that every required parameter is given and of the right type."),
    (re.compile(r"请先登录"), "The token is missing or of another platform; check the base URL and the keys."),
    (re.compile(r"不允许(?:调用|访问).{0,6}接口"), "The keys are right; ask the vendor to allow them this interface."),
)


def read_reply(
    request: Request[T],
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *secrets: str,
    now: float = 0.0,
    problem: EkbError | None = None,
) -> T:
    """Return what the call promises, read from its reply; otherwise raise the error the reply stands for.

    `secrets` and the request's own file URL are masked in texts the error quotes; `now` (epoch seconds) is needed for a
    `Retry-After` date. `problem` is what kept the body from arriving as a whole, raised if that matters.
    """
    call = request.endpoint
    charset = declared_charset(headers.get("Content-Type", ""))
    unreadable: EkbError | None = problem
    refusal: Refusal | None = None
    listed: list[Raw] = []
    if 200 <= status < 300:
        try:
            result, strict = _read(call, body, charset)
        except ResponseError as error:
            unreadable = problem or error
            error.endpoint, error.status = call.path, status
            # Another 2xx without a body is no accident.
            error.settled = status != 200 and not body
        else:
            if not call.finds_nothing(result):
                return result
            refusal = refusal_in(body, charset)
            listed = call.listed(strict)
            if refusal.contradicts_an_empty_result:
                unreadable = None
            elif has_an_entry(listed):
                return result
            else:
                unreadable = ResponseError("the reply has no entry of a result", endpoint=call.path, status=status)
    refusal = refusal or refusal_in(body, charset)
    text = classified_text(refusal.text, request, _misleads)
    if unreadable is not None and not _is_told(refusal, text, is_whole=problem is None):
        is_whole_page = refusal.is_page and problem is None
        raise _page(request, status, refusal, secrets) if is_whole_page else unreadable
    refused = _refused(request, status, headers, refusal, text, secrets, now)
    refused.has_entries = bool(listed)
    raise refused from None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return seconds from a `Retry-After` header given in seconds or as a date; None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        moment = http_date(text)
    return None if moment is None else max(0.0, moment - now)


def _refused(
    request: Request[Any],
    status: int,
    headers: Mapping[str, str],
    refusal: Refusal,
    text: str,
    secrets: tuple[str, ...],
    now: float,
) -> ApiError:
    """Return the error that a reply stands for, and whether there is no such interface at the address."""
    stated = refusal.http_status(text)
    error = _api_error(request, (stated or status) if status < 300 else status, refusal, text, headers, secrets, now)
    # As a code of the vendor's own it may be about one ID.
    error.is_absent = status in _ABSENT or (stated in _ABSENT and not refusal.is_json)
    if error.is_absent and isinstance(error, InvalidRequestError):
        error.hint = "The address does not exist there; check the base URL, which has no path as a rule."
    return error


def _is_told(refusal: Refusal, text: str, *, is_whole: bool) -> bool:
    """Whether a body that is no result says what is wrong; half of a text does not."""
    if not is_whole:
        return refusal.is_json and refusal.is_an_error
    if refusal.is_page:
        # A page under 200 is the answer of something on the way, unless it is known or names a status.
        return refusal.http_status(text) is not None or _kind_by_text(text) is not None
    # What is no clean text may still say what is known.
    return refusal.is_an_error or (not refusal.is_json and _kind_by_text(text) is not None)


def _page(request: Request[Any], status: int, refusal: Refusal, secrets: tuple[str, ...]) -> ResponseError:
    """The error for a page in place of a result, which tells its title."""
    title = redact(refusal.text, *_hidden(request, secrets))[:_MAX_TEXT]
    return ResponseError(f"a page came: {title}", endpoint=request.endpoint.path, status=status, lost=True)


def _misleads(text: str) -> bool:
    return _kind_by_text(text) is not None


def _api_error(
    request: Request[Any],
    status: int,
    refusal: Refusal,
    text: str,
    headers: Mapping[str, str],
    secrets: tuple[str, ...],
    now: float,
) -> ApiError:
    """The error of a reply, for which `text` decides: what the vendor says, without what it quotes of the request."""
    hidden = _hidden(request, secrets)
    kind = _kind(status, refusal.code, text)
    code = _shown(_masked(refusal.code, CODE_LENGTH, hidden), _MAX_CODE) if refusal.code else None
    words = _shown(without_hosts(_masked(refusal.text, TEXT_LENGTH, hidden)), _MAX_TEXT)
    message = words or (code if code and not code.isdecimal() else f"HTTP {status}")
    error = kind(message, status=status, code=code, endpoint=request.endpoint.path, hint=_hint(status, text))
    error.details = without_hosts(_masked(refusal.details, DETAILS_LENGTH, hidden), public=True)[:_MAX_DETAILS] or None
    request_id = refusal.request_id or headers.get("X-Request-Id", "")
    error.request_id = _shown(_masked(request_id, CODE_LENGTH, hidden), _MAX_CODE * 2) or None
    if isinstance(error, ThrottledError | ServerError):
        error.retry_after = retry_after(headers, now)
    if isinstance(error, ServerError):
        # What has taken the vendor too long may be done, and billed, all the same.
        error.lost = is_a_gateways(status, vendors_body=refusal.is_the_vendors and not _TIME_PASSED.search(text))
    return error


def _masked(text: str, cut_at: int, secrets: tuple[str, ...]) -> str:
    """Return a text without secrets, and without the half of one where the text was cut."""
    if len(text) < cut_at:
        return redact(text, *secrets)
    longest = max(map(len, secrets), default=0)
    return redact(text, *secrets, most=max(0, cut_at - 1 - SPELLINGS * longest))


def _hidden(request: Request[Any], secrets: tuple[str, ...]) -> tuple[str, ...]:
    return (*secrets, *query_values(request.file_url))


def _shown(text: str, length: int) -> str:
    """Return the beginning of a text on one line, with nothing that steers a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length]).strip()


def _hint(status: int, text: str) -> str:
    if 300 <= status < 400:
        return "The base URL redirects elsewhere; use the address of this enterprise's platform."
    return next((hint for pattern, hint in _HINTS if pattern.search(text)), "")


def _kind(status: int, code: str | None, text: str) -> type[ApiError]:
    if status == 400 and code is not None and re.fullmatch(r"[45]\d\d", code):
        # The more exact of the two.
        status = int(code)
    known = _kind_by_text(text)
    # "Try again later" says nothing where the status says what is wrong.
    if known is not None and not (known is ServerError and status in _EXACT):
        return known
    if status in {401, 403}:
        return AuthError
    if status == 429:
        return ThrottledError
    if status >= 500:
        return ServerError
    return InvalidRequestError if status >= 400 else ApiError


def _kind_by_text(text: str) -> type[ApiError] | None:
    return next((kind for pattern, kind in _BY_TEXT if pattern.search(text)), None)


def _read(call: Endpoint[T], body: bytes, charset: str | None) -> tuple[T, bytes]:
    """Return the result in a body, which may have to be brought into order first, and the JSON it was read from."""
    is_long = len(body) > _LONG
    if is_long and not _begins_as_a_result(call, body):
        raise ResponseError("the reply does not begin as a result")
    if (charset is None or charset in READ_AS_IT_IS) and (not is_long or opens_json(body, charset)):
        try:
            return call.read(body), body
        except ResponseError as error:
            if not error.lost:
                raise
    strict = in_order(body, charset)
    if strict is None:
        raise ResponseError("the answer is not JSON" if body else "the answer is empty", lost=True)
    return call.read(strict), strict


def _begins_as_a_result(call: Endpoint[Any], body: bytes) -> bool:
    """Whether a long body may be a result, by its beginning; reading all of what is none takes too long.

    Documented members are so long that their commas stand far apart, so a body full of them has to show an entry.
    """
    if body.startswith(b"{") and not _WRAPPING.search(body, 0, _BEGINNING):
        return False
    step = len(body) // _SAMPLES
    if sum(body.count(b",", at, at + _SAMPLE) for at in range(0, len(body), step)) * _DENSE < _SAMPLES * _SAMPLE:
        return True
    beginning = ended_json(body[:_BEGINNING].decode(errors="replace")).encode()
    return has_an_entry(call.listed(whole_json(beginning) or b""))
