"""Errors of calls about one invoice: which ID they are about, and which of them the ID may have caused."""

from __future__ import annotations

from typing import TypeVar

from ekb_async.aio.batch_search import may_be_one_keys_fault, refused_alike
from ekb_async.errors import ApiError, EkbError, InvoiceNotFoundError
from ekb_async.protocol import endpoints

T = TypeVar("T")


def no_such_invoice(invoice_id: str) -> InvoiceNotFoundError:
    """Return the error for an ID that the vendor leaves out of its answer."""
    error = InvoiceNotFoundError("no such invoice", status=200, endpoint=endpoints.INVOICE_URLS.path)
    return error.about(invoice_id)


def with_invoice_id(answer: T, invoice_id: str) -> T:
    """Return the answer; if it is a refusal that the ID may have caused, add the ID to it."""
    if isinstance(answer, ApiError) and may_be_one_keys_fault(answer):
        return answer.about(invoice_id)
    return answer


def without_refusals(found: dict[str, T | EkbError | None]) -> dict[str, T | None]:
    """Return the answers, None for an ID that the vendor refused. Raise an error that no single ID has caused."""
    refused = {invoice_id: answer for invoice_id, answer in found.items() if isinstance(answer, EkbError)}
    for error in refused.values():
        if error.of_request or not may_be_one_keys_fault(error):
            raise error
    if refused and len(refused) == len(found) and refused_alike(refused):
        raise next(iter(refused.values()))
    return {invoice_id: None if isinstance(answer, EkbError) else answer for invoice_id, answer in found.items()}
