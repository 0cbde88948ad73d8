"""PDF files: attachments, information, pages."""

from __future__ import annotations

from zipfile import ZIP_STORED

from ekb_async.einvoice import read
from tests.support.hostile_files import HOSTILE
from tests.support.invoice_files import (
    DIGITAL_QR,
    NUMBER,
    OLD_QR,
    OTHER,
    pdf,
    platform_xml,
    qr_image,
    sample,
    xbrl,
    zipped,
)

OTHER_QR = DIGITAL_QR.replace(NUMBER, OTHER)


def test_an_attachment_is_found_by_its_content() -> None:
    """An attachment named `0` that begins with a byte order mark is XML; one that is no XML does not matter."""
    xml = b"\xef\xbb\xbf \n" + platform_xml().encode()
    (found,) = read(pdf(None, attachments=[("a.txt", b"text"), ("0", xml), ("b.xml", b"<broken")]))
    assert (found.identity, found.sources["number"]) == (NUMBER, ["pdf-attachment"])


def test_several_attachments_are_several_invoices() -> None:
    """Each attachment is an invoice, whatever the pages show."""
    files = [(number, platform_xml(number).encode()) for number in (NUMBER, OTHER)]
    assert [each.identity for each in read(pdf(None, None, attachments=files))] == [NUMBER, OTHER]


def test_pages_are_read_apart() -> None:
    """Two pages with two invoices are two; a list page between belongs to none, a copy of a page adds nothing."""
    pages = pdf(qr_image(DIGITAL_QR), None, qr_image(OTHER_QR), qr_image(DIGITAL_QR))
    assert [each.identity for each in read(pages)] == [NUMBER, OTHER]


def test_all_codes_of_a_page_are_read() -> None:
    """Several QR codes on a page are several invoices; an advertisement is none."""
    page = pdf(qr_image("https://example.com/advertisement", DIGITAL_QR, OLD_QR, module=3))
    assert {each.identity for each in read(page)} == {NUMBER, "099002400111-00000017"}


def test_a_page_that_contradicts_the_attachment_leaves_no_identity() -> None:
    """A document of one invoice whose parts name two names none for certain."""
    (found,) = read(pdf(qr_image(OTHER_QR), attachments=[("x.xml", platform_xml().encode())]))
    assert (found.identity, found.conflicts["identity"]) == (None, [NUMBER, OTHER])


def test_a_damaged_attachment_leaves_the_page() -> None:
    """An attachment that contradicts itself does not count; the page does."""
    file = pdf(qr_image(DIGITAL_QR), attachments=[("x.xml", platform_xml(header_number=OTHER).encode())])
    assert [(each.identity, each.sources["number"]) for each in read(file)] == [(NUMBER, ["qr"])]


def test_information_confirms_the_page() -> None:
    """The keys of the document's information are a source of their own."""
    (found,) = read(sample("digital_special.pdf"))
    assert found.sources["number"] == ["pdf-info", "qr", "pdf-text"]


def test_a_page_that_takes_too_long_to_draw_leaves_the_others() -> None:
    """What was found before stays, though the rest is not read."""
    slow = HOSTILE["slow shading"]()
    files = [("good.pdf", pdf(qr_image(DIGITAL_QR))), ("slow.pdf", slow), ("slower.pdf", slow)]
    assert [each.identity for each in read(zipped(files, method=ZIP_STORED))] == [NUMBER]


def test_a_rail_ticket_has_no_text() -> None:
    """The attached report is all there is to read."""
    report = xbrl("rai", ElectronicInvoiceRailwayETicketNumber="25999900900000000011", Fare="1.00").encode()
    assert [each.identity for each in read(pdf(None, attachments=[("rai.xml", report)]))] == ["25999900900000000011"]


def test_what_pdfium_cannot_open_says_nothing() -> None:
    """A header without a document, and an encrypted one, give an empty list."""
    assert read(b"%PDF-1.7\ntrailer<</Encrypt 1 0 R>>") == []
