"""The vendor's endpoints as data: path, price, pace, how the body is built and how the reply is read.

Pure: nothing here waits, sends or depends on an HTTP client. A `Request` is an endpoint with its arguments filled in.
The transport adds the access token, so no request carries one.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from ekb_async.config import AppCredentials
from ekb_async.models import (
    Attachment,
    CheckedInvoice,
    Document,
    DocumentFiles,
    FileUrl,
    InvoiceDetail,
    InvoiceRef,
    InvoiceUrl,
    LedgerInvoice,
    Licence,
    OcrResult,
    Payer,
    Staff,
    VerifyResult,
)
from ekb_async.models.ledger import OBJECTS
from ekb_async.models.wire.envelope import entries, member, members
from ekb_async.models.wire.source import in_invoices, in_items
from ekb_async.protocol.decoding import (
    Page,
    TokenGrant,
    decode_any,
    decode_attachment,
    decode_checked,
    decode_details,
    decode_documents,
    decode_file_urls,
    decode_flow_invoices,
    decode_grant,
    decode_invoice_urls,
    decode_items,
    decode_ledger,
    decode_location,
    decode_ocr,
    decode_verify,
    may_be_error,
)
from ekb_async.redaction.masking import HiddenRepr

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_DOWNLOAD_URLS = 100
"""Attachments in one download-URL request, the vendor's limit."""
MAX_URL_LIFE = 1800
"""Seconds a download URL may stay valid, the vendor's limit."""
MAX_PAGE = 100
"""Entries of a page, and IDs or codes in one request to the free searches, the vendor's limit."""
DOCUMENT_TYPES = ("expense", "loan", "payment", "requisition", "custom", "receipt", "permit")
"""The vendor's types of documents."""
MAX_UPLOAD_BYTES = 30 * 1024 * 1024
"""Size of an uploaded file, the vendor's limit of 30 MB."""
UPLOAD_NAME_FORBIDS = '?\\/*<>:"|'
"""Characters that the vendor refuses in the name of an uploaded file."""

_REFRESH_POWER_CODE = "219904"


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint(Generic[T_co]):
    """One interface of the vendor; calls are limited to one a second if `paced`, and cost money if `billed`."""

    name: str
    path: str
    read: Callable[[bytes], T_co]
    method: str = "POST"
    paced: bool = False
    billed: bool = False
    needs_token: bool = True
    may_be_empty: bool = False
    """Whether a reply with status 201 to 299 and without a body is a result, which is None."""
    finds_nothing: Callable[[Any], bool] = operator.not_
    """Whether a result holds nothing that was not in the request; an error may then stand beside it in the reply."""
    entries_in: Callable[[Any], list[msgspec.Raw]] = entries
    """The entries in a reply, for an endpoint that returns a list."""


class Upload(HiddenRepr, msgspec.Struct, frozen=True):
    """A file to send as form data."""

    name: str
    content: bytes


class Request(HiddenRepr, msgspec.Struct, Generic[T_co], frozen=True):
    """An endpoint with the arguments of one call.

    `file_url` is the signed URL in the body, if there is one, because a reply may quote it.
    """

    endpoint: Endpoint[T_co]
    path: str
    body: bytes | None = None
    query: tuple[tuple[str, str], ...] = ()
    upload: Upload | None = None
    file_url: str = ""


def _has_no_invoice(result: OcrResult) -> bool:
    # A loop, since this runs for every reply, and a generator costs more than checking one invoice.
    for invoice in result.invoices:  # noqa: SIM110
        if invoice.type or invoice.details.total is not None:
            return False
    return True


def _has_no_kind(result: VerifyResult) -> bool:
    for invoice in result.invoices:  # noqa: SIM110
        if invoice.entity_id:
            return False
    return True


def _has_no_url(links: Sequence[InvoiceUrl]) -> bool:
    return not any(link.url for link in links)


def _has_no_line(lines: Sequence[InvoiceDetail]) -> bool:
    return not any(line.name or line.amount is not None for line in lines)


def _has_no_invoices(results: dict[str, list[InvoiceRef]]) -> bool:
    return not any(reference.invoice_id for references in results.values() for reference in references)


def _repeats_the_request(checked: CheckedInvoice) -> bool:
    # Code, number, date and amount may be those of the request.
    return not (
        checked.seller or checked.buyer or checked.total or checked.tax or checked.item_data or checked.raw_data
    )


def _has_no_id(items: Sequence[LedgerInvoice | Document | DocumentFiles | Staff]) -> bool:
    return not any(item.id for item in items)


