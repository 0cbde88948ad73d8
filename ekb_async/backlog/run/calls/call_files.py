"""The files of billed calls, located and checked just before a call is submitted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from ekb_async.backlog.input.manifest import signed_url
from ekb_async.backlog.input.rows.identity import UNSENDABLE, content_of
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import Call
from ekb_async.errors import ConfigError, EkbError
from ekb_async.files.local_files import CHANGED, file_sha256
from ekb_async.models.files import InvoiceFile, KnownFile, is_url, parse_attachment


class CallFiles:
    """Locates the file of a call. Files are read in separate threads, so that recording results is not delayed."""

    def __init__(self, store: CallStore) -> None:
        self._store = store
        self._reading = asyncio.Semaphore(LIMITS.files_read_at_once)

    async def find(self, call: Call) -> InvoiceFile:
        """Return the file of a call; a signed URL is read from its manifest.

        Raises `ConfigError` if the file or the row in the manifest has changed since it was added, and the store's
        error, with `for_all` set, if the backlog cannot be read.
        """
        if call.start is not None and call.length is not None:
            columns = msgspec.json.decode(call.columns, type=tuple[str, ...])
            async with self._reading:
                return await asyncio.to_thread(
                    signed_url, Path(call.manifest), columns, call.start, call.length, call.file
                )
        if is_url(call.file):
            return call.file
        if call.form >= UNSENDABLE:
            raise ConfigError(
                f"{call.file}: OCR takes PDFs and pictures, and this file does not say all that a check by fields needs"
            )
        return parse_attachment(call.file) or await self._local_file(call)

    async def _local_file(self, call: Call) -> KnownFile:
        """Return the file, or if its content has changed, the file of another row that shares the call."""
        sha256 = content_of(call.content or call.identity)
        path = Path(call.manifest).parent / call.file
        if not (problem := await self._problem_with(path, sha256)):
            return KnownFile(path, sha256)
        try:
            copies = await self._store.copies(call.id) if call.row_count > 1 else []
        except EkbError as error:
            # The backlog cannot be read, which is no fault of the row.
            error.for_all = True
            raise
        for manifest, file, content in copies:
            path, own = Path(manifest).parent / file, content_of(content or call.identity)
            if not await self._problem_with(path, own):
                return KnownFile(path, own)
        raise ConfigError(f"{call.file}: {problem}")

    async def _problem_with(self, path: Path, sha256: str) -> str:
        """Return why a file cannot provide the content that was added, "" if it can."""
        async with self._reading:
            try:
                found = await asyncio.to_thread(file_sha256, path)
            except ConfigError as error:
                return str(error)
        return "" if found == sha256 else CHANGED
