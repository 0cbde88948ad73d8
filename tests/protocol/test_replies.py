"""The status and the text of a reply decide its error."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import quote

import pytest

from ekb_async import (
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
from ekb_async.protocol import endpoints
from ekb_async.protocol.replies import Reply, read_reply, retry_after

SIGNED = "https://files.example/a.png?Expires=17&Signature=5IGNATURE%2B%3D"
OCR = endpoints.ocr(SIGNED)
VERIFY = endpoints.verify(SIGNED, file_name="a.png", staff_id="c:s", is_ex_ocr=True)

DOCUMENTED = [
    (400, "第三方出现问题请稍后再试", ProviderError),
    (400, "id为：[c]的企业没有发票查验接口权限，请联系管理员开通", PermissionDeniedError),
    (400, "识别失败", RecognitionError),
    (400, "人员不存在", StaffNotFoundError),
    (400, "查验成功所查发票不一致", InvoiceMismatchError),
    (400, "查验成功所查发票不存在", InvoiceNotFoundError),
    (412, "JSON请求参数不正确", InvalidRequestError),
    (412, "上传附件大小不可超过30Mb", InvalidRequestError),
    (413, "Request Entity Too Large", InvalidRequestError),
    (401, "请先登录", AuthError),
    (403, "未授权", AuthError),
    (403, "密钥无效", AuthError),
    (403, "未开通功能，无权访问", PermissionDeniedError),
    (429, "", ThrottledError),
    (400, "操作过于频繁", ThrottledError),
    (400, "该张发票查验过于频繁，请次日再试", InvalidRequestError),
    (400, "超过该张发票当日查验次数(请于次日再次查验)!", InvalidRequestError),
    (403, "接口限流", ThrottledError),
    (503, "Too Many Requests", ThrottledError),
    (400, "超过QPS限制", ThrottledError),
    (400, "别的", InvalidRequestError),
    (500, "", ServerError),
    (504, "upstream timed out", ServerError),
    (302, "", ApiError),
]
SHAPES = [
    '{{"errorCode":400,"errorMessage":"{}"}}',
    '{{"code":"E1","message":"{}"}}',
    '{{"msg":"{}","value":null}}',
    '{{"error":{{"message":"{}"}}}}',
    "{}",
    "<!DOCTYPE html><html><head><title>{}</title></head><body>nginx</body></html>",
    "<html><body><p>{}</p></body></html>",
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("status", "text", "kind"), DOCUMENTED)
def test_status_and_text_decide(shape: str, status: int, text: str, kind: type[ApiError]) -> None:
    """Every documented failure raises its own class, in any shape, with text, path and hint."""
    with pytest.raises(kind) as caught:
        read_reply(VERIFY, Reply(status, {}, shape.format(text).encode()))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.endpoint) == (status, VERIFY.path)
    assert text in error.message or "<" in shape
    assert error.hint.endswith(".")
    assert error.hint.count(". ") == 0
    assert error.hint in str(error)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"errorCode":403,"errorMessage":"未授权"}', AuthError),
        ('{"errorCode":"500","errorMessage":"系统繁忙","value":null}', ServerError),
        ('{"code":"B1","message":"识别失败"}', RecognitionError),
        ('{"errorCode":429}', ThrottledError),
        ('{"errorMessage":"怪事"}', ApiError),
    ],
)
def test_a_200_with_an_error_code_is_an_error(body: str, kind: type[ApiError]) -> None:
    """A reply with status 200 may be an error."""
    with pytest.raises(kind) as caught:
        read_reply(OCR, Reply(200, {}, body.encode()))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "lost"),
    [(b"", True), (b'{"value":{"inv', True), (b"<html>ok</html>", True), (b'{"value":[]}', False), (b"[1]", False)],
)
def test_what_cannot_be_read(body: bytes, *, lost: bool) -> None:
    """A body that is not JSON is a lost reply; JSON of another shape is not, as a retry would give it again."""
    with pytest.raises(ResponseError) as caught:
        read_reply(OCR, Reply(200, {}, body))
    assert caught.value.lost is lost


def test_quoted_texts_show_no_secret() -> None:
    """A vendor's text that quotes the request is shown without token, secret and signature."""
    text = "bad: https://app.example/x?accessToken=ID01:abc token ID01%3Aabc key s3cret file https://f.example/a?Signature=sig"
    with pytest.raises(ApiError) as caught:
        read_reply(OCR, Reply(400, {}, text.encode()), "ID01:abc", "s3cret")
    shown = str(caught.value) + repr(caught.value)
    assert not any(secret in shown for secret in ("ID01", "s3cret", "sig", "abc"))
    assert "https://f.example/a" in shown


