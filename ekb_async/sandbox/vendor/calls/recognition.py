"""The billed calls: recognition, and verification with and without a file."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

import msgspec

from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.books.files import UnreadableFileError
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import RefusedError, VendorRequest, json_object, text_field, wrong_parameters
from ekb_async.sandbox.vendor.invoices.answers import checked_answer, ocr_answer, verify_answer
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice, generated_from_content

_UTC8 = datetime.timezone(datetime.timedelta(hours=8))
_DAY = re.compile(r"\d{8}")


class RecognitionCalls:
    """OCR, OCR with verification, and verification by ID and by fields."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._day = ""
        self._checks: Counter[str] = Counter()
        """How often each invoice was verified without a file on this day."""
        self.handlers: Handlers = {
            "ocr": self._ocr,
            "verify": self._verify,
            "verify_by_id": self._verify_by_id,
            "verify_by_fields": self._verify_by_fields,
        }

    def _ocr(self, request: VendorRequest, at: float) -> Any:
        body = json_object(request)
        content = self._content("ocr", text_field(body, "fileUrl"), at, "第三方出现问题请稍后再试")
        return ocr_answer(self._recognise(content))

    def _verify(self, request: VendorRequest, at: float) -> Any:
        body = json_object(request)
        text_field(body, "fileName")
        url, staff_id = text_field(body, "fileUrl"), text_field(body, "staffId")
        if not isinstance(body.get("isExOcr", True), bool):
            raise wrong_parameters()
        if not self._books.staff.may_verify(staff_id):
            raise RefusedError(400, "人员不存在")
        invoices = self._recognise(self._content("verify", url, at, "识别失败"))
        corporation = self._books.rules.corporation
        for invoice in invoices:
            self._books.archive.add(invoice.id_in(corporation), invoice, at=at)
        shown = [self._as_linked(invoice) for invoice in invoices]
        return verify_answer(shown, corporation, staff_id, at)

    def _as_linked(self, invoice: SampleInvoice) -> SampleInvoice:
        """Return an invoice as the vendor shows it, which depends on whether it is linked to a document."""
        document = self._books.ledger.document_of(invoice.id_in(self._books.rules.corporation))
        return invoice if document is None else msgspec.structs.replace(invoice, linked=True)

    def _content(self, call: str, url: str, at: float, refusal: str) -> str:
        try:
            content = self._books.files.content_of(url, self._books.base_url, at)
        except UnreadableFileError as error:
            self._books.expired_urls_sent += error.expired
            raise RefusedError(400, refusal) from None
        self._books.billed[call][content] += 1
        return content

    def _recognise(self, content: str) -> list[SampleInvoice]:
        configured = self._books.rules.recognises.get(content)
        return [generated_from_content(content)] if configured is None else list(configured)

    def _verify_by_id(self, request: VendorRequest, at: float) -> Any:
        invoice_id = text_field(json_object(request), "invoiceId")
        self._books.billed["verify_by_id"][invoice_id] += 1
        return checked_answer(self._checked(invoice_id, at))

    def _verify_by_fields(self, request: VendorRequest, at: float) -> Any:
        body = json_object(request)
        code, number, day = body.get("fpdm"), text_field(body, "fphm"), text_field(body, "kprq")
        if not isinstance(code, str) or not _DAY.fullmatch(day) or not isinstance(body.get("jym", ""), str):
            raise wrong_parameters()
        if not isinstance(body.get("fpje", ""), str | int | float):
            raise wrong_parameters()
        self._books.billed["verify_by_fields"][f"{code}:{number}"] += 1
        invoice_id = f"{self._books.rules.corporation}:{code}:{number}"
        is_held = self._books.archive.holds(invoice_id)
        invoice = self._checked(invoice_id, at, "" if is_held else day)
        if is_held and day != f"{invoice.date:%Y%m%d}":
            raise RefusedError(400, "查验成功所查发票不一致")
        return checked_answer(invoice)

    def _checked(self, invoice_id: str, at: float, asked_day: str = "") -> SampleInvoice:
        """Return what the tax authority has of an invoice, whose date is `asked_day` if that is given."""
        invoice, rules = self._books.archive.get(invoice_id), self._books.rules
        today = f"{datetime.datetime.fromtimestamp(at, _UTC8):%Y%m%d}"
        self._count_check(today, invoice_id if invoice is None else f"{invoice.code}:{invoice.number}")
        if invoice is None or (rules.not_yet_known and (asked_day or f"{invoice.date:%Y%m%d}") == today):
            raise RefusedError(400, "查验成功所查发票不存在")
        if not rules.mismatched.isdisjoint({invoice_id, invoice.number}):
            raise RefusedError(400, "查验成功所查发票不一致")
        return invoice

    def _count_check(self, today: str, invoice: str) -> None:
        if today != self._day:
            self._day = today
            self._checks.clear()
        self._checks[invoice] += 1
        limit = self._books.rules.checks_per_day
        if limit is not None and self._checks[invoice] > limit:
            # Known from other access to the tax authority; on no page of the vendor.
            raise RefusedError(400, "超过该张发票当日查验次数(请于次日再次查验)!")
