"""Telling error documents of a file host from invoices' files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import ApiError, ResponseError
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on
from tests.support.backlogs import names_in

XML = b'<?xml version="1.0" encoding="UTF-8"?>\n'
OSS_ERROR = XML + b"<Error><Code>AccessDenied</Code><Message>Request has expired.</Message></Error>"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", OSS_ERROR),
        ("a.xml", OSS_ERROR),
        ("a.xml", b"\xef\xbb\xbf" + OSS_ERROR),
        ("a.xml", OSS_ERROR.decode().encode("utf-16")),
        ("a.pdf", XML + b"<EInvoice/>"),
        ("a.pdf", b"<!-- gone -->" + XML),
        ("a.ofd", b' \n{"code":"AccessDenied"}'),
        ("a.xml", b'{"errorCode":403}' + b" " * 5000),
        ("a.png", b"[]"),
        ("a.pdf", b"<!DOCTYPE html><title>502</title>"),
        ("a.xml", b"<HTML><body>no</body></HTML>"),
        ("", b'{"error":"no"}'),
        ("a.xml", b" " * 512 + OSS_ERROR),
        ("a.pdf", b"\r\n" * 5000 + b'{"code":"AccessDenied"}'),
        ("a.pdf", b" " * 300_000 + OSS_ERROR),
        ("a.xml", b"<!-- " + b"x" * 600 + b" -->" + OSS_ERROR),
        ("a.xml", b"<!-- x --><?pi?>" * 200 + b"<html/>"),
        ("a.xml", b"\xef\xbb\xbf" * 2 + b" \xef\xbb\xbf<Error/>"),
        ("a.xml", ("\ufeff" + " " * 600 + OSS_ERROR.decode()).encode("utf-16-be")),
        ("a.xml", OSS_ERROR.decode().encode("utf-16-le")),
        ("a.xml", XML + b"<!DOCTYPE a [<!ENTITY b 'x'>]><Error><Code>1</Code></Error>"),
        ("a.xml", b"<Response><Error><Code>AccessDenied</Code></Error></Response>"),
        ("a.xml", b"<Response><RequestId>1</RequestId><Error>no</Error></Response>"),
        ("a.xml", b"<Result><Code>403</Code><Message>no</Message></Result>"),
        ("a.xml", b"<s:Envelope xmlns:s='x'><s:Body><s:Fault/></s:Body></s:Envelope>"),
        ("a.xml", b"<xml><return_code>FAIL</return_code></xml>"),
        ("a.xml", b"<Error><Code>NoSuchKey</Code><Key>1.xml</Key><InvoiceId>1</InvoiceId></Error>"),
        ("a.xml", b"<Response><Code>404</Code><InvoiceId>1</InvoiceId></Response>"),
        ("a.ofd", XML + b"<EInvoice><Header/></EInvoice>"),
        ("a.xml", b"<!-- never ends"),
        ("a.xml", b"AccessDenied"),
        ("a.pdf", b"AccessDenied"),
        ("a.pdf", "链接已过期".encode()),
        ("a.pdf", "链接已过期".encode("gbk")),
        ("A.OFD", b"AccessDenied: Request has expired."),
        ("a.jpg", b"Not Found"),
        ("a.png", b'  \xef\xbb\xbf{"code":"AccessDenied"}'),
        ("a.png", b"\xef\xbb\xbfForbidden"),
        ("a.pdf", b"\n"),
        ("a", b"404 page not found"),
        ("a.bin", "签名已失效".encode()),
        ("a.bin", b" \n" * 700),
    ],
)
async def test_an_error_document_is_no_file(name: str, content: bytes, tmp_path: Path) -> None:
    """An error document with status 200 in place of the file is not kept; the next fetch requests the file again."""
    async with Sandbox() as box, session_on(box) as ekb:
        box.vendor.add_invoice("c:1:1", content=content, file_name=name)
        for times in (1, 2):
            with pytest.raises(ResponseError, match="in place of the file"):
                await ekb.downloads(tmp_path).fetch("c:1:1")
            assert names_in(tmp_path) == []
            assert box.count("file") == times


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", XML + b"<EInvoice><Head/><Body/><Error>no</Error></EInvoice>"),
        ("a.xml", (XML.decode() + "<发票/>").encode()),
        ("a.xml", b"<ns:EInvoice xmlns:ns='x'/>"),
        ("a.pdf", b"%PDF-1.4 {}"),
        ("a.pdf", b"   %PDF-1.4"),
        ("a.ofd", b"PK\x03\x04{"),
        ("a", b"\xff\xd8\xff\xe0{"),
        ("a.png", b"\xff\xd8\xff\xe0 a JPEG of another name"),
        ("a.pdf", b"PK\x03\x04"),
        ("a.heic", b"\0\0\0\x18ftypheic"),
        ("a.pdf", b"@PJL\r\n" * 50 + b"%PDF-1.7"),
        ("a.pdf", b"\n" * 2000 + b"%PDF-1.7"),
        ("a.xml", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'x'>]><EInvoice><Header/></EInvoice>"),
        ("a.xml", (XML.decode() + "<EInvoice><Header/></EInvoice>").encode("utf-16")),
        ("a.xml", b"<!-- " + b"x" * 2000 + b" -->" + XML + b"<EInvoice/>"),
        ("a.xml", XML.replace(b"UTF-8", b"GBK") + "<发票><发票代码/><错误/></发票>".encode("gbk")),
        ("a.xml", b"<Response><Code>0</Code><Message>success</Message><Data><EInvoice/></Data></Response>"),
        ("a.xml", b"<response><returncode>0000</returncode><invoice><invoiceCode>1</invoiceCode></invoice></response>"),
        ("a.xml", b"<Envelope><Header/><Body><Invoice><Code>044</Code></Invoice></Body></Envelope>"),
        ("a.xml", b"<EInvoice><ErrorCode>0</ErrorCode><Header/></EInvoice>"),
        ("a.xml", b"<xml><fpdm>044</fpdm><code>1</code></xml>"),
        ("a.xml", b"<root><default>1</default></root>"),
        ("a.xml", "<报文><Message/><Code/><发票代码>044</发票代码></报文>".encode()),
        ("a.bin", XML + b"<EInvoice><Header/></EInvoice>"),
        ("a.xml", b"<Business><Code>1</Code></Business>"),
        ("a.xml", b"<root><InvoiceCode>1</InvoiceCode></root>"),
        ("a.pdf", bytes(2000)),
        ("a.bin", bytes(range(256)) * 8),
        ("a.txt", "没有错误".encode()),
        ("a.bin", b"{" + bytes(range(256)) * 8),
    ],
)
async def test_an_invoice_that_is_a_document_is_kept(name: str, content: bytes, tmp_path: Path) -> None:
    """An invoice is kept although its file resembles an error document."""
    async with Sandbox() as box, session_on(box) as ekb:
        box.vendor.add_invoice("c:1:1", content=content, file_name=name)
        path = await ekb.downloads(tmp_path).fetch("c:1:1")
        assert path.read_bytes() == content


@pytest.mark.parametrize(("status", "is_requested"), [(302, False), (405, False), (403, True), (400, True)])
async def test_the_hint_mentions_fresh_urls_only_if_requested(status: int, is_requested: bool, tmp_path: Path) -> None:
    """An error mentions fresh URLs only if one was requested."""
    async with Sandbox(faults=[Fault.answer(status, "no", calls="file")]) as box, session_on(box) as ekb:
        box.vendor.add_invoice("c:1:1", content=b"%PDF-1.4", file_name="a.pdf")
        with pytest.raises(ApiError) as caught:
            await ekb.downloads(tmp_path).fetch("c:1:1")
        assert ("Fresh URLs" in caught.value.hint) == is_requested == (box.count("invoice_url") > 1)


async def test_a_long_beginning_that_says_nothing_is_followed_by_the_file(tmp_path: Path) -> None:
    """A file is classified by its first content alone, however long the comment before it is."""
    content = b"<!--" + b" " * 200_000 + b"--><EInvoice>" + b"<Error>x</Error>" * 40_000 + b"</EInvoice>"
    async with Sandbox() as box, session_on(box) as ekb:
        box.vendor.add_invoice("c:1:1", content=content, file_name="a.xml")
        path = await ekb.downloads(tmp_path).fetch("c:1:1")
        assert path.read_bytes() == content
