"""The content of the sandbox's invoices.

`SampleInvoice` is one invoice; `answers` turns it into the bodies of the calls. If the rules do not say which invoice
belongs to a file or an ID, it is generated from a hash of the file or ID, so that the same one always gives the same.
"""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal

import msgspec

from ekb_async.sandbox.vendor.invoices.entities import VAT_ENTITY
from ekb_async.sandbox.vendor.invoices.kinds import KINDS, SampleKind

_GENERATED_KINDS = (
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
BUYER = "演示科技有限公司"
_FIRST_DAY = datetime.date(2024, 1, 1)
CENT = Decimal("0.01")


class SampleInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice: `kind` is a key of `KINDS`; `total` includes `tax`, both in yuan.

    For an invoice that is not `usable`, `message` gives the reason. One that is `linked` to a document shows no lines.
    `verified` is whether the tax authority confirmed a value-added-tax invoice.
    Raises `ValueError` for an unknown kind.
    """

    kind: str = "vat_electronic"
    number: str
    code: str = ""
    date: datetime.date = _FIRST_DAY
    total: Decimal = Decimal("106.00")
    tax: Decimal = Decimal("6.00")
    seller: str = _SELLERS[0]
    buyer: str = BUYER
    usable: bool = True
    message: str = ""
    linked: bool = False
    verified: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def shape(self) -> SampleKind:
        """The fields of this kind of invoice."""
        return KINDS[self.kind]

    @property
    def has_lines(self) -> bool:
        """Whether the calls return lines: for value-added-tax invoices that are not linked to a document."""
        return self.shape.entity == VAT_ENTITY and not self.linked

    def id_in(self, corporation: str) -> str:
        """Return the vendor's ID of this invoice: readable for value-added-tax invoices, opaque for others."""
        if self.shape.entity == VAT_ENTITY:
            return f"{corporation}:{self.code}:{self.number}"
        return f"ID01{_digest(f'{self.kind}:{self.code}:{self.number}').hex()[:12]}"


def generated_from_content(content: str) -> SampleInvoice:
    """Return the invoice on a file, generated from the identity of the file's content."""
    digest = _digest(content)
    return _generated(digest, _GENERATED_KINDS[digest[0] % len(_GENERATED_KINDS)])


def generated_from_id(invoice_id: str) -> SampleInvoice:
    """Return the value-added-tax invoice of an ID, with the code and number in the ID if it has them."""
    invoice = _generated(_digest(invoice_id), "vat_electronic")
    parts = invoice_id.split(":")
    if len(parts) < 3 or not parts[2]:
        return invoice
    kind = invoice.kind if parts[1] else "digital_normal"
    return msgspec.structs.replace(invoice, kind=kind, code=parts[1], number=parts[2])


def _generated(digest: bytes, kind: str) -> SampleInvoice:
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
