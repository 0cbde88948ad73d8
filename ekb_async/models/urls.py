"""Signed URLs of invoices' files, from `/api/openapi/v2/extension/INVOICE/url`.

They are valid for one hour. Who has the query has the file, so a `repr` shows the URL without it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ekb_async.models.wire.coerce import EPOCH
from ekb_async.models.wire.fields import box, text
from ekb_async.models.wire.model import Model
from ekb_async.redaction.masking import without_query

_EXPIRES = re.compile(r"[?&]Expires=([0-9]{1,12})(?=[&#]|$)")
_ENDS = re.compile(r"[?&]e=([0-9]{1,12})(?=[&#]|$)")
_TOKEN = re.compile(r"[?&]token=")


def expiry(url: str) -> datetime | None:
    """When a signed URL dies, at UTC+8: `Expires` of its query, or `e` beside a `token`, in epoch seconds; None if that
    is no sensible time.
    """
    found = _EXPIRES.findall(url) or (_ENDS.findall(url) if _TOKEN.search(url) else [])
    try:
        return EPOCH + timedelta(seconds=int(found[-1])) if found and int(found[-1]) > 0 else None
    except OverflowError:
        return None


class InvoiceUrl(Model, frozen=True, eq=False):
    """Where the file of an invoice can be fetched."""

    shown: ClassVar = ("id", "file_name", "source", "expires_at")
    derived: ClassVar = ("expires_at",)

    id = text("id")
    url = text("url")
    thumb_url = text("thumbUrl")
    """A small picture; "" for PDF, OFD and XML."""
    source = text("source")
    """How the invoice came in, such as `ocr`."""
    file_name = text("fileName")
    region = box("region")
    """Where the invoice is on the image."""

    @property
    def expires_at(self) -> datetime | None:
        """When `url` dies, at UTC+8; None if it does not say."""
        return expiry(self.url or "")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [*super().__rich_repr__(), ("url", without_query(self.url or ""))]
