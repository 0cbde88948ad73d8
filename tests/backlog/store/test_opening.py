"""Opening a backlog file after a kill, from many processes at once, or without the permission to write."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog, BacklogTiming
from ekb_async.errors import ConfigError
from tests.support.backlogs import manifest, names_in

SOURCE = str(Path(ekb_async.__file__).parents[1])

ROWS = [f"url,,c:1:{number},,," for number in range(50)]


def interrupted(make: Path, path: Path) -> None:
    """Copy to `path` what a kill during a write leaves: a half-written file and the journal that rolls it back."""
    shutil.copy(make, path)
    journal = make.with_name(f"{make.name}-journal")
    assert journal.stat().st_size > 512
    shutil.copy(journal, path.with_name(f"{path.name}-journal"))


def make_in_steps(path: Path, kill_at: str) -> None:
    """Make a backlog file as `BacklogFile` does, and leave it as a kill at some moment would."""
    from ekb_async.backlog.store.sqlite.schema import migrate

    made = path.with_name("made")
    with closing(sqlite3.connect(made, isolation_level=None)) as db:
        # A small cache makes SQLite write uncommitted pages to the file.
        db.execute("PRAGMA cache_size = 1")
        db.execute("PRAGMA cache_spill = 1")
        if kill_at == "later":
            db.execute("BEGIN")
            migrate(db, 0)
            db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        migrate(db, 0) if kill_at == "made" else db.execute("PRAGMA user_version = 3")
        db.execute("CREATE TABLE filler (text)")
        for _ in range(200):
            db.execute("INSERT INTO filler VALUES (hex(randomblob(2000)))")
        interrupted(made, path)
        db.execute("ROLLBACK")
    made.unlink()


@pytest.mark.parametrize("kill_at", ["made", "later"])
async def test_a_kill_during_a_write_of_the_first_moments(tmp_path: Path, kill_at: str) -> None:
    """After a kill while a backlog is created, or before it has a write-ahead log, it opens as it was before."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(make_in_steps, path, kill_at)
    async with Backlog.open(path) as backlog:
        assert sum((await backlog.counts()).values()) == 0
        await backlog.add_manifest(manifest(tmp_path, *ROWS))
    assert names_in(tmp_path) == ["b.sqlite", "m.csv"]


def foreign(path: Path) -> None:
    """Make the database of another program that was killed."""
    made = path.with_name("made")
    with closing(sqlite3.connect(made, isolation_level=None)) as db:
        db.execute("CREATE TABLE filler (text)")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        for _ in range(200):
            db.execute("INSERT INTO filler VALUES (hex(randomblob(2000)))")
        interrupted(made, path)
        db.execute("ROLLBACK")
    made.unlink()


async def test_what_another_program_left_is_not_undone(tmp_path: Path) -> None:
    """A database of another program is refused, and stays unchanged together with its journal."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(foreign, path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="no backlog"):
        async with Backlog.open(path):
            pass
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["b.sqlite", "b.sqlite-journal"]


OPEN = """
import asyncio, sys
from ekb_async.backlog import Backlog

async def main():
    print("ready", flush=True)
    for path in sys.stdin:
        async with Backlog.open(path.strip()) as backlog:
            await backlog.counts()
        print("opened", flush=True)

asyncio.run(main())
"""


@pytest.mark.process
@pytest.mark.slow
async def test_many_open_a_new_backlog_at_once(tmp_path: Path) -> None:
    """Six processes can open the same new file at the same moment."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OPEN,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SOURCE},
        )
        for _ in range(6)
    ]
    lines = [process.stdout for process in processes]
    assert [line and await line.readline() for line in lines] == [b"ready\n"] * 6
    for number in range(12):
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{tmp_path / str(number)}.sqlite\n".encode())
        assert [line and await line.readline() for line in lines] == [b"opened\n"] * 6
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0


