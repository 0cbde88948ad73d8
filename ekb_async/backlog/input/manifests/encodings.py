"""The encoding of a manifest, and its lines.

Without a byte order mark, a file is read as UTF-8 or GB18030 only if it cannot be the other one: a few Chinese
characters in GB18030 can be valid UTF-8 too, and would be stored as other characters.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ekb_async.errors import ManifestError

UTF_8, GB18030, UTF_16_LE, UTF_16_BE = "utf-8", "gb18030", "utf-16-le", "utf-16-be"
ENCODINGS = (UTF_8, GB18030, UTF_16_LE, UTF_16_BE)
MARK = "\ufeff"
SAVE_AS = 'save it as UTF-8 with a byte order mark, which Excel calls "CSV UTF-8"'

_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_MAX_LINE_BYTES = 1 << 20
_SCANNED_BYTES = 1 << 18
_CERTAIN_CHARACTERS = 12
"""Foreign characters from which on a text that is valid UTF-8 cannot be GB18030 by chance."""
_COMMON_SHARE = 0.9
"""In Chinese text, rarer characters than those of GB 2312 are names. Text in another encoding has many of them."""


def marked_encoding(head: bytes, path: Path) -> str:
    """Return the encoding that a byte order mark shows, "" without one. Raises `ManifestError` for UTF-32."""
    if head.startswith(_UTF_32):
        raise ManifestError.at(path, f"this is UTF-32; {SAVE_AS}")
    return next((name for name in ENCODINGS if head.startswith(MARK.encode(name))), "")


def scanned_encoding(source: BinaryIO, path: Path, *, is_json: bool = False) -> str:
    """Return UTF-8 or GB18030, from the whole file. Raises `ManifestError` if it may be both or is neither.

    JSON that may be both is UTF-8, as its standard requires. So is a longer text: in GB18030, hardly one of three
    characters is valid UTF-8 too.
    """
    utf_8 = gb18030 = True
    foreign = common = line = wrong_line = 0
    source.seek(0)
    # A part ends with a line, so that no character is cut; in both encodings, a line feed is no part of another one.
    while part := source.read(_SCANNED_BYTES):
        part += source.readline(_MAX_LINE_BYTES)
        if not part.isascii():
            if utf_8 and (at := _first_wrong(part, UTF_8)) is not None:
                utf_8, wrong_line = False, line + part.count(b"\n", 0, at) + 1
            if gb18030:
                gb18030 = _first_wrong(part, GB18030) is None
                found = _characters(part) if gb18030 else (0, 0)
                foreign, common = foreign + found[0], common + found[1]
        if not utf_8 and not gb18030:
            break
        line += part.count(b"\n")
    if utf_8 and gb18030 and 0 < foreign == common < _CERTAIN_CHARACTERS and not is_json:
        raise ManifestError.at(path, f"the encoding is not certain, it may be UTF-8 or GBK; {SAVE_AS}")
    if utf_8:
        return UTF_8
    if gb18030 and common >= foreign * _COMMON_SHARE:
        return GB18030
    raise ManifestError.at(path, f"this is neither UTF-8 nor clearly GB18030; {SAVE_AS}", line=wrong_line)


def _first_wrong(part: bytes, encoding: str) -> int | None:
    try:
        part.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    return None


def _characters(part: bytes) -> tuple[int, int]:
    """Return how many characters other than ASCII a text in GB18030 has, and how many of them are in GB 2312."""
    text = part.decode(GB18030)
    plain = len(text.encode("ascii", "ignore"))
    return len(text) - plain, len(text.encode("gb2312", "ignore").decode("gb2312")) - plain


class Lines:
    """The lines of a file as text; `number` is that of the last line read, `offset` the byte after it."""

    def __init__(self, source: BinaryIO, path: Path, encoding: str) -> None:
        self.number = 0
        self.offset = 0
        self._source = source
        self._path = path
        self._encoding = encoding
        source.seek(0)

    def __iter__(self) -> Iterator[str]:
        if self._encoding == UTF_8:
            return self._decoded_fast()
        return self._decoded()

    def _decoded_fast(self) -> Iterator[str]:
        read, longest = self._source.readline, _MAX_LINE_BYTES
        while line := read(longest + 1):
            # A call of `_count` would take a third of the time.
            self.number += 1
            self.offset += len(line)
            if len(line) > longest:
                raise self._too_long()
            try:
                yield line.decode() if self.number > 1 else line.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise self._wrong() from None

    def _decoded(self) -> Iterator[str]:
        for line in self._wide() if self._encoding in {UTF_16_LE, UTF_16_BE} else iter(self._narrow, b""):
            self._count(line)
            try:
                text = line.decode(self._encoding)
            except UnicodeDecodeError:
                raise self._wrong() from None
            if self._encoding == GB18030 and _is_utf_8(line):
                raise ManifestError.at(
                    self._path, f"this line is UTF-8 and others are GB18030; {SAVE_AS}", line=self.number
                )
            yield text if self.number > 1 else text.removeprefix(MARK)

    def _narrow(self) -> bytes:
        return self._source.readline(_MAX_LINE_BYTES + 1)

    def _wide(self) -> Iterator[bytes]:
        """Yield lines whose characters have two bytes each; either may be that of a line feed."""
        line_feed, line = "\n".encode(self._encoding), bytearray()
        while part := self._source.readline(_MAX_LINE_BYTES + 1):
            line += part
            if len(line) % 2 and line.endswith(b"\n"):
                line += self._source.read(1)
            if len(line) > _MAX_LINE_BYTES or (len(line) % 2 == 0 and line.endswith(line_feed)):
                yield bytes(line)
                line.clear()
        if line:
            yield bytes(line)

    def _count(self, line: bytes) -> None:
        self.number += 1
        self.offset += len(line)
        if len(line) > _MAX_LINE_BYTES:
            raise self._too_long()

    def _too_long(self) -> ManifestError:
        return ManifestError.at(self._path, "longer than 1 MiB", line=self.number)

    def _wrong(self) -> ManifestError:
        return ManifestError.at(self._path, f"this line is not {self._encoding.upper()}; {SAVE_AS}", line=self.number)


def _is_utf_8(line: bytes) -> bool:
    """Return whether a line is UTF-8 with characters of three bytes, as Chinese ones are."""
    try:
        return not line.isascii() and max(line.decode()) >= "\u0800"
    except UnicodeDecodeError:
        return False


def text_lines(part: bytes, encoding: str) -> Iterator[str]:
    """Return the first lines of a file; bytes that are wrong, or cut at the end, become replacement characters."""
    return iter(io.StringIO(part.decode(encoding, "replace").removeprefix(MARK), newline="\n"))
