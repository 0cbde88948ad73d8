"""The text of a refusal decides whether it is transient, and what is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ekb_async import (
    ApiError,
    AuthError,
    EkbError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ServerError,
    ThrottledError,
)
from tests.support.canned_vendor import GIVEN, CannedVendor, reply, session_with

pytestmark = pytest.mark.slow

URL = "https://files.example/a.png"

BUSY = [
    *("系统繁忙，请稍后再试", "系统繁忙", "服务繁忙，请稍后重试！", "服务器正忙", "当前系统忙，请稍后再试", "网络繁忙"),
    *(
        "操作失败，请稍后再试",
        "请稍后重新提交",
        "请稍候再试",
        "查验中，请稍后再查",
        "System is busy, try again later: 系统繁忙",
    ),
]
TIME_PASSED = ["请求超时", "接口调用超时，请稍后再试", "查验超时", "读取超时，请稍后重试"]
LACKING = [
    *(
        "权限不足",
        "没有该接口的访问权限",
        "暂无权限",
        "无接口调用权限",
        "该接口未授权",
        "未授权调用该接口",
        "未获得授权使用此功能",
    ),
    *(
        "功能未开通",
        "企业没有开通OCR识别功能",
        "请先开通发票查验",
        "尚未购买该功能",
        "应用未获得授权",
        "禁止访问该接口",
    ),
    *("接口服务已到期", "许可已过期", "无权限访问", "无权使用该接口"),
]
WRONG_KEYS = [
    *(
        "密钥无效",
        "密钥错误",
        "密钥不正确，请检查",
        "appKey不存在",
        "app_security 错误",
        "accessToken无效",
        "access_token已过期",
    ),
    *("accessToken 已失效，请重新获取", "登录已过期", "登录超时，请重新登录", "会话已失效", "invalid access token"),
]
SHAPES: dict[str, Callable[[str], object]] = {
    "an unknown code": lambda text: {"errorCode": "E1001", "errorMessage": text},
    "no code": lambda text: {"errorMessage": text},
    "the code of the status": lambda text: {"errorCode": 400, "errorMessage": text},
    "bare": lambda text: text,
}


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", BUSY)
async def test_a_busy_vendor_is_asked_again(text: str, shape: str, status: int) -> None:
    """A refusal by a busy vendor is retried, and no attempt counts as maybe billed."""
    vendor = CannedVendor(ocr=reply(status, SHAPES[shape](text)))
    async with session_with(vendor, credentials=GIVEN, max_tries=3, repeat_unknown=False) as ekb:
        with pytest.raises(ServerError, match=text):
            await ekb.ocr(URL)
        assert ekb.stats().ocr.maybe_billed == 0
    assert vendor.sent["ocr"] == 3


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("text", TIME_PASSED)
async def test_what_took_the_vendor_too_long_may_be_billed(text: str, status: int) -> None:
    """After a timeout at the vendor the call may be billed, and `repeat_unknown=False` keeps it from being repeated."""
    vendor = CannedVendor(ocr=reply(status, {"errorCode": "E1001", "errorMessage": text}), upload=reply(status, text))
    async with session_with(vendor, repeat_unknown=False) as ekb:
        with pytest.raises(OutcomeUnknownError, match=text):
            await ekb.ocr(URL)
        # A free call is made again.
        with pytest.raises(ServerError):
            await ekb.upload(b"x", "a.png")
    assert (vendor.sent["ocr"], vendor.sent["upload"]) == (1, 2)
    async with session_with(CannedVendor(ocr=reply(status, text)), max_tries=3) as ekb:
        with pytest.raises(ServerError):
            await ekb.ocr(URL)
        assert ekb.stats().ocr.maybe_billed == 2


@pytest.mark.parametrize(("status", "kind"), [(412, ApiError), (413, ApiError), (404, ApiError), (429, ThrottledError)])
async def test_a_status_that_says_more_decides(status: int, kind: type[ApiError]) -> None:
    """A specific status takes precedence over a text that asks to try again later."""
    vendor = CannedVendor(upload=reply(status, {"errorCode": status, "errorMessage": "操作失败，请稍后再试"}))
    async with session_with(vendor, max_tries=1) as ekb:
        with pytest.raises(kind) as caught:
            await ekb.upload(b"x", "a.png")
    assert not isinstance(caught.value, ServerError)


@pytest.mark.parametrize(
    "text", ["请求过于频繁，请稍后再试", "识别失败，请稍后再试", "第三方出现问题请稍后再试", "发票不存在，请稍后再试"]
)
async def test_what_is_known_comes_before_a_plea(text: str) -> None:
    """A text that names the error decides, also if it asks to try again later."""
    async with session_with(CannedVendor(upload=reply(400, {"errorMessage": text})), max_tries=1) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.upload(b"x", "a.png")
    assert not isinstance(caught.value, ServerError)


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize(
    ("text", "kind"),
    [*((text, PermissionDeniedError) for text in LACKING), *((text, AuthError) for text in WRONG_KEYS)],
)
async def test_lacking_permission_and_wrong_keys(text: str, kind: type[ApiError], status: int) -> None:
    """A missing permission is distinguished from wrong keys and tokens, at status 400 and 403."""
    async with session_with(
        CannedVendor(ocr=reply(status, {"errorCode": status, "errorMessage": text})), credentials=GIVEN, max_tries=1
    ) as ekb:
        with pytest.raises(kind) as caught:
            await ekb.ocr(URL)
    assert type(caught.value) is kind


@pytest.mark.parametrize("text", ["无权查看该发票", "该发票不能使用餐饮服务", "单据已关闭"])
async def test_what_is_about_one_invoice_stops_no_other(text: str) -> None:
    """A text about one invoice does not fail the queue, as one about the enterprise would."""
    async with session_with(CannedVendor(ocr=reply(400, {"errorMessage": text})), max_tries=1) as ekb:
        with pytest.raises(EkbError) as caught:
            await ekb.ocr(URL)
    assert not caught.value.for_all


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize(
    "text",
    [
        "无权访问该文件",
        "没有该附件的访问权限",
        "图片链接无权限访问",
        "您无权查看此单据",
        "员工没有操作权限",
        "人员[c:s]没有权限",
    ],
)
async def test_a_permission_that_one_file_or_person_lacks_stops_no_other(text: str, status: int) -> None:
    """A text that names a file or a person without permission does not stop other calls."""
    vendor = CannedVendor(verify=reply(status, {"errorCode": status, "errorMessage": text}))
    async with session_with(vendor, credentials=GIVEN) as ekb:
        with pytest.raises(ApiError, match="权") as caught:
            await ekb.verify(URL, staff_id="c:s")
    assert not isinstance(caught.value, AuthError | PermissionDeniedError)
    assert (caught.value.for_all, vendor.sent["verify"]) == (False, 1)


@pytest.mark.parametrize(
    "text",
    [
        "没有附件上传接口权限",
        "该员工所在企业没有权限",
        "员工未开通功能，无权访问",
        "无权访问该文件，请联系管理员开通接口权限",
    ],
)
async def test_a_permission_that_the_enterprise_lacks_is_lacking_for_all(text: str) -> None:
    """A permission that the enterprise lacks is one even if the text mentions a file or a person."""
    async with session_with(CannedVendor(verify=reply(403, {"errorMessage": text}))) as ekb:
        with pytest.raises(PermissionDeniedError):
            await ekb.verify(URL, staff_id="c:s")
