"""Adding a manifest can be stopped at any moment: it ends soon and adds nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.input.rows.identity import invoice_identity
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.sqlite.store import SqliteStore
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, session
from tests.support.command import start
from tests.support.waiting import until

LARGEST = 30 * 1024 * 1024


def hours_of_reading(directory: Path) -> Path:
    """Make a manifest whose rows all name a file of the largest size."""
    with (directory / "a.png").open("wb") as file:
        file.truncate(LARGEST)
    return manifest(directory, *(f"ocr,a.png,,,,{number}" for number in range(20_000)))


@pytest.mark.realtime
async def test_cancelled_while_files_are_read(tmp_path: Path, place: Location) -> None:
    """Cancellation takes effect between two files, and the reading thread ends."""
    async with Backlog.open(place) as backlog:
        adding = asyncio.create_task(backlog.add_manifest(hours_of_reading(tmp_path)))
        ended, _ = await asyncio.wait([adding], timeout=0.2)
        assert not ended
        before = time.monotonic()
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert time.monotonic() - before < 1.5
        assert sum((await backlog.counts()).values()) == 0


@pytest.mark.process
@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a single process")
async def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    """`ekb backlog add` ends soon, with the status of an interruption."""
    database = tmp_path / "b.sqlite"
    process = await start("backlog", "add", database, hours_of_reading(tmp_path), box=None)

    async def is_reading() -> bool:
        return await asyncio.to_thread(database.exists)

    await until(is_reading)
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    assert time.monotonic() - before < 5  # on a busy machine


async def test_given_up_while_rows_are_taken_in(tmp_path: Path) -> None:
    """Rows that were imported before the stop are not added either, and can be added again."""
    rows = [
        ManifestRow(number, 0, 0, "url", invoice_identity("url", str(number)), "", "", str(number), "", "")
        for number in range(20_000)
    ]
    store = await SqliteStore.open(tmp_path / "b.sqlite")

    async def is_committing() -> bool:
        with closing(sqlite3.connect(tmp_path / "b.sqlite", timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    try:
        await store.begin_import()
        await store.import_rows(rows)
        commit = asyncio.create_task(store.commit_import(tmp_path / "m.csv", ()))
        await until(is_committing)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        assert await store.load() == []
        assert (await store.commit_import(tmp_path / "m.csv", ())).added == 20_000
    finally:
        await store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
async def test_a_manifest_that_has_become_a_pipe(tmp_path: Path) -> None:
    """A row whose signed URL would be read from the pipe fails alone, and nothing waits for a writer."""
    signed = manifest(tmp_path, "ocr,https://f.example/a.png?Expires=1700000000&Signature=abc,,,,")
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(signed)
        signed.unlink()
        os.mkfifo(signed)
        assert (await backlog.run(ekb)).failures == {"ConfigError": 1}
        with pytest.raises(ConfigError, match="a list of codes must be a regular file"):
            await backlog.add_flows(ekb, signed)


@pytest.mark.parametrize("root", ["", None, b"x"])
async def test_what_is_no_root(tmp_path: Path, root: Any) -> None:
    """An empty root, as from an unset variable, does not allow the working directory."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="roots"):
            await backlog.add_manifest(manifest(tmp_path, "url,,c:1:1,,,"), roots=[root])
