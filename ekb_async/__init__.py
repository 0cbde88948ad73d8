"""Asyncio client for the invoice side of the Ekuaibao / Hesi (易快报 / 合思) Open API.

Start with `EkbSession`. `ekb_async.backlog` processes large numbers of files across interruptions, and
`ekb_async.sandbox` is a local stand-in for the vendor.

Public names are imported on first use (PEP 562), because pytest imports this package wherever it is installed.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekb_async.aio.batcher import BatchStats
    from ekb_async.client.capture.transport import CapturingTransport
    from ekb_async.client.hooks import Attempt, Hooks
    from ekb_async.config import AppCredentials, Priority, SessionConfig, StaticToken
    from ekb_async.errors import (
        ApiError,
        AuthError,
        BacklogBusyError,
        CallCancelledError,
        ConfigError,
        EkbConnectionError,
        EkbError,
        EkbTimeoutError,
        InvalidRequestError,
        InvoiceMismatchError,
        InvoiceNotFoundError,
        ManifestError,
        ManifestProblem,
        OutcomeUnknownError,
        PermissionDeniedError,
        ProviderError,
        ProxyError,
        ProxySettingError,
        QueueFullError,
        QueueTimeoutError,
        RecognitionError,
        ResponseError,
        ServerError,
        SessionClosedError,
        StaffNotFoundError,
        StorageError,
        TaskNotFoundError,
        ThrottledError,
    )
    from ekb_async.models import (
        Attachment,
        CheckedInvoice,
        CoachTicketForm,
        Document,
        DocumentAttachment,
        DocumentFile,
        DocumentFiles,
        DocumentInvoice,
        DocumentInvoiceFile,
        DocumentPlace,
        ExpenseInvoice,
        ExpenseInvoiceForm,
        FileContent,
        FileJob,
        FileUrl,
        FixedAmountForm,
        FlightItineraryForm,
        InvoiceDetail,
        InvoiceFile,
        InvoiceForm,
        InvoiceId,
        InvoiceKind,
        InvoiceRef,
        InvoiceUrl,
        LedgerInvoice,
        Licence,
        LocalFile,
        MachinePrintedForm,
        MedicalInvoiceForm,
        NonTaxIncomeForm,
        OcrDetails,
        OcrInvoice,
        OcrResult,
        OtherInvoiceForm,
        Payer,
        ShoppingReceiptForm,
        Staff,
        TaxiReceiptForm,
        TollReceiptForm,
        TrainTicketForm,
        UnknownInvoiceForm,
        VatCategory,
        VatInvoiceForm,
        VerifiedInvoice,
        VerifyResult,
        expense_invoice_form,
    )
    from ekb_async.pacing.sqlite import MachinePace
    from ekb_async.queue.bulk import Outcome
    from ekb_async.queue.jobs import Job
    from ekb_async.queue.stats import QueueStats, SessionStats
    from ekb_async.session.records.document_walk import DocumentWalk
    from ekb_async.session.records.ledger_walk import LedgerWalk
    from ekb_async.session.session import EkbSession
    from ekb_async.session.tenant_file import TenantCredentials
    from ekb_async.session.tenants import TenantSessions

    LaneStats = QueueStats
    from ekb_async.tokens.sqlite import MachineTokens

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AppCredentials",
    "Attachment",
    "Attempt",
    "AuthError",
    "BacklogBusyError",
    "BatchStats",
    "CallCancelledError",
    "CapturingTransport",
    "CheckedInvoice",
    "CoachTicketForm",
    "ConfigError",
    "Document",
    "DocumentAttachment",
    "DocumentFile",
    "DocumentFiles",
    "DocumentInvoice",
    "DocumentInvoiceFile",
    "DocumentPlace",
    "DocumentWalk",
    "EkbConnectionError",
    "EkbError",
    "EkbSession",
    "EkbTimeoutError",
    "ExpenseInvoice",
    "ExpenseInvoiceForm",
    "FileContent",
    "FileJob",
    "FileUrl",
    "FixedAmountForm",
    "FlightItineraryForm",
    "Hooks",
    "InvalidRequestError",
    "InvoiceDetail",
    "InvoiceFile",
    "InvoiceForm",
    "InvoiceId",
    "InvoiceKind",
    "InvoiceMismatchError",
    "InvoiceNotFoundError",
    "InvoiceRef",
    "InvoiceUrl",
    "Job",
    "LedgerInvoice",
    "LedgerWalk",
    "Licence",
    "LocalFile",
    "MachinePace",
    "MachinePrintedForm",
    "MachineTokens",
    "ManifestError",
    "ManifestProblem",
    "MedicalInvoiceForm",
    "NonTaxIncomeForm",
    "OcrDetails",
    "OcrInvoice",
    "OcrResult",
    "OtherInvoiceForm",
    "Outcome",
    "OutcomeUnknownError",
    "Payer",
    "PermissionDeniedError",
    "Priority",
    "ProviderError",
    "ProxyError",
    "ProxySettingError",
    "QueueFullError",
    "QueueStats",
    "QueueTimeoutError",
    "RecognitionError",
    "ResponseError",
    "ServerError",
    "SessionClosedError",
    "SessionConfig",
    "SessionStats",
    "ShoppingReceiptForm",
    "Staff",
    "StaffNotFoundError",
    "StaticToken",
    "StorageError",
    "TaskNotFoundError",
    "TaxiReceiptForm",
    "TenantCredentials",
    "TenantSessions",
    "ThrottledError",
    "TollReceiptForm",
    "TrainTicketForm",
    "UnknownInvoiceForm",
    "VatCategory",
    "VatInvoiceForm",
    "VerifiedInvoice",
    "VerifyResult",
    "expense_invoice_form",
]

_MODULES = (
    *("errors", "config", "models", "queue.stats", "queue.jobs", "queue.bulk", "client.hooks"),
    *("pacing.sqlite", "tokens.sqlite", "session.session", "session.tenant_file", "session.tenants"),
    *("session.records.ledger_walk", "session.records.document_walk", "client.capture.transport"),
)
"""The modules that define the public names; those with few imports come first."""

if not TYPE_CHECKING:  # a type checker would accept any name if it saw `__getattr__`

    def __getattr__(name: str) -> object:
        """Import a public name, or a module that holds public names, on its first use."""
        if any(name == module.partition(".")[0] for module in _MODULES):
            return importlib.import_module(f"{__name__}.{name}")
        if name in __all__:
            for module in _MODULES:
                found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
                if found is not None:
                    globals()[name] = found
                    return found
        if name == "LaneStats":
            importlib.import_module(f"{__name__}.validation").warn_renamed("LaneStats", "QueueStats")
            return __getattr__("QueueStats")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
