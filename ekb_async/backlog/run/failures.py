"""What the failure of a stored call means for its row and for other calls, and how often the call is made again.

`fault_of` and `next_day` are the only places that decide what a failure means; the cases are read from the top:

| Error | Fault |
|---|---|
| `for_all`, wrong keys, no permission, a closed session | `EVERY_CALL` |
| of the row's own file (`of_file`) | `ROW` |
| preliminary, at an interface of files: the vendor's servers failed | `SERVER` |
| preliminary, at an interface of files: the vendor refused, but not for its rate | `ROW` |
| preliminary otherwise: no token, refused for the rate, not reached | `UNSENT` |
| no room in the queue, no slot in time, not reached | `UNSENT` |
| sent and not answered, if the call is billed | `UNANSWERED` |
| sent and not answered, if it is not billed; a server error | `SERVER` |
| a check of an invoice that the tax authority refuses today, see `next_day` | `LATER` |
| anything else, `ProviderError` too: the vendor also returns it for a file that shows no invoice | `ROW` |
"""

from __future__ import annotations

import enum

from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QueueFullError,
    ResponseError,
    ServerError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.protocol import endpoints
from ekb_async.protocol.retry import answer_lost

_OF_FILES = {endpoints.UPLOAD.path, endpoints.DOWNLOAD_URLS.path}


class Fault(enum.Enum):
    """What the failure of a call means, and what becomes of the call."""

    EVERY_CALL = enum.auto()
    """Every further call would fail with the same error. Pending again."""
    UNSENT = enum.auto()
    """The call did not reach the vendor, for a reason unrelated to its row. Pending again."""
    SERVER = enum.auto()
    """The vendor's servers failed, perhaps because of the row. Pending again while `Retries` allows it."""
    UNANSWERED = enum.auto()
    """A billed call got no answer, perhaps because of the row. Failed: made again, it might be billed twice."""
    LATER = enum.auto()
    """The tax authority refuses the check today, and may not tomorrow. Pending, and not claimed before then."""
    ROW = enum.auto()
    """The row is at fault; other calls are not affected. Failed."""


def fault_of(error: EkbError, *, billed: bool) -> Fault:
    """Return what the error of a call means; `billed` says whether the call is."""
    match error:
        case EkbError(for_all=True) | AuthError() | PermissionDeniedError() | SessionClosedError():
            return Fault.EVERY_CALL
        case EkbError(of_file=True):
            return Fault.ROW
        case EkbError(preliminary=True):
            return _fault_before_sending(error)
        case QueueFullError() | EkbConnectionError(sent=False) | EkbTimeoutError(sent=False):
            return Fault.UNSENT
    if isinstance(error, OutcomeUnknownError) or (billed and answer_lost(error)):
        return Fault.UNANSWERED
    return Fault.SERVER if isinstance(error, ServerError) or answer_lost(error) else Fault.ROW


def _fault_before_sending(error: EkbError) -> Fault:
    match error:
        case ApiError() | ResponseError() if error.endpoint not in _OF_FILES:
            return Fault.UNSENT
        case ServerError() | ResponseError():
            return Fault.SERVER
        case ApiError() if not isinstance(error, ThrottledError):
            return Fault.ROW
    return Fault.UNSENT


class Retries:
    """How often calls were tried that the vendor's servers failed to process. A call has at most `limit` tries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tried: dict[int, tuple[int, int]] = {}

    def allow(self, call_id: int, tries: int = 1, *, stored: int = 0, answers: int = 0) -> bool:
        """Count the tries of a call that has failed; return whether it may be made again.

        `stored` is the number of its earlier tries that are stored with it. `answers` is the number of other calls that
        were answered so far: if it grows between two failures of a call, the second is the row's own.
        """
        counted, answers_then = self._tried.get(call_id, (0, answers))
        total = max(counted, stored) + tries
        if total >= self._limit or answers != answers_then:
            self.forget(call_id)
            return False
        self._tried[call_id] = (total, answers)
        return True

    def forget(self, call_id: int) -> None:
        """Drop the count of a call that has ended."""
        self._tried.pop(call_id, None)
