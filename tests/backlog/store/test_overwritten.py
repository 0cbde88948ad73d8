"""A backlog file that is overwritten in place, or loses its log, while it is open."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest, names_in, session
from tests.support.watched_log import WatchedLog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be changed so there"),
]

Change = Callable[[Path, Path], None]
CALLS_BEFORE_CHANGE = 12


def log_of(path: Path) -> Path:
    """Return the path of a backlog's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def overwrite(path: Path, backup: Path) -> None:
    """Copy a backup over the file."""
    shutil.copyfile(backup, path)


def overwrite_and_keep_time(path: Path, backup: Path) -> None:
    """Copy a backup over the file with its modification time, as `cp -p` does."""
    shutil.copy2(backup, path)


def overwrite_with_other(path: Path, _: Path) -> None:
    """Overwrite the file with something that is no database."""
    path.write_bytes(b"\x89PNG" * 5000)


def empty(path: Path, _: Path) -> None:
    """Truncate the file to nothing."""
    os.truncate(path, 0)


def remove_log(path: Path, _: Path) -> None:
    """Remove the log."""
    log_of(path).unlink()


def remove_index(path: Path, _: Path) -> None:
    """Remove the index of the log."""
    path.with_name(f"{path.name}-shm").unlink()


def remove_beside(path: Path, _: Path) -> None:
    """Remove the log and its index."""
    remove_log(path, path)
    remove_index(path, path)


def empty_log(path: Path, _: Path) -> None:
    """Truncate the log to nothing."""
    os.truncate(log_of(path), 0)


def halve_log(path: Path, _: Path) -> None:
    """Truncate the log to half its size."""
    os.truncate(log_of(path), log_of(path).stat().st_size // 2)


def overwrite_log(path: Path, _: Path) -> None:
    """Overwrite the log with zeros."""
    log_of(path).write_bytes(b"\0" * log_of(path).stat().st_size)


def restore_all(path: Path, backup: Path) -> None:
    """Copy a backup over the file and remove its log and index, as SQLite's manual says."""
    remove_beside(path, path)
    shutil.copyfile(backup, path)


def restore_through_sqlite(path: Path, backup: Path) -> None:
    """Restore a backup through SQLite, as `.restore` does."""
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


OF_THE_FILE = [overwrite, overwrite_and_keep_time, overwrite_with_other, empty]
OF_THE_LOG = [remove_log, remove_index, remove_beside, empty_log, halve_log, overwrite_log]


async def interrupted_by(change: Change, box: Sandbox, path: Path, count: int = 100) -> BaseException:
    """Return the error of a run whose file is changed after some calls; calls that follow the change are not sent."""
    backup = path.with_name("backup.sqlite")
    async with Backlog.open(path) as backlog:
        rows = (f"ocr,https://f.example/{number},,,," for number in range(count))
        await backlog.add_manifest(manifest(path.parent, *rows))
    shutil.copyfile(path, backup)
    box.log = log = WatchedLog()
    async with session(box, max_running=2) as ekb, Backlog.open(path) as backlog:
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", CALLS_BEFORE_CHANGE).wait()
        change(path, backup)
        before = box.count("ocr")
        with pytest.raises(ConfigError, match=r"b\.sqlite: .*removed or replaced") as caught:
            await run
        assert box.count("ocr") <= before + 4
    return caught.value


def rescued(directory: Path) -> list[str]:
    """Return the URLs whose answers were saved beside the backlog."""
    lines = [line for path in directory.glob("ekb-answers-*.jsonl") for line in path.read_text("utf-8").splitlines()]
    assert all(json.loads(line)["result"] for line in lines)
    return [json.loads(line)["file"] for line in lines]


async def done_in(path: Path) -> list[str]:
    """Check the integrity of a backlog, and return the URLs whose answers are in it."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    async with Backlog.open(path) as backlog:
        return [task.file async for task in backlog.results("done")]


@pytest.mark.parametrize("change", OF_THE_FILE)
async def test_something_else_is_copied_into_the_file(tmp_path: Path, change: Change) -> None:
    """The run ends and says where its answers are; what was copied over the file stays unchanged."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.01) as box:
        error = await interrupted_by(change, box, path)
        billed = box.vendor.billed["ocr"].total()
    copied = tmp_path / "copied"
    copied.touch()
    change(copied, tmp_path / "backup.sqlite")
    assert path.read_bytes() == copied.read_bytes()
    assert not log_of(path).exists() or not log_of(path).stat().st_size
    found = rescued(tmp_path)
    assert len(found) == len(set(found)) == billed
    assert f"The answers to {billed:,} billed calls" in "".join(error.__notes__)


@pytest.mark.parametrize("restore", [overwrite, restore_all, restore_through_sqlite])
async def test_a_backup_over_the_file_is_a_backlog(tmp_path: Path, restore: Change) -> None:
    """A run on the restored backup starts from its state at the time of the backup."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.01) as box:
        await interrupted_by(restore, box, path)
        assert await done_in(path) == []
        assert len(rescued(tmp_path)) == box.vendor.billed["ocr"].total()
        async with session(box) as ekb, Backlog.open(path) as backlog:
            assert (await backlog.run(ekb)).counts == {"pending": 0, "running": 0, "done": 100, "failed": 0}


@pytest.mark.parametrize("change", OF_THE_LOG)
async def test_the_log_is_lost(tmp_path: Path, change: Change) -> None:
    """The run ends, the backlog is intact, and each answer is in it or in the file that the error names."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.01) as box:
        error = await interrupted_by(change, box, path)
        billed = box.vendor.billed["ocr"].total()
    kept = {*await done_in(path), *rescued(tmp_path)}
    assert len(kept) == billed
    if found := rescued(tmp_path):
        assert f"The answers to {len(found):,} billed calls" in "".join(error.__notes__)
    if change in {remove_log, remove_index, remove_beside}:
        assert len(await done_in(path)) == billed


async def test_an_idle_backlog_does_not_write_into_what_was_copied_over_it(tmp_path: Path) -> None:
    """Changes that are only in the log are not written into a backup with the same contents as the database file."""
    path, backup = tmp_path / "b.sqlite", tmp_path / "backup.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,c:1:{n},,," for n in range(5)), name="one.csv"))
    shutil.copyfile(path, backup)
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,c:2:{n},,," for n in range(500)), name="two.csv"))
        shutil.copyfile(backup, path)
        with pytest.raises(ConfigError, match="removed or replaced"):
            await backlog.retry()
    assert path.read_bytes() == backup.read_bytes()
    async with Backlog.open(path) as backlog:
        assert (await backlog.counts())["pending"] == 5


