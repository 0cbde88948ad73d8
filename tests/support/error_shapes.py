"""The vendor's errors, and the shapes of the replies that report one."""

from __future__ import annotations

import json
from collections.abc import Callable

from ekb_async import (
    ApiError,
    AuthError,
    InvalidRequestError,
    PermissionDeniedError,
    ProviderError,
    RecognitionError,
    StaffNotFoundError,
    ThrottledError,
)

SHAPES: dict[str, Callable[[int, str], object]] = {
    "flat": lambda code, text: {"errorCode": code, "errorMessage": text, "errorDetails": None, "code": None},
    "flat, as text": lambda code, text: {"errorCode": str(code), "errorMessage": text, "value": None},
    "nested": lambda code, text: {"value": {"errorCode": code, "errorMessage": text, "errorDetail": None}},
    "nested, as text": lambda code, text: {"value": {"errorCode": str(code), "errorMessage": text}},
    "nested, other names": lambda code, text: {"value": {"code": code, "msg": text}},
    "errorMsg": lambda code, text: {"errorCode": code, "errorMsg": text, "requestId": "r", "time": 1},
    "gateway": lambda code, text: {"code": str(code), "msg": text, "data": None, "traceId": "t"},
    "in data": lambda code, text: {"code": 200, "msg": "success", "data": {"errorCode": code, "errorMessage": text}},
    "in error": lambda code, text: {"error": {"code": code, "message": text}},
    "beside nothing": lambda code, text: {"items": [], "value": {}, "code": code, "msg": text},
    "beside nulls": lambda code, text: {"items": None, "value": None, "errorCode": code, "errorMessage": text},
    "in a list": lambda code, text: {"items": [{"errorCode": code, "errorMessage": text}]},
    "bare text": lambda code, text: text,
    "JSON text": lambda code, text: json.dumps(text),
    "page": lambda code, text: f"<!DOCTYPE html><html><head><title>{text}</title></head><body>nginx</body></html>",
}

ERRORS: list[tuple[int, str, type[ApiError]]] = [
    (400, "第三方出现问题请稍后再试", ProviderError),
    (400, "识别失败", RecognitionError),
    (400, "人员不存在", StaffNotFoundError),
    (412, "JSON请求参数不正确", InvalidRequestError),
    (429, "请求过于频繁", ThrottledError),
    (403, "不允许调用此接口", PermissionDeniedError),
    (401, "请先登录", AuthError),
    (403, "密钥无效", AuthError),
]
