"""Whether a page of a PDF may show an invoice besides those that were read on it.

A picture of the size of a QR code, a logo or a seal belongs to the invoice that the page shows; a larger one may be
another invoice. A page of text that names no invoice continues the one before it, such as a list of goods (销货清单).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import library
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.merge import invoices_of
from ekb_async.einvoice.model import Evidence, Source, Unit
from ekb_async.einvoice.page_text import legible_characters, may_name_others, names_a_receipt

_LARGE_AREA, _LARGE_SIDE = 15_000.0, 70.0
"""Square points, and points of the shorter side, of a picture that may show an invoice: a seal has 119 × 119."""
_COVERING = 0.85
"""Part of the page that a picture covers if the page shows nothing beside it."""
_DEEPEST = 8
_LEAST_TEXT = 20
"""Characters of a page that is a list or a remark; others may have no more than their number as text."""
_MOST_PATHS = 500
"""Paths that a table has, besides two for each character; characters may be drawn as paths."""


class PageObjects(msgspec.Struct):
    """The objects of a page, counted."""

    objects: int = 0
    paths: int = 0
    pictures: int = 0
    picture_area: float = 0.0
    large_pictures: int = 0
    """Those that do not cover the page."""
    covering_pictures: int = 0
    is_whole: bool = True
    """Whether all objects were counted."""

    @property
    def is_blank(self) -> bool:
        """Whether the page shows nothing."""
        return self.is_whole and not self.objects


def is_settled(text: str, evidence: list[Evidence], shown: PageObjects) -> bool:
    """Return whether a page shows no invoice besides those that this evidence is about."""
    invoices = [each for each in invoices_of([Unit(evidence)]) if each.is_certain]
    if not shown.is_whole or may_name_others(text, evidence, len(invoices)):
        return False
    if not invoices:
        return _is_continuation(text, shown)
    in_text = {key for each in evidence if each.source is Source.PDF_TEXT for key in keys(each)}
    if in_text:
        # Text over a picture may be that of a scanner, with wrong digits.
        is_confirmed = any(in_text.intersection(keys(each)) for each in evidence if each.source is not Source.PDF_TEXT)
        return not shown.large_pictures and (is_confirmed or not shown.covering_pictures)
    large = shown.large_pictures + shown.covering_pictures
    # A small picture beside it may be the code of the invoice, and the large one another invoice.
    return not large or large == shown.pictures <= len(invoices)


def _is_continuation(text: str, shown: PageObjects) -> bool:
    characters = legible_characters(text)
    return (
        characters >= _LEAST_TEXT
        and not names_a_receipt(text)
        and shown.picture_area < 2 * _LARGE_AREA
        and not shown.large_pictures
        and shown.paths < _MOST_PATHS + 2 * characters
    )


def objects_of(page: Any) -> PageObjects:
    """Return the objects of a page, those in forms included; annotations that draw something count as pictures."""
    raw = library("pypdfium2.raw")
    width, height = page.get_size()
    found = PageObjects()
    unit = (1.0, 0.0, 0.0, 1.0)
    for kind, sides in _walk(raw, page.raw, raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject, unit, 0):
        if found.objects >= LIMITS.pdf_objects:
            found.is_whole = False
            break
        found.objects += 1
        found.paths += kind == raw.FPDF_PAGEOBJ_PATH
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            _count_picture(found, sides, width * height)
    for sides in _annotations(raw, page.raw):
        found.objects += 1
        _count_picture(found, sides, width * height)
    return found


def _count_picture(found: PageObjects, sides: tuple[float, float], page_area: float) -> None:
    area = sides[0] * sides[1]
    found.pictures += 1
    found.picture_area += area
    if area >= _COVERING * page_area:
        found.covering_pictures += 1
    elif area >= _LARGE_AREA and min(sides) >= _LARGE_SIDE:
        found.large_pictures += 1


def _walk(
    raw: Any, parent: Any, count: Any, child: Any, outer: tuple[float, ...], depth: int
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield the kind of each object, and the lengths of its sides if it is a picture."""
    for index in range(count(parent)):
        each = child(parent, index)
        kind = raw.FPDFPageObj_GetType(each)
        if kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            inner = _product(_matrix(raw, each), outer)
            yield from _walk(raw, each, raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject, inner, depth + 1)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            a, b, c, d = _product(_matrix(raw, each), outer)
            yield kind, (math.hypot(a, b), math.hypot(c, d))
        else:
            yield kind, (0.0, 0.0)


def _matrix(raw: Any, each: Any) -> tuple[float, ...]:
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(each, ctypes.byref(matrix))
    return matrix.a, matrix.b, matrix.c, matrix.d


def _product(inner: tuple[float, ...], outer: tuple[float, ...]) -> tuple[float, ...]:
    """Return two matrices as one, without the parts that only move."""
    (a, b, c, d), (e, f, g, h) = inner, outer
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def _annotations(raw: Any, page: Any) -> Iterator[tuple[float, float]]:
    """Yield the sides of the annotations that show a picture of their own, such as stamps and signatures."""
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), LIMITS.pdf_annotations)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        try:
            if raw.FPDFAnnot_GetSubtype(annotation) in {raw.FPDF_ANNOT_STAMP, raw.FPDF_ANNOT_WIDGET}:
                box = raw.FS_RECTF()
                raw.FPDFAnnot_GetRect(annotation, ctypes.byref(box))
                yield abs(box.right - box.left), abs(box.top - box.bottom)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
