"""An empty list beside a text means that nothing was found, or that the call was refused."""

from __future__ import annotations

from typing import Any

import pytest

from ekb_async import ApiError, PermissionDeniedError
from tests.support.canned_vendor import CannedVendor, reply, session_with


async def _verified(body: dict[str, Any]) -> list[Any]:
    async with session_with(CannedVendor(verify=reply(200, body)), max_tries=1) as ekb:
        return (await ekb.verify("https://f.example/a.png", staff_id="c:s")).invoices


@pytest.mark.parametrize("code", [None, "E1"])
@pytest.mark.parametrize(
    "text",
    [
        "id为：[c]的企业没有发票查验接口权限，请联系管理员开通",
        "没有发票识别权限",
        "暂无数据权限",
        "无发票功能，请开通",
        "该企业没有数据，请联系管理员开通",
        "未找到该用户",
        "没有找到对应的人员",
        "未查询到授权信息",
        "未识别到有效的accessToken",
        "无结果：第三方出现问题请稍后再试",
        "corporation not found",
        "no data permission",
        "no results: rate limit",
    ],
)
async def test_what_lacks_a_permission_or_an_account_is_no_empty_result(text: str, code: str | None) -> None:
    """A missing permission, function, person or enterprise is an error, not an empty result."""
    with pytest.raises(ApiError) as caught:
        await _verified({"items": [], "code": code, "message": text})
    assert caught.value.message == text
    if "权限" in text:
        assert isinstance(caught.value, PermissionDeniedError)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "未识别到发票",
            "未识别出发票",
            "没有识别出发票",
            "未检测到票据",
            "未发现发票",
            "未查到",
            "未识别到发票，请重新上传",
        ),
        *("图片中没有可识别的票据", "没有符合条件的数据", "无可用数据", "暂无发票信息", "发票列表为空", "查无此票"),
        *("该图片不含发票", "非发票图片", "No invoices detected", "no invoice found.", "Not found"),
        *("处理完成", "请求处理完成", "识别完成，未识别到发票", "调用正常", "返回成功", "成功返回", "成功获取发票"),
        *("Request succeeded", "completed", "request is successful", "no error"),
    ],
)
async def test_nothing_found_is_an_empty_result(text: str) -> None:
    """A text that reports that nothing was found, or success, leaves an empty result a result."""
    assert await _verified({"items": [], "message": text}) == []


async def test_what_was_seen_without_its_kind_is_a_result() -> None:
    """An invoice without a recognised type is a result, because it was billed."""
    seen = {"type": None, "orientation": 0, "region": [1, 2, 3, 4], "details": None}
    async with session_with(CannedVendor(ocr=reply(200, {"value": {"invoices": [seen]}}))) as ekb:
        (invoice,) = (await ekb.ocr("https://f.example/a.png")).invoices
    assert invoice.region == [1.0, 2.0, 3.0, 4.0]


async def test_an_invoice_of_a_document_without_its_id_is_a_result() -> None:
    """A document whose only invoice has no ID is a result."""
    listed: dict[str, Any] = {"B1": [{"invoiceId": None, "invoiceItemId": [], "invoiceType": "invoice"}]}
    async with session_with(CannedVendor(flow_invoices=reply(200, {"value": listed}))) as ekb:
        assert [each.type for each in (await ekb.flow_invoices(codes=["B1"]))["B1"]] == ["invoice"]
