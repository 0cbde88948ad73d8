"""Files to be sent to the vendor: a local file, an uploaded attachment, a signed download URL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.models.wire.returnable import Returnable
from ekb_async.redaction.signed_urls import without_query


class Attachment(Returnable, msgspec.Struct, frozen=True):
    """A file that was uploaded before: `id` and `key` are `fileId` and `key` of the upload's reply."""

    id: str
    key: str


class LocalFile(msgspec.Struct, frozen=True):
    """A file on this machine, to be uploaded just before the call that needs it is sent."""

    path: Path

    if TYPE_CHECKING:

        def __init__(self, path: str | PathLike[str]) -> None: ...

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "path", Path(self.path))


class KnownFile(LocalFile, frozen=True):
    """A file that is sent only if its content still has this SHA-256 (hexadecimal digits)."""

    sha256: str


class FileUrl(Returnable, msgspec.Struct, frozen=True, kw_only=True):
    """A signed download URL of an attachment, from `/api/openapi/v2/attachment/downloadurls`.

    `thumb_url` is "" if the vendor made no thumbnail. `expires_at` is at UTC+8, None if the URL does not contain it.
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
"""Files that the OCR calls accept: a URL, an attachment, or a file on this machine."""

FileContent = InvoiceFile | bytes
"""The same, or the content of a file together with a `file_name`."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class FileJob:
    """A file for `EkbSession.ocr_many` and `verify_many`, with arguments of its own."""

    file: FileContent
    _: dataclasses.KW_ONLY
    staff_id: str | None = None
    """查验员工ID. Replaces the one given for all files; recognition does not use it."""
    file_name: str | None = None
    """文件名. The argument of the same name of `ocr` and `verify`; required for `bytes`."""
    key: Any = None
    """Any value of the caller; the package does not use it."""

    @classmethod
    def of(cls, item: object) -> FileJob:
        """Return an item of a stream as a job: itself, a pair of file and staff ID, or a file alone.

        Raises `ConfigError` for a tuple that is not a pair.
        """
        match item:
            case FileJob():
                return item
            case tuple((file, staff_id)):
                return cls(file, staff_id=staff_id)
            case tuple():
                raise ConfigError(f"a file with its staff ID is a tuple of 2 entries, not of {len(item):,}")
            case _:
                # Anything that is not a file is refused where the file is used.
                return cls(cast("FileContent", item))

    @property
    def size(self) -> int:
        """Number of bytes of the content that the job keeps in memory."""
        return len(self.file) if isinstance(self.file, bytes) else 0

    def __repr__(self) -> str:
        return f"FileJob({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield "file", shown_file(self.file)
        for name in ("staff_id", "file_name", "key"):
            if (value := getattr(self, name)) is not None:
                yield name, value


def shown_file(file: object) -> object:
    """Return the form of a file for a `repr`: a URL without its query, the size of a content."""
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
    """A text whose `repr` is the text itself, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_ATTACHMENT = "attachment:"


def is_url(text: str) -> bool:
    """Return whether the text begins as an `http` or `https` URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def has_host(url: str) -> bool:
    """Return whether a URL can be parsed and has a host."""
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def parse_attachment(text: str) -> Attachment | None:
    """Parse `attachment:<id>:<key>`; return None if the text has another form.

    The key may contain colons. Raises `ConfigError` if the ID or the key is missing.
    """
    if not text.startswith(_ATTACHMENT):
        return None
    attachment_id, _, key = text.removeprefix(_ATTACHMENT).partition(":")
    if not attachment_id or not key:
        raise ConfigError("an attachment is written as attachment:<id>:<key>")
    return Attachment(id=attachment_id, key=key)
