"""The settings and the credentials of a session."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.validation import checked_flag, checked_number, checked_text, checked_whole


class Priority(enum.IntEnum):
    """The priority of a call: higher priorities are sent first, calls of one priority in the order of submission."""

    HIGH = 0
    NORMAL = 1
    BULK = 2


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Rates, limits and time limits of a session. Raises `ConfigError` naming the field that is out of range.

    Rates are per interface, like the vendor's limits: `verify_rate` applies to each of the three verification calls
    separately.
    """

    ocr_rate: float = 1.0
    """OCR calls started per second; above 0, at most 1,000,000."""
    verify_rate: float = 1.0
    """Calls of each verification interface started per second; above 0, at most 1,000,000."""
    rate_guard: float = 0.01
    """Seconds added between two starts at first, to absorb network jitter; 0 to 60. It then grows or shrinks until the
    vendor refuses about one call in 200 for the rate, or none, with no less than a thousandth of the interval."""
    max_running: int = 20
    """Calls of one kind in flight; 1 to 10,000."""
    queue_size: int = 10_000
    """Jobs waiting per rate-limited call; 1 to 10,000,000. Submitting one more raises `QueueFullError`."""
    batch_size: int = 100
    """IDs in one request of a batched call; 1 to 100, the vendor's limit."""
    batch_in_flight: int = 4
    """Requests of one batched call in flight; 1 to 1,000."""
    download_in_flight: int = 8
    """Invoice files downloaded at a time; 1 to 1,000."""
    request_timeout: float = 60.0
    """Seconds for one attempt on the network, without the wait for its slot; above 0."""
    connect_timeout: float = 10.0
    """Seconds to open a connection; above 0."""
    read_timeout: float = 30.0
    """Seconds without data while a reply is read; above 0."""
    max_tries: int = 5
    """Attempts of one call; 1 to 100. Attempts refused for the rate do not count."""
    max_backoff: float = 30.0
    """Longest wait in seconds between two attempts, also for a `Retry-After`; 0 or more."""
    repeat_unknown: bool = True
    """Whether a billed call is sent again if its reply was lost; otherwise it raises `OutcomeUnknownError`."""
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
        checked_flag("repeat_unknown", self.repeat_unknown)


def checked_priority(value: Priority) -> Priority:
    """Return the priority, or raise `ConfigError` if it is not one."""
    try:
        return value if type(value) is Priority else Priority(value)
    except ValueError:
        raise ConfigError(f"priority must be a Priority, not {value!r}") from None


class AppCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """App key and secret of an enterprise, exchanged for access tokens at `/api/openapi/v1/auth/getAccessToken`.

    Raises `ConfigError` if either is empty.
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
    """An access token obtained elsewhere, used as it is and never renewed.

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
