"""The errors that the package raises on purpose.

    EkbError
    ├── ConfigError                     wrong arguments or settings, found before anything is sent
    ├── TaskNotFoundError               a task of a backlog that does not exist (also a LookupError)
    ├── ManifestError                   a manifest or list that cannot be added; .problems (also a ConfigError)
    ├── StorageError                    a database or file that cannot be read or written (also a ConfigError)
    │   └── BacklogBusyError            another program uses the backlog
    ├── QueueFullError                  the bounded queue is full
    ├── SessionClosedError              the session was closed before the call was made
    ├── EkbTimeoutError                 one attempt took too long; .sent
    │   └── QueueTimeoutError           not started within `max_wait`; .position .eta
    ├── EkbConnectionError              no connection, or a broken one; .sent
    │   └── ProxyError                  the proxy cannot be used; .status
    │       └── ProxySettingError       wrong host name or login (also a ConfigError)
    ├── OutcomeUnknownError             a billed call without an answer, not repeated
    ├── ResponseError                   a reply that cannot be read
    └── ApiError                        the vendor answered with an error; .status .code .message .endpoint .hint
        ├── AuthError                   401, 403, unless the text says something else
        ├── PermissionDeniedError       the feature is not enabled for this enterprise
        ├── ThrottledError              rate limit; .retry_after
        ├── RecognitionError            识别失败
        ├── ProviderError               第三方出现问题请稍后再试
        ├── StaffNotFoundError          人员不存在
        ├── InvoiceNotFoundError        no such invoice, or 查验成功所查发票不存在
        │   └── InvoiceMismatchError    查验成功所查发票不一致
        ├── InvalidRequestError         other 4xx
        └── ServerError                 5xx

`ekb_async.protocol.replies` decides which reply becomes which error. All attributes have defaults, so that errors can
be copied and pickled.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, Self


class EkbError(Exception):
    """Base class of all errors of this package."""

    attempts: int = 0
    """Number of attempts to send the call before it failed; 0 if there was none."""
    maybe_billed: int = 0
    """How many attempts of a billed call were sent and had no answer, whatever error it ended with."""
    preliminary: bool = False
    """Whether a call that had to come first (token, upload, file URL) failed, so that the call itself was not sent."""
    of_file: bool = False
    """Whether the call's own file caused the error, so that it says nothing about other calls."""
    for_all: bool = False
    """Whether every further call of this kind would fail with it, so that all queued ones have failed too."""
    of_request: bool = False
    """Whether a request for many IDs failed as a whole, and this ID was not requested alone."""
    request_id: str | None = None
    """ID of the request for the vendor's support, if the reply has one."""

    def again(self) -> Self:
        """Return a copy without traceback, so that each of several waiting callers raises its own."""
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        return twin

    def met_before_sending(self) -> Self:
        """Return a copy for a call that was not sent because a call that had to come first failed."""
        twin = self.again()
        twin.preliminary = True
        twin.attempts = 0
        if isinstance(twin, EkbTimeoutError | EkbConnectionError):
            twin.sent = False
        return twin


class ConfigError(EkbError, ValueError):
    """Raised for wrong arguments or settings, before anything is sent; the message names the field."""


class TaskNotFoundError(ConfigError, LookupError):
    """Raised for the number of a task that a backlog does not have."""


class ManifestProblem(NamedTuple):
    """What is wrong in a manifest: the file, the line from 1, the column, both None if unknown, and the reason."""

    file: str
    line: int | None
    column: str | None
    reason: str

    def __str__(self) -> str:
        if self.line is None:
            return f"{self.file}: {self.reason}" if self.column is None else self._in_column()
        if self.column is None:
            return f"{self.file}, line {self.line}: {self.reason}"
        return f"{self.file}, line {self.line}, column {self.column}: {self.reason}"

    def _in_column(self) -> str:
        return f"{self.file}, column {self.column}: {self.reason}"


class ManifestError(ConfigError):
    """Raised when a manifest or a list of codes cannot be added; nothing of it is added then.

    For one release it is also a `ConfigError`.
    """

    problems: tuple[ManifestProblem, ...] = ()
    """What is wrong, at least one entry."""

    @classmethod
    def at(cls, file: object, reason: str, *, line: int | None = None, column: str | None = None) -> Self:
        """Return the error for one problem."""
        problem = ManifestProblem(str(file), line, column, reason)
        error = cls(str(problem))
        error.problems = (problem,)
        return error


class StorageError(ConfigError):
    """Raised when a database or a file of the package's own cannot be read or written.

    For one release it is also a `ConfigError`.
    """


class BacklogBusyError(StorageError):
    """Raised when another program has locked the backlog, or a run works on it, for longer than was waited."""


class QueueFullError(EkbError):
    """Raised when the queue of a rate-limited call already holds `SessionConfig.queue_size` jobs."""


class SessionClosedError(EkbError):
    """Raised when the session was closed before the call was made or while it was running."""


class EkbTimeoutError(EkbError, TimeoutError):
    """Raised when one attempt took longer than its time limit.

    `sent` is true if the call had left this machine and may therefore be billed.
    """

    hint = "Check the network to the vendor, or allow the call more time."

    def __init__(self, message: str = "", *, endpoint: str = "", sent: bool = False) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.sent = sent


class QueueTimeoutError(EkbTimeoutError):
    """Raised when the call could not be started within `max_wait`; it was not sent.

    `position` is its position in the queue (0 = next), `eta` the estimated number of seconds until it would have been
    sent.
    """

    hint = "Allow a longer wait, give the call a higher priority, or queue less."

    def __init__(self, message: str = "", *, endpoint: str = "", position: int = 0, eta: float = 0.0) -> None:
        super().__init__(message, endpoint=endpoint, sent=False)
        self.position = position
        self.eta = eta


