"""Which reply is a result and which is what error.

The vendor documents statuses and texts of its failures but not the shape of their bodies, and transient and permanent
failures share status 400: only the text tells them apart. So the text is looked for in whatever came (JSON under any of
the usual names, plain text, a gateway's HTML page) and decides before the status does. An answer with status 200 that
does not hold what the call promises may carry an error code instead.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from ekb_async.calls import Call, Request
from ekb_async.clock import http_date
from ekb_async.errors import (
    ApiError,
    AuthError,
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
from ekb_async.models.envelope import NOT_JSON
from ekb_async.redaction import query_values, redact

T = TypeVar("T")

_MAX_TEXT, _MAX_CODE = 300, 40
_SEARCHED = 4_096
"""Characters of a text, secrets masked, among which the words are looked for that say which error it is."""
_ERROR_BYTES = 65_536
"""Of a longer body that is no result, this much is read."""
_CARELESS_BYTES = 1_048_576
"""A longer body that breaks the rules is no result; the largest documented one is a few hundred kilobytes."""
_WRAPPING = re.compile(rb'"(?:value|items)"')
_JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}"]', re.DOTALL)
_HALF_AN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*+\\(?:u[0-9a-fA-F]{0,3})?\Z")
_encode_exactly = msgspec.json.Encoder(decimal_format="number").encode

_BY_TEXT: tuple[tuple[re.Pattern[str], type[ApiError]], ...] = (
    (re.compile(r"密钥无效"), AuthError),
    (re.compile(r"未开通|没有.{0,12}权限|权限.{0,12}开通"), PermissionDeniedError),
    (re.compile(r"频繁|限流|QPS|请求过快|too many|rate.?limit", re.IGNORECASE), ThrottledError),
    (re.compile(r"第三方出现问题"), ProviderError),
    (re.compile(r"识别失败"), RecognitionError),
    (re.compile(r"人员不存在"), StaffNotFoundError),
    (re.compile(r"发票不一致"), InvoiceMismatchError),
    (re.compile(r"发票不存在"), InvoiceNotFoundError),
)

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"上传附件大小|Entity Too Large|^413$", re.IGNORECASE), "Upload files of at most 30 MB."),
    (re.compile(r"JSON请求参数不正确"), "Check that every required parameter is given and of the right type."),
    (re.compile(r"请先登录"), "The token is missing or of another platform; check the base URL and the keys."),
)


def read_reply(
    request: Request[T], status: int, headers: Mapping[str, str], body: bytes, *secrets: str, now: float = 0.0
) -> T:
    """What the call promises, read from its reply; otherwise the error the reply stands for is raised.

    `secrets` and the request's own file URL are masked in texts the error quotes; `now` (epoch seconds) is needed for a
    `Retry-After` date.
    """
    call = request.call
    if status == 200:
        try:
            return _read(call, body)
        except ResponseError as unreadable:
            code, text = _explanation(body, json_only=True)
            if code is None and not text:
                unreadable.endpoint, unreadable.status = call.path, status
                raise
            status = _status_in(code)
    else:
        code, text = _explanation(body)
    hidden = (*secrets, *query_values(request.file_url))
    wait = retry_after(headers, now)
    code = code and redact(code, *hidden, most=_MAX_CODE)
    raise _api_error(call.path, status, code, redact(text, *hidden, most=_SEARCHED), wait) from None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from a `Retry-After` header given in seconds or as a date; None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        moment = http_date(text)
    return None if moment is None else max(0.0, moment - now)


def _api_error(endpoint: str, status: int, code: str | None, text: str, wait: float | None) -> ApiError:
    kind = _kind(status, text)
    message = text[:_MAX_TEXT] or f"HTTP {status}"
    hint = next((hint for pattern, hint in _HINTS if pattern.search(text)), "")
    if status == 404 and kind is InvalidRequestError:
        hint = "The address does not exist there; check the base URL, which has no path as a rule."
    if 300 <= status < 400:
        hint = "The base URL redirects elsewhere; use the address of this enterprise's platform."
    if kind is ThrottledError or kind is ServerError:
        return kind(message, status=status, code=code, endpoint=endpoint, hint=hint, retry_after=wait)
    return kind(message, status=status, code=code, endpoint=endpoint, hint=hint)


def _kind(status: int, text: str) -> type[ApiError]:
    for pattern, kind in _BY_TEXT:
        if pattern.search(text):
            return kind
    if status in {401, 403}:
        return AuthError
    if status == 429:
        return ThrottledError
    if status >= 500:
        return ServerError
    return InvalidRequestError if status >= 400 else ApiError


class _Explanation(msgspec.Struct, rename="camel"):
    error_code: msgspec.Raw = msgspec.Raw(b"")
    code: msgspec.Raw = msgspec.Raw(b"")
    error_message: object = None
    message: object = None
    msg: object = None
    error: object = None


def _explanation(body: bytes, *, json_only: bool = False) -> tuple[str | None, str]:
    """The error code and text of a body, as far as there are any."""
    text = _text(body[:_ERROR_BYTES])
    try:
        found = msgspec.json.decode(_ended(text) if len(body) > _ERROR_BYTES else text, type=_Explanation)
    except NOT_JSON:
        return None, "" if json_only else _plain_text(text)
    if isinstance(found.error, dict):
        inner = found.error.get("message") or found.error.get("msg")
        found.error = inner if isinstance(inner, str) else ""
    texts = (found.error_message, found.message, found.msg, found.error)
    code = _code(found.error_code) or _code(found.code)
    return code, next((text for text in texts if isinstance(text, str) and text), "")


def _text(body: bytes) -> str:
    """The body as text; what is mostly not UTF-8 is taken for the other encoding Chinese servers and gateways use."""
    text = body.decode(errors="replace")
    broken = text.count("\ufffd")
    foreign = broken and len(text) - len(text.encode("ascii", "ignore"))
    return text if broken * 2 <= foreign else body.decode("gb18030", "replace")


def _code(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode("utf-8", "replace").strip('" ')
    return None if text in {"", "null", "0", "200", "true", "false"} else text


def _status_in(code: str | None) -> int:
    """The HTTP status that an error code in a 200 body repeats, as in `403` or `403001`; 200 if there is none."""
    match = re.match(r"([45]\d\d)", code or "")
    return int(match[1]) if match else 200


def _plain_text(text: str) -> str:
    text = text[:20_000]
    if "<" in text and re.search(r"<(!doctype|html|head|body|title|h1)\b", text, re.IGNORECASE):
        title = re.search(r"<(?:title|h1)\b[^<>]*>([^<]*[^<\s][^<]*)", text, re.IGNORECASE)
        text = title[1] if title else re.sub(r"<[^<>]*>", " ", text)
    return " ".join(text.split())


def _ended(text: str) -> str:
    """The beginning of a JSON document with a string it ends in, and all that is open, closed."""
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


def _read(call: Call[T], body: bytes) -> T:
    # Reading a body of many megabytes takes long, and what is no result can be told by its beginning.
    if len(body) > _CARELESS_BYTES and body.startswith(b"{") and not _WRAPPING.search(body, 0, _ERROR_BYTES):
        raise ResponseError("the reply has neither `value` nor `items`")
    try:
        return call.read(body)
    except ResponseError:
        if _is_json(body):
            raise
    careless = _careless_json(body) if len(body) <= _CARELESS_BYTES else None
    if careless is None:
        raise ResponseError("the answer is not JSON" if body else "the answer is empty", lost=True)
    return call.read(careless)


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        body.decode()
    except NOT_JSON:
        return False
    return True


def _careless_json(body: bytes) -> bytes | None:
    """Strict JSON from an answer that is whole but breaks the rules; it may have been paid for.

    Servers send raw control characters, half an emoji, NaN, a byte order mark or another encoding.
    """
    try:
        text = _text(body).removeprefix("\ufeff")
        content = json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=Decimal)
        return _encode_exactly(_without_halves(content))
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _without_halves(content: Any) -> Any:
    """JSON values without halves of characters, which no encoding has."""
    match content:
        case str():
            return content.encode(errors="replace").decode()
        case dict():
            return {_without_halves(name): _without_halves(value) for name, value in content.items()}
        case list():
            return [_without_halves(value) for value in content]
        case _:
            return content
