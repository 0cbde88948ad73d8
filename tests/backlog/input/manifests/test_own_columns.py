"""Columns that only the user knows are kept with the row, and no mistake in a heading is hidden by that."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import ConfigError
from ekb_async.backlog import Backlog
from ekb_async.backlog.input.manifest import Manifest, signed_url
from tests.support.manifests import own_in, problems_in, rows_in, written

SIGNED = "https://files.example/1-a.png?Expires=1700000000&OSSAccessKeyId=STS.x&Signature=TOPSECRET%3D"

_HEADINGS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="?@"), max_size=20
).map(lambda text: unicodedata.normalize("NFC", f"own:{text}"))
_VALUES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t", exclude_characters="?@"), max_size=12
)


def test_values_are_kept_under_the_heading_of_the_file(tmp_path: Path) -> None:
    """Headings and values are kept as they are written, empty values are left out, and rows without any have none."""
    path = written(
        tmp_path / "m.csv",
        '类型,部门,发票ID, 报销人 ,"备注\n说明"\n链接,财务部,c:1:2,张三,"一\n二"\n链接,,c:1:3,  ,x\n链接,,c:1:4,,\n',
    )
    assert own_in(path) == [
        {"部门": "财务部", "报销人": "张三", "备注 说明": "一\n二"},
        {"备注 说明": "x"},
        {},
    ]
    assert [row.own for row in rows_in(path)][2] == ""


def test_json_values_of_each_kind_are_text(tmp_path: Path) -> None:
    """Numbers, true and false become text, null is empty; each line may have columns of its own."""
    lines = [
        {
            "kind": "url",
            "invoice_id": "a",
            "成本中心": 17,
            "ratio": 1.5,
            "paid": True,
            "open": False,
            "x": None,
            "": "",
        },
        {"kind": "url", "invoice_id": "b", "y": "z", "成本中心": "18"},
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert own_in(path) == [
        {"成本中心": "17", "ratio": "1.5", "paid": "true", "open": "false"},
        {"y": "z", "成本中心": "18"},
    ]
    manifest = Manifest(path)
    list(manifest.rows())
    manifest.close()
    assert manifest.own_columns == ("成本中心", "ratio", "paid", "open", "x", "y")


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_list_or_an_object_is_no_value(tmp_path: Path, value: object) -> None:
    """A list or an object in an own column is refused with its line and name."""
    path = written(tmp_path / "m.jsonl", json.dumps({"kind": "url", "invoice_id": "a", "部门": value}))
    (problem,) = problems_in(path)
    assert problem[1:] == (1, "部门", "the value must be a text, a number, true, false or null")


@settings(max_examples=60, deadline=None)
@given(cells=st.dictionaries(_HEADINGS, _VALUES, max_size=6), as_json=st.booleans())
def test_every_text_comes_back(cells: dict[str, str], *, as_json: bool) -> None:
    """Any heading that means nothing else, and any value, comes back as it was written."""
    row = {"kind": "url", "invoice_id": "c", **cells}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "m.jsonl" if as_json else "m.csv")
        if as_json:
            path.write_text(json.dumps(row), encoding="utf-8")
        else:
            lines = [",".join('"' + text.replace('"', '""') + '"' for text in each) for each in (row, row.values())]
            path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
        (found,) = own_in(path)
    assert found == {heading: value for heading, value in cells.items() if value and not value.isspace()}


async def test_no_signature_of_an_own_column_is_stored(tmp_path: Path) -> None:
    """A signed URL in an own column is kept without its query, a password in a URL not at all."""
    url = "https://me:TOPSECRET@h.example/a.pdf"
    path = written(tmp_path / "m.csv", f"kind,invoice_id,附件,下载\nurl,c:1:2,见 {SIGNED} 和附件,{url}\n")
    assert own_in(path) == [{"附件": "见 https://files.example/1-a.png 和附件", "下载": "https://h.example/a.pdf"}]
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(path)
    assert b"TOPSECRET" not in (tmp_path / "b.sqlite").read_bytes()


def test_a_heading_that_is_a_signed_url(tmp_path: Path) -> None:
    """The first row of a list without a header may have a known word; the URL beside it is no secret's place either."""
    path = written(tmp_path / "m.csv", f"kind,invoice_id,{SIGNED}\nurl,c,x\n")
    assert own_in(path) == [{"https://files.example/1-a.png": "x"}]


@pytest.mark.parametrize(
    ("header", "row", "line", "column", "reason"),
    [
        ("部门,部门", "", 1, "部门", "this column is there twice"),
        ("é,e\u0301", "", 1, "é", "this column is there twice"),
        ("长" * 65, "", 1, "长" * 40, "the name of a column has at most 64 characters"),
        ("a\x1b[31m", "", 1, r"'a\x1b[31m'", "the name of a column has control characters"),
        ("部门", "x" * 32_001, 2, "部门", "the value has more than 32,000 characters"),
        ("部门", "a\x07", 2, "部门", "the value has control characters"),
        ("部门", "a\0", 2, "部门", "the value has control characters"),
        (",部门", "x,", 2, "3", "this column has a value and no name"),
        ("部门", "x,,y", 2, "4", "the header has only 3 columns"),
        (",".join(map("c{}".format, range(101))), "", 1, "c100", "there are more than 100 columns of unknown names"),
    ],
)
def test_what_cannot_be_kept(tmp_path: Path, header: str, row: str, line: int, column: str, reason: str) -> None:
    """Headings and values that cannot be kept are reported with line and column."""
    path = written(tmp_path / "m.csv", f"kind,invoice_id,{header}\nurl,c,{row}\n")
    found = problems_in(path)
    assert (found[0].line, found[0].reason) == (line, reason)
    assert found[0].column in {column, "e\u0301"}


