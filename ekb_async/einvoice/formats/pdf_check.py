"""A look at the streams of a PDF before PDFium reads it, which would decompress up to 1 GB of each.

A small file can ask for a huge picture, for a stream that fills the memory, or for forms that draw one another a
billion times. Dictionaries of streams always lie uncompressed in the file, so that they can be found without a parser.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from ekb_async.einvoice.limits import LIMITS

_STREAM = re.compile(rb">>\s{0,16}stream\r?\n")
_END = b"endstream"
_DICTIONARY_BYTES = 2048
_SIDE = re.compile(rb"/(Width|Height)\s{0,9}([0-9]{1,9})(?![0-9 ]{1,8}R)")
_FLATE = re.compile(rb"/(?:FlateDecode|Fl)\b")
_FILTER = re.compile(rb"/(?:FlateDecode|Fl|LZWDecode|LZW|RunLengthDecode|RL)\b")
_IS_NO_CONTENT = re.compile(
    rb"/(?:Width|Length1|Length2|Subtype\s{0,9}/(?:CIDFontType0C|Type1C|OpenType|XML)|ObjStm|XRef)\b"
)
_FORM = re.compile(rb"/Subtype\s{0,9}/Form\b")
_DRAWS = re.compile(rb"\sDo\b")
_STEP = 256 * 1024


def check_pdf(data: bytes) -> None:
    """Raise `ValueError` for a PDF that would take too much memory or time."""
    content = uses = 0
    for header, body in _streams(data):
        _check_picture(header)
        is_content = not _IS_NO_CONTENT.search(header)
        drawing = _decompressed(header, body, keep=is_content)
        content += drawing.size if is_content else 0
        if _FORM.search(header):
            uses = max(uses, 1) * max(len(_DRAWS.findall(drawing.kept)), 1)
        if content > LIMITS.pdf_content_bytes or uses > LIMITS.pdf_form_uses:
            raise ValueError("the pages of this PDF are too large")


def _streams(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the dictionary of each stream, cut at its beginning, and the bytes of the stream."""
    view = memoryview(data)
    end = 0
    for start in _STREAM.finditer(data):
        if start.start() < end:
            continue  # a stream that looks as if it contained another
        header = data[max(end, start.start() - _DICTIONARY_BYTES) : start.start()]
        header = header[header.rfind(b"obj") + 1 :]
        end = data.find(_END, start.end())
        end = len(data) if end < 0 else end
        yield header, view[start.end() : end]


def _check_picture(header: bytes) -> None:
    sides = {match[1]: int(match[2]) for match in _SIDE.finditer(header)}
    if len(sides) == 2 and sides[b"Width"] * sides[b"Height"] > LIMITS.picture_pixels:
        raise ValueError("a picture of this PDF is too large")


class _Drawing:
    """The size of a decompressed stream, and its bytes if they are wanted."""

    def __init__(self) -> None:
        self.size = 0
        self.kept = b""


def _decompressed(header: bytes, body: memoryview, *, keep: bool) -> _Drawing:
    drawing = _Drawing()
    filters = len(_FILTER.findall(header))
    if filters > 1:
        raise ValueError("a stream of this PDF is compressed more than once")
    if not filters or not _FLATE.search(header):
        drawing.size = len(body)
        drawing.kept = bytes(body[: LIMITS.pdf_content_bytes]) if keep else b""
        return drawing
    parts = []
    inflate = zlib.decompressobj()
    rest = bytes(body)
    try:
        while rest and not inflate.eof:
            part = inflate.decompress(rest, _STEP)
            rest = inflate.unconsumed_tail
            drawing.size += len(part)
            if keep:
                parts.append(part)
            if drawing.size > (LIMITS.pdf_content_bytes if keep else LIMITS.pdf_stream_bytes):
                raise ValueError("a stream of this PDF is too large")
            if not part and not rest:
                break
    except zlib.error:
        pass  # damaged: PDFium reads what there is, which is as much as here
    drawing.kept = b"".join(parts)
    return drawing
