"""Files on their way to the vendor: a local file, an uploaded attachment, a signed download URL."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.redaction import without_query


class Attachment(msgspec.Struct, frozen=True):
    """A file the vendor already holds: `id` and `key` as its upload answered (`fileId`, `key`)."""

    id: str
    key: str


class LocalFile(msgspec.Struct, frozen=True):
    """A file on this machine; it is uploaded just before the call that needs it is sent."""

    path: Path

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "path", Path(self.path))


class FileUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A signed download URL of an attachment, from `/api/openapi/v2/attachment/downloadurls`.

    `thumb_url` is "" where the vendor made no thumbnail; `expires_at` is at UTC+8, None if the URL names no end.
    """

    id: str
    key: str
    url: str
    thumb_url: str = ""
    expires_at: datetime | None = None
    raw: bytes = b""
    """The JSON bytes it was decoded from."""

    def to_dict(self) -> dict[str, str | None]:
        """The values under their English names, ready for JSON."""
        return {
            "id": self.id,
            "key": self.key,
            "url": self.url,
            "thumb_url": self.thumb_url,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }

    def __repr__(self) -> str:
        return f"FileUrl({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        url = without_query(self.url)
        return [("id", self.id), ("key", self.key), ("url", url), ("expires_at", self.expires_at)]


InvoiceFile = str | Attachment | LocalFile | Path
"""What the OCR calls take: a URL, an attachment, or a file on this machine."""

_ATTACHMENT = "attachment:"


def is_url(text: str) -> bool:
    """Whether the text is an `http` or `https` URL by its beginning."""
    return text[:8].lower().startswith(("http://", "https://"))


def has_host(url: str) -> bool:
    """Whether a URL can be read and names a host."""
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def parse_attachment(text: str) -> Attachment | None:
    """The attachment that `attachment:<id>:<key>` names, None if the text is of another form.

    The key may contain colons. Raises `ConfigError` if the ID or the key is missing.
    """
    if not text.startswith(_ATTACHMENT):
        return None
    attachment_id, _, key = text.removeprefix(_ATTACHMENT).partition(":")
    if not attachment_id or not key:
        raise ConfigError("an attachment is written as attachment:<id>:<key>")
    return Attachment(id=attachment_id, key=key)
