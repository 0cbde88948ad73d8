"""The lines of invoices as a table: those of verified invoices, of checks, and of rows that asked for lines.

Rows that share a call have the same lines, which are listed with the row that the call was made from. OCR reads names
of lines only, if any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec

from ekb_async.backlog.results.export.columns import TENANT, Column, Columns, Row, column_of
from ekb_async.backlog.results.found import Found
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.store.values.ledger_answers import SOURCE
from ekb_async.errors import ResponseError
from ekb_async.models import CheckedInvoice, InvoiceDetail, InvoiceId, InvoiceKind, OcrResult, VerifyResult

LINE_COLUMNS = (
    column_of("file"),
    column_of("invoice_number"),
    Column("line_number", "Line", "行号", int, 8),
    Column("name", "Goods or service", "货物或服务名称", str, 34),
    Column("specification", "Specification", "规格型号", str, 16),
    Column("unit", "Unit", "单位", str, 8),
    Column("quantity", "Quantity", "数量", Decimal, 12),
    Column("unit_price", "Unit price", "单价", Decimal, 14),
    Column("amount", "Amount excluding tax", "金额（不含税）", Decimal, 16),
    Column("tax_rate", "Tax rate", "税率", str, 10),
    column_of("tax", 14),
    column_of("currency", 8),
    column_of("invoice_kind", 26),
    column_of("invoice_code"),
    column_of("invoice_date", 13),
    column_of("seller"),
    column_of("staff_id"),
    column_of("ref"),
    column_of("kind", 16),
    column_of("id", 12),
    column_of("same_as"),
    Column("type", "Vehicle type", "车辆类型", str, 12),
    Column("plate_number", "Plate number", "车牌号", str, 12),
    Column("passed_from", "Passed from", "通行日期起", date, 13),
    Column("passed_until", "Passed until", "通行日期止", date, 13),
    Column("line_is_used", "Line used", "明细是否已使用", bool, 16),
    Column("line_id", "Line ID", "明细ID", str, 24),
)
FINE = ("quantity", "unit_price")
"""Columns with more places than an amount: a price without its tax often has a dozen."""
_BETWEEN_NAMES = re.compile(r"[,，、](?=\*)")
_PROVIDER_NAMES: Mapping[str, tuple[str, ...]] = {
    "name": ("goodsname", "name"),
    "specification": ("spec", "specification"),
    "unit": ("unit",),
    "quantity": ("num", "quantity"),
    "unit_price": ("price", "unitprice"),
    "amount": ("amount",),
    "tax_rate": ("taxrate",),
    "tax": ("tax", "taxamount"),
}
"""What the provider of checks calls the values of a line, in any case; it is on no page of the vendor."""
_TEXTS = ("name", "specification", "unit", "tax_rate")


class Line(NamedTuple):
    """The values of a line, under the names of the columns."""

    line_number: int
    name: str | None = None
    specification: str | None = None
    unit: str | None = None
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    amount: Decimal | None = None
    tax_rate: str | None = None
    tax: Decimal | None = None
    currency: str | None = None
    type: str | None = None
    plate_number: str | None = None
    passed_from: date | None = None
    passed_until: date | None = None
    line_is_used: bool | None = None
    line_id: str | None = None


def line_columns(*, tenants: bool = False) -> Columns:
    """Return the columns of a table of lines; with `tenants`, the tenant is the last."""
    return (*LINE_COLUMNS, TENANT) if tenants else LINE_COLUMNS


class InvoiceLines:
    """Makes the rows of a table of lines. Answers are read from `raw`, so tasks may be unread ones.

    With `named`, or in Chinese, kinds are words for people; else they are words for programs.
    """

    def __init__(self, columns: Columns, names: Names, *, named: bool = False) -> None:
        self._names = names if named or names.texts.is_chinese else None
        of_task = ("file", "staff_id", "ref", "id", "same_as", "tenant")
        of_invoice = ("invoice_code", "invoice_number", "invoice_date", "seller")
        self._of_task, self._of_invoice = attrgetter(*of_task), attrgetter(*of_invoice)
        order = ("kind", "invoice_kind", *of_task, *of_invoice, *Line._fields)
        self._arranged = itemgetter(*(order.index(column.name) for column in columns))

    def of(self, task: Task, found: Sequence[Found]) -> Iterator[Row]:
        """Yield the lines in the answer of a task; `found` are the invoices in it."""
        if task.shared or task.raw is None or task.source == SOURCE:
            return
        try:
            listed = _READERS[task.kind](task.raw)
        except (ResponseError, msgspec.DecodeError, RecursionError):
            return
        if task.kind == "detail":
            wanted = InvoiceId.parse(task.invoice_id)
            found = [Found(invoice_code=wanted.code, invoice_number=wanted.number)]
        common = self._of_task(task)
        for invoice, lines in zip(found, listed, strict=False):
            if lines:
                kinds = self._kinds(task.kind, invoice.invoice_kind)
                before = (*kinds, *common, *self._of_invoice(invoice))
                for line in lines:
                    yield self._arranged((*before, *line))

    def _kinds(self, call: str, invoice: InvoiceKind | None) -> tuple[str, str | None]:
        if self._names is None:
            return call, invoice
        return self._names.call(call), invoice and self._names.invoice(invoice)


def _of_verify(answer: bytes) -> list[list[Line]]:
    return [_lines(each.details) for each in VerifyResult.from_raw(answer).invoices]


def _of_detail(answer: bytes) -> list[list[Line]]:
    lines = msgspec.json.decode(answer, type=list[msgspec.Raw])
    return [_lines(InvoiceDetail.from_raw(bytes(line)) for line in lines)]


def _of_ocr(answer: bytes) -> list[list[Line]]:
    read = [each.details.item_names or "" for each in OcrResult.from_raw(answer).invoices]
    return [[Line(number, name) for number, name in enumerate(_BETWEEN_NAMES.split(each), 1) if name] for each in read]


def _of_check(answer: bytes) -> list[list[Line]]:
    items = CheckedInvoice.from_raw(answer).item_data
    listed = [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    return [[_provided(number, each) for number, each in enumerate(listed, 1)]]


def _of_nothing(_: bytes) -> list[list[Line]]:
    return []


_READERS: Mapping[str, Callable[[bytes], list[list[Line]]]] = {
    "ocr": _of_ocr,
    "verify": _of_verify,
    "verify_by_id": _of_check,
    "verify_by_fields": _of_check,
    "detail": _of_detail,
    "url": _of_nothing,
    "download": _of_nothing,
}


def _lines(details: Iterable[InvoiceDetail]) -> list[Line]:
    return [
        Line(
            number,
            each.name,
            each.specification,
            each.unit,
            each.quantity,
            each.unit_price,
            each.amount,
            each.tax_rate_text,
            each.tax,
            each.currency,
            each.type,
            each.plate_number,
            each.passed_from,
            each.passed_until,
            each.is_used,
            each.id,
        )
        for number, each in enumerate(details, 1)
    ]


def _provided(number: int, values: Mapping[str, Any]) -> Line:
    """Return a line as the provider of checks has it."""
    folded = {name.casefold(): value for name, value in values.items()}
    line: dict[str, Any] = {}
    for name, known in _PROVIDER_NAMES.items():
        value = next((folded[each] for each in known if folded.get(each) not in (None, "")), None)
        if isinstance(value, str | int | float):
            line[name] = str(value) if name in _TEXTS else _number(str(value))
    if (percent := _number(line.get("tax_rate"))) is not None and percent >= 1:
        line["tax_rate"] = f"{percent}%"
    return Line(number, **line)


def _number(digits: str | None) -> Decimal | None:
    try:
        number = Decimal(digits or "")
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
