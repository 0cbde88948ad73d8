"""How an answer is stored, and read again.

The vendor's own JSON is stored, so that nothing paid for is lost and a later version can read more from it. Left out
are the schema that fills most of an invoice line, the queries of signed URLs (secrets that expire within the hour), and
tokens or keys that an answer quotes. A URL's expiry is part of its signature, so the answer to a URL call is stored as
its decoded values instead. An answer that comes from the ledger has its entries, see `ledger_answers`.

A query is removed from the text of its JSON string, and everything else stays byte for byte: numbers keep their digits,
and any text that the vendor may send can be stored.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from ekb_async.backlog.input.rows.kinds import CHECKS
from ekb_async.backlog.store.values.ledger_answers import SOURCE, LedgerAnswer, LedgerEntry, StoredEntries, show_entries
from ekb_async.errors import ResponseError
from ekb_async.models import CheckedInvoice, InvoiceDetail, InvoiceUrl, OcrResult, VerifyResult
from ekb_async.models.wire.model import secrets_of
from ekb_async.redaction.masking import Secrets
from ekb_async.redaction.signed_urls import without_query, without_signed_queries

Answer = OcrResult | VerifyResult | CheckedInvoice | InvoiceUrl | list[InvoiceDetail] | Path | LedgerAnswer

_PAID = (OcrResult, VerifyResult, CheckedInvoice)
_ESCAPED_QUERY = re.compile(rb"\\u003f", re.IGNORECASE)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def keep(answer: Answer) -> bytes:
    """Return the bytes to store for an answer."""
    if isinstance(answer, _PAID):
        return _masked(answer.raw, secrets_of(answer))
    if isinstance(answer, Path):
        return msgspec.json.encode({"path": str(answer), "size": _size(answer)})
    if isinstance(answer, InvoiceUrl):
        return _masked(msgspec.json.encode(_without_queries(answer)), secrets_of(answer))
    if isinstance(answer, LedgerAnswer):
        return _kept_entries(answer)
    secrets = secrets_of(answer[0]) if answer else None
    return _masked(b"[%b]" % b",".join(_without_schema(line.raw) for line in answer), secrets)


def show(kind: str, stored: bytes, source: str = "") -> Any:
    """Return a stored answer as JSON values with English names, None if it cannot be read.

    `source` is that of the `CallResult`.
    """
    try:
        return show_entries(kind, stored) if source == SOURCE else _read(kind, stored)
    except (ResponseError, msgspec.DecodeError, RecursionError):
        return None


def _read(kind: str, stored: bytes) -> Any:
    if kind == "ocr":
        return OcrResult.from_raw(stored).to_dict()
    if kind == "verify":
        return VerifyResult.from_raw(stored).to_dict()
    if kind in CHECKS:
        return CheckedInvoice.from_raw(stored).to_dict()
    if kind == "detail":
        lines = msgspec.json.decode(stored, type=list[msgspec.Raw])
        return [InvoiceDetail.from_raw(bytes(line)).to_dict() for line in lines]
    return msgspec.json.decode(stored)


def _kept_entries(answer: LedgerAnswer) -> bytes:
    entries = [LedgerEntry(each.object_id, msgspec.Raw(_without_schema(each.raw))) for each in answer.invoices]
    return _masked(msgspec.json.encode(StoredEntries(entries)), secrets_of(answer.invoices[0]))


def _without_queries(answer: InvoiceUrl) -> dict[str, object]:
    """Return the values of `to_dict`, with the queries of URLs removed."""
    return {
        "id": answer.id,
        "url": answer.url and without_query(answer.url),
        "thumb_url": answer.thumb_url and without_query(answer.thumb_url),
        "source": answer.source,
        "file_name": answer.file_name,
        "region": answer.region,
        "expires_at": answer.expires_at,
    }


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:  # another program may have moved the downloaded file already
        return None


def _without_schema(line: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        fields.pop("entity", None)
        return msgspec.json.encode(fields)
    except (ValueError, RecursionError):
        return line or b"null"


def _masked(body: bytes, secrets: Secrets | None) -> bytes:
    """Return the JSON without signed queries, and with the secrets masked that it quotes."""
    if secrets is not None and not secrets.may_be_in(body):
        secrets = None
    # Few answers contain either, and checking every string takes longer than everything else.
    if secrets is None and b"?" not in body and not _ESCAPED_QUERY.search(body):
        return body
    text = body.decode("utf-8", "surrogateescape")
    return _STRING.sub(lambda found: _masked_string(found[0], secrets), text).encode("utf-8", "surrogateescape")


def _masked_string(string: str, secrets: Secrets | None) -> str:
    if secrets is None and "?" not in string and "\\u003" not in string:
        return string
    try:
        text = json.loads(string, strict=False)
    except ValueError:
        text = string
    masked = without_signed_queries(text)
    if secrets is not None:
        masked = secrets.mask(masked)
    if masked == text:
        return string
    return masked if text is string else json.dumps(masked)
