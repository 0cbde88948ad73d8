"""The names that people read: kinds of calls, states, kinds of invoices, causes of failure and what to do about them.

Exports, pages and the command take them from here, so that a thing has one name everywhere.
"""

from __future__ import annotations

import re

from ekb_async.backlog.results.tasks import Task
from ekb_async.i18n import Texts, message
from ekb_async.models.kinds import InvoiceKind

_API_ERROR = re.compile(r"\d{3}(?: \[[^\]]*\])? (?P<text>.+) \(/\S*\)(?:\.(?P<more> .+)?)?", re.DOTALL)
"""The text of an `ApiError`: status, code and interface mean nothing to a person."""
_CALLS = {
    "ocr": message("OCR"),
    "verify": message("OCR and verification"),
    "verify_by_id": message("Verification by ID"),
    "verify_by_fields": message("Verification by fields"),
    "url": message("File URL"),
    "detail": message("Invoice lines"),
    "download": message("File download"),
}
_STATES = {
    "pending": message("To do"),
    "running": message("Running"),
    "done": message("Done"),
    "failed": message("Failed"),
}
_VERDICTS = {
    "usable": message("Usable"),
    "refused": message("Not usable"),
    "read": message("Recognised, not verified"),
}
_SHARED_BY = {"content": message("Same file or ID"), "invoice": message("Same invoice")}
_SOURCES = {"call": message("Call"), "ledger": message("Ledger")}

_CAUSES = {
    # By class of error: the name of the cause, and what to do
    "ConfigError": (
        message("The row itself is wrong"),
        message("Check that the file is still there and unchanged, then add it again."),
    ),
    "StorageError": (
        message("A file could not be read or written"),
        message("Check that the folder exists, may be written and has room, then retry."),
    ),
    "EkbTimeoutError": (message("It took too long"), message("Check the network, then retry.")),
    "EkbConnectionError": (
        message("The vendor could not be reached"),
        message("Check the base URL and the network, then retry."),
    ),
    "ProxyError": (message("The proxy could not be used"), message("Check the proxy and the network, then retry.")),
    "ProxySettingError": (
        message("The proxy is set up wrongly"),
        message("Check address, user and password of the proxy, then retry."),
    ),
    "OutcomeUnknownError": (
        message("Outcome unknown, maybe billed"),
        message(
            "Look in Ekuaibao whether there is a result before you retry with --unknown: the call may be billed again."
        ),
    ),
    "CallCancelledError": (
        message("Cancelled"),
        message("If it is to be made after all, retry it with --cancelled."),
    ),
    "ResponseError": (message("The answer cannot be read"), message("Retry later; if it fails again, ask the vendor.")),
    "ThrottledError": (
        message("Too many requests"),
        message("Lower the rate, and check that no other program uses the interface."),
    ),
    "RecognitionError": (
        message("Not recognised"),
        message("Check that the file opens and shows an invoice, then retry."),
    ),
    "ProviderError": (
        message("Trouble at the OCR provider"),
        message("Check that the file is a picture or a PDF, then retry later."),
    ),
    "StaffNotFoundError": (
        message("No such staff member"),
        message("Check that the person of staff_id exists and is active; it has the form corporation:staff."),
    ),
    "InvoiceNotFoundError": (
        message("No such invoice"),
        message("Check the invoice ID, or code, number, date and amount."),
    ),
    "InvoiceMismatchError": (
        message("Differs from the tax authority's record"),
        message("Compare code, number, date, amount and check code with the invoice."),
    ),
    "InvalidRequestError": (message("The request was refused"), message("Check the row as the text says.")),
    "ServerError": (message("Trouble on the vendor's side"), message("Retry later.")),
}
_OTHER_CAUSE = (message("Another error"), message("Do as the text says, then retry."))
_NOT_USABLE = message("Not usable")
_ABOUT_UNUSABLE = message("Ask the person who handed it in: the check refuses it for this reason.")

