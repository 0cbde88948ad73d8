"""`examine`: the format of a file, whether all in it was read, and why a file is of no use.

Two files that name the same certain invoices share one billed call, so what may hold a further invoice is not complete.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from ekb_async.einvoice import Reading, examine
from ekb_async.einvoice.limits import LIMITS
from tests.support.invoice_files import (
    DIGITAL_QR,
    EXPECTED,
    NUMBER,
    OLD_QR,
    OTHER,
    custom_data,
    encoded,
    encrypted_pdf,
    encrypted_zip,
    ofd,
    page_of,
    pdf,
    platform_xml,
    qr_image,
    sample,
    text_pdf,
    xbrl,
    zipped,
)

OTHER_QR = DIGITAL_QR.replace(NUMBER, OTHER)
BLANK = Image.new("L", (900, 600), 255)
BEHIND = Image.new("L", (595, 842), 255)
BEHIND.paste(qr_image(DIGITAL_QR, module=2), (50, 400))
STREAM = zlib.compress(BLANK.resize((9, 9)).tobytes())
INVOICE = f"电子发票（普通发票）\n发票号码：{NUMBER}\n开票日期：2025年03月09日\n¥943.40 ¥56.60\n价税合计 ¥1000.00"
LIST = "销售货物或者提供应税劳务清单\n名称 规格 数量 单价 金额\n纸张 A4 10 9.43 94.30\n小计 94.30 总计 94.30"
OLD_LIST = f"销货清单 所属增值税电子普通发票代码：{OLD_QR[6:18]} 号码：{OLD_QR[19:27]}\n{LIST}"


def photo(*texts: str, hidden: int = 0) -> Image.Image:
    """Return a picture with QR codes, the last `hidden` of which are stained so that they can be seen and not read."""
    image = qr_image(*texts)
    side = image.height
    draw = ImageDraw.Draw(image)
    for index in range(len(texts) - hidden, len(texts)):
        left = index * image.width // len(texts)
        draw.rectangle((left + side * 0.4, side * 0.4, left + side * 0.7, side * 0.7), fill=128)
    return image


def test_the_samples() -> None:
    """What a sample names is certain, unless it names no code or two numbers."""
    for name, expected in EXPECTED.items():
        identities = [expected["identity"], *expected.get("all", ())]
        certain = sorted({each for each in identities if each and not each.startswith("?")})
        assert examine(sample(name)).certain == tuple(certain), name


COMPLETE: dict[str, Callable[[], bytes]] = {
    "a list page": lambda: text_pdf(INVOICE, LIST),
    "a page with its number": lambda: text_pdf(INVOICE, f"{LIST}\n发票号码：{NUMBER}\n共2页 第2页"),
    "a picture behind an invoice": lambda: text_pdf(INVOICE, picture=BEHIND, covers=True),
    "one picture on a page": lambda: pdf(qr_image(DIGITAL_QR)),
    "an advertisement": lambda: encoded(photo(DIGITAL_QR, "https://example.com/a")),
    "a page without text beside an attachment": lambda: pdf(BLANK, attachments=[("0", platform_xml().encode())]),
    "an attached text": lambda: pdf(qr_image(DIGITAL_QR), attachments=[("a.txt", b"text")]),
    "XML twice": f"<all>{platform_xml()}{platform_xml()}</all>".encode,
    "an archive with other files": lambda: zipped([("a.xml", platform_xml()), ("Thumbs.db", b"\xd0\xcf"), ("e", b"")]),
}
INCOMPLETE: dict[str, Callable[[], bytes]] = {
    "a page with nothing": lambda: text_pdf(INVOICE, ""),
    "a damaged stream": lambda: text_pdf(INVOICE, picture=BLANK.resize((9, 9))).replace(STREAM, STREAM[:-2] + b"??"),
    "a scanned page": lambda: pdf(qr_image(DIGITAL_QR), BLANK),
    "a scanned page before": lambda: pdf(BLANK, qr_image(DIGITAL_QR)),
    "two scanned pages beside an attachment": lambda: pdf(BLANK, BLANK, attachments=[("0", platform_xml().encode())]),
    "an invoice without number": lambda: text_pdf(INVOICE, INVOICE.replace(NUMBER, "")),
    "a page of which the text cannot be read": lambda: text_pdf(INVOICE, "\x01\x02\x03" * 20),
    "a page with a page number": lambda: text_pdf(INVOICE, "第 2 页", picture=BLANK),
    "a scan with a watermark": lambda: text_pdf(INVOICE, LIST, picture=BLANK),
    "two invoices of which one is named": lambda: text_pdf(f"{INVOICE}\n开票日期：2025年03月09日"),
    "two numbers of which one is named": lambda: text_pdf(f"{INVOICE}\n{OTHER}"),
    "a page of a fiscal receipt": lambda: text_pdf(INVOICE, f"{LIST}\n票据代码：99060124 票据号码：0000000017"),
    "a page of a ride": lambda: text_pdf(INVOICE, f"行程单\n{LIST}"),
    "a foreign invoice": lambda: text_pdf(INVOICE, "INVOICE 4711 Hotel Fiction, two nights, total 200.00"),
    "text of a scanner": lambda: text_pdf(INVOICE, picture=BLANK, covers=True),
    "information about other pages": lambda: text_pdf(
        " ", picture=BLANK, information=b"/InvoiceNumber(%s)" % NUMBER.encode()
    ),
    "an invoice beside a picture": lambda: text_pdf(INVOICE, picture=BLANK),
    "two pictures on a page": lambda: pdf([qr_image(DIGITAL_QR, module=3), BLANK]),
    "a code that cannot be read": lambda: encoded(photo(DIGITAL_QR, OTHER_QR, hidden=1)),
    "a code that cannot be read on a page": lambda: pdf(photo(DIGITAL_QR, OTHER_QR, hidden=1)),
    "a code of a ticket": lambda: encoded(photo(DIGITAL_QR, "1234567890" * 14)),
    "a damaged attachment": lambda: pdf(qr_image(DIGITAL_QR), attachments=[("x.xml", b"<broken")]),
    "an attached picture": lambda: pdf(qr_image(DIGITAL_QR), attachments=[("x", encoded(BLANK))]),
    "a record without number": f"<all>{platform_xml()}{platform_xml('2599')}</all>".encode,
    "a damaged entry": lambda: zipped([("a.xml", platform_xml()), ("b.xml", "<broken")]),
    "an encrypted entry": lambda: encrypted_zip([("a.xml", platform_xml())], [("b.xml", platform_xml(OTHER))]),
    "a picture among the entries": lambda: zipped([("a.xml", platform_xml()), ("b.png", encoded(BLANK))]),
    "a RAR among the entries": lambda: zipped([("a.xml", platform_xml()), ("b.rar", b"Rar!\x1a\x07\0")]),
    "a page of a TIFF": lambda: encoded(
        photo(DIGITAL_QR).convert("1"), "TIFF", save_all=True, append_images=[BLANK.convert("1")]
    ),
    "an animation": lambda: encoded(photo(DIGITAL_QR), "GIF", save_all=True, append_images=[photo(OTHER_QR)]),
    "a page of an OFD": lambda: ofd(
        custom_data(发票号码=NUMBER, 价税合计="1.00"),
        [("Pages/Page_0/Content.xml", page_of(NUMBER)), ("Pages/Page_1/Content.xml", page_of(OTHER))],
    ),
    "a damaged page of an OFD": lambda: ofd(
        custom_data(发票号码=NUMBER, 价税合计="1.00"), [("Pages/Page_0/Content.xml", "<broken")]
    ),
    "an attachment of an OFD": lambda: ofd(custom_data(发票号码=NUMBER), [("Attachs/a.pdf", b"%PDF-")]),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_what_is_complete(name: str) -> None:
    """What shows no further invoice does not matter."""
    assert examine(COMPLETE[name]()).certain == (NUMBER,)


@pytest.mark.parametrize("name", INCOMPLETE)
def test_what_is_not_complete(name: str) -> None:
    """The invoice is found, and the file may hold another one."""
    reading = examine(INCOMPLETE[name]())
    assert NUMBER in [each.identity for each in reading.invoices]
    assert (reading.is_complete, reading.certain, reading.problem) == (False, (), "")


def test_the_list_of_an_older_invoice() -> None:
    """It names its invoice in words of its own."""
    old = INVOICE.replace(NUMBER, OLD_QR[19:27]).replace("发票号码", f"发票代码：{OLD_QR[6:18]}\n发票号码")
    assert examine(text_pdf(old, OLD_LIST)).certain == ("099002400111-00000017",)


def test_pages_beyond_the_limit_are_not_complete() -> None:
    """A PDF with very many pages is read in part."""
    reading = examine(pdf(qr_image(DIGITAL_QR), *[None] * LIMITS.pdf_pages))
    assert (len(reading.invoices), reading.is_complete) == (1, False)


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        (b"", "", "the file is empty"),
        (b"Dear all,", "", "no invoice file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "", "no invoice file"),
        (b"Rar!\x1a\x07\0", "", "a RAR archive, which cannot be read"),
        (encoded(BLANK)[:200], "picture", "the picture is damaged"),
        (encoded(BLANK, "JPEG")[:1500], "picture", "the picture is damaged"),
        (sample("digital_special.pdf")[:3000], "pdf", "the PDF is damaged"),
        (encrypted_pdf(), "pdf", "the PDF needs a password"),
        (pdf(), "pdf", "the PDF has no pages"),
        (pdf(None, None), "pdf", "all pages are blank"),
        (pdf(None, attachments=[("0", b"<broken")]), "pdf", "the PDF is damaged"),
        (pdf(BLANK).replace(b"/Contents", b"/Lost"), "pdf", "the PDF is damaged"),
        (b"<a/>", "xml", "XML without an invoice"),
        (sample("digital.xml")[:900], "xml", "the XML is damaged"),
        (sample("bad_dtd.xml"), "xml", "XML without an invoice"),
        (platform_xml(NUMBER, OTHER).encode(), "xml", "the XML names two numbers for one invoice"),
        (xbrl("bker", InvoiceNumber=NUMBER).encode(), "xml", "XML without an invoice"),
        (ofd(), "ofd", "OFD without an invoice"),
        (zipped([("a.txt", "text")]), "zip", "a ZIP without an invoice"),
        (zipped([("[Content_Types].xml", "<Types/>")]), "", "no invoice file"),
        (sample("bundle.zip")[:5000], "zip", "the archive is damaged"),
        (zipped((f"{n}.xml", "<a/>") for n in range(LIMITS.archive_entries + 1)), "zip", "too many entries"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_problems(content: bytes, form: str, problem: str) -> None:
    """What holds no invoice and is nothing to recognise says why."""
    reading = examine(content)
    assert (reading.invoices, reading.format, reading.certain) == ([], form, ())
    assert problem in reading.problem


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """It is not read at all, by path or as bytes."""
    path = tmp_path / "a.pdf"
    with path.open("wb") as file:
        file.truncate(LIMITS.file_bytes + 1)
    assert [examine(path), examine(bytes(LIMITS.file_bytes + 1))] == [Reading(problem="the file is too large")] * 2


@pytest.mark.parametrize("content", [encoded(BLANK), pdf(BLANK), text_pdf("Hotel Fiction, Room 12, two nights")])
def test_what_recognition_may_read_has_no_problem(content: bytes) -> None:
    """A picture or PDF in which no invoice was recognised is not complete either."""
    reading = examine(content)
    assert (reading.invoices, reading.problem, reading.certain) == ([], "", ())
