"""Every call of a session, with valid arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from ekb_async import EkbSession
from ekb_async.models import Attachment

URL = "https://files.example/a.png?Expires=17&Signature=5igned"

CALLS: dict[str, tuple[str, Callable[[EkbSession], Awaitable[object]]]] = {
    "ocr": ("ocr", lambda ekb: ekb.ocr(URL)),
    "verify": ("verify", lambda ekb: ekb.verify(URL, staff_id="c:s")),
    "verify_by_id": ("verify_by_id", lambda ekb: ekb.verify_by_id("c:1:1")),
    "verify_by_fields": ("verify_by_fields", lambda ekb: ekb.verify_by_fields(code="", number="1", date="20220110")),
    "invoice_url": ("invoice_url", lambda ekb: ekb.invoice_url("c:1:1")),
    "invoice_urls": ("invoice_url", lambda ekb: ekb.invoice_urls(["c:1:1", "c:1:2"])),
    "invoice_details": ("invoice_details_many", lambda ekb: ekb.invoice_details("c:1:1")),
    "invoice_details_many": ("invoice_details_many", lambda ekb: ekb.invoice_details_many(["c:1:1", "c:1:2"])),
    "flow_invoices": ("flow_invoices", lambda ekb: ekb.flow_invoices(codes=["B1"])),
    "ledger_invoices": ("ledger", lambda ekb: ekb.ledger_invoices(["c:1:1", "c:1:2"])),
    "ledger_codes": ("ledger", lambda ekb: ekb.ledger_invoices(codes=["1:1"])),
    "ledger": ("ledger", lambda ekb: anext(ekb.ledger())),
    "documents": ("documents", lambda ekb: anext(ekb.documents())),
    "document_files": ("document_files", lambda ekb: ekb.document_files(["f1"])),
    "staff": ("staff", lambda ekb: ekb.staff(codes=["E1", "E2"])),
    "licences": ("licences", lambda ekb: ekb.licences()),
    "payers": ("payers", lambda ekb: ekb.payers()),
    "upload": ("upload", lambda ekb: ekb.upload(b"content", "a.png")),
    "download_urls": ("download_urls", lambda ekb: ekb.download_urls([Attachment("f", "k")])),
    "download_urls_for_ocr": ("download_urls", lambda ekb: ekb.ocr(Attachment("f", "k"))),
    "upload_for_verify": ("upload", lambda ekb: ekb.verify(Path(__file__), staff_id="c:s")),
    "token": ("token", lambda ekb: ekb.invoice_url("c:1:1")),
}
"""By name (but `request`, which accepts any JSON): the endpoint that answers, and a function that makes the call."""

LISTS = [
    name
    for name, (endpoint, _) in CALLS.items()
    if endpoint not in {"verify_by_id", "verify_by_fields", "upload", "token"} and name != "download_urls_for_ocr"
]
"""The calls whose reply is a list."""
