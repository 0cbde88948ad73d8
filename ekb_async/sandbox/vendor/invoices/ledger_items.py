"""The items of the ledger's answers: an invoice with all fields of its kind beside its ID, and the schema."""

from __future__ import annotations

import msgspec

from ekb_async.sandbox.vendor.invoices.answers import form_of
from ekb_async.sandbox.vendor.invoices.entities import VAT_ENTITY, empty_fields, schema_of
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice

_VERIFIED = f"E_{VAT_ENTITY}_验真"


class LinkedDocument(msgspec.Struct, frozen=True):
    """The document that an invoice is linked to, as the ledger's items show it."""

    id: str
    code: str
    title: str = ""
    submitter_id: str = ""


def ledger_item(
    invoice_id: str, invoice: SampleInvoice, document: LinkedDocument | None, created_at: int, updated_at: int
) -> bytes:
    """Return the JSON of an item without its schema; times in epoch milliseconds."""
    fields = {**empty_fields(invoice.shape.entity), **form_of(invoice)}
    if _VERIFIED in fields:
        fields[_VERIFIED] = invoice.verified
    item = {
        "id": invoice_id,
        "masterId": None,
        "entityId": invoice.shape.entity,
        "active": document is None and not invoice.linked,
        "createTime": created_at,
        "updateTime": updated_at,
        "useCount": 0 if document is None else 1,
        "totalCount": 1,
        "ownerId": "",
        "visibility": {"fullVisible": True, "staff": [], "department": [], "role": []},
        **fields,
        "flowId": None if document is None else document.id,
        "flowForm": None
        if document is None
        else {"code": document.code, "title": document.title, "submitterId": document.submitter_id},
    }
    return msgspec.json.encode(item)


def with_schema(item: bytes, entity_id: str) -> msgspec.Raw:
    """Return an item of `ledger_item` with the schema of its entity."""
    return msgspec.Raw(b'%b,"entity":%b}' % (item[:-1], bytes(schema_of(entity_id))))
