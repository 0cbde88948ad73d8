"""Uploads and download URLs, within the vendor's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from ekb_async.client.attempt import Api
from ekb_async.errors import ConfigError
from ekb_async.files.local_files import accepted_name, check_size, checked_name, read_file
from ekb_async.models import Attachment, FileUrl
from ekb_async.protocol import endpoints
from ekb_async.validation import checked_text


async def upload(api: Api, source: Path | bytes, name: str | None, *, sha256: str | None = None) -> Attachment:
    """Upload a file or its content, under the file's own name unless one is given.

    `sha256` is the digest the content must have, None if any will do. A file that cannot be uploaded raises
    `ConfigError` with `of_file` set, before anything is sent.
    """
    try:
        prepared = await asyncio.to_thread(_prepared, source, name, sha256)
    except ConfigError as error:
        error.of_file = True
        raise
    return await api.call(endpoints.upload(*prepared))


async def fetch_download_urls(api: Api, attachments: Iterable[Attachment], life: int) -> dict[Attachment, FileUrl]:
    """Return the URLs of at most 100 attachments in one request; those the vendor does not know are left out.

    `life` is the number of seconds for which the URLs are requested.
    """
    links = await api.call(endpoints.download_urls(attachments, life))
    return {Attachment(link.id, link.key): link for link in links}


def checked_attachment(value: object) -> Attachment:
    """Return the value; raise `ConfigError` unless it is an `Attachment` whose id and key can be sent."""
    if not isinstance(value, Attachment):
        raise ConfigError(f"attachments must be Attachment objects, not {type(value).__name__}")
    checked_text("the attachment's id", value.id)
    checked_text("the attachment's key", value.key)
    return value


def _prepared(source: Path | bytes, name: str | None, sha256: str | None) -> tuple[str, bytes]:
    """Return the name and the content to upload. Blocks while a file is read."""
    if name is not None:
        checked_name(name)
    elif isinstance(source, Path):
        name = accepted_name(source)
    else:
        raise ConfigError("name is needed to upload bytes")
    if isinstance(source, bytes):
        check_content(name, source)
        return name, source
    try:
        return name, read_file(source, sha256=sha256)
    except ConfigError as error:
        # The message may reach the users of a service, so it names the file without its folder.
        raise ConfigError(f"{name} cannot be read and sent: {error}") from None


def check_content(name: str, content: bytes) -> None:
    """Raise `ConfigError` for content that the vendor does not accept as a file."""
    try:
        check_size(len(content))
    except ConfigError as error:
        raise ConfigError(f"{name} cannot be read and sent: {error}") from None
