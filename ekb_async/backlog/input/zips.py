"""ZIP files of unknown origin, refused before their directory fills the memory."""

from __future__ import annotations

import struct
import zipfile
from typing import IO

END_OF_DIRECTORY = b"PK\x05\x06"
ENCRYPTED_FLAG = 0x1

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_MAX_COMMENT = 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
_LEAST_ENTRY = 46
"""Bytes of an entry of the directory, besides its name."""


class WrongZipError(ValueError):
    """Raised for a file that is no ZIP archive, is damaged or exceeds a limit; its text is the reason."""


def open_zip(file: IO[bytes], *, entries: int, directory_bytes: int) -> zipfile.ZipFile:
    """Open a ZIP archive that has at most so many entries. Raises `WrongZipError`, and `OSError` if it cannot be read.

    `directory_bytes` is the size up to which its directory is read, since every entry in it takes memory.
    """
    size = _directory_size(file)
    if size > directory_bytes or size > entries * (_LEAST_ENTRY + _MAX_COMMENT):
        raise WrongZipError(f"it has more than {entries:,} entries")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error, UnicodeError):
        raise WrongZipError("it is damaged, or no ZIP file") from None
    if len(archive.infolist()) > entries:
        archive.close()
        raise WrongZipError(f"it has more than {entries:,} entries")
    return archive


def _directory_size(file: IO[bytes]) -> int:
    """Return the size of the directory that the end of the file states."""
    end = file.seek(0, 2)
    file.seek(max(0, end - _END.size - _MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < _END.size:
        raise WrongZipError("it is damaged, or no ZIP file")
    size = int(_END.unpack_from(tail, at)[5])
    locator = at - _LOCATOR.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        start = end - len(tail) + locator - _END64.size
        file.seek(max(0, start))
        record = file.read(_END64.size)
        if start < 0 or len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            raise WrongZipError("it is damaged, or no ZIP file")
        size = max(int(_END64.unpack(record)[8]), size if size != _IN_ZIP64 else 0)
    return size
