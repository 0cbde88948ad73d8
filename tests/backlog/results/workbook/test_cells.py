"""The cells of a workbook: numbers, dates and texts, what Excel cannot hold, and sheets that are full."""

from __future__ import annotations

import io
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from xlsxwriter import Workbook

from ekb_async.backlog import Task
from ekb_async.backlog.results.export.columns import COLUMNS
from ekb_async.backlog.results.export.workbook import XlsxWorkbook
from ekb_async.backlog.results.export.workbook.links import Links
from ekb_async.backlog.results.export.workbook.sheet import MOST_LINKS, Sheet
from tests.backlog.results.workbook.conftest import Trouble
from tests.support.exported import INVOICES, Book, exported


@pytest.fixture
def verified(trouble: Trouble) -> Task:
    return next(task for task in trouble.tasks if task.kind == "verify" and task.result)


def shown(path: Path, *tasks: Task) -> dict[str, list[Any]]:
    """Return the cells of the invoices by heading, without the row of sums."""
    book = Book.read(exported(path / "out.xlsx", tasks))
    rows = book.rows(INVOICES)
    return {heading: [row[heading] for row in rows] for heading in book.headings(INVOICES)}


def changed(task: Task, **values: Any) -> Task:
    """Return a task whose answer has other values for an invoice's number, total, tax and date."""
    wire = {"number": "发票号码", "total": "价税合计", "tax": "税额", "date": "发票日期"}
    answer = msgspec.json.decode(task.raw or b"")
    answer["items"][0]["master"]["form"] |= {f"E_system_发票主体_{wire[name]}": each for name, each in values.items()}
    return msgspec.structs.replace(task, raw=msgspec.json.encode(answer))


def test_numbers_dates_and_texts(tmp_path: Path, verified: Task) -> None:
    """Amounts are numbers, dates are dates, and invoice numbers are texts with all digits."""
    cells = shown(tmp_path, changed(verified, number="00012222", total="-106.10", date="2024-02-29"))
    assert [(cell.value, cell.number_format) for cell in cells["Invoice number"]] == [("00012222", "@")]
    assert cells["Total"][0].value == -106.1
    assert "0.00" in cells["Total"][0].number_format
    assert "[Red]" in cells["Total"][0].number_format
    assert (cells["Invoice date"][0].value, cells["Invoice date"][0].number_format) == (
        datetime(2024, 2, 29),
        "yyyy-mm-dd",
    )
    assert cells["Usable"][0].value is True
    assert verified.ended_at is not None
    assert abs(cells["Ended at (UTC+8)"][0].value - verified.ended_at.replace(tzinfo=None)) < timedelta(seconds=2)


@pytest.mark.parametrize("day", ["1900-01-01", "1900-02-28", "1900-03-01", "9999-12-31"])
def test_days_at_the_ends_of_the_calendar(tmp_path: Path, verified: Task, day: str) -> None:
    """Days are right on both sides of the leap day that Excel makes up."""
    (cell,) = shown(tmp_path, changed(verified, date=day))["Invoice date"]
    assert cell.value == datetime.fromisoformat(day)


def test_what_excel_cannot_hold_is_a_text(tmp_path: Path, verified: Task) -> None:
    """Amounts with over 15 digits and dates before 1900 are written as texts."""
    cells = shown(tmp_path, changed(verified, total="12345678901234.56", tax="-1234567890123.45", date="1899-12-31"))
    assert cells["Total"][0].value == "12345678901234.56"
    assert cells["Tax"][0].value == -1234567890123.45
    assert cells["Invoice date"][0].value == "1899-12-31"


