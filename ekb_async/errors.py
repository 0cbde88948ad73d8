"""Every error the package raises on purpose.

    EkbError
    ├── ConfigError                     wrong arguments or settings, before anything is sent
    ├── QueueFullError                  no room in a bounded queue
    ├── SessionClosedError              the session was closed before the call was made
    ├── EkbTimeoutError                 one attempt took too long; .sent
    │   └── QueueTimeoutError           its turn did not come in time; .position .eta
    ├── EkbConnectionError              network trouble; .sent
    │   └── ProxyError                  the proxy on the way cannot be used; .status
    │       └── ProxySettingError       its name or its login is wrong (a ConfigError as well)
    ├── OutcomeUnknownError             a billed call whose answer was lost, not repeated
    ├── ResponseError                   an answer that cannot be read
    └── ApiError                        the vendor said no; .status .code .message .endpoint .hint
        ├── AuthError                   401, 403
        ├── PermissionDeniedError       the feature is not switched on for this enterprise
        ├── ThrottledError              rate limit; .retry_after
        ├── RecognitionError            识别失败
        ├── ProviderError               第三方出现问题请稍后再试
        ├── StaffNotFoundError          人员不存在
        ├── InvoiceNotFoundError        no such invoice, or 查验成功所查发票不存在
        │   └── InvoiceMismatchError    查验成功所查发票不一致
        ├── InvalidRequestError         other 4xx
        └── ServerError                 5xx

Which reply becomes which error is decided in `ekb_async.protocol.replies`. All attributes have defaults, so that
errors can be copied and pickled.
"""

from __future__ import annotations

import copy
from typing import Self


class EkbError(Exception):
    """Base of all errors of this package.

    `attempts` is how many times the call was sent or tried to be sent before it was given up; 0 if it never was.
    """

    attempts: int = 0
    preliminary: bool = False
    """Whether it was met by a call that had to be made first (a token, an upload, a file URL), so that the call it is
    raised for was never sent."""
    of_file: bool = False
    """Whether the file that the call was to send is at fault, so that it says nothing about other calls."""
    for_all: bool = False
    """Whether every further call of its kind would fail with it, so that all that was queued has failed too."""
    of_request: bool = False
    """Whether a whole request of many IDs met it, and this ID was not asked for alone."""
    request_id: str | None = None
    """The name under which the vendor can look the request up, if its answer gives one."""

    def again(self) -> Self:
        """A copy without traceback, so that several waiting callers can each raise their own."""
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        return twin

    def met_before_sending(self) -> Self:
        """A copy for a call that needed another one first, and so was never sent."""
        twin = self.again()
        twin.preliminary = True
        twin.attempts = 0
        if isinstance(twin, EkbTimeoutError | EkbConnectionError):
            twin.sent = False
        return twin


class ConfigError(EkbError, ValueError):
    """Wrong arguments or settings, found before anything is sent; the message names the field."""


class QueueFullError(EkbError):
    """The queue of a rate-limited call holds `SessionConfig.queue_size` jobs already."""


class SessionClosedError(EkbError):
    """The session was closed before the call was made or while it was running."""


class EkbTimeoutError(EkbError, TimeoutError):
    """One attempt took longer than its time limit.

    `sent` tells whether the call had left this machine, and so may be billed.
    """

    hint = "Check the network to the vendor, or allow the call more time."

    def __init__(self, message: str = "", *, endpoint: str = "", sent: bool = False) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.sent = sent


class QueueTimeoutError(EkbTimeoutError):
    """The call's turn did not come within `max_wait`; it was never sent.

    `position` is its place in the queue (0 = next) and `eta` the estimated seconds until it would have been sent.
    """

    hint = "Allow a longer wait, give the call a higher priority, or queue less."

    def __init__(self, message: str = "", *, endpoint: str = "", position: int = 0, eta: float = 0.0) -> None:
        super().__init__(message, endpoint=endpoint, sent=False)
        self.position = position
        self.eta = eta


class EkbConnectionError(EkbError):
    """The vendor could not be reached, or the connection broke.

    `sent` tells whether the call had left this machine, and so may be billed.
    """

    hint = "Check the base URL and the network to the vendor."

    def __init__(self, message: str = "", *, endpoint: str = "", sent: bool = False) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.sent = sent


class ProxyError(EkbConnectionError):
    """The proxy on the way to the vendor cannot be reached, or does not connect to the vendor; nothing was sent.

    `status` is what the proxy answered, None if it did not.
    """

    hint = "Check the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or the client_session that was passed in."

    def __init__(self, message: str = "", *, endpoint: str = "", status: int | None = None) -> None:
        super().__init__(message, endpoint=endpoint)
        self.status = status


