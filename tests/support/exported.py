"""Workbooks that were exported, as a person sees them: sheets with headings and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ekb_async.backlog import Task
from ekb_async.backlog.results.export import Export

INVOICES, LINES, ATTENTION, DUPLICATES = 1, 2, 3, 4
"""The places of the sheets; the summary is the first."""


class Book(NamedTuple):
    """A workbook, and its sheets by place."""

    sheets: list[Any]

    @classmethod
    def read(cls, path: Path) -> Book:
        import openpyxl  # takes as long to load as the package

        return cls(openpyxl.load_workbook(path).worksheets)

    def headings(self, place: int) -> list[str]:
        """Return the headings of a sheet."""
        return [cell.value for cell in self.sheets[place][1]]

    def rows(self, place: int) -> list[dict[str, Any]]:
        """Return the cells of each row of a sheet by heading, without a row of sums."""
        sheet, headings = self.sheets[place], self.headings(place)
        last = sheet.auto_filter.ref.rpartition(":")[2].lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        found = [dict(zip(headings, row, strict=True)) for row in sheet.iter_rows(min_row=2, max_row=int(last))]
        return [row for row in found if any(cell.value is not None for cell in row.values())]

    def values(self, place: int, heading: str) -> list[Any]:
        """Return the values under a heading."""
        return [row[heading].value for row in self.rows(place)]

    def cells(self) -> Iterator[Any]:
        """Yield every cell that has a value."""
        for sheet in self.sheets:
            for row in sheet.iter_rows():
                yield from (cell for cell in row if cell.value is not None)

    def section(self, title: str) -> list[tuple[Any, ...]]:
        """Return the rows of a section of the summary, its headings first."""
        rows = list(self.sheets[0].iter_rows(values_only=True))
        begin = next(index for index, row in enumerate(rows) if row[0] == title) + 1
        end = next((index for index in range(begin, len(rows)) if not any(rows[index])), len(rows))
        return rows[begin:end]


def exported(path: Path, tasks: Sequence[Task], lang: str = "en", **options: Any) -> Path:
    """Write tasks to a file and return its path."""
    target = Export(path, lang=lang, **options)
    try:
        target.write(tasks)
        target.finish()
    finally:
        target.close()
    return path
