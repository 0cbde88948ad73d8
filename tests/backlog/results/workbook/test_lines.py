"""The lines of invoices: on a sheet of the workbook, and in a file beside a table for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.results.export import Export
from ekb_async.errors import ConfigError, StorageError
from ekb_async.i18n import Texts
from tests.backlog.results.workbook.conftest import Trouble
from tests.support.backlogs import names_in
from tests.support.command import ekb
from tests.support.exported import LINES, exported
from tests.support.full_disk import room_for
from tests.support.read_rows import add_rows, written_row

Line = tuple[int, str, str, int, str, Decimal | None]


def expected_lines(tasks: list[Task]) -> Iterator[Line]:
    """Yield task, file, invoice number, number of the line, name and amount of each line."""
    for task in tasks:
        if task.shared or not task.result or task.kind in {"url", "download"}:
            continue
        if task.kind == "verify":
            found = [(each["form"]["number"], each["details"]) for each in task.result["invoices"]]
        elif task.kind == "ocr":
            read = task.result["invoices"]
            found = [(each["details"]["number"], _read(each["details"]["item_names"])) for each in read]
        elif task.kind == "detail":
            found = [(task.invoice_id.rpartition(":")[2], task.result)]
        else:
            items = task.result["item_data"] or []
            found = [(task.result["number"], [{"name": each["goodsname"], "amount": each["amount"]} for each in items])]
        for number, lines in found:
            for place, line in enumerate(lines, 1):
                amount = None if line["amount"] is None else Decimal(line["amount"])
                yield task.id, task.file, number, place, line["name"], amount


def _read(names: str | None) -> list[dict[str, Any]]:
    return [{"name": names, "amount": None}] if names else []


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True)))


def test_the_sheet_has_each_line_with_its_invoice(trouble: Trouble) -> None:
    """Each line of an answer is there once, in order, beside the file and number of its invoice."""
    rows = trouble.books["en"].rows(LINES)
    names = ("Task number", "File", "Invoice number", "Line", "Goods or service", "Amount excluding tax")
    shown = [tuple(row[name].value for name in names) for row in rows]
    assert [(*line[:5], None if line[5] is None else Decimal(repr(line[5]))) for line in shown] == [
        (line[0], line[1] or None, *line[2:]) for line in expected_lines(trouble.tasks)
    ]
    kinds = {row["Task"].value for row in rows}
    assert kinds == {"OCR", "OCR and verification", "Verification by fields", "Verification by ID", "Invoice lines"}
    many = [line for line in shown if "lines-40" in str(line[1])]
    assert [line[3] for line in many] == list(range(1, 41))
    assert not [line for line in shown if "lines-0-" in str(line[1])]
    assert {row["Tax rate"].value for row in rows} == {"6%", None}


def test_csv_has_the_lines_in_a_second_file(trouble: Trouble) -> None:
    """`results.lines.csv` has the same lines, with names and words for programs, or Chinese ones."""
    lines = table(trouble.folder / "results.lines.csv")
    names = ("id", "file", "invoice_number", "line_number", "name", "amount")
    assert [tuple(line[name] for name in names) for line in lines] == [
        tuple("" if value is None else str(value) for value in line) for line in expected_lines(trouble.tasks)
    ]
    assert {"verify", "detail"} < {line["kind"] for line in lines}
    assert {line["currency"] for line in lines} == {"CNY", "USD", "EUR", "HKD", ""}
    chinese = table(trouble.folder / "结果.lines.csv")
    assert [line["发票号码"] for line in chinese] == [line["invoice_number"] for line in lines]
    assert {"识别并验真", "发票明细"} < {line["任务类型"] for line in chinese}
    assert {line["明细是否已使用"] for line in chinese} == {"否", ""}


def test_parquet_has_typed_lines(trouble: Trouble) -> None:
    """Amounts are decimals, quantities and unit prices have fifteen places, dates are dates."""
    import pyarrow.parquet

    read = pyarrow.parquet.read_table(trouble.folder / "results.lines.parquet")
    lines = read.to_pylist()
    assert [(line["id"], line["line_number"], line["amount"]) for line in lines] == [
        (line[0], line[3], line[5]) for line in expected_lines(trouble.tasks)
    ]
    types = {field.name: str(field.type) for field in read.schema}
    assert (types["amount"], types["unit_price"]) == ("decimal128(38, 6)", "decimal128(38, 15)")
    assert isinstance(lines[0]["invoice_date"], date)
    assert lines[0]["quantity"] == 1


def test_a_unit_price_keeps_its_places(trouble: Trouble, tmp_path: Path) -> None:
    """A unit price with a dozen places is not rounded; words in the place of numbers are left out."""
    import msgspec
    import pyarrow.parquet

    task = next(task for task in trouble.tasks if task.kind == "detail" and task.result)
    line = msgspec.json.decode(task.raw or b"")[0]
    line["E_system_发票明细_单价"]["standard"] = "0.0884955752212"
    line["E_system_发票明细_数量"] = "若干"
    path = exported(
        tmp_path / "o.parquet", [msgspec.structs.replace(task, raw=msgspec.json.encode([line]))], lines=True
    )
    (line,) = pyarrow.parquet.read_table(path.with_name("o.lines.parquet")).to_pylist()
    assert (line["unit_price"], line["quantity"]) == (Decimal("0.0884955752212"), None)


@pytest.mark.parametrize("name", ["out.xlsx", "out.jsonl"])
async def test_other_formats_have_the_lines_already(tmp_path: Path, name: str) -> None:
    """A workbook and JSON Lines refuse to write a second file."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="has the invoice lines already"):
            await backlog.export(tmp_path / name, lines=True)
    assert names_in(tmp_path) == ["b.sqlite"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_both_files_or_none(trouble: Trouble, tmp_path: Path, suffix: str) -> None:
    """If a file cannot be written or moved to its name, both older files stay as they were."""
    out, lines = tmp_path / f"out.{suffix}", tmp_path / f"out.lines.{suffix}"
    out.write_text("older")
    lines.write_text("older lines")
    with room_for(1000), pytest.raises(StorageError, match="cannot be written"):
        exported(out, trouble.tasks, lines=True)
    assert (out.read_text(), lines.read_text()) == ("older", "older lines")
    lines.unlink()
    target = Export(out, lines=True)
    try:
        target.write(trouble.tasks)
        (lines / "in the way").mkdir(parents=True)
        with pytest.raises(StorageError, match="cannot be written"):
            target.finish()
    finally:
        target.close()
    assert out.read_text() == "older"
    assert names_in(tmp_path) == sorted([out.name, lines.name])
    (lines / "in the way").rmdir()
    lines.rmdir()
    exported(out, trouble.tasks, lines=True)
    assert names_in(tmp_path) == sorted([out.name, lines.name])
    assert out.read_bytes() != b"older"


async def test_the_second_file_replaces_no_file_of_the_backlog(tmp_path: Path) -> None:
    """A manifest whose name is that of the file of lines is not written over."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        manifest = tmp_path / "out.lines.csv"
        manifest.write_text("kind,invoice_id\nurl,corp:1:2\n")
        await backlog.add_manifest(manifest)
        with pytest.raises(ConfigError, match="choose another name"):
            await backlog.export(tmp_path / "out.csv", lines=True)
    assert manifest.read_text() == "kind,invoice_id\nurl,corp:1:2\n"


async def test_lines_of_tenants(tmp_path: Path) -> None:
    """With tenants, the lines have a column for the tenant, the last."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", "25999900000000000017", tenant="甲"))
        await backlog.export(tmp_path / "out.csv", lines=True)
    headings = (tmp_path / "out.lines.csv").read_text(encoding="utf-8-sig").strip().split(",")
    assert headings[-1] == "tenant"


async def test_the_command(tmp_path: Path) -> None:
    """`--lines` writes the second file, and both are named, in the language asked for."""
    db, out = tmp_path / "b.sqlite", tmp_path / "out.csv"
    async with Backlog.open(db) as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf"))
    english = await ekb("backlog", "export", db, out, "--lines", "--lang", "en")
    assert (english.status, english.messages) == (
        0,
        f"1 row in {out}\ninvoice lines in {out.with_name('out.lines.csv')}\n",
    )
    chinese = await ekb("backlog", "export", db, out, "--lines", "--lang", "zh")
    assert chinese.messages == f"已写入 1 行：{out}\n发票明细：{out.with_name('out.lines.csv')}\n"
    refused = await ekb("backlog", "export", db, tmp_path / "out.xlsx", "--lines", "--lang", "en")
    assert refused.status == 2
    message = refused.messages.strip().removeprefix("ekb: ")
    assert "该格式已包含发票明细" in Texts("zh").rendered(message)
