"""What follows a failed attempt: another attempt, or the end of the call.

`next_step` decides that for every kind of call. It is pure: what was tried before is in a `History`. The first row that
applies decides; only "again after a wait" counts as a try.

| failure | next step |
| --- | --- |
| a call that came first (token, upload, file URL) failed, after retries of its own | fail |
| token refused with 403 a moment after it was issued | again, with the same token |
| token refused; it was the first, or the second if sessions share it | again, with a fresh token |
| no permission; keys or given token refused | fail, for all queued calls |
| refused for the rate, a call with slots, fewer than 50 times | again, with the next slot |
| file not recognised, no entries in the reply, an attachment's first URL | again, with a fresh URL |
| answer of a billed call lost, `repeat_unknown` is False | fail with `OutcomeUnknownError` |
| provider failed, fewer than 3 tries | again after a wait, with a fresh URL the first time |
| transient, fewer than `max_tries` tries | again after a wait |
| anything else | fail |

Transient failures are a broken connection, a time limit, a truncated reply, a refusal for the rate, and 5xx without
501 and 505 to 519. A billed call that was sent and whose reply was lost may have been billed.

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

`backoff.expo` computes the waits: at least what the server asked for, at most `max_backoff`, with upward jitter only.
backoff's decorators are not used, since a queued call gives up its slot while it waits.
"""

from __future__ import annotations

import enum
import itertools
import random

import msgspec
from msgspec.structs import replace

from ekb_async.config import SessionConfig
from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProviderError,
    ProxyError,
    ProxySettingError,
    QueueTimeoutError,
    RecognitionError,
    ResponseError,
    ServerError,
    ThrottledError,
)
from ekb_async.protocol.limits import LIMITS

try:
    from backoff import expo
except ImportError as _error:
    # Two distributions install this package, and uninstalling either one removes the files of both.
    raise ImportError(
        "ekb_async cannot import backoff, the package of the distribution python-backoff. Uninstalling the "
        "distribution backoff removes it as well. To repair it: pip install --force-reinstall python-backoff",
        name="backoff",
    ) from _error

_PERMANENT_STATUSES = frozenset({501, *range(505, 520)})
_PASSING_STATUSES = frozenset({408, 429})
_GATEWAY_STATUSES = frozenset({502, 504, *range(520, 600)})


class RefusedToken(enum.Enum):
    """The token that the vendor refused, as far as it decides about the next step."""

    NONE = enum.auto()
    """No token was refused."""
    NEW = enum.auto()
    """Issued a moment ago, so that the vendor may not accept it yet."""
    OWN = enum.auto()
    """Fetched by this session, which can fetch another one."""
    SHARED = enum.auto()
    """Fetched by another session, and perhaps revoked together with the next one in the store."""
    GIVEN = enum.auto()
    """Given by the caller, so that there is no other one."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried so far for one call, and what can be tried."""

    billed: bool = False
    has_slots: bool = False
    """Whether each attempt waits for a slot."""
    renewable_url: bool = False
    """Whether another URL of the call's file can be fetched, and none was so far."""
    tries: int = 1
    refusals: int = 0
    """How often the call was refused for its rate."""
    discarded_tokens: int = 0
    early_tokens: int = 0
    """How often the call was refused because its token was new."""
    refused_token: RefusedToken = RefusedToken.NONE
    """The token of the latest attempt if it was refused."""
    keys_refused: bool = False
    """Whether the vendor has refused the keys or the given token."""

    @property
    def refused(self) -> int:
        """How often the call was refused for its rate or its token, and so neither made nor billed."""
        return self.refusals + self.discarded_tokens + self.early_tokens

    def with_refusal(self, token: RefusedToken | None, *, keys_refused: bool) -> History:
        """Return the history of an attempt that was refused for its token; None if it had none."""
        return replace(self, refused_token=token or RefusedToken.NONE, keys_refused=keys_refused)


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """The call is made again after `wait` seconds, which are lengthened by jitter; `history` is that of then."""

    history: History
    wait: float = 0.0
    fresh_url: bool = False
    fresh_token: bool = False
    counts: bool = False
    """Whether the failed attempt counts as a try."""


