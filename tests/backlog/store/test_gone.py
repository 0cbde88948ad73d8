"""A backlog file that is deleted, moved or replaced while a run works on it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest, session
from tests.support.watched_log import WatchedLog

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")

Change = Callable[[Path, Path], None]


def delete(path: Path, _: Path) -> None:
    """Remove the file, and nothing beside it."""
    path.unlink()


def delete_all(path: Path, _: Path) -> None:
    """Remove the file and SQLite's files beside it."""
    for each in path.parent.glob("b.sqlite*"):
        each.unlink()


def replace(path: Path, other: Path) -> None:
    """Put another file in its place."""
    other.replace(path)


def keep_and_replace(path: Path, other: Path) -> None:
    """Move it away, and put another file in its place."""
    path.rename(path.with_name("old.sqlite"))
    other.replace(path)


def move_alone(path: Path, _: Path) -> None:
    """Move the file without its log, which has the latest changes."""
    path.rename(path.with_name("old.sqlite"))


async def other_backlog(directory: Path) -> Path:
    """Make another backlog, of seven rows."""
    other = directory / "other.sqlite"
    async with Backlog.open(other) as backlog:
        await backlog.add_manifest(manifest(directory, *(f"url,,c:1:{n},,," for n in range(7)), name="other.csv"))
    return other


@pytest.mark.parametrize("change", [delete, delete_all, replace, keep_and_replace, move_alone])
async def test_nothing_more_is_paid_for(tmp_path: Path, change: Change) -> None:
    """The run ends with an error, and no call is sent whose answer would be lost."""
    path = tmp_path / "b.sqlite"
    other = await other_backlog(tmp_path)
    async with Sandbox(ocr_rate=0, latency=0.02) as box, session(box, max_running=2) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(path) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(100))))
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 3).wait()
            change(path, other)
            before = box.count("ocr")
            with pytest.raises(ConfigError, match=r"b\.sqlite: .*removed or replaced"):
                await run
            assert box.count("ocr") <= before + 4
    if change in {replace, keep_and_replace}:
        assert await rows_in(path) == 7
    if change in {keep_and_replace, move_alone}:
        async with Backlog.open(tmp_path / "old.sqlite") as backlog:
            counts = await backlog.counts()
            assert counts["done"] == box.vendor.billed["ocr"].total()
            assert await backlog.maybe_billed() == 0


async def rows_in(path: Path) -> int:
    """Check the integrity of a backlog, and count its rows."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    async with Backlog.open(path) as backlog:
        return len([task async for task in backlog.results()])


@pytest.mark.parametrize("use", ["add", "retry", "run"])
async def test_every_change_is_refused(tmp_path: Path, use: str) -> None:
    """Adding, retrying and running raise an error if the backlog's file was removed."""
    path = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(path) as backlog:
        rows = manifest(tmp_path, "ocr,https://f.example/1,,,,")
        await backlog.add_manifest(rows)
        path.unlink()
        uses = {"add": partial(backlog.add_manifest, rows), "retry": backlog.retry, "run": partial(backlog.run, ekb)}
        work: Callable[[], Awaitable[object]] = uses[use]  # type: ignore[assignment]  # what they give does not matter
        with pytest.raises(ConfigError, match="removed or replaced"):
            await work()
        assert box.count("ocr") == 0


async def test_a_backup_put_in_its_place_stays_as_it_is(tmp_path: Path) -> None:
    """Changes that are only in the log of an idle backlog do not get into the file that replaces it."""
    path, backup = tmp_path / "b.sqlite", tmp_path / "backup.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,c:1:{n},,," for n in range(5)), name="one.csv"))
    shutil.copy(path, backup)
    before = backup.read_bytes()
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,c:2:{n},,," for n in range(500)), name="two.csv"))
        backup.replace(path)
    assert path.read_bytes() == before
    assert await rows_in(path) == 5
