"""The rows of manifests that are text: CSV and JSON Lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import msgspec

from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.encodings import Lines
from ekb_async.backlog.input.manifests.headings import COLUMNS, shown
from ekb_async.backlog.input.manifests.layout import Layout, find_header, json_layout, names_in
from ekb_async.backlog.input.manifests.own import own_values
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.tables import Record, Table
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.errors import ManifestError


class CsvRows:
    """The rows of a CSV file. Raises `ManifestError` if its header or its encoding is not recognised."""

    header_line = 1

    def __init__(self, source: BinaryIO, columns: Columns, problems: Problems) -> None:
        header = find_header(source, problems.path)
        self._problems = problems
        self._names = header.names
        self._table = Table(header.names, columns, problems, self.header_line, lambda index: str(index + 1))
        self.layout = Layout(header.encoding, header.separator, self._table.columns)
        self._lines = Lines(source, problems.path, header.encoding)
        self._texts = iter(self._lines)

    def records(self) -> Iterator[Record]:
        """Yield the rows that are not empty; those that cannot be read are added to the problems."""
        lines, problems, record = self._lines, self._problems, self._table.record
        rows = csv.reader(self._texts, delimiter=self.layout.separator, strict=True)
        for cells in rows:
            if names := names_in(cells):
                if names != self._names:
                    problems.add("the names of the columns take more than 64 KiB", line=self.header_line)
                break
        is_full = problems.is_full
        while not is_full:
            line, start = lines.number + 1, lines.offset
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                problems.add(str(error), line=line)
                is_full = problems.is_full
                continue
            # A cell of blanks looks empty in a spreadsheet, so a row of them counts as empty too.
            if not "".join(cells).strip():
                continue
            try:
                found = record(line, start, lines.offset - start, cells)
            except ManifestError as error:
                problems.add_all(error)
                is_full = problems.is_full
            else:
                yield found


class JsonRows:
    """The rows of JSON Lines. Raises `ManifestError` if their encoding is not certain."""

    header_line = 0

    def __init__(self, source: BinaryIO, columns: Columns, problems: Problems) -> None:
        self._problems = problems
        self._columns = columns
        self.layout = json_layout(source, problems.path)
        self._lines = Lines(source, problems.path, self.layout.encoding)
        self._texts = iter(self._lines)

    def records(self) -> Iterator[Record]:
        """Yield the rows; those that cannot be read are added to the problems."""
        lines, problems, start = self._lines, self._problems, 0
        for text in self._texts:
            if text.strip():
                try:
                    values, own = self._cells(lines.number, text)
                except ManifestError as error:
                    problems.add_all(error)
                    if problems.is_full:
                        return
                else:
                    yield lines.number, start, lines.offset - start, values, own
            start = lines.offset

    def _cells(self, line: int, text: str) -> tuple[tuple[str, ...], str]:
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise ManifestError.at(self._problems.path, "this is no JSON", line=line) from None
        if not isinstance(fields, dict):
            raise ManifestError.at(self._problems.path, "each line is one JSON object", line=line)
        cells: dict[str, str] = {}
        own: dict[str, str] = {}
        before: set[str] = set()
        for name, value in fields.items():
            if not name.strip():
                if value is not None and value != "":
                    self._wrong(line, name, "this column has a value and no name")
                continue
            try:
                column, heading = self._columns.place(name, before)
            except WrongFieldError as error:
                self._wrong(line, shown(name), str(error))
            before.add(column or heading)
            if column:
                cells[column] = self._known(line, column, value)
            else:
                own[heading] = self._own(line, name, value)
        try:
            return tuple(cells.get(name, "") for name in COLUMNS), own_values(own.items())
        except WrongFieldError as error:
            self._wrong(line, shown(error.column), str(error))

    def _known(self, line: int, column: str, value: object) -> str:
        # An amount may be any number, since its text is the shortest that means the same.
        allowed = str | int | float if column == "amount" else str | int
        if value is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
            self._wrong(line, self._columns.shown(column), "the value must be a text")
        return "" if value is None else str(value)

    def _own(self, line: int, name: str, value: object) -> str:
        if isinstance(value, dict | list):
            self._wrong(line, shown(name), "the value must be a text, a number, true, false or null")
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def _wrong(self, line: int, column: str, reason: str) -> NoReturn:
        raise ManifestError.at(self._problems.path, reason, line=line, column=column)
