"""Tasks as text: JSON Lines with everything, CSV with the columns of a table.

A spreadsheet that opens a CSV file runs cells that look like formulas, so such cells begin with an apostrophe. In some
countries it splits lines at other characters than commas, so every cell that might contain one is quoted. It also reads
texts of digits as numbers. These stay as they are, since other programs read the file too: import such columns as text,
or export to .xlsx.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import msgspec

from ekb_async.backlog.results.export.columns import Columns, Value, names, yes_or_no
from ekb_async.backlog.results.export.rows import rows_of
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task

_BYTE_ORDER_MARK = "\ufeff"
_UNQUOTED = re.compile(r"[\w.:+-]*")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_CONTROL_SIGNS = ("\t", "\r", "\n")


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
            name if column.own is None else _quoted(_harmless(name))
            for column, name in zip(columns, names(columns, lang), strict=True)
        ]
        file.write(f"{_BYTE_ORDER_MARK}{','.join(headings)}\r\n".encode())

    def write(self, tasks: Iterable[Task]) -> None:
        rows = (row for task in tasks for row in rows_of(task, self._columns, self._lang))
        self._file.write(_csv_text([_cell(value, self._lang) for value in row] for row in rows).encode())


def _in_language(task: Task, names: Names) -> Task:
    """Return a task with its sentences in a language."""
    if not names.texts.is_chinese or not (task.error or task.warning):
        return task
    hint, warning = (text and names.texts.rendered(text) for text in (task.hint, task.warning))
    return msgspec.structs.replace(task, error=names.error(task), hint=hint, warning=warning)


def _json_line(task: Task, *, tenants: bool) -> bytes:
    fields = msgspec.structs.asdict(task)
    if not tenants:
        del fields["tenant"]
    if task.raw is not None:
        # Strings in JSON contain no raw line breaks, so these are whitespace between values.
        one_line = task.raw.replace(b"\r", b" ").replace(b"\n", b" ")
        # A single invalid byte would make the whole file unreadable.
        fields["raw"] = msgspec.Raw(one_line.decode(errors="replace").encode())
    return msgspec.json.encode(fields) + b"\n"


def _csv_text(lines: Iterable[Iterable[str]]) -> str:
    return "".join(f"{','.join(map(_quoted, line))}\r\n" for line in lines)


def _quoted(cell: str) -> str:
    """Return the cell, quoted unless it has only letters, digits and the characters of numbers and dates."""
    if _UNQUOTED.fullmatch(cell):
        return cell
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'


def _cell(value: Value, lang: str) -> str:
    """Return a value as text that a spreadsheet shows unchanged."""
    match value:
        case None:
            return ""
        case str():
            return _harmless(value)
        case bool():
            return yes_or_no(value, lang)
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat(timespec="seconds")
        case _:
            return str(value)


def _harmless(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return text
    return f"'{text}" if text.lstrip().startswith(_FORMULA_SIGNS) or text.startswith(_CONTROL_SIGNS) else text
