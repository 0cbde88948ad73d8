"""The files of paid calls, as the session is given them just before their turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from ekb_async.backlog.input.identity import content_of
from ekb_async.backlog.input.manifest import signed_url
from ekb_async.backlog.store.call_store import Call, CallStore
from ekb_async.errors import ConfigError
from ekb_async.files.local_files import CHANGED, file_sha256
from ekb_async.models.files import InvoiceFile, KnownFile, is_url, parse_attachment

_READ_AT_ONCE = 2


class CallFiles:
    """Finds the file of a call. Files are read in threads of their own, so that nothing waits for it to be recorded."""

    def __init__(self, store: CallStore) -> None:
        self._store = store
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)

    async def find(self, call: Call) -> InvoiceFile:
        """The file of a call; a signed URL is read from its manifest. Raises `ConfigError` if it is not what it was."""
        if call.start is not None and call.length is not None:
            columns = msgspec.json.decode(call.columns, type=tuple[str, ...])
            async with self._reading:
                return await asyncio.to_thread(
                    signed_url, Path(call.manifest), columns, call.start, call.length, call.file
                )
        if is_url(call.file):
            return call.file
        return parse_attachment(call.file) or await self._local_file(call)

    async def _local_file(self, call: Call) -> KnownFile:
        """The file, or that of another row of the call if it is not any more what it was."""
        sha256 = content_of(call.identity)
        path = Path(call.manifest).parent / call.file
        if not (problem := await self._problem(path, sha256)):
            return KnownFile(path, sha256)
        copies = await self._store.copies(call.id) if call.row_count > 1 else []
        for manifest, file in copies:
            path = Path(manifest).parent / file
            if not await self._problem(path, sha256):
                return KnownFile(path, sha256)
        raise ConfigError(f"{call.file}: {problem}")

    async def _problem(self, path: Path, sha256: str) -> str:
        """Why the content that was added cannot be sent from a file, "" if it can."""
        async with self._reading:
            try:
                found = await asyncio.to_thread(file_sha256, path)
            except ConfigError as error:
                return str(error)
        return "" if found == sha256 else CHANGED
