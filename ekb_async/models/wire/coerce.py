"""Coercion of one JSON value of the vendor to a text, number, rate, date or flag.

The vendor declares types and does not keep to them: a text field contains an integer, a rate is `"6%"`, `"9.0000"` or
免税, a date is epoch milliseconds, `20220110` or `2021年06月11日`. So each function accepts any JSON value and returns
its own type or None; none of them raises. Fractions become Decimal from their digits, never through a binary float.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from ekb_async.models.wire.exact import EXACT, decimal_of
from ekb_async.models.wire.limits import LIMITS

T = TypeVar("T")

CHINA = timezone(timedelta(hours=8))
"""UTC+8, the time zone of all dates of the vendor."""


YUAN = "CNY"
"""The currency of amounts without one, where none is stated for yuan."""
_CURRENCY = re.compile(r"[A-Z]{3}|[0-9]{3}")


class Money(msgspec.Struct, gc=False, rename="camel"):
    """The members of the vendor's money object that are used."""

    standard: Any = None
    standard_num_code: Any = None
    standard_str_code: Any = None


EPOCH = datetime(1970, 1, 1, tzinfo=CHINA) + timedelta(hours=8)
_DIGITS, _CHARACTERS = LIMITS.number_digits, LIMITS.value_characters
_INTEGER_BOUND = 10**_DIGITS
"""The smallest integer with too many digits."""

_PLAIN = re.compile(rf"[+-]?\d{{1,{_DIGITS}}}(?:\.\d{{1,{_DIGITS}}})?")
_MARK = r"(?:(?:CNY|RMB|人民币|CN)?\s*¥?)"
_DECORATED = re.compile(
    rf"([+-]?)\s*{_MARK}\s*[:：]?\s*([+-]?)\s*"
    rf"((?:\d{{1,3}}(?:,\d{{3}}){{1,{_DIGITS // 3}}}|\d{{0,{_DIGITS}}})(?:\.\d{{0,{_DIGITS}}})?)"
    r"\s*(?:[元圆][整正]?)?\s*(?:CNY|RMB|人民币)?",
    re.IGNORECASE,
)
_PUNCTUATION = str.maketrans(
    dict.fromkeys("\u2212\uff0d\ufe63\u2010\u2011\u2012\u2013\u2014\u2015", "-")
    | {"\uff0b": "+", "\uff0e": ".", "\u3002": ".", "\uff0c": ",", "\uff0f": "/", "\uff1a": ":", "￥": "¥", "圓": "圆"}
)
"""Characters that Chinese input methods and typesetters use for the signs of a number or a date."""
_FLAGS = {"true": 1, "是": 1, "false": 0, "否": 0}
_BREAK = re.compile(r"<\s{0,9}/?\s{0,9}br\b[^<>]*>", re.IGNORECASE)
_ESCAPED_BREAK = re.compile(r"&lt;\s{0,9}br\s{0,9}/?\s{0,9}&gt;", re.IGNORECASE)
_DAY = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?")
_CLOCK = re.compile(r"(?:[T\s]*(\d{1,2})[:：时](\d{1,2})[:：分]?(?:(\d{1,2})(?:\.\d+)?秒?)?)?\s*")
_EPOCH_TEXT = re.compile(r"\d{13}")
"""Milliseconds from September 2001 on. No invoice is older, and the vendor writes 0 for an unset time."""
_SINCE, _UNTIL = 10**12, 10**13
"""The same range as numbers."""
_DAY_LENGTH, _OFFSET, _FIRST_DAY = 86_400_000, 28_800_000, date(1970, 1, 1).toordinal()
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?")


def text(value: object) -> str | None:
    """Return a text unchanged, a number as its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    return plain(value) if isinstance(value, Decimal) and _has_few_digits(value) else None


def message(value: object) -> str | None:
    """Return a text for people, with `<br>` in all its spellings as a line break."""
    words = text(value)
    if words is None:
        return None
    first, *others = _BREAK.split(_ESCAPED_BREAK.sub("\n", words))
    if not others:
        return first
    *between, last = others
    return "\n".join((first.rstrip(), *map(str.strip, between), last.lstrip()))


def texts(value: object) -> list[str] | None:
    """Return a list of texts; a single text becomes a list of one."""
    if isinstance(value, list):
        return [item for item in map(text, value) if item is not None]
    one = text(value)
    return None if one is None else [one] if one else []


def number(value: object) -> Decimal | None:
    """Return a number, a text that is one, or a money object's `standard`.

    Accepts `1234.50`, `1,234.50`, `-¥1234.50`, `1234.50元`, `CNY 1234.50`, with all signs and points in use.
    """
    # `isinstance` with a struct class is slow for values of other types.
    if type(value) is Money:
        value = value.standard
    if isinstance(value, str):
        if not value:
            return None
        if len(value) <= _DIGITS and value.replace(".", "", 1).isdecimal():
            return decimal_of(value)
        return _number_from_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    return value if isinstance(value, Decimal) and _has_few_digits(value) else None


def currency(value: object) -> str | None:
    """Return a money object's currency code (`CNY`), or its number (`840`) without one; None for a bare number."""
    if type(value) is not Money:
        return None
    code = text(value.standard_str_code)
    if code:
        return code.strip().upper()
    number_code = text(value.standard_num_code) or None
    return YUAN if number_code == "156" else number_code


def is_currency(code: str) -> bool:
    """Return whether a text is a currency's code or number, as `currency` returns them."""
    return _CURRENCY.fullmatch(code) is not None


