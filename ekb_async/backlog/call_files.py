"""The files of paid calls, as the session is given them just before their turn."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from ekb_async.backlog.call_store import Call, CallStore
from ekb_async.backlog.identity import file_identity
from ekb_async.backlog.manifest import signed_url
from ekb_async.errors import ConfigError
from ekb_async.models.files import InvoiceFile, LocalFile, is_url, parse_attachment

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

    async def _local_file(self, call: Call) -> LocalFile:
        """The file, or that of another row of the call if it is not any more what it was."""
        if await self._is_unchanged(call, call.manifest, call.file):
            return LocalFile(Path(call.manifest).parent / call.file)
        copies = await self._store.copies(call.id) if call.row_count > 1 else []
        for manifest, file in copies:
            if await self._is_unchanged(call, manifest, file):
                return LocalFile(Path(manifest).parent / file)
        raise ConfigError(f"{call.file}: the file is gone or was changed since it was added: add it again")

    async def _is_unchanged(self, call: Call, manifest: str, file: str) -> bool:
        async with self._reading:
            with contextlib.suppress(ConfigError):
                found = await asyncio.to_thread(file_identity, call.kind, file, Path(manifest).parent)
                return found == call.identity
        return False