def _has_no_code(licences: Sequence[Licence]) -> bool:
    return not any(licence.code for licence in licences)


def _has_no_name(payers: Sequence[Payer]) -> bool:
    return not any(payer.name for payer in payers)


def _in_documents(reply: Any) -> list[msgspec.Raw]:
    return [entry for invoices in members(member(reply, "value")).values() for entry in entries(invoices)]


TOKEN = Endpoint("token", "/api/openapi/v1/auth/getAccessToken", decode_grant, needs_token=False)
REFRESH = Endpoint("refresh", "/api/openapi/v2/auth/refreshToken", decode_grant, needs_token=False)
OCR = Endpoint(
    "ocr",
    "/api/openapi/v2/invoice/processImageByFileUrl",
    decode_ocr,
    paced=True,
    billed=True,
    finds_nothing=_has_no_invoice,
    entries_in=in_invoices,
)
VERIFY = Endpoint(
    "verify",
    "/api/openapi/v2/invoice/multiple_items",
    decode_verify,
    paced=True,
    billed=True,
    finds_nothing=_has_no_kind,
    entries_in=in_items,
)
VERIFY_BY_ID = Endpoint(
    "verify_by_id",
    "/api/openapi/v2/invoice/validateByInvoiceId",
    decode_checked,
    paced=True,
    billed=True,
    finds_nothing=_repeats_the_request,
)
VERIFY_BY_FIELDS = dataclasses.replace(VERIFY_BY_ID, name="verify_by_fields", path="/api/openapi/v2/invoice/validate")
INVOICE_URLS = Endpoint(
    "invoice_url",
    "/api/openapi/v2/extension/INVOICE/url",
    decode_invoice_urls,
    finds_nothing=_has_no_url,
    entries_in=in_items,
)
DETAILS = Endpoint(
    "invoice_details",
    "/api/openapi/v2/extension/INVOICE/object/invoice/{}/detail",
    decode_details,
    finds_nothing=_has_no_line,
    entries_in=in_items,
)
DETAILS_MANY = Endpoint(
    "invoice_details_many",
    "/api/openapi/v2/extension/INVOICE/object/invoice/detailBatch",
    decode_details,
    finds_nothing=_has_no_line,
    entries_in=in_items,
)
FLOW_INVOICES = Endpoint(
    "flow_invoices",
    "/api/openapi/v2/extension/flow/INVOICE/search",
    decode_flow_invoices,
    finds_nothing=_has_no_invoices,
    entries_in=_in_documents,
)
UPLOAD = Endpoint("upload", "/api/openapi/v2/attachment/upload", decode_attachment)
LEDGER = {
    object_id: Endpoint(
        "ledger",
        f"/api/openapi/v2/extension/INVOICE/object/{object_id}/search",
        decode_ledger(object_id),
        finds_nothing=_has_no_id,
        entries_in=in_items,
    )
    for object_id in OBJECTS
}
"""One endpoint for each part of the ledger."""
DOCUMENTS = Endpoint(
    "documents",
    "/api/openapi/v1.1/docs/getApplyList",
    decode_documents,
    method="GET",
    finds_nothing=_has_no_id,
    entries_in=in_items,
)
DOCUMENT_FILES = Endpoint(
    "document_files",
    "/api/openapi/v1/flowDetails/attachment",
    decode_items(DocumentFiles),
    finds_nothing=_has_no_id,
    entries_in=in_items,
)
STAFF = Endpoint(
    "staff",
    "/api/openapi/v1/staffs/getStaffIds",
    decode_items(Staff),
    finds_nothing=_has_no_id,
    entries_in=in_items,
)
LICENCES = Endpoint(
    "licences",
    "/api/openapi/v1/charge/powers/list",
    decode_items(Licence),
    method="GET",
    finds_nothing=_has_no_code,
    entries_in=in_items,
)
PAYERS = Endpoint(
    "payers",
    "/api/openapi/v2/payerinfo/list",
    decode_items(Payer),
    method="GET",
    finds_nothing=_has_no_name,
    entries_in=in_items,
)
LOCATION = Endpoint("location", "/api/openapi/v2/location", decode_location, method="GET", needs_token=False)
DOWNLOAD_URLS = Endpoint("download_urls", "/api/openapi/v2/attachment/downloadurls", decode_file_urls)


def get_token(credentials: AppCredentials) -> Request[TokenGrant]:
    return _request(TOKEN, {"appKey": credentials.app_key, "appSecurity": credentials.app_security})


