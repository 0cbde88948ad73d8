"""The vendor's invoice IDs (发票ID).

Most are `corporation:code:number`, with an empty code for fully digital invoices, and sometimes a suffix:
`Tdk3tgber501v0::23312000000123878916:2`. Others are opaque, such as `ID01xO4jZjprrx`.
"""

from __future__ import annotations

from typing import Self

import msgspec


class InvoiceId(msgspec.Struct, frozen=True):
    """An invoice ID split into its parts; `str()` joins them to the original ID.

    An opaque ID, which has fewer than three parts, is kept whole in `number`, with `corporation` and `code` None.
    """

    corporation: str | None
    code: str | None
    """发票代码, "" for fully digital invoices."""
    number: str
    """发票号码."""
    suffix: str | None = None
    """The part behind the third colon, None if the ID has none."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split an ID; further colons belong to the suffix."""
        match text.split(":", 3):
            case [corporation, code, number, suffix]:
                return cls(corporation, code, number, suffix)
            case [corporation, code, number]:
                return cls(corporation, code, number)
            case _:
                return cls(None, None, text)

    @property
    def is_opaque(self) -> bool:
        """Whether the ID has no parts, and so no data of its invoice."""
        return self.corporation is None

    def __str__(self) -> str:
        parts = (self.corporation, self.code, self.number, self.suffix)
        return ":".join(part for part in parts if part is not None)
