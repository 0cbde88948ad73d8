"""Columns, kinds and empty cells as people write them, and what cannot be recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import ManifestError, ManifestProblem
from ekb_async.backlog import AddReport, Backlog, Task
from ekb_async.backlog.input.manifests.headings import COLUMNS, KIND_NAMES, SYNONYMS
from ekb_async.backlog.input.rows.kinds import KINDS
from tests.support.backlogs import all_tasks

URL = "https://files.example/a.png"


async def added(directory: Path, content: str, name: str = "m.csv") -> list[Task]:
    """Add a manifest in UTF-8 with a byte order mark and return the rows."""
    (directory / name).write_text(content, encoding="utf-8-sig")
    async with Backlog.open(directory / "b.sqlite") as backlog:
        await backlog.add_manifest(directory / name)
        return await all_tasks(backlog)


async def refused(directory: Path, content: str, name: str = "m.csv") -> list[ManifestProblem]:
    """Return what is wrong with a manifest, after checking that nothing of it was added."""
    (directory / name).write_text(content, encoding="utf-8-sig")
    async with Backlog.open(directory / "b.sqlite") as backlog:
        with pytest.raises(ManifestError) as caught:
            await backlog.add_manifest(directory / name)
        assert await all_tasks(backlog) == []
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    assert {problem.file for problem in caught.value.problems} == {str(directory / name)}
    return list(caught.value.problems)


def test_each_column_and_kind_has_names() -> None:
    """Each has a Chinese name, and no name means two of them."""
    assert tuple(SYNONYMS) == COLUMNS
    assert set(KIND_NAMES) == set(KINDS)
    for names in (SYNONYMS, KIND_NAMES):
        every = [name for each in names.items() for name in (each[0], *each[1])]
        assert len(set(every)) == len(every)
        assert all(any(not name.isascii() for name in each) for each in names.values())


async def test_all_kinds_in_chinese(tmp_path: Path) -> None:
    """A list with Chinese headings and kinds has the rows of one in English."""
    content = (
        "业务类型;文件路径;发票ID;员工ID;文件名;备注编号;企业;发票代码;发票号码;开票日期;金额;校验码\n"
        f"识别;{URL}?a=1;;;;1;公司;;;;;\n"
        f"验真;{URL}?a=2;;c:s;一.png;2;公司;;;;;\n"
        f"识别验真;{URL}?a=3;;c:s;;3;公司;;;;;\n"
        "按ＩＤ验真;;c:1:2;;;4;公司;;;2024-05-06;;\n"
        "四要素验真;;;;;5;公司;044002400111;00000017;20240506;106.20;123456\n"
        "链接;;c:1:2;;;6;公司;;;;;\n"
        "明细;;c:1:2;;;7;公司;;;;;\n"
        " 下载 ;;c:1:2;;;8;公司;;;;;\n"
    )
    rows = await added(tmp_path, content)
    assert [(row.kind, row.ref, row.tenant) for row in rows] == [
        (kind, str(number), "公司")
        for number, kind in enumerate(
            ("ocr", "verify", "verify", "verify_by_id", "verify_by_fields", "url", "detail", "download"), 1
        )
    ]
    assert rows[4].fields == {
        "code": "044002400111",
        "number": "00000017",
        "date": "20240506",
        "amount": "106.20",
        "check_code": "123456",
    }


@pytest.mark.parametrize(
    "header",
    ["Kind,Invoice ID,Ref", "TYPE,invoice-id, REFERENCE ", "ｋｉｎｄ,InvoiceId,编 号", '"业务\n类型",发票id,编号'],
)
async def test_headings_in_any_case(tmp_path: Path, header: str) -> None:
    """Case, blanks, line breaks, hyphens and full-width letters do not matter."""
    (row,) = await added(tmp_path, f"{header}\nurl,c:1:2,a\n")
    assert (row.kind, row.invoice_id, row.ref) == ("url", "c:1:2", "a")


async def test_empty_columns_and_rows(tmp_path: Path) -> None:
    """Empty columns at the end and empty rows, before the header too, are ignored; lines are counted nevertheless."""
    content = ";;;;\n\nkind;invoice_id;ref; ;\n;;;;\nurl;c:1:2;a;;\n \nurl;c:1:3;b\n"
    assert [(row.line, row.ref) for row in await added(tmp_path, content)] == [(5, "a"), (7, "b")]


async def test_a_value_in_a_column_without_a_name(tmp_path: Path) -> None:
    """A value under an empty heading is refused, wherever the heading is."""
    (problem,) = await refused(tmp_path, "kind,invoice_id,,\nurl,c:1:2,,x\n")
    assert problem[1:] == (2, "3", "the header has only 2 columns")
    (problem,) = await refused(tmp_path, "kind,,invoice_id\nurl,,c:1:1\nurl,x,c:1:2\n")
    assert problem[1:] == (3, "2", "this column has a value and no name")


@pytest.mark.parametrize(
    "content",
    ["url,c:1:2,a\nurl,c:1:3,b\n", "发票，识别,x\n", ",,,\n", "PK\x03\x04\x14\0\x06\0", '"kind', "发票类型,备注\n"],
)
async def test_no_header(tmp_path: Path, content: str) -> None:
    """Without a known heading, the error lists the accepted names in both languages."""
    (problem,) = await refused(tmp_path, content)
    assert problem[1:3] == (1, None)
    for name in (*SYNONYMS, "类型", "文件", "发票ID", "员工ID", "文件名", "编号", "企业", "发票代码", "金额", "校验码"):
        assert name in problem.reason


async def test_all_wrong_headings_are_reported(tmp_path: Path) -> None:
    """Each heading that cannot be kept is reported, escaped and cut, and so is a missing kind with what is unknown."""
    problems = await refused(tmp_path, f"文件，价格，编号，\x1b[31m，{'长' * 100}\n")
    assert [problem.column for problem in problems] == [r"'\x1b[31m'", "长" * 40, "kind"]
    assert "the columns are kind, file" in problems[2].reason
    assert "类型, 文件" in problems[2].reason
    assert problems[2].reason.endswith("; unknown columns: 价格")


@pytest.mark.parametrize("header", ["类型,发票ID,kind", "类型,发票ID,业务 类型", "类型,发票ID,类型"])
async def test_two_columns_of_the_same_meaning(tmp_path: Path, header: str) -> None:
    """Two names of one column are refused; JSON Lines may have a different one in each line, but not two in one."""
    (problem,) = await refused(tmp_path, f"{header}\n")
    assert (problem.line, problem.column) == (1, header.rpartition(",")[2])
    assert problem.reason.startswith("this column is there twice")


async def test_names_in_json_lines(tmp_path: Path) -> None:
    """Each line has names of its own; two of the same meaning in a line are refused."""
    content = '{"类型":"链接","发票ID":"c:1:2","编号":7}\n{"Kind":"detail","invoice id":"c:1:2"}\n'
    assert [(row.kind, row.ref) for row in await added(tmp_path, content, "m.jsonl")] == [("url", "7"), ("detail", "")]
    (tmp_path / "b.sqlite").unlink()
    (problem,) = await refused(tmp_path, '{"类型":"链接","kind":"url","发票ID":"c"}\n', "n.jsonl")
    assert problem[1:] == (1, "kind", "this column is there twice, as 类型")


async def test_problems_name_the_heading_of_the_file(tmp_path: Path) -> None:
    """A problem has the heading as the file has it, or the column's own name if the file has none."""
    problems = await refused(tmp_path, f"类型,文件路径,金额\n验真,{URL},\n识别,,\n识别,{URL},一百\n做,{URL},\n")
    assert [(problem.line, problem.column) for problem in problems] == [
        (2, "staff_id"),
        (3, "文件路径"),
        (4, "金额"),
        (5, "类型"),
    ]
    assert problems[3].reason.startswith("'做' is none of ocr, verify")
    assert "四要素验真" in problems[3].reason


