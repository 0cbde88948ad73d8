"""The sheets of a workbook, and their rows."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.workbooks.cells import Cell, Format, Formats, format_of
from ekb_async.backlog.input.workbooks.parts import PIECE_BYTES, Parts, Refused

_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_TEXT_TYPES = {"str", "inlineStr", "s"}
_MAX_ROW = 1_048_576

Row = tuple[int, dict[int, Cell]]
"""The number of a row, from 1, and its cells that are not empty, by the index of their column."""


class Sheet(NamedTuple):
    """A sheet: its name, and the name of its part."""

    name: str
    part: str


class Workbook:
    """A workbook, open for reading. Raises `ManifestError` if it cannot be read.

    `sheets` has the visible sheets before the hidden ones, which often hold the lists of a form. Hidden rows and
    columns count as others.
    """

    def __init__(self, source: BinaryIO, path: Path) -> None:
        self._parts = Parts(source, path)
        with self._parts.readable():
            self._main = self._main_part()
            self._relations = self._parts.relations(self._main)
            self._from_1904 = False
            self.sheets = self._sheets()
            if not self.sheets:
                raise Refused("it has no sheet")
            self._texts = SharedTexts(self._parts, self._target("sharedStrings"))
            self.formats = Formats(self._styles(), from_1904=self._from_1904)

    def rows(self, sheet: Sheet, most: int = LIMITS.sheet_bytes) -> Iterator[Row]:
        """Yield the rows of a sheet that are not empty, in order, from about `most` bytes.

        Raises `ManifestError` if the sheet cannot be read.
        """
        pieces = most // PIECE_BYTES + 1
        reader = _SheetReader(self._texts)
        with self._parts.readable():
            if sheet.part not in self._parts:
                raise Refused("one of its sheets is missing")
            parsing = self._parts.pieces(sheet.part, LIMITS.sheet_bytes, reader.start, reader.end, reader.text)
            for _ in itertools.islice(parsing, pieces + 1):
                yield from reader.rows
                reader.rows.clear()

    def _main_part(self) -> str:
        targets = self._parts.relations("").values()
        return next((target for kind, target in targets if kind == "officeDocument"), "xl/workbook.xml")

    def _target(self, kind: str) -> str:
        return next((target for found, target in self._relations.values() if found == kind), "")

    def _sheets(self) -> list[Sheet]:
        visible: list[Sheet] = []
        hidden: list[Sheet] = []

        def start(element: str, attributes: dict[str, str]) -> None:
            if element == "workbookPr":
                self._from_1904 = attributes.get("date1904") in {"1", "true"}
            elif element == "sheet":
                reference = next((value for name, value in attributes.items() if name.endswith(":id")), "")
                kind, part = self._relations.get(reference, ("", ""))
                if kind == "worksheet":
                    name = attributes.get("name", "")[: LIMITS.sheet_name_characters]
                    is_visible = attributes.get("state", "visible") == "visible"
                    (visible if is_visible else hidden).append(Sheet(name, part))

        self._parts.parsed(self._main, LIMITS.workbook_part_bytes, start)
        return visible + hidden

    def _styles(self) -> list[Format]:
        codes: dict[int, str] = {}
        numbers: list[int] = []
        inside: list[str] = []

        def start(element: str, attributes: dict[str, str]) -> None:
            if element == "numFmt":
                codes[_whole(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
            elif element == "xf" and inside[-1:] == ["cellXfs"]:
                numbers.append(_whole(attributes.get("numFmtId")))
            inside.append(element)

        def end(_: str) -> None:
            inside.pop()

        self._parts.parsed(self._target("styles"), LIMITS.workbook_part_bytes, start, end)
        return [format_of(number, codes.get(number, "")) for number in numbers]


class SharedTexts:
    """The texts that cells refer to by index, kept as one piece of memory."""

    def __init__(self, parts: Parts, name: str) -> None:
        self._bytes = bytearray()
        self._ends = array("L", [0])
        self._parts: list[str] = []
        self._is_text = False
        self._phonetic = 0
        if name:
            parts.parsed(name, LIMITS.shared_text_bytes, self._start, self._end, self._add)

    def __getitem__(self, index: int) -> str:
        """Return a text. Raises `Refused` if there is none."""
        if not 0 <= index < len(self._ends) - 1:
            raise Refused("a cell refers to a text that is missing")
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode()

    def _start(self, element: str, _: dict[str, str]) -> None:
        # The pronunciation of a text is no part of it.
        self._phonetic += element == "rPh"
        self._is_text = element == "t" and not self._phonetic

    def _add(self, text: str) -> None:
        if self._is_text:
            self._parts.append(text)

    def _end(self, element: str) -> None:
        self._is_text = False
        self._phonetic -= element == "rPh"
        if element == "si":
            self._bytes += "".join(self._parts).encode()
            self._ends.append(len(self._bytes))
            self._parts.clear()


class _SheetReader:
    """Collects the rows of a sheet from the events of its parser."""

    def __init__(self, texts: SharedTexts) -> None:
        self.rows: list[Row] = []
        self._texts = texts
        self._number = 0
        self._cells: dict[int, Cell] = {}
        self._characters = 0
        self._column = -1
        self._type, self._style = "", 0
        self._value: list[str] = []
        self._is_value = False
        self._phonetic = 0

    def start(self, element: str, attributes: dict[str, str]) -> None:
        if element == "c":
            self._start_cell(attributes)
        elif element == "row":
            self._number = max(self._number + 1, _whole(attributes.get("r")))
            if self._number > _MAX_ROW:
                raise Refused(f"it has more than {_MAX_ROW:,} rows")
            self._cells, self._column, self._characters = {}, -1, 0
        else:
            self._phonetic += element == "rPh"
            self._is_value = element == "v" or (element == "t" and not self._phonetic)

    def text(self, text: str) -> None:
        if self._is_value:
            self._characters += len(text)
            if self._characters > LIMITS.sheet_row_characters:
                raise Refused(f"row {self._number:,} has more than {LIMITS.sheet_row_characters:,} characters")
            self._value.append(text)

    def end(self, element: str) -> None:
        if element == "c":
            self._end_cell()
        elif element == "row":
            if self._cells:
                self.rows.append((self._number, self._cells))
        else:
            self._phonetic -= element == "rPh"
            self._is_value = False

    def _start_cell(self, attributes: dict[str, str]) -> None:
        place = _PLACE.fullmatch(attributes.get("r", ""))
        self._column = self._column + 1 if place is None else index_of(place[1])
        if not 0 <= self._column < LIMITS.sheet_columns:
            raise Refused(f"it has more than {LIMITS.sheet_columns:,} columns")
        kind = attributes.get("t", "n")
        self._type, self._style = "" if kind == "n" else kind, _whole(attributes.get("s"))
        self._value.clear()

    def _end_cell(self) -> None:
        value = "".join(self._value)
        if not value:
            return
        if self._type == "s":
            value = self._texts[_whole(value, -1)]
            self._characters += len(value)
            if self._characters > LIMITS.sheet_row_characters:
                raise Refused(f"row {self._number:,} has more than {LIMITS.sheet_row_characters:,} characters")
        if value:
            self._cells[self._column] = Cell(self._type, self._style, value)


def index_of(letters: str) -> int:
    """Return the index of a column from its letters: 0 for A."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def letters_of(index: int) -> str:
    """Return the letters of a column from its index."""
    letters, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _whole(text: str | None, otherwise: int = 0) -> int:
    try:
        return int(text or "")
    except ValueError:
        return otherwise