def test_as_many_and_as_long_as_allowed(tmp_path: Path) -> None:
    """A hundred own columns, headings of 64 characters and values of 32,000 are kept."""
    headings = [f"{number:03}".ljust(64, "列") for number in range(100)]
    values = ["x" * 32_000, *map(str, range(1, 100))]
    path = written(tmp_path / "m.csv", f"kind,invoice_id,{','.join(headings)}\nurl,c,{','.join(values)}\n")
    assert own_in(path) == [dict(zip(headings, values, strict=True))]


def test_a_header_that_is_too_long(tmp_path: Path) -> None:
    """A header that is not read to its end is an error, so that no column is taken for another one."""
    path = written(tmp_path / "m.csv", f"kind,invoice_id,a{' ' * 70_000}b\nurl,c,x\n")
    (problem,) = problems_in(path)
    assert problem[1:] == (1, None, "the names of the columns take more than 64 KiB")


def test_too_many_names_in_json_lines(tmp_path: Path) -> None:
    """Lines that bring ever new names are refused from the hundred and first on."""
    lines = [json.dumps({"kind": "url", "invoice_id": "c", f"c{number}": "x"}) for number in range(102)]
    problems = problems_in(written(tmp_path / "m.jsonl", "\n".join(lines)))
    assert [(problem.line, problem.column) for problem in problems] == [(101, "c100"), (102, "c101")]


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        ("kind,invocie_id", "url,c:1:2", "invoice_id"),
        ("类型,文件,stafid", "验真,https://h/a.png,c:s", "staff_id"),
        ("类型,发票号,开票时间", "四要素验真,00000017,20240506", "number"),
        ("类型,发票号码,开票时间", "四要素验真,24312000000123880017,20240506", "date"),
        ("kid,发票ID", "链接,c:1:2", "kind"),
        ("类型,文件,附件路径", "识别,,a.pdf", "文件"),
    ],
)
def test_a_misspelt_heading_is_named_where_its_value_is_missing(
    tmp_path: Path, header: str, row: str, column: str
) -> None:
    """A row that lacks a value is reported with the headings that mean nothing, since one of them may be misspelt."""
    (problem,) = problems_in(written(tmp_path / "m.csv", f"{header}\n{row}\n"))
    assert problem.column == column
    unknown = [name for name in header.split(",") if name not in {"kind", "类型", "文件", "发票ID", "发票号码"}]
    assert problem.reason.endswith(f"; unknown columns: {', '.join(unknown)}")


def test_a_complete_row_needs_no_other_heading(tmp_path: Path) -> None:
    """A heading that looks like a known one is the user's own if the row is complete without it."""
    path = written(tmp_path / "m.csv", "类型,发票ID,发票号,stafid\n链接,c:1:2,17,x\n")
    assert own_in(path) == [{"发票号": "17", "stafid": "x"}]


def test_a_signed_url_beside_own_columns_is_read_again(tmp_path: Path) -> None:
    """Own columns before and after a file do not change where its URL is found."""
    path = written(tmp_path / "m.csv", f'部门,类型,"备注\n二",文件\n财务,识别,"a\nb",{SIGNED}\n')
    manifest = Manifest(path)
    (row,) = manifest.rows()
    manifest.close()
    assert signed_url(path, manifest.columns, row.start, row.length, row.file) == SIGNED


@pytest.mark.parametrize(("name", "content"), [("m.csv", "file,部门\na.png,x\n"), ("m.jsonl", '{"file":"a.png"}')])
def test_a_kind_for_rows_without_one(tmp_path: Path, name: str, content: str) -> None:
    """With a kind and a person for all rows, a manifest needs neither column; a row's own value counts."""
    (tmp_path / "a.png").write_bytes(b"a")
    path = written(tmp_path / name, content)
    (row,) = rows_in(path, kind="识别验真", staff_id="Z@x.cn")
    assert (row.kind, row.staff_id) == ("verify", "email:z@x.cn")
    path = written(tmp_path / "n.csv", "kind,file,staff_id\n,a.png,c:s\nocr,a.png,\n")
    rows = rows_in(path, kind="verify", staff_id="c:t")
    assert [(row.kind, row.staff_id) for row in rows] == [("verify", "c:s"), ("ocr", "c:t")]
    with pytest.raises(ConfigError, match="kind must be one of ocr, verify"):
        rows_in(path, kind="做")
    with pytest.raises(ConfigError, match="this is no e-mail address"):
        rows_in(path, staff_id="a@b@c")
