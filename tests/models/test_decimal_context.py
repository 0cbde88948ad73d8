"""The program's decimal context changes no amount of the package and causes no exception."""

from __future__ import annotations

import decimal
import json
from decimal import Context, Decimal, localcontext
from pathlib import Path

import pytest

from ekb_async import AppCredentials, EkbSession, SessionConfig, expense_invoice_form
from ekb_async.backlog import Backlog
from ekb_async.models import InvoiceDetail
from ekb_async.protocol.decoding import decode_verify
from ekb_async.sandbox import Sandbox
from tests.conftest import FAST
from tests.support.backlogs import manifest, session
from tests.support.fixed_answer import FixedAnswer
from tests.support.samples import dumped, money, verify_body

SIGNALS: list[type[decimal.DecimalException]] = [
    decimal.Inexact,
    decimal.Rounded,
    decimal.Subnormal,
    decimal.Underflow,
    decimal.Overflow,
    decimal.Clamped,
    decimal.InvalidOperation,
    decimal.DivisionByZero,
]
CONTEXTS = {
    "six digits": Context(prec=6),
    "one digit": Context(prec=1, rounding=decimal.ROUND_UP),
    "all traps": Context(prec=28, traps=[*SIGNALS, decimal.FloatOperation]),
    "few digits and all traps": Context(prec=3, Emax=5, Emin=-5, traps=SIGNALS),
    "no traps": Context(prec=2, traps=[]),
}
OCR = {"value": {"invoices": [{"type": "10100", "details": {"total": "123456.78", "date": "2024-01-01"}}]}}

pytestmark = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)


async def written(directory: Path, context: Context) -> dict[str, bytes]:
    """A report and all exports of the same figures, written in a decimal context."""
    keys = AppCredentials(app_key="key", app_security="secret-of-the-app")
    rows = (f"ocr,https://f.example/{n}.png,,,,{n}" for n in range(9))
    with localcontext(context):
        async with (
            EkbSession(keys, config=SessionConfig(**FAST), transport=FixedAnswer(200, json.dumps(OCR).encode())) as ekb,
            Backlog.open(directory / "b.sqlite") as backlog,
        ):
            await backlog.add_manifest(manifest(directory, *rows))
            await backlog.run(ekb)
            await backlog.report(directory / "r.html")
            for suffix in ("csv", "jsonl", "xlsx", "parquet"):
                await backlog.export(directory / f"out.{suffix}")
    return {name: read(directory / name) for name in ("r.html", "out.csv", "out.jsonl", "out.parquet")}


def read(path: Path) -> bytes:
    return path.read_bytes()


async def test_sums_and_exports(context: Context, tmp_path: Path) -> None:
    """The report adds nine times 123,456.78 to 1,111,111.02, and every export has each amount in full."""
    files = await written(tmp_path, context)
    assert b"1,111,111.02" in files["r.html"]
    assert files["out.csv"].count(b"123456.78") == 9
    assert files["out.jsonl"].count(b'"total":"123456.78"') == 9
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "out.parquet")["total"].to_pylist() == [Decimal("123456.780000")] * 9


def test_rates_and_amounts(context: Context) -> None:
    """Rates and amounts are read with all their digits."""
    names = {"税率": "9.1234567%", "金额": money("123456789.123456"), "数量": "0.000123456789"}
    with localcontext(context):
        line = InvoiceDetail.from_raw(dumped({f"E_system_发票明细_{name}": value for name, value in names.items()}))
        assert line.tax_rate == Decimal("0.091234567")
        assert (line.amount, line.quantity) == (Decimal("123456789.123456"), Decimal("0.000123456789"))
        assert line.to_dict()["amount"] == "123456789.123456"


def test_the_form_of_an_expense(context: Context) -> None:
    """The deductible tax of an expense is computed to the cent."""
    body = verify_body("system_火车票", {"E_system_火车票_金额": money("123456.78"), "E_税率": "9%"}, usable=True)
    with localcontext(context):
        form = json.loads(expense_invoice_form(decode_verify(body).invoices).encode())
    (invoice,) = form["invoices"]
    assert (invoice["taxRate"], invoice["taxAmount"]["standard"]) == (9, 10193.68)


async def test_the_sandbox(context: Context, tmp_path: Path) -> None:
    """The sandbox, which answers inside the program's process, works in any decimal context."""
    with localcontext(context):
        async with (
            Sandbox(ocr_rate=0, verify_rate=0) as box,
            session(box) as ekb,
        ):
            result = await ekb.verify("https://f.example/a.png", staff_id="c:s")
            assert result.invoices[0].form.total
            assert (await ekb.verify_by_fields(code="1", number="2", date="20240101", amount=1234567.89)) is not None
