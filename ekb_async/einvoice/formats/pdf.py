"""PDF files: XML attachments, the document's information, and on each page its text and QR codes.

PDFium is not thread-safe, so one thread at a time reads a PDF in a process. It is used only while the lock is held.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from ekb_async.einvoice.budget import Budget, OutOfTimeError, tried
from ekb_async.einvoice.formats import pictures
from ekb_async.einvoice.formats.pdf_check import check_pdf
from ekb_async.einvoice.formats.rendering import rendered
from ekb_async.einvoice.formats.sniff import format_of
from ekb_async.einvoice.formats.symbols import symbols
from ekb_async.einvoice.formats.xml_invoice import read_xml
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import library
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.page_text import read_page
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
_SLIP_HEIGHT = 450
"""Points: a lower page is one invoice, whose QR code is at the top left."""
_TOP_LEFT = 0.5
"""Part of the width and height that is searched first there."""
_SCALE, _FINE_SCALE = 2.0, 4.0


def read_pdf(data: bytes, budget: Budget) -> Iterator[list[Evidence]]:
    """Yield the evidence of each page, and of the document.

    Raises `MissingLibraryError` if a library is missing, `ValueError` for what is refused, and `PdfiumError` for what
    is no PDF or encrypted.
    """
    pdfium = library("pypdfium2")
    library("zxingcpp")
    check_pdf(data)
    with _lock:
        document = pdfium.PdfDocument(data)
        try:
            about_all = (tried(_information, document) or []) + _attachments(document, budget)
            pages, is_whole = _pages(document, budget, is_known=any(map(keys, about_all)))
        finally:
            document.close()
    yield from _assigned(about_all, pages)
    if not is_whole:
        raise OutOfTimeError


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


def _attachments(document: Any, budget: Budget) -> list[Evidence]:
    """Return the invoices of the attachments that are XML, under any name."""
    found: list[Evidence] = []
    for index in range(min(document.count_attachments(), LIMITS.pdf_attachments)):
        budget.check()
        found += tried(_attachment, document, index) or []
    return found


def _attachment(document: Any, index: int) -> list[Evidence]:
    data = bytes(document.get_attachment(index).get_data())
    if format_of(data) != "xml":
        return []
    return [evidence for invoice in read_xml(data, Source.PDF_ATTACHMENT) for evidence in invoice]


def _pages(document: Any, budget: Budget, *, is_known: bool) -> tuple[list[list[Evidence]], bool]:
    """Return the evidence of each page, and whether there was time for all of them."""
    pages: list[list[Evidence]] = []
    try:
        for index in range(min(len(document), LIMITS.pdf_pages)):
            budget.check()
            pages.append(tried(_page, document, index, budget, is_known=is_known) or [])
            if any(map(keys, pages[-1])):
                budget.renew()
    except OutOfTimeError:
        return pages, False
    return pages, len(document) <= LIMITS.pdf_pages


def _page(document: Any, index: int, budget: Budget, *, is_known: bool) -> list[Evidence]:
    page = document[index]
    found: list[Evidence] = []
    try:
        text = _text(page)
        found = tried(read_page, text) or []
        is_known = is_known or any(map(keys, found))
        is_scan = not text.strip() and not is_known
        found += tried(_codes, page, budget, is_scan=is_scan) or []
    except OutOfTimeError:
        pass  # the text stays; before the next page, the time is checked again
    finally:
        page.close()
    return found


def _text(page: Any) -> str:
    layer = page.get_textpage()
    try:
        return str(layer.get_text_range(0, min(layer.count_chars(), LIMITS.page_characters)))
    finally:
        layer.close()


def _codes(page: Any, budget: Budget, *, is_scan: bool) -> list[Evidence]:
    """Return what the QR codes of a page state; the top left of a small page first, a scan in all ways."""
    _, height = page.get_size()
    if height <= _SLIP_HEIGHT:
        if found := symbols(rendered(page, _SCALE, top_left=_TOP_LEFT)):
            return found
        budget.check()
    if is_scan:
        return pictures.search(rendered(page, _FINE_SCALE), budget)
    return symbols(rendered(page, _SCALE))
