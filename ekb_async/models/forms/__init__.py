"""The data of a verified invoice, one class per invoice kind.

May import `models.kinds` and `models.wire`, nothing else of `models`.
Start with `base`, then `vat`.
"""

from ekb_async.models.forms.base import FORMS, InvoiceForm
from ekb_async.models.forms.receipts import (
    FixedAmountForm,
    MachinePrintedForm,
    MedicalInvoiceForm,
    NonTaxIncomeForm,
    OtherInvoiceForm,
    ShoppingReceiptForm,
    UnknownInvoiceForm,
)
from ekb_async.models.forms.travel import (
    CoachTicketForm,
    FlightItineraryForm,
    TaxiReceiptForm,
    TollReceiptForm,
    TrainTicketForm,
)
from ekb_async.models.forms.vat import VatInvoiceForm

__all__ = [
    "FORMS",
    "CoachTicketForm",
    "FixedAmountForm",
    "FlightItineraryForm",
    "InvoiceForm",
    "MachinePrintedForm",
    "MedicalInvoiceForm",
    "NonTaxIncomeForm",
    "OtherInvoiceForm",
    "ShoppingReceiptForm",
    "TaxiReceiptForm",
    "TollReceiptForm",
    "TrainTicketForm",
    "UnknownInvoiceForm",
    "VatInvoiceForm",
]

FORMS.update(
    (form.entity, form)
    for form in (
        VatInvoiceForm,
        TrainTicketForm,
        TaxiReceiptForm,
        CoachTicketForm,
        FlightItineraryForm,
        TollReceiptForm,
        FixedAmountForm,
        MachinePrintedForm,
        ShoppingReceiptForm,
        MedicalInvoiceForm,
        NonTaxIncomeForm,
        OtherInvoiceForm,
    )
)