async def test_the_file_after_many_checkpoints(tmp_path: Path) -> None:
    """The error counts the answers that were in the overwritten file, and the others are saved."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0) as box, session(box, max_running=8) as ekb, Backlog.open(path) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(500))))
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", 200).wait()
        with closing(sqlite3.connect(path)) as by_hand:
            by_hand.execute("PRAGMA wal_checkpoint(PASSIVE)")
        await log.arrival("ocr", 240).wait()
        path.write_bytes(b"something else")
        with pytest.raises(ConfigError, match="removed or replaced") as caught:
            await run
        billed = box.vendor.billed["ocr"].total()
    assert path.read_bytes() == b"something else"
    saved, before = (int(note.split()[3].replace(",", "")) for note in caught.value.__notes__)
    assert saved == len(rescued(tmp_path))
    assert before > 20
    assert saved + before == billed


async def test_what_others_write_and_checkpoint_is_no_loss(tmp_path: Path) -> None:
    """A run continues while others add rows and checkpoint, and leaves nothing beside its file."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.005) as box, session(box, max_running=4) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(60))))
            run = asyncio.create_task(backlog.run(ekb))
            for round_, mode in enumerate(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]):
                await log.arrival("ocr", 10 * (round_ + 1)).wait()
                async with Backlog.open(path) as other:
                    more = (f"ocr,https://g.example/{round_}-{n},,,," for n in range(5))
                    await other.add_manifest(manifest(tmp_path, *more, name=f"{round_}.csv"))
                with closing(sqlite3.connect(path)) as by_hand:
                    by_hand.execute(f"PRAGMA wal_checkpoint({mode})")
            assert (await run).counts["done"] == 80
        assert box.vendor.billed["ocr"].total() == 80
    assert [name for name in names_in(tmp_path) if not name.endswith(".csv")] == ["b.sqlite"]


async def test_a_checkpoint_beside_a_reader_is_no_loss(tmp_path: Path) -> None:
    """A run continues when a checkpoint leaves out the changes since a reader, such as a backup, began."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.005) as box, session(box, max_running=4) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(600))))
            run = asyncio.create_task(backlog.run(ekb))
            for round_ in range(3):
                with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM calls").fetchone()
                    await log.arrival("ocr", 20 * round_ + 10).wait()
                    with closing(sqlite3.connect(path)) as by_hand:
                        by_hand.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    await log.arrival("ocr", 20 * round_ + 20).wait()
            assert (await run).counts["done"] == 600
        assert box.vendor.billed["ocr"].total() == 600
    assert names_in(tmp_path) == ["b.sqlite", "m.csv"]


CHECKPOINT_THAT_FAILS = """
import os, resource, sqlite3, sys
size = os.path.getsize(sys.argv[1])
database = sqlite3.connect(sys.argv[1])
database.execute("SELECT count(*) FROM calls").fetchone()
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
except sqlite3.OperationalError:
    os._exit(7)
"""


@pytest.mark.process
async def test_an_interrupted_checkpoint_is_no_loss(tmp_path: Path) -> None:
    """Pages written by an interrupted checkpoint do not count as damage, nor do those of the next checkpoint."""
    path = tmp_path / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "url,,c:0:0,,,", name="one.csv"))
    async with Backlog.open(path) as backlog, Backlog.open(path) as other:
        await other.add_manifest(manifest(tmp_path, *(f"url,,c:1:{n},,," for n in range(300)), name="two.csv"))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHECKPOINT_THAT_FAILS, path)
        assert await process.wait() == 7
        assert await backlog.retry() == 0
        with closing(sqlite3.connect(path)) as by_hand:
            by_hand.execute("PRAGMA wal_checkpoint(PASSIVE)")
        assert await backlog.retry() == 0
        assert (await backlog.counts())["pending"] == 301


GO_ON = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

async def main(path, base_url, key, security):
    credentials = AppCredentials(app_key=key, app_security=security)
    config = SessionConfig(ocr_rate=1000, rate_guard=0)
    async with EkbSession(credentials, base_url=base_url, config=config) as ekb, Backlog.open(path) as backlog:
        print((await backlog.run(ekb)).counts["done"])

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.process
@pytest.mark.parametrize("change", [overwrite, empty_log, remove_log])
async def test_another_process_goes_on(tmp_path: Path, change: Change) -> None:
    """The calls of the ended run are available to other processes, even while its own process still exists."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0, latency=0.01) as box:
        await interrupted_by(change, box, path, count=20)
        arguments = (path, box.base_url, box.credentials.app_key, box.credentials.app_security)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", GO_ON, *arguments),
            env={**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert output.split() == [b"20"]
