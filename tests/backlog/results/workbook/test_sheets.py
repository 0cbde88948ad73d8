"""The sheets of a workbook: what each of them has, and that it is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from ekb_async.backlog import Backlog, Row, Task
from ekb_async.backlog.results.export.columns import COLUMNS
from ekb_async.backlog.results.names import Names
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices.answers import checked_answer
from tests.backlog.results.workbook.conftest import Trouble
from tests.support.backlogs import execute, session
from tests.support.exported import ATTENTION, DUPLICATES, INVOICES, LINES, Book
from tests.support.read_rows import add_rows, written_row
from tests.support.report_pages import Given, backlog_of, cards, invoice, written_page
from tests.support.troubled_backlog import HOSTILE

LANGUAGES = pytest.mark.parametrize("lang", ["en", "zh"])
FIRST = {
    "en": [
        "File",
        "Invoice kind",
        "Invoice number",
        "Invoice date",
        "Seller",
        "Total",
        "Tax",
        "Usable",
        "Why not, or warning",
    ],
    "zh": [
        "文件",
        "发票种类",
        "发票号码",
        "开票日期",
        "销售方",
        "价税合计",
        "税额",
        "是否可用",
        "不可用原因或风险提示",
    ],
}


def invoices_of(task: Task) -> Iterator[tuple[dict[str, Any], bool | None]]:
    """Yield what is written on each verified or recognised invoice of a task; whether it is usable, None if unknown."""
    if task.state == "done" and task.result and task.kind == "verify":
        yield from ((each["form"], each["usable"]) for each in task.result["invoices"])
    elif task.state == "done" and task.result and task.kind == "ocr":
        yield from ((each["details"], None) for each in task.result["invoices"])
    elif task.state == "done" and task.result and task.kind.startswith("verify_by"):
        yield task.result, task.result["is_verified"]


def expected_sums(tasks: list[Task]) -> dict[tuple[bool | None, str], tuple[int, Decimal]]:
    """Return number and total of the invoices by usability and currency, each invoice of a kind of call once."""
    seen: set[tuple[str, str, str]] = set()
    sums: dict[tuple[bool | None, str], tuple[int, Decimal]] = {}
    for task in tasks:
        for values, usable in invoices_of(task):
            identity = task.kind, values["code"], values["number"]
            if values["number"] and identity in seen:
                continue
            seen.add(identity)
            key = usable, values.get("currency") or "CNY"
            count, total = sums.get(key, (0, Decimal(0)))
            sums[key] = count + 1, total + Decimal(values["total"] or 0)
    return sums


@LANGUAGES
def test_the_sheets_and_their_first_columns(trouble: Trouble, lang: str) -> None:
    """The summary is first; invoices begin with what a person needs, then the person, own columns and all others."""
    book = trouble.books[lang]
    titles = {
        "en": ["Summary", "Invoices", "Lines", "Attention", "Duplicates"],
        "zh": ["汇总", "发票", "明细", "问题", "重复"],
    }
    assert [sheet.title for sheet in book.sheets] == titles[lang]
    headings = book.headings(INVOICES)
    person = {"en": "Staff ID", "zh": "人员ID"}[lang]
    assert headings[:13] == [*FIRST[lang], person, "部门", "项目", "Total (2)"]
    assert set(headings[13:]) == {column[1 if lang == "en" else 2] for column in COLUMNS} - set(headings[:13])
    attention = {"en": ["File", "Staff ID", "Problem", "Cause"], "zh": ["文件", "人员ID", "问题", "原因"]}[lang]
    assert book.headings(ATTENTION)[:4] == attention
    assert book.values(INVOICES, "Total (2)")[2:4] == ["1.5 估", "2.5 估"]


@LANGUAGES
def test_names_are_in_one_language(trouble: Trouble, lang: str) -> None:
    """Kinds, states and flags are words of the language, and no heading or word of the other one appears."""
    book, names = trouble.books[lang], Names(lang)
    state, kind = {"en": ("State", "Task"), "zh": ("状态", "任务类型")}[lang]
    assert set(book.values(INVOICES, state)) == {names.state(each) for each in ("done", "failed", "pending")}
    assert set(book.values(INVOICES, kind)) == {names.call(task.kind) for task in trouble.tasks}
    flags = {"en": {True, False, None}, "zh": {"是", "否", None}}[lang]
    assert set(book.values(INVOICES, FIRST[lang][7])) == flags
    kinds = set(book.values(INVOICES, FIRST[lang][1])) - {None}
    assert ("VAT special invoice" in kinds) is (lang == "en")
    assert ("增值税专用发票" in kinds) is (lang == "zh")
    own = {"部门", "项目", "Total (2)"}
    words = [
        each for place in (INVOICES, LINES, ATTENTION, DUPLICATES) for each in book.headings(place) if each not in own
    ]
    words += [cell.value for row in book.sheets[0].iter_rows(max_col=1) for cell in row if cell.value]
    if lang == "en":
        assert all(each.isascii() for each in words if isinstance(each, str) and ":" not in each)
    else:
        assert not [
            each
            for each in words
            if isinstance(each, str) and each.isascii() and each != "URL" and ":" not in each and not each[:4].isdigit()
        ]


@LANGUAGES
def test_print_set_up(trouble: Trouble, lang: str) -> None:
    """Every sheet is printed on A4 in landscape, one page wide, with page numbers; tables repeat their headings."""
    for place, sheet in enumerate(trouble.books[lang].sheets):
        assert (sheet.page_setup.orientation, sheet.page_setup.paperSize) == ("landscape", 9)
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert (sheet.page_setup.fitToWidth or 1, sheet.page_setup.fitToHeight) == (1, 0)
        assert "&P" in str(sheet.oddFooter.center.text) or "Page" in str(sheet.oddFooter.center.text)
        assert sheet.print_title_rows == ("$1:$1" if place else None)
    assert trouble.books[lang].sheets[INVOICES].print_area.endswith(f"$J${len(trouble.books[lang].rows(INVOICES)) + 2}")


def test_filters_and_frozen_panes(trouble: Trouble) -> None:
    """Headings and files stay visible, and filters leave out the row of sums."""
    book = trouble.books["zh"]
    for place in (INVOICES, LINES, ATTENTION, DUPLICATES):
        sheet = book.sheets[place]
        assert sheet.freeze_panes == "B2"
        sums = int(place in (INVOICES, LINES))
        last = sheet.cell(sheet.max_row - sums, sheet.max_column).coordinate
        assert sheet.auto_filter.ref == f"A1:{last}"
        assert all(cell.font.bold for cell in sheet[1])


@LANGUAGES
def test_files_are_links(trouble: Trouble, lang: str) -> None:
    """A file that is here is a relative link to itself, whatever its name; nothing else is a link."""
    book, linked = trouble.books[lang], set()
    for place in (INVOICES, ATTENTION, DUPLICATES):
        for row in book.rows(place):
            file = row[FIRST[lang][0]]
            if file.hyperlink is not None:
                assert (trouble.folder / unquote(file.hyperlink.target)).samefile(trouble.folder / file.value)
                assert ":" not in file.hyperlink.target
                linked.add(file.value)
    here = {task.file for task in trouble.tasks if task.file and (trouble.folder / task.file).is_file()}
    assert linked == here
    assert {Path(file).name for file in linked} >= {"a#b %41 100%&'x'.pdf", "=cmd 'x'!A1.pdf"}
    assert not [file for file in linked if "removed" in file or file.startswith("http")]
    others = [cell for cell in book.cells() if cell.hyperlink is not None and cell.column != 1]
    assert others == []


@LANGUAGES
def test_colours(trouble: Trouble, lang: str) -> None:
    """Whole rows are coloured by conditions that hold for the failed rows, and for those that are not usable."""
    book = trouble.books[lang]
    (coloured,) = book.sheets[INVOICES].conditional_formatting
    assert str(coloured.sqref) == book.sheets[INVOICES].auto_filter.ref.replace("A1:", "A2:")
    failed, unusable = coloured.rules
    letters = {cell.value: cell.column_letter for cell in book.sheets[INVOICES][1]}
    state, usable = {"en": ("State", "Usable"), "zh": ("状态", "是否可用")}[lang]
    assert failed.formula == [f'${letters[state]}2="{Names(lang).state("failed")}"']
    cell = f"${letters[usable]}2"
    assert unusable.formula == [{"en": f"AND(ISLOGICAL({cell}),{cell}=FALSE)", "zh": f'{cell}="否"'}[lang]]
    assert failed.dxf.fill.bgColor.rgb != unusable.dxf.fill.bgColor.rgb
    states = Counter(book.values(INVOICES, state))
    assert states[Names(lang).state("failed")] == sum(task.state == "failed" for task in trouble.tasks)


@LANGUAGES
def test_sums_are_exact(trouble: Trouble, lang: str) -> None:
    """The summary has number and total of the usable invoices, those that are not, and those only recognised."""
    title, words = {
        "en": ("What is usable", {"Usable": True, "Not usable": False, "Recognised, not verified": None}),
        "zh": ("可用情况", {"可用": True, "不可用": False, "仅识别，未验真": None}),
    }[lang]
    shown = {
        (words[name], currency): (count, Decimal(repr(total)))
        for name, currency, count, total, *_ in trouble.books[lang].section(title)[1:]
    }
    assert shown == expected_sums(trouble.tasks)
    assert {currency for _, currency in shown} == {"CNY", "USD", "EUR", "HKD"}


@LANGUAGES
def test_groups_add_up(trouble: Trouble, lang: str) -> None:
    """The sums by kind, by month and by person are the same, and that of each group is that of its invoices."""
    titles = {
        "en": ("By kind of invoice", "By month of the invoice date", "By person"),
        "zh": ("按发票种类", "按开票月份", "按人员"),
    }[lang]
    word = {"en": "Sum", "zh": "合计"}[lang]
    sums = expected_sums(trouble.tasks)
    for title in titles:
        _, *rows = trouble.books[lang].section(title)
        for currency in ("CNY", "USD"):
            groups = [row for row in rows if row[1] == currency and row[0] != word]
            (total,) = [row for row in rows if row[1] == currency and row[0] == word]
            for column, usable in ((5, True), (7, False), (9, None)):
                count, amount = sums.get((usable, currency), (0, Decimal(0)))
                assert sum(row[column] or 0 for row in groups) == (total[column] or 0) == count
                added = sum((Decimal(repr(row[column + 1] or 0)) for row in groups), Decimal(0))
                assert added == Decimal(repr(total[column + 1] or 0)) == amount
    people = {row[0]: row[11:13] for row in trouble.books[lang].section(titles[2])[1:] if row[0] == "corp:9999"}
    states = Counter(task.state for task in trouble.tasks if task.staff_id == "corp:9999")
    assert people == {"corp:9999": (states["failed"], states["pending"])}


def test_calls_paid_and_saved(trouble: Trouble) -> None:
    """The summary has the calls of the backlog's accounting, by kind."""
    headings, *rows, total = trouble.books["en"].section("Billed calls of the whole backlog")
    assert headings[:7] == (
        *("Task", "Calls made", "Maybe billed in vain", "Saved: same file", "Saved: same invoice", "Saved: ledger"),
        "Saved in all",
    )
    names = Names("en")
    for row, (kind, each) in zip(rows, trouble.accounting.kinds.items(), strict=True):
        saved = each.same_content, each.same_invoice, each.ledger
        assert row[:7] == (names.call(kind), each.calls, each.maybe_billed, *saved, sum(saved))
    assert (total[1], total[6]) == (trouble.accounting.calls, trouble.accounting.saved)
    assert trouble.accounting.saved > 3


