"""How each language writes what a page shows: numbers, dates, currencies, and the texts of a row."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.report.collected.groups import NOT_STATED, OTHERS
from ekb_async.backlog.results.report.view import Cell
from ekb_async.i18n import Texts
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA, YUAN
from ekb_async.redaction.masking import redact

NONE = "–"
"""Stands for a value that is not there."""

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_DIRECTING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SCALES = {
    "zh": ((Decimal(10**8), "亿"), (Decimal(10**4), "万")),
    "en": ((Decimal(10**9), "B"), (Decimal(10**6), "M"), (Decimal(10**3), "k")),
}


class Formats:
    """Texts and formats in one language. Raises `ConfigError` for another language than `en` and `zh`."""

    def __init__(self, lang: str) -> None:
        self.names = Names(lang)
        self.texts: Texts = self.names.texts

    def number(self, value: int | Decimal) -> str:
        """Return a count with all digits, or an amount to the cent."""
        return f"{value:,}" if isinstance(value, int) else f"{value:z,.2f}"

    def money(self, amount: Decimal | None, currency: str | None) -> str:
        """Return an amount with its currency if that is stated and not yuan, a dash without an amount."""
        if amount is None:
            return NONE
        return self.number(amount) if currency in {None, NOT_STATED, YUAN} else f"{self.number(amount)} {currency}"

    def brief(self, value: Decimal) -> str:
        """Return a rounded figure for the scale of a chart, such as 1.5M or 150万."""
        for unit, letter in _SCALES[self.texts.lang]:
            if abs(value) >= unit:
                return f"{_bare(value / unit)}{letter}"
        return _bare(value)

    def time(self, moment: datetime) -> str:
        """Return date, hour and minute at UTC+8."""
        return f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M}"

    def column(self, start: datetime, width: int, *, one_day: bool) -> str:
        """Return the label of a chart column that begins at `start` and covers `width` seconds."""
        if width >= 86_400:
            return f"{start:%Y-%m-%d}"
        return f"{start:%H:%M}" if one_day else f"{start:%m-%d %H:%M}"

    def calls_per(self, seconds: int) -> str:
        """Return the title of a chart whose columns cover so many seconds each."""
        texts = self.texts
        if seconds % 86_400 == 0:
            return texts("Calls ended per day", "Calls ended per {count} days", count=seconds // 86_400)
        if seconds % 3_600 == 0:
            return texts("Calls ended per hour", "Calls ended per {count} hours", count=seconds // 3_600)
        return texts("Calls ended per minute", "Calls ended per {count} minutes", count=seconds // 60)

    def month(self, month: str) -> str:
        """Return the month of an invoice date, or the text for no date."""
        return month or self.texts("No date")

    def currency(self, code: str | None) -> str:
        """Return a currency code, or the text for an amount without a currency or, if `code` is None, for no amount."""
        if code is None:
            return self.texts("no amount")
        if code == OTHERS:
            return self.texts("other currencies")
        return self.texts("currency not stated") if code == NOT_STATED else code

    def kind(self, kind: InvoiceKind) -> Cell:
        """Return the name of an invoice kind, with the printed Chinese name below if that differs."""
        name = self.names.invoice(kind)
        return Cell(name, "" if name == kind.label else kind.label)


def shown(text: str, limit: int = LIMITS.name_characters) -> str:
    """Return a text from outside as a page can show it: cut, masked, without characters that HTML cannot have."""
    text = _UNSEEN.sub("\ufffd", redact(text, max_characters=limit + 1))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def plain(text: str) -> str:
    """Return a text from outside without characters that change the direction, for where it cannot be isolated."""
    return _DIRECTING.sub("", shown(text))


def one_line(text: str) -> str:
    """Return a text of several lines as one."""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())


def _bare(value: Decimal) -> str:
    return f"{value:z,.2f}".rstrip("0").rstrip(".")
