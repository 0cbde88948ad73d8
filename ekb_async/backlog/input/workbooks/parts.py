"""The parts of a workbook: XML files in a ZIP, read in pieces within limits."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn
from xml.parsers import expat

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.zips import ENCRYPTED_FLAG, WrongZipError, open_zip
from ekb_async.errors import ManifestError

Start = Callable[[str, dict[str, str]], None]
End = Callable[[str], None]
Text = Callable[[str], None]

PIECE_BYTES = 1 << 16
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_TOO_LARGE = "it is too large when it is unpacked"
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    expat.ExpatError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
)
"""What zipfile and expat raise for foreign bytes."""


class Refused(Exception):  # noqa: N818 - only control flow of this room
    """Raised inside a parser for a workbook that is not read further; its text is the reason."""


class Parts:
    """The parts of one workbook. Raises `ManifestError` if the file is no workbook, or is encrypted."""

    def __init__(self, source: BinaryIO, path: Path) -> None:
        self.path = path
        head = source.read(len(_OLE))
        if head == _OLE:
            raise ManifestError.at(path, _reason_of_ole(source))
        with self.readable():
            try:
                self._zip = open_zip(
                    source, entries=LIMITS.workbook_parts, directory_bytes=LIMITS.workbook_directory_bytes
                )
            except WrongZipError as error:
                raise Refused(str(error)) from None
            self._parts = {entry.filename.lower(): entry for entry in self._zip.infolist()}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parts

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn what goes wrong inside into a `ManifestError` that names the workbook."""
        try:
            yield
        except Refused as error:
            reason = str(error)
        except OSError as error:
            reason = str(error.strerror or "the file cannot be read")
        except _UNREADABLE:
            reason = "it is damaged, or no .xlsx workbook"
        else:
            return
        raise ManifestError.at(
            self.path, f"this workbook cannot be read: {reason}; open it in a spreadsheet and save it as .xlsx"
        )

    def parsed(self, name: str, most: int, start: Start, end: End | None = None, text: Text | None = None) -> None:
        """Parse a whole part of at most `most` bytes, of which memory is made; nothing of one that is not there."""
        if (entry := self._parts.get(name.lower())) is not None:
            _check_ratio(entry)
        for _ in self.pieces(name, most, start, end, text):
            pass

    def pieces(
        self, name: str, most: int, start: Start, end: End | None = None, text: Text | None = None
    ) -> Iterator[None]:
        """Parse a part in pieces, and yield after each. Names have no prefixes."""
        entry = self._parts.get(name.lower())
        if entry is None:
            return
        if entry.flag_bits & ENCRYPTED_FLAG:
            raise Refused("it is encrypted")
        if entry.file_size > most:
            raise Refused(_TOO_LARGE)
        parser = expat.ParserCreate()
        parser.buffer_text = True
        _Handlers(start, end, text).attach(parser)
        fed = 0
        with self._zip.open(entry) as stream:
            while piece := stream.read(PIECE_BYTES):
                parser.Parse(piece, False)
                fed += len(piece)
                if fed - parser.CurrentByteIndex > LIMITS.workbook_token_bytes:
                    raise Refused("it has a value that is too long")
                yield
        parser.Parse(b"", True)
        yield

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Return the type and the name of each part that a part refers to, by ID."""
        folder, base = posixpath.split(name)
        found: dict[str, tuple[str, str]] = {}

        def start(element: str, attributes: dict[str, str]) -> None:
            if element == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))
                kind = attributes.get("Type", "").rpartition("/")[2]
                found[attributes.get("Id", "")] = (kind, target.lstrip("/"))

        self.parsed(posixpath.join(folder, "_rels", f"{base}.rels"), LIMITS.workbook_part_bytes, start)
        return found


class _Handlers:
    """Passes the events of a parser on, with names without prefixes, and refuses what no workbook has."""

    def __init__(self, start: Start, end: End | None, text: Text | None) -> None:
        self._start, self._end, self._text = start, end, text
        self._depth = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        if self._text is not None:
            parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > LIMITS.workbook_depth:
            raise Refused("its elements are too deep")
        self._start(name.rpartition(":")[2], attributes)

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        if self._end is not None:
            self._end(name.rpartition(":")[2])


def _refuse(*_: object) -> NoReturn:
    raise Refused("it has a document type or entities")


def _check_ratio(entry: zipfile.ZipInfo) -> None:
    # A sheet is read as a stream, and thousands of equal rows are no bomb.
    if entry.file_size > max(LIMITS.small_entry_bytes, LIMITS.entry_ratio * entry.compress_size):
        raise Refused(_TOO_LARGE)


def _reason_of_ole(source: BinaryIO) -> str:
    """Return what a file in the container of old Office files is: an encrypted workbook, or an old one."""
    last = b""
    source.seek(0)
    for _ in range(LIMITS.workbook_searched_bytes // PIECE_BYTES):
        piece = source.read(PIECE_BYTES)
        if not piece:
            break
        if _ENCRYPTED_STREAM in last + piece:
            return "this workbook is encrypted: remove its password and save it again"
        last = piece[-len(_ENCRYPTED_STREAM) :]
    return "this is an old workbook (.xls or .et): save it as .xlsx"