def test_texts_are_only_texts(tmp_path: Path, verified: Task) -> None:
    """Formulas and markup in a text stay text in Excel, and characters that XML forbids do no harm."""
    texts = (
        "=1+1",
        '=HYPERLINK("http://x")',
        "<r><t>a</t></r>",
        "</is></c>",
        " a  b ",
        "a\nb\tc",
        "&amp;",
        "😀",
    )
    odd = ("_x0041_", "a\ufffeb\x01c", "\x00", "\r")
    tasks = [msgspec.structs.replace(verified, ref=ref) for ref in (*texts, *odd, "长" * 40_000, "😀" * 20_000)]
    *cells, long, pairs = shown(tmp_path, *tasks)["Reference"]
    assert [cell.data_type for cell in cells] == ["s"] * len(cells)
    assert [cell.value for cell in cells[: len(texts)]] == list(texts)
    # openpyxl leaves the escapes of Excel as they are.
    assert [cell.value for cell in cells[len(texts) :]] == ["_x005F_x0041_", "a_xFFFE_b_x0001_c", "_x0000_", "_x000D_"]
    assert long.value == "长" * 32_767
    assert pairs.value == "😀" * 16_383


def test_a_full_sheet_is_followed_by_another(trouble: Trouble, tmp_path: Path) -> None:
    """A further sheet has the same headings, filters and its own sums."""
    with (
        (tmp_path / "out.xlsx").open("wb") as file,
        closing(XlsxWorkbook(file, "en", tmp_path, COLUMNS, sheet_rows=4)) as workbook,
    ):
        workbook.write([task for task in trouble.tasks if task.kind == "verify" and task.result][:5])
        workbook.finish()
    sheets = {sheet.title: sheet for sheet in Book.read(tmp_path / "out.xlsx").sheets}
    invoices = [sheets[name] for name in ("Invoices", "Invoices 2", "Invoices 3")]
    assert [sheet.max_row for sheet in invoices] == [4, 4, 3]
    assert [sheet["A1"].value for sheet in invoices] == ["File"] * 3
    assert [sheet.cell(sheet.max_row, 6).value for sheet in invoices] == [
        *["=SUBTOTAL(109,F2:F3)"] * 2,
        "=SUBTOTAL(109,F2:F2)",
    ]
    assert [sheet.auto_filter.ref.rpartition(":")[2].strip("AUVWX") for sheet in invoices] == ["3", "3", "2"]


def test_a_sheet_has_as_many_links_as_excel_allows() -> None:
    """Further cells are texts, since Excel would repair a file with more links."""
    book = Workbook(io.BytesIO(), {"constant_memory": True})
    sheet: Any = book.add_worksheet("a", Sheet)
    for _ in range(MOST_LINKS):
        assert sheet.may_link
        sheet.link(0, "a.pdf")
    assert not sheet.may_link
    sheet.row_data_fh.close()


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("发票 1/a%b#c.pdf", "发票%201/a%25b%23c.pdf"),
        ("../other/a.pdf", None),
        ("javascript:alert(1)", "file:"),
        ("https://f.example/a.pdf", None),
        ("attachment:1:a.pdf", None),
        ("gone.pdf", None),
        ("", None),
    ],
)
def test_links_lead_to_local_files_only(tmp_path: Path, verified: Task, file: str, target: str | None) -> None:
    """A file beside the workbook has a relative link, one elsewhere a file URL, and what is not here none."""
    for name in ("发票 1/a%b#c.pdf", "javascript:alert(1)"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    task = msgspec.structs.replace(verified, file=file, manifest=str(tmp_path / "m.csv"))
    found = Links(tmp_path).target(task)
    if target == "file:":
        assert found == (tmp_path / file).as_uri()
    else:
        assert found == target
    elsewhere = Links(tmp_path / "somewhere else").target(task)
    assert elsewhere is None or elsewhere == (tmp_path / file).as_uri()


def test_sums_have_no_rounding_errors(tmp_path: Path, verified: Task) -> None:
    """A thousand times ten cents are a hundred yuan."""
    tasks = [changed(verified, total="0.10", tax="0.01", number=str(n)) for n in range(1000)]
    book = Book.read(exported(tmp_path / "out.xlsx", tasks))
    (row,) = book.section("What is usable")[1:]
    assert row[2:5] == (1000, 100, 10)
    assert Decimal(repr(row[3])) == Decimal(100)
