"""Workbooks that are damaged, encrypted, of another kind or made to fill the memory: an error that names the file."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import pytest

from ekb_async import ManifestError
from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.workbooks import sheet_rows
from tests.support.manifests import problems_in, rows_in, written
from tests.support.workbooks import MAIN, inline, packed, parts, workbook

HEAD = inline("kind", "invoice_id")
ROW = inline("url", "c:1:2")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def reason(path: Path) -> str:
    """Return why a workbook is refused, after checking that the error names it."""
    (problem,) = problems_in(path)
    assert problem.file == str(path)
    return problem.reason


def test_the_workbook_of_these_tests_is_read(tmp_path: Path) -> None:
    """What the tests below change is a workbook that can be read."""
    assert len(rows_in(packed(tmp_path / "m.xlsx", parts(HEAD + ROW)))) == 1


@pytest.mark.parametrize("name", ["m.xls", "m.et", "m.xlsm", "m.ods"])
def test_other_kinds_of_workbooks(tmp_path: Path, name: str) -> None:
    """A workbook of another kind is refused by its name."""
    (tmp_path / name).write_bytes(OLE)
    assert reason(tmp_path / name) == "this kind of workbook cannot be read: save it as .xlsx"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is damaged, or no ZIP file"),
        (b"kind,file\n", "it is damaged, or no ZIP file"),
        (b"PK\x03\x04" + b"\0" * 200, "it is damaged, or no ZIP file"),
        (OLE + b"\0" * 5000, "this is an old workbook (.xls or .et): save it as .xlsx"),
        (OLE + b"\0" * 70_000 + "EncryptedPackage".encode("utf-16-le"), "this workbook is encrypted"),
    ],
)
def test_other_content(tmp_path: Path, content: bytes, expected: str) -> None:
    """Content of another kind under the name of a workbook is refused."""
    (tmp_path / "m.xlsx").write_bytes(content)
    assert expected in reason(tmp_path / "m.xlsx")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (parts(HEAD, sheet=""), "it has no sheet"),
        (parts(HEAD, book="<workbook><sheets/></workbook>"), "it has no sheet"),
        (parts(HEAD, book=""), "it is damaged, or no .xlsx workbook"),
        (parts(HEAD, book="<workbook>"), "it is damaged, or no .xlsx workbook"),
        (parts(HEAD, types=""), "it is damaged, or no .xlsx workbook"),
        (parts(HEAD, sheet="<a>" * 100), "it is damaged, or no .xlsx workbook"),
        (parts('<row><c t="s"><v>7</v></c></row>'), "it is damaged, or no .xlsx workbook"),
        (parts(HEAD, sheet='<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "it has a document type"),
        (
            parts(HEAD, texts='<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
            "it has a document type",
        ),
        (
            parts(HEAD + "<row>" + "".join(f'<c s="{n}"/>' for n in range(260_000))),
            "it has more elements than a workbook",
        ),
        (parts(HEAD, sheet=f"<a>{' ' * 1_000_000}</a>"), "it is too large when it is unpacked"),
        (parts(HEAD, texts=f"<a>{' ' * 1_000_000}</a>"), "it is too large when it is unpacked"),
        ({f"{number}": "" for number in range(20_001)}, "it has more than 20,000 entries"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_workbook_has(tmp_path: Path, content: dict[str, str], expected: str) -> None:
    """A workbook beyond what spreadsheets write is refused as soon as that is found."""
    assert expected in reason(packed(tmp_path / "m.xlsx", content))


def test_an_encrypted_entry(tmp_path: Path) -> None:
    """A workbook in a ZIP with a password is refused."""
    path = packed(tmp_path / "m.xlsx", parts(HEAD))
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)
    assert "it is encrypted" in reason(path)


def test_a_directory_that_claims_to_be_huge(tmp_path: Path) -> None:
    """The size of the directory is checked before it is read."""
    path = packed(tmp_path / "m.xlsx", parts(HEAD))
    content = bytearray(path.read_bytes())
    struct.pack_into("<L", content, content.rfind(b"PK\x05\x06") + 12, 1 << 31)
    path.write_bytes(content)
    assert "it has more than 20,000 entries" in reason(path)


def test_two_cells_far_apart_take_no_memory(tmp_path: Path) -> None:
    """The rows and columns between the cells of a sheet take no memory, whatever size the sheet claims to have."""
    far = '<row r="50000"><c r="A50000" t="str"><v>url</v></c><c r="XFD50000"><v>1</v></c></row>'
    content = parts(HEAD + ROW + far)
    sheet = content["xl/worksheets/sheet1.xml"]
    content["xl/worksheets/sheet1.xml"] = sheet.replace("<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>')
    path = packed(tmp_path / "m.xlsx", content)
    problems_in(path)
    tracemalloc.start()
    try:
        (problem,) = problems_in(path)
        assert problem[1:3] == (50_000, "invoice_id")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_text_longer_than_a_cell_holds(tmp_path: Path) -> None:
    """A text that no spreadsheet writes is refused with the place of its cell."""
    texts = f'<sst xmlns="{MAIN}"><si><t>{"x" * 40_000}</t></si></sst>'
    row = '<row><c t="inlineStr"><is><t>url</t></is></c><c t="s"><v>0</v></c></row>'
    (problem,) = problems_in(packed(tmp_path / "m.xlsx", parts(HEAD + row, texts=texts)))
    assert problem[1:] == (2, "invoice_id", "the cell has more than 32,767 characters")


def test_an_attribute_without_an_end(tmp_path: Path) -> None:
    """A value that goes on for megabytes is refused before all of it is in memory."""
    noise = random.Random(1).randbytes(2_500_000).hex()
    assert "it has a value that is too long" in reason(packed(tmp_path / "m.xlsx", parts(f'<row r="{noise}"/>')))


def test_damaged_copies(tmp_path: Path) -> None:
    """A damaged workbook is read or refused, and never fails otherwise."""
    whole = workbook(tmp_path / "whole.xlsx", [["kind", "invoice_id", "x"], *[["url", "c:1:2", n] for n in range(30)]])
    content, damage, outcomes = whole.read_bytes(), random.Random(7), set()
    for number in range(150):
        copy = bytearray(content)
        for _ in range(damage.randint(1, 8)):
            copy[damage.randrange(len(copy))] = damage.randrange(256)
        path = tmp_path / f"{number}.xlsx"
        path.write_bytes(copy[: damage.randint(1, len(copy))] if number % 5 == 0 else copy)
        try:
            outcomes.add(len(rows_in(path)))
        except ManifestError:
            outcomes.add(-1)
    assert -1 in outcomes


def test_a_method_of_compression_that_is_unknown(tmp_path: Path) -> None:
    """A part that cannot be unpacked is refused."""
    path = tmp_path / "m.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts(HEAD).items():
            archive.writestr(name, text)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        at = content.find(mark)
        while at >= 0:
            struct.pack_into("<H", content, at + offset, 99)
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    assert "it is damaged, or no .xlsx workbook" in reason(path)


def test_only_the_first_sheets_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header is looked for in the first rows of the first sheets, however many rows and sheets there are."""
    monkeypatch.setattr(sheet_rows, "LIMITS", msgspec.structs.replace(LIMITS, searched_sheets=3))
    sheets = [*[[["x"]]] * 3, [["类型", "发票ID"], ["链接", "c"]]]
    assert len(rows_in(workbook(tmp_path / "m.xlsx", *sheets[1:]))) == 1
    assert reason(workbook(tmp_path / "m.xlsx", *sheets)).startswith("no sheet has the names of columns")