async def test_the_first_fifty_wrong_rows_are_reported(tmp_path: Path) -> None:
    """Up to fifty wrong rows are reported with their places, whatever is wrong; right rows are not added."""
    rows = ["url,c:1:1,a", "nothing,c,a", "url,,a", 'url,c:1:2,"x"y', "url,c:1:1,a,b", "url,c:1:3,a\0"]
    problems = await refused(tmp_path, "kind,invoice_id,ref\n" + "\n".join(rows))
    assert [(problem.line, problem.column) for problem in problems] == [
        (3, "kind"),
        (4, "invoice_id"),
        (5, None),
        (6, "4"),
        (7, "ref"),
    ]
    for name, row, head in (
        ("m.csv", "wrong,c", "kind,invoice_id\n"),
        ("m.jsonl", "[]", ""),
        ("n.csv", 'a"', "kind\n"),
    ):
        problems = await refused(tmp_path, head + f"{row}\n" * 2_000, name)
        first = 2 if head else 1
        assert [problem.line for problem in problems] == list(range(first, first + 50))
    with pytest.raises(ManifestError, match=r"Only the first 50 are listed\.$"):
        await added(tmp_path, "kind\n" + "wrong\n" * 50)


async def test_a_corrected_manifest_can_be_added(tmp_path: Path) -> None:
    """After an error the same backlog takes the corrected file."""
    path = tmp_path / "m.csv"
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        for name in ("做", "链接"):
            path.write_text(f"类型\t发票ID\n链接\tc:1:1\n{name}\tc:1:2\n", encoding="gb18030")
            if name == "做":
                with pytest.raises(ManifestError):
                    await backlog.add_manifest(path)
        assert await backlog.add_manifest(path) == AddReport(added=2, duplicates=0)
