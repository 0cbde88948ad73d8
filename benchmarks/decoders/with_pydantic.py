"""Decode with pydantic: models of the needed fields, all others ignored."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from benchmarks.decoders import Reader, Values, day_of, number_of, printed_day, rate_of

M = TypeVar("M", bound=BaseModel)


class Recognised(BaseModel):
    code: str
    number: str
    date: Annotated[datetime.date, BeforeValidator(printed_day)]
    total: Decimal
    seller: str


class OcrInvoice(BaseModel):
    details: Recognised


class OcrValue(BaseModel):
    invoices: list[OcrInvoice]


class OcrReply(BaseModel):
    value: OcrValue


class Money(BaseModel):
    standard: Decimal


class Form(BaseModel):
    number: str = Field(alias="E_system_发票主体_发票号码")
    total: Money = Field(alias="E_system_发票主体_价税合计")
    date: Annotated[datetime.date, BeforeValidator(day_of)] = Field(alias="E_system_发票主体_发票日期")


class Master(BaseModel):
    id: str
    form: Form


class VerifiedItem(BaseModel):
    master: Master
    ischeck: bool


class VerifyReply(BaseModel):
    items: list[VerifiedItem]


class UrlItem(BaseModel):
    id: str
    url: str
    thumb_url: str = Field(alias="thumbUrl")
    source: str
    file_name: str = Field(alias="fileName")


class UrlsReply(BaseModel):
    items: list[UrlItem]


class Line(BaseModel):
    name: str = Field(alias="E_system_发票明细_name")
    quantity: Annotated[Decimal | None, BeforeValidator(number_of)] = Field(alias="E_system_发票明细_数量")
    tax_rate: Annotated[Decimal, BeforeValidator(rate_of)] = Field(alias="E_system_发票明细_税率")
    tax: Money = Field(alias="E_system_发票明细_税额")
    amount: Money = Field(alias="E_system_发票明细_金额")


class DetailsReply(BaseModel):
    items: list[Line]


def from_json(model: type[M], body: bytes) -> M:
    """Decode a body with pydantic's own JSON parser."""
    return model.model_validate_json(body)


def from_loaded(model: type[M], body: bytes) -> M:
    """Decode a body with `json`, as the clients' `.json()` does, and validate the result."""
    return model.model_validate(json.loads(body))


class Parse(Protocol):
    """Decodes a body into a model."""

    def __call__(self, model: type[M], body: bytes, /) -> M: ...


def reader(parsed: Parse) -> Reader:
    """Return a reader that uses the given way to decode a body into a model."""

    def ocr(body: bytes) -> Values:
        found = [invoice.details for invoice in parsed(OcrReply, body).value.invoices]
        return [(each.code, each.number, each.date, each.total, each.seller) for each in found]

    def verify(body: bytes) -> Values:
        return [
            (item.master.id, item.ischeck, form.number, form.total.standard, form.date)
            for item in parsed(VerifyReply, body).items
            for form in [item.master.form]
        ]

    def urls(body: bytes) -> Values:
        items = parsed(UrlsReply, body).items
        return [(item.id, item.url, item.thumb_url, item.source, item.file_name) for item in items]

    def details(body: bytes) -> Values:
        lines = parsed(DetailsReply, body).items
        return [(line.name, line.quantity, line.tax_rate, line.tax.standard, line.amount.standard) for line in lines]

    return Reader(ocr, verify, urls, details)
