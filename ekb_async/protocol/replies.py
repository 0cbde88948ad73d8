"""Decide whether a reply is a result, and which error it is otherwise.

A body is a result only if it has the members its endpoint promises: OCR needs `invoices`, verification an `inv…` field.
Any other body is read as an error, at any status including 200. So is an empty result with an error beside it (see
`refusals`). Any 2xx may carry a result; a complete result is used even if the JSON around it is broken, since the
call may have been billed.

Transient and permanent failures share status 400, and only the text distinguishes them, so the text takes precedence
over the status. Quotations of the request (a file name, an ID) are first removed from the text.
`ekb_async.protocol.retry` describes which 5xx come from the vendor and which from a gateway.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
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
from ekb_async.protocol.error_places import Refusal, is_result_list
from ekb_async.protocol.limits import LIMITS
from ekb_async.protocol.refusals import refusal_in, text_to_classify
from ekb_async.protocol.reply_text import (
    TRIED_AS_UTF_8,
    closed_json,
    declared_charset,
    repaired_json,
    starts_as_json,
    strict_json,
)
from ekb_async.protocol.retry import is_from_gateway
from ekb_async.redaction.host_names import without_hosts
from ekb_async.redaction.masking import MAX_ESCAPE_LENGTH, HiddenRepr, redact
from ekb_async.redaction.signed_urls import query_values

T = TypeVar("T")

_WRAPPER = re.compile(rb'"(?:value|items)"')
_ABSENT = frozenset({404, 405, 410})
"""Statuses that report that there is no such interface at the address."""
_SPECIFIC = frozenset({*_ABSENT, 412, 413, 415, 429})
_ONE_THING = r"(?:文件|附件|图片|链接|单据|人员|员工)"
"""Subjects of a text about permission that concern one call only, so that other calls may be allowed."""
_NO_FEATURE = r"(?:(?!接口|功能|服务|企业|应用|开通)[^，。；,;])"

_TOO_OFTEN_TODAY = re.compile(
    r"次日|查验.*明[日天].{0,4}[再重后]|[当每今][日天].{0,12}查验.{0,8}(?:次数|上限|限制|频繁)"
    r"|查验次数.{0,8}[当每今][日天]|(?:超过|超出|达到).{0,20}[当每今][日天].{0,12}查验.{0,12}(?:次数|上限|限制)"
)
"""A text that reports that the tax authority checks this invoice no more today, whatever the rate."""
NOT_TODAY = re.compile(
    rf"{_TOO_OFTEN_TODAY.pattern}|明[日天].{{0,4}}[再重后]|(?:超过|超出|达到).{{0,20}}[当每今][日天].{{0,12}}(?:次数|上限|限制)"
)
"""The same in the reply to a check, where it need not name the check; elsewhere it may be about a rate."""

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
    (_TOO_OFTEN_TODAY, InvalidRequestError),
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
"""Which error a text means, at any status; the first pattern that matches decides, so the order matters."""
_VENDOR_TIMEOUT = re.compile(r"超时|timed? ?out", re.IGNORECASE)
"""A text that reports that the vendor stopped waiting for work it had started."""

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"上传附件大小|Entity Too Large|^413$", re.IGNORECASE), "Upload files of at most 30 MB."),
    (re.compile(r"JSON请求参数不正确"), "Check that every required parameter is given and of the right type."),
    (
        _TOO_OFTEN_TODAY,
        "The tax authority checks an invoice at most five times a day; try again tomorrow.",
    ),
    (re.compile(r"请先登录"), "The token is missing or of another platform; check the base URL and the keys."),
    (re.compile(r"不允许(?:调用|访问).{0,6}接口"), "The keys are right; ask the vendor to allow them this interface."),
)


class Reply(HiddenRepr, msgspec.Struct, frozen=True):
    """A reply: its status, headers and body.

    `problem` is None if the body is complete by the rules of HTTP. Otherwise it is the error that cut the body short,
    to be raised if the part that arrived is not a usable answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: EkbError | None = None


