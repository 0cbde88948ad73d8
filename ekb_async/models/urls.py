"""Signed URLs of invoice files, from `/api/openapi/v2/extension/INVOICE/url`.

A URL is valid for one hour. Its query grants access to the file, so a `repr` shows the URL without it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ekb_async.models.wire.coerce import EPOCH
from ekb_async.models.wire.fields import box, text
from ekb_async.models.wire.model import Model
from ekb_async.redaction.signed_urls import without_query

# A pattern that begins with a plain text is found several times as fast.
_EXPIRES = re.compile(r"Expires=(?<=[?&]Expires=)([0-9]{1,12})(?=[&#]|$)")
_ENDS = re.compile(r"[?&]e=([0-9]{1,12})(?=[&#]|$)")
_TOKEN = re.compile(r"[?&]token=")


def expiry(url: str) -> datetime | None:
    """Return when a signed URL expires, at UTC+8; None if its query does not contain a sensible time.

    That is `Expires` of the query, or `e` next to a `token`, in epoch seconds.
    """
    found = _EXPIRES.findall(url) or (_ENDS.findall(url) if _TOKEN.search(url) else [])
    try:
        return EPOCH + timedelta(seconds=int(found[-1])) if found and int(found[-1]) > 0 else None
    except OverflowError:
        return None


class InvoiceUrl(Model, frozen=True, eq=False):
    """The URL from which the file of an invoice can be downloaded."""

    shown: ClassVar = ("id", "file_name", "source", "expires_at")
    derived: ClassVar = ("expires_at",)

    id = text("id")
    """票据ID."""
    url = text("url")
    """图片地址."""
    thumb_url = text("thumbUrl")
    """图片缩略图. URL of a thumbnail; "" for PDF, OFD and XML."""
    source = text("source")
    """票据来源. How the invoice was imported, such as `ocr`."""
    file_name = text("fileName")
    region = box("region")
    """OCR识别范围. Left, top, right, bottom of the invoice on the image, in pixels."""

    @property
    def expires_at(self) -> datetime | None:
        """When `url` expires, at UTC+8; None if the URL does not contain it."""
        return expiry(self.url or "")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [*super().__rich_repr__(), ("url", without_query(self.url or ""))]
