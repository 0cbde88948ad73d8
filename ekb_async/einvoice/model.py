"""`EInvoice`, what a file says about one invoice, and `Evidence`, what one source in the file states."""

from __future__ import annotations

import enum
from datetime import date as Date  # noqa: N812 - a field is named date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.returnable import Returnable

IDENTIFYING = {"identity", "code", "number"}
"""Fields whose conflicts leave open which invoice it is."""


class Source(enum.StrEnum):
    """Where a value comes from, the most trusted source first."""

    XML = "xml"
    OFD_ATTACHMENT = "ofd-attachment"
    PDF_ATTACHMENT = "pdf-attachment"
    PDF_INFO = "pdf-info"
    OFD_TAGS = "ofd-tags"
    OFD_DATA = "ofd-data"
    QR = "qr"
    QR_LINK = "qr-link"
    PDF_TEXT = "pdf-text"

    @property
    def rank(self) -> int:
        """The position in the order of trust, from 0."""
        return _RANKS[self]


_RANKS = {source: rank for rank, source in enumerate(Source)}


class EInvoice(Returnable, msgspec.Struct, frozen=True, kw_only=True):
    """What a file says about one invoice; None for what it does not say, or says in two ways.

    Nothing is verified: a file can be forged.
    """

    identity: str | None = None
    """The 20 digits of a digital invoice (数电票), or `code-number`.

    `?-number` if the file does not name the code (block-chain invoices of Shenzhen): two of these may be two invoices,
    see `is_certain`. None if the file contradicts itself.
    """
    aliases: list[str] = []
    """Other identities of the same invoice: a digital invoice on paper has 20 digits, and code and number."""
    kind: InvoiceKind = InvoiceKind.UNKNOWN
    """发票种类."""
    code: str | None = None
    """发票代码, 10 or 12 digits."""
    number: str | None = None
    """发票号码, 8 or 20 digits."""
    date: Date | None = None
    """开票日期."""
    amount_excluding_tax: Decimal | None = None
    """合计金额."""
    tax: Decimal | None = None
    """合计税额; None as well for an exempt invoice."""
    total: Decimal | None = None
    """价税合计."""
    check_code: str | None = None
    """校验码."""
    seller: str | None = None
    """销售方名称."""
    seller_tax_id: str | None = None
    """销售方纳税人识别号."""
    buyer: str | None = None
    """购买方名称."""
    buyer_tax_id: str | None = None
    """购买方纳税人识别号."""
    red_letter_of: str | None = None
    """被红冲蓝字发票. Identity of the invoice that this red-letter one (红字发票) cancels."""
    sources: dict[str, list[str]] = {}
    """Field → the sources that state it, the most trusted first; `computed` is the sum of amount and tax."""
    conflicts: dict[str, list[Any]] = {}
    """Field → its differing values, from the most trusted source on. Such a field is None, a `kind` UNKNOWN."""

    @property
    def is_certain(self) -> bool:
        """Whether `identity` belongs to one invoice only."""
        return self.identity is not None and not self.identity.startswith("?")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file, and what can be concluded from it."""

    format: Literal["pdf", "picture", "ofd", "xml", "zip", ""] = ""
    """By the content; "" if that is of no kind that can be an invoice file."""
    invoices: list[EInvoice] = []
    """As `read` returns them."""
    is_complete: bool = False
    """Whether nothing in the file may show a further invoice that was not read.

    A page, picture, entry or attachment that was not read, or that may hold an invoice and names none, makes this
    false; so does a lack of time. It errs on this side.
    """
    problem: str = ""
    """Why the file holds no invoice and recognition cannot find one; "" if it may, as in a picture without QR code."""

    @property
    def certain(self) -> tuple[str, ...]:
        """The identities of the invoices, sorted, if these are all that the file shows and each is certain; else ()."""
        if not self.is_complete or not all(invoice.is_certain for invoice in self.invoices):
            return ()
        if any(IDENTIFYING & invoice.conflicts.keys() for invoice in self.invoices):
            return ()
        return tuple(sorted(invoice.identity for invoice in self.invoices if invoice.identity))


_CONFLICTING: dict[str, Any] = {
    "kind": InvoiceKind,
    "date": Date,
    "amount_excluding_tax": Decimal,
    "tax": Decimal,
    "total": Decimal,
}
"""The types of values in conflict that are no texts."""


def with_types(reading: Reading) -> Reading:
    """Return a reading that was encoded and decoded with the values of its conflicts in their types."""
    for invoice in reading.invoices:
        for name, values in invoice.conflicts.items():
            type_ = _CONFLICTING.get(name, str)
            invoice.conflicts[name] = [msgspec.convert(value, type_) for value in values]
    return reading


class Evidence(msgspec.Struct, kw_only=True):
    """What one source states about one invoice, in clean values; None for what it does not state."""

    source: Source
    code: str | None = None
    number: str | None = None
    digital_number: str | None = None
    """数电票号码, where the invoice has a code and a number of 8 digits as well."""
    has_no_code: bool = False
    """Whether this source never names the code."""
    kind: InvoiceKind = InvoiceKind.UNKNOWN
    date: Date | None = None
    amount_excluding_tax: Decimal | None = None
    tax: Decimal | None = None
    total: Decimal | None = None
    check_code: str | None = None
    seller: str | None = None
    seller_tax_id: str | None = None
    buyer: str | None = None
    buyer_tax_id: str | None = None
    red_letter_of: str | None = None


class Unit(msgspec.Struct):
    """The evidence in one place of a file: a page, a picture, an XML record, an OFD document; mostly of one invoice."""

    evidence: list[Evidence]
    file_name: str = ""
