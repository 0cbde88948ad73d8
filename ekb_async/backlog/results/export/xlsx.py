"""Tasks as an Excel workbook, for people.

Amounts are numbers, dates are dates, and everything else is text in cells of the format Text, so that an invoice number
keeps its digits and nothing becomes a formula, even when a cell is edited. Rows are written to disk as they arrive and
take some 3 KB each until the workbook is packed. Excel allows 1,048,576 rows in a sheet, so a full one is followed by
another, and 32,767 characters in a cell, so longer texts are cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.utility import xl_range

from ekb_async.backlog.results.export.columns import Columns, Value, headings, yes_or_no
from ekb_async.backlog.results.export.rows import TableRows
from ekb_async.backlog.results.tasks import Task

SHEET_ROWS = 1_048_576
_SHEET_NAMES = {"en": "Invoices", "zh": "发票"}
_NUMBER_FORMATS = {
    str: "@",
    int: "0",
    bool: "General",
    Decimal: "#,##0.00",
    date: "yyyy-mm-dd",
    datetime: "yyyy-mm-dd hh:mm:ss",
}
_EXACT_DIGITS = 15
"""Excel rounds numbers with more digits."""
_FIRST_YEAR = 1900


class XlsxWorkbook:
    """A workbook whose sheets have filters in their headings; headings and references stay visible when scrolling."""

    def __init__(
        self, file: BinaryIO, lang: str, scratch: Path, columns: Columns, *, sheet_rows: int = SHEET_ROWS
    ) -> None:
        self._lang = lang
        self._sheet_rows = sheet_rows
        self._columns = columns
        self._rows = TableRows(columns, lang)
        # XlsxWriter gets an open file, not a name: a file that it opens itself stays open after a disk-full error.
        self._book = Workbook(file, {"constant_memory": True, "tmpdir": str(scratch), "use_zip64": True})
        self._bold = self._book.add_format({"bold": True})
        self._formats = {kind: self._book.add_format({"num_format": form}) for kind, form in _NUMBER_FORMATS.items()}
        self._sheet: Any = None
        self._lines = 0
        self._begin_sheet()

    def write(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            for row in self._rows.of(task):
                if self._lines == self._sheet_rows:
                    self._end_sheet()
                    self._begin_sheet()
                for index, value in enumerate(row):
                    if value is not None and value != "":
                        self._put(index, value)
                self._lines += 1

    def finish(self) -> None:
        self._end_sheet()
        try:
            self._book.close()
        except FileCreateError as error:
            raise OSError(*error.args[0].args) from None

    def close(self) -> None:
        for sheet in self._book.worksheets():
            for open_file in filter(None, (sheet.fh, sheet.row_data_fh)):
                with suppress(OSError):
                    open_file.close()

    def _begin_sheet(self) -> None:
        count = len(self._book.worksheets()) + 1
        name = _SHEET_NAMES[self._lang]
        self._sheet = self._book.add_worksheet(name if count == 1 else f"{name} {count}")
        self._sheet.freeze_panes(1, 1)
        for index, (column, heading) in enumerate(zip(self._columns, headings(self._columns, self._lang), strict=True)):
            self._sheet.set_column(index, index, column.width, self._formats[column.type])
            self._sheet.write_string(0, index, _plain(heading), self._bold)
        self._lines = 1

    def _end_sheet(self) -> None:
        last = max(self._lines - 1, 1), len(self._columns) - 1
        self._sheet.autofilter(0, 0, *last)
        # Suppresses the green warning corner at every invoice number.
        self._sheet.ignore_errors({"number_stored_as_text": xl_range(0, 0, *last)})

    def _put(self, index: int, value: Value) -> None:
        line, sheet = self._lines, self._sheet
        match value:
            case str():
                sheet.write_string(line, index, _plain(value))
            case bool() if self._lang == "en":
                sheet.write_boolean(line, index, value)
            case bool():
                sheet.write_string(line, index, yes_or_no(value, self._lang))
            case Decimal() if len(value.as_tuple().digits) > _EXACT_DIGITS:
                sheet.write_string(line, index, format(value, "f"))
            case int() | Decimal():
                sheet.write_number(line, index, float(value))
            case datetime():
                sheet.write_datetime(line, index, value.replace(tzinfo=None, microsecond=0))
            case date() if value.year >= _FIRST_YEAR:
                sheet.write_datetime(line, index, value)
            case _:
                sheet.write_string(line, index, str(value))


def _plain(text: str) -> str:
    # XlsxWriter would treat such a text as its own markup for cells with several fonts, and write it unescaped.
    return f"{text} " if text.startswith("<r>") and text.endswith("</r>") else text
