"""Tasks as text: JSON Lines with everything, CSV with the columns of a table.

A spreadsheet that opens a CSV file runs cells that look like formulas, so such cells begin with an apostrophe. In some
countries it splits lines at other characters than commas, so every cell that might contain one is quoted. It also reads
texts of digits as numbers. These stay as they are, since other programs read the file too: import such columns as text,
or export to .xlsx.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ekb_async.backlog.results.export.columns import Columns, Row, names, yes_or_no
from ekb_async.backlog.results.export.lines import InvoiceLines
from ekb_async.backlog.results.export.rows import TableRows
from ekb_async.backlog.results.found import found_in
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task, result_of

_BYTE_ORDER_MARK = "\ufeff"
_UNQUOTED = re.compile(r"[\w.:+-]*")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
"""What a spreadsheet runs, also behind blanks."""


class _Lines:
    """A format whose file is complete after each line."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        self._file = file
        self._lang = lang
        self._columns = columns

    def finish(self) -> None:
        """Do nothing: everything is written."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


class JsonLines(_Lines):
    """Writes one JSON object per task. Its names are for programs and English, its sentences are in the language."""

    def write(self, tasks: Iterable[Task]) -> None:
        tenants = any(column.name == "tenant" and column.own is None for column in self._columns)
        names = Names(self._lang)
        self._file.write(b"".join(_json_line(_in_language(task, names), tenants=tenants) for task in tasks))


class CsvLines(_Lines):
    """Writes a line of headings, then one line per row; the byte order mark makes Excel read the file as UTF-8."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        super().__init__(file, lang, scratch, columns)
        # Only own columns may have any heading.
        headings = [
            name if column.own is None else _text(name)
            for column, name in zip(columns, names(columns, lang), strict=True)
        ]
        file.write(f"{_BYTE_ORDER_MARK}{','.join(headings)}\r\n".encode())

        self._table = TableRows(columns, lang)
        self._as_text = [_writer(column.type, lang) for column in columns]

    def write(self, tasks: Iterable[Task]) -> None:
        lines = (self._line(row) for task in tasks for row in self._rows_of(task))
        self._file.write("".join(lines).encode())

    def _rows_of(self, task: Task) -> Iterable[Row]:
        return self._table.of(task)

    def _line(self, row: Row) -> str:
        cells = ["" if value is None else text(value) for text, value in zip(self._as_text, row, strict=True)]
        return f"{','.join(cells)}\r\n"


class CsvInvoiceLines(CsvLines):
    """Writes the lines of invoices, one line for each."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        super().__init__(file, lang, scratch, columns)
        self._invoice_lines = InvoiceLines(columns, Names(lang))

    def _rows_of(self, task: Task) -> Iterable[Row]:
        return self._invoice_lines.of(task, found_in(task))


def _in_language(task: Task, names: Names) -> Task:
    """Return a task with its sentences in a language."""
    if not names.texts.is_chinese or not (task.error or task.warning):
        return task
    hint, warning = (text and names.texts.rendered(text) for text in (task.hint, task.warning))
    return msgspec.structs.replace(task, error=names.error(task), hint=hint, warning=warning)


def _json_line(task: Task, *, tenants: bool) -> bytes:
    fields = msgspec.structs.asdict(task) | {"result": result_of(task)}
    if not tenants:
        del fields["tenant"]
    if task.raw is not None:
        # Strings in JSON contain no raw line breaks, so these are whitespace between values.
        one_line = task.raw.replace(b"\r", b" ").replace(b"\n", b" ")
        # A single invalid byte would make the whole file unreadable.
        fields["raw"] = msgspec.Raw(one_line.decode(errors="replace").encode())
    return msgspec.json.encode(fields) + b"\n"


def _writer(kind: type, lang: str) -> Callable[[Any], str]:
    """Return what makes the cells of a column: texts that a spreadsheet shows unchanged."""
    writers: dict[type, Callable[[Any], str]] = {
        str: _text,
        bool: partial(yes_or_no, lang=lang),
        Decimal: _digits,
        datetime: _time,
    }
    return writers.get(kind, str)


def _text(text: str) -> str:
    """Return a cell, quoted unless it has only letters, digits and the characters of numbers and dates."""
    # Most cells are empty, or letters and digits alone, which is found in a fifth of the time of any other test.
    if not text or text.isalnum():
        return text
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    if _UNQUOTED.fullmatch(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _digits(number: Decimal) -> str:
    return format(number, "f")


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
