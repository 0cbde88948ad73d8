"""Decode with msgspec alone: structs of the needed fields, all others skipped. The fastest way, and the strictest.

It supports one kind of invoice and one type for each value; a single value of another type fails the whole body.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, field
from msgspec.json import Decoder

from benchmarks.decoders import Reader, Values, day_of, number_of, printed_day, rate_of


class Recognised(Struct):
    code: str
    number: str
    date: str
    total: Decimal
    seller: str


class OcrInvoice(Struct):
    details: Recognised


class OcrValue(Struct):
    invoices: list[OcrInvoice]


class OcrReply(Struct):
    value: OcrValue


class Money(Struct):
    standard: Decimal


class Form(Struct):
    number: str = field(name="E_system_发票主体_发票号码")
    total: Money = field(name="E_system_发票主体_价税合计")
    date: int = field(name="E_system_发票主体_发票日期")


class Master(Struct):
    id: str
    form: Form


class VerifiedItem(Struct):
    master: Master
    ischeck: bool


class VerifyReply(Struct):
    items: list[VerifiedItem]


class UrlItem(Struct, rename="camel"):
    id: str
    url: str
    thumb_url: str
    source: str
    file_name: str


class UrlsReply(Struct):
    items: list[UrlItem]


class Line(Struct):
    name: str = field(name="E_system_发票明细_name")
    quantity: str = field(name="E_system_发票明细_数量")
    tax_rate: str = field(name="E_system_发票明细_税率")
    tax: Money = field(name="E_system_发票明细_税额")
    amount: Money = field(name="E_system_发票明细_金额")


class DetailsReply(Struct):
    items: list[Line]


_ocr = Decoder(OcrReply).decode
_verify = Decoder(VerifyReply).decode
_urls = Decoder(UrlsReply).decode
_details = Decoder(DetailsReply).decode


def read_ocr(body: bytes) -> Values:
    found = [invoice.details for invoice in _ocr(body).value.invoices]
    return [(each.code, each.number, printed_day(each.date), each.total, each.seller) for each in found]


def read_verify(body: bytes) -> Values:
    return [
        (item.master.id, item.ischeck, form.number, form.total.standard, day_of(form.date))
        for item in _verify(body).items
        for form in [item.master.form]
    ]


def read_urls(body: bytes) -> Values:
    return [(item.id, item.url, item.thumb_url, item.source, item.file_name) for item in _urls(body).items]


def read_details(body: bytes) -> Values:
    return [
        (line.name, number_of(line.quantity), rate_of(line.tax_rate), line.tax.standard, line.amount.standard)
        for line in _details(body).items
    ]


READER = Reader(read_ocr, read_verify, read_urls, read_details)
