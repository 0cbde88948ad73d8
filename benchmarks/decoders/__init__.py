"""Ways to read the vendor's bodies, each giving the same typed values.

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
    """What reads each of the bodies."""

    ocr: Callable[[bytes], Values]
    verify: Callable[[bytes], Values]
    urls: Callable[[bytes], Values]
    details: Callable[[bytes], Values]


def rate_of(text: str) -> Decimal:
    """A rate as printed, `6%`."""
    return Decimal(text.removesuffix("%")) / 100


def number_of(text: str) -> Decimal | None:
    """A quantity, which may be empty."""
    return Decimal(text) if text else None


def printed_day(text: str) -> date:
    """A date as printed, `2021年06月11日`."""
    return date(int(text[:4]), int(text[5:7]), int(text[8:10]))


def day_of(milliseconds: int) -> date:
    """The day at UTC+8 of a moment in epoch milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, _CHINA).date()
