"""One pace for all processes of a user on this machine.

The vendor limits the enterprise, not the process. So the bucket of each call lies in a file (`sqlite_file`) that
all processes share, and a process that starts right after another has ended waits for the rest of its second.

The file's reads and writes happen in one thread of the home. Moments are the wall clock's, the one that processes have
in common across restarts of the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ekb_async.pacing.shared import Reading, Rule, SharedPace
from ekb_async.pacing.sqlite_file import PaceFile
from ekb_async.storage.state_directory import state_directory

T = TypeVar("T")


class MachinePace(SharedPace):
    """The pace of all processes of this user on this machine: `EkbSession(…, pacer=MachinePace())`.

    Any number of sessions of one event loop may share it. `directory` is where its file lies, by default the
    environment's `EKB_STATE_DIR` or the user's state directory, made if it is missing. Nothing is opened before the
    first paced call, and nothing stays open after the last session is closed. Paced calls raise `ConfigError` if the
    file cannot be used. `clock` gives epoch seconds.
    """

    def __init__(self, directory: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._directory = state_directory(directory)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<MachinePace in {self._directory}: {self._paces} pacers>"

    def _open(self) -> _FileStore:
        return _FileStore(self._directory, self._clock)


class _FileStore:
    """The thread of a home, with the file that is open in it."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._file = PaceFile(directory)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ekb-pace")

    async def change(self, key: str, rule: Rule[T]) -> T:
        return await asyncio.wrap_future(self._executor.submit(self._change, key, rule))

    async def close(self) -> None:
        closed = asyncio.wrap_future(self._executor.submit(self._file.close))
        try:
            await asyncio.shield(closed)
        finally:
            self._executor.shutdown()

    def _change(self, key: str, rule: Rule[T]) -> T:
        """In the thread."""
        return self._file.change(key, lambda bucket: rule(bucket, Reading(asked=self._loop.time(), now=self._clock())))
