"""Arguments of public calls, checked before anything is sent; a wrong one is a `ConfigError` that names it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date  # noqa: N812 - a field of the vendor's is called date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ekb_async.config import Priority
from ekb_async.errors import ConfigError


def checked_text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field} must be a text that is not empty")
    return value


def checked_texts(field: str, values: Iterable[str]) -> list[str]:
    """The texts in their order, duplicates dropped. One text is not taken for its letters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"{field} must be several texts, not one")
    return list(dict.fromkeys(checked_text(field, value) for value in values))


def checked_priority(value: Priority) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise ConfigError(f"priority must be a Priority, not {value!r}") from None


def checked_max_wait(value: float | None) -> float | None:
    if value is not None and (not _is_number(value) or not value >= 0):
        raise ConfigError(f"max_wait must be None or a number of seconds, not {value!r}")
    return value


def checked_timeout(value: float) -> float:
    if not _is_number(value) or not value > 0:
        raise ConfigError(f"timeout must be a number of seconds above 0, not {value!r}")
    return value


def checked_path(value: Path | str) -> Path:
    if not isinstance(value, Path | str):
        raise ConfigError(f"a file to upload must be a path or bytes, not {type(value).__name__}")
    return Path(value)


def vendor_date(value: Date | str) -> str:
    """The date as the vendor writes it, yyyyMMdd."""
    try:
        return (value if isinstance(value, Date) else Date.fromisoformat(value)).strftime("%Y%m%d")
    except (TypeError, ValueError):
        raise ConfigError("date must be a date, or text as 20220110 or 2022-01-10") from None


def vendor_amount(value: Decimal | str | float | None) -> str | None:
    """The amount as plain digits. A float counts by the digits it shows, not by its binary value."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(f"amount must be a decimal number, not {value!r}") from None
    if not amount.is_finite():
        raise ConfigError("amount must be finite")
    return f"{amount:f}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
