"""Workbooks for tests: as a spreadsheet writes them, and made by hand from parts."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import xlsxwriter

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class Formatted:
    """A value with a number format, or the result of a formula."""

    def __init__(self, value: Any, code: str | int = "", formula: str = "") -> None:
        self.value, self.code, self.formula = value, code, formula


def workbook(path: Path, *sheets: Sequence[Sequence[Any]], hidden: Sequence[int] = (), **options: Any) -> Path:
    """Write a workbook with these sheets, each a list of rows, and return its path."""
    with xlsxwriter.Workbook(path, options) as book:
        for number, rows in enumerate(sheets):
            sheet = book.add_worksheet()
            if number in hidden:
                sheet.hide()
            for y, row in enumerate(rows):
                for x, value in enumerate(row):
                    _write(book, sheet, y, x, value)
        if hidden:
            first = next(number for number in range(len(sheets)) if number not in hidden)
            book.worksheets()[first].activate()
            book.worksheets()[first].set_first_sheet()
    return path


def _write(book: Any, sheet: Any, y: int, x: int, value: Any) -> None:
    if isinstance(value, Formatted):
        form = book.add_format({"num_format": value.code}) if value.code else None
        if value.formula:
            sheet.write_formula(y, x, value.formula, form, value.value)
        else:
            sheet.write(y, x, value.value, form)
    elif isinstance(value, date):
        sheet.write_datetime(y, x, value, book.add_format({"num_format": "yyyy-mm-dd"}))
    elif isinstance(value, str):
        sheet.write_string(y, x, value)
    elif value is not None:
        sheet.write(y, x, value)


def parts(rows: str, **others: str) -> dict[str, str]:
    """Return the parts of a small workbook whose sheet has these rows, as XML; `others` replace a part."""
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    named = {
        "types": f'<Types xmlns="{_TYPES}">'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/></Types>',
        "relations": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="a" '
        f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "book": f'<workbook xmlns="{MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "book_relations": f'<Relationships xmlns="{_PACKAGE}">'
        f'<Relationship Id="rId1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_RELATIONS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "texts": f'<sst xmlns="{MAIN}"></sst>',
        "sheet": sheet,
    } | others
    names = {
        "types": "[Content_Types].xml",
        "relations": "_rels/.rels",
        "book": "xl/workbook.xml",
        "book_relations": "xl/_rels/workbook.xml.rels",
        "texts": "xl/sharedStrings.xml",
        "sheet": "xl/worksheets/sheet1.xml",
    }
    return {names[name]: text for name, text in named.items() if text}


def packed(path: Path, content: Mapping[str, str | bytes]) -> Path:
    """Write a ZIP file with these entries and return its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


def inline(*texts: str) -> str:
    """Return a row of texts as XML, without places."""
    return "<row>" + "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in texts) + "</row>"
