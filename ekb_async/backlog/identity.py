"""Which rows of a backlog are one call.

Two rows share a call when they ask for the same thing of the same content: the bytes of a local file, the attachment's
ID, the URL without its signature, the invoice ID. `staff_id` and `file_name` are no part of it: the answer for an
invoice does not depend on who asks, and asking again would be paid again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ekb_async.errors import ConfigError
from ekb_async.models.files import Attachment
from ekb_async.redaction import without_signature

_ATTACHMENT = "attachment:"


def is_url(file: str) -> bool:
    """Whether the cell is an `http` or `https` URL."""
    return file[:8].lower().startswith(("http://", "https://"))


def parse_attachment(file: str) -> Attachment | None:
    """The attachment that `attachment:<id>:<key>` names, None if the cell is of another form.

    The key may contain colons. Raises `ConfigError` if the ID or the key is missing.
    """
    if not file.startswith(_ATTACHMENT):
        return None
    attachment_id, _, key = file.removeprefix(_ATTACHMENT).partition(":")
    if not attachment_id or not key:
        raise ConfigError("an attachment is written as attachment:<id>:<key>")
    return Attachment(id=attachment_id, key=key)


def file_identity(kind: str, file: str, directory: Path) -> str:
    """The identity of a call on a file; a path is relative to `directory` and is read to its end.

    Raises `ConfigError` if a local file cannot be read.
    """
    if is_url(file):
        return f"{kind}:url:{without_signature(file)}"
    if attachment := parse_attachment(file):
        return f"{kind}:attachment:{attachment.id}"
    return f"{kind}:sha256:{_sha256(directory / file)}"


def invoice_identity(kind: str, invoice_id: str) -> str:
    """The identity of a call on an invoice ID."""
    return f"{kind}:invoice:{invoice_id}"


def _sha256(path: Path) -> str:
    try:
        if not path.exists():
            raise ConfigError("there is no such file")
        if not path.is_file():
            raise ConfigError("this is no regular file")
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}") from error
