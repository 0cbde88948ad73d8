"""A table in a workbook: headings with filters, rows, the sums below, over as many sheets as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, cast

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name, xl_range

from ekb_async.backlog.results.export.columns import Columns, Value, headings
from ekb_async.backlog.results.export.workbook.look import Look, set_up_print, style
from ekb_async.backlog.results.export.workbook.sheet import Sheet, WriteCell, cell_writer, empty_cell, formula_cell
from ekb_async.backlog.results.names import Names

_HEADING_POINTS = 30.0
_LINE_POINTS = 15.0
_MOST_LINES = 8
_SUM_OF_VISIBLE = 109
"""The sum of what a filter shows, in SUBTOTAL."""


class Mark(NamedTuple):
    """Rows that have a colour: those whose cell in the column `name` has the text, or the flag, `value`."""

    name: str
    value: str | bool
    form: Format


class Plan(NamedTuple):
    """What a table has besides its rows. The file in a row is in the first column.

    `printed` is how many columns are printed. The others are names of columns: `summed` have a sum below, which
    `sum_label` is written beside, `wrapped` show long texts in several lines, `fine` are numbers with all their places,
    and `banded` has the number of a group, every second of which is shaded.
    """

    title: str
    columns: Columns
    printed: int
    marks: Sequence[Mark] = ()
    summed: Sequence[str] = ()
    sum_label: str = ""
    wrapped: Sequence[str] = ()
    fine: Sequence[str] = ()
    banded: str = ""


class Table:
    """A table that rows are written to. A full sheet is followed by another with the same headings."""

    def __init__(self, book: Workbook, look: Look, plan: Plan, names: Names, sheet_rows: int) -> None:
        self._book, self._look, self._plan, self._names, self._sheet_rows = book, look, plan, names, sheet_rows
        self._writers = [self._writer(index) for index in range(len(plan.columns))]
        self._link = cell_writer(0, style(look.link), str)
        places = {column.name: index for index, column in enumerate(plan.columns) if column.own is None}
        self._summed = [places[name] for name in plan.summed]
        self._wrapped = [(places[name], plan.columns[places[name]].width) for name in plan.wrapped]
        self._rules = [{"criteria": _is(places[mark.name], mark.value), "format": mark.form} for mark in plan.marks]
        if plan.banded:
            cell = f"${xl_col_to_name(places[plan.banded])}2"
            self._rules.append({"criteria": f"=AND(ISNUMBER({cell}),MOD({cell},2)=0)", "format": look.band})
        self._sheets = 0
        self._sheet = self._begun()
        self._sums = [Decimal(0)] * len(self._summed)

    def write(self, row: Sequence[Value], target: str | None = None) -> None:
        """Write a row; `target` is that of a link in its first cell."""
        sheet = self._sheet
        if sheet.row_count >= self._sheet_rows - bool(self._summed):
            self.end()
            self._sheet = sheet = self._begun()
        number = sheet.row_count + 1
        cells = [
            write(number, value)
            for write, value in zip(self._writers, row, strict=True)
            if value is not None and value != ""
        ]
        if target is not None and row[0] and sheet.may_link:
            cells[0] = self._link(number, row[0])
            sheet.link(0, target)
        for index, place in enumerate(self._summed):
            if isinstance(value := row[place], Decimal):
                self._sums[index] += value
        sheet.append(cells, height=self._height(row) if self._wrapped else None)

    def end(self) -> None:
        """Write the sums, and set what depends on the number of rows."""
        sheet, width = self._sheet, len(self._plan.columns)
        last = max(sheet.row_count - 1, 1)
        for rule in self._rules:
            sheet.conditional_format(1, 0, last, width - 1, {"type": "formula", "stop_if_true": True, **rule})
        sheet.autofilter(0, 0, last, width - 1)
        # Suppresses the green warning corner at every invoice number.
        sheet.ignore_errors({"number_stored_as_text": xl_range(0, 0, last, width - 1)})
        if self._summed and sheet.row_count > 1:
            self._write_sums()
        sheet.print_area(0, 0, max(sheet.row_count - 1, 1), self._plan.printed - 1)
        sheet.end(width)

    def _begun(self) -> Sheet:
        self._sheets += 1
        title, columns = self._plan.title, self._plan.columns
        name = title if self._sheets == 1 else f"{title} {self._sheets}"
        sheet = cast(Sheet, self._book.add_worksheet(name, Sheet))
        sheet.freeze_panes(1, 1)
        sheet.repeat_rows(0)
        set_up_print(sheet)
        for index, column in enumerate(columns):
            sheet.set_column(index, index, column.width, self._format(index))
        sheet.append(map(self._heading, range(len(columns))), height=_HEADING_POINTS)
        self._sums = [Decimal(0)] * len(self._summed)
        return sheet

    def _height(self, row: Sequence[Value]) -> float | None:
        """Return the height of a row in points, None if each of its texts is in one line."""
        lines = 1
        for place, width in self._wrapped:
            if text := row[place]:
                # In GBK as on the screen, a Chinese character takes as much room as two Latin ones.
                lines = max(lines, -(-len(str(text).encode("gbk", "replace")) // (width - 1)))
        return None if lines == 1 else min(lines, _MOST_LINES) * _LINE_POINTS

    def _heading(self, index: int) -> str:
        text = headings(self._plan.columns, self._names.texts.lang)[index]
        return cell_writer(index, style(self._look.heading_of(self._plan.columns[index].type)), str)(1, text)

    def _write_sums(self) -> None:
        sheet, number = self._sheet, self._sheet.row_count + 1
        label, total = style(self._look.total_count), style(self._look.total)
        sums = dict(zip(self._summed, self._sums, strict=True))
        cells = [cell_writer(0, label, str)(number, self._plan.sum_label)]
        for index in range(1, self._plan.printed):
            if index in sums:
                rows = f"{xl_col_to_name(index)}2:{xl_col_to_name(index)}{number - 1}"
                cells.append(formula_cell(index, number, total, f"SUBTOTAL({_SUM_OF_VISIBLE},{rows})", sums[index]))
            else:
                cells.append(empty_cell(index, number, label))
        sheet.append(cells)

    def _format(self, index: int) -> Format:
        column = self._plan.columns[index]
        if column.own is None and column.name in self._plan.wrapped:
            return self._look.wrapped
        if column.own is None and column.name in self._plan.fine:
            return self._look.fine[column.name]
        return self._look.values[column.type]

    def _writer(self, index: int) -> WriteCell:
        words = self._names.yes_or_no if self._names.texts.is_chinese else None
        return cell_writer(index, style(self._format(index)), self._plan.columns[index].type, words)


def _is(place: int, value: str | bool) -> str:  # noqa: FBT001 - the value of a cell, not an option
    cell = f"${xl_col_to_name(place)}2"
    if isinstance(value, str):
        return f'={cell}="{value}"'
    # An empty cell equals FALSE.
    return f"=AND(ISLOGICAL({cell}),{cell}={str(value).upper()})"
