"""The parts of a workbook, which are measured before openpyxl parses them."""

from __future__ import annotations

import zipfile
from typing import IO, Any
from xml.parsers import expat

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.zips import ENCRYPTED_FLAG, open_zip

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_MERGED = f"{_MAIN} mergeCell"
_FREED = {f"{_MAIN} row", f"{_MAIN} si"}
"""The rows of sheets and the shared texts: what is inside them is kept only until they end."""


class Refused(Exception):  # noqa: N818 - only control flow of this room
    """Raised for what no workbook has; its text is the reason."""


class Archive(zipfile.ZipFile):
    """The ZIP of a workbook. Raises `WrongZipError` if it is none.

    `merged` has the cells that are merged in a part that was opened, such as `C2:C4`, which openpyxl does not read.
    """

    def __init__(self, source: IO[bytes]) -> None:
        open_zip(source, entries=LIMITS.archive_entries, directory_bytes=LIMITS.archive_directory_bytes)
        super().__init__(source)
        self._left = LIMITS.workbook_bytes
        self.merged: dict[str, list[str]] = {}

    def open(self, name: str | zipfile.ZipInfo, *arguments: Any, **options: Any) -> IO[bytes]:
        """Open a part for openpyxl. Raises `Refused`, and what zipfile and expat raise for damaged parts."""
        entry = self.getinfo(name) if isinstance(name, str) else name
        self._left -= entry.file_size
        most = min(LIMITS.workbook_part_bytes, max(LIMITS.small_entry_bytes, LIMITS.entry_ratio * entry.compress_size))
        if entry.file_size > most or self._left < 0:
            raise Refused("it is too large when it is unpacked")
        if entry.flag_bits & ENCRYPTED_FLAG:
            raise Refused("it is encrypted")
        if entry.filename not in self.merged:
            with super().open(entry) as stream:
                self.merged[entry.filename] = _checked(stream)
        return super().open(name, *arguments, **options)


def _checked(part: IO[bytes]) -> list[str]:
    """Return the merged cells of a part.

    Raises `Refused` for XML that openpyxl would keep too much of, or never come to the end of.
    """
    kept = before = freed = 0
    merged: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal kept, before, freed
        if name in _FREED:
            before = kept
            freed += 1
        kept += 1 + len(attributes)
        if kept > LIMITS.workbook_elements or freed > LIMITS.workbook_rows:
            raise Refused("it has more elements than a workbook")
        if name == _MERGED:
            merged.append(attributes.get("ref", ""))
        # The time that openpyxl takes for a format grows with the square of its length.
        if len(attributes.get("formatCode", "")) > LIMITS.format_characters:
            raise Refused("it has a format that is too long")

    def end(name: str) -> None:
        nonlocal kept
        if name in _FREED:
            kept = before

    def doctype(*_: object) -> None:
        raise Refused("it has a document type")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    while piece := part.read(1 << 16):
        parser.Parse(piece, False)
        if part.tell() - parser.CurrentByteIndex > LIMITS.workbook_token_bytes:
            raise Refused("it has a value that is too long")
    return merged
