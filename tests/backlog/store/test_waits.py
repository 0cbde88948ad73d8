"""A run whose backlog file cannot be written for a while: locked by another program, or on a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from ekb_async.backlog import Backlog, Progress
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, execute, manifest, session
from tests.support.fast_times import FAST_BACKLOG
from tests.support.waiting import until
from tests.support.watched_log import WatchedLog

SHORT = msgspec.structs.replace(FAST_BACKLOG, lock_wait=0.02, first_retry=0.01, longest_retry=0.05)
"""The same patience as elsewhere, but with short pauses between attempts."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock as another program, with an uncommitted change."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE rows SET ref = 'x' WHERE id = 1")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def lock(backlog: Backlog, path: Path) -> AsyncIterator[None]:
    """Hold the lock of the file."""
    assert backlog
    with locked(path):
        yield


@asynccontextmanager
async def full_disk(backlog: Backlog, _: Path) -> AsyncIterator[None]:
    """Prevent the file from growing."""
    await execute(backlog, "PRAGMA max_page_count = 1")
    yield
    await execute(backlog, "PRAGMA max_page_count = 1000000000")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [lock, full_disk])
async def test_answers_are_kept_until_they_can_be_written(
    tmp_path: Path, trouble: Callable[[Backlog, Path], AbstractAsyncContextManager[None]]
) -> None:
    """While the file cannot be written, nothing is sent and the progress says why; afterwards nothing is paid twice."""
    path = tmp_path / "b.sqlite"
    async with (
        Sandbox(ocr_rate=0, latency=0.2) as box,
        session(box, max_running=5) as ekb,
        Backlog.open(path, timing=SHORT) as backlog,
    ):
        box.log = log = WatchedLog()
        # The answers are too long for the free space within the file.
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(30))))
        troubled = asyncio.Event()

        def watch(progress: Progress) -> None:
            if "locked" in progress.trouble or "full" in progress.trouble:
                troubled.set()

        async def answered() -> bool:
            return ekb.stats().ocr.succeeded >= 5

        run = asyncio.create_task(backlog.run(ekb, progress=watch))
        await log.arrival("ocr", 5).wait()
        async with trouble(backlog, path):
            await troubled.wait()
            await until(answered)
            sent = box.count("ocr")
            await asyncio.sleep(0.1)
            assert box.count("ocr") == sent < 30
            assert not run.done()
        assert (await run).counts["done"] == 30
        assert await backlog.maybe_billed() == 0
        assert {task.attempts for task in await all_tasks(backlog)} == {1}
    assert box.vendor.billed["ocr"].total() == 30


async def test_patience_has_an_end(tmp_path: Path) -> None:
    """A run that could not write for too long ends with the reason, and its sent calls may have been billed."""
    path = tmp_path / "b.sqlite"
    patience = msgspec.structs.replace(SHORT, run_patience=0.3, last_patience=0.05)
    async with Sandbox(ocr_rate=0, latency=0.1) as box, session(box, max_running=3) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(path, timing=patience) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(20))))
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 3).wait()
            with locked(path), pytest.raises(ConfigError, match=r"b\.sqlite: .*locked"):
                await run
            sent = box.count("ocr")
            assert sent < 20
            assert (await backlog.run(ekb)).counts["done"] == 20
            assert box.vendor.billed["ocr"].total() <= 20 + await backlog.maybe_billed()


async def test_a_cancelled_run_waits_for_answers_alone(tmp_path: Path) -> None:
    """While the file is locked, a cancelled run ends as soon as it has no answers to write."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(path, timing=SHORT) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(5))))
        with locked(path):
            run = asyncio.create_task(backlog.run(ekb))
            await until(lambda: is_waiting(backlog))
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert box.count("ocr") == 0
        assert await backlog.active_runs() == []


async def is_waiting(backlog: Backlog) -> bool:
    """Return whether the file cannot be written at the moment."""
    return bool(backlog._store.trouble)
