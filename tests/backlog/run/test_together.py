"""Several runs on one backlog, killed runs, and calls with an unknown outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog, Progress
from ekb_async.errors import ConfigError
from ekb_async.sandbox import LogEntry, Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, names_in, session
from tests.support.watched_log import WatchedLog

RUN = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

async def main(path, base_url, key, security):
    config = SessionConfig(ocr_rate=1000, max_running=5, rate_guard=0)
    credentials = AppCredentials(app_key=key, app_security=security)
    async with EkbSession(credentials, base_url=base_url, config=config) as ekb, Backlog.open(path) as backlog:
        await backlog.run(ekb)

asyncio.run(main(*sys.argv[1:]))
"""

SOURCE = str(Path(ekb_async.__file__).parents[1])


async def run_elsewhere(path: Path, box: Sandbox) -> asyncio.subprocess.Process:
    """Start a run in another process."""
    arguments = (str(path), box.base_url, box.credentials.app_key, box.credentials.app_security)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, *arguments, env={**os.environ, "PYTHONPATH": SOURCE}
    )


def urls(count: int) -> list[str]:
    return [f"ocr,https://f.example/{number}.png,,,,{number}" for number in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["the same object", "opened again", "through a link"])
async def test_runs_share_the_work(tmp_path: Path, way: str) -> None:
    """Two concurrent runs make each call once, and both end when all rows are done."""
    path, link = tmp_path / "b.sqlite", tmp_path / "link.sqlite"
    link.symlink_to(path)
    async with (
        Sandbox(ocr_rate=0) as box,
        Backlog.open(path) as backlog,
        Backlog.open(link if way == "through a link" else path) as again,
    ):
        await backlog.add_manifest(manifest(tmp_path, *urls(250)))
        async with session(box) as one, session(box) as two:
            other = backlog if way == "the same object" else again
            summaries = await asyncio.gather(backlog.run(one), other.run(two))
            assert one.stats().ocr.sent
            assert two.stats().ocr.sent
        assert [summary.counts["done"] for summary in summaries] == [250, 250]
        assert box.vendor.billed["ocr"].total() == 250
    assert names_in(tmp_path) == ["b.sqlite", "link.sqlite", "m.csv"]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_run_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    """A run waits while another one has claimed all calls, and takes them over when that one is killed."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.3) as box, Backlog.open(path) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(30)))
        box.log = log = WatchedLog()
        victim = await run_elsewhere(path, box)
        await log.arrival("ocr", 8).wait()
        waiting = asyncio.Event()

        def watch(progress: Progress) -> None:
            if "another run" in progress.trouble:
                waiting.set()

        run = asyncio.create_task(backlog.run(ekb, progress=watch))
        await waiting.wait()
        victim.send_signal(signal.SIGKILL)
        await victim.wait()
        assert (await run).counts["done"] == 30
        unconfirmed = sum(task.maybe_billed for task in await all_tasks(backlog))
        assert box.vendor.billed["ocr"].total() <= 30 + unconfirmed
        assert unconfirmed <= 2 * 5


async def stop_between_writes(process: asyncio.subprocess.Process, path: Path) -> None:
    """Stop a process at a moment when it holds no transaction that blocks others."""
    while True:
        process.send_signal(signal.SIGSTOP)
        database = sqlite3.connect(path, timeout=0.2, isolation_level=None)
        with closing(database), contextlib.suppress(sqlite3.OperationalError):
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
async def test_a_stopped_process_is_not_dead(tmp_path: Path) -> None:
    """A run whose process is stopped keeps its calls: they may have been billed, and the process may continue."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.2) as box, Backlog.open(path) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(10)))
        box.log = log = WatchedLog()
        process = await run_elsewhere(path, box)
        await log.arrival("ocr", 2).wait()
        await stop_between_writes(process, path)
        waiting = asyncio.Event()
        run = asyncio.create_task(backlog.run(ekb, progress=lambda now: waiting.set() if now.trouble else None))
        await waiting.wait()
        assert ekb.stats().ocr.sent == 0
        process.send_signal(signal.SIGCONT)
        assert (await run).counts["done"] == 10
        assert await process.wait() == 0
        assert box.vendor.billed["ocr"].total() == 10


