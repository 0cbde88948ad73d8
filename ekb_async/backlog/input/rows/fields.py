"""The printed fields by which an invoice is checked (四要素验真), each in one spelling.

They are stored in the identity of the call, so rows that spell the fields of one invoice differently share a call.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.validation import vendor_date

BY_ID, BY_FIELDS = "verify_by_id", "verify_by_fields"

_PREFIX = f"{BY_FIELDS}:fields:"
_DATE = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/.年])(?P<month>\d{1,2})(?:(?P=mark)|月)(?P<day>\d{1,2})日?|\d{8}", re.ASCII
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_CURRENCY = "¥￥元"
_TEXT_IN_EXCEL = re.compile(r"""=?"([^"]*)"|'(.*)""")
"""How people write a number as a text, so that Excel does not change it."""
_MAX_CHARACTERS = 64
_MAX_DIGITS = 15


class WrongFieldError(ConfigError):
    """Raised for a field that cannot be sent; `column` names it."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


class InvoiceFields(NamedTuple):
    """The fields of an invoice as they are sent: `date` as yyyyMMdd, `amount` with two decimals at least.

    `code` is "" for fully digital invoices; `amount` and `check_code` are "" if they are not given.
    """

    code: str
    number: str
    date: str
    amount: str = ""
    check_code: str = ""

    @property
    def identity(self) -> str:
        """The identity of the call that checks these fields."""
        return _PREFIX + msgspec.json.encode(self).decode()


FIELDS = InvoiceFields._fields


def fields_for(kind: str, values: Sequence[str]) -> tuple[InvoiceFields | None, str]:
    """Return the fields that a row sends, None if its kind has none, and the date of its invoice, "" if unknown.

    The values are in the order of `FIELDS`. Raises `WrongFieldError` for a wrong one, or one that the kind does not
    take; a check by ID takes the date.
    """
    if kind == BY_FIELDS:
        fields = checked_fields(values)
        return fields, fields.date
    if not "".join(values).strip():
        return None, ""
    for column, value in zip(FIELDS, values, strict=True):
        if value.strip() and (kind, column) != (BY_ID, "date"):
            raise WrongFieldError(column, f"{kind} takes no value here")
    return None, checked_date(values[FIELDS.index("date")].strip())


def checked_fields(values: Sequence[str]) -> InvoiceFields:
    """Return fields in their one spelling, from texts in the order of `FIELDS`. Raises `WrongFieldError`."""
    code, number, day, amount, check_code = (value.strip() for value in values)
    code, number, check_code = _plain(code), _plain(number), _plain(check_code)
    for column, value in (("code", code), ("number", number), ("check_code", check_code)):
        if len(value) > _MAX_CHARACTERS:
            raise WrongFieldError(column, f"the value has more than {_MAX_CHARACTERS} characters")
    if not number:
        raise WrongFieldError("number", "verify_by_fields needs a value here")
    if not day:
        raise WrongFieldError("date", "verify_by_fields needs a value here")
    return InvoiceFields(code, number, checked_date(day), _checked_amount(amount) if amount else "", check_code)


def checked_date(text: str) -> str:
    """Return a date as yyyyMMdd, from the forms in which people and spreadsheets write it. Raises `WrongFieldError`."""
    if found := _DATE.fullmatch(unicodedata.normalize("NFKC", text)) if len(text) <= _MAX_CHARACTERS else None:
        parts = (found["year"], found["month"], found["day"])
        with contextlib.suppress(ConfigError):
            return vendor_date("-".join(part.zfill(2) for part in parts) if found["year"] else found[0])
    raise WrongFieldError("date", "this is no date, such as 20220110 or 2022-01-10")


def _plain(text: str) -> str:
    """Return a code or number without blanks and characters that are not seen, and in the usual width."""
    before = None
    while text != before:
        before, text = text, unicodedata.normalize("NFKC", text)
        text = "".join(each for each in text if not each.isspace() and unicodedata.category(each) != "Cf")
    kept_as_text = _TEXT_IN_EXCEL.fullmatch(text)
    return text if kept_as_text is None else kept_as_text[1] or kept_as_text[2] or ""


def _checked_amount(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip(_CURRENCY).strip() if len(text) <= _MAX_CHARACTERS else text
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise WrongFieldError("amount", "this is no decimal number, such as 1200.50")
    exponent = amount.as_tuple().exponent
    if not min(int(exponent), amount.adjusted()) >= -_MAX_DIGITS or amount.adjusted() >= _MAX_DIGITS:
        raise WrongFieldError("amount", f"the number has more than {_MAX_DIGITS} digits before or after the point")
    whole, _, decimals = f"{abs(amount):f}".partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def fields_of(identity: str) -> InvoiceFields | None:
    """Return the fields in an identity, None if it is that of another kind of call."""
    if not identity.startswith(_PREFIX):
        return None
    return msgspec.json.decode(identity.removeprefix(_PREFIX), type=InvoiceFields)
