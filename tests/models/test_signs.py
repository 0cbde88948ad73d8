"""Amounts and dates with the signs, points and currency marks that typesetters, input methods and accountants use."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.models import OcrDetails, TaxiReceiptForm
from ekb_async.models.wire.coerce import CHINA
from tests.conftest import FAST
from tests.support.backlogs import manifest
from tests.support.fixed_answer import FixedAnswer

AMOUNTS = {
    "-¥123.45": "-123.45",
    "- ¥ 123.45": "-123.45",
    "-￥1,234.50": "-1234.50",
    "¥-123.45": "-123.45",
    "\u2212123.45": "-123.45",
    "\uff0d123.45": "-123.45",
    "\u2212￥123.45元": "-123.45",
    "¥\uff0d1，234\uff0e50": "-1234.50",
    "\u2013123.45": "-123.45",
    "\uff0b123.45": "123.45",
    "+¥1": "1",
    "123\uff0e45": "123.45",
    "１２３．４５": "123.45",
    "CNY 123.45": "123.45",
    "CNY-123.45": "-123.45",
    "-CNY123.45": "-123.45",
    "123.45 cny": "123.45",
    "RMB1,234.50": "1234.50",
    "RMB ¥1,234.50": "1234.50",
    "CN¥12": "12",
    "人民币123.45": "123.45",
    "人民币：123.45元": "123.45",
    "-人民币123.45圆": "-123.45",
    "123.45圆": "123.45",
    "123.45圆整": "123.45",
    "123元整": "123",
    "\u3000¥123.45\u00a0": "123.45",
}
NO_AMOUNTS = [
    "--1",
    "-¥-1",
    "¥",
    "CNY",
    "人民币",
    "-",
    "元",
    "1-2",
    "USD 12",
    "$12",
    "12.3.4",
    "1，2，3",
    "¥" * 100,
    "",
]


def total(text: str) -> Decimal | None:
    return OcrDetails.from_raw(json.dumps({"total": text}).encode()).total


@pytest.mark.parametrize(("text", "amount"), AMOUNTS.items())
def test_amounts(text: str, amount: str) -> None:
    """An amount is read with its sign on either side of the currency mark, in any characters in use."""
    assert total(text) == Decimal(amount)


@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_what_is_no_amount(text: str) -> None:
    """A text that is not an amount in yuan is None."""
    assert total(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "2024\uff0d01\uff0d02",
        "2024\u221201\u221202",
        "2024–01–02",
        "2024／01／02",
        "2024．01．02",
        "２０２４－０１－０２",
    ],
)
def test_dates(text: str) -> None:
    """A date is read with dashes, slashes and points of any width."""
    assert OcrDetails.from_raw(json.dumps({"date": text}).encode()).date == date(2024, 1, 2)
    taxi = TaxiReceiptForm.from_raw(json.dumps({"E_system_出租车票_上车时间": f"{text} 08：30"}).encode())
    assert taxi.boarded_at == datetime(2024, 1, 2, 8, 30, tzinfo=CHINA)


async def test_a_red_letter_invoice_is_in_the_sums(tmp_path: Path) -> None:
    """The total of a red-letter invoice is subtracted from the others' total in a report."""
    details = [{"details": {"total": text}, "type": "10100"} for text in ("1000.00", "-￥400.50", "\uff0d0\uff0e50")]
    body = json.dumps({"value": {"invoices": details}}).encode()
    keys = AppCredentials(app_key="key", app_security="secret-of-the-app")
    async with (
        EkbSession(keys, config=SessionConfig(**FAST), transport=FixedAnswer(200, body)) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, "ocr,https://f.example/a.png,,,,"))
        await backlog.run(ekb)
        await backlog.report(tmp_path / "r.html")
    assert "599.00" in report_of(tmp_path)


def report_of(directory: Path) -> str:
    return (directory / "r.html").read_text()