async def test_unknown_outcomes_can_be_held(tmp_path: Path) -> None:
    """With `repeat_unknown=False` a call that was broken off fails, and only `retry(unknown=True)` repeats it."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=30) as box:
        box.log = log = WatchedLog()
        async with session(box, repeat_unknown=False, close_timeout=0) as ekb, Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *urls(2)))
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 2).wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            held = [task for task in await all_tasks(backlog, "failed") if task.error_type == "OutcomeUnknownError"]
            assert [(task.attempts, task.maybe_billed) for task in held] == [(1, 1), (1, 1)]
            assert "--unknown" in str(held[0].hint)
            assert await backlog.maybe_billed() == 2
            assert await backlog.retry() == 0
            again = await backlog.add_manifest(manifest(tmp_path, *urls(2), name="again.csv"))
            assert (again.added, again.duplicates) == (0, 2)
            assert (await backlog.counts())["failed"] == 2
            assert await backlog.retry(unknown=True) == 2
        box.latency = {}
        async with session(box) as ekb, Backlog.open(path) as backlog:
            assert (await backlog.run(ekb)).counts["done"] == 2
        assert box.vendor.billed["ocr"].total() == 4


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_kill_leaves_the_decision_to_a_person(tmp_path: Path) -> None:
    """With `repeat_unknown=False`, calls in flight when a run is killed fail, and nothing is billed twice."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.1) as box, session(box, repeat_unknown=False) as ekb:
        async with Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *urls(30)))
        box.log = log = WatchedLog()
        victim = await run_elsewhere(path, box)
        await log.arrival("ocr", 8).wait()
        victim.kill()
        await victim.wait()
        async with Backlog.open(path) as backlog:
            summary = await backlog.run(ekb)
            assert set(summary.failures) == {"OutcomeUnknownError"}
            assert summary.counts["done"] + summary.counts["failed"] == 30
            assert 1 <= summary.counts["failed"] <= 10
        # Calls sent just before the kill may not be on disk as sent.
        assert box.vendor.billed["ocr"].total() <= 30 + 2


async def test_what_an_earlier_run_left_is_held(tmp_path: Path, place: Location) -> None:
    """Calls that a run sent and would have repeated are held by a later one, until a person decides."""
    async with Sandbox(ocr_rate=0, latency=30) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *urls(4)))
        async with session(box, close_timeout=0, max_running=2) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await box.arrived("ocr", 2)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert [(task.state, task.error, task.maybe_billed) for task in await all_tasks(backlog)] == [
            *[("pending", None, 1)] * 2,
            *[("pending", None, 0)] * 2,
        ]
        box.latency = {}
        async with session(box) as ekb:
            # It makes the first one again, and gives the second one back unsent.
            assert (await backlog.run(ekb, max_calls=1)).counts["pending"] == 3
        async with session(box, repeat_unknown=False) as ekb:
            summary = await backlog.run(ekb)
            assert (summary.counts["done"], summary.failures) == (3, {"OutcomeUnknownError": 1})
            assert await backlog.retry(unknown=True) == 1
            assert (await backlog.run(ekb)).counts["done"] == 4
        assert [task.attempts for task in await all_tasks(backlog)] == [2, 2, 1, 1]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("between", ["retry", "add", "free"])
