"""Rows put aside in a temporary file, until their database takes them all at once.

So a database may go away and come back while files are read for their hash, and what it takes it can be given again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable

import msgspec

from ekb_async.aio.tasks import await_uncancelled

_LENGTH_BYTES = 4


class RowBuffer:
    """Rows in the order in which they came; it is closed when nobody needs them any more."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="ekb-backlog-")  # noqa: SIM115 - `close` closes it

    def close(self) -> None:
        self._file.close()

    async def add(self, rows: Iterable[tuple[object, ...]]) -> int:
        """Keeps some rows, which are read in a thread; how many they were."""
        return await await_uncancelled(asyncio.ensure_future(asyncio.to_thread(self._write, rows)))

    async def rows(self) -> AsyncIterator[tuple[object, ...]]:
        """All rows from the first, any number of times."""
        await asyncio.to_thread(self._file.seek, 0)
        while some := await asyncio.to_thread(self._read):
            for row in some:
                yield row

    def _write(self, rows: Iterable[tuple[object, ...]]) -> int:
        some = list(rows)
        if some:
            packed = msgspec.msgpack.encode(some)
            self._file.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
        return len(some)

    def _read(self) -> list[tuple[object, ...]]:
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
        return msgspec.msgpack.decode(self._file.read(length), type=list[tuple[object, ...]]) if length else []
