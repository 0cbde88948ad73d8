"""A look at the streams of a PDF before PDFium reads it, which cannot be stopped once it does.

A small file can ask for a huge picture, for a stream that fills the memory, for forms that draw one another a billion
times, or for a page of tiny tiles. The dictionaries of streams lie uncompressed in the file, so that patterns find
them. What they say is believed where it makes a file suspicious, not where it would make it harmless: drawing
instructions are recognised by what they look like. No invoice comes near these limits.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from typing import NamedTuple

import msgspec

from ekb_async.einvoice.formats.pdf_files.streams import DamagedError, Stream, streams
from ekb_async.einvoice.limits import LIMITS, MB

_ENCRYPTED = re.compile(rb"/Encrypt\b")
_SIDE = re.compile(rb"/(Width|Height)\s{0,9}([0-9]{1,9})")
_FORM = re.compile(rb"/Subtype\s{0,9}/Form\b")
_PICTURE = re.compile(rb"/Subtype\s{0,9}/Image\b")
_TILES = re.compile(rb"/PatternType\s{0,9}1\b")
_STEP = re.compile(rb"/[XY]Step\s{0,9}(-?[0-9.]{1,20})")
_MATRIX = re.compile(rb"/Matrix\s{0,9}\[\s{0,9}((?:-?[0-9.]{1,20}\s{1,9}){4})")
_DELIMITERS = b"\0\t\n\x0b\f\r ()<>[]{}/%"
_FORMS, _OTHERS = (b"Do",), (b"gs", b"scn", b"SCN")
"""What draws a form or a picture, and what may draw a mask or a pattern."""
_PAINTS = re.compile(rb"(?<![A-Za-z0-9])(?:[FBbSs]|[fBb]\*?|T[jJ])(?![A-Za-z0-9])")
_OPERATOR = re.compile(
    rb"[\s\0](?:re|[fFBbSsnlmcvyhqQgGkKwd]\*?|T[jJdDm]|cm|gs|sh|Do|rg|RG|scn?|SCN?|BT|ET|BI|['\"])(?=[\s\0])"
)
_SAMPLE, _OPERATORS = 4096, 40
"""Bytes of a part that are looked at, and the operators in them from which on they are instructions."""
_SMALL = (
    (re.compile(rb"/FunctionType\s{0,9}4\b"), 2 * 1024),
    (re.compile(rb"/ShadingType\s{0,9}[4-7]\b"), 16 * 1024),
    (re.compile(rb"/Type\s{0,9}/XRef\b"), 4 * MB),
)
"""Streams that take much time or memory for each of their bytes, and how large they may be."""
_OBJECTS = re.compile(rb"/ObjStm\b")
_GLYPH = re.compile(rb"(?:\s{0,9}-?[0-9.]{1,20}){2,6}\s{1,9}d[01]\s")
_GLYPH_BYTES = 4 * 1024
_REFERENCES = re.compile(rb"\[\s{0,9}((?:[0-9]{1,9}\s{1,9}[0-9]{1,5}\s{1,9}R\s{0,9}){20,})")
_JPEG_SIZE = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..[\x08\x0c](....)", re.DOTALL)
_JPEG_2000_SIZE = re.compile(rb"\xff\x4f\xff\x51....(........)", re.DOTALL)
_SIZES = (
    (re.compile(rb"/DCT"), _JPEG_SIZE, LIMITS.picture_pixels),
    (re.compile(rb"/JPX"), _JPEG_2000_SIZE, LIMITS.jpeg_2000_pixels),
)


class _Found(msgspec.Struct):
    """What the streams of a file add up to."""

    drawing: int = 0
    """Bytes of drawing instructions."""
    largest: int = 0
    """Those of one stream, of the forms and patterns."""
    draws: int = 1
    """How often a page draws another stream at most."""
    uses: int = 1
    """How often a form or pattern is drawn by those around it, as a product over them."""
    paints: int = 1
    """The same, if each painting draws a pattern."""
    has_tiles: bool = False
    has_pictures: bool = False
    repeated: int = 1
    """How often an array names one stream at most, as a page may do with its instructions."""


class Checked(NamedTuple):
    """What the streams of a PDF are like."""

    are_whole: bool
    show_something: bool


def check_pdf(data: bytes) -> Checked:
    """Return what the streams of a PDF are like. Raise `ValueError` for one that takes too much memory or time."""
    found, is_whole = _Found(), True
    for stream in streams(data):
        _check_header(stream.header)
        found.repeated = max(found.repeated, _repeated(stream.header))
        found.has_pictures = found.has_pictures or _PICTURE.search(stream.header) is not None
        is_whole = _add(found, stream) and is_whole
        if found.drawing * found.repeated > LIMITS.pdf_drawn_bytes or found.drawing > 2 * LIMITS.pdf_content_bytes:
            raise ValueError("the pages of this PDF are too large")
    drawn = found.draws * (found.paints if found.has_tiles else found.uses)
    if drawn > LIMITS.pdf_form_uses or drawn * found.largest > LIMITS.pdf_drawn_bytes:
        raise ValueError("the forms of this PDF are drawn too often")
    return Checked(is_whole or _ENCRYPTED.search(data) is not None, found.drawing > 0 or found.has_pictures)


def _add(found: _Found, stream: Stream) -> bool:
    """Add up a stream; return whether it is whole."""
    header = stream.header
    is_drawn = _FORM.search(header) or _TILES.search(header)
    _check_picture(stream)
    most = min([size for kind, size in _SMALL if kind.search(header)], default=LIMITS.pdf_stream_bytes)
    size = drawing = draws = paints = 0
    is_whole = True
    try:
        for part in stream.parts():
            if not size:
                most = min(most, _GLYPH_BYTES) if _GLYPH.match(part) else most
            size += len(part)
            draws += sum(_count(part, word) for word in (_FORMS + _OTHERS if is_drawn else _FORMS))
            paints += len(_PAINTS.findall(part)) if is_drawn else 0
            found.repeated = max(found.repeated, _repeated(part) if _OBJECTS.search(header) else 1)
            drawing += len(part) if _is_drawing(part) else 0
            if size > most or drawing > LIMITS.pdf_content_bytes:
                raise ValueError("a stream of this PDF is too large")
    except DamagedError:
        is_whole = False
    found.drawing += drawing
    if is_drawn:
        found.has_tiles = found.has_tiles or _TILES.search(header) is not None
        found.uses *= max(draws, 1)
        found.paints *= max(draws + paints, 1)
        found.largest = max(found.largest, drawing)
    else:
        found.draws = max(found.draws, draws)
    return is_whole


def _check_header(header: bytes) -> None:
    sides: dict[bytes, int] = {}
    for match in _SIDE.finditer(header):
        sides[match[1]] = max(sides.get(match[1], 0), int(match[2]))
    if len(sides) == 2 and sides[b"Width"] * sides[b"Height"] > LIMITS.picture_pixels:
        raise ValueError("a picture of this PDF is too large")
    if _TILES.search(header):
        steps = [abs(float(step)) for step in _STEP.findall(header)]
        scales = [abs(float(part)) for found in _MATRIX.findall(header) for part in found.split()]
        scale = max(scales, default=0.0 if b"/Matrix" in header else 1.0)
        if min(steps, default=0.0) * scale < LIMITS.pdf_pattern_step:
            raise ValueError("a pattern of this PDF has too many tiles")


def _check_picture(stream: Stream) -> None:
    """Look for the size in the picture itself, which its dictionary may deny."""
    for kind, size, most in _SIZES:
        if kind.search(stream.header):
            scans = bytes(stream.body).count(b"\xff\xda")
            for found in size.finditer(stream.body):
                half = len(found[1]) // 2
                sides = int.from_bytes(found[1][:half], "big"), int.from_bytes(found[1][half:], "big")
                if sides[0] * sides[1] > most or sides[0] * sides[1] * scans > LIMITS.jpeg_scans:
                    raise ValueError("a picture of this PDF is too large")


def _count(part: bytes, word: bytes) -> int:
    """Count a word between delimiters; far faster than a pattern in pictures, which have none."""
    count, at = 0, part.find(word)
    while at >= 0 and count <= LIMITS.pdf_form_uses:
        after = part[at + len(word) : at + len(word) + 1]
        count += part[max(at - 1, 0) : at] in _DELIMITERS and after in _DELIMITERS
        at = part.find(word, at + 1)
    return count


def _is_drawing(part: bytes) -> bool:
    """Return whether a part of a stream looks like drawing instructions, at a place that no file can foresee."""
    start = secrets.randbelow(max(len(part) - _SAMPLE, 0) + 1)
    return len(_OPERATOR.findall(part, start, start + _SAMPLE)) >= _OPERATORS


def _repeated(objects: bytes) -> int:
    """Return how often an array among these objects names the same object at most."""
    most = 1
    for array in _REFERENCES.finditer(objects):
        names = array[1].split(b"R")
        most = max(most, *Counter(name.strip() for name in names).values())
    return most
