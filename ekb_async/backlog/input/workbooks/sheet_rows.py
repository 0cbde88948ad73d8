"""The rows of a manifest that is a workbook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import ACCEPTED_COLUMNS, column_of, shown
from ekb_async.backlog.input.manifests.layout import WORKBOOK, Layout, names_in
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.tables import Record, Table
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.backlog.input.workbooks.cells import text_of
from ekb_async.errors import ManifestError

if TYPE_CHECKING:
    from ekb_async.backlog.input.workbooks.books import Book, Merged


class SheetRows:
    """The rows of the first sheet that has a header among its first rows.

    The header is the one of these rows with the most names that are known, so titles may stand above it. The value of a
    cell that is merged with others below it is that of all these rows. Raises `ManifestError` if no sheet has a header,
    or openpyxl is not installed.
    """

    def __init__(self, source: BinaryIO, columns: Columns, problems: Problems) -> None:
        self._book = open_book(source, problems.path)
        self._problems = problems
        self._sheet, self.header_line, self._names = self._header()
        self._table = Table(self._names, columns, problems, self.header_line, _letters_of)
        self.layout = Layout(WORKBOOK, _title(self._sheet), self._table.columns)

    def records(self) -> Iterator[Record]:
        """Yield the rows below the header that are not empty; those that cannot be read are added to the problems."""
        # What is written far beside the table is no part of it.
        width = len(self._names) + LIMITS.columns_beside
        merged = _MergedValues(self._book.merged_below(self._sheet))
        for line, cells in self._book.rows(self._sheet, columns=width, first=self.header_line + 1):
            if self._problems.is_full:
                return
            try:
                texts = self._texts(line, cells)
                merged.fill(line, texts)
                if not "".join(texts).strip():
                    continue
                record = self._table.record(line, line, 1, texts)
            except ManifestError as error:
                self._problems.add_all(error)
            else:
                yield record

    def _header(self) -> tuple[Any, int, tuple[str, ...]]:
        for sheet in self._book.sheets[: LIMITS.searched_sheets]:
            best: tuple[int, int, tuple[str, ...]] = (0, 0, ())
            for line, cells in self._book.rows(sheet, columns=LIMITS.sheet_columns, last=LIMITS.header_rows):
                names = names_in(map(_name, cells))
                known = sum(column_of(name) != "" for name in names)
                if known > best[0]:
                    best = known, line, names
            if best[0]:
                return sheet, best[1], best[2]
        raise ManifestError.at(
            self._problems.path,
            f"no sheet has the names of columns in its first {LIMITS.header_rows} rows; {ACCEPTED_COLUMNS}",
        )

    def _texts(self, line: int, cells: Sequence[Any]) -> list[str]:
        columns, texts = self._table.columns, [""] * len(cells)
        for index, cell in enumerate(cells):
            if cell.value is None:
                continue
            try:
                texts[index] = text_of(cell, columns[index] if index < len(columns) else "")
            except WrongFieldError as error:
                name = self._names[index] if index < len(columns) else ""
                raise ManifestError.at(
                    self._problems.path, str(error), line=line, column=shown(name) or _letters_of(index)
                ) from None
        return texts


class _MergedValues:
    """The values of merged cells, for the rows below the first one."""

    def __init__(self, merged: dict[int, list[Merged]]) -> None:
        self._merged = merged
        self._values: dict[int, tuple[int, str]] = {}

    def fill(self, line: int, texts: list[str]) -> None:
        """Write the values into the cells of a row that are merged with one above, unless the row is empty."""
        if self._values:
            self._values = {column: each for column, each in self._values.items() if line <= each[0]}
            if any(texts):
                for column, (_, text) in self._values.items():
                    texts[column] = text
        for column, last in self._merged.get(line, ()):
            if column < len(texts):
                self._values[column] = last, texts[column]


def file_in(source: BinaryIO, path: Path, layout: Layout, line: int) -> str:
    """Return the value of the column `file` in a row, "" if it has none. Raises `ManifestError`."""
    book = open_book(source, path)
    index = layout.columns.index("file")
    for sheet in book.sheets:
        if _title(sheet) == layout.separator:
            return _cell(book, sheet, index, line) or _cell(book, sheet, index, book.first_merged(sheet, index, line))
    return ""


def _cell(book: Book, sheet: Any, index: int, line: int) -> str:
    for _, cells in book.rows(sheet, columns=index + 1, first=line, last=line):
        return text_of(cells[index], "file")
    return ""


def open_book(source: BinaryIO, path: Path) -> Book:
    """Open a workbook. Raises `ManifestError` if it cannot be read, or openpyxl is not installed."""
    try:
        from ekb_async.backlog.input.workbooks.books import Book
    except ImportError as error:
        raise ManifestError.at(
            path, f'.xlsx needs a library that is not there ({error}): pip install "ekb-async[xlsx]"'
        ) from None
    return Book(source, path)


def _title(sheet: Any) -> str:
    return str(sheet.title)[: LIMITS.sheet_name_characters]


def _name(cell: Any) -> str:
    # An error is no name.
    try:
        return text_of(cell, "")
    except WrongFieldError:
        return ""


def _letters_of(index: int) -> str:
    from openpyxl.utils import get_column_letter

    return str(get_column_letter(index + 1))