def test_the_sum_of_the_visible_rows(trouble: Trouble) -> None:
    """Below the invoices is a sum that follows the filter, and its value is exact."""
    book = trouble.books["zh"]
    sheet = book.sheets[INVOICES]
    totals = [value for value in book.values(INVOICES, "价税合计") if value is not None]
    last = sheet.max_row
    assert sheet.cell(last, 1).value == "可见行合计（含各币种及重复行）"
    assert sheet.cell(last, 6).value == f"=SUBTOTAL(109,F2:F{last - 1})"
    cached = Book.read(trouble.folder / "zh.xlsx").sheets[INVOICES]
    assert cached.cell(last, 6).value == sheet.cell(last, 6).value
    import openpyxl

    values = openpyxl.load_workbook(trouble.folder / "zh.xlsx", data_only=True).worksheets[INVOICES]
    assert Decimal(repr(values.cell(last, 6).value)) == sum((Decimal(repr(each)) for each in totals), Decimal(0))


def test_what_needs_attention(trouble: Trouble) -> None:
    """Every failed row, every invoice that is not usable and every file without one is there, with what to do."""
    book, names = trouble.books["zh"], Names("zh")
    expected = Counter(task.id for task in trouble.tasks if task.state == "failed")
    for task in trouble.tasks:
        is_empty = task.state == "done" and task.kind == "verify" and not task.result["invoices"]
        expected[task.id] += is_empty + sum(usable is False for _, usable in invoices_of(task))
    assert Counter(book.values(ATTENTION, "任务号")) == +expected
    assert set(book.values(ATTENTION, "问题")) == {"失败", "不可用", "无发票"}
    assert all(book.values(ATTENTION, "处理建议"))
    by_id = {row["任务号"].value: row for row in book.rows(ATTENTION)}
    refused = next(task for task in trouble.tasks if task.error_type == "StaffNotFoundError")
    assert by_id[refused.id]["原因"].value == names.cause("StaffNotFoundError")
    assert by_id[refused.id]["详细说明"].value == "人员不存在。所用的 staff_id 是 corp:9999。"
    assert "发票已作废" in book.values(ATTENTION, "详细说明")
    assert book.headings(ATTENTION)[-3:] == ["部门", "项目", "Total (2)"]


