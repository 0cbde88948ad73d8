"""Workbooks that are damaged, encrypted, of another kind or made to fill the memory: an error that names the file."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async import ManifestError
from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.workbooks import sheet_rows
from ekb_async.backlog.input.workbooks.parts import Parts
from tests.support.manifests import problems_in, rows_in, written
from tests.support.workbooks import inline, packed, parts, workbook

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
        (parts(HEAD, sheet=""), "one of its sheets is missing"),
        (parts(HEAD, book=""), "it has no sheet"),
        (parts(HEAD, book="<workbook><sheets/></workbook>"), "it has no sheet"),
        (parts(HEAD, book="<workbook>"), "it is damaged, or no .xlsx workbook"),
        (parts(HEAD, sheet="<a>" * 100), "its elements are too deep"),
        (parts(HEAD, sheet='<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "it has a document type or entities"),
        (parts(HEAD + '<row r="1048577"><c><v>1</v></c></row>'), "it has more than 1,048,576 rows"),
        (parts('<row><c r="ZZZ1"><v>1</v></c></row>'), "it has more than 16,384 columns"),
        (parts('<row><c t="s"><v>7</v></c></row>'), "a cell refers to a text that is missing"),
        (parts('<row><c t="s"><v>-1</v></c></row>'), "a cell refers to a text that is missing"),
        (parts(HEAD + inline("x" * 600_000, "y" * 600_000)), "row 2 has more than 1,048,576 characters"),
        (parts(HEAD, texts=" " * 70_000_000), "it is too large when it is unpacked"),
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
    """The cells between the first and the last of a sheet take no memory, and neither do many rows."""
    far = '<row r="1048575"><c r="XFD1048575"><v>1</v></c></row>'
    path = packed(tmp_path / "far.xlsx", parts(HEAD + ROW + far))
    many = packed(tmp_path / "many.xlsx", parts(HEAD + ROW * 5_000))
    tracemalloc.start()
    try:
        (problem,) = problems_in(path)
        assert problem[1:3] == (1_048_575, "XFD")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.reset_peak()
        assert len(rows_in(many)) == 5_000
    finally:
        tracemalloc.stop()


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


def test_sheets_that_are_almost_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header is looked for in the first megabytes of the first sheets, however many rows and sheets there are."""
    sheets = "".join(f'<sheet name="{number}" sheetId="{number}" r:id="rId1"/>' for number in range(50))
    book = f'<workbook xmlns:r="x"><sheets>{sheets}</sheets></workbook>'
    path = packed(tmp_path / "m.xlsx", parts("<row/>" * 100_000 + HEAD, book=book))
    pieces, parsed = Parts.pieces, []

    def counted(*arguments: Any) -> Iterator[None]:
        for piece in pieces(*arguments):
            parsed.append(1)
            yield piece

    monkeypatch.setattr(Parts, "pieces", counted)
    limits = msgspec.structs.replace(LIMITS, searched_sheets=3, searched_sheet_bytes=1 << 17)
    monkeypatch.setattr(sheet_rows, "LIMITS", limits)
    assert reason(path).startswith("no sheet has the names of columns")
    assert len(parsed) < 40


def test_values_whose_reading_would_take_long(tmp_path: Path) -> None:
    """Headings, formats and addresses are refused by their length before anything slower looks at them."""
    path = written(tmp_path / "m.csv", f"kind,invoice_id,a{' ' * 60_000}b\nurl,c,x\n")
    assert problems_in(path)[0].reason == "the name of a column has at most 64 characters"
    path = written(tmp_path / "n.csv", f"kind,invoice_id,email\nurl,c,{'e' + chr(0x301) * 120_000}@x.cn\n")
    assert problems_in(path)[0].reason == "the value has more than 320 characters"
    styles = f'<styleSheet><numFmts><numFmt numFmtId="164" formatCode="{"[" * 1_000_000}"/></numFmts></styleSheet>'
    cells = '<cellXfs><xf numFmtId="164"/></cellXfs>'
    content = parts(HEAD + ROW, texts="<sst/>")
    content["xl/styles.xml"] = styles.replace("</styleSheet>", f"{cells}</styleSheet>")
    relations = content["xl/_rels/workbook.xml.rels"]
    style = relations[relations.index('<Relationship Id="rId2"') :].replace("rId2", "rId3")
    style = style.replace("sharedStrings.xml", "styles.xml").replace("sharedStrings", "styles")
    content["xl/_rels/workbook.xml.rels"] = relations.replace("</Relationships>", style)
    noise = random.Random(3).randbytes(20_000).hex()
    content["xl/styles.xml"] += f"<!--{noise}-->"
    assert len(rows_in(packed(tmp_path / "o.xlsx", content))) == 1
