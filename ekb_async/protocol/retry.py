"""When a failed attempt is made again, and after what wait.

Retried is what may go well next time: a broken connection, a time limit, an answer cut off, 5xx, trouble at the
recognition provider. Two things bound it: `SessionConfig.max_tries`, and money. A billed call that was sent and whose
answer was lost may have been paid for; it is sent again only if the configuration says so.

The answer of a billed call is lost if the connection broke or the time was over after it had left, if what came back
cannot be read, or if a gateway answered in the vendor's place. 502, 504 and 520 to 599 are always a gateway's. Any
other 5xx, 500 and 503 among them, is the vendor's own refusal, for which nothing is billed, only if its body is one
that the vendor documents or writes: `errorCode` with `errorMessage` or `errorMsg`, at the top or in `value`; `code`
with `msg` in `value`, or beside `data` or `traceId`; or any text in Chinese that is no page. All else is a gateway's:
a page, an English text, no body, an empty object, and an English object with a code, as Envoy (`code`, `message`),
Spring Cloud Gateway (`timestamp`, `path`, `status`, `error`, `requestId`), Kong (`message`, `request_id`) and others
(`detail`, `error_msg`) write it.

The same decides where the text says that the vendor is busy or asks to try again later, whatever the status: it is a
refusal, made again up to `max_tries`. One that says that the vendor's time was over (请求超时) is a lost answer. A text
that says the rate is exceeded is a refusal, whichever of them wrote it.

The loop itself is `backoff`'s. Its default jitter can shorten a wait to nothing, so it is given the wait this module
computes: exponential, at least what the server asked for, at most `max_backoff`, jittered upward only.
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
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine

try:
    from backoff import expo, on_exception
except ImportError as _error:
    # Two distributions own the package, and uninstalling one of them takes the files of both.
    raise ImportError(
        "ekb_async cannot import backoff, the package of the distribution python-backoff. Uninstalling the "
        "distribution backoff removes it as well. To repair it: pip install --force-reinstall python-backoff",
        name="backoff",
    ) from _error

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_WAIT = 0.5
_UPWARD_JITTER = 0.1
_PROVIDER_TRIES = 3
_PERMANENT_STATUSES = frozenset({501, *range(505, 520)})
_PASSING_STATUSES = frozenset({408, 429})
_GATEWAY_STATUSES = frozenset({502, 504, *range(520, 600)})


def is_a_gateways(status: int, *, vendors_body: bool) -> bool:
    """Whether something on the way answered in the vendor's place, so that what the vendor did is not known."""
    return status in _GATEWAY_STATUSES or not vendors_body


def answer_lost(error: EkbError) -> bool:
    """Whether the call was sent and how it ended is not known."""
    if error.preliminary:
        return False
    if isinstance(error, EkbTimeoutError | EkbConnectionError):
        return error.sent
    return isinstance(error, ResponseError | ServerError) and error.lost


def is_transient(error: EkbError) -> bool:
    """Whether the same call may go well if it is made again."""
    # What a preliminary call met has outlived that call's own retries.
    if error.preliminary or isinstance(error, QueueTimeoutError):
        return False
    if isinstance(error, ServerError):
        return error.status not in _PERMANENT_STATUSES
    if isinstance(error, ProviderError):
        # Each try may cost money, and a file that cannot be opened answers the same as a provider in trouble.
        return error.attempts < _PROVIDER_TRIES
    if isinstance(error, ResponseError):
        return error.lost and not error.settled
    if isinstance(error, ProxyError):
        is_refused = error.status is not None and 400 <= error.status < 500 and error.status not in _PASSING_STATUSES
        return not is_refused and not isinstance(error, ProxySettingError)
    return isinstance(error, EkbTimeoutError | EkbConnectionError | ThrottledError)


def retrying(config: SessionConfig) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """A decorator that makes an attempt again as this module's theory says."""
    return on_exception(
        _waits,
        EkbError,
        max_tries=config.max_tries,
        giveup=_is_final,
        jitter=_upward,
        logger=None,
        first=min(_FIRST_WAIT, config.max_backoff),
        most=config.max_backoff,
    )


def _is_final(error: Exception) -> bool:
    return not (isinstance(error, EkbError) and is_transient(error))


def _waits(first: float, most: float) -> Generator[float, EkbError, None]:
    error = yield 0.0
    exponential = expo(factor=first, max_value=most)
    next(exponential)
    for wait in exponential:
        asked = error.retry_after if isinstance(error, ThrottledError | ServerError) else None
        longer = min(most, max(wait, asked or 0.0))
        _log_again(error, longer)
        error = yield longer


def _log_again(error: EkbError, wait: float) -> None:
    endpoint = getattr(error, "endpoint", "") or "a call"
    log_lines.calls.info(
        "%s: attempt %d failed, and the next is in %.2g s: %s", endpoint, error.attempts, wait, OneLine(error)
    )


def _upward(wait: float) -> float:
    return wait * random.uniform(1.0, 1.0 + _UPWARD_JITTER)  # noqa: S311 - spreading load, not secrecy