def read_reply(request: Request[T], reply: Reply, *secrets: str, now: float = 0.0) -> T:
    """Return the result in the reply to a request, or raise the error that the reply reports.

    `secrets` and the request's own file URL are masked in texts the error quotes. `now` (epoch seconds) is needed for a
    `Retry-After` date.
    """
    endpoint = request.endpoint
    charset = declared_charset(reply.headers.get("Content-Type", ""))
    unreadable = reply.problem
    reply_entries: list[Raw] = []
    if 200 <= reply.status < 300:
        if endpoint.may_be_empty and reply.status != 200 and not reply.body:
            return cast("T", None)
        try:
            result, json = _read(endpoint, reply.body, charset)
        except ResponseError as error:
            unreadable = reply.problem or error
            error.endpoint, error.status = endpoint.path, reply.status
            # With 201 to 299 an empty body is a valid final answer, so the call is not repeated.
            error.settled = reply.status != 200 and not reply.body
        else:
            if not endpoint.finds_nothing(result):
                return result
            reply_entries = endpoint.entries_in(json)
            if refusal_in(reply.body, charset).contradicts_an_empty_result:
                unreadable = None
            elif is_result_list(reply_entries):
                return result
            else:
                problem = "the reply has no entry of a result"
                unreadable = ResponseError(problem, endpoint=endpoint.path, status=reply.status)
    reported = _error_in(request, reply, refusal_in(reply.body, charset), unreadable, secrets, now)
    if isinstance(reported, ApiError):
        reported.has_entries = bool(reply_entries)
    raise reported from None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of a `Retry-After` header, given in seconds or as a date; None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        moment = http_date(text)
    return None if moment is None else max(0.0, moment - now)


def _error_in(
    request: Request[Any],
    reply: Reply,
    refusal: Refusal,
    unreadable: EkbError | None,
    secrets: tuple[str, ...],
    now: float,
) -> EkbError:
    """Return the error that a reply states, or `unreadable` if it states none."""
    secrets = (*secrets, *query_values(request.file_url))
    text = text_to_classify(refusal.text, request, _kind_by_text)
    is_complete = reply.problem is None
    if unreadable is not None and not _states_error(refusal, text, is_complete=is_complete):
        if not (refusal.is_page and is_complete):
            return unreadable
        title = redact(refusal.text, *secrets)[: LIMITS.shown_message_characters]
        return ResponseError(f"a page came: {title}", endpoint=request.endpoint.path, status=reply.status, lost=True)
    stated = refusal.http_status(text)
    status = (stated or reply.status) if reply.status < 300 else reply.status
    refusal = refusal._replace(request_id=refusal.request_id or reply.headers.get("X-Request-Id", ""))
    error = _api_error(request.endpoint.path, status, refusal, text, secrets)
    error.retry_after = retry_after(reply.headers, now)
    # In the vendor's own JSON such a code may concern one ID only.
    error.is_absent = reply.status in _ABSENT or (stated in _ABSENT and not refusal.is_json)
    if error.is_absent and isinstance(error, InvalidRequestError):
        error.hint = "The address does not exist there; check the base URL, which has no path as a rule."
    return error


def _states_error(refusal: Refusal, text: str, *, is_complete: bool) -> bool:
    """Return whether a body that is not a result states an error; an incomplete bare text does not."""
    if not is_complete:
        return refusal.is_json and refusal.is_an_error
    if refusal.is_page:
        # A page at status 2xx comes from a gateway, unless its text is a known error or names a status.
        return refusal.http_status(text) is not None or _kind_by_text(text) is not None
    # A damaged text may still contain a known error.
    return refusal.is_an_error or (not refusal.is_json and _kind_by_text(text) is not None)


