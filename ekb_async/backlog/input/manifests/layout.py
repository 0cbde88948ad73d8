"""How a manifest is written: its encoding, and for CSV its separator and its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from ekb_async.backlog.input.manifests.encodings import (
    ENCODINGS,
    GB18030,
    MARK,
    SAVE_AS,
    UTF_8,
    UTF_16_BE,
    UTF_16_LE,
    marked_encoding,
    scanned_encoding,
    text_lines,
)
from ekb_async.backlog.input.manifests.headings import ACCEPTED_COLUMNS, column_of
from ekb_async.errors import ManifestError

WORKBOOK = "xlsx"
"""Stands for the encoding of a workbook."""
SEPARATORS = ",;\t，；"

_HEAD_BYTES = 1 << 16
_TAG = "@"


class Layout(NamedTuple):
    """What is needed to read a row again.

    `columns` and `separator` are empty for JSON Lines. The `encoding` of a workbook is `WORKBOOK`, and its `separator`
    the name of the sheet.
    """

    encoding: str = UTF_8
    separator: str = ""
    columns: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[str, ...]:
        """The texts that the backlog stores: of UTF-8 with commas the columns only, as they always were."""
        if self.encoding == UTF_8 and self.separator in {"", ","}:
            return self.columns
        return (_TAG + self.encoding, self.separator, *self.columns)

    @classmethod
    def from_stored(cls, texts: tuple[str, ...]) -> Layout:
        if texts and texts[0].startswith(_TAG):
            return cls(texts[0].removeprefix(_TAG), texts[1], texts[2:])
        return cls(UTF_8, "," if texts else "", texts)

    def file_in(self, row: bytes) -> str:
        """Return the value of the column `file` in a row. Raises `ValueError`, `LookupError` or `csv.Error`."""
        text = row.decode(self.encoding).removeprefix(MARK)
        if self.columns:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.separator), [])
            return dict(zip(self.columns, cells, strict=False))["file"]
        fields = msgspec.json.decode(text, type=dict[str, object])
        file = next(value for name, value in fields.items() if column_of(name) == "file")
        return str(file)


class Header(NamedTuple):
    """A layout that the head of a CSV file may have: the names of its columns, and how many of them are known."""

    encoding: str
    separator: str
    names: tuple[str, ...]
    known: int

    @property
    def is_plain(self) -> bool:
        """Whether the known names are ASCII, so that they are the same in UTF-8 and GB18030."""
        return all(name.isascii() for name in self.names if column_of(name))


def json_layout(source: BinaryIO, path: Path) -> Layout:
    """Return the layout of JSON Lines. Raises `ManifestError` if their encoding is not certain."""
    head = source.read(_HEAD_BYTES)
    if encoding := marked_encoding(head, path):
        return Layout(encoding)
    if b"\0" in head[:2]:
        # JSON begins with ASCII, and has no character U+0000.
        return Layout(UTF_16_LE if head[1:2] == b"\0" else UTF_16_BE)
    return Layout(scanned_encoding(source, path, is_json=True))


def find_header(source: BinaryIO, path: Path) -> Header:
    """Return the header of a CSV file. Raises `ManifestError` if none is recognised, or its encoding is not certain."""
    head = source.read(_HEAD_BYTES)
    marked = marked_encoding(head, path)
    # The encoding and the separator of a name that is known are certain; the first of several is the simplest.
    header = max(_headers(head, [marked] if marked else ENCODINGS), key=lambda each: each.known)
    if not header.known:
        if not head.removeprefix(MARK.encode(marked or UTF_8)).strip():
            raise ManifestError.at(path, "the manifest is empty; its first line names the columns")
        raise ManifestError.at(
            path,
            f"the names of the columns are missing or unknown; {ACCEPTED_COLUMNS}. "
            f"If they are there, {SAVE_AS}, separated by commas",
            line=1,
        )
    if marked or header.encoding not in {UTF_8, GB18030} or not header.is_plain:
        return header
    found = scanned_encoding(source, path)
    return next(each for each in _headers(head, [found]) if each.separator == header.separator)


def _headers(head: bytes, encodings: Iterable[str]) -> Iterator[Header]:
    for encoding in encodings:
        for separator in SEPARATORS:
            names = _first_names(text_lines(head, encoding), separator)
            yield Header(encoding, separator, names, sum(column_of(name) != "" for name in names))


def _first_names(lines: Iterator[str], separator: str) -> tuple[str, ...]:
    try:
        for cells in csv.reader(lines, delimiter=separator, strict=True):
            if names := names_in(cells):
                return names
    except csv.Error:
        pass
    return ()


def names_in(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the names in a header, without the empty ones at its end; none for an empty row."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)
