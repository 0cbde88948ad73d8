"""PDF files: XML attachments, the document's information, and on each page its text and QR codes.

PDFium is not thread-safe, so one thread at a time reads a PDF in a process. It is used only while the lock is held.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from ekb_async.einvoice.formats import pictures
from ekb_async.einvoice.formats.pdf_files.page_check import is_settled, objects_of
from ekb_async.einvoice.formats.pdf_files.rendering import rendered
from ekb_async.einvoice.formats.pdf_files.stream_check import check_pdf
from ekb_async.einvoice.formats.sniff import format_of
from ekb_async.einvoice.formats.symbols import Symbols, symbols
from ekb_async.einvoice.formats.xml_invoice import read_xml
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import library
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.page_text import read_page
from ekb_async.einvoice.progress import NoInvoiceFileError, OutOfTimeError, Progress, UnusableError, tried
from ekb_async.einvoice.values import evidence_of

_lock = threading.Lock()

_INFO = {
    "code": "InvoiceCode",
    "number": "InvoiceNumber",
    "date": "IssueTime",
    "amount_excluding_tax": "TotalAmWithoutTax",
    "tax": "TotalTaxAm",
    "total": "TotalTax-includedAmount",
    "seller": "SellerName",
    "seller_tax_id": "SellerIdNum",
    "buyer": "BuyerName",
    "buyer_tax_id": "BuyerIdNum",
}
_ENCRYPTED = re.compile(rb"/Encrypt\b")
_NO_PAGES = re.compile(rb"/Kids\s{0,9}\[\s{0,9}\]")
_SLIP_HEIGHT = 450
"""Points: a lower page is one invoice, whose QR code is at the top left."""
_TOP_LEFT = 0.5
"""Part of the width and height that is searched first there."""
_SCALE, _FINE_SCALE = 2.0, 4.0


class _Page(msgspec.Struct):
    """What a page states, and whether it may show a further invoice."""

    evidence: list[Evidence] = []
    is_settled: bool = False
    is_blank: bool = False


def read_pdf(data: bytes, progress: Progress) -> Iterator[list[Evidence]]:
    """Yield the evidence of each page, and of the document.

    Raises `MissingLibraryError` if a library is missing, `UnusableError` for what is damaged, encrypted or blank, and
    `ValueError` for what is refused.
    """
    pdfium = library("pypdfium2")
    library("zxingcpp")
    streams = check_pdf(data)
    with _lock:
        document = _opened(pdfium, data)
        try:
            about_all = (tried(_information, document) or []) + _attachments(document, progress)
            pages = list(_pages(document, progress, is_known=any(map(keys, about_all))))
            is_whole = len(pages) == len(document)
        finally:
            document.close()
    if is_whole and not any(map(keys, about_all)) and all(page.is_blank for page in pages):
        is_blank = progress.is_complete and streams.are_whole and not streams.show_something
        raise NoInvoiceFileError("all pages are blank") if is_blank else UnusableError("the PDF is damaged")
    if not streams.are_whole or not is_whole or not _is_settled(about_all, pages):
        progress.leave_out()
    yield from _assigned(about_all, [page.evidence for page in pages])
    if not is_whole:
        raise OutOfTimeError


def _opened(pdfium: Any, data: bytes) -> Any:
    try:
        return pdfium.PdfDocument(data)
    except pdfium.PdfiumError:  # its code may be that of an earlier error
        if _ENCRYPTED.search(data):
            raise UnusableError("the PDF needs a password") from None
        if _NO_PAGES.search(data):
            raise NoInvoiceFileError("the PDF has no pages") from None
        raise UnusableError("the PDF is damaged") from None


def _is_settled(about_all: list[Evidence], pages: list[_Page]) -> bool:
    """Return whether no page may show a further invoice: one that names none may be about what is attached.

    It need not be about what the document's information names, which stays when pages are exchanged.
    """
    named = {key for page in pages for each in page.evidence for key in keys(each)}
    attached = [each for each in about_all if each.source is Source.PDF_ATTACHMENT]
    about_pages = [each for each in attached if keys(each) and named.isdisjoint(keys(each))]
    unsettled = [page for page in pages if not page.is_settled]
    if any(map(keys, (each for page in unsettled for each in page.evidence))):
        return False
    return len(unsettled) <= len({keys(each)[0] for each in about_pages})


def _assigned(about_all: list[Evidence], pages: list[list[Evidence]]) -> list[list[Evidence]]:
    """Return the places of a document, with the evidence about all of it at the only page that names an invoice.

    If several pages do, an attachment stands alone, and the document's information counts where it names one of them.
    """
    telling = pages if len(pages) == 1 else [page for page in pages if any(each.number for each in page)]
    named = {key for page in telling for each in page for key in keys(each)}
    if len(telling) < 2 or len(named) == 1:
        return [[*about_all, *(each for page in telling for each in page)]]
    kept = [each for each in about_all if each.source is not Source.PDF_INFO or named.intersection(keys(each))]
    return [*telling, *([each] for each in kept)]


def _information(document: Any) -> list[Evidence]:
    texts = {field: document.get_metadata_value(key) for field, key in _INFO.items()}
    found = evidence_of(Source.PDF_INFO, texts)
    return [found] if found.number else []


def _attachments(document: Any, progress: Progress) -> list[Evidence]:
    """Return the invoices of the attachments that are XML, under any name."""
    found: list[Evidence] = []
    count = document.count_attachments()
    for index in range(min(count, LIMITS.pdf_attachments)):
        progress.check()
        attached = tried(_attachment, document, index, progress)
        if attached is None:
            progress.leave_out()
        found += attached or []
    if count > LIMITS.pdf_attachments:
        progress.leave_out()
    return found


def _attachment(document: Any, index: int, progress: Progress) -> list[Evidence]:
    data = bytes(document.get_attachment(index).get_data())
    kind = format_of(data)
    if kind == "xml":
        return [evidence for invoice in read_xml(data, Source.PDF_ATTACHMENT, progress) for evidence in invoice]
    if kind != "unknown":
        progress.leave_out()
    return []


def _pages(document: Any, progress: Progress, *, is_known: bool) -> Iterator[_Page]:
    """Yield what each page states, as far as there is time."""
    for index in range(min(len(document), LIMITS.pdf_pages)):
        try:
            progress.check()
        except OutOfTimeError:
            return
        page = tried(_page, document, index, progress, is_known=is_known) or _Page()
        progress.renew(page.evidence)
        yield page


def _page(document: Any, index: int, progress: Progress, *, is_known: bool) -> _Page:
    page = document[index]
    try:
        shown = objects_of(page)
        if shown.is_blank:
            return _Page(is_blank=True)  # the page may be damaged, so it is not settled
        text, is_whole = _text(page)
        found = tried(read_page, text) or []
        is_known = is_known or any(map(keys, found))
        is_scan = not text.strip() and not is_known
        codes = Symbols([], has_unread=True)
        with suppress(OutOfTimeError):  # the text stays; before the next page, the time is checked again
            codes = tried(_codes, page, progress, is_scan=is_scan) or codes
    finally:
        page.close()
    evidence = found + codes.evidence
    return _Page(evidence, is_settled=is_whole and not codes.has_unread and is_settled(text, evidence, shown))


def _text(page: Any) -> tuple[str, bool]:
    """Return the text of a page, and whether that is all of it."""
    layer = page.get_textpage()
    try:
        count = layer.count_chars()
        return str(layer.get_text_range(0, min(count, LIMITS.page_characters))), count <= LIMITS.page_characters
    finally:
        layer.close()


def _codes(page: Any, progress: Progress, *, is_scan: bool) -> Symbols:
    """Return what the QR codes of a page state; the top left of a small page first, a scan in all ways."""
    _, height = page.get_size()
    if height <= _SLIP_HEIGHT:
        found = symbols(rendered(page, _SCALE, top_left=_TOP_LEFT))
        if found.evidence:
            return found
        progress.check()
    if is_scan:
        return pictures.search(rendered(page, _FINE_SCALE), progress)
    return symbols(rendered(page, _SCALE))