def test_values_whose_reading_would_take_long(tmp_path: Path) -> None:
    """Headings, formats and addresses are refused by their length before anything slower looks at them."""
    path = written(tmp_path / "m.csv", f"kind,invoice_id,a{' ' * 60_000}b\nurl,c,x\n")
    assert problems_in(path)[0].reason == "the name of a column has at most 64 characters"
    path = written(tmp_path / "n.csv", f"kind,invoice_id,email\nurl,c,{'e' + chr(0x301) * 120_000}@x.cn\n")
    assert problems_in(path)[0].reason == "the value has more than 320 characters"
    content = parts(HEAD + ROW)
    content["xl/styles.xml"] = (
        f'<styleSheet xmlns="{MAIN}"><numFmts><numFmt formatCode="{"[" * 60_000}"/></numFmts></styleSheet>'
    )
    assert "it has a format that is too long" in reason(packed(tmp_path / "o.xlsx", content))


def test_what_is_not_needed_is_not_parsed(tmp_path: Path) -> None:
    """Properties that are damaged, and names of ranges that would take long to parse, do not matter."""
    content = parts(HEAD + ROW)
    title = f'<definedName name="_xlnm.Print_Titles" localSheetId="0">{"$1:" * 20_000}</definedName>'
    content["xl/workbook.xml"] = content["xl/workbook.xml"].replace(
        "</workbook>", f"<definedNames>{title}</definedNames></workbook>"
    )
    content["docProps/core.xml"] = content["xl/theme/theme1.xml"] = "<a>"
    assert len(rows_in(packed(tmp_path / "m.xlsx", content))) == 1