def test_equal_invoices(trouble: Trouble) -> None:
    """Rows that share a call or an invoice are together, in groups of two or more, with what makes them equal."""
    book = trouble.books["zh"]
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in book.rows(DUPLICATES):
        groups.setdefault(row["组号"].value, []).append(row)
    assert list(groups) == list(range(1, len(groups) + 1))
    shown = set(book.values(DUPLICATES, "任务号"))
    assert shown >= {task.id for task in trouble.tasks if task.shared or task.same_as not in (None, task.id)}
    for rows in groups.values():
        assert len({row["任务号"].value for row in rows}) > 1
        assert len({row["发票号码"].value for row in rows}) == 1
        assert [row["重复原因"].value for row in rows].count("首行") == 1 == (rows[0]["重复原因"].value == "首行")
        people = {row["人员ID"].value for row in rows}
        assert {row["人员不同"].value for row in rows} == {"是" if len(people) > 1 else "否"}
    reasons = Counter(book.values(DUPLICATES, "重复原因"))
    assert set(reasons) == {"首行", "文件或ID相同", "发票相同"}
    assert set(book.values(DUPLICATES, "人员不同")) == {"是", "否"}
    # A file with two invoices is equal to one file in each of two groups.
    assert sum("合并 1+2" in row["文件"].value for rows in groups.values() for row in rows) == 2


