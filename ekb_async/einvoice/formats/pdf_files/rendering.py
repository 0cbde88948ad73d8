"""A page of a PDF as a gray picture. PDFium is asked to pause between objects, so that a page cannot take for ever."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from ekb_async.einvoice.libraries import library
from ekb_async.einvoice.limits import LIMITS

_WHITE = 0xFFFFFFFF


def rendered(page: Any, scale: float, *, top_left: float = 1.0) -> Any:
    """Return a page, or the part `top_left` of its width and height, at so many pixels per point.

    Huge pages are rendered smaller. Raises `ValueError` if the page has too much to draw.
    """
    pdfium, raw = library("pypdfium2"), library("pypdfium2.raw")
    width, height = page.get_size()
    most = (LIMITS.page_pixels / max(width * height, 1)) ** 0.5
    scale = min(scale, most, LIMITS.picture_side / max(width, height, 1))
    size = max(int(width * scale), 1), max(int(height * scale), 1)
    part = max(int(size[0] * top_left), 1), max(int(size[1] * top_left), 1)
    bitmap = pdfium.PdfBitmap.new_native(*part, raw.FPDFBitmap_Gray)
    try:
        raw.FPDFBitmap_FillRect(bitmap, 0, 0, *part, _WHITE)
        _draw(raw, bitmap, page, size)
        return bitmap.to_pil().copy()
    finally:
        bitmap.close()


def _draw(raw: Any, bitmap: Any, page: Any, size: tuple[int, int]) -> None:
    end = time.thread_time() + LIMITS.render_seconds
    pause = raw.IFSDK_PAUSE(version=1)
    # PDFium calls it between objects; the attribute keeps the callback alive.
    pause.NeedToPauseNow = type(pause.NeedToPauseNow)(lambda _: time.thread_time() > end)
    flags = raw.FPDF_GRAYSCALE | raw.FPDF_NO_CATCH
    state = raw.FPDF_RenderPageBitmap_Start(bitmap, page, 0, 0, *size, 0, flags, ctypes.byref(pause))
    raw.FPDF_RenderPage_Close(page)
    if state == raw.FPDF_RENDER_TOBECONTINUED:
        raise ValueError("this page has too much to draw")