class Fail(msgspec.Struct, frozen=True):
    """The call fails with `error`, and if `for_all`, so does every queued call of its kind."""

    error: EkbError
    for_all: bool = False


Step = Again | Fail


def next_step(error: EkbError, history: History, config: SessionConfig) -> Step:
    """Return what follows an attempt that failed with `error`."""
    if not error.preliminary and (again := _uncounted(error, history)) is not None:
        return again
    if history.billed and not config.repeat_unknown and answer_lost(error):
        return Fail(_outcome_unknown(error))
    if not is_transient(error) or history.tries >= _most_tries(error, config):
        keys_refused = isinstance(error, AuthError) and history.keys_refused
        return Fail(error, error.for_all or keys_refused or isinstance(error, PermissionDeniedError))
    fresh_url = isinstance(error, ProviderError) and history.renewable_url
    renewable = history.renewable_url and not fresh_url
    return Again(
        history=replace(history, tries=history.tries + 1, renewable_url=renewable),
        wait=_wait(error, history.tries, config.max_backoff),
        fresh_url=fresh_url,
        counts=True,
    )


def _uncounted(error: EkbError, history: History) -> Again | None:
    """Return the repetition that does not count the failed attempt as a try; None if there is none."""
    match error:
        case AuthError():
            if history.refused_token is RefusedToken.NEW:
                # A call with slots waits long enough for the next one.
                after = replace(history, early_tokens=history.early_tokens + 1)
                return Again(history=after, wait=0.0 if history.has_slots else LIMITS.new_token_wait_seconds)
            allowed = {RefusedToken.OWN: 1, RefusedToken.SHARED: 2}.get(history.refused_token, 0)
            if history.discarded_tokens < allowed and not history.keys_refused:
                after = replace(history, discarded_tokens=history.discarded_tokens + 1)
                return Again(history=after, fresh_token=True)
        case ThrottledError() if history.has_slots and history.refusals + 1 < LIMITS.refusals_per_call:
            return Again(history=replace(history, refusals=history.refusals + 1))
        case RecognitionError() if history.renewable_url and not error.has_entries:
            return Again(history=replace(history, renewable_url=False), fresh_url=True)
    return None


def _outcome_unknown(error: EkbError) -> OutcomeUnknownError:
    message = f"the call was sent and its answer was lost ({error}); it may have been billed"
    unknown = OutcomeUnknownError(message, endpoint=getattr(error, "endpoint", ""))
    unknown.attempts = error.attempts
    return unknown


def _most_tries(error: EkbError, config: SessionConfig) -> int:
    # Each try of a provider may be billed, and a file that cannot be opened gives the same reply as a failing provider.
    return min(LIMITS.provider_attempts, config.max_tries) if isinstance(error, ProviderError) else config.max_tries


def _wait(error: EkbError, tries: int, longest: float) -> float:
    first = min(LIMITS.first_backoff_seconds, longest)
    # The first value of `expo` starts the generator.
    computed = next(itertools.islice(expo(factor=first, max_value=longest), tries, None))
    requested = error.retry_after if isinstance(error, ApiError) else None
    return min(longest, max(computed, requested or 0.0))


def jittered(wait: float) -> float:
    """Return a wait lengthened at random, so that clients do not retry at the same time."""
    return wait * random.uniform(1.0, 1.0 + LIMITS.backoff_jitter_share)  # noqa: S311 - spreading load, not secrecy


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
    if isinstance(error, ResponseError):
        return error.lost and not error.settled
    if isinstance(error, ProxyError):
        is_refused = error.status is not None and 400 <= error.status < 500 and error.status not in _PASSING_STATUSES
        return not is_refused and not isinstance(error, ProxySettingError)
    return isinstance(error, EkbTimeoutError | EkbConnectionError | ThrottledError | ProviderError)
