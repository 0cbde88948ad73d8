"""A sheet that is written row by row, as the XML of its cells.

The methods of XlsxWriter for single cells take most of the time of a large workbook, so rows are written here to the
file that XlsxWriter keeps for the rows of a sheet. Everything else of a sheet (columns, filters, formats, print set-up)
and of a workbook is made by XlsxWriter. Links are kept as texts, a fraction of what its objects for them take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from html import escape
from typing import Any, cast

from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from ekb_async.backlog.results.export.columns import Value

MOST_LINKS = 65_530
"""Excel allows no more links in a sheet."""
_MOST_UNITS = 32_767
"""Excel allows no more UTF-16 units in a cell."""
_EXACT_DIGITS = 15
"""Excel rounds numbers with more digits."""
_ODD = re.compile(r"[&<>\x00-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_|^ | $")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_FIRST_DAY = date(1900, 1, 1)
_DAY_ZERO = date(1899, 12, 30).toordinal()
_DAY_SECONDS = 86_400

WriteCell = Callable[[int, Any], str]
"""Returns the XML of a cell in a row, counted from 1, with a value that is not None."""


class Sheet(Worksheet):  # type: ignore[misc]
    """A sheet of a workbook with the option `constant_memory`; `row_count` is how many rows it has."""

    def __init__(self) -> None:
        super().__init__()
        self.row_count = 0
        self._link_targets: list[str] = []
        self._link_cells: list[str] = []

    def append(self, cells: Iterable[str], *, height: float | None = None) -> None:
        """Write a row of cells, from left to right; `height` is in points."""
        self.row_count += 1
        size = "" if height is None else f' ht="{height:g}"'
        cast(Any, self.row_data_fh).write(f'<row r="{self.row_count}"{size}>{"".join(cells)}</row>')

    def skip(self, rows: int = 1) -> None:
        """Leave rows empty."""
        self.row_count += rows

    def link(self, column: int, target: str) -> None:
        """Make a link of a cell in the next row. `target` is escaped as in a URL."""
        self._link_cells.append(f"{xl_col_to_name(column)}{self.row_count + 1}")
        self._link_targets.append(target)

    @property
    def may_link(self) -> bool:
        """Whether Excel allows a further link in this sheet."""
        return len(self._link_cells) < MOST_LINKS

    def end(self, width: int) -> None:
        """Complete the sheet, which has so many columns."""
        self.dim_rowmin, self.dim_rowmax = 0, max(self.row_count - 1, 0)
        self.dim_colmin, self.dim_colmax = 0, width - 1

    def _write_hyperlinks(self) -> None:
        """Write the links; XlsxWriter calls this in the place of its own method."""
        if not self._link_cells:
            return
        self._xml_start_tag("hyperlinks")
        for cell, target in zip(self._link_cells, self._link_targets, strict=True):
            self.rel_count += 1
            self._xml_empty_tag("hyperlink", [("ref", cell), ("r:id", f"rId{self.rel_count}")])
            self.external_hyper_links.append(["/hyperlink", target, "External"])
        self._xml_end_tag("hyperlinks")


def cell_writer(column: int, style: int, kind: type, words: Callable[[bool], str] | None = None) -> WriteCell:
    """Return what writes the values of a column; `style` is the index of its format.

    Flags are written as `words`, if given; numbers that Excel would round, and dates that it lacks, as texts.
    """
    place, numbered = f'<c r="{xl_col_to_name(column)}', f'" s="{style}"><v>'
    text = f'" s="{style}" t="inlineStr"><is>'

    def write_text(row: int, value: Any) -> str:
        shown = value if isinstance(value, str) else _as_text(value)
        if len(shown) > _MOST_UNITS // 2 or _ODD.search(shown):
            return f"{place}{row}{text}{_text_element(shown)}</is></c>"
        return f"{place}{row}{text}<t>{shown}</t></is></c>"

    def write_amount(row: int, value: Any) -> str:
        if len(value.as_tuple().digits) > _EXACT_DIGITS:
            return write_text(row, value)
        return f"{place}{row}{numbered}{value:f}</v></c>"

    def write_whole(row: int, value: Any) -> str:
        return f"{place}{row}{numbered}{value}</v></c>"

    def write_flag(row: int, value: Any) -> str:
        return write_text(row, words(value)) if words else f'{place}{row}" s="{style}" t="b"><v>{value:d}</v></c>'

    def write_day(row: int, value: Any) -> str:
        return write_text(row, value) if value < _FIRST_DAY else f"{place}{row}{numbered}{_serial(value)}</v></c>"

    def write_moment(row: int, value: Any) -> str:
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return f"{place}{row}{numbered}{_serial(value) + seconds / _DAY_SECONDS!r}</v></c>"

    writers: dict[type, WriteCell] = {
        Decimal: write_amount,
        int: write_whole,
        bool: write_flag,
        date: write_day,
        datetime: write_moment,
    }
    return writers.get(kind, write_text)


def formula_cell(column: int, row: int, style: int, formula: str, value: Decimal) -> str:
    """Return a cell with a formula of this package's own, and its result."""
    return f'<c r="{xl_col_to_name(column)}{row}" s="{style}"><f>{escape(formula)}</f><v>{value:f}</v></c>'


def empty_cell(column: int, row: int, style: int) -> str:
    """Return a cell that has a format only."""
    return f'<c r="{xl_col_to_name(column)}{row}" s="{style}"/>'


def _serial(day: date) -> int:
    ordinal = day.toordinal() - _DAY_ZERO
    return ordinal if ordinal > 60 else ordinal - 1


def _as_text(value: Value) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _text_element(text: str) -> str:
    """Return a text as XML; what XML does not allow is written as Excel does, and what a cell does not hold is cut."""
    if len(text) > _MOST_UNITS // 2:
        text = text.encode("utf-16-le")[: 2 * _MOST_UNITS].decode("utf-16-le", "ignore")
    shown = escape(_CONTROLS.sub(lambda found: f"_x{ord(found[0]):04X}_", text), quote=False)
    return f'<t xml:space="preserve">{shown}</t>'
