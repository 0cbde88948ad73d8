"""The encoding of a reply is the declared one, otherwise UTF-8, otherwise GB18030."""

from __future__ import annotations

import json
import random

import pytest

from ekb_async import RecognitionError
from ekb_async.protocol.replies import Reply
from tests.support.canned_vendor import CannedVendor, session_with

URL = "https://files.example/a.png"
COMMON = [bytes([high, low]).decode("gb2312") for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFE)]


def ocr_answer(seller: str, encoding: str, content_type: str = "application/json") -> Reply:
    text = json.dumps({"value": {"invoices": [{"type": "10100", "details": {"seller": seller}}]}}, ensure_ascii=False)
    return Reply(200, {"Content-Type": content_type}, text.encode(encoding))


def is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_short_texts_in_gbk() -> None:
    """Two to four characters suffice to distinguish GBK from UTF-8, in values and in `raw`."""
    chance = random.Random(7)
    sellers = ["".join(chance.choices(COMMON, k=2 + n % 3)) for n in range(240)]
    answers = {seller: ocr_answer(seller, "gbk") for seller in sellers}
    vendor = CannedVendor()
    async with session_with(vendor) as ekb:
        for seller, answer in answers.items():
            if is_utf8(answer.body):
                continue
            vendor.answers["ocr"] = answer
            (invoice,) = (result := await ekb.ocr(URL)).invoices
            assert invoice.details.seller == seller
            assert seller in result.raw.decode()


@pytest.mark.parametrize("seller", ["联通", "联想", "北京", "𠮷野家"])
@pytest.mark.parametrize("charset", ["GBK", "gb2312", "gb18030", "utf-8", "utf-16", '"GB18030"'])
async def test_a_declared_charset_decides(seller: str, charset: str) -> None:
    """The declared charset is used even if the bytes are valid UTF-8 as well."""
    encoding = "gb18030" if "gb" in charset.lower() else charset
    answer = ocr_answer(seller, encoding, f"application/json; charset={charset}")
    async with session_with(CannedVendor(ocr=answer)) as ekb:
        (invoice,) = (await ekb.ocr(URL)).invoices
    assert invoice.details.seller == seller


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=klingon",
        "application/json;charset=ISO-8859-1",
        "text/html; charset=",
        "zlib;charset=zlib",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
async def test_a_charset_that_cannot_be(content_type: str, encoding: str) -> None:
    """A charset that does not exist, and the default of servers for UTF-8, are ignored."""
    answer = ocr_answer("北京市海淀区", encoding, content_type)
    if encoding == "gbk" and "8859" in content_type:
        return
    async with session_with(CannedVendor(ocr=answer)) as ekb:
        (invoice,) = (await ekb.ocr(URL)).invoices
    assert invoice.details.seller == "北京市海淀区"


@pytest.mark.parametrize("text", ["识别失败", '{"errorMessage": "识别失败"}', "<html><title>识别失败</title></html>"])
@pytest.mark.parametrize(("encoding", "content_type"), [("gbk", "text/html"), ("utf-16", "text/plain; charset=utf-16")])
async def test_errors_in_other_encodings(text: str, encoding: str, content_type: str) -> None:
    """An error is read in its encoding, in any shape."""
    refusal = Reply(400, {"Content-Type": content_type}, text.encode(encoding))
    async with session_with(CannedVendor(ocr=refusal), max_tries=1) as ekb:
        with pytest.raises(RecognitionError, match="识别失败"):
            await ekb.ocr(URL)


async def test_damaged_characters_do_not_make_another_encoding() -> None:
    """A long text in UTF-8 with a damaged character is read as UTF-8, even if its bytes are valid GB18030."""
    whole = ocr_answer("杭州沙盒信息技术有限责任公司北京第一分公司", "utf-8").body
    for damaged in (whole.replace("沙".encode(), b"\xe6\xb2"), whole.replace("沙".encode(), b"\xb2\x99\xe6\xb2")):
        answer = Reply(200, {"Content-Type": "application/json"}, damaged)
        async with session_with(CannedVendor(ocr=answer)) as ekb:
            (invoice,) = (await ekb.ocr(URL)).invoices
        assert invoice.type == "10100"
        assert invoice.details.seller is None or "北京第一分公司" in invoice.details.seller
