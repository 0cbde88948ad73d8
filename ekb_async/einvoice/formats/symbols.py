"""QR codes in a gray picture, by zxing."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from ekb_async.einvoice import qr
from ekb_async.einvoice.libraries import library
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence

if TYPE_CHECKING:
    from PIL.Image import Image

_CORNER_RUNS = 5
_SMALL = 400 * 400
"""Pixels of a picture that has no room for too many corners."""


class Symbols(NamedTuple):
    """What the QR codes of a picture state, and whether there are others that may be of an invoice."""

    evidence: list[Evidence]
    has_unread: bool


def symbols(image: Image, *, binarizer: str = "LocalAverage") -> Symbols:
    """Return what the QR codes state that can be read in a gray picture as it is."""
    if image.width * image.height > _SMALL and _has_too_many_corners(image):
        return Symbols([], has_unread=True)
    zxing = library("zxingcpp")
    found = zxing.read_barcodes(
        image,
        formats=zxing.BarcodeFormat.QRCode,
        binarizer=getattr(zxing.Binarizer, binarizer),
        return_errors=True,
    )
    valid = [each for each in found if each.valid]
    texts = list(dict.fromkeys(each.text for each in valid))
    parsed = {text: qr.parse(text) for text in texts[: LIMITS.qr_symbols]}
    return Symbols(
        [evidence for evidence in parsed.values() if evidence],
        has_unread=len(parsed) < len(texts)
        or any(evidence is None and not qr.is_foreign(text) for text, evidence in parsed.items())
        or any(not _is_part(each, valid) for each in found if not each.valid),
    )


def _is_part(unread: Any, valid: list[Any]) -> bool:
    """Return whether a code that cannot be read lies on one that was read, of which it takes some corners."""
    x, y = _centre(unread)
    return any(
        min(place.x for place in _places(each)) <= x <= max(place.x for place in _places(each))
        and min(place.y for place in _places(each)) <= y <= max(place.y for place in _places(each))
        for each in valid
    )


def _centre(code: Any) -> tuple[float, float]:
    places = _places(code)
    return sum(place.x for place in places) / len(places), sum(place.y for place in places) / len(places)


def _places(code: Any) -> list[Any]:
    found = code.position
    return [found.top_left, found.top_right, found.bottom_right, found.bottom_left]


def _has_too_many_corners(image: Image) -> bool:
    """Return whether rows of a picture, which no file can foresee, cross too many corners of QR codes.

    zxing tries corners in threes, so a picture full of them would keep it busy for minutes. Noise has some too.
    """
    few = LIMITS.corner_rows
    if corners(image, few) <= LIMITS.qr_corners // 4:
        return False
    return corners(image, 4 * few) > 4 * LIMITS.qr_corners


def corners(image: Image, count: int) -> int:
    """Return about how many corners of QR codes so many rows of a picture cross, one in each band of it."""
    width, height = image.size
    band = max(height // count, 1)
    rows = [top + secrets.randbelow(band) for top in range(0, height - band + 1, band)]
    return sum(_corners_in(image.crop((0, row, width, row + 1)).tobytes()) for row in rows)


def _corners_in(row: bytes) -> int:
    """Count the runs of black and white in the proportions 1:1:3:1:1, with tolerance."""
    mean = sum(row) // max(len(row), 1)
    colours = row.translate(b"b" * (mean + 1) + b"w" * (255 - mean))
    runs = [len(run) for run in colours.replace(b"bw", b"b|w").replace(b"wb", b"w|b").split(b"|")]
    windows = zip(*(runs[skipped:] for skipped in range(_CORNER_RUNS)), strict=False)
    return sum(
        first + second + fourth + fifth < 2 * middle
        and middle < 2 * (first + second + fourth + fifth)
        and 4 * min(first, second, fourth, fifth) > middle > max(first, second, fourth, fifth)
        for first, second, middle, fourth, fifth in windows
    )
