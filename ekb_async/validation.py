"""Checks of arguments and settings before anything is sent; a wrong one raises a `ConfigError` that names it."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable, Iterable, Sequence
from datetime import date as Date  # noqa: N812 - a parameter is named date
from decimal import Decimal, InvalidOperation
from os import PathLike
from pathlib import Path
from typing import TypeVar

from ekb_async.errors import ConfigError

T = TypeVar("T")

_LARGEST_NUMBER = 1e9


def checked_text(field: str, value: object, *, blank: bool = False) -> str:
    """Return a text that can be encoded as UTF-8, and that is not blank unless `blank` allows it."""
    if not isinstance(value, str) or (not blank and not value.strip()):
        raise ConfigError(f"{field} must be a text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{field} holds characters that cannot be encoded as UTF-8") from None
    return value


def checked_texts(field: str, values: Iterable[str], *, blank: bool = False) -> list[str]:
    """Return the texts in their order without duplicates. A single text is refused, not iterated."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"{field} must be several texts, not one")
    return list(dict.fromkeys(checked_text(field, value, blank=blank) for value in values))


def checked_inputs(field: str, values: Iterable[T] | AsyncIterable[T]) -> Iterable[T] | AsyncIterable[T]:
    """Return several inputs, from an iterable or an asynchronous one. A single text is refused, not iterated."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable | AsyncIterable):
        raise ConfigError(f"{field} must be an iterable or an asynchronous one, not {type(values).__name__}")
    return values


def checked_number(
    field: str, value: object, *, least: float = 0, above: float = -1, most: float = _LARGEST_NUMBER
) -> float:
    """Return a number from `least` (and above `above`) to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (least <= value <= most and value > above):
        if least > above:
            raise ConfigError(f"{field} must be a number from {least:g} to {most:g}, not {_described(value)}")
        raise ConfigError(f"{field} must be a number above {above:g} and at most {most:g}, not {_described(value)}")
    return value


def checked_whole(field: str, value: object, *, most: int) -> int:
    """Return a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"{field} must be a whole number from 1 to {most:,}, not {_described(value)}")
    return value


def checked_flag(field: str, value: object) -> bool:
    """Return True or False; other values that count as true or false are refused."""
    if not isinstance(value, bool):
        raise ConfigError(f"{field} must be True or False, not {_described(value)}")
    return value


def checked_path(value: Path | str) -> Path:
    """Return the path of a file to upload."""
    if not isinstance(value, Path | str):
        raise ConfigError(f"a file to upload must be a path or bytes, not {type(value).__name__}")
    return Path(value)


def checked_place(field: str, value: object) -> Path:
    """Return the path of a file or directory."""
    if not isinstance(value, str | PathLike):
        raise ConfigError(f"{field} must be a path, not {type(value).__name__}")
    return Path(value)


def vendor_date(value: Date | str) -> str:
    """Return the date in the vendor's format, yyyyMMdd."""
    try:
        # `strftime` writes a year before 1000 without zeros.
        return (value if isinstance(value, Date) else Date.fromisoformat(value)).isoformat()[:10].replace("-", "")
    except (TypeError, ValueError):
        raise ConfigError("date must be a date, or text as 20220110 or 2022-01-10") from None


def vendor_amount(value: Decimal | str | float | None) -> str | None:
    """Return the amount as plain digits. A float is converted by its shortest repr, not its binary value."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(f"amount must be a decimal number, not {_described(value)}") from None
    if not amount.is_finite():
        raise ConfigError("amount must be finite")
    return f"{amount:f}"


def _described(value: object) -> str:
    text = type(value).__name__ if isinstance(value, int) and abs(value) > _LARGEST_NUMBER else repr(value)
    return text[:80]


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller of a deprecated public name."""
    warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=3)


def checked_choice(name: str, value: str | None, known: Sequence[str]) -> None:
    """Raise `ConfigError` if a value is given and none of those that are known."""
    if value is not None and value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}")