def refresh_token(access_token: str, refresh_token: str) -> Request[TokenGrant]:
    query = (("accessToken", access_token), ("refreshToken", refresh_token), ("powerCode", _REFRESH_POWER_CODE))
    return Request(REFRESH, REFRESH.path, query=query)


def ocr(file_url: str) -> Request[OcrResult]:
    return _request(OCR, {"fileUrl": file_url}, file_url)


def verify(file_url: str, *, file_name: str, staff_id: str, is_ex_ocr: bool) -> Request[VerifyResult]:
    body = {"fileName": file_name, "fileUrl": file_url, "staffId": staff_id, "isExOcr": is_ex_ocr}
    return _request(VERIFY, body, file_url)


def verify_by_id(invoice_id: str) -> Request[CheckedInvoice]:
    return _request(VERIFY_BY_ID, {"invoiceId": invoice_id})


def verify_by_fields(
    code: str, number: str, date: str, amount: str | None, check_code: str | None
) -> Request[CheckedInvoice]:
    body = {"fpdm": code, "fphm": number, "kprq": date}
    if amount is not None:
        body["fpje"] = amount
    if check_code is not None:
        body["jym"] = check_code
    return _request(VERIFY_BY_FIELDS, body)


def invoice_urls(invoice_ids: Sequence[str]) -> Request[list[InvoiceUrl]]:
    return _request(INVOICE_URLS, {"invoiceId": invoice_ids})


def details(invoice_id: str) -> Request[list[InvoiceDetail]]:
    return Request(DETAILS, DETAILS.path.format(path_segment(invoice_id)))


def details_many(invoice_ids: Sequence[str]) -> Request[list[InvoiceDetail]]:
    return _request(DETAILS_MANY, {"invoiceIds": invoice_ids})


def flow_invoices(by: Literal["code", "id"], keys: Sequence[str]) -> Request[dict[str, list[InvoiceRef]]]:
    return _request(FLOW_INVOICES, {"type": by, "codeOrIds": keys})


def upload(name: str, content: bytes) -> Request[Attachment]:
    return Request(UPLOAD, UPLOAD.path, upload=Upload(name, content))


def download_urls(attachments: Iterable[Attachment], expires_in: int) -> Request[list[FileUrl]]:
    return _request(DOWNLOAD_URLS, [{"id": a.id, "key": a.key, "expiration": expires_in} for a in attachments])


def ledger_by_ids(object_id: str, ids: Sequence[str]) -> Request[Page[LedgerInvoice]]:
    return _request(LEDGER[object_id], {"ids": ids})


def ledger_by_codes(object_id: str, codes: Sequence[str]) -> Request[Page[LedgerInvoice]]:
    return _request(LEDGER[object_id], {"codes": codes})


def ledger_page(object_id: str, index: int, count: int) -> Request[Page[LedgerInvoice]]:
    return _request(LEDGER[object_id], {"index": index, "count": count})


def documents(query: Iterable[tuple[str, str]]) -> Request[Page[Document]]:
    return Request(DOCUMENTS, DOCUMENTS.path, query=tuple(query))


def document_files(ids: Sequence[str]) -> Request[list[DocumentFiles]]:
    return _request(DOCUMENT_FILES, {"flowIds": ids})


def staff(by: str, keys: Sequence[str]) -> Request[list[Staff]]:
    return _request(STAFF, {"type": by, "conditionIds": keys})


def licences() -> Request[list[Licence]]:
    return Request(LICENCES, LICENCES.path)


def payers() -> Request[list[Payer]]:
    return Request(PAYERS, PAYERS.path)


def location(corporation_id: str) -> Request[str]:
    return Request(LOCATION, LOCATION.path, query=(("corpId", corporation_id),))


def any_request(
    method: str, path: str, query: Iterable[tuple[str, str]], body: bytes | None, *, paced: bool, billed: bool
) -> Request[object]:
    """Return a request to an interface that is not declared here; its result is the JSON of the reply."""
    endpoint = Endpoint(
        "request",
        path,
        decode_any,
        method=method,
        paced=paced,
        billed=billed,
        may_be_empty=True,
        finds_nothing=may_be_error,
        entries_in=lambda _: [],
    )
    return Request(endpoint, path, body=body, query=tuple(query))


def path_segment(text: str) -> str:
    """Return the text percent-encoded as one segment of a path, also if it is `.` or `..`."""
    encoded = quote(text, safe=":")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded


def _request(endpoint: Endpoint[T], body: object, file_url: str = "") -> Request[T]:
    return Request(endpoint, endpoint.path, body=msgspec.json.encode(body), file_url=file_url)