def test_a_selection(trouble: Trouble) -> None:
    """A workbook of failed rows has all sheets, and says what it is about."""
    book = Book.read(trouble.folder / "failed.xlsx")
    failed = [task.id for task in trouble.tasks if task.state == "failed"]
    assert book.values(INVOICES, "Task number") == book.values(ATTENTION, "Task number") == failed
    assert book.rows(LINES) == []
    assert "State: Failed. Task: all." in book.sheets[0]["A2"].value


def test_hostile_texts_are_texts(trouble: Trouble) -> None:
    """The only formulas are the sums of the workbook's own, and hostile texts are in cells as they are."""
    for book in trouble.books.values():
        formulas = [cell for cell in book.cells() if cell.data_type == "f"]
        assert len(formulas) == 4
        assert all(cell.value.startswith("=SUBTOTAL(109,") for cell in formulas)
        values = {cell.value for cell in book.cells() if cell.data_type == "s"}
        assert values >= set(HOSTILE)


async def test_tenants(tmp_path: Path) -> None:
    """With tenants, the tenant is beside the person, on every sheet, and the summary has a section for them."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        first = written_row(tmp_path, "a.pdf", "25999900000000000017", tenant="甲")
        await add_rows(backlog, tmp_path, first, written_row(tmp_path, "b.pdf", "25999900000000000028"))
        await backlog.export(tmp_path / "out.xlsx")
    book = Book.read(tmp_path / "out.xlsx")
    assert book.headings(INVOICES)[9:11] == ["Staff ID", "Tenant"]
    assert book.values(INVOICES, "Tenant") == ["甲", None]
    assert all("Tenant" in book.headings(place) for place in (LINES, ATTENTION, DUPLICATES))


async def test_an_invoice_that_was_verified_and_checked_counts_once(tmp_path: Path) -> None:
    """A file and the fields of one invoice are two calls; workbook and page count it once, and name both rows."""
    sold = invoice("12345678", kind="vat_special", code="0310019002", total=Decimal("100.00"), tax=Decimal("6.00"))
    row = Row(kind="verify_by_fields", code=sold.code, number=sold.number, date=f"{sold.date:%Y%m%d}", amount="94.00")
    async with backlog_of(tmp_path, Given((sold,))) as backlog:
        await backlog.add([row])
        answer = msgspec.json.encode(checked_answer(sold)).hex()
        await execute(backlog, f"UPDATE calls SET state = 'done', result = x'{answer}' WHERE id = 2")  # noqa: S608 - hex
        assert cards(await written_page(backlog, tmp_path))["Verified and usable (CNY)"] == "100.00"
        await backlog.export(tmp_path / "out.xlsx")
    book = Book.read(tmp_path / "out.xlsx")
    assert [row[:5] for row in book.section("What is usable")[1:]] == [("Usable", "CNY", 1, 100, 6)]
    assert book.values(DUPLICATES, "Task number") == [1, 2]
    assert book.values(DUPLICATES, "Group") == [1, 1]


async def test_an_invoice_with_and_without_its_code_counts_once(tmp_path: Path) -> None:
    """Answers that write code and number of one invoice in two ways are equal, in workbook and page."""
    number = "24312000000123456789"
    values = {"kind": "digital_normal", "total": Decimal("100.00"), "tax": Decimal("6.00")}
    rows = [Given((invoice(number, code=code, **values),)) for code in ("", "031200190011")]
    async with backlog_of(tmp_path, *rows) as backlog:
        assert cards(await written_page(backlog, tmp_path))["Verified and usable (CNY)"] == "100.00"
        await backlog.export(tmp_path / "out.xlsx")
    book = Book.read(tmp_path / "out.xlsx")
    assert [row[:5] for row in book.section("What is usable")[1:]] == [("Usable", "CNY", 1, 100, 6)]
    assert book.values(DUPLICATES, "Task number") == [1, 2]


async def test_rows_of_a_reference_add_up(tmp_path: Path, quick_box: Sandbox) -> None:
    """An invoice counts in the workbook of a reference also if its call was made from a row of another one."""
    rows = [
        Row(kind="verify", file=f"https://f.example/{file}.png", staff_id="corp:staff", ref=ref)
        for file, ref in (("1", "A"), ("1", "B"), ("1", "B"), ("2", "B"))
    ]
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, session(quick_box) as ekb:
        await backlog.add(rows)
        await backlog.run(ekb)
        for ref in "AB":
            await backlog.export(tmp_path / f"{ref}.xlsx", ref=ref)
    for ref, calls in (("A", 1), ("B", 2)):
        book = Book.read(tmp_path / f"{ref}.xlsx")
        numbers = book.values(INVOICES, "Invoice number")
        counted = sum(row[2] for row in book.section("What is usable")[1:])
        assert counted == len(set(numbers)) == calls
