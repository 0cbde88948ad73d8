"""The limits and lifetimes of the sandbox; the defaults are the vendor's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from ekb_async.sandbox.vendor.invoices.entities import OBJECT_IDS
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice

MAX_UPLOAD = 30 * 1024 * 1024
MAX_REQUEST = 50 * 1024 * 1024
MAX_DOWNLOAD_URLS = 100
MAX_URL_LIFETIME = 1800
FORBIDDEN_IN_NAMES = frozenset('?\\/*<>:"|')

LedgerOrder = Literal["newest", "oldest", "updated"]
"""The order of the ledger's pages: by time of creation, newest or oldest first, or last updated first."""

_UNKNOWN_ID = re.compile(r"(?<![0-9A-Za-z])unknown|\s")
_REFUSED_ID = re.compile(r"(?<![0-9A-Za-z])bad")


def looks_like_an_id(invoice_id: str) -> bool:
    """Return whether an ID that was not added exists: it has no blanks and no part that starts with `unknown`."""
    return _UNKNOWN_ID.search(invoice_id) is None


@dataclass(kw_only=True)
class Rules:
    """The behaviour of the sandbox; fields may be changed while it runs. Times in seconds, rates in starts a second."""

    app_key: str = "sandbox-key"
    app_security: str = "sandbox-security-c0ffee"
    corporation: str = "djg8LshfUkfM00"
    ocr_rate: float = 1.0
    """Limit of the OCR call; 0 = no limit."""
    verify_rate: float = 1.0
    """Limit of each verifying call separately; 0 = no limit."""
    throttle_status: int = 429
    throttle_text: str = "请求过于频繁，请稍后再试"
    retry_after: float | str | None = None
    """The `Retry-After` header of a throttled call: seconds, or a text sent as it is."""
    token_lifetime: float = 7200
    refreshed_lifetime: float | None = None
    """Lifetime of tokens from a refresh; None = `token_lifetime`, stricter than the vendor's 32 days."""
    token_settle: float = 0
    """For how long a new token is refused with 403."""
    url_lifetime: float = MAX_URL_LIFETIME
    """Upper limit of the lifetime of attachment URLs, whatever was asked for."""
    invoice_url_lifetime: float = 3600
    permissions: set[str] = field(default_factory=lambda: {"ocr", "verify"})
    """Features that are switched on for the enterprise: `ocr`, `verify`."""
    staff: set[str] | None = None
    """Active staff IDs, which `Vendor.add_staff` adds to; None = all that were not added as inactive.

    The search for staff finds those in this set and those that were added.
    """
    detail_batch: bool = True
    """Whether the details call for many invoices exists; otherwise it answers 404."""
    recognises: Mapping[str, Sequence[SampleInvoice]] = field(default_factory=dict)
    """The invoices on a file, by the SHA-256 of its content (hexadecimal) or by its URL without query."""
    knows: Callable[[str], bool] = looks_like_an_id
    """Which invoice IDs exist besides those that were verified or added."""
    poison: set[str] = field(default_factory=set)
    """Invoice IDs that make every request with them fail with 400, as do IDs with a part that starts with `bad`."""
    mismatched: set[str] = field(default_factory=set)
    """Invoice IDs or numbers for which the tax authority has other data."""
    not_yet_known: bool = False
    """Whether the tax authority knows invoices only from the day after their date (UTC+8)."""
    checks_per_day: int | None = None
    """How often a day (UTC+8) an invoice may be verified by ID or by fields; None = no limit."""
    platform_url: str | None = None
    """The address that the location call answers; None = that of the sandbox."""
    ledger_order: LedgerOrder = "newest"
    """The order of the ledger's pages; of invoices with equal times, the one that was added last is the newest."""
    ledger_kinds: set[str] = field(default_factory=lambda: set(OBJECT_IDS))
    """The kinds (object IDs such as `train`) that this deployment has a ledger of."""

    def poisons(self, invoice_id: str) -> bool:
        """Return whether this ID makes the whole request fail."""
        return invoice_id in self.poison or _REFUSED_ID.search(invoice_id) is not None


class VendorArguments(TypedDict, total=False):
    """The keyword arguments that `Vendor` and `Sandbox` take: the fields of `Rules`."""

    app_key: str
    app_security: str
    corporation: str
    ocr_rate: float
    verify_rate: float
    throttle_status: int
    throttle_text: str
    retry_after: float | str | None
    token_lifetime: float
    refreshed_lifetime: float | None
    token_settle: float
    url_lifetime: float
    invoice_url_lifetime: float
    permissions: set[str]
    staff: set[str] | None
    detail_batch: bool
    recognises: Mapping[str, Sequence[SampleInvoice]]
    knows: Callable[[str], bool]
    poison: set[str]
    mismatched: set[str]
    not_yet_known: bool
    checks_per_day: int | None
    platform_url: str | None
    ledger_order: LedgerOrder
    ledger_kinds: set[str]
