"""Decode the body of each endpoint's successful reply into models.

Every function raises `ResponseError`, and nothing else, for a body that is not JSON or lacks its endpoint's wrapper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec import Raw

from ekb_async.errors import ResponseError
from ekb_async.models.checked import CheckedInvoice
from ekb_async.models.details import InvoiceDetail
from ekb_async.models.documents import Document, InvoiceRef
from ekb_async.models.files import Attachment, FileUrl
from ekb_async.models.ledger import LedgerInvoice
from ekb_async.models.ocr import OcrResult
from ekb_async.models.urls import InvoiceUrl, expiry
from ekb_async.models.verified import VerifyResult
from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import (
    MISSING,
    NOT_JSON,
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
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.source import Source, in_items
from ekb_async.models.wire.wire_structs import items_reader, wire_type
from ekb_async.protocol.limits import LIMITS
from ekb_async.redaction.masking import HiddenRepr

T = TypeVar("T")
M = TypeVar("M", bound=Model)

_NO_FILE_URLS_BYTES = 64
"""Longest body that is checked for being `{[]}` with spaces."""
_ERROR_MEMBERS = {"errorCode", "errorMessage", "errorMsg", "errorDetail", "errorDetails", "code", "message", "msg"}
_BESIDE_ERRORS = {"data", "value", "success", "requestId", "traceId", "time", "timestamp", "status", "error", "path"}

_read_urls = items_reader(wire_type(InvoiceUrl))
_read_lines = items_reader(wire_type(InvoiceDetail))
_read_ledger = items_reader(wire_type(LedgerInvoice))
_read_documents = items_reader(wire_type(Document))


class TokenGrant(HiddenRepr, msgspec.Struct, rename="camel"):
    """The reply of the token endpoints; `expire_time` is in epoch milliseconds.

    Only the token itself is required. The other fields are left as JSON, since they may hold anything.
    """

    access_token: str
    refresh_token: Raw = MISSING
    expire_time: Raw = MISSING
    corporation_id: Raw = MISSING


class _GrantReply(HiddenRepr, msgspec.Struct):
    value: TokenGrant


class Page(list[T]):
    """The entries of one reply to a search that has many pages."""

    total: int | None = None
    """Number of entries of all pages, as the vendor counts them; None if it does not say."""


def decode_grant(body: bytes) -> TokenGrant:
    """Decode the reply of the token endpoints: `{"value": {"accessToken", "refreshToken", "expireTime", ...}}`."""
    try:
        grant = msgspec.json.decode(body, type=_GrantReply).value
    except msgspec.ValidationError:
        raise ResponseError("the answer holds no access token") from None
    except NOT_JSON:
        raise ResponseError("the answer is not JSON", lost=True) from None
    if not grant.access_token:
        raise ResponseError("the answer holds no access token")
    return grant


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


def decode_ledger(object_id: str) -> Callable[[bytes], Page[LedgerInvoice]]:
    """Return a decoder of invoices in one part of the ledger: `{"count", "items": [...]}`, with flat entries."""

    def decode(body: bytes) -> Page[LedgerInvoice]:
        check_encoding(body)
        source = Source(body, in_items)
        found = (
            LedgerInvoice.in_object(object_id, wire, source, index) for index, wire in enumerate(_read_ledger(body))
        )
        return _page(body, found)

    return decode


def decode_documents(body: bytes) -> Page[Document]:
    """Decode a page of documents: `{"count", "items": [...]}`."""
    check_encoding(body)
    return _page(body, Document._all(_read_documents(body), Source(body, in_items)))


def decode_items(model: type[M]) -> Callable[[bytes], list[M]]:
    """Return a decoder of a list of models: `{"items": [...]}`."""
    read = items_reader(wire_type(model))

    def decode(body: bytes) -> list[M]:
        check_encoding(body)
        return model._all(read(body), Source(body, in_items))

    return decode


def decode_location(body: bytes) -> str:
    """Decode the address of a platform: `{"value": "https://..."}`."""
    address = coerce.text(value_of(member(document(body), "value")))
    if address is None or not address.startswith(("https://", "http://")):
        raise ResponseError("the reply has no address in `value`")
    return address


def decode_any(body: bytes) -> object:
    """Decode any JSON, with fractions as Decimal."""
    document(body)
    return value_of(body)


def may_be_error(result: object) -> bool:
    """Return whether the JSON of any call may be an error: a code with a text, and nothing else that says something."""
    if not isinstance(result, dict):
        return not isinstance(result, list)
    if "errorCode" in result:
        return True
    if not result.keys() <= _ERROR_MEMBERS | _BESIDE_ERRORS:
        return False
    inner = result.get("value") or result.get("data")
    if isinstance(inner, dict):
        return may_be_error(inner)
    return bool(result.get("code")) and any(result.get(name) for name in ("message", "msg", "errorMessage", "errorMsg"))


class _Counted(msgspec.Struct, gc=False):
    count: Raw = MISSING


_read_count = msgspec.json.Decoder(_Counted).decode


def _page(body: bytes, items: Iterable[T]) -> Page[T]:
    page = Page(items)
    try:
        page.total = coerce.whole(value_of(_read_count(body).count))
    except NOT_JSON:
        page.total = None
    return page


def _lists_invoices(body: bytes) -> bool:
    found = member(required_object(json_of(body), "value"), "invoices")
    return is_list(found) or (is_null(found) and found is not MISSING)


def _has_check_field(body: bytes) -> bool:
    names = members(required_object(json_of(body), "value")) if len(body) <= LIMITS.checked_reply_bytes else ()
    return any(name.startswith("inv") and not name.startswith(("invoices", "invoiceId")) for name in names)


def _texts(raw: Raw, names: tuple[str, ...]) -> dict[str, str]:
    found = members(raw)
    return {name: text for name in names if name in found and (text := coerce.text(value_of(found[name]))) is not None}
