"""Tokens in texts of the vendor are masked, however they and their names are spelled or broken."""

from __future__ import annotations

import pytest

from ekb_async import ApiError
from tests.support.canned_vendor import GIVEN, CannedVendor, reply, session_with

URL = "https://files.example/a.png"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "access\nToken = {}",
            "AccessToken＝{}",
            "accessTo\nken={}",
            "ACCESS_TOKEN=>{}",
            "accessToken\r\n:{}",
            "token -> {}",
        ),
        *(
            "ａｃｃｅｓｓＴｏｋｅｎ＝{}",
            "access\tToken ＝ “{}”",
            "appSecurity：\n{}",
            "access-token\n=\n{}",
            "accessToken\\n={}",
        ),
    ],
)
@pytest.mark.parametrize("shape", ["{}", '{{"errorCode":400,"errorMessage":"{}"}}', "<html><title>{}</title></html>"])
async def test_a_token_of_any_spelling_is_masked(text: str, shape: str) -> None:
    """A token of any session is masked in a text of the vendor, however its name is spelled."""
    secret = "ID01qwertz:s3cr3tOfAnother"
    quoted = text.format(secret)
    if shape.startswith("{{"):
        quoted = quoted.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    async with session_with(CannedVendor(ocr=reply(400, shape.format(f"参数错误 {quoted}"))), max_tries=1) as ekb:
        with pytest.raises(ApiError, match="参数错误") as caught:
            await ekb.ocr(URL)
    assert "s3cr3tOf" not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("place", [3, 9, 14])
async def test_a_token_that_a_line_breaks_is_masked(place: int) -> None:
    """The session's own token is masked also if a line break splits it."""
    token = GIVEN.token
    async with session_with(
        CannedVendor(ocr=reply(400, {"errorMessage": f"参数 {token[:place]}\n {token[place:]} 错误"})),
        credentials=GIVEN,
    ) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.ocr(URL)
    assert token[place:] not in str(caught.value)
    assert token[:place] not in str(caught.value)
