"""The vendor's rules as a synchronous state machine: one request and its time of arrival in, one answer out.

A request is checked in this order: path, access token, licences, features switched on, rate, parameters, staff ID,
file. The vendor documents QPS = 1 per interface and nothing more. This is the strictest reading: a start within 1/rate
seconds of the last accepted one of the same interface is refused, and a refused one does not delay the next. The form
of such a refusal is not documented either, so its status and text are arguments.

No call reads a clock, sleeps or does I/O, so a day of calls can be replayed in seconds. Only what is added without a
time, between the calls, is stamped by a clock, which `use_clock` replaces.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar, Unpack

from ekb_async.models.files import Attachment
from ekb_async.models.wire.exact import exactly
from ekb_async.sandbox.vendor import routes
from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.books.documents import DocumentFields
from ekb_async.sandbox.vendor.books.enterprise import (
    OCR_LICENCE,
    OPEN_INTERFACE_LICENCE,
    Payer,
    StaffMember,
)
from ekb_async.sandbox.vendor.calls.access import AccessCalls
from ekb_async.sandbox.vendor.calls.attachments import AttachmentCalls
from ekb_async.sandbox.vendor.calls.documents import DocumentCalls
from ekb_async.sandbox.vendor.calls.enterprise import EnterpriseCalls
from ekb_async.sandbox.vendor.calls.handler import Handler
from ekb_async.sandbox.vendor.calls.invoices import InvoiceCalls
from ekb_async.sandbox.vendor.calls.ledger import LedgerCalls
from ekb_async.sandbox.vendor.calls.recognition import RecognitionCalls
from ekb_async.sandbox.vendor.exchange import RefusedError, VendorReply, VendorRequest, json_reply
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice, generated_from_id
from ekb_async.sandbox.vendor.rules import Rules, VendorArguments

__all__ = ["Vendor", "VendorReply", "VendorRequest"]

_CLOCK_TOLERANCE_SECONDS = 1e-6
"""Epoch seconds as a float are rounded by up to 0.25 µs, and starts exactly one interval apart must pass."""
_FEATURES = {"ocr": ("ocr",), "verify": ("ocr", "verify"), "verify_by_id": ("verify",), "verify_by_fields": ("verify",)}
_BILLED = tuple(_FEATURES)
_GROUPS = (
    AccessCalls,
    RecognitionCalls,
    InvoiceCalls,
    LedgerCalls,
    AttachmentCalls,
    DocumentCalls,
    EnterpriseCalls,
)


P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Vendor, P], R]) -> Callable[Concatenate[Vendor, P], R]:
    """Run a method of the vendor while no other one runs in another thread, with decimals of the package's own."""

    @exactly
    @functools.wraps(method)
    def run(vendor: Vendor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with vendor.lock:
            return method(vendor, *args, **kwargs)

    return run


class Vendor:
    """The simulated vendor; `base_url` is the address in its own file URLs. Other arguments: the fields of `Rules`."""

    def __init__(self, *, base_url: str = "http://sandbox.invalid", **arguments: Unpack[VendorArguments]) -> None:
        self.lock = threading.RLock()
        """Held by each call, and by each method that changes what the calls return."""
        self.rules = Rules(**arguments)
        self._books = Books(self.rules, base_url)
        self.tokens = self._books.tokens
        self.files = self._books.files
        self.archive = self._books.archive
        self.billed: dict[str, Counter[str]] = self._books.billed
        """How often each content (file, invoice ID, or code and number) was billed, by call."""
        self.billed.update((call, Counter()) for call in _BILLED)
        self._last_start: dict[str, float] = {}
        self.payers = self._books.payers
        """The enterprise's own names as a buyer, at first one; a list to change."""
        self._handlers: dict[str, Handler] = {}
        for group in _GROUPS:
            self._handlers.update(group(self._books).handlers)

    @property
    def base_url(self) -> str:
        """The address in the vendor's own URLs."""
        return self._books.base_url

    @base_url.setter
    def base_url(self, base_url: str) -> None:
        self._books.base_url = base_url

    @property
    def expired_urls_sent(self) -> int:
        """The number of recognising calls with an expired file URL of this host."""
        return self._books.expired_urls_sent

    @property
    def tokens_issued(self) -> int:
        """The number of access tokens issued, refreshed ones included."""
        return self.tokens.issued

    @_alone
    def add_invoice(
        self,
        invoice_id: str,
        invoice: SampleInvoice | None = None,
        *,
        content: bytes | None = None,
        file_name: str | None = None,
        at: float | None = None,
    ) -> None:
        """Add an invoice with its ID, its content and the file behind its URL; `at` is its creation, by default now.

        Without `invoice`, code and number are those in the ID if it has them.
        """
        moment = self._moment(at)
        self.archive.add(invoice_id, invoice or generated_from_id(invoice_id), content, file_name, at=moment)

    @_alone
    def remove_invoice(self, invoice_id: str) -> None:
        """Remove an invoice: from now on its ID is unknown to every call."""
        self.archive.remove(invoice_id)

    def add_flow(self, *, code: str, flow_id: str, invoice_ids: Sequence[str], at: float | None = None) -> None:
        """Add a document with its code, its ID and its invoices: `add_document` without the other fields."""
        self.add_document(id=flow_id, code=code, invoices=list(invoice_ids), at=at)

    @_alone
    def add_document(
        self,
        *,
        id: str,  # noqa: A002 - the vendor's name
        at: float | None = None,
        **fields: Unpack[DocumentFields],
    ) -> None:
        """Add a document, by default a paid expense claim, at `at`, by default now; its code is by default its ID.

        Its invoices are linked to it in the ledger. Raises `ValueError` for an unknown type.
        """
        self._books.documents.add(id, self._moment(at), fields)

    @_alone
    def change_document(
        self,
        id: str,  # noqa: A002 - the vendor's name
        *,
        at: float | None = None,
        **changes: Unpack[DocumentFields],
    ) -> None:
        """Change a document at `at`, by default now. Raises `KeyError` for an unknown ID."""
        self._books.documents.change(id, self._moment(at), changes)

    @_alone
    def delete_document(self, id: str, *, at: float | None = None) -> None:  # noqa: A002 - the vendor's name
        """Mark a document as deleted at `at`, by default now, which frees its invoices. Raises `KeyError` likewise."""
        self._books.documents.delete(id, self._moment(at))

    def add_file(self, content: bytes, name: str) -> Attachment:
        """Store a file as if it had been uploaded."""
        return self.files.add(content, name)

    @_alone
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

    @_alone
    def add_staff(
        self,
        *,
        id: str,  # noqa: A002 - the vendor's name
        name: str,
        code: str = "",
        email: str = "",
        cellphone: str = "",
        user_id: str = "",
        active: bool = True,
    ) -> None:
        """Add a member of staff, or change the one with this ID; the verification accepts active ones."""
        person = StaffMember(
            id=id, name=name, code=code, email=email, cellphone=cellphone, user_id=user_id, active=active
        )
        self._books.staff.add(person)

    @_alone
    def set_licence(
        self,
        code: str,
        *,
        expires_at: float | None = None,
        state: str | None = None,
        seats: int | None = None,
        used: int | None = None,
    ) -> None:
        """Change a licence, or add one; None leaves a value as it is. `expires_at` in epoch seconds.

        A licence is in force in the state `using` until it expires. Without 110407, OCR and verification are refused,
        without 219902 every call with a token but the list of licences.
        """
        self._books.licences.set(code, expires_at=expires_at, state=state, seats=seats, used=used)

    @_alone
    def add_payer(
        self,
        name: str,
        tax_number: str,
        *,
        active: bool = True,
        former_name: str | None = None,
        former_name_until: float | None = None,
    ) -> None:
        """Add a name of the enterprise as a buyer, and until when (epoch seconds) its former name is accepted."""
        payer = Payer(
            name=name,
            tax_number=tax_number,
            active=active,
            former_name=former_name,
            former_name_until=former_name_until,
        )
        self.payers.append(payer)

    def use_clock(self, clock: Callable[[], float]) -> None:
        """Start at the time of `clock` (epoch seconds), and stamp what is added without a time by it."""
        self._books.clock = clock
        self._books.licences.started_at = clock()

    def _moment(self, at: float | None) -> float:
        return self._books.clock() if at is None else at

    def _admit(self, call: str, request: VendorRequest, at: float) -> None:
        routes.check_method(call, request.method)
        if call == "invoice_details_many" and not self.rules.detail_batch:
            raise RefusedError(404, "Not Found")
        if call not in routes.OPEN_CALLS:
            self.tokens.check(request.query.get("accessToken", ""), at)
        self._check_licences(call, at)
        missing = [feature for feature in _FEATURES.get(call, ()) if feature not in self.rules.permissions]
        if call == "verify" and "verify" in missing:
            corporation = self.rules.corporation
            raise RefusedError(400, f"id为：[{corporation}]的企业没有发票查验接口权限，请联系管理员开通")
        if missing:
            raise RefusedError(403, "未开通功能，无权访问")
        self._check_rate(call, at)

    def _check_licences(self, call: str, at: float) -> None:
        needed = [OPEN_INTERFACE_LICENCE] if call not in routes.OPEN_CALLS else []
        needed += [OCR_LICENCE] if call in {"ocr", "verify"} else []
        # The list of licences answers without any, so that it can be asked which one has lapsed. Whether the vendor's
        # does is not documented.
        if call != "licences" and not all(self._books.licences.in_force(code, at) for code in needed):
            raise RefusedError(403, "未开通功能，无权访问")

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
