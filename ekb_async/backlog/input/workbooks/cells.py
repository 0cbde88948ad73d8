"""The cells of a workbook as the texts that a person sees: dates, numbers without `.0`, no error.

A spreadsheet keeps 15 digits of a number. A longer one in a column that means something is refused; in a user's own
column it is kept with the digits that are left.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifests.spreadsheets import HINT, NUMBERS
from ekb_async.backlog.input.rows.fields import WrongFieldError

_CHINESE_DATES = frozenset((*range(27, 37), *range(50, 59)))
"""Formats of dates that are built into Chinese spreadsheets, so that openpyxl does not know them."""
_ZEROS = re.compile(r"0{2,64}")
_ESCAPED = re.compile(r"_x00([01][0-9A-Fa-f])_")
"""A control character, which openpyxl leaves as it is."""
_MAX_DIGITS = 15
_LAST_DAY = 2_957_000
"""A day in the year 9995, whether a workbook counts from 1900 or from 1904."""


def text_of(cell: Any, column: str) -> str:
    """Return a cell of openpyxl as text. `column` is "" for a user's own.

    Raises `WrongFieldError` for an error, and for a number that the spreadsheet has damaged.
    """
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "e":
        raise WrongFieldError(column, f"the cell has the error {str(value)[:20]!r}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(cell, value, column)
    if not isinstance(value, str):
        return _moment(value, column)
    if len(value) > LIMITS.cell_characters:
        raise WrongFieldError(column, f"the cell has more than {LIMITS.cell_characters:,} characters")
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


def _number(cell: Any, number: float, column: str) -> str:
    from openpyxl.utils.datetime import from_excel

    try:
        code, is_moment = cell.number_format, cell.style_array.numFmtId in _CHINESE_DATES
    except (LookupError, TypeError):  # a style that is missing
        code, is_moment = "", False
    if is_moment and 0 <= number < _LAST_DAY:
        return _moment(from_excel(number, cell.parent.parent.epoch), column)
    if not abs(number) < 10**_MAX_DIGITS:
        if column:
            raise WrongFieldError(
                column, f"a spreadsheet keeps only {_MAX_DIGITS} digits of a number, and this one has more; {HINT}"
            )
        return f"{Decimal(str(number)):f}"
    # More digits than these are no digits of the number, but the error of its binary form.
    shown = f"{Decimal(format(number or 0, f'.{_MAX_DIGITS}g')):f}"
    return shown.zfill(len(code)) if _ZEROS.fullmatch(code) and shown.isdecimal() else shown


def _moment(moment: date | time | timedelta, column: str) -> str:
    if column in NUMBERS or column == "amount":
        raise WrongFieldError(column, f"a spreadsheet has taken this number for a date; {HINT}")
    if isinstance(moment, timedelta):
        minutes, seconds = divmod(round(moment.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if isinstance(moment, datetime) and (column == "date" or moment.time() == time()):
        return moment.date().isoformat()
    return str(moment).partition(".")[0]
