"""The rows of a manifest that is a workbook."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ekb_async.backlog.input.fields import WrongFieldError
from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import ACCEPTED_COLUMNS, column_of, shown
from ekb_async.backlog.input.manifests.layout import WORKBOOK, Layout, names_in
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.tables import Record, Table
from ekb_async.backlog.input.workbooks.cells import Cell
from ekb_async.backlog.input.workbooks.sheets import Row, Sheet, Workbook, letters_of
from ekb_async.errors import ManifestError


class SheetRows:
    """The rows of the first sheet that has a header among its first rows.

    The header is the one of these rows with the most names that are known, so titles may stand above it. A cell that is
    merged with others has its value in the first of them. Raises `ManifestError` if no sheet has a header.
    """

    def __init__(self, source: BinaryIO, columns: Columns, problems: Problems) -> None:
        self._workbook = Workbook(source, problems.path)
        self._problems = problems
        self._sheet, self.header_line, self._names = self._header()
        self._table = Table(self._names, columns, problems, self.header_line, letters_of)
        self.layout = Layout(WORKBOOK, self._sheet.name, self._table.columns)

    def records(self) -> Iterator[Record]:
        """Yield the rows below the header that are not empty; those that cannot be read are added to the problems."""
        for line, cells in self._workbook.rows(self._sheet):
            if self._problems.is_full:
                return
            if line <= self.header_line:
                continue
            try:
                texts = self._texts(line, cells)
                if not "".join(texts).strip():
                    continue
                record = self._table.record(line, line, 1, texts)
            except ManifestError as error:
                self._problems.add_all(error)
            else:
                yield record

    def _header(self) -> tuple[Sheet, int, tuple[str, ...]]:
        for sheet in self._workbook.sheets[: LIMITS.searched_sheets]:
            best: tuple[int, int, tuple[str, ...]] = (0, 0, ())
            first = self._workbook.rows(sheet, LIMITS.searched_sheet_bytes)
            for line, cells in itertools.islice(first, LIMITS.header_rows):
                names = self._names_in(cells)
                known = sum(column_of(name) != "" for name in names)
                if known > best[0]:
                    best = known, line, names
            if best[0]:
                return sheet, *best[1:]
        raise ManifestError.at(
            self._problems.path,
            f"no sheet has the names of columns in its first {LIMITS.header_rows} rows; {ACCEPTED_COLUMNS}",
        )

    def _names_in(self, cells: dict[int, Cell]) -> tuple[str, ...]:
        names = [""] * (max(cells) + 1)
        for index, cell in cells.items():
            # An error is no name.
            with contextlib.suppress(WrongFieldError):
                names[index] = self._workbook.formats.text(cell, "")
        return names_in(names)

    def _texts(self, line: int, cells: dict[int, Cell]) -> list[str]:
        columns = self._table.columns
        texts = [""] * len(columns)
        for index, cell in cells.items():
            column = columns[index] if index < len(columns) else ""
            try:
                text = self._workbook.formats.text(cell, column)
            except WrongFieldError as error:
                name = self._names[index] if index < len(columns) else ""
                raise ManifestError.at(
                    self._problems.path, str(error), line=line, column=shown(name) or letters_of(index)
                ) from None
            if index < len(columns):
                texts[index] = text
            elif text.strip():
                raise ManifestError.at(
                    self._problems.path,
                    f"the header has only {len(columns)} columns",
                    line=line,
                    column=letters_of(index),
                )
        return texts


def file_in(source: BinaryIO, path: Path, layout: Layout, line: int) -> str:
    """Return the value of the column `file` in a row, "" if it has none. Raises `ManifestError`."""
    workbook = Workbook(source, path)
    sheet = next((each for each in workbook.sheets if each.name == layout.separator), None)
    rows: Iterator[Row] = iter(()) if sheet is None else workbook.rows(sheet)
    cells = next((cells for number, cells in rows if number == line), {})
    cell = cells.get(layout.columns.index("file"))
    return "" if cell is None else workbook.formats.text(cell, "file")
