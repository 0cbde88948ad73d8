"""Files on their way to the vendor: a local file, an uploaded attachment, a signed download URL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.models.wire.returnable import Returnable
from ekb_async.redaction.masking import without_query


class Attachment(Returnable, msgspec.Struct, frozen=True):
    """A file the vendor already holds: `id` and `key` as its upload answered (`fileId`, `key`)."""

    id: str
    key: str


class LocalFile(msgspec.Struct, frozen=True):
    """A file on this machine; it is uploaded just before the call that needs it is sent."""

    path: Path

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "path", Path(self.path))


class KnownFile(LocalFile, frozen=True):
    """A file that is sent only if its content still has this SHA-256, as hexadecimal digits."""

    sha256: str


class FileUrl(Returnable, msgspec.Struct, frozen=True, kw_only=True):
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

    def __repr__(self) -> str:
        return f"FileUrl({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        url = without_query(self.url)
        return [("id", self.id), ("key", self.key), ("url", url), ("expires_at", self.expires_at)]


InvoiceFile = str | Attachment | LocalFile | Path
"""What the OCR calls take: a URL, an attachment, or a file on this machine."""

FileContent = InvoiceFile | bytes
"""The same, or the content of a file, which needs a `file_name`."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class FileJob:
    """A file for `EkbSession.ocr_many` and `verify_many` with values of its own.

    `staff_id` verifies this file, in place of the one given for all; recognition does not use it. `file_name` is what
    `ocr` and `verify` take by this name, needed for `bytes`. `key` is any value of the caller's, never looked at.
    """

    file: FileContent
    _: dataclasses.KW_ONLY
    staff_id: str | None = None
    file_name: str | None = None
    key: Any = None

    @classmethod
    def of(cls, item: object) -> FileJob:
        """Return an item of a stream as a job: itself, a pair of file and staff ID, or a file alone.

        Raise `ConfigError` for a tuple that is no pair.
        """
        match item:
            case FileJob():
                return item
            case tuple((file, staff_id)):
                return cls(file, staff_id=staff_id)
            case tuple():
                raise ConfigError(f"a file with its staff ID is a tuple of 2 entries, not of {len(item):,}")
            case _:
                # What is no file at all is refused where the file is used.
                return cls(cast("FileContent", item))

    @property
    def size(self) -> int:
        """The bytes of content that it keeps in memory."""
        return len(self.file) if isinstance(self.file, bytes) else 0

    def __repr__(self) -> str:
        return f"FileJob({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield "file", shown_file(self.file)
        for name in ("staff_id", "file_name", "key"):
            if (value := getattr(self, name)) is not None:
                yield name, value


def shown_file(file: object) -> object:
    """Return what stands for a file in a `repr`: a URL without its query, content by its size."""
    match file:
        case str():
            return without_query(file)
        case bytes():
            return _Unquoted(f"<{len(file):,} bytes>")
        case tuple():
            return tuple(map(shown_file, file))
        case _:
            return file


class _Unquoted(str):
    """A text that is its own `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


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
