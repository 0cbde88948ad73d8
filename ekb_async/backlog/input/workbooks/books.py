"""Workbooks as openpyxl reads them, with its errors and warnings kept inside."""

from __future__ import annotations

import itertools
import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils import range_boundaries

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.workbooks.archives import Archive, Refused
from ekb_async.backlog.input.zips import WrongZipError
from ekb_async.errors import ManifestError

Row = tuple[int, tuple[Any, ...]]
"""The number of a row, from 1, and its cells."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_LAST_ROW = 1_048_576


class Merged(NamedTuple):
    """A cell that is merged with others below it: its column, from 0, and the last row."""

    column: int
    last: int


class Book:
    """A workbook, open for reading. Raises `ManifestError` if the file is no workbook, is damaged or encrypted.

    `sheets` has the visible sheets before the hidden ones, which often hold the lists of a form. Hidden rows and
    columns count as others.
    """

    def __init__(self, source: BinaryIO, path: Path) -> None:
        self._path = path
        if source.read(len(_OLE)) == _OLE:
            # The container of old Office files holds encrypted workbooks as well.
            with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content.find(_ENCRYPTED_STREAM) >= 0:
                    raise ManifestError.at(path, "this workbook is encrypted: remove its password and save it again")
            raise ManifestError.at(path, "this is an old workbook (.xls or .et): save it as .xlsx")
        with self._readable():
            archive = self._archive = Archive(source)
            reader = ExcelReader(source, read_only=True, data_only=True, keep_links=False)
            reader.archive = archive
            # Of what `reader.read` does, properties, themes and names of ranges can fail or take long for nothing.
            reader.read_manifest()
            reader.read_strings()
            reader.read_workbook()
            apply_stylesheet(archive, reader.wb)
            reader.read_worksheets()
            self.sheets: list[Any] = sorted(reader.wb.worksheets, key=lambda sheet: sheet.sheet_state != "visible")
            if not self.sheets:
                raise Refused("it has no sheet")

    def merged_below(self, sheet: Any) -> dict[int, list[Merged]]:
        """Return the cells that are merged with others below them, by their row; of a sheet whose rows were read."""
        found: dict[int, list[Merged]] = {}
        for ref in self._archive.merged.get(sheet._worksheet_path, ()):
            with suppress(ValueError):
                column, first, _, last = range_boundaries(ref)
                if first and column and last and last > first:
                    found.setdefault(first, []).append(Merged(column - 1, last))
        return found

    def first_merged(self, sheet: Any, column: int, line: int) -> int:
        """Return the row of the cell with which one is merged, or its own; of a sheet whose rows were read."""
        merged = self.merged_below(sheet)
        above = (
            first for first, cells in merged.items() for each in cells if each.column == column and each.last >= line
        )
        return max((first for first in above if first < line), default=line)

    def rows(self, sheet: Any, *, columns: int, first: int = 1, last: int = _LAST_ROW) -> Iterator[Row]:
        """Yield the rows of a sheet up to its last, empty ones too, with so many cells of each.

        The size that the sheet claims to have means nothing. Raises `ManifestError` if it cannot be read.
        """
        rows = sheet.iter_rows(min_row=first, max_row=last, max_col=columns)
        numbered = enumerate(rows, first)
        while True:
            with self._readable():
                some = list(itertools.islice(numbered, LIMITS.rows_at_once))
            if not some:
                return
            yield from some

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # They are about what openpyxl would not write again.
                warnings.simplefilter("ignore")
                yield
        except (Refused, WrongZipError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - damaged parts make openpyxl raise a dozen classes
            reason = getattr(error, "strerror", None) or "it is damaged, or no .xlsx workbook"
        else:
            return
        raise ManifestError.at(
            self._path, f"this workbook cannot be read: {reason}; open it in a spreadsheet and save it as .xlsx or .csv"
        )
