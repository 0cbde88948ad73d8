"""Which failed attempts are retried, and after what wait.

Transient failures are retried: a broken connection, a time limit, a truncated reply, 5xx, trouble at the recognition
provider. Two things limit retries: `SessionConfig.max_tries`, and cost. A billed call that was sent and whose reply was
lost may have been billed; it is sent again only if the configuration allows it.

The reply to a billed call is lost if the connection broke or the time limit passed after the call was sent, if the
reply cannot be read, or if a gateway replied in the vendor's place. 502, 504 and 520 to 599 always come from a
gateway. Any other 5xx, 500 and 503 included, counts as the vendor's own refusal, which is not billed, only if its
body has one of these forms; otherwise a gateway wrote it:

- `errorCode` with `errorMessage` or `errorMsg`, at the top or in `value`;
- `code` with `msg` in `value`, or beside `data` or `traceId`;
- any Chinese text that is not an HTML page.

Everything else comes from a gateway: an HTML page, English text, no body, an empty object, and an English object with a
code as Envoy (`code`, `message`), Spring Cloud Gateway (`timestamp`, `path`, `status`, `error`, `requestId`), Kong
(`message`, `request_id`) and others (`detail`, `error_msg`) write it.

At any status, a text that says the vendor is busy, or asks to try again later, is judged by the same test of the
body: from the vendor it is a refusal, retried up to `max_tries`. A text that reports a timeout at the vendor (请求超时)
is a lost reply. A text that says the rate is exceeded is a refusal, whether the vendor or a gateway wrote it.

`backoff` runs the retry loop. Its default jitter can shorten a wait to nothing, so this module computes the wait:
exponential, at least what the server asked for, at most `max_backoff`, with upward jitter only.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator
from typing import ParamSpec, TypeVar

from ekb_async.config import SessionConfig
from ekb_async.errors import (
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    ProviderError,
    ProxyError,
    ProxySettingError,
    QueueTimeoutError,
    ResponseError,
    ServerError,
    ThrottledError,
)
from ekb_async.protocol.limits import LIMITS
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine

try:
    from backoff import expo, on_exception
except ImportError as _error:
    # Two distributions install this package, and uninstalling either one removes the files of both.
    raise ImportError(
        "ekb_async cannot import backoff, the package of the distribution python-backoff. Uninstalling the "
        "distribution backoff removes it as well. To repair it: pip install --force-reinstall python-backoff",
        name="backoff",
    ) from _error

P = ParamSpec("P")
R = TypeVar("R")

_PERMANENT_STATUSES = frozenset({501, *range(505, 520)})
_PASSING_STATUSES = frozenset({408, 429})
_GATEWAY_STATUSES = frozenset({502, 504, *range(520, 600)})


def is_from_gateway(status: int, *, has_vendor_body: bool) -> bool:
    """Return whether a gateway replied in the vendor's place, so that it is unknown what the vendor did."""
    return status in _GATEWAY_STATUSES or not has_vendor_body


def answer_lost(error: EkbError) -> bool:
    """Return whether the call was sent and its result is unknown."""
    if error.preliminary:
        return False
    if isinstance(error, EkbTimeoutError | EkbConnectionError):
        return error.sent
    return isinstance(error, ResponseError | ServerError) and error.lost


def is_transient(error: EkbError) -> bool:
    """Return whether the same call may succeed if it is made again."""
    # The call that failed first (token, upload, file URL) was retried on its own.
    if error.preliminary or isinstance(error, QueueTimeoutError):
        return False
    if isinstance(error, ServerError):
        return error.status not in _PERMANENT_STATUSES
    if isinstance(error, ProviderError):
        # Each try may be billed, and a file that cannot be opened gives the same reply as a failing provider.
        return error.attempts < LIMITS.provider_attempts
    if isinstance(error, ResponseError):
        return error.lost and not error.settled
    if isinstance(error, ProxyError):
        is_refused = error.status is not None and 400 <= error.status < 500 and error.status not in _PASSING_STATUSES
        return not is_refused and not isinstance(error, ProxySettingError)
    return isinstance(error, EkbTimeoutError | EkbConnectionError | ThrottledError)


def retrying(config: SessionConfig) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Return a decorator that retries an attempt by the rules of this module."""
    return on_exception(
        _waits,
        EkbError,
        max_tries=config.max_tries,
        giveup=_is_final,
        jitter=_jittered,
        logger=None,
        first=min(LIMITS.first_backoff_seconds, config.max_backoff),
        longest=config.max_backoff,
    )


def _is_final(error: Exception) -> bool:
    return not (isinstance(error, EkbError) and is_transient(error))


def _waits(first: float, longest: float) -> Generator[float, EkbError, None]:
    error = yield 0.0
    exponential = expo(factor=first, max_value=longest)
    next(exponential)
    for computed in exponential:
        requested = error.retry_after if isinstance(error, ThrottledError | ServerError) else None
        wait = min(longest, max(computed, requested or 0.0))
        _log_retry(error, wait)
        error = yield wait


def _log_retry(error: EkbError, wait: float) -> None:
    endpoint = getattr(error, "endpoint", "") or "a call"
    log_lines.calls.info(
        "%s: attempt %d failed, retrying in %.2g s: %s", endpoint, error.attempts, wait, OneLine(error)
    )


def _jittered(wait: float) -> float:
    return wait * random.uniform(1.0, 1.0 + LIMITS.backoff_jitter_share)  # noqa: S311 - spreading load, not secrecy
