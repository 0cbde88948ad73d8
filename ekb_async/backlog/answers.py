"""What is kept of an answer, and how it is read again.

The vendor's own JSON is kept, so that nothing paid for is lost on the way and a later version can read more from it.
Two things are left out: the schema that fills most of an invoice line, and the signatures of URLs, which are secrets
and dead within the hour. When a URL dies is part of its signature, so its answer alone is kept as it is shown.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from ekb_async.models import InvoiceDetail, InvoiceUrl, OcrResult, VerifyResult
from ekb_async.redaction import redact, without_signature

Answer = OcrResult | VerifyResult | InvoiceUrl | list[InvoiceDetail]


def keep(answer: Answer) -> bytes:
    """The bytes to keep of an answer."""
    if isinstance(answer, OcrResult | VerifyResult):
        return _unsigned_bytes(answer.raw)
    if isinstance(answer, InvoiceUrl):
        shown = answer.to_dict()
        return msgspec.json.encode(shown | {key: _bare(shown[key]) for key in ("url", "thumb_url")})
    return _unsigned_bytes(b"[%b]" % b",".join(_without_schema(line.raw) for line in answer))


def show(kind: str, kept: bytes) -> Any:
    """A kept answer as JSON values with English names. Raises `ResponseError` if it cannot be read."""
    if kind == "ocr":
        return OcrResult.from_raw(kept).to_dict()
    if kind == "verify":
        return VerifyResult.from_raw(kept).to_dict()
    if kind == "detail":
        return [
            InvoiceDetail.from_raw(bytes(line)).to_dict() for line in msgspec.json.decode(kept, type=list[msgspec.Raw])
        ]
    return msgspec.json.decode(kept)


def _without_schema(line: bytes) -> bytes:
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    fields.pop("entity", None)
    return msgspec.json.encode(fields)


def _bare(url: str | None) -> str | None:
    if not url:
        return url
    try:
        return urlsplit(url)._replace(query="", fragment="").geturl()
    except ValueError:
        return redact(url)


def _unsigned_bytes(body: bytes) -> bytes:
    if b"://" not in body and b":\\/\\/" not in body:
        return body
    return msgspec.json.encode(_unsigned(msgspec.json.decode(body)))


def _unsigned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unsigned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unsigned(each) for each in value]
    if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")):
        try:
            return without_signature(value)
        except ValueError:
            return redact(value)
    return value
