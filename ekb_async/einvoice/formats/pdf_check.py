"""A look at the streams of a PDF before PDFium reads it, which would decompress up to 1 GB of each.

A small file can ask for a huge picture, for a stream that fills the memory, for forms that draw one another a billion
times, or for a page of tiny tiles. The dictionaries of streams and patterns lie uncompressed in the file, so that a
pattern finds them; what cannot be judged there, such as a filter that stands elsewhere, is refused.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress

from ekb_async.einvoice.limits import LIMITS

_STREAM = re.compile(rb"(?<!end)stream\r?\n?")
_END = b"endstream"
_DICTIONARY_BYTES = 2048
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_SIDE = re.compile(rb"/(Width|Height)\s{0,9}([0-9]{1,9})(?![0-9 ]{1,8}R)")
_ELSEWHERE = re.compile(rb"/Filter\s{1,9}[0-9]{1,9}\s{1,9}[0-9]{1,5}\s{1,9}R\b")
_FILTER = re.compile(rb"/(?:(?P<flate>FlateDecode|Fl)|(?P<lzw>LZWDecode|LZW)|(?P<runs>RunLengthDecode|RL))(?![A-Za-z])")
_NO_CONTENT = re.compile(
    rb"/(?:Width|Length1|Length2|Subtype\s{0,9}/(?:CIDFontType0C|Type1C|OpenType|XML)|Type\s{0,9}/(?:ObjStm|XRef))\b"
)
_FORM = re.compile(rb"/Subtype\s{0,9}/Form\b")
_TILES = re.compile(rb"/PatternType\s{0,9}1\b")
_STEP = re.compile(rb"/[XY]Step\s{0,9}(-?[0-9.]{1,20})")
_MATRIX = re.compile(rb"/Matrix\s{0,9}\[\s{0,9}((?:-?[0-9.]{1,20}\s{1,9}){4})")
_DRAWS = re.compile(rb"\sDo\b")
_ASCII_85 = re.compile(rb"/(?:ASCII85Decode|A85)(?![A-Za-z])")
_ASCII_HEX = re.compile(rb"/(?:ASCIIHexDecode|AHx)(?![A-Za-z])")
_ENCRYPTED = re.compile(rb"/Encrypt\b")
_RATIO = 1032
"""Bytes that a byte of a compressed stream can stand for at most."""
_RUN = 64
"""Bytes that a byte can stand for in runs."""
_PART = 256 * 1024


def check_pdf(data: bytes) -> bool:
    """Return whether the streams of a PDF are whole. Raise `ValueError` for one that takes too much memory or time."""
    content, uses, is_whole = 0, 1, True
    is_encrypted = _ENCRYPTED.search(data) is not None
    for header, body in _streams(data):
        _check_header(header)
        is_content = not _NO_CONTENT.search(header)
        size, drawing, is_damaged = _decompressed(header, body, keep=is_content)
        is_whole = is_whole and (is_encrypted or not is_damaged)
        content += size if is_content else 0
        if _FORM.search(header):
            uses *= max(len(_DRAWS.findall(drawing)), 1)
        if content > 2 * LIMITS.pdf_content_bytes or uses > LIMITS.pdf_form_uses:
            raise ValueError("the pages of this PDF are too large")
    return is_whole


def _streams(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the dictionary of each stream, cut at its beginning, and the bytes of the stream."""
    view = memoryview(data)
    end = 0
    for start in _STREAM.finditer(data):
        if start.start() < end:
            continue  # a stream that looks as if it contained another
        header = data[max(end, start.start() - _DICTIONARY_BYTES) : start.start()]
        header = header[header.rfind(b" obj") + 1 :]
        end = data.find(_END, start.end())
        end = len(data) if end < 0 else end
        yield _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), header), view[start.end() : end]


def _check_header(header: bytes) -> None:
    sides = {match[1]: int(match[2]) for match in _SIDE.finditer(header)}
    if len(sides) == 2 and sides[b"Width"] * sides[b"Height"] > LIMITS.picture_pixels:
        raise ValueError("a picture of this PDF is too large")
    if _ELSEWHERE.search(header):
        raise ValueError("a stream of this PDF cannot be judged")
    if _TILES.search(header):
        steps = [abs(float(step)) for step in _STEP.findall(header)]
        scales = [abs(float(part)) for found in _MATRIX.findall(header) for part in found.split()]
        scale = max(scales, default=0.0 if b"/Matrix" in header else 1.0)
        if min(steps, default=0.0) * scale < LIMITS.pdf_pattern_step:
            raise ValueError("a pattern of this PDF has too many tiles")


def _decompressed(header: bytes, body: memoryview, *, keep: bool) -> tuple[int, bytes, bool]:
    """Return the size of a stream, its content if it may be drawing instructions, and whether it is damaged."""
    filters = [match.lastgroup for match in _FILTER.finditer(header)]
    if len(filters) > 1 or ("lzw" in filters and len(body) > LIMITS.pdf_lzw_bytes):
        raise ValueError("a stream of this PDF cannot be judged")
    most = LIMITS.pdf_content_bytes if keep else LIMITS.pdf_stream_bytes
    if filters == ["flate"]:
        return _inflated(_out_of_ascii(header, bytes(body), most), most, keep=keep)
    size = len(body) * (_RUN if filters == ["runs"] else 1)
    if keep and size > most:
        raise ValueError("a stream of this PDF is too large")
    return size, bytes(body) if keep else b"", False


def _out_of_ascii(header: bytes, body: bytes, most: int) -> bytes:
    """Return a stream without the ASCII around it; as it is if it is too small to become too large."""
    if len(body) * _RATIO <= most:
        return body
    if _ASCII_85.search(header):
        return base64.a85decode(b"".join(body.split()).removesuffix(b"~>"))
    if _ASCII_HEX.search(header):
        return bytes.fromhex(body.partition(b">")[0].decode("ascii"))
    return body


def _inflated(body: bytes, most: int, *, keep: bool) -> tuple[int, bytes, bool]:
    inflate, rest = zlib.decompressobj(), body
    size, parts = 0, []
    with suppress(zlib.error):  # damaged: PDFium reads no more of it either
        while rest and not inflate.eof:
            part = inflate.decompress(rest, _PART)
            rest = inflate.unconsumed_tail
            size += len(part)
            if size > most:
                raise ValueError("a stream of this PDF is too large")
            if keep:
                parts.append(part)
    return size, b"".join(parts), not inflate.eof
