"""Rows in a temporary file, until all of them are written to the database at once.

The database may become unavailable while files are being hashed, and the rows can be sent to it again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable

import msgspec

from ekb_async.aio.tasks import in_thread

_LENGTH_BYTES = 4


class RowBuffer:
    """A sequence of rows on disk, in the order in which they were added; `close` removes the file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="ekb-backlog-")  # noqa: SIM115 - `close` closes it

    def close(self) -> None:
        self._file.close()

    async def add(self, rows: Iterable[tuple[object, ...]]) -> int:
        """Append rows and return their number; the iterable is read in a thread."""
        return await in_thread(self._write, rows)

    async def rows(self) -> AsyncIterator[tuple[object, ...]]:
        """Yield all rows from the first on; may be repeated."""
        await asyncio.to_thread(self._file.seek, 0)
        while batch := await asyncio.to_thread(self._read):
            for row in batch:
                yield row

    def _write(self, rows: Iterable[tuple[object, ...]]) -> int:
        batch = list(rows)
        if batch:
            packed = msgspec.msgpack.encode(batch)
            self._file.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
        return len(batch)

    def _read(self) -> list[tuple[object, ...]]:
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
        return msgspec.msgpack.decode(self._file.read(length), type=list[tuple[object, ...]]) if length else []
