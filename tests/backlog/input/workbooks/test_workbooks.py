"""Workbooks as manifests: the rows that the same list has as CSV, and errors with the place of the cell."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell import WriteOnlyCell

from ekb_async import ConfigError
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifest import Manifest, signed_url
from ekb_async.backlog.input.workbooks.cells import text_of
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlogs import all_tasks, session
from tests.support.manifests import own_in, problems_in, rows_in
from tests.support.workbooks import MAIN, Formatted, inline, packed, parts, workbook

SIGNED = "https://files.example/1-a.png?Expires=1700000000&OSSAccessKeyId=STS.x&Signature=TOPSECRET%3D"
HINT = "format the column as text in the spreadsheet, and enter the number again"
BOOKS = "ekb_async.backlog.input.workbooks.books"
CHECKS = ["类型", "发票代码", "发票号码", "开票日期", "金额", "校验码", "编号"]


async def test_a_list_as_people_make_it(tmp_path: Path) -> None:
    """A title above the header, empty rows, dates, amounts and numbers of any cell type become the rows of a list."""
    rows: list[list[Any]] = [
        ["报销发票清单"],
        ["制表日期", date(2024, 6, 1)],
        [],
        [*CHECKS, "部门", "已付", "入账"],
        ["四要素验真", "044002400111", "00000017", date(2024, 5, 6), 106.2, "", 17, "财务", True, 0.5],
        [],
        ["四要素验真", 44002400111, 17, 20240506, "106.20", None, "b", None, False, datetime(2024, 5, 6, 12, 30)],
        ["四要素验真", "", "24312000000123880000", "2024-05-06", Formatted(1200, formula="=1000+200"), "", "", "", ""],
    ]
    path = workbook(tmp_path / "清单.xlsx", rows)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert await backlog.add_manifest(path) == AddReport(added=2, duplicates=1)
        found = await all_tasks(backlog)
    assert [(row.line, row.ref) for row in found] == [(5, "17"), (7, "b"), (8, "")]
    assert [(row.fields or {})["amount"] for row in found] == ["106.20", "106.20", "1200.00"]
    assert own_in(path) == [
        {"部门": "财务", "已付": "true", "入账": "0.5"},
        {"已付": "false", "入账": "2024-05-06 12:30:00"},
        {},
    ]


def test_merged_cells(tmp_path: Path) -> None:
    """The value of a merged cell is that of each of its rows; empty rows in it, and cells to the right, stay empty."""
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["清单"])
    sheet.append(["类型", "发票ID", "编号", "部门", "备注"])
    for row in (["明细", "c:1", "1", "财务", "x"], [None, "c:2", "2"], [None, None, None], [None, "c:3", "3"]):
        sheet.append(row)
    sheet.append(["链接", "c:4", "4", "采购"])
    for cells in ("A1:E1", "A3:A6", "D3:D6", "D7:E7", "Z1:Z9"):
        sheet.merge_cells(cells)
    book.save(tmp_path / "m.xlsx")
    rows = rows_in(tmp_path / "m.xlsx")
    assert [(row.line, row.kind, row.invoice_id, row.ref) for row in rows] == [
        (3, "detail", "c:1", "1"),
        (4, "detail", "c:2", "2"),
        (6, "detail", "c:3", "3"),
        (7, "url", "c:4", "4"),
    ]
    assert own_in(tmp_path / "m.xlsx") == [
        {"部门": "财务", "备注": "x"},
        {"部门": "财务"},
        {"部门": "财务"},
        {"部门": "采购"},
    ]


def test_a_signed_url_in_merged_cells(tmp_path: Path) -> None:
    """The URL of a row is found again in the cell that it is merged with."""
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["kind", "file", "ref"])
    sheet.append(["ocr", SIGNED, "1"])
    sheet.append(["ocr", None, "2"])
    sheet.merge_cells("B2:B3")
    book.save(tmp_path / "m.xlsx")
    manifest = Manifest(tmp_path / "m.xlsx")
    for row in manifest.rows():
        found = signed_url(manifest.path, manifest.columns, row.start, row.length, row.file)
        assert (row.file in SIGNED, found) == (True, SIGNED)
    manifest.close()


def test_files_lie_beside_the_workbook(tmp_path: Path) -> None:
    """A file is relative to the folder of the workbook."""
    (tmp_path / "附件").mkdir()
    (tmp_path / "附件" / "a.png").write_bytes(b"a")
    path = workbook(tmp_path / "m.xlsx", [["文件", "员工邮箱"], ["附件/a.png", "Z@x.cn"]])
    (row,) = rows_in(path, kind="verify")
    assert (row.kind, row.file, row.staff_id, row.start) == ("verify", "附件/a.png", "email:z@x.cn", 0)


def test_which_sheet_is_read(tmp_path: Path) -> None:
    """The first sheet with a header is read, a visible one rather than a hidden one; hidden rows are read."""
    list_of_kinds = [["类型"], ["识别"]]
    wanted = [["类型", "发票ID"], ["链接", "c:1:2"]]
    for hidden, sheets, expected in (
        ([0], [list_of_kinds, [["说明"]], wanted], "c:1:2"),
        ([1], [[["说明"]], wanted], "c:1:2"),
        ([], [wanted, [["类型", "发票ID"], ["链接", "c:1:3"]]], "c:1:2"),
    ):
        assert [row.invoice_id for row in rows_in(workbook(tmp_path / "m.xlsx", *sheets, hidden=hidden))] == [expected]
    path = workbook(tmp_path / "n.xlsx", [["说明"], *[[]] * 3, *[["x"]] * 20, ["类型"]])
    (problem,) = problems_in(path)
    assert problem.reason.startswith("no sheet has the names of columns in its first 20 rows; the columns are kind")


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (
            [None, None, 24312000000123880000],
            "发票号码",
            f"and this one has more; {HINT}",
        ),
        ([None, None, 1e15], "发票号码", "a spreadsheet keeps only 15 digits"),
        ([None, None, "2.43E+19"], "发票号码", "2.43E+19 is a number that a spreadsheet has shortened"),
        ([None, None, None, None, None, 68712345678901234567], "校验码", "a spreadsheet keeps only 15 digits"),
        (
            [None, None, "00000017", date(2024, 5, 6), Formatted("#N/A", formula="=NA()")],
            "金额",
            "has the error '#N/A'",
        ),
        ([None, None, "00000017", "2024-13-01"], "开票日期", "this is no date"),
        ([None, None, "00000017", 45418], "开票日期", "this is no date"),
        ([None, date(2024, 5, 6)], "发票代码", "a spreadsheet has taken this number for a date"),
        (
            [None, 440024001, "00000017", "2024-05-06"],
            "发票代码",
            "440024001 has 9 digits, so a leading zero may be lost",
        ),
        ([None, None, "00000017", "2024-05-06", None, None, None, "x"], "H", "the header has only 7 columns"),
        ([None, None, None, None, None, None, None, Formatted("#REF!", formula="=A1")], "H", "has the error '#REF!'"),
    ],
)
def test_what_a_spreadsheet_has_damaged(tmp_path: Path, row: list[Any], column: str, reason: str) -> None:
    """A damaged number and an error are refused with the row and the column of the cell."""
    path = workbook(tmp_path / "m.xlsx", [CHECKS, ["四要素验真", *row[1:]]])
    problem = problems_in(path)[0]
    assert (problem.file, problem.line, problem.column) == (str(path), 2, column)
    assert reason in problem.reason


def test_numbers_of_own_columns(tmp_path: Path) -> None:
    """A long number in an own column is kept as far as the workbook has it; errors are refused there too."""
    head = ["类型", "发票ID", "卡号", "比例"]
    path = workbook(
        tmp_path / "m.xlsx", [head, ["链接", "c", 6222021234567890123, 0.1 + 0.2], ["链接", "c", 0.0, 1e-7]]
    )
    assert own_in(path) == [{"卡号": "6222021234567890000", "比例": "0.3"}, {"卡号": "0", "比例": "0.0000001"}]
    path = workbook(tmp_path / "n.xlsx", [head, ["链接", "c", Formatted("#DIV/0!", formula="=1/0")]])
    assert problems_in(path)[0][1:3] == (2, "卡号")


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [
        (17, "00000000", "00000017"),
        (45418, 'yyyy"年"m"月"d"日"', "2024-05-06"),
        (45418, "yyyy-mm-dd;@", "2024-05-06"),
        (45418, "[$-804]yyyy/m/d", "2024-05-06"),
        (45418, 14, "2024-05-06"),
        (45418, 31, "2024-05-06"),
        (45418, 58, "2024-05-06"),
        (45418.5, "m/d/yy h:mm", "2024-05-06 12:00:00"),
        (45418.520833333, 22, "2024-05-06 12:30:00"),
        (0.25, "h:mm:ss", "06:00:00"),
        (0.75, "上午/下午h时mm分", "18:00:00"),
        (1.5, "[h]:mm:ss", "36:00:00"),
        (12.5, '¥#,##0.00_);[Red]("d"#,##0)', "12.5"),
        (17, '"day" 0', "17"),
        (0.5, "0.0%", "0.5"),
        (1234567, "0.00E+00", "1234567"),
        (1e9, 31, "1000000000"),
        (17, 49, "17"),
    ],
)
def test_formats_of_numbers(tmp_path: Path, number: float, code: str | int, text: str) -> None:
    """A format of zeros shows leading zeros; a format with years or hours, built in or not, shows a time."""
    path = workbook(tmp_path / "m.xlsx", [["类型", "发票ID", "a"], ["链接", "c", Formatted(number, code)]])
    assert own_in(path) == [{"a": text}]


@pytest.mark.parametrize("from_1904", [False, True])
def test_dates(tmp_path: Path, *, from_1904: bool) -> None:
    """The first and last days are read, whether a workbook counts from 1900 or from 1904."""
    days = [
        date(1904, 1, 2) if from_1904 else date(1900, 1, 1),
        date(1904, 2, 29),
        date(2024, 2, 29),
        date(9999, 12, 31),
    ]
    rows: list[list[Any]] = [["类型", "发票ID", "日子"], *(["链接", "c", day] for day in days)]
    path = workbook(tmp_path / "m.xlsx", rows, date_1904=from_1904)
    assert own_in(path) == [{"日子": day.isoformat()} for day in days]


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_number_of_fifteen_digits(number: int) -> None:
    """A whole number that a spreadsheet keeps is read with all its digits, without a point."""
    for value in (number, float(number)):
        cell = SimpleNamespace(value=value, data_type="n", number_format="", style_array=SimpleNamespace(numFmtId=0))
        assert text_of(cell, "ref") == str(number)


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="?@_\ufffe\uffff"), max_size=12)


@settings(max_examples=25, deadline=None)
@given(refs=st.lists(_TEXT, min_size=1, max_size=5), by_openpyxl=st.booleans())
def test_texts_come_back(refs: list[str], *, by_openpyxl: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any text is read as it was written, whichever program wrote the workbook."""
    path = tmp_path_factory.getbasetemp() / "texts.xlsx"
    rows = [["kind", "invoice_id", "ref"], *(["url", "c", ref] for ref in refs)]
    if by_openpyxl:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in rows:
            cells = [WriteOnlyCell(sheet, value) for value in row]
            for cell in cells:
                cell.data_type = "s"
            sheet.append(cells)
        book.save(path)
    else:
        workbook(path, rows)
    assert [row.ref for row in rows_in(path)] == refs


