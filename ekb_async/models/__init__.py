"""Typed models of the vendor's replies; `.raw` has the bytes of each as they were sent.

May import `aio`, `validation`, `redaction` and `errors`.
Start with `ocr` and `verified`, then `forms` and `wire`.
"""

from ekb_async.models.checked import CheckedInvoice
from ekb_async.models.details import InvoiceDetail
from ekb_async.models.documents import (
    Document,
    DocumentAttachment,
    DocumentFile,
    DocumentFiles,
    DocumentInvoice,
    DocumentInvoiceFile,
    DocumentPlace,
    InvoiceRef,
)
from ekb_async.models.enterprise import Licence, Payer, Staff
from ekb_async.models.expense import ExpenseInvoice, ExpenseInvoiceForm, expense_invoice_form
from ekb_async.models.files import Attachment, FileContent, FileJob, FileUrl, InvoiceFile, LocalFile
from ekb_async.models.forms import (
    CoachTicketForm,
    FixedAmountForm,
    FlightItineraryForm,
    InvoiceForm,
    MachinePrintedForm,
    MedicalInvoiceForm,
    NonTaxIncomeForm,
    OtherInvoiceForm,
    ShoppingReceiptForm,
    TaxiReceiptForm,
    TollReceiptForm,
    TrainTicketForm,
    UnknownInvoiceForm,
    VatInvoiceForm,
)
from ekb_async.models.invoice_id import InvoiceId
from ekb_async.models.kinds import InvoiceKind, VatCategory
from ekb_async.models.ledger import LedgerInvoice
from ekb_async.models.ocr import OcrDetails, OcrInvoice, OcrResult
from ekb_async.models.urls import InvoiceUrl
from ekb_async.models.verified import VerifiedInvoice, VerifyResult

__all__ = [
    "Attachment",
    "CheckedInvoice",
    "CoachTicketForm",
    "Document",
    "DocumentAttachment",
    "DocumentFile",
    "DocumentFiles",
    "DocumentInvoice",
    "DocumentInvoiceFile",
    "DocumentPlace",
    "ExpenseInvoice",
    "ExpenseInvoiceForm",
    "FileContent",
    "FileJob",
    "FileUrl",
    "FixedAmountForm",
    "FlightItineraryForm",
    "InvoiceDetail",
    "InvoiceFile",
    "InvoiceForm",
    "InvoiceId",
    "InvoiceKind",
    "InvoiceRef",
    "InvoiceUrl",
    "LedgerInvoice",
    "Licence",
    "LocalFile",
    "MachinePrintedForm",
    "MedicalInvoiceForm",
    "NonTaxIncomeForm",
    "OcrDetails",
    "OcrInvoice",
    "OcrResult",
    "OtherInvoiceForm",
    "Payer",
    "ShoppingReceiptForm",
    "Staff",
    "TaxiReceiptForm",
    "TollReceiptForm",
    "TrainTicketForm",
    "UnknownInvoiceForm",
    "VatCategory",
    "VatInvoiceForm",
    "VerifiedInvoice",
    "VerifyResult",
    "expense_invoice_form",
]
