"""The numbers of rows in a list that was exported, and maybe edited since: a workbook, CSV or JSON Lines.

The column is known by its heading in either language. Of a workbook with several sheets, those count that list what
needs attention; a person may have deleted some of their lines, while the sheet of all invoices still has every row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifest import open_list
from ekb_async.backlog.input.manifests.encodings import ENCODINGS, MARK, Lines, marked_encoding, text_lines
from ekb_async.backlog.input.manifests.layout import SEPARATORS, json_layout, names_in
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.backlog.input.workbooks.cells import text_of
from ekb_async.backlog.input.workbooks.sheet_rows import open_book
from ekb_async.errors import ManifestError

_HEADINGS = frozenset({"id", "task number", "任务号"})
_OF_PROBLEMS = frozenset({"problem", "问题"})
"""Headings that only a sheet of what needs attention has."""
_HEAD_BYTES = 1 << 16
_MISSING = "no column is called Task number, 任务号 or id"

_Cell = tuple[int, str]
"""A line, and the number in it as it is written."""


def row_numbers(path: Path) -> list[int]:
    """Return the numbers of rows in a list, without repetitions.

    Raises `ManifestError` if it cannot be read, has no column of numbers, or has something else in that column.
    """
    readers = {".xlsx": _in_workbook, ".csv": _in_csv, ".jsonl": _in_json, ".ndjson": _in_json}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise ManifestError.at(path, "a list of rows ends in .xlsx, .csv, .jsonl or .ndjson")
    problems, found = Problems(path), dict[int, None]()
    with open_list(path, "list of rows") as source:
        for line, text in read(source, path):
            written = text.strip()
            if written.isascii() and written.isdecimal() and len(written) <= LIMITS.row_number_digits:
                found[int(written)] = None
            elif written:
                problems.add("this is no task number", line=line)
                if problems.is_full:
                    break
    problems.check()
    return [*found]


def _column_in(names: Sequence[str]) -> int | None:
    """Return where the numbers are, None if the names have no such column."""
    return next((index for index, name in enumerate(names) if _folded(name) in _HEADINGS), None)


def _folded(name: str) -> str:
    return name.removeprefix(MARK).strip().casefold()


def _in_json(source: BinaryIO, path: Path) -> Iterator[_Cell]:
    lines = Lines(source, path, json_layout(source, path).encoding)
    for text in lines:
        if not text.strip():
            continue
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise ManifestError.at(path, "this is no JSON", line=lines.number) from None
        if not isinstance(fields, dict) or (index := _column_in([*fields])) is None:
            raise ManifestError.at(path, _MISSING, line=lines.number)
        yield lines.number, str([*fields.values()][index])


def _in_csv(source: BinaryIO, path: Path) -> Iterator[_Cell]:
    head = source.read(_HEAD_BYTES)
    marked = marked_encoding(head, path)
    for encoding in [marked] if marked else ENCODINGS:
        for separator in SEPARATORS:
            names = _first_names(text_lines(head, encoding), separator)
            if (index := _column_in(names)) is not None:
                yield from _csv_cells(Lines(source, path, encoding), path, separator, index)
                return
    raise ManifestError.at(path, _MISSING)


def _first_names(lines: Iterable[str], separator: str) -> tuple[str, ...]:
    try:
        return next(filter(None, map(names_in, csv.reader(lines, delimiter=separator))), ())
    except csv.Error:
        return ()


def _csv_cells(lines: Lines, path: Path, separator: str, index: int) -> Iterator[_Cell]:
    is_header = True
    try:
        for cells in csv.reader(iter(lines), delimiter=separator):
            if "".join(cells).strip():
                if not is_header and index < len(cells):
                    yield lines.number, cells[index]
                is_header = False
    except csv.Error as error:
        raise ManifestError.at(path, str(error), line=lines.number) from None


def _in_workbook(source: BinaryIO, path: Path) -> Iterator[_Cell]:
    book = open_book(source, path)
    found = [(sheet, *place) for sheet in book.sheets[: LIMITS.searched_sheets] if (place := _place_in(book, sheet))]
    if not found:
        raise ManifestError.at(path, _MISSING)
    of_problems = [each for each in found if each[-1]]
    for sheet, line, index, _ in of_problems or found[:1]:
        for number, cells in book.rows(sheet, columns=index + 1, first=line + 1):
            yield number, _text(cells[index]) if index < len(cells) else ""


def _place_in(book: Any, sheet: Any) -> tuple[int, int, bool] | None:
    """Return the line of the header and the column of the numbers, and whether it lists what needs attention."""
    for line, cells in book.rows(sheet, columns=LIMITS.sheet_columns, last=LIMITS.header_rows):
        names = [_text(cell) for cell in cells]
        if (index := _column_in(names)) is not None:
            return line, index, any(_folded(name) in _OF_PROBLEMS for name in names)
    return None


def _text(cell: Any) -> str:
    try:
        return text_of(cell, "")
    except WrongFieldError as error:
        return str(error)