class ProxySettingError(ProxyError, ConfigError):
    """The proxy's host does not exist, or the proxy refuses the login; neither changes by trying again."""


class OutcomeUnknownError(EkbError):
    """A billed call was sent and its answer was lost; with `repeat_unknown=False` it is not sent again."""

    def __init__(self, message: str = "", *, endpoint: str = "") -> None:
        super().__init__(message)
        self.endpoint = endpoint


class ResponseError(EkbError):
    """An answer that cannot be read: no clean HTTP, not JSON, of the wrong shape, cut off or too large.

    `lost` tells that what the vendor answered is not known (cut off, or not JSON at all), so that the call may be
    billed; `settled` that asking again would bring the same, as where a proxy spoils every answer alike.
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
    """The vendor answered with an error.

    `status` is the HTTP status, `code` the vendor's error code or None, `message` the vendor's text, `endpoint` the
    path of the interface and `hint` one sentence on what to check. Where it is about one invoice, `invoice_id` is the
    one that was asked for. `request_id` names the request for the vendor's support and `details` is what else the
    answer says, such as a stack trace; both are None if there is none. Secrets and the names of internal hosts are
    masked in all of them.
    """

    invoice_id: str | None = None
    default_hint = "See the vendor's page of this interface for the text of the message."

    def __init__(
        self, message: str = "", *, status: int = 0, code: str | None = None, endpoint: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.endpoint = endpoint
        self.hint = hint or self.default_hint
        self.request_id: str | None = None
        self.details: str | None = None
        self.is_absent = False
        """Whether there is no such interface at the address."""
        self.has_entries = False
        """Whether it stands in a list that the call promises, so that the vendor has read what was sent."""

    def __str__(self) -> str:
        code = f" [{self.code}]" if self.code and self.code != str(self.status) else ""
        about = f": {self.invoice_id}" if self.invoice_id else ""
        return f"{self.status}{code} {self.message}{about} ({self.endpoint}). {self.hint}"

    def about(self, invoice_id: str | None) -> Self:
        """Return a copy that names the invoice, or none."""
        twin = self.again()
        twin.invoice_id = invoice_id
        return twin


class AuthError(ApiError):
    """The token or the keys were refused (401, 403)."""

    default_hint = "Check the app key and secret, and that the base URL is the platform of this enterprise."


class PermissionDeniedError(ApiError):
    """The feature or the interface is not switched on for this enterprise; every further call fails too."""

    default_hint = "Ask the administrator to switch on OCR智能识别 and 发票查验 for this enterprise."


class ThrottledError(ApiError):
    """The vendor refused the call because of its rate limit.

    `retry_after` is the vendor's own wait in seconds, or None if it gave none.
    """

    default_hint = "Lower the rate, and check that nothing else uses this interface for the same enterprise."

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
        super().__init__(message, status=status, code=code, endpoint=endpoint, hint=hint)
        self.retry_after = retry_after


class RecognitionError(ApiError):
    """识别失败: the file URL is wrong or has expired, or nothing on the file can be recognised."""

    default_hint = "Check that the file URL opens, has not expired, and shows an invoice."


class ProviderError(ApiError):
    """第三方出现问题请稍后再试: the recognition provider failed, or could not open the file."""

    default_hint = "Check that the file URL opens in a browser and is an image or a PDF; otherwise try later."


class StaffNotFoundError(ApiError):
    """人员不存在: the staff ID is wrong, or that person is not active."""

    default_hint = "Check that staff_id exists and is active; it has the form corporation:staff."


class InvoiceNotFoundError(ApiError):
    """No such invoice: an unknown ID, or 查验成功所查发票不存在 from the tax authority."""

    default_hint = "Check the invoice ID, or the invoice's code, number, date and amount."


class InvoiceMismatchError(InvoiceNotFoundError):
    """查验成功所查发票不一致: the tax authority knows the invoice with other data."""

    default_hint = "Compare code, number, date, amount and check code with the invoice itself."


class InvalidRequestError(ApiError):
    """The vendor refused the request's parameters (400, 404, 412, 413 and other 4xx)."""

    default_hint = "Check the arguments of the call against the vendor's page of this interface."


class ServerError(ApiError):
    """Trouble on the vendor's side or at its gateway (5xx, or 400 with the vendor's code 5xx).

    `retry_after` is the vendor's own wait in seconds, or None if it gave none. `lost` tells that a gateway answered in
    the vendor's place, so that the call may have been carried out and billed (see `ekb_async.protocol.retry`).
    """

    default_hint = "The trouble is on the vendor's side; try again later."

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str | None = None,
        endpoint: str = "",
        hint: str = "",
        retry_after: float | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(message, status=status, code=code, endpoint=endpoint, hint=hint)
        self.retry_after = retry_after
        self.lost = lost
