"""How the body of each call's successful reply becomes models.

Every function raises `ResponseError`, and nothing else, for a body that is no JSON or lacks the wrapping of its call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models import readings
from ekb_async.models.checked import CheckedInvoice
from ekb_async.models.details import InvoiceDetail
from ekb_async.models.documents import InvoiceRef
from ekb_async.models.envelope import (
    NOT_JSON,
    as_list,
    check_encoding,
    document,
    entries,
    members,
    required_list,
    required_object,
    value_decoder,
    value_of,
)
from ekb_async.models.files import Attachment, FileUrl
from ekb_async.models.model import Lines, wire_type
from ekb_async.models.ocr import OcrResult
from ekb_async.models.urls import InvoiceUrl, expiry
from ekb_async.models.verified import VerifyResult

_Reply: Any = msgspec.defstruct("_Reply", [("items", list[wire_type(InvoiceDetail)])])  # type: ignore[misc]
_decode_lines = value_decoder(_Reply)


def decode_ocr(body: bytes) -> OcrResult:
    """OCR: `{"value": {"platform", "invoices": [...]}}`."""
    return OcrResult._from(document(body))


def decode_verify(body: bytes) -> VerifyResult:
    """OCR + verification: `{"items": [{"master", "details", "message", "status", "ischeck"}]}`."""
    return VerifyResult._from(document(body))


def decode_checked(body: bytes) -> CheckedInvoice:
    """Verification by ID or by fields: `{"value": {"invcode", ...}}`."""
    return CheckedInvoice._from(document(body))


def decode_invoice_urls(body: bytes) -> list[InvoiceUrl]:
    """File URLs: `{"items": [{"id", "url", ...}]}`, in the order of the reply."""
    return [InvoiceUrl._from(item) for item in required_list(document(body), "items")]


def decode_details(body: bytes) -> list[InvoiceDetail]:
    """Lines of one invoice or of many: `{"items": [...]}`; those of many are told apart by `invoice_id`.

    All are read in one pass that skips each line's schema; a list with an entry or a value that is not as documented
    takes a slower way, line by line.
    """
    check_encoding(body)
    try:
        wires = _decode_lines(body).items
    except NOT_JSON:
        return [InvoiceDetail._from(item) for item in required_list(document(body), "items")]
    line = Lines(body, _cut_lines).line
    return [InvoiceDetail._of(wire, partial(line, index)) for index, wire in enumerate(wires)]


def _cut_lines(body: bytes) -> list[Raw]:
    return required_list(Raw(body), "items")


def decode_flow_invoices(body: bytes) -> dict[str, list[InvoiceRef]]:
    """Invoices by document: `{"value": {"<code or id>": [{"invoiceId", ...}]}}`."""
    found = members(required_object(document(body), "value"))
    return {name: [InvoiceRef._from(entry) for entry in entries(listed)] for name, listed in found.items()}


def decode_attachment(body: bytes) -> Attachment:
    """An upload: `{"value": {"key", "fileId", "fileName"}}`."""
    read = _texts(required_object(document(body), "value"))
    if not read.get("fileId") or not read.get("key"):
        raise ResponseError("the reply to the upload has no `fileId` or no `key`")
    return Attachment(id=read["fileId"], key=read["key"])


def decode_file_urls(body: bytes) -> list[FileUrl]:
    """Download URLs: a bare list of `{"id", "key", "url", "thumbUrl"}`; an entry without a URL is left out."""
    return [
        FileUrl(
            id=read.get("id", ""),
            key=read.get("key", ""),
            url=read["url"],
            thumb_url=read.get("thumbUrl", ""),
            expires_at=expiry(read["url"]),
            raw=bytes(entry),
        )
        for entry in as_list(document(body), "the reply with download URLs is no list")
        if (read := _texts(entry)).get("url")
    ]


def _texts(raw: Raw) -> dict[str, str]:
    read = {name: readings.text(value_of(value)) for name, value in members(raw).items()}
    return {name: words for name, words in read.items() if words is not None}
