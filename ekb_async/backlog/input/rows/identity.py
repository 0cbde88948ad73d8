"""The identity of a row: rows with the same one share a call.

Two rows of one tenant share a call if they have the same kind and the same content. The content is the bytes of a local
file, the ID of an attachment, a URL without its signature, an invoice ID, or the fields of an invoice (see `fields`).
`staff_id` and `file_name` are not part of it: the answer for an invoice does not depend on them, and a second call
would be billed again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ekb_async.files.local_files import file_sha256
from ekb_async.models.files import is_url, parse_attachment
from ekb_async.redaction.signed_urls import without_signature

FORMS = {"pdf": 0, "picture": 1, "ofd": 2, "xml": 2}
"""How well the vendor takes a file of a format, 0 best; those of 2 it does not take at all."""
UNSENDABLE = 2


class Known(NamedTuple):
    """A file that the backlog has: the identity of a call on it, its form, and what it says of itself."""

    content: str
    form: int
    printed: str


def file_identity(kind: str, file: str, find: Callable[[str], Path]) -> str:
    """Return the identity of a call on a file. A local file is located by `find` and read completely.

    Raises `ConfigError` if a local file cannot be read or uploaded, and the errors of `find`.
    """
    if is_url(file):
        return f"{kind}:url:{without_signature(file)}"
    if attachment := parse_attachment(file):
        return f"{kind}:attachment:{attachment.id}"
    return f"{kind}:sha256:{file_sha256(find(file))}"


def invoice_identity(kind: str, invoice_id: str) -> str:
    """Return the identity of a call on an invoice ID."""
    return f"{kind}:invoice:{invoice_id}"


def content_of(identity: str) -> str:
    """Return the SHA-256 of the local file in an identity."""
    return identity.rpartition(":")[2]
