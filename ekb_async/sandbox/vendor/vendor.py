"""The vendor's rules as a synchronous state machine: one request and its time of arrival in, one answer out.

A request is checked in this order: path, access token, features switched on, rate, parameters, staff ID, file. The
vendor documents QPS = 1 per interface and nothing more. This is the strictest reading: a start within 1/rate seconds of
the last accepted one of the same interface is refused, and a refused one does not delay the next. The form of such a
refusal is not documented either, so its status and text are arguments.

Nothing here reads a clock, sleeps or does I/O, so a day of calls can be replayed in seconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from ekb_async.models.files import Attachment
from ekb_async.models.wire.exact import exactly
from ekb_async.sandbox.vendor import routes
from ekb_async.sandbox.vendor.books.archive import InvoiceArchive
from ekb_async.sandbox.vendor.books.files import FileStore, UnreadableFileError
from ekb_async.sandbox.vendor.books.tokens import TokenBook, TokenPair
from ekb_async.sandbox.vendor.exchange import (
    RefusedError,
    VendorReply,
    VendorRequest,
    json_body,
    json_object,
    json_reply,
    text_field,
    text_list,
    wrong_parameters,
)
from ekb_async.sandbox.vendor.invoices.answers import checked_answer, ocr_answer, verify_answer
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice, generated_from_content
from ekb_async.sandbox.vendor.rules import (
    FORBIDDEN_IN_NAMES,
    MAX_DOWNLOAD_URLS,
    MAX_REQUEST,
    MAX_UPLOAD,
    MAX_URL_LIFETIME,
    Rules,
    VendorArguments,
)

__all__ = ["Vendor", "VendorReply", "VendorRequest"]

_CLOCK_TOLERANCE_SECONDS = 1e-6
"""Epoch seconds as a float are rounded by up to 0.25 µs, and starts exactly one interval apart must pass."""
_FEATURES = {"ocr": ("ocr",), "verify": ("ocr", "verify"), "verify_by_id": ("verify",), "verify_by_fields": ("verify",)}
_BILLED = tuple(_FEATURES)
_DAY = re.compile(r"\d{8}")

_Handler = Callable[[VendorRequest, float], Any]


class Vendor:
    """The simulated vendor; `base_url` is the address in its own file URLs. Other arguments: the fields of `Rules`."""

    def __init__(self, *, base_url: str = "http://sandbox.invalid", **arguments: Unpack[VendorArguments]) -> None:
        self.base_url = base_url
        self.rules = Rules(**arguments)
        secret = f"{self.rules.app_key}\n{self.rules.app_security}".encode()
        self.tokens = TokenBook(self.rules, secret)
        self.files = FileStore(secret)
        self.archive = InvoiceArchive(self.rules, self.files)
        self.billed: dict[str, Counter[str]] = {call: Counter() for call in _BILLED}
        """How often each content (file, invoice ID, or code and number) was billed, by call."""
        self.expired_urls_sent = 0
        """The number of recognising calls with an expired file URL of this host."""
        self._last_start: dict[str, float] = {}
        self._handlers: dict[str, _Handler] = {
            "token": self._token,
            "refresh": self._refresh,
            "location": lambda _request, _at: {"value": f"{self.base_url}/"},
            "ocr": self._ocr,
            "verify": self._verify,
            "invoice_url": self._invoice_url,
            "invoice_details": self._invoice_details,
            "invoice_details_many": self._invoice_details_many,
            "verify_by_id": self._verify_by_id,
            "verify_by_fields": self._verify_by_fields,
            "flow_invoices": self._flow_invoices,
            "upload": self._upload,
            "download_urls": self._download_urls,
        }

    @property
    def tokens_issued(self) -> int:
        """The number of access tokens issued, refreshed ones included."""
        return self.tokens.issued

    def add_invoice(
        self,
        invoice_id: str,
        invoice: SampleInvoice | None = None,
        *,
        content: bytes | None = None,
        file_name: str | None = None,
    ) -> None:
        """Add an invoice with its ID, its content and the file behind its URL."""
        self.archive.add(invoice_id, invoice or SampleInvoice(number="00000001"), content, file_name)

    def add_flow(self, *, code: str, flow_id: str, invoice_ids: Sequence[str]) -> None:
        """Add a document with its code, its ID and its invoices."""
        self.archive.add_flow(code, flow_id, invoice_ids)

    def add_file(self, content: bytes, name: str) -> Attachment:
        """Store a file as if it had been uploaded."""
        return self.files.add(content, name)

    @exactly
    def reply(self, request: VendorRequest, at: float) -> VendorReply:
        """Return the answer to a request that arrives at `at` (epoch seconds)."""
        call = routes.call_of(request.path)
        try:
            self._admit(call, request, at)
        except RefusedError as refusal:
            return refusal.reply(call, accepted=False)
        try:
            if call == "file":
                reply = self.files.serve(request.path, request.query, at)
            else:
                reply = json_reply(self._handlers[call](request, at))
        except RefusedError as refusal:
            return refusal.reply(call, accepted=True)
        reply.call = call
        return reply

    def _admit(self, call: str, request: VendorRequest, at: float) -> None:
        routes.check_method(call, request.method)
        if call == "invoice_details_many" and not self.rules.detail_batch:
            raise RefusedError(404, "Not Found")
        if call not in routes.OPEN_CALLS:
            self.tokens.check(request.query.get("accessToken", ""), at)
        missing = [feature for feature in _FEATURES.get(call, ()) if feature not in self.rules.permissions]
        if call == "verify" and "verify" in missing:
            corporation = self.rules.corporation
            raise RefusedError(400, f"id为：[{corporation}]的企业没有发票查验接口权限，请联系管理员开通")
        if missing:
            raise RefusedError(403, "未开通功能，无权访问")
        self._check_rate(call, at)

    def _check_rate(self, call: str, at: float) -> None:
        if call not in _FEATURES:
            return
        rate = self.rules.ocr_rate if call == "ocr" else self.rules.verify_rate
        last = self._last_start.get(call)
        if rate > 0 and last is not None and at - last < 1 / rate - _CLOCK_TOLERANCE_SECONDS:
            wait = self.rules.retry_after
            headers = {} if wait is None else {"Retry-After": wait if isinstance(wait, str) else f"{wait:g}"}
            raise RefusedError(self.rules.throttle_status, self.rules.throttle_text, headers=headers)
        self._last_start[call] = at

    def _token(self, request: VendorRequest, at: float) -> Any:
        body = json_object(request)
        return self._issued(self.tokens.log_in(text_field(body, "appKey"), text_field(body, "appSecurity"), at))

    def _refresh(self, request: VendorRequest, at: float) -> Any:
        query = request.query
        access, refresh = query.get("accessToken", ""), query.get("refreshToken", "")
        return self._issued(self.tokens.refresh(access, refresh, query.get("powerCode", ""), at))

    def _issued(self, pair: TokenPair) -> Any:
        return {
            "value": {
                "accessToken": pair.access,
                "refreshToken": pair.refresh,
                "expireTime": int(pair.expires_at * 1000),
                "corporationId": self.rules.corporation,
            }
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
        if self.rules.staff is not None and staff_id not in self.rules.staff:
            raise RefusedError(400, "人员不存在")
        invoices = self._recognise(self._content("verify", url, at, "识别失败"))
        for invoice in invoices:
            self.archive.add(invoice.id_in(self.rules.corporation), invoice)
        return verify_answer(invoices, self.rules.corporation, staff_id, at)

    def _content(self, call: str, url: str, at: float, refusal: str) -> str:
        try:
            content = self.files.content_of(url, self.base_url, at)
        except UnreadableFileError as error:
            self.expired_urls_sent += error.expired
            raise RefusedError(400, refusal) from None
        self.billed[call][content] += 1
        return content

    def _recognise(self, content: str) -> list[SampleInvoice]:
        configured = self.rules.recognises.get(content)
        return [generated_from_content(content)] if configured is None else list(configured)

    def _invoice_url(self, request: VendorRequest, at: float) -> Any:
        ids = self._checked_ids(text_list(json_object(request), "invoiceId"))
        items = [self.archive.url_item(invoice_id, self.base_url, at) for invoice_id in reversed(ids)]
        return {"items": [item for item in items if item]}

    def _invoice_details(self, request: VendorRequest, _at: float) -> Any:
        [invoice_id] = self._checked_ids([routes.invoice_id_of(request.path)])
        return {"items": self.archive.details(invoice_id)}

    def _invoice_details_many(self, request: VendorRequest, _at: float) -> Any:
        ids = self._checked_ids(text_list(json_object(request), "invoiceIds"))
        return {"items": [item for invoice_id in reversed(ids) for item in self.archive.details(invoice_id)]}

    def _checked_ids(self, invoice_ids: list[str]) -> list[str]:
        if any(self.rules.poisons(invoice_id) for invoice_id in invoice_ids):
            raise RefusedError(400, "发票ID不合法")
        return list(dict.fromkeys(invoice_ids))

    def _verify_by_id(self, request: VendorRequest, _at: float) -> Any:
        invoice_id = text_field(json_object(request), "invoiceId")
        self.billed["verify_by_id"][invoice_id] += 1
        return checked_answer(self._checked(invoice_id))

    def _verify_by_fields(self, request: VendorRequest, _at: float) -> Any:
        body = json_object(request)
        code, number, day = body.get("fpdm"), text_field(body, "fphm"), text_field(body, "kprq")
        if not isinstance(code, str) or not _DAY.fullmatch(day) or not isinstance(body.get("jym", ""), str):
            raise wrong_parameters()
        if not isinstance(body.get("fpje", ""), str | int | float):
            raise wrong_parameters()
        self.billed["verify_by_fields"][f"{code}:{number}"] += 1
        invoice_id = f"{self.rules.corporation}:{code}:{number}"
        invoice = self._checked(invoice_id)
        if self.archive.holds(invoice_id) and day != f"{invoice.date:%Y%m%d}":
            raise RefusedError(400, "查验成功所查发票不一致")
        return checked_answer(invoice)

    def _checked(self, invoice_id: str) -> SampleInvoice:
        invoice = self.archive.get(invoice_id)
        if invoice is None:
            raise RefusedError(400, "查验成功所查发票不存在")
        if not self.rules.mismatched.isdisjoint({invoice_id, invoice.number}):
            raise RefusedError(400, "查验成功所查发票不一致")
        return invoice

    def _flow_invoices(self, request: VendorRequest, _at: float) -> Any:
        body = json_object(request)
        kind = text_field(body, "type")
        if kind not in {"code", "id"}:
            raise wrong_parameters()
        found = {key: self.archive.flow_refs(kind, key) for key in text_list(body, "codeOrIds")}
        return {"value": {key: refs for key, refs in found.items() if refs is not None}}

    def _upload(self, request: VendorRequest, _at: float) -> Any:
        if request.upload is None or not request.upload[0]:
            raise wrong_parameters()
        name, content = request.upload
        if len(content) > MAX_REQUEST:
            raise RefusedError(413, "Request Entity Too Large")
        if len(content) > MAX_UPLOAD:
            raise RefusedError(412, "上传附件大小不可超过30Mb")
        if not FORBIDDEN_IN_NAMES.isdisjoint(name):
            raise RefusedError(400, '附件名称不可包含特殊字符 ? \\ / * < > : " |')
        attachment = self.files.add(content, name)
        return {"value": {"key": attachment.key, "fileId": attachment.id, "fileName": name}}

    def _download_urls(self, request: VendorRequest, at: float) -> Any:
        wanted = json_body(request)
        if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
            raise wrong_parameters()
        if len(wanted) > MAX_DOWNLOAD_URLS:
            raise RefusedError(400, f"单次最多获取{MAX_DOWNLOAD_URLS}个附件")
        return [self._download_url(entry, at) for entry in wanted]

    def _download_url(self, entry: dict[str, Any], at: float) -> dict[str, str]:
        file_id, key = text_field(entry, "id"), text_field(entry, "key")
        lifetime = entry.get("expiration", MAX_URL_LIFETIME)
        if isinstance(lifetime, bool) or not isinstance(lifetime, int):
            raise wrong_parameters()
        if not 0 < lifetime <= MAX_URL_LIFETIME:
            raise RefusedError(400, f"链接有效期不可超过{MAX_URL_LIFETIME}秒")
        file = self.files.find(file_id, key)
        if file is None:
            raise RefusedError(400, "附件不存在")
        expires_at = at + min(lifetime, self.rules.url_lifetime)
        url, thumb_url = self.files.signed_urls(self.base_url, file, expires_at)
        return {"id": file_id, "key": key, "url": url, "thumbUrl": thumb_url}
