"""The streams of a PDF, decompressed in parts, without PDFium, which would decompress up to 1 GB of each."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ekb_async.einvoice.limits import LIMITS

_BEGIN, _END = b"stream", b"endstream"
_SPACE = b"\0\t\n\f\r "
_NEW_LINE = re.compile(rb"\r?\n?")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_COMMENT = re.compile(rb"%[^\r\n]*")
_ELSEWHERE = re.compile(rb"/(?:Filter|Subtype|Width|Height|FunctionType|ShadingType|PatternType)\s+\d+\s+\d+\s+R\b")
_FILTER = re.compile(rb"/(?:(?P<flate>FlateDecode|Fl)|(?P<refused>LZWDecode|LZW|RunLengthDecode|RL))(?![A-Za-z])")
_ASCII_85 = re.compile(rb"/(?:ASCII85Decode|A85)(?![A-Za-z])")
_ASCII_HEX = re.compile(rb"/(?:ASCIIHexDecode|AHx)(?![A-Za-z])")
_VALUES_85 = bytes((value - 33) % 256 for value in range(256))
_PIECE, _PART = 64 * 1024, 256 * 1024
"""Bytes that are decompressed at a time, and that come out at most."""


class Stream(NamedTuple):
    """A stream, and the objects before it, the last of which is its dictionary."""

    header: bytes
    body: memoryview

    def parts(self) -> Iterator[bytes]:
        """Yield the decompressed stream in parts. Raises `DamagedError` after the last one that can be read."""
        body = _without_ascii(self.header, self.body)
        if not _FILTER.search(self.header):
            yield from (bytes(body[at : at + _PART]) for at in range(0, len(body), _PART))
            return
        yield from _inflated(memoryview(body))


class DamagedError(Exception):
    """Raised for a stream that ends before its end."""


def streams(data: bytes) -> Iterator[Stream]:
    """Yield the streams of a PDF. Raises `ValueError` for one that cannot be judged."""
    view = memoryview(data)
    end, between = 0, 0
    while (start := data.find(_BEGIN, end)) >= 0:
        between += start - end
        if between > LIMITS.pdf_object_bytes:
            raise ValueError("this PDF has too many objects")
        header = _judged(data[end:start])
        start += len(_BEGIN)
        end = data.find(_END, start)
        end = len(data) if end < 0 else end
        if data.find(_BEGIN, start, end) >= 0:
            raise ValueError("a stream of this PDF cannot be judged")
        line = _NEW_LINE.match(data, start, end)
        yield Stream(header, view[line.end() if line else start : end])
        end += len(_END)


def _inflated(body: memoryview) -> Iterator[bytes]:
    inflate, rest, at = zlib.decompressobj(), b"", 0
    while not inflate.eof:
        if not rest:
            rest = bytes(body[at : at + _PIECE])
            at += _PIECE
            if not rest:
                raise DamagedError
        try:
            part = inflate.decompress(rest, _PART)
        except zlib.error:
            raise DamagedError from None
        rest = inflate.unconsumed_tail
        if part:
            yield part


def _judged(objects: bytes) -> bytes:
    """Return objects with their names unescaped, and again without what is a comment unless it is part of a string."""
    plain = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), objects)
    readings = [plain, _COMMENT.sub(b"", plain)] if b"%" in plain else [plain]
    if not any(each.rstrip(_SPACE).endswith(b">>") for each in readings):
        raise ValueError("a stream of this PDF cannot be judged")
    for each in readings:
        filters = [match.lastgroup for match in _FILTER.finditer(each)]
        if _ELSEWHERE.search(each) or len(filters) > 1 or "refused" in filters:
            raise ValueError("a stream of this PDF cannot be judged")
    return b"\n".join(readings)


def _without_ascii(header: bytes, body: memoryview) -> bytes | memoryview:
    is_85 = _ASCII_85.search(header)
    if not is_85 and not _ASCII_HEX.search(header):
        return body
    if len(body) > LIMITS.pdf_ascii_bytes:
        raise ValueError("a stream of this PDF is too large")
    text = b"".join(bytes(body).split())
    return _from_85(text.partition(b"~")[0]) if is_85 else bytes.fromhex(text.partition(b">")[0].decode("ascii"))


def _from_85(text: bytes) -> bytes:
    """Return what a text in ASCII85 encodes, ten times as fast as `base64`. Raises `ValueError` if it is damaged."""
    runs = text.split(b"z")
    if any(len(run) % 5 for run in runs[:-1]):
        raise ValueError("a stream of this PDF cannot be judged")
    missing = -len(runs[-1]) % 5
    digits = (b"!!!!!".join(runs) + b"u" * missing).translate(_VALUES_85)
    groups = zip(*(digits[place::5] for place in range(5)), strict=True)
    values = [
        (((first * 85 + second) * 85 + third) * 85 + fourth) * 85 + fifth
        for first, second, third, fourth, fifth in groups
    ]
    if max(values, default=0) >> 32:
        raise ValueError("a stream of this PDF cannot be judged")
    decoded = struct.pack(f">{len(values)}I", *values)
    return decoded[: len(decoded) - missing]
