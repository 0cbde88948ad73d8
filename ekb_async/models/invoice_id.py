"""The vendor's invoice IDs.

Most are `corporation:code:number`, with an empty code for fully digital invoices, and sometimes a suffix:
`Tdk3tgber501v0::23312000000123878916:2`. Others are opaque, such as `ID01xO4jZjprrx`.
"""

from __future__ import annotations

from typing import Self

import msgspec


class InvoiceId(msgspec.Struct, frozen=True):
    """An invoice ID taken apart; `str()` puts it together again as it was.

    An opaque ID, which has fewer than three parts, stands whole in `number`, with `corporation` and `code` None.
    `suffix` is None where the ID has none.
    """

    corporation: str | None
    code: str | None
    number: str
    suffix: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take any ID apart; further colons belong to the suffix."""
        match text.split(":", 3):
            case [corporation, code, number, suffix]:
                return cls(corporation, code, number, suffix)
            case [corporation, code, number]:
                return cls(corporation, code, number)
            case _:
                return cls(None, None, text)

    @property
    def is_opaque(self) -> bool:
        """Whether the ID says nothing about its invoice."""
        return self.corporation is None

    def __str__(self) -> str:
        parts = (self.corporation, self.code, self.number, self.suffix)
        return ":".join(part for part in parts if part is not None)
