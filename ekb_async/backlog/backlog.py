"""The backlog as its users see it; see `store` for its states and `run` for how it is worked through."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ekb_async.backlog.export import Export
from ekb_async.backlog.lock import RunLock
from ekb_async.backlog.manifest import Manifest, ManifestRow
from ekb_async.backlog.run import Progress, Run, Summary
from ekb_async.backlog.store import STATES, AddReport, Store
from ekb_async.backlog.tasks import Task, task_of
from ekb_async.backlog.worker import Worker
from ekb_async.errors import ConfigError

if TYPE_CHECKING:
    from ekb_async.session import EkbSession

_ROWS_READ = 500
_ROWS_SHOWN = 200


class Backlog:
    """Many calls in one file: added from manifests, made at the vendor's pace, kept with their results.

    Made by `Backlog.open`. Every row of a manifest is a task; tasks that ask for the same of the same content (see
    `identity`) share one call and its result, whoever their `staff_id` and whatever their `file_name` is.
    """

    def __init__(self, path: Path, worker: Worker, store: Store) -> None:
        self._path = path
        self._worker = worker
        self._store = store
        self._lock = RunLock(path)
        self._adding = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Backlog {str(self._path)!r}>"

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str | PathLike[str]) -> AsyncIterator[Backlog]:
        """Opens a backlog file, or makes a new one, for the length of an `async with` block.

        Raises `ConfigError` for a file that is no backlog or of a newer version, and leaves it unchanged.
        """
        # One file has one lock, whatever links lead to it.
        file = await asyncio.to_thread(Path(path).resolve)
        worker = Worker(file)
        try:
            store = await worker.open(Store, file)
            try:
                yield cls(file, worker, store)
            finally:
                await worker.call(store.close)
        finally:
            worker.close()

    async def add_manifest(self, path: str | PathLike[str]) -> AddReport:
        """Adds the rows of a manifest (.csv, .jsonl, .ndjson), all or none; local files are read for their hash.

        A row whose call has failed before is a new wish for it and makes it pending again. Raises `ConfigError` naming
        file, line and column of the first wrong row.
        """
        async with self._adding:
            try:
                manifest = await self._worker.open(Manifest, Path(path))
                try:
                    await self._worker.call(self._store.begin_staging)
                    rows = manifest.rows()
                    while await self._worker.call(self._stage, rows):
                        pass
                    return await self._worker.call(self._store.adopt, manifest.path, manifest.columns)
                finally:
                    await self._worker.call(manifest.close)
            finally:
                await self._worker.call(self._store.end_staging)

    async def run(self, ekb: EkbSession, progress: Callable[[Progress], None] | None = None) -> Summary:
        """Makes all pending calls; results are written as they arrive. `progress` is called a few times per second.

        Calls that were running when an earlier run was killed are made again. Raises `AuthError` or
        `PermissionDeniedError` when every further call would fail with it, `SessionClosedError` if the session is
        closed, `ConfigError` if another run works on this file or it cannot be written, and what `progress` raises;
        what was not made stays pending. When cancelled, or ended by an error, calls under way have the session's
        `close_timeout` to end and are recorded; cancelling once more breaks them off.
        """
        return await Run(self._worker, self._store, self._lock, ekb, progress).work()

    async def counts(self) -> dict[str, int]:
        """Tasks by state; `pending`, `running` (handed to the session), `done` and `failed` are always there."""
        return await self._worker.call(self._store.counts)

    async def failures(self) -> dict[str, int]:
        """Failed tasks by the class of their error, the most frequent first."""
        return await self._worker.call(self._store.failures)

    async def results(self, state: str | None = None) -> AsyncIterator[Task]:
        """The tasks in the order they were added, of one state or all. Raises `ConfigError` for an unknown state."""
        _check_state(state)
        last = 0
        while page := await self._worker.call(self._tasks, last, state):
            for task in page:
                yield task
            last = page[-1].id

    async def retry(self) -> int:
        """Makes failed tasks pending again; how many they were."""
        return await self._worker.call(self._store.retry)

    async def export(self, path: str | PathLike[str], state: str | None = None) -> int:
        """Writes the tasks of one state or all to a .jsonl or .csv file; how many they were.

        JSON Lines has one object per task. CSV has one line per task, or per invoice where a file shows several, and a
        byte order mark for Excel. The file appears when it is whole. Raises `ConfigError` for another suffix, an
        unknown state, or a file that cannot be written.
        """
        _check_state(state)
        target = await asyncio.to_thread(Path(path).resolve)
        if target == self._path or await self._worker.call(self._store.is_manifest, target):
            raise ConfigError(f"{path}: this is the backlog itself or one of its manifests; choose another name")
        export = await self._worker.open(Export, Path(path))
        try:
            last = exported = 0
            while page := await self._worker.call(self._tasks, last, state):
                await self._worker.call(export.write, page)
                last = page[-1].id
                exported += len(page)
            await self._worker.call(export.finish)
        finally:
            await self._worker.call(export.close)
        return exported

    def _stage(self, rows: Iterator[ManifestRow]) -> int:
        return self._store.stage(itertools.islice(rows, _ROWS_READ))

    def _tasks(self, after: int, state: str | None) -> list[Task]:
        return [task_of(row) for row in self._store.page(after, _ROWS_SHOWN, state)]


def _check_state(state: str | None) -> None:
    if state is not None and state not in STATES:
        raise ConfigError(f"state must be one of {', '.join(STATES)}, not {state!r}")