_KINDS = {
    InvoiceKind.VAT_SPECIAL: message("VAT special invoice"),
    InvoiceKind.VAT_SPECIAL_ELECTRONIC: message("VAT special e-invoice"),
    InvoiceKind.VAT_NORMAL: message("VAT general invoice"),
    InvoiceKind.VAT_NORMAL_ELECTRONIC: message("VAT general e-invoice"),
    InvoiceKind.VAT_ROLL: message("VAT general invoice (roll)"),
    InvoiceKind.VAT_TOLL: message("VAT general e-invoice (toll)"),
    InvoiceKind.BLOCKCHAIN: message("Blockchain e-invoice"),
    InvoiceKind.MOTOR_VEHICLE_SALE: message("Motor vehicle sales invoice"),
    InvoiceKind.USED_VEHICLE_SALE: message("Used vehicle sales invoice"),
    InvoiceKind.DIGITAL_SPECIAL: message("Fully digital special invoice"),
    InvoiceKind.DIGITAL_NORMAL: message("Fully digital general invoice"),
    InvoiceKind.DIGITAL_SPECIAL_PAPER: message("Fully digital special, on paper"),
    InvoiceKind.DIGITAL_NORMAL_PAPER: message("Fully digital general, on paper"),
    InvoiceKind.DIGITAL_FLIGHT_ITINERARY: message("Digital flight itinerary"),
    InvoiceKind.DIGITAL_TRAIN_TICKET: message("Digital train ticket"),
    InvoiceKind.VAT_INVOICE: message("VAT invoice, category unknown"),
    InvoiceKind.TRAIN_TICKET: message("Train ticket"),
    InvoiceKind.TAXI_RECEIPT: message("Taxi receipt"),
    InvoiceKind.COACH_TICKET: message("Coach ticket"),
    InvoiceKind.FLIGHT_ITINERARY: message("Flight itinerary"),
    InvoiceKind.TOLL_RECEIPT: message("Toll receipt"),
    InvoiceKind.FIXED_AMOUNT: message("Fixed-amount invoice"),
    InvoiceKind.MACHINE_PRINTED: message("Machine-printed invoice"),
    InvoiceKind.SHOPPING_RECEIPT: message("Till receipt"),
    InvoiceKind.MEDICAL: message("Medical receipt"),
    InvoiceKind.NON_TAX_INCOME: message("Government non-tax receipt"),
    InvoiceKind.SHIP_TICKET: message("Ship ticket"),
    InvoiceKind.RIDE_HAILING_ITINERARY: message("Ride-hailing itinerary"),
    InvoiceKind.TAX_PAYMENT_CERTIFICATE: message("Tax payment certificate"),
    InvoiceKind.OVERSEAS: message("Overseas invoice"),
    InvoiceKind.OTHER: message("Other receipt"),
    InvoiceKind.UNKNOWN: message("Unknown kind"),
}
"""English names; the Chinese ones are `InvoiceKind.label`, as printed on the invoice."""


class Names:
    """The names in one language; `texts` are all other texts in it. Raises `ConfigError` for another language."""

    def __init__(self, lang: str) -> None:
        self.texts = Texts(lang)

    def call(self, kind: str) -> str:
        """Return the name of a kind of row, such as `OCR`."""
        return self._name(_CALLS[kind])

    def state(self, state: str) -> str:
        """Return the name of a state, such as `Done`."""
        return self._name(_STATES[state])

    def shared_by(self, reason: str | None) -> str | None:
        """Return why a row shares the call of another, None if it does not."""
        return self._name(_SHARED_BY[reason]) if reason else None

    def source(self, source: str | None) -> str | None:
        """Return where an answer comes from, None without one."""
        return self._name(_SOURCES[source]) if source else None

    def verdict(self, verdict: str) -> str:
        """Return what became of an invoice: `usable`, `refused` or `read`."""
        return self._name(_VERDICTS[verdict])

    def invoice(self, kind: InvoiceKind) -> str:
        """Return the name of a kind of invoice; the Chinese one is the vendor's."""
        return kind.label if self.texts.is_chinese else _KINDS[kind]

    def yes_or_no(self, value: bool) -> str:  # noqa: FBT001 - the value, not an option
        """Return a flag as a word."""
        return self._name(message("yes") if value else message("no"))

    def cause(self, error_type: str) -> str:
        """Return what a class of errors means, such as `Not recognised`."""
        return self._name(_CAUSES.get(error_type, _OTHER_CAUSE)[0])

    def reason(self, task: Task) -> str:
        """Return why a row failed: the cause, and the message in full; "" if it has not failed."""
        if task.error_type is None:
            return ""
        cause, text = self.cause(task.error_type), self.explanation(_message_of(task))
        if text.startswith(cause):
            return text
        return self.texts("{cause}: {text}", cause=cause, text=text) if text else cause

    def explanation(self, text: str) -> str:
        """Return the message of an error as a person reads it: of an error of the vendor only the vendor's text."""
        found = _API_ERROR.fullmatch(text)
        if found is None:
            return self.texts.rendered(text)
        said, more = self.texts.rendered(found["text"]), found["more"]
        return self.texts("{said}. {more}", said=said, more=self.texts.rendered(more.strip())) if more else said

    def error(self, task: Task) -> str | None:
        """Return `Task.error` with its sentences in this language; the class of the error is a name for programs."""
        if task.error is None:
            return None
        texts = map(self.texts.rendered, (_message_of(task), task.hint or ""))
        return f"{task.error_type}: {' '.join(texts)}".rstrip()

    def advice(self, error_type: str, hint: str | None = None) -> str:
        """Return what to do about a failure: its own hint, else that of its class."""
        return self.texts.rendered(hint) if hint else self._name(_CAUSES.get(error_type, _OTHER_CAUSE)[1])

    def not_usable(self, reason: str | None) -> str:
        """Return why an invoice is not usable, in the words of the check if it gave any."""
        return reason or self._name(_NOT_USABLE)

    def about_unusable(self) -> str:
        """Return what to do about an invoice that is not usable."""
        return self._name(_ABOUT_UNUSABLE)

    def _name(self, text: str) -> str:
        return self.texts.rendered(text)


def _message_of(task: Task) -> str:
    return (task.error or "").removeprefix(f"{task.error_type}: ").removesuffix(task.hint or "").rstrip()
