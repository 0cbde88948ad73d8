"""Pictures: photos and scans, of which the QR codes are read.

A symbol can be small, turned or noisy, so a picture is searched in up to seven ways, cheap ones first, until an invoice
is found. Text in pictures is not read: what the QR codes do not say, OCR may.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ekb_async.einvoice.formats.symbols import Symbols, symbols
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import heif_library, is_installed, library
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence
from ekb_async.einvoice.progress import Progress, UnusableError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_ANGLES = (45, 30, 60, 15)
_TURNED_SIDE = 1600
"""Longest side of a picture that is turned, since zxing finds symbols at all but a few angles by itself."""
_filters = threading.Lock()
"""Held while the filters of warnings are changed, which belong to all threads."""
_MIDDLE = 128
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
"""Some cameras and scanners leave out the end, which does not matter."""
_SCAN = b"\xff\xda"
"""Begins a scan of a JPEG; a progressive one has about ten."""
_GRAY, _WHITE = "L", 255
_DAMAGED = "the picture is damaged"


def can_read() -> bool:
    """Return whether the libraries for pictures are installed."""
    return is_installed()


def read_picture(data: bytes, progress: Progress) -> Iterator[list[Evidence]]:
    """Yield what the QR codes of a photo or scan state; of a TIFF, those of each page.

    Raises `MissingLibraryError` if a library is missing, `UnusableError` for a damaged picture, and `ValueError` for
    one that is too large.
    """
    library("zxingcpp")
    lacks_end = data.startswith(_JPEG) and data.rfind(_JPEG_END) < data.rfind(_SCAN)
    image = _opened(data + _JPEG_END if lacks_end else data)
    _check_scans(image, data)
    gray = _decoded(image)
    if lacks_end and _is_cut_off(gray):
        raise UnusableError(_DAMAGED)
    yield _of_picture(gray, progress)
    if image.format == "TIFF":
        yield from _further_pages(image, progress)
    elif image.format != "MPO" and getattr(image, "is_animated", False):
        progress.leave_out()


def _is_cut_off(gray: Image) -> bool:
    """Return whether the last row of a JPEG without an end was not in the file; it is then of a middle gray."""
    row = gray.crop((0, gray.height - 1, gray.width, gray.height)).tobytes()
    return _MIDDLE - 2 <= min(row) <= max(row) <= _MIDDLE + 2


def _check_scans(image: Any, data: bytes) -> None:
    scans = data.count(_SCAN) if image.format in {"JPEG", "MPO"} else 0
    if scans * image.width * image.height > LIMITS.jpeg_scans:
        raise ValueError("this picture has too many scans")


def _further_pages(image: Any, progress: Progress) -> Iterator[list[Evidence]]:
    for page in range(1, LIMITS.tiff_pages + 1):
        progress.check()
        try:
            image.seek(page)
        except EOFError:
            return
        if page < LIMITS.tiff_pages:
            yield _of_picture(_decoded(image), progress)
    progress.leave_out()


def read_heif(data: bytes, progress: Progress) -> Iterator[list[Evidence]]:
    """Yield what the QR codes of a HEIC photo state. Raises as `read_picture` does."""
    library("zxingcpp")
    open_heif = heif_library().open_heif
    try:
        heif = open_heif(io.BytesIO(data))
        if len(heif) > 1:
            progress.leave_out()
        _check_size(heif.size, bands=3)
        image = heif.to_pillow()
    except (OSError, RuntimeError, EOFError, SyntaxError):
        raise UnusableError(_DAMAGED) from None
    yield _of_picture(_gray(image), progress)


def read_small(data: bytes) -> list[Evidence]:
    """Return what the QR codes of a clean picture state, which an OFD file or a page contains."""
    return symbols(_decoded(_opened(data))).evidence


def _of_picture(image: Image, progress: Progress) -> list[Evidence]:
    found = search(image, progress)
    if found.has_unread or not any(map(keys, found.evidence)):
        progress.leave_out()
    return found.evidence


def search(image: Image, progress: Progress) -> Symbols:
    """Return what the QR codes of a gray picture state, in whatever way the first one is found.

    If others are seen there that cannot be read, the other ways are tried as well.
    """
    evidence: list[Evidence] = []
    for attempt, binarizer in _attempts(image, progress):
        found = symbols(attempt, binarizer=binarizer)
        new = [each for each in found.evidence if each not in evidence]
        evidence += new
        if new and not found.has_unread:
            return Symbols(evidence, has_unread=False)
        if evidence and progress.is_short:
            break
        progress.check()
    return Symbols(evidence, has_unread=True)


def _attempts(image: Image, progress: Progress) -> Iterator[tuple[Image, str]]:
    """Yield the picture in the ways in which it is searched; in fewer ones if others before it took their time."""
    from PIL.Image import Resampling

    yield image, "LocalAverage"
    width, height = image.size
    if max(width, height) <= LIMITS.picture_side // 2:
        yield image.resize((width * 2, height * 2), Resampling.BICUBIC), "LocalAverage"
    yield image, "GlobalHistogram"
    if progress.is_short:
        return
    image.thumbnail((_TURNED_SIDE, _TURNED_SIDE))
    for angle in _ANGLES:
        yield image.rotate(angle, Resampling.BILINEAR, expand=True, fillcolor=_WHITE), "LocalAverage"


def _opened(data: bytes) -> Any:
    images = library("PIL.Image")
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged tags, and of sizes, which are checked when it is decoded
        try:
            return images.open(io.BytesIO(data), formats=_FORMATS)
        except (OSError, SyntaxError, EOFError):
            raise UnusableError(_DAMAGED) from None


def _decoded(image: Any) -> Image:
    """Return a picture in gray, at the size at which it is searched.

    It is not turned as its EXIF data ask, since zxing reads turned and mirrored codes as well.
    """
    side = LIMITS.picture_side
    if image.format in {"JPEG", "MPO"} and not image.info.get("progressive"):
        _check_size(image.size, reduced=max(image.size) > 2 * side)
        image.draft(_GRAY, (side, side))
    _check_size(image.size, bands=len(image.getbands()))
    try:
        image.load()
    except (OSError, SyntaxError, EOFError):
        raise UnusableError(_DAMAGED) from None
    return _gray(image)


def _check_size(size: tuple[int, int], *, bands: int = 1, reduced: bool = False) -> None:
    pixels = size[0] * size[1]
    if pixels > LIMITS.picture_pixels * (2 if reduced else 1) or pixels * bands > LIMITS.picture_bytes:
        raise ValueError("this picture is too large")


def _gray(image: Any) -> Image:
    """Return a picture in gray at no more than the side that is searched; what is transparent becomes white."""
    side = (LIMITS.picture_side, LIMITS.picture_side)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image.thumbnail(side)
        image = image.convert("RGBA")
        white = library("PIL.Image").new("RGBA", image.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        image = library("PIL.Image").alpha_composite(white, image)
    if image.mode.startswith("I"):
        image = image.point(lambda value: value * (1 / 256))  # of 16 bits
    gray: Image = image.convert(_GRAY)
    gray.thumbnail(side)
    return gray
