"""The format of a file by its first bytes; names and suffixes are not looked at."""

from __future__ import annotations

from typing import Literal

Format = Literal["xml", "pdf", "zip", "picture", "heif", "unknown"]

_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"GIF8")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_XML_STARTS = (b"<", b"\xff\xfe<\0", b"\xfe\xff\0<")
_PDF_WITHIN = 1024


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
