"""Rows that check an invoice by its ID or by its printed fields: what is accepted, and which rows share a call."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.rows.fields import InvoiceFields, checked_fields, fields_of
from ekb_async.errors import ManifestError
from tests.support.backlogs import CHECKS_HEADER, all_tasks


async def add(directory: Path, content: str, name: str = "m.csv") -> AddReport:
    (directory / name).write_text(content, encoding="utf-8")
    async with Backlog.open(directory / "b.sqlite") as backlog:
        return await backlog.add_manifest(directory / name)


async def test_the_fields_of_an_invoice_are_the_identity_of_its_check(tmp_path: Path) -> None:
    """Spellings of one invoice share a call; another amount, check code or kind is another call."""
    rows = (
        "verify_by_fields,,031001900204,91068626,20220110,100,123456,a\n"
        "verify_by_fields,, 031001900204 ,91068626,2022-01-10,100.00, 123456,b\n"
        "verify_by_fields,,031001900204,91068626,20220110,1e2,123456,c\n"
        "verify_by_fields,,０３１００１９００２０４,9106 8626,20220110,100,123 456,h\n"
        "verify_by_fields,,\u200b031001900204\ufeff,9106\u00a08626,20220110,100,12\u20603456,i\n"
        "verify_by_fields,,031001900204,91068626,20220110,100.01,123456,d\n"
        "verify_by_fields,,031001900204,91068626,20220110,100,,e\n"
        "verify_by_id,corp:031001900204:91068626,,,,,,f\n"
        "verify_by_id, corp:031001900204:91068626 ,,,,,,g\n"
    )
    assert await add(tmp_path, CHECKS_HEADER + rows) == AddReport(added=4, duplicates=5)
    assert await add(tmp_path, CHECKS_HEADER + rows) == AddReport(added=0, duplicates=9, present=9)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        a, b, c, h, i, d, _, f, _ = await all_tasks(backlog)
    assert a.fields == b.fields == c.fields == h.fields == i.fields
    assert a.fields == {
        "code": "031001900204",
        "number": "91068626",
        "date": "20220110",
        "amount": "100.00",
        "check_code": "123456",
    }
    assert d.fields is not None
    assert d.fields["amount"] == "100.01"
    assert (f.fields, f.invoice_id) == (None, "corp:031001900204:91068626")


async def test_json_lines_may_have_numbers(tmp_path: Path) -> None:
    """In JSON Lines, dates and amounts may be numbers; an amount may have a fraction."""
    lines = (
        '{"kind": "verify_by_fields", "number": "23312000000123878916", "date": 20220110, "amount": 0.1}\n'
        '{"kind": "verify_by_fields", "number": "23312000000123878916", "date": "2022-01-10", "amount": "0.10"}\n'
    )
    assert await add(tmp_path, lines, "m.jsonl") == AddReport(added=1, duplicates=1)
    with pytest.raises(ManifestError, match=r"line 1, column number: the value must be a text"):
        await add(tmp_path, '{"kind": "verify_by_fields", "number": 1.5, "date": 20220110}\n', "n.jsonl")


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("verify_by_fields,,1,,20220110,1,,", "column number: verify_by_fields needs a value"),
        ("verify_by_fields,,1,2,,1,,", "column date: verify_by_fields needs a value"),
        ("verify_by_fields,,1,2,20221310,1,,", "column date: this is no date"),
        ("verify_by_fields,,1,2,2022-W01-1,1,,", "column date: this is no date"),
        ("verify_by_fields,,1,2,10/01/2022,1,,", "column date: this is no date"),
        ("verify_by_fields,,1,2,2022-1/10,1,,", "column date: this is no date"),
        ("verify_by_fields,,1,2,2022/2/30,1,,", "column date: this is no date"),
        ('verify_by_fields,,1,2,20220110,"12,34.5",,', "column amount: this is no decimal number"),
        ("verify_by_fields,,1,2,20220110,ten,,", "column amount: this is no decimal number"),
        ("verify_by_fields,,1,2,20220110,NaN,,", "column amount: this is no decimal number"),
        ("verify_by_fields,,1,2,20220110,1e999999999,,", "column amount: the number has more than 15 digits"),
        ("verify_by_fields,,1,2,20220110,1e-999999999,,", "column amount: the number has more than 15 digits"),
        (f"verify_by_fields,,1,{'2' * 65},20220110,1,,", "column number: the value has more than 64"),
        ("verify_by_fields,c:1:2,1,2,20220110,1,,", "column invoice_id: verify_by_fields takes no value"),
        ("verify_by_id,,,,,,,", "column invoice_id: verify_by_id needs a value"),
        ("verify_by_id,c:1:2,1,,,,,", "column code: verify_by_id takes no value"),
        ("url,c:1:2,,,,1,,", "column amount: url takes no value"),
    ],
)
async def test_a_wrong_row_names_its_column_and_adds_nothing(tmp_path: Path, row: str, place: str) -> None:
    """A value that cannot be sent, is missing, or has no place in its kind is reported with line and column."""
    with pytest.raises(ManifestError, match=rf"m\.csv, line 3, {place}"):
        await add(tmp_path, f"{CHECKS_HEADER}verify_by_id,c:1:2,,,,,,\n{row}\n")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert sum((await backlog.counts()).values()) == 0


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**14), max_value=10**14, places=4),
    st.dates(),
    st.text(max_size=3),
)
def test_one_spelling_keeps_the_value(amount: Decimal, day: object, code: str) -> None:
    """The one spelling of a field has its value, spelling it again changes nothing, and an identity returns it."""
    found = checked_fields([code, "1", str(day), str(amount), ""])
    assert Decimal(found.amount) == amount
    assert checked_fields(list(found)) == found
    assert fields_of(found.identity) == found
    assert checked_fields([code, "1", found.date, f"{amount:E}", ""]) == found


def test_other_kinds_have_no_fields() -> None:
    """Only the identity of a check by fields has fields, whatever an ID or a URL looks like."""
    for identity in (
        "url:invoice:verify_by_fields:fields:[]",
        "ocr:url:https://f.example/a",
        "verify_by_id:invoice:c:1:2",
    ):
        assert fields_of(identity) is None
    assert fields_of(InvoiceFields("", "1", "20220110").identity) == InvoiceFields("", "1", "20220110")


@pytest.mark.parametrize(
    ("day", "amount"),
    [
        ("2025/3/9", "1000"),
        ("2025-3-9", '"1,000.00"'),
        ("2025.03.09", "¥1000.0"),
        ("2025年3月9日", '"￥1，000"'),
        ("２０２５年03月09日", "1000元"),
    ],
)
async def test_dates_and_amounts_as_people_write_them(tmp_path: Path, day: str, amount: str) -> None:
    """They are one check with the same values in the vendor's form."""
    number = "25999900000000000017"
    rows = f"verify_by_fields,,,{number},20250309,1000,,\nverify_by_fields,,,{number},{day},{amount},,\n"
    report = await add(tmp_path, f"\ufeff{CHECKS_HEADER}{rows}")
    assert (report.added, report.duplicates) == (1, 1)
