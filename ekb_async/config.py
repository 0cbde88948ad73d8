"""The settings of a session, and the credentials with which it calls."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.validation import checked_number, checked_text, checked_whole


class Priority(enum.IntEnum):
    """Which call goes first: a lower class waits for a higher one, first come first served within one."""

    HIGH = 0
    NORMAL = 1
    BULK = 2


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How fast, how patient and how large a session is. Raises `ConfigError` naming the field that is out of range.

    The rates are per interface, as the vendor's limits are: `verify_rate` holds for each of the three verifying calls
    on its own.
    """

    ocr_rate: float = 1.0
    """Starts of OCR calls per second; above 0, at most 1,000,000."""
    verify_rate: float = 1.0
    """Starts per second of each verifying call; above 0, at most 1,000,000."""
    rate_guard: float = 0.01
    """Seconds added between two starts against network jitter; 0 to 60. It widens while the vendor refuses calls."""
    max_running: int = 20
    """Calls of one kind in flight; 1 to 10,000."""
    queue_size: int = 10_000
    """Jobs waiting per rate-limited call; 1 to 10,000,000. One more raises `QueueFullError`."""
    batch_size: int = 100
    """IDs in one request of a batched call; 1 to 100, the most that the vendor takes."""
    batch_in_flight: int = 4
    """Requests of one batched call in flight; 1 to 1,000."""
    download_in_flight: int = 8
    """Files of invoices fetched at a time; 1 to 1,000."""
    request_timeout: float = 60.0
    """Seconds for one attempt on the network, waiting for a turn not included; above 0."""
    connect_timeout: float = 10.0
    """Seconds to open a connection; above 0."""
    read_timeout: float = 30.0
    """Seconds of silence in the middle of an answer; above 0."""
    max_tries: int = 5
    """Attempts for one call; 1 to 100. Being refused for the rate does not count."""
    max_backoff: float = 30.0
    """Seconds waited at most between two attempts, a `Retry-After` included; 0 or more."""
    repeat_unknown: bool = True
    """Whether a billed call whose answer was lost is sent again; otherwise `OutcomeUnknownError`."""
    close_timeout: float = 10.0
    """Seconds that closing waits for running calls; 0 or more."""

    def __post_init__(self) -> None:
        checked_number("ocr_rate", self.ocr_rate, above=0, most=1_000_000)
        checked_number("verify_rate", self.verify_rate, above=0, most=1_000_000)
        checked_number("rate_guard", self.rate_guard, most=60)
        checked_whole("max_running", self.max_running, most=10_000)
        checked_whole("queue_size", self.queue_size, most=10_000_000)
        checked_whole("batch_size", self.batch_size, most=100)
        checked_whole("batch_in_flight", self.batch_in_flight, most=1_000)
        checked_whole("download_in_flight", self.download_in_flight, most=1_000)
        checked_number("request_timeout", self.request_timeout, above=0)
        checked_number("connect_timeout", self.connect_timeout, above=0)
        checked_number("read_timeout", self.read_timeout, above=0)
        checked_whole("max_tries", self.max_tries, most=100)
        checked_number("max_backoff", self.max_backoff)
        checked_number("close_timeout", self.close_timeout)
        if not isinstance(self.repeat_unknown, bool):
            raise ConfigError(f"repeat_unknown must be True or False, not {self.repeat_unknown!r}")


def checked_priority(value: Priority) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise ConfigError(f"priority must be a Priority, not {value!r}") from None


class AppCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """App key and secret of an enterprise, exchanged for access tokens at `/api/openapi/v1/auth/getAccessToken`.

    Raises `ConfigError` if one of them is empty.
    """

    app_key: str
    app_security: str

    def __post_init__(self) -> None:
        checked_text("app_key", self.app_key)
        checked_text("app_security", self.app_security)

    def __repr__(self) -> str:
        return f"AppCredentials(app_key={self.app_key!r}, app_security='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("app_key", self.app_key), ("app_security", "***")]


class StaticToken(msgspec.Struct, frozen=True):
    """An access token obtained elsewhere; it is used as it is and never renewed.

    Raises `ConfigError` if it is empty.
    """

    token: str

    def __post_init__(self) -> None:
        checked_text("token", self.token)

    def __repr__(self) -> str:
        return "StaticToken('***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("token", "***")]


Credentials = AppCredentials | StaticToken
