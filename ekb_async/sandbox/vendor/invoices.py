"""What is written on an invoice of the sandbox.

`SampleInvoice` is the invoice itself; `answers` turns it into the bodies of the calls. Where nobody says what a file or
an ID shows, the invoice is drawn from a hash of it, so that the same file or ID always shows the same.
"""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal

import msgspec

from ekb_async.sandbox.vendor.kinds import KINDS, VAT_ENTITY, SampleKind

_DRAWN_KINDS = (
    "vat_electronic",
    "train",
    "digital_normal",
    "taxi",
    "vat_special",
    "toll",
    "flight",
    "machine_printed",
    "medical",
)
_SELLERS = ("杭州云栖酒店管理有限公司", "上海浦江餐饮服务有限公司", "深圳前海办公用品有限公司", "成都锦里物流有限公司")
_FIRST_DAY = datetime.date(2024, 1, 1)
CENT = Decimal("0.01")


class SampleInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice: `kind` is a key of `KINDS`, `total` includes `tax`, both in yuan.

    An invoice that is not `usable` says why in `message`; one that is `linked` to a document shows no lines.
    Raises `ValueError` for an unknown kind.
    """

    kind: str = "vat_electronic"
    number: str
    code: str = ""
    date: datetime.date = _FIRST_DAY
    total: Decimal = Decimal("106.00")
    tax: Decimal = Decimal("6.00")
    seller: str = _SELLERS[0]
    buyer: str = "演示科技有限公司"
    usable: bool = True
    message: str = ""
    linked: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def shape(self) -> SampleKind:
        """Which fields an invoice of this kind has."""
        return KINDS[self.kind]

    @property
    def has_lines(self) -> bool:
        """Whether the calls show lines: only of value-added-tax invoices, and only of unused ones."""
        return self.shape.entity == VAT_ENTITY and not self.linked

    def id_in(self, corporation: str) -> str:
        """The vendor's ID of this invoice: readable for value-added-tax invoices, opaque for others."""
        if self.shape.entity == VAT_ENTITY:
            return f"{corporation}:{self.code}:{self.number}"
        return f"ID01{_digest(f'{self.kind}:{self.code}:{self.number}').hex()[:12]}"


def drawn_from_content(content: str) -> SampleInvoice:
    """The invoice on a file, by the file's identity."""
    digest = _digest(content)
    return _drawn(digest, _DRAWN_KINDS[digest[0] % len(_DRAWN_KINDS)])


def drawn_from_id(invoice_id: str) -> SampleInvoice:
    """The value-added-tax invoice behind an ID, with the code and number that the ID names if it names them."""
    invoice = _drawn(_digest(invoice_id), "vat_electronic")
    parts = invoice_id.split(":")
    if len(parts) < 3 or not parts[2]:
        return invoice
    kind = invoice.kind if parts[1] else "digital_normal"
    return msgspec.structs.replace(invoice, kind=kind, code=parts[1], number=parts[2])


def _drawn(digest: bytes, kind: str) -> SampleInvoice:
    numbers = int.from_bytes(digest[1:9])
    pretax = Decimal(1_000 + numbers % 500_000) * CENT
    tax = (pretax * Decimal("0.06")).quantize(CENT)
    digital = kind == "digital_normal"
    return SampleInvoice(
        kind=kind,
        number=f"24{numbers:020d}"[:20] if digital else f"{numbers % 100_000_000:08d}",
        code="" if digital or kind in {"train", "flight"} else f"0{numbers % 100_000_000_000:011d}",
        date=_FIRST_DAY + datetime.timedelta(days=digest[9] * 2),
        total=pretax + tax,
        tax=tax,
        seller=_SELLERS[digest[10] % len(_SELLERS)],
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
