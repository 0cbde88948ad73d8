"""Workbooks as manifests: the rows that the same list has as CSV, and errors with the place of the cell."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import ConfigError
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifest import Manifest, signed_url
from ekb_async.backlog.input.workbooks.cells import Cell, Format, Formats, format_of
from ekb_async.backlog.input.workbooks.sheets import index_of, letters_of
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlogs import all_tasks, session
from tests.support.manifests import own_in, problems_in, rows_in
from tests.support.workbooks import Formatted, inline, packed, parts, workbook

SIGNED = "https://files.example/1-a.png?Expires=1700000000&OSSAccessKeyId=STS.x&Signature=TOPSECRET%3D"
HINT = "format the column as text in the spreadsheet, and enter the number again"
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


def test_formats_of_numbers(tmp_path: Path) -> None:
    """A format of zeros shows leading zeros, a format with years or hours shows a date or time."""
    head = ["类型", "发票ID", "a", "b", "c", "d", "e", "f"]
    row = [
        Formatted(17, "00000000"),
        Formatted(45418, 'yyyy"年"m"月"d"日"'),
        Formatted(45418.5, "m/d/yy h:mm"),
        Formatted(0.25, "h:mm:ss"),
        Formatted(1.5, "[h]:mm"),
        Formatted(12.5, '¥#,##0.00_);[Red]("d"#,##0)'),
    ]
    path = workbook(tmp_path / "m.xlsx", [head, ["链接", "c", *row]])
    values = ["00000017", "2024-05-06", "2024-05-06 12:00:00", "06:00:00", "1.5", "12.5"]
    assert own_in(path) == [dict(zip("abcdef", values, strict=True))]


@pytest.mark.parametrize(
    ("number", "code", "is_moment"),
    [
        (14, "", True),
        (0, "", False),
        (31, "", True),
        (49, "", False),
        (164, "General", False),
        (164, "0.00E+00", False),
        (164, "yyyy-mm-dd;@", True),
        (164, "[$-804]yyyy/m/d", True),
        (164, '"day" 0', False),
        (164, "0.0%", False),
        (164, "上午/下午h时mm分", True),
    ],
)
def test_which_formats_are_dates(number: int, code: str, is_moment: bool) -> None:
    """Text in quotation marks, colours and locales in a format make no date."""
    assert format_of(number, code).is_moment is is_moment


@given(st.dates(date(1900, 1, 1), date(9999, 12, 31)), st.booleans())
def test_every_day(day: date, from_1904: bool) -> None:
    """The number of a day means the same day as in openpyxl, in both ways of counting."""
    epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904 if from_1904 else openpyxl.utils.datetime.CALENDAR_WINDOWS_1900
    serial = openpyxl.utils.datetime.to_excel(day, epoch)
    if serial < 0:
        return
    formats = Formats([Format(is_moment=True)], from_1904=from_1904)
    assert formats.text(Cell("", 0, str(serial)), "date") == day.isoformat()


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_number_of_fifteen_digits(number: int) -> None:
    """A whole number that a spreadsheet keeps is read with all its digits, without a point."""
    for text in (str(number), f"{float(number)!r}"):
        assert Formats().text(Cell("", 0, text), "ref") == str(number)


@given(st.integers(0, 16_383))
def test_letters_of_columns(index: int) -> None:
    """Letters and index of a column belong together, as in openpyxl."""
    assert letters_of(index) == openpyxl.utils.get_column_letter(index + 1)
    assert index_of(letters_of(index)) == index


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
            cells = [openpyxl.cell.WriteOnlyCell(sheet, value) for value in row]
            for cell in cells:
                cell.data_type = "s"
            sheet.append(cells)
        book.save(path)
    else:
        workbook(path, rows)
    assert [row.ref for row in rows_in(path)] == refs


def test_what_other_programs_write(tmp_path: Path) -> None:
    """Cells without places, rich texts, pronunciations and characters that XML does not allow are read."""
    rich = '<row><c t="inlineStr"><is><r><t>链</t></r><r><t>接</t></r><rPh><t>lian</t></rPh></is></c>'
    texts = '<sst><si><t>c:1</t><rPh sb="0" eb="1"><t>x</t></rPh></si></sst>'
    more = '<c t="s"><v>0</v></c><c t="str"><v>a_x000D_b_xD83D__xDE00_</v></c></row>'
    path = packed(tmp_path / "m.xlsx", parts(inline("类型", "发票ID", "编号") + rich + more, texts=texts))
    (row,) = rows_in(path)
    assert (row.line, row.invoice_id, row.ref) == (2, "c:1", "a\rb😀")


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
