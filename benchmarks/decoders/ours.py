"""Decode with the package's models, which read any kind of invoice and any type of value, and keep the bytes."""

from __future__ import annotations

from benchmarks.decoders import Reader, Values
from ekb_async import VerifyResult
from ekb_async.models.forms import VatInvoiceForm
from ekb_async.protocol.decoding import decode_details, decode_invoice_urls, decode_ocr, decode_verify


def read_ocr(body: bytes) -> Values:
    found = [invoice.details for invoice in decode_ocr(body).invoices]
    return [(each.code, each.number, each.date, each.total, each.seller) for each in found]


def read_verify(body: bytes) -> Values:
    return verified_values(decode_verify(body))


def verified_values(result: VerifyResult) -> Values:
    """Return the values of a decoded result."""
    return [
        (each.id, each.usable, form.number, form.total, form.date)
        for each in result.invoices
        if isinstance(form := each.form, VatInvoiceForm)
    ]


def read_urls(body: bytes) -> Values:
    return [(each.id, each.url, each.thumb_url, each.source, each.file_name) for each in decode_invoice_urls(body)]


def read_details(body: bytes) -> Values:
    return [(line.name, line.quantity, line.tax_rate, line.tax, line.amount) for line in decode_details(body)]


READER = Reader(read_ocr, read_verify, read_urls, read_details)