def _api_error(path: str, status: int, refusal: Refusal, text: str, secrets: tuple[str, ...]) -> ApiError:
    """Return the error that a refusal means; `text` is the vendor's text without quotations of the request."""
    masked_code = _masked(refusal.code or "", LIMITS.code_characters, secrets)
    code = _shown(masked_code, LIMITS.shown_code_characters) if refusal.code else None
    masked_text = _masked(refusal.text, LIMITS.message_characters, secrets)
    shown_text = _shown(without_hosts(masked_text), LIMITS.shown_message_characters)
    message = shown_text or (code if code and not code.isdecimal() else f"HTTP {status}")
    error = _kind(status, refusal.code, text)(
        message, status=status, code=code, endpoint=path, hint=_hint(status, text)
    )
    details = without_hosts(_masked(refusal.details, LIMITS.details_characters, secrets), public=True)
    error.details = details[: LIMITS.shown_details_characters] or None
    request_id = _masked(refusal.request_id, LIMITS.code_characters, secrets)
    error.request_id = _shown(request_id, LIMITS.shown_code_characters * 2) or None
    if isinstance(error, ServerError):
        # After a timeout at the vendor the call may still have been carried out and billed.
        has_vendor_body = refusal.is_from_vendor and not _VENDOR_TIMEOUT.search(text)
        error.lost = is_from_gateway(status, has_vendor_body=has_vendor_body)
    return error


def _masked(text: str, cut_at: int, secrets: tuple[str, ...]) -> str:
    """Return a text without secrets, and without the half of one that was truncated at `cut_at`."""
    if len(text) < cut_at:
        return redact(text, *secrets)
    longest = max(map(len, secrets), default=0)
    return redact(text, *secrets, max_characters=max(0, cut_at - 1 - MAX_ESCAPE_LENGTH * longest))


def _shown(text: str, length: int) -> str:
    """Return the beginning of a text on one line, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length]).strip()


def _hint(status: int, text: str) -> str:
    if 300 <= status < 400:
        return "The base URL redirects elsewhere; use the address of this enterprise's platform."
    return next((hint for pattern, hint in _HINTS if pattern.search(text)), "")


def _kind(status: int, code: str | None, text: str) -> type[ApiError]:
    if status == 400 and code is not None and re.fullmatch(r"[45]\d\d", code):
        # The code is more specific than the status.
        status = int(code)
    known = _kind_by_text(text)
    # A specific status takes precedence over "try again later".
    if known is not None and not (known is ServerError and status in _SPECIFIC):
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


def _read(
    endpoint: Endpoint[T], body: bytes, charset: str | None, long_bytes: int = LIMITS.long_reply_bytes
) -> tuple[T, bytes]:
    """Return the result in a body, repaired first if necessary, and the JSON it was read from."""
    is_long = len(body) > long_bytes
    if is_long and not _may_be_result(endpoint, body):
        raise ResponseError("the reply does not begin as a result")
    if (charset is None or charset in TRIED_AS_UTF_8) and (not is_long or starts_as_json(body, charset)):
        try:
            return endpoint.read(body), body
        except ResponseError as error:
            if not error.lost:
                raise
    repaired = repaired_json(body, charset)
    if repaired is None:
        raise ResponseError("the answer is not JSON" if body else "the answer is empty", lost=True)
    return endpoint.read(repaired), repaired


def _may_be_result(endpoint: Endpoint[Any], body: bytes) -> bool:
    """Return whether a long body may be a result, judged by its beginning, since decoding all of it takes long.

    In results members are long, so commas are sparse. A body with dense commas counts only if it begins with an entry.
    """
    if body.startswith(b"{") and not _WRAPPER.search(body, 0, LIMITS.reply_beginning_bytes):
        return False
    samples, sample_bytes = LIMITS.comma_samples, LIMITS.comma_sample_bytes
    starts = range(0, len(body), len(body) // samples)
    commas = sum(body.count(b",", start, start + sample_bytes) for start in starts)
    if commas * LIMITS.bytes_per_comma < samples * sample_bytes:
        return True
    beginning = closed_json(body[: LIMITS.reply_beginning_bytes].decode(errors="replace")).encode()
    return is_result_list(endpoint.entries_in(strict_json(beginning) or b""))
