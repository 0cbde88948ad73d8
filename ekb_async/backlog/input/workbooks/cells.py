"""The cells of a workbook as the texts that a person sees: dates, numbers without `.0`, no error.

A spreadsheet keeps 15 digits of a number. A longer one in a column that means something is refused; in a user's own
column it is kept with the digits that are left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from ekb_async.backlog.input.fields import WrongFieldError
from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifests.spreadsheets import HINT, NUMBERS

_DATE_IDS = frozenset((*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)))
"""Formats of dates and times that have no text in the workbook; some of them in Chinese Excel only."""
_NO_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]', re.DOTALL)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_MOMENT = re.compile(r"[ymdhs]", re.IGNORECASE)
_ZEROS = re.compile(r"0{2,64}")
_MAX_DIGITS = 15
_LAST_DAY = 2_958_466
"""The day after 9999-12-31."""
_FEBRUARY_1900 = 60
_FIRST_1904, _FIRST_1900, _AFTER_FEBRUARY = datetime(1904, 1, 1), datetime(1899, 12, 31), datetime(1899, 12, 30)
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_ISO_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})T00:00:00(?:\.0+)?Z?")


class Cell(NamedTuple):
    """A cell as the workbook has it: its type ("" for a number), the index of its style, and its value."""

    type: str
    style: int
    value: str


class Format(NamedTuple):
    """What the format of a cell makes of a number: a date or time, or a number with leading zeros."""

    is_moment: bool = False
    digits: int = 0


class Formats:
    """The formats of a workbook's cells, by the index of their style."""

    def __init__(self, styles: Sequence[Format] = (), *, from_1904: bool = False) -> None:
        self._styles = styles
        self._from_1904 = from_1904

    def text(self, cell: Cell, column: str) -> str:
        """Return a cell as text. `column` is "" for a user's own.

        Raises `WrongFieldError` for an error, and for a number that the spreadsheet has damaged.
        """
        match cell.type:
            case "e":
                raise WrongFieldError(column, f"the cell has the error {cell.value[:20]!r}")
            case "b":
                return "true" if cell.value.strip() == "1" else "false"
            case "d":
                return _ISO_MIDNIGHT.sub(r"\1", cell.value)
            case "":
                return self._number(cell, column)
            case _:
                return _unescaped(cell.value)

    def _number(self, cell: Cell, column: str) -> str:
        text = cell.value.strip()
        if not text:
            return ""
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > 400:
            raise WrongFieldError(column, "the cell has no number that can be read")
        form = self._styles[cell.style] if 0 <= cell.style < len(self._styles) else Format()
        if form.is_moment and 0 <= number < _LAST_DAY:
            if column in NUMBERS or column == "amount":
                raise WrongFieldError(column, f"a spreadsheet has taken this number for a date; {HINT}")
            return self._moment(float(number), column)
        if abs(number) >= 10**_MAX_DIGITS:
            if column:
                raise WrongFieldError(
                    column, f"a spreadsheet keeps only {_MAX_DIGITS} digits of a number, and this one has more; {HINT}"
                )
            return f"{number:f}".partition(".")[0]
        # More digits than these are no digits of the number, but the error of its binary form.
        shown = f"{Decimal(format(number, f'.{_MAX_DIGITS}g')):f}"
        if "." in shown:
            shown = shown.rstrip("0").rstrip(".")
        shown = "0" if shown == "-0" else shown
        return shown.zfill(form.digits) if shown.isdecimal() else shown

    def _moment(self, days: float, column: str) -> str:
        # For workbooks that count from 1900, this was a leap year.
        first = _FIRST_1904 if self._from_1904 else _FIRST_1900 if days < _FEBRUARY_1900 else _AFTER_FEBRUARY
        try:
            moment = first + timedelta(seconds=round(days * 86_400))
        except OverflowError:
            raise WrongFieldError(column, "the cell has a date after the year 9999") from None
        if days < 1 and column != "date":
            return f"{moment:%H:%M:%S}"
        day = moment.date().isoformat()
        return day if column == "date" or (moment.hour, moment.minute, moment.second) == (0, 0, 0) else str(moment)


def _unescaped(text: str) -> str:
    """Return a text with the characters that XML does not allow, or half of one, as the workbook has escaped them."""
    if "_x" not in text:
        return text
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def format_of(number: int, code: str) -> Format:
    """Return what a number format does, from its ID and its code, "" for one that is built in."""
    if not code:
        return Format(is_moment=number in _DATE_IDS)
    code = code[: LIMITS.format_characters].partition(";")[0]
    if _ZEROS.fullmatch(code):
        return Format(digits=len(code))
    plain = _NO_CODE.sub("", code)
    is_moment = _ELAPSED.search(code) is None and _MOMENT.search(plain) is not None
    return Format(is_moment=is_moment and plain.lower() not in {"general", "standard"})
