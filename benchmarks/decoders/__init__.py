"""Decoders of the vendor's bodies, which all return the same typed values.

Per recognised invoice: code, number, date, total, seller. Per verified one: ID, whether it is usable, number, total,
date. Per file URL: ID, URL, thumbnail, source, name. Per line: name, quantity, tax rate, tax, amount. Amounts,
quantities and rates are Decimal (a rate of 6 % is 0.06), dates are dates, and an empty quantity is None.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

Values = list[tuple[Any, ...]]

_CHINA = timezone(timedelta(hours=8))


class Reader(NamedTuple):
    """A function for each kind of body."""

    ocr: Callable[[bytes], Values]
    verify: Callable[[bytes], Values]
    urls: Callable[[bytes], Values]
    details: Callable[[bytes], Values]


def rate_of(text: str) -> Decimal:
    """Return a rate printed as `6%`."""
    return Decimal(text.removesuffix("%")) / 100


def number_of(text: str) -> Decimal | None:
    """Return a quantity; None if it is empty."""
    return Decimal(text) if text else None


def printed_day(text: str) -> date:
    """Return a date printed as `2021年06月11日`."""
    return date(int(text[:4]), int(text[5:7]), int(text[8:10]))


def day_of(milliseconds: int) -> date:
    """Return the day at UTC+8 of a time in epoch milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, _CHINA).date()
