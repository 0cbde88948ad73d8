"""Which rows of a backlog are one call.

Two rows share a call when they ask for the same thing of the same content for the same tenant. Content is the bytes of
a local file, the attachment's ID, the URL without its signature, the invoice ID. `staff_id` and `file_name` are no part
of it: the answer for an invoice does not depend on who asks, and asking again would be paid again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ekb_async.files.local_files import file_sha256
from ekb_async.models.files import is_url, parse_attachment
from ekb_async.redaction.masking import without_signature


def file_identity(kind: str, file: str, find: Callable[[str], Path]) -> str:
    """The identity of a call on a file; what `find` gives for a local one is read to its end.

    Raises `ConfigError` if a local file cannot be read or uploaded, and what `find` raises.
    """
    if is_url(file):
        return f"{kind}:url:{without_signature(file)}"
    if attachment := parse_attachment(file):
        return f"{kind}:attachment:{attachment.id}"
    return f"{kind}:sha256:{file_sha256(find(file))}"


def invoice_identity(kind: str, invoice_id: str) -> str:
    """The identity of a call on an invoice ID."""
    return f"{kind}:invoice:{invoice_id}"


def content_of(identity: str) -> str:
    """The SHA-256 of the local file that a call with this identity is made on."""
    return identity.rpartition(":")[2]
