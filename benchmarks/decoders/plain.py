"""Decode from dictionaries, with any JSON loader."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from benchmarks.decoders import Reader, Values, day_of, number_of, printed_day, rate_of

_FORM = "E_system_发票主体_"
_LINE = "E_system_发票明细_"


def reader(loads: Callable[[bytes], Any]) -> Reader:
    """Return a reader that uses `json.loads`, `orjson.loads` or the like."""

    def ocr(body: bytes) -> Values:
        found = [invoice["details"] for invoice in loads(body)["value"]["invoices"]]
        return [(d["code"], d["number"], printed_day(d["date"]), Decimal(d["total"]), d["seller"]) for d in found]

    def verify(body: bytes) -> Values:
        return [_verified(item) for item in loads(body)["items"]]

    def urls(body: bytes) -> Values:
        return [(i["id"], i["url"], i["thumbUrl"], i["source"], i["fileName"]) for i in loads(body)["items"]]

    def details(body: bytes) -> Values:
        return [_line(item) for item in loads(body)["items"]]

    return Reader(ocr, verify, urls, details)


def _verified(item: dict[str, Any]) -> tuple[Any, ...]:
    master = item["master"]
    form = master["form"]
    total, day = _money(form[_FORM + "价税合计"]), day_of(form[_FORM + "发票日期"])
    return master["id"], item["ischeck"], form[_FORM + "发票号码"], total, day


def _line(item: dict[str, Any]) -> tuple[Any, ...]:
    quantity, rate = number_of(item[_LINE + "数量"]), rate_of(item[_LINE + "税率"])
    return item[_LINE + "name"], quantity, rate, _money(item[_LINE + "税额"]), _money(item[_LINE + "金额"])


def _money(amount: dict[str, Any] | None) -> Decimal | None:
    return None if amount is None else Decimal(amount["standard"])