def rate(value: object) -> Decimal | None:
    """Return a rate as a fraction: `6%`, `6` and `6.0000` are 0.06; a word such as 免税 or `***` is None.

    A bare number is a percentage, as the vendor writes it. One below 0.2 is a fraction (`0.06`), since the lowest rate
    in use is 0.5 %.
    """
    if isinstance(value, str):
        return _rate_from_text(value) if len(value) <= _CHARACTERS else None
    return _as_fraction(number(value))


@lru_cache(maxsize=LIMITS.cached_rates)
def _rate_from_text(words: str) -> Decimal | None:
    digits = words.strip().rstrip("%％")
    return _as_fraction(number(digits), percent=digits != words.strip())


def _as_fraction(read: Decimal | None, *, percent: bool = False) -> Decimal | None:
    if read is None or not 0 <= read <= 100:
        return None
    return read if not percent and 0 < read < Decimal("0.2") else EXACT.scaleb(read, -2)


def flag(value: object) -> bool | None:
    """Return a flag: true, 1, "1", "true" and 是, or their opposites."""
    if isinstance(value, int):
        return bool(value) if value in {0, 1} else None
    if isinstance(value, str):
        value = _FLAGS.get(value.strip().lower(), value)
    read = number(value)
    return bool(read) if read in {0, 1} else None


def negated(value: object) -> bool | None:
    """Return the opposite of a flag."""
    read = flag(value)
    return None if read is None else not read


def whole(value: object) -> int | None:
    """Return an integer, from any form of a number."""
    if type(value) is int:
        return value if -_INTEGER_BOUND < value < _INTEGER_BOUND else None
    read = number(value)
    return int(read) if read is not None and read == read.to_integral_value() else None


def angle(value: object) -> float | None:
    """Return a number of degrees."""
    if type(value) is int and -_INTEGER_BOUND < value < _INTEGER_BOUND:
        return float(value)
    read = number(value)
    return None if read is None else float(read)


def box(value: object) -> list[float] | None:
    """Return the invoice's rectangle on the image: left, top, right, bottom in pixels; `[]` if the vendor has none."""
    if not isinstance(value, list):
        return None
    numbers = [angle(item) for item in value]
    return None if None in numbers else [item for item in numbers if item is not None]


def moment(value: object) -> datetime | None:
    """Return a point in time at UTC+8, from epoch milliseconds or any written form."""
    if isinstance(value, int) and _SINCE <= value < _UNTIL:
        return EPOCH + timedelta(milliseconds=value)
    if isinstance(value, str):
        return _moment_from_text(value.strip())
    read = whole(value)
    return None if read is None else _moment_from_text(str(read))


def day(value: object) -> date | None:
    """Return a date at UTC+8, from the same forms as `moment`."""
    if isinstance(value, str):
        return _day_from_text(value) if len(value) <= _CHARACTERS else _day_of(moment(value))
    if isinstance(value, int) and _SINCE <= value < _UNTIL:
        return date.fromordinal(_FIRST_DAY + (value + _OFFSET) // _DAY_LENGTH)
    return _day_of(moment(value))


@lru_cache(maxsize=LIMITS.cached_days)
def _day_from_text(words: str) -> date | None:
    return _day_of(moment(words))


def _day_of(read: datetime | None) -> date | None:
    return None if read is None else read.date()


def plain(value: Decimal) -> str:
    """Return the digits of a Decimal without an exponent."""
    return format(value, "f")


def _number_from_text(words: str) -> Decimal | None:
    if len(words) > _CHARACTERS and len(words := words.strip()) > _CHARACTERS:
        return None
    if _PLAIN.fullmatch(words):
        return Decimal(words)
    found = _DECORATED.fullmatch(words.translate(_PUNCTUATION).strip())
    if found is None or (found[1] and found[2]):
        return None
    digits = found[3].replace(",", "")
    return Decimal(found[1] + found[2] + digits) if any(map(str.isdecimal, digits)) else None


def _has_few_digits(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    return isinstance(exponent, int) and exponent >= -_DIGITS and len(digits) + exponent <= _DIGITS


def _moment_from_epoch(milliseconds: int) -> datetime | None:
    return _none_on_error(lambda: EPOCH + timedelta(milliseconds=milliseconds))


def _moment_from_text(words: str) -> datetime | None:
    if len(words) > _CHARACTERS:
        return None
    words = words.translate(_PUNCTUATION)
    compact = _COMPACT.fullmatch(words)
    if compact:
        return _moment_of(*compact.groups())
    if _EPOCH_TEXT.fullmatch(words):
        return _moment_from_epoch(int(words))
    parts = _DAY.match(words)
    if not parts:
        return None
    clock = _CLOCK.fullmatch(words, parts.end())
    if clock:
        return _moment_of(*parts.groups(), *clock.groups())
    return _none_on_error(lambda: _moment_from_iso(words))


def _moment_from_iso(words: str) -> datetime:
    read = datetime.fromisoformat(words)
    return read.astimezone(CHINA) if read.tzinfo else read.replace(tzinfo=CHINA)


def _moment_of(*parts: str | None) -> datetime | None:
    year, month, of_month, hour, minute, second = (int(part or 0) for part in (*parts, *[None] * (6 - len(parts))))
    return _none_on_error(lambda: datetime(year, month, of_month, hour, minute, second, tzinfo=CHINA))


def _none_on_error(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except (ValueError, OverflowError):
        return None
