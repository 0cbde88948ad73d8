"""What is kept of an answer, and how it is read again.

The vendor's own JSON is kept, so that nothing paid for is lost on the way and a later version can read more from it.
Left out are the schema that fills most of an invoice line, the queries of signed URLs, which are secrets and dead
within the hour, and tokens or keys that an answer quotes. When a URL dies is part of its signature, so its answer alone
is kept as it is shown.

A query is taken out of the text of its JSON string, and everything else stays byte for byte: numbers keep their digits,
and it works on whatever the vendor has sent.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from ekb_async.errors import ResponseError
from ekb_async.models import InvoiceDetail, InvoiceUrl, OcrResult, VerifyResult
from ekb_async.models.wire.model import secrets_of
from ekb_async.redaction.masking import Secrets, without_query, without_signed_queries

Answer = OcrResult | VerifyResult | InvoiceUrl | list[InvoiceDetail] | Path

_ESCAPED_QUERY = re.compile(rb"\\u003f", re.IGNORECASE)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def keep(answer: Answer) -> bytes:
    """The bytes to keep of an answer."""
    if isinstance(answer, OcrResult | VerifyResult):
        return _shown(answer.raw, secrets_of(answer))
    if isinstance(answer, Path):
        return msgspec.json.encode({"path": str(answer), "size": _size(answer)})
    if isinstance(answer, InvoiceUrl):
        return _shown(msgspec.json.encode(_bare(answer)), secrets_of(answer))
    secrets = secrets_of(answer[0]) if answer else None
    return _shown(b"[%b]" % b",".join(_without_schema(line.raw) for line in answer), secrets)


def show(kind: str, kept: bytes) -> Any:
    """A kept answer as JSON values with English names, None if it cannot be read."""
    try:
        return _read(kind, kept)
    except (ResponseError, msgspec.DecodeError, RecursionError):
        return None


def _read(kind: str, kept: bytes) -> Any:
    if kind == "ocr":
        return OcrResult.from_raw(kept).to_dict()
    if kind == "verify":
        return VerifyResult.from_raw(kept).to_dict()
    if kind == "detail":
        lines = msgspec.json.decode(kept, type=list[msgspec.Raw])
        return [InvoiceDetail.from_raw(bytes(line)).to_dict() for line in lines]
    return msgspec.json.decode(kept)


def _bare(answer: InvoiceUrl) -> dict[str, object]:
    """What `to_dict` has, without queries."""
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
    except OSError:  # whoever waits for such files has been quick
        return None


def _without_schema(line: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        fields.pop("entity", None)
        return msgspec.json.encode(fields)
    except (ValueError, RecursionError):
        return line or b"null"


def _shown(body: bytes, secrets: Secrets | None) -> bytes:
    """The JSON without signed queries, and with the secrets masked that it quotes."""
    if secrets is not None and not secrets.may_be_in(body):
        secrets = None
    # Few answers have either at all, and looking at every string takes longer than everything else.
    if secrets is None and b"?" not in body and not _ESCAPED_QUERY.search(body):
        return body
    text = body.decode("utf-8", "surrogateescape")
    return _STRING.sub(lambda found: _shown_string(found[0], secrets), text).encode("utf-8", "surrogateescape")


def _shown_string(string: str, secrets: Secrets | None) -> str:
    if secrets is None and "?" not in string and "\\u003" not in string:
        return string
    try:
        text = json.loads(string, strict=False)
    except ValueError:
        text = string
    bare = without_signed_queries(text)
    if secrets is not None:
        bare = secrets.mask(bare)
    if bare == text:
        return string
    return bare if text is string else json.dumps(bare)
