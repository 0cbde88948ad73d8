"""The columns of an export that only the user knows, and what an export says of a row without an answer."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.results.export.columns import COLUMNS
from tests.support.backlog_stores import Location
from tests.support.read_rows import OFD, PICTURE, add_rows, written_row

NUMBER, OLD = "25999900000000000017", "099002400111-00000018"


def csv_lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True)))


def sheet(path: Path) -> list[list[Any]]:
    import openpyxl  # takes as long to load as the package

    *rows, _sums = openpyxl.load_workbook(path).worksheets[1].iter_rows()
    return [[cell.value for cell in row] for row in rows]


def parquet_table(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


async def test_own_columns_follow_the_others(tmp_path: Path, place: Location) -> None:
    """Own columns of all manifests follow the others in the order of first appearance, and the tenant is last."""
    async with Backlog.open(place) as backlog:
        first = written_row(tmp_path, "a.pdf", tenant="甲", own={"成本中心": "0012", "备注": "=1+1"})
        second = written_row(tmp_path, "b.pdf", own={"Note": "x", "成本中心": "7"})
        await add_rows(backlog, tmp_path, first, source="one")
        await add_rows(backlog, tmp_path, second, source="two")
        for name in ("o.csv", "o.xlsx", "o.parquet", "o.jsonl"):
            assert await backlog.export(tmp_path / name) == 2
    width = len(COLUMNS)
    headings, *lines = csv_lines(tmp_path / "o.csv")
    assert headings[:width] == [column.name for column in COLUMNS]
    assert headings[width:] == ["成本中心", "备注", "Note", "tenant"]
    assert [line[width:] for line in lines] == [["0012", "'=1+1", "", "甲"], ["7", "", "x", ""]]
    headings, *lines = sheet(tmp_path / "o.xlsx")
    begin = headings.index("Tenant")
    assert headings[begin : begin + 4] == ["Tenant", "成本中心", "备注", "Note"]
    assert [line[begin : begin + 4] for line in lines] == [["甲", "0012", "=1+1", None], [None, "7", None, "x"]]
    table = parquet_table(tmp_path / "o.parquet")
    assert table.column("成本中心").to_pylist() == ["0012", "7"]
    assert str(table.schema.field("成本中心").type) == "string"
    objects = [msgspec.json.decode(line) for line in (tmp_path / "o.jsonl").read_bytes().splitlines()]
    assert [each["own"] for each in objects] == [{"成本中心": "0012", "备注": "=1+1"}, {"Note": "x", "成本中心": "7"}]


async def test_a_heading_of_the_table_gets_a_number(tmp_path: Path) -> None:
    """An own column with a heading of the table, in any language or case, keeps its values under another."""
    own = {"Total": "a", "价税合计": "b", "备注": "c", "tenant": "d", "=cmd": "e", "Total (2)": "f", "own": "g"}
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", own=own, printed={"total": "8.00"}))
        for name in ("o.csv", "o.xlsx", "o.parquet"):
            await backlog.export(tmp_path / name)
    headings = ["Total (2)", "价税合计 (2)", "备注", "tenant (2)", "=cmd", "Total (2) (2)", "own"]
    written, line = csv_lines(tmp_path / "o.csv")
    assert written[len(COLUMNS) :] == [each.replace("=cmd", "'=cmd") for each in headings]
    assert line[len(COLUMNS) :] == list("abcdefg")
    assert line[written.index("total")] == "8.00"
    written, line = sheet(tmp_path / "o.xlsx")
    begin = written.index("Total (2)")
    assert written[begin : begin + 7] == headings
    assert line[begin : begin + 7] == list("abcdefg")
    assert parquet_table(tmp_path / "o.parquet").column("tenant (2)").to_pylist() == ["d"]


async def test_a_table_has_two_hundred_own_columns_at_most(tmp_path: Path) -> None:
    """Further own columns are in JSON Lines only."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        for part in range(3):
            own = {f"c{n}": "x" for n in range(100 * part, 100 * part + 100)}
            await add_rows(backlog, tmp_path, written_row(tmp_path, f"{part}.pdf", own=own), source=f"s{part}")
        await backlog.export(tmp_path / "o.csv")
        await backlog.export(tmp_path / "o.jsonl")
    assert csv_lines(tmp_path / "o.csv")[0][len(COLUMNS) :] == [f"c{n}" for n in range(200)]
    last = msgspec.json.decode((tmp_path / "o.jsonl").read_bytes().splitlines()[-1])
    assert last["own"]["c299"] == "x"


async def test_rows_without_an_answer_show_what_is_printed(tmp_path: Path) -> None:
    """A pending row has number, date, amounts and parties from its file; several invoices have a line each."""
    says = {"date": "2025-01-02", "net": "100.00", "tax": "6.00", "total": "106.00", "seller": "甲", "buyer": "乙"}
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await add_rows(
            backlog,
            tmp_path,
            written_row(tmp_path, "a.pdf", NUMBER, printed={**says, "buyer_tax_id": "91330000000000000A"}),
            written_row(
                tmp_path, "two.pdf", NUMBER[:-1] + "8", OLD, printed={"buyer": "乙", "total": "1.5+-2", "tax": "1"}
            ),
            written_row(tmp_path, "silent.png", form=PICTURE),
        )
        await backlog.export(tmp_path / "o.csv")
        await backlog.export(tmp_path / "o.parquet")
    headings, *lines = csv_lines(tmp_path / "o.csv")
    found = [dict(zip(headings, line, strict=True)) for line in lines]
    assert [(each["invoice_code"], each["invoice_number"], each["buyer"]) for each in found] == [
        ("", NUMBER, "乙"),
        ("", NUMBER[:-1] + "8", "乙"),
        (OLD[:12], OLD[13:], "乙"),
        ("", "", ""),
    ]
    assert [each["total"] for each in found] == ["106.00", "1.5", "-2", ""]
    assert [each["tax"] for each in found] == ["6.00", "", "", ""]
    table = parquet_table(tmp_path / "o.parquet").to_pylist()
    assert table[0]["invoice_date"] == date(2025, 1, 2)
    assert (table[0]["amount_excluding_tax"], table[0]["tax"]) == (Decimal(100), Decimal(6))
    assert table[0]["buyer_tax_id"] == "91330000000000000A"
    assert table[3]["invoice_number"] is None


@pytest.mark.parametrize(("lang", "why"), [("en", "invoice"), ("zh", "发票相同")])
async def test_rows_that_share_a_call_name_it(tmp_path: Path, lang: str, why: str) -> None:
    """A row that shares the call of another file names that row, and why."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await add_rows(
            backlog, tmp_path, written_row(tmp_path, "a.ofd", NUMBER, form=OFD), written_row(tmp_path, "a.pdf", NUMBER)
        )
        await backlog.export(tmp_path / "o.csv", lang=lang)
    headings, *lines = csv_lines(tmp_path / "o.csv")
    columns = [column.name if lang == "en" else column.chinese for column in COLUMNS]
    assert headings == columns
    names = [column.name for column in COLUMNS]
    found = [dict(zip(names, line, strict=True)) for line in lines]
    assert [(each["shared_with"], each["shared_by"]) for each in found] == [(found[1]["id"], why), ("", "")]
    assert {each["staff_id"] for each in found} == {"corp:staff"}