async def test_reading_needs_no_lock(tmp_path: Path) -> None:
    """While another program holds the file's lock, the backlog can be counted and exported."""
    path = tmp_path / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *ROWS))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE rows SET ref = 'x'")
        async with Backlog.open(path) as backlog:
            assert (await backlog.counts())["pending"] == len(ROWS)
            assert await backlog.export(tmp_path / "out.jsonl") == len(ROWS)
        async with Backlog.open(path, timing=BacklogTiming(patience=0.1, lock_wait=0.01)) as backlog:
            with pytest.raises(ConfigError, match="locked"):
                await backlog.retry()


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process believe that it has no permission to write."""
    monkeypatch.setattr(os, "access", lambda *_: False)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("unwritable")
async def test_a_reader_sees_what_is_written(tmp_path: Path) -> None:
    """A reader that opened the file without a lock continues while others write, and sees each state completely."""
    path = await made(tmp_path)
    async with Backlog.open(path) as reader:
        assert (await reader.counts())["pending"] == 50
        for number in range(1, 3):
            rows = [f"url,,more:{number}:{each},,," for each in range(400)]
            await asyncio.to_thread(add_elsewhere, path, manifest(tmp_path, *rows))
            assert (await reader.counts())["pending"] == 50 + 400 * number
            assert len([task async for task in reader.results()]) == 50 + 400 * number


@pytest.mark.usefixtures("unwritable")
async def test_a_reader_of_a_removed_file(tmp_path: Path) -> None:
    """If a file is removed while it is open for reading, the error names it."""
    path = await made(tmp_path)
    async with Backlog.open(path) as reader:
        path.unlink()
        with pytest.raises(ConfigError, match=r"b\.sqlite: the backlog cannot be read: No such file"):
            await reader.counts()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("unwritable")
async def test_reading_during_writes(tmp_path: Path) -> None:
    """Whatever another process writes during a read, the read succeeds and the number of rows only grows."""
    path = await made(tmp_path)
    adding = asyncio.create_task(add_often(tmp_path, path))
    async with Backlog.open(path) as reader:
        seen = [0]
        while not adding.done():
            seen.append((await reader.counts())["pending"])
            assert len([task async for task in reader.results()]) >= seen[-1]
    await adding
    assert seen == sorted(seen)


async def add_often(directory: Path, path: Path) -> None:
    for number in range(1, 3):
        rows = [f"url,,more:{number}:{each},,," for each in range(400)]
        await asyncio.to_thread(add_elsewhere, path, manifest(directory, *rows))


async def made(directory: Path) -> Path:
    """Make a backlog of fifty rows; a new file is always writable."""
    path = directory / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(directory, *ROWS))
    return path


ADD = """
import asyncio, sys
from ekb_async.backlog import Backlog

async def main(path, manifest):
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest)

asyncio.run(main(*sys.argv[1:]))
"""


def add_elsewhere(path: Path, rows: Path) -> None:
    """Add a manifest in another process, which opens and closes the file."""
    command = [sys.executable, "-c", ADD, str(path), str(rows)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": SOURCE})  # noqa: S603 - paths of this test


LOOK = """
import asyncio, os, sys
from ekb_async.backlog import Backlog

async def main(path, other):
    # Loads all modules, which the other user may not be able to read.
    async with Backlog.open(other) as backlog:
        await backlog.counts()
    os.setgid(65534), os.setuid(65534)
    async with Backlog.open(path) as backlog:
        print(await backlog.counts(), flush=True)
        for _ in sys.stdin:
            print(await backlog.counts(), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that all users may read and only root may write."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.root
@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root")
async def test_another_user_reads(open_directory: Path, tmp_path: Path) -> None:
    """A user without permission to write sees the state before, while and after another user has the file open."""
    path = open_directory / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(open_directory, *ROWS))
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LOOK,
        str(path),
        str(tmp_path / "other.sqlite"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    assert b"'pending': 50" in await reader.stdout.readline()
    async with Backlog.open(path) as backlog:
        for number in range(1, 4):
            rows = [f"url,,more:{number}:{each},,," for each in range(50)]
            await backlog.add_manifest(manifest(open_directory, *rows))
            reader.stdin.write(b"\n")
            assert f"'pending': {50 + 50 * number}".encode() in await reader.stdout.readline()
    reader.stdin.write(b"\n")
    assert b"'pending': 200" in await reader.stdout.readline()
    reader.stdin.close()
    assert await reader.wait() == 0
