"""Decode the body of each endpoint's successful reply into models.

Every function raises `ResponseError`, and nothing else, for a body that is not JSON or lacks its endpoint's wrapper.
"""

from __future__ import annotations

from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models.checked import CheckedInvoice
from ekb_async.models.details import InvoiceDetail
from ekb_async.models.documents import InvoiceRef
from ekb_async.models.files import Attachment, FileUrl
from ekb_async.models.ocr import OcrResult
from ekb_async.models.urls import InvoiceUrl, expiry
from ekb_async.models.verified import VerifyResult
from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import (
    MISSING,
    as_list,
    check_count,
    check_encoding,
    document,
    entries,
    is_list,
    is_null,
    json_of,
    member,
    members,
    required_object,
    value_of,
)
from ekb_async.models.wire.source import Source, in_items
from ekb_async.models.wire.wire_structs import items_reader, wire_type
from ekb_async.protocol.limits import LIMITS

_NO_FILE_URLS_BYTES = 64
"""Longest body that is checked for being `{[]}` with spaces."""
_ERROR_MEMBERS = {"errorCode", "errorMessage", "errorMsg", "errorDetail", "errorDetails", "code", "message", "msg"}

_read_urls = items_reader(wire_type(InvoiceUrl))
_read_lines = items_reader(wire_type(InvoiceDetail))


def decode_ocr(body: bytes) -> OcrResult:
    """Decode an OCR reply: `{"value": {"platform", "invoices": [...]}}`; `null` for `invoices` is an empty list."""
    check_encoding(body)
    result = OcrResult._from(body)
    if not result.invoices and not _lists_invoices(body):
        raise ResponseError("the reply has no list in `value.invoices`")
    return result


def decode_verify(body: bytes) -> VerifyResult:
    """Decode OCR with verification: `{"items": [{"master", "details", "message", "status", "ischeck"}]}`."""
    check_encoding(body)
    return VerifyResult._from(body)


def decode_checked(body: bytes) -> CheckedInvoice:
    """Decode verification by ID or by fields: `{"value": {"invcode", ...}}`.

    `value` has at least one `inv…` field; `invoices` and `invoiceId` do not count.
    """
    check_encoding(body)
    checked = CheckedInvoice._from(body)
    if not checked.number and not _has_check_field(body):
        raise ResponseError("the reply has no `inv…` field in `value`")
    return checked


def decode_invoice_urls(body: bytes) -> list[InvoiceUrl]:
    """Decode file URLs of invoices: `{"items": [{"id", "url", ...}]}`, in the order of the reply."""
    check_encoding(body)
    return InvoiceUrl._all(_read_urls(body), Source(body, in_items))


def decode_details(body: bytes) -> list[InvoiceDetail]:
    """Decode the lines of one invoice or of many: `{"items": [...]}`; `invoice_id` tells which invoice a line is of.

    The schema in each line, most of the reply, is skipped.
    """
    check_encoding(body)
    return InvoiceDetail._all_flat(_read_lines(body), Source(body, in_items))


def decode_flow_invoices(body: bytes) -> dict[str, list[InvoiceRef]]:
    """Decode invoices by document: `{"value": {"<code or id>": [{"invoiceId", ...}]}}`; `null` is an empty list."""
    found = members(required_object(document(body), "value"))
    check_count(found)
    listed = {name: raw for name, raw in found.items() if is_list(raw) or (is_null(raw) and name not in _ERROR_MEMBERS)}
    if found and not any(map(is_list, listed.values())) and len(listed) < len(found):
        raise ResponseError("the reply has no lists in `value`")
    references = {name: entries(raw) for name, raw in listed.items()}
    check_count([entry for each in references.values() for entry in each])
    return {name: [InvoiceRef._from(entry) for entry in each] for name, each in references.items()}


def decode_attachment(body: bytes) -> Attachment:
    """Decode the reply to an upload: `{"value": {"key", "fileId", "fileName"}}`."""
    read = _texts(required_object(document(body), "value"), ("fileId", "key"))
    if not read.get("fileId") or not read.get("key"):
        raise ResponseError("the reply to the upload has no `fileId` or no `key`")
    return Attachment(id=read["fileId"], key=read["key"])


def decode_file_urls(body: bytes) -> list[FileUrl]:
    """Decode download URLs: a bare list of `{"id", "key", "url", "thumbUrl"}`; entries without a URL are left out.

    If nothing was found the vendor sends `[]`, or `{[]}`, which is not JSON.
    """
    if len(body) <= _NO_FILE_URLS_BYTES and b"".join(body.split()) == b"{[]}":
        return []
    return [
        FileUrl(
            id=read.get("id", ""),
            key=read.get("key", ""),
            url=read["url"],
            thumb_url=read.get("thumbUrl", ""),
            expires_at=expiry(read["url"]),
            raw=bytes(entry),
        )
        for entry in as_list(document(body), "the reply with download URLs is not a list")
        if (read := _texts(entry, ("id", "key", "url", "thumbUrl"))).get("url")
    ]


def _lists_invoices(body: bytes) -> bool:
    found = member(required_object(json_of(body), "value"), "invoices")
    return is_list(found) or (is_null(found) and found is not MISSING)


def _has_check_field(body: bytes) -> bool:
    names = members(required_object(json_of(body), "value")) if len(body) <= LIMITS.checked_reply_bytes else ()
    return any(name.startswith("inv") and not name.startswith(("invoices", "invoiceId")) for name in names)


def _texts(raw: Raw, names: tuple[str, ...]) -> dict[str, str]:
    found = members(raw)
    return {name: text for name in names if name in found and (text := coerce.text(value_of(found[name]))) is not None}
