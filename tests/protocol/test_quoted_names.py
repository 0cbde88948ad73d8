"""Words that the vendor quotes from a request do not affect the class of an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from ekb_async import (
    ApiError,
    EkbSession,
    InvalidRequestError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ProviderError,
    RecognitionError,
    ThrottledError,
)
from ekb_async.backlog import Backlog
from ekb_async.models import Attachment
from ekb_async.protocol import endpoints
from ekb_async.protocol.refusals import text_to_classify
from tests.support.backlogs import all_tasks, manifest
from tests.support.canned_vendor import CannedVendor, reply, session_with


def test_the_first_texts_of_a_large_request_are_looked_for() -> None:
    """A request may carry any number of texts, and its error is read on the event loop."""
    request = endpoints.invoice_urls([f"ID01{number:020d}" for number in range(20_000)])
    judged: list[str] = []
    text_to_classify("x 不合法", request, judged.append)
    assert 100 <= len(set(judged)) <= 1_000


NAMES = [
    "合同未开通.png",
    "没有接口权限.pdf",
    "QPS.png",
    "限流说明.jpg",
    "第三方出现问题.png",
    "人员不存在",
    "密钥无效.png",
]


async def refusal(ekb: EkbSession, vendor: CannedVendor, name: str, text: str, status: int = 400) -> ApiError:
    """Return the error of a verification of a file with that name."""
    vendor.answers["verify"] = reply(status, {"errorCode": status, "errorMessage": text})
    with pytest.raises(ApiError) as caught:
        await ekb.verify(f"https://files.example/{quote(name)}?Signature=5", staff_id="c:s", file_name=name)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["文件[{}]格式不支持", "文件 {} 格式不支持", "「{}」格式不支持", "https://files.example/{} 不支持"]
)
async def test_a_name_that_is_quoted_decides_nothing(name: str, text: str) -> None:
    """The words beside a quoted file name decide, and the message still quotes the name."""
    vendor = CannedVendor()
    async with session_with(vendor) as ekb:
        for spelling in (name, quote(name), name.upper()):
            error = await refusal(ekb, vendor, name, text.format(spelling))
            assert type(error) is InvalidRequestError
            assert spelling in error.message
    assert vendor.sent["verify"] == 3


@pytest.mark.parametrize(
    "quoted",
    [
        "文件《合同未开通》格式不支持",
        "文件夹 QPS限流 里的文件格式不支持",
        f"{quote(quote('合同未开通.png'))} 格式不支持",
    ],
)
async def test_a_part_that_is_quoted_decides_nothing(quoted: str) -> None:
    """A quoted name without its suffix, a folder, and a name escaped twice do not decide either."""
    vendor = CannedVendor(ocr=reply(400, {"errorCode": 400, "errorMessage": quoted}))
    async with session_with(vendor) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.ocr(f"https://files.example/{quote('QPS限流')}/{quote('合同未开通.png')}")
    assert type(caught.value) is InvalidRequestError
    assert vendor.sent["ocr"] == 1


async def test_a_short_name_takes_nothing_from_the_vendors_words() -> None:
    """A file named 发票 does not change the meaning of 发票不存在."""
    vendor = CannedVendor(ocr=reply(400, {"errorCode": 400, "errorMessage": "查验成功所查发票不存在"}))
    async with session_with(vendor) as ekb:
        with pytest.raises(InvoiceNotFoundError):
            await ekb.ocr(f"https://files.example/{quote('发票.png')}")


async def test_the_vendors_own_words_still_decide() -> None:
    """The vendor's own words decide, whatever the name of the file."""
    vendor = CannedVendor()
    async with session_with(vendor, max_tries=1) as ekb:
        assert type(await refusal(ekb, vendor, "识别失败.png", "识别失败")) is RecognitionError
        assert type(await refusal(ekb, vendor, "识别失败", "识别失败")) is RecognitionError
        assert type(await refusal(ekb, vendor, "QPS.png", "文件[QPS.png]第三方出现问题请稍后再试")) is ProviderError
        error = await refusal(ekb, vendor, "a.png", "id为：[c]的企业没有发票查验接口权限，请联系管理员开通")
        assert type(error) is PermissionDeniedError


async def test_a_number_in_a_name_is_no_status() -> None:
    """A number in a quoted name at the start of a bare text is not taken for a status."""
    vendor = CannedVendor()
    async with session_with(vendor) as ekb:
        for name in ("500 收据.png", "503 bill.png"):
            error = await refusal(ekb, vendor, name, "")
            vendor.answers["verify"] = reply(200, f"{name} 格式不支持", "text/plain")
            with pytest.raises(ApiError) as caught:
                await ekb.verify("https://files.example/a.png", staff_id="c:s", file_name=name)
            assert (type(error), type(caught.value), caught.value.status) == (InvalidRequestError, ApiError, 200)


async def test_other_things_that_are_quoted() -> None:
    """Quoted IDs, codes, keys and names of uploads do not decide either."""
    text = "[{}]参数错误"
    cases: dict[str, tuple[str, Callable[[EkbSession], Awaitable[object]]]] = {
        "flow_invoices": ("QPS-2024", lambda ekb: ekb.flow_invoices(codes=["QPS-2024"])),
        "verify_by_id": ("c:1:未开通", lambda ekb: ekb.verify_by_id("c:1:未开通")),
        "upload": ("限流.png", lambda ekb: ekb.upload(b"x", "限流.png")),
        "download_urls": ("密钥无效-1.png", lambda ekb: ekb.download_urls([Attachment("f", "密钥无效-1.png")])),
        "verify_by_fields": ("频繁", lambda ekb: ekb.verify_by_fields(code="频繁", number="1", date="20220110")),
    }
    for call, (quoted, make) in cases.items():
        vendor = CannedVendor(**{call: reply(400, {"errorMessage": text.format(quoted)})})
        async with session_with(vendor) as ekb:
            with pytest.raises(ApiError) as caught:
                await make(ekb)
        assert type(caught.value) is InvalidRequestError
        assert not isinstance(caught.value, ThrottledError)


async def test_a_row_does_not_stop_the_others(tmp_path: Path) -> None:
    """A row with a file name that reads like a missing permission fails alone."""
    vendor = CannedVendor(verify=reply(400, {"errorCode": 400, "errorMessage": "文件[合同未开通.png]不是图片"}))
    rows = [f"verify,https://files.example/{n}.png,,c:s,合同未开通.png,{n}" for n in range(3)]
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, session_with(vendor) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        tasks = await all_tasks(backlog)
    assert [task.state for task in tasks] == ["failed"] * 3
    assert vendor.sent["verify"] == 3
