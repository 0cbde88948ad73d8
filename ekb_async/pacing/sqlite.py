"""One pace for all processes of a user on this machine.

The vendor limits the enterprise, not the process. So the bucket of each call is in a file (`sqlite_file`) that all
processes share, and a process that starts right after another has ended waits for the rest of its second.

The file is read and written in one thread of the pacer. Moments are those of the wall clock, the one that processes
have in common across restarts of the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ekb_async.pacing.rule import Bucket
from ekb_async.pacing.shared import Reading, Rule, SharedPacer
from ekb_async.pacing.sqlite_file import PaceFile
from ekb_async.storage.state_directory import state_directory

T = TypeVar("T")


class MachinePace(SharedPacer):
    """The pace of all processes of this user on this machine: `EkbSession(…, pacer=MachinePace())`.

    Any number of sessions of one event loop may share it. `directory` contains its file, by default the
    environment's `EKB_STATE_DIR` or the user's state directory; it is created if it is missing. Nothing is opened
    before the first paced call, and nothing stays open after the last session is closed. Paced calls raise
    `ConfigError` if the file cannot be used. `clock` returns epoch seconds.
    """

    def __init__(self, directory: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._directory = state_directory(directory)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<MachinePace in {self._directory}: {self._paces} paces>"

    def _open(self) -> _FileStore:
        return _FileStore(self._directory, self._clock)


class _FileStore:
    """The thread of a pacer, with the file that is open in it."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._file = PaceFile(directory)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ekb-pace")

    async def change(self, key: str, rule: Rule[T]) -> T:
        return await asyncio.wrap_future(self._executor.submit(self._change, key, rule))

    async def close(self) -> None:
        try:
            closed = asyncio.wrap_future(self._executor.submit(self._file.close))
        except RuntimeError:
            # Python has ended its executors because the program ends: `atexit` functions run afterwards.
            self._file.close()
            return
        try:
            await asyncio.shield(closed)
        finally:
            self._executor.shutdown()

    def _change(self, key: str, rule: Rule[T]) -> T:
        """Make a change, in the thread."""

        def apply(bucket: Bucket) -> T:
            # The loop's clock is read first, as `Reading` requires.
            requested_at = self._loop.time()
            return rule(bucket, Reading(self._clock(), requested_at))

        return self._file.change(key, apply)