class EkbConnectionError(EkbError):
    """Raised when the vendor could not be reached, or the connection broke.

    `sent` is true if the call had left this machine and may therefore be billed.
    """

    hint = "Check the base URL and the network to the vendor."

    def __init__(self, message: str = "", *, endpoint: str = "", sent: bool = False) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.sent = sent


class ProxyError(EkbConnectionError):
    """Raised when the proxy cannot be reached, or does not connect to the vendor; the call was not sent.

    `status` is the HTTP status of the proxy's answer, None if there was none.
    """

    hint = "Check the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or the client_session that was passed in."

    def __init__(self, message: str = "", *, endpoint: str = "", status: int | None = None) -> None:
        super().__init__(message, endpoint=endpoint)
        self.status = status


class ProxySettingError(ProxyError, ConfigError):
    """Raised when the proxy's host does not exist, or the proxy refuses the login; a retry changes neither."""


class OutcomeUnknownError(EkbError):
    """Raised with `repeat_unknown=False` when a billed call was sent and got no answer; it is not sent again."""

    def __init__(self, message: str = "", *, endpoint: str = "") -> None:
        super().__init__(message)
        self.endpoint = endpoint


class CallCancelledError(EkbError):
    """The error of a row of a backlog whose call a person has cancelled before it was sent; it is never raised."""


class ResponseError(EkbError):
    """Raised for a reply that cannot be read: invalid HTTP, not JSON, of the wrong shape, truncated or too large.

    `lost` is true if the vendor's answer is not known (truncated, or not JSON at all), so that the call may be billed.
    `settled` is true if a retry would get the same reply, for example because a proxy corrupts every one.
    """

    def __init__(
        self, message: str = "", *, endpoint: str = "", status: int = 0, lost: bool = False, settled: bool = False
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.status = status
        self.lost = lost
        self.settled = settled


class ApiError(EkbError):
    """Raised when the vendor answered with an error.

    `status` is the HTTP status, `code` the vendor's error code or None, `message` the vendor's text, `endpoint` the
    path of the interface and `hint` one sentence on what to check. `invoice_id` is the requested ID if the error
    concerns one invoice. `request_id` identifies the request for the vendor's support, and `details` is the rest of
    the answer, such as a stack trace; both are None if the answer has none. Secrets and the names of internal hosts
    are masked in all of them. `retry_after` is the wait in seconds that the vendor asks for, or None.
    """

    invoice_id: str | None = None
    details: str | None = None
    is_absent: bool = False
    """Whether the address has no such interface."""
    has_entries: bool = False
    """Whether the error is an entry of the list that the call returns, so that the vendor has read the request."""
    default_hint = "See the vendor's page of this interface for the text of the message."

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str | None = None,
        endpoint: str = "",
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.endpoint = endpoint
        self.hint = hint or self.default_hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = f" [{self.code}]" if self.code and self.code != str(self.status) else ""
        about = f": {self.invoice_id}" if self.invoice_id else ""
        return f"{self.status}{code} {self.message}{about} ({self.endpoint}). {self.hint}"

    def about(self, invoice_id: str | None) -> Self:
        """Return a copy with this `invoice_id`."""
        twin = self.again()
        twin.invoice_id = invoice_id
        return twin


class AuthError(ApiError):
    """Raised when the token or the keys were refused (401, 403)."""

    default_hint = "Check the app key and secret, and that the base URL is the platform of this enterprise."


class PermissionDeniedError(ApiError):
    """Raised when the feature or interface is not enabled for this enterprise; every further call fails too."""

    default_hint = "Ask the administrator to switch on OCR智能识别 and 发票查验 for this enterprise."


class ThrottledError(ApiError):
    """Raised when the vendor refused the call because of its rate limit."""

    default_hint = "Lower the rate, and check that nothing else uses this interface for the same enterprise."


class RecognitionError(ApiError):
    """识别失败: the file URL is wrong or has expired, or the file shows nothing that can be recognised."""

    default_hint = "Check that the file URL opens, has not expired, and shows an invoice."


class ProviderError(ApiError):
    """第三方出现问题请稍后再试: the recognition provider failed, or could not open the file."""

    default_hint = "Check that the file URL opens in a browser and is an image or a PDF; otherwise try later."


class StaffNotFoundError(ApiError):
    """人员不存在: the staff ID is wrong, or that person is not active."""

    default_hint = "Check that staff_id exists and is active; it has the form corporation:staff."


class InvoiceNotFoundError(ApiError):
    """查验成功所查发票不存在: the tax authority does not know the invoice, or the vendor does not know its ID."""

    default_hint = "Check the invoice ID, or the invoice's code, number, date and amount."


class InvoiceMismatchError(InvoiceNotFoundError):
    """查验成功所查发票不一致: the tax authority has other data for the invoice."""

    default_hint = "Compare code, number, date, amount and check code with the invoice itself."


class InvalidRequestError(ApiError):
    """Raised when the vendor refused the request's parameters (400, 404, 412, 413 and other 4xx)."""

    default_hint = "Check the arguments of the call against the vendor's page of this interface."


class ServerError(ApiError):
    """Raised for a failure at the vendor or its gateway (5xx, or 400 with the vendor's code 5xx).

    `lost` is true if a gateway answered instead of the vendor, so that the call may have been executed and billed (see
    `ekb_async.protocol.retry`).
    """

    default_hint = "The trouble is on the vendor's side; try again later."

    def __init__(self, message: str = "", *, lost: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.lost = lost
