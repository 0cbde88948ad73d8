"""Mapping methods and paths to interfaces."""

from __future__ import annotations

import re
from urllib.parse import unquote

from ekb_async.sandbox.vendor.exchange import RefusedError

PATHS = {
    "token": ("POST", "/api/openapi/v1/auth/getAccessToken"),
    "refresh": ("POST", "/api/openapi/v2/auth/refreshToken"),
    "ocr": ("POST", "/api/openapi/v2/invoice/processImageByFileUrl"),
    "verify": ("POST", "/api/openapi/v2/invoice/multiple_items"),
    "invoice_url": ("POST", "/api/openapi/v2/extension/INVOICE/url"),
    "invoice_details_many": ("POST", "/api/openapi/v2/extension/INVOICE/object/invoice/detailBatch"),
    "verify_by_id": ("POST", "/api/openapi/v2/invoice/validateByInvoiceId"),
    "verify_by_fields": ("POST", "/api/openapi/v2/invoice/validate"),
    "flow_invoices": ("POST", "/api/openapi/v2/extension/flow/INVOICE/search"),
    "upload": ("POST", "/api/openapi/v2/attachment/upload"),
    "download_urls": ("POST", "/api/openapi/v2/attachment/downloadurls"),
    "documents": ("GET", "/api/openapi/v1.1/docs/getApplyList"),
    "document_files": ("POST", "/api/openapi/v1/flowDetails/attachment"),
    "staff": ("POST", "/api/openapi/v1/staffs/getStaffIds"),
    "licences": ("GET", "/api/openapi/v1/charge/powers/list"),
    "payers": ("GET", "/api/openapi/v2/payerinfo/list"),
    "location": ("GET", "/api/openapi/v2/location"),
}
CALL_NAMES = frozenset(PATHS) | {"invoice_details", "ledger", "file"}
FILES = "/files/"
OPEN_CALLS = frozenset({"token", "refresh", "location", "file", ""})
"""Calls without a check of the access token (the refresh has its own); "" is an unknown path."""

_CALL_OF_PATH = {path: call for call, (_, path) in PATHS.items()}
_DETAIL = re.compile(r"/api/openapi/v2/extension/INVOICE/object/invoice/([^/]+)/detail")
_LEDGER = re.compile(r"/api/openapi/v2/extension/INVOICE/object/([^/]+)/search")


def call_of(path: str) -> str:
    """Return the name of the interface with this percent-encoded path, "" if there is none."""
    call = _CALL_OF_PATH.get(path)
    if call is not None:
        return call
    if path.startswith(FILES):
        return "file"
    if _DETAIL.fullmatch(path):
        return "invoice_details"
    return "ledger" if _LEDGER.fullmatch(path) else ""


def check_method(call: str, method: str) -> None:
    """Raise 404 for an unknown path and 405 for a wrong method."""
    if not call:
        raise RefusedError(404, "Not Found")
    wanted = "GET" if call == "file" else PATHS.get(call, ("POST", ""))[0]
    if method != wanted:
        raise RefusedError(405, "Method Not Allowed", headers={"Allow": wanted})


def invoice_id_of(path: str) -> str:
    """Return the invoice ID in the path of the details call for one invoice."""
    found = _DETAIL.fullmatch(path)
    return unquote(found[1]) if found else ""


def object_id_of(path: str) -> str:
    """Return the object ID in the path of the ledger's search."""
    found = _LEDGER.fullmatch(path)
    return unquote(found[1]) if found else ""
