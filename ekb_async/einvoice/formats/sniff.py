"""The format of a file by its first bytes, and whether it has what each file of that format has.

Names and suffixes are not looked at. Much that has the first bytes of a picture is none, which is seen here without a
library.
"""

from __future__ import annotations

import re
from typing import Literal

from ekb_async.einvoice.progress import NoInvoiceFileError, UnusableError

Format = Literal["xml", "pdf", "zip", "picture", "heif", "unknown"]

_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"GIF8")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_XML_STARTS = (b"<", b"\xff\xfe<\0", b"\xfe\xff\0<")
_PDF_WITHIN = 1024
_RAR = b"Rar!\x1a\x07"
_LEAST_PICTURE = 26
"""Bytes of the smallest header of a picture."""
_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")
"""Begins the size of a JPEG picture."""


def format_of(data: bytes) -> Format:
    """Return the format of a file."""
    head = data[:_PDF_WITHIN]
    if head.startswith(b"PK"):
        return "zip"
    if head.startswith(_PICTURES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return "picture"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "heif"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_XML_STARTS):
        return "xml"
    return "pdf" if b"%PDF-" in head else "unknown"


def check_parts(data: bytes, kind: Format) -> None:
    """Raise `UnusableError` for a file that is of no known format, or that lacks what its format asks for."""
    match kind:
        case "unknown" if not data:
            raise NoInvoiceFileError("the file is empty")
        case "unknown" if data.startswith(_RAR):
            raise UnusableError("a RAR archive, which cannot be read")
        case "unknown":
            raise NoInvoiceFileError("no invoice file")
        case "pdf" if b"obj" not in data:
            raise UnusableError("the PDF is damaged")
        case "heif" if b"meta" not in data:
            raise UnusableError("the picture is damaged")
        case "picture" if not _has_size(data):
            raise UnusableError("the picture is damaged")


def _has_size(data: bytes) -> bool:
    """Return whether a picture states its size."""
    if len(data) < _LEAST_PICTURE:
        return False
    if data.startswith(b"\xff\xd8"):
        return _FRAME.search(data) is not None
    if data.startswith(b"\x89PNG"):
        return data[12:16] == b"IHDR"
    if data.startswith(b"RIFF"):
        return data[12:15] == b"VP8"
    if data.startswith((b"II", b"MM")):
        return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") < len(data)
    return True
