"""Numbers that a spreadsheet has changed, as Excel does unless a column is formatted as text.

It keeps 15 digits, shows 12 digits and more as `2.43E+19`, and drops leading zeros. A changed number would be checked,
and billed, for an invoice that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ekb_async.backlog.input.rows.fields import InvoiceFields, WrongFieldError

HINT = "format the column as text in the spreadsheet, and enter the number again"
_SCIENTIFIC = re.compile(r"\s*[+-]?\d(?:[.,]\d{1,14})?[Ee]\+(\d{1,3})\s*", re.ASCII)
NUMBERS = {"invoice_id", "code", "number", "check_code", "staff_phone", "staff_code"}
_MIN_EXPONENT = 11
"""Elsewhere, `1E+05` may be a name; a number of fewer than 12 digits is not shortened."""
_ROUNDED = re.compile(r"\d{15}0{5}", re.ASCII)
_DIGITS = re.compile(r"\d+", re.ASCII)
_LENGTH, _DIGITAL_LENGTH = 8, 20
"""Of a number: with a code, and of a digital invoice, which has no code."""
_SHORT_CODE = re.compile(r"\d{9}|\d{11}", re.ASCII)
_VAT_CODE = re.compile(r"0\d{9}(?:0[4-7]|1[1-3])", re.ASCII)
"""A code of twelve digits: its last two stand for the kind of invoice."""


def check_scientific(values: Iterable[tuple[str, str]]) -> None:
    """Raise `WrongFieldError` if one of the values, each with its column, is a long number in scientific notation."""
    for column, value in values:
        # Amounts can be written in any way.
        found = None if column == "amount" else _SCIENTIFIC.fullmatch(value)
        if found and (column in NUMBERS or int(found[1]) >= _MIN_EXPONENT):
            raise WrongFieldError(column, f"{value.strip()} is a number that a spreadsheet has shortened; {HINT}")


def restored(fields: InvoiceFields) -> InvoiceFields:
    """Return fields with the leading zeros that must have been lost. Raises `WrongFieldError` for damaged numbers."""
    for column, value in (("number", fields.number), ("check_code", fields.check_code)):
        if _ROUNDED.fullmatch(value):
            raise WrongFieldError(column, f"a spreadsheet has replaced the last digits of {value} by zeros; {HINT}")
    code, number = fields.code, fields.number
    if _SHORT_CODE.fullmatch(code):
        code = code.zfill(12)
        if len(fields.code) != 11 or not _VAT_CODE.fullmatch(code):
            raise WrongFieldError(
                "code", f"{fields.code} has {len(fields.code)} digits, so a leading zero may be lost; {HINT}"
            )
    if _DIGITS.fullmatch(number):
        number = _whole(number, has_code=bool(code))
    return fields._replace(code=code, number=number)


def _whole(number: str, *, has_code: bool) -> str:
    """Return a number of digits with the zeros that were lost. Raises `WrongFieldError` for a wrong length."""
    count = len(number)
    if not has_code and count < _LENGTH:
        reason = f"{number} has fewer than 8 digits; without a code, a number has 20 digits: {HINT}"
    elif not has_code and count != _DIGITAL_LENGTH:
        reason = f"{number} has {count} digits; without a code, a number has 20 digits: {HINT}"
    elif count > _LENGTH and count != _DIGITAL_LENGTH:
        reason = f"{number} has {count} digits; with a code, a number has 8 digits: {HINT}"
    else:
        return number.zfill(_LENGTH)
    raise WrongFieldError("number", reason)