def test_what_other_programs_write(tmp_path: Path) -> None:
    """Rich texts, texts with pronunciation and cells without places or with a style that is missing are read."""
    sound = '<rPh sb="0" eb="1"><t>lian</t></rPh><phoneticPr fontId="1"/>'
    rich = f'<row><c t="inlineStr"><is><r><t>链</t></r><r><t>接</t></r>{sound}</is></c><c t="s"><v>0</v></c>'
    texts = f'<sst xmlns="{MAIN}"><si><t>c:1</t>{sound}</si></sst>'
    row = f'{rich}<c t="str"><v>a_x000D_b</v></c><c s="9"><v>1</v></c><c t="d"><v>2024-05-06</v></c></row>'
    path = packed(tmp_path / "m.xlsx", parts(inline("类型", "发票ID", "编号", "a", "b") + row, texts=texts))
    (found,) = rows_in(path)
    assert (found.line, found.kind, found.invoice_id, found.ref) == (2, "url", "c:1", "a\rb")
    assert own_in(path) == [{"a": "1", "b": "2024-05-06"}]


def test_openpyxl_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without openpyxl, a workbook is refused with the command that installs it."""
    path = workbook(tmp_path / "m.xlsx", [["类型"]])
    monkeypatch.delitem(sys.modules, BOOKS, raising=False)
    monkeypatch.setitem(sys.modules, "openpyxl.reader.excel", None)
    (problem,) = problems_in(path)
    assert (problem.file, 'pip install "ekb-async[xlsx]"' in problem.reason) == (str(path), True)


async def test_a_signed_url_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No signature is stored; a run reads the URL again from its row, and another URL there is an error."""
    rows = [["清单"], ["备注", "类型", "文件"], [], ["x", "识别", SIGNED]]
    path = workbook(tmp_path / "m.xlsx", [["说明"]], rows)
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        reply, sent = box.vendor.reply, []

        def answer(request: VendorRequest, at: float) -> VendorReply:
            sent.append(request.body)
            return reply(request, at)

        monkeypatch.setattr(box.vendor, "reply", answer)
        await backlog.add_manifest(path)
        assert (await backlog.run(ekb)).counts["done"] == 1
    assert [SIGNED.encode() in body for body in sent if b"files.example" in body] == [True]
    assert b"TOPSECRET" not in (tmp_path / "b.sqlite").read_bytes()
    manifest = Manifest(path)
    (row,) = manifest.rows()
    manifest.close()
    for changed in (
        workbook(path, [["说明"]], [*rows[:3], [], rows[3]]),
        workbook(path, rows),
        workbook(path, [["说明"]], [*rows[:3], ["x", "识别", "https://files.example/2-a.png?Signature=a"]]),
        packed(path, {"a": "b"}),
    ):
        with pytest.raises(ConfigError, match="was changed since this row was added"):
            signed_url(changed, manifest.columns, row.start, row.length, row.file)


def test_all_wrong_rows_are_reported(tmp_path: Path) -> None:
    """Fifty wrong rows at most are reported, and a wrong header with the number of its row."""
    path = workbook(tmp_path / "m.xlsx", [["x"], ["类型", "发票ID"], *([["链接"]] * 70)])
    assert [problem.line for problem in problems_in(path)] == list(range(3, 53))
    path = workbook(tmp_path / "n.xlsx", [["x"], ["发票ID", "发票 ID", "部门", "部门"]])
    assert [problem[1:3] for problem in problems_in(path)] == [(2, "发票 ID"), (2, "部门"), (2, "kind")]
