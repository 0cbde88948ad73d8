"""Asyncio client for the invoice side of the Ekuaibao / Hesi (易快报 / 合思) Open API.

Start with `EkbSession`. A backlog that survives interruptions is in `ekb_async.backlog`, a local stand-in for the
vendor in `ekb_async.sandbox`.
"""

from ekb_async.config import Priority, SessionConfig
from ekb_async.credentials import AppCredentials, StaticToken
from ekb_async.errors import (
    ApiError,
    AuthError,
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    InvalidRequestError,
    InvoiceMismatchError,
    InvoiceNotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProviderError,
    QueueFullError,
    QueueTimeoutError,
    RecognitionError,
    ResponseError,
    ServerError,
    SessionClosedError,
    StaffNotFoundError,
    ThrottledError,
)
from ekb_async.jobs import Job
from ekb_async.models import (
    Attachment,
    CheckedInvoice,
    ExpenseInvoiceForm,
    FileUrl,
    InvoiceDetail,
    InvoiceId,
    InvoiceKind,
    InvoiceRef,
    InvoiceUrl,
    LocalFile,
    OcrInvoice,
    OcrResult,
    VatCategory,
    VerifiedInvoice,
    VerifyResult,
    expense_invoice_form,
)
from ekb_async.session import EkbSession
from ekb_async.stats import BatchStats, LaneStats, SessionStats
from ekb_async.streams import Outcome

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AppCredentials",
    "Attachment",
    "AuthError",
    "BatchStats",
    "CheckedInvoice",
    "ConfigError",
    "EkbConnectionError",
    "EkbError",
    "EkbSession",
    "EkbTimeoutError",
    "ExpenseInvoiceForm",
    "FileUrl",
    "InvalidRequestError",
    "InvoiceDetail",
    "InvoiceId",
    "InvoiceKind",
    "InvoiceMismatchError",
    "InvoiceNotFoundError",
    "InvoiceRef",
    "InvoiceUrl",
    "Job",
    "LaneStats",
    "LocalFile",
    "OcrInvoice",
    "OcrResult",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "Priority",
    "ProviderError",
    "QueueFullError",
    "QueueTimeoutError",
    "RecognitionError",
    "ResponseError",
    "ServerError",
    "SessionClosedError",
    "SessionConfig",
    "SessionStats",
    "StaffNotFoundError",
    "StaticToken",
    "ThrottledError",
    "VatCategory",
    "VerifiedInvoice",
    "VerifyResult",
    "expense_invoice_form",
]
