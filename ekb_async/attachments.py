"""Uploading files and asking for their download URLs, within the vendor's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from ekb_async import calls
from ekb_async.api import Api
from ekb_async.arguments import checked_text
from ekb_async.calls import MAX_UPLOAD_BYTES, UPLOAD_NAME_FORBIDS
from ekb_async.errors import ConfigError
from ekb_async.models import Attachment, FileUrl


async def upload(api: Api, source: Path | bytes, name: str | None) -> Attachment:
    """Uploads a file or its content. Name and size are checked before anything is sent, with `ConfigError`."""
    if name is None:
        if not isinstance(source, Path):
            raise ConfigError("name is needed to upload bytes")
        name = source.name
    check_name(name)
    content = source if isinstance(source, bytes) else await asyncio.to_thread(_read, source)
    check_size(name, len(content))
    return await api.call(calls.upload(name, content))


async def fetch_download_urls(api: Api, attachments: Iterable[Attachment], life: int) -> dict[Attachment, FileUrl]:
    """The URLs of at most 100 attachments, as far as the vendor knows them, in one request."""
    links = await api.call(calls.download_urls(attachments, life))
    return {Attachment(link.id, link.key): link for link in links}


def checked_attachment(value: object) -> Attachment:
    """The value if it is an attachment that can be asked for; otherwise `ConfigError`."""
    if not isinstance(value, Attachment):
        raise ConfigError(f"attachments must be Attachment objects, not {type(value).__name__}")
    checked_text("the attachment's id", value.id)
    checked_text("the attachment's key", value.key)
    return value


def _read(path: Path) -> bytes:
    try:
        # The size comes first, so that a film taken for an invoice is not read into memory.
        check_size(path.name, path.stat().st_size)
        return path.read_bytes()
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        # A path that no file system takes, as one with a NUL in it, is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        # In which folder it is may be more than the users of a service are to know.
        raise ConfigError(f"{path.name} cannot be read and sent: {reason}") from None


def check_name(name: str) -> str:
    """Return the name if the vendor takes it; otherwise raise `ConfigError`."""
    checked_text("the name of an uploaded file", name)
    found = [character for character in name if character in UPLOAD_NAME_FORBIDS or not character.isprintable()]
    if found:
        raise ConfigError(f"the name of an uploaded file must not hold {found[0]!r}: {name!r}")
    return name


def check_size(name: str, size: int) -> None:
    """Raise `ConfigError` for a file that is empty or larger than the vendor takes."""
    if size > MAX_UPLOAD_BYTES:
        problem = f"the file has {size:,} bytes; at most {MAX_UPLOAD_BYTES:,} can be uploaded"
        raise ConfigError(f"{name} cannot be read and sent: {problem}")
    if size == 0:
        raise ConfigError(f"{name} cannot be read and sent: the file is empty")