@pytest.mark.parametrize(
    "text",
    [
        SIGNED,
        SIGNED.replace("&", "\\u0026").replace("=", "\\u003d"),
        quote(SIGNED, safe=""),
        "Signature=5IGNATURE%2B%3D",
        "5IGNATURE+=",
        '"sign": "5IGNATURE+="',
    ],
)
@pytest.mark.parametrize("shape", ['{{"msg":"{}"}}', '{{"code":"{}","msg":"x"}}', "{}", "<title>{}</title>"])
def test_the_signature_is_masked_however_it_is_written(text: str, shape: str) -> None:
    """A quoted file URL is masked in every spelling, in the text and in the code."""
    with pytest.raises(ApiError) as caught:
        read_reply(OCR, Reply(400, {}, shape.format(text.replace('"', "'")).encode()))
    assert "5IGNATURE" not in str(caught.value) + repr(vars(caught.value))


def test_the_other_chinese_encoding() -> None:
    """A reply in GBK is read."""
    for body in ('{"errorMessage":"识别失败"}', "识别失败", "<html><title>识别失败</title></html>"):
        with pytest.raises(RecognitionError):
            read_reply(VERIFY, Reply(400, {}, body.encode("gbk")))
    with pytest.raises(ResponseError):
        read_reply(VERIFY, Reply(200, {}, '{"items":"识别"}'.encode("gbk")))


@pytest.mark.parametrize(
    "body",
    [
        b'{"value":{"invoices":[{"type":"10100","details":{"total":"1.50","remark":"\\ud83d"}}]}}',
        b'{"value":{"invoices":[{"type":"10100","details":{"total":"1.50","remark":"a\tb\nc"}}]}}',
        b'\xef\xbb\xbf{"value":{"invoices":[{"type":"10100","details":{"total":"1.50"}}]}}',
        b'{"value":{"invoices":[{"type":"10100","orientation":NaN,"details":{"total":"1.50"}}]}}',
        '{"value":{"invoices":[{"type":"10100","details":{"total":"1.50","seller":"北京"}}]}}'.encode("gbk"),
        '{"value":{"platform":"识别","invoices":[{"type":"10100","details":{"total":"1.50"}}]}}'.encode().replace(
            "识".encode(), "识".encode()[:2]
        ),
    ],
)
def test_a_careless_answer_is_an_answer(body: bytes) -> None:
    """A complete result in malformed JSON is read instead of requested again, because it was billed."""
    assert str(read_reply(OCR, Reply(200, {}, body)).invoices[0].details.total) == "1.50"


def test_careless_answers_keep_their_digits() -> None:
    """Repairing a reply changes no number in it."""
    body = b'{"value":{"invoices":[{"details":{"total":12345678901234567.890,"remark":"\\ud83d"}}]}}'
    assert str(read_reply(OCR, Reply(200, {}, body)).invoices[0].details.total) == "12345678901234567.890"


@pytest.mark.parametrize("status", [200, 400])
def test_nesting_without_end(status: int) -> None:
    """A body that is nested too deeply raises an `EkbError`."""
    with pytest.raises(EkbError):
        read_reply(OCR, Reply(status, {}, b"[" * 100_000))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0.5", 0.5), (formatdate(1_000_007, usegmt=True), 7.0), ("-4", 0.0), ("soon", None), ("", None)],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    """`Retry-After` is read in seconds and as a date."""
    assert retry_after({"Retry-After": header}, now=1_000_000.0) == seconds