async def test_what_a_killed_run_left_is_held(tmp_path: Path, between: str) -> None:
    """It makes no difference what settles the calls of a killed run before a later run holds them."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=30) as box:
        async with Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *urls(2)))
        victim = await run_elsewhere(path, box)
        await box.arrived("ocr", 2)
        victim.kill()
        await victim.wait()
        async with Backlog.open(path) as backlog, session(box, repeat_unknown=False) as ekb:
            match between:
                case "retry":
                    await backlog.retry()
                case "add":
                    await backlog.add_manifest(manifest(tmp_path, *urls(2), name="again.csv"))
                case "free":
                    await backlog.free()
            assert (await backlog.counts())["pending"] == 2
            assert (await backlog.run(ekb)).failures == {"OutcomeUnknownError": 2}
        assert box.count("ocr") == 2


class MarkCheckingLog(list[LogEntry]):
    """A sandbox's log that reads the backlog file whenever a billed call arrives."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.marked: list[int] = []

    def append(self, entry: LogEntry) -> None:
        super().append(entry)
        if entry.call == "ocr":
            with closing(sqlite3.connect(self._path)) as db:
                query = "SELECT count(*) FROM calls WHERE sent OR state IN ('done', 'failed')"
                self.marked.append(db.execute(query).fetchone()[0])


async def test_a_billed_call_is_sent_after_its_mark_is_on_disk(tmp_path: Path) -> None:
    """When a call arrives at the vendor, the file already has its mark."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(path) as backlog:
        box.log = log = MarkCheckingLog(path)
        await backlog.add_manifest(manifest(tmp_path, *urls(40)))
        await backlog.run(ekb)
    assert len(log.marked) == 40
    assert all(marked > arrived for arrived, marked in enumerate(log.marked))


async def test_what_was_refused_is_not_maybe_billed(tmp_path: Path) -> None:
    """A call that the vendor refused was not billed; breaking off its backoff does not count it as maybe billed."""
    path = tmp_path / "b.sqlite"
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.answer(503, calls="ocr")]) as box,
        session(box, repeat_unknown=False, max_backoff=60, max_tries=3) as ekb,
        Backlog.open(path) as backlog,
    ):
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *urls(4)))
        run = asyncio.create_task(backlog.run(ekb))
        await log.refusals("ocr", 4).wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert await backlog.counts() == {"pending": 4, "running": 0, "done": 0, "failed": 0}
        assert await backlog.maybe_billed() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
async def test_a_run_on_a_moved_backlog_is_alive(tmp_path: Path) -> None:
    """A run is not considered dead when its backlog is moved and opened elsewhere."""
    path, moved = tmp_path / "b.sqlite", tmp_path / "elsewhere" / "b.sqlite"
    moved.parent.mkdir()
    async with Sandbox(ocr_rate=0, latency=0.3) as box, Backlog.open(path) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(6)))
        box.log = log = WatchedLog()
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", 2).wait()
        for name in ("b.sqlite", "b.sqlite-wal", "b.sqlite-shm"):
            (path.with_name(name)).rename(moved.with_name(name))
        async with Backlog.open(moved) as again:
            assert (await again.run(ekb)).counts["done"] == 6
        await run
    assert box.vendor.billed["ocr"].total() == 6


async def test_retry_by_cause(tmp_path: Path) -> None:
    """`causes` groups failed rows with their hints; `retry` takes the class of an error or a part of its text."""
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"no image" + name.encode())
    rows = ["verify,a.png,,corp:staff,,", "verify,b.png,,corp:staff,,", "verify,https://f.example/1,,corp:gone,,"]
    async with (
        Sandbox(verify_rate=0, staff={"corp:staff"}) as box,
        session(box, max_tries=1) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        causes = await backlog.causes()
        assert [(cause.error_type, cause.rows) for cause in causes] == [
            ("RecognitionError", 2),
            ("StaffNotFoundError", 1),
        ]
        assert all(cause.error and cause.hint for cause in causes)
        assert len(await backlog.causes(limit=1)) == 1
        assert await backlog.retry(cause="no such text") == 0
        with pytest.raises(ConfigError, match="cause"):
            await backlog.retry(cause=" ")
        assert await backlog.retry(cause="人员不存在") == 1
        assert await backlog.retry(cause="recognitionerror") == 2
        assert await backlog.counts() == {"pending": 3, "running": 0, "done": 0, "failed": 0}
