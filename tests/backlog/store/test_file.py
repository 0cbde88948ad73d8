"""The backlog file: opening, refusing other files, and surviving a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.backlog.store.sqlite import schema
from ekb_async.errors import ConfigError
from ekb_async.sandbox import LogEntry, Sandbox
from ekb_async.storage.migrations.steps import steps
from tests.support.backlogs import execute

PICTURE = b"\x89PNG\r\n\x1a\n"


def newer_backlog(path: Path) -> None:
    asyncio.run(make_backlog(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")


async def make_backlog(path: Path) -> None:
    async with Backlog.open(path):
        pass


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE calls (id)")
        db.execute("PRAGMA user_version = 1")


def text_file(path: Path) -> None:
    path.write_text("kind,file\n" * 1000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (newer_backlog, "version 999"),
        (foreign_database, "this is a database, but no backlog"),
        (text_file, "this is no backlog file"),
    ],
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, make: object, message: str) -> None:
    """A file that is no backlog, or has a newer version, is refused and stays unchanged."""
    path = tmp_path / "b.sqlite"
    assert callable(make)
    make(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=message):
        asyncio.run(make_backlog(path))
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["b.sqlite"]


@pytest.mark.parametrize(("path", "message"), [(".", "this is a directory"), ("nowhere/b.sqlite", "no directory")])
async def test_a_path_that_cannot_be_a_backlog(tmp_path: Path, path: str, message: str) -> None:
    """A directory, and a file in a missing directory, are refused."""
    with pytest.raises(ConfigError, match=message):
        await make_backlog(tmp_path / path)


@pytest.mark.parametrize("name", ["with space.sqlite", "发票 #1?%20.sqlite", ":memory:"])
async def test_any_file_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are special in SQLite or in URLs work like others, also relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "m m.csv"
    manifest.write_text("kind,invoice_id\nurl,c:1:2\n")
    async with Backlog.open(name) as backlog:
        await backlog.add_manifest(manifest)
    assert (tmp_path / name).stat().st_size > 0
    async with Backlog.open(tmp_path / name) as backlog:
        assert (await backlog.counts())["pending"] == 1


async def test_an_empty_file_becomes_a_backlog(tmp_path: Path) -> None:
    """An empty file, which a crash in the first moment leaves, is opened as a new backlog."""
    (tmp_path / "b.sqlite").touch()
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert sum((await backlog.counts()).values()) == 0


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Closing a backlog ends its thread and leaves a single file without a write-ahead log."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.counts()
        assert any(thread.name.startswith("ekb-backlog") for thread in threading.enumerate())
    assert not any(thread.name.startswith("ekb-backlog") for thread in threading.enumerate())
    assert names_in(tmp_path) == ["b.sqlite"]


async def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    """A failed write raises a `ConfigError` that names the file, and leaves the backlog unchanged."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,invoice_id\n" + "".join(f"url,c:1:{number}\n" for number in range(20_000)))
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await execute(backlog, "PRAGMA max_page_count = 40")
        with pytest.raises(ConfigError, match=r"b\.sqlite: the backlog cannot be read or written: .*full"):
            await backlog.add_manifest(manifest)
        assert sum((await backlog.counts()).values()) == 0


class KillingLog(list[LogEntry]):
    """A log that kills a process as soon as a number of OCR calls was accepted."""

    def __init__(self, victim: asyncio.subprocess.Process, after: int) -> None:
        super().__init__()
        self._victim = victim
        self._after = after

    def append(self, entry: LogEntry) -> None:
        super().append(entry)
        self._after -= entry.call == "ocr" and entry.accepted
        if self._after == 0:
            self._after = -1
            self._victim.kill()


RUN = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

async def main(path, base_url, key, security):
    config = SessionConfig(ocr_rate=100, max_running=5, rate_guard=0)
    credentials = AppCredentials(app_key=key, app_security=security)
    async with EkbSession(credentials, base_url=base_url, config=config) as ekb, Backlog.open(path) as backlog:
        await backlog.run(ekb)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_killed_run_loses_no_answer_and_pays_little_twice(tmp_path: Path) -> None:
    """After three kills each row is done; only calls in flight or being recorded at a kill are paid twice."""
    names = [f"{number}.png" for number in range(60)]
    for name in names:
        (tmp_path / name).write_bytes(PICTURE + name.encode())
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,file,ref\n" + "".join(f"ocr,{name},{name}\n" for name in names))
    path = tmp_path / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest)
    async with Sandbox(ocr_rate=0, latency=0.05) as box:
        for after in (10, 15, 5):
            arguments = (str(path), box.base_url, box.credentials.app_key, box.credentials.app_security)
            await killed_run(box, after, arguments)
            async with Backlog.open(path) as backlog:
                counts = await backlog.counts()
                assert counts["done"] + counts["running"] + counts["pending"] == 60
        async with (
            EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(ocr_rate=500)) as ekb,
            Backlog.open(path) as backlog,
        ):
            assert (await backlog.run(ekb)).counts["done"] == 60
            tasks = [task async for task in backlog.results()]
        assert [task.ref for task in tasks] == names
        assert any(task.maybe_billed for task in tasks)
        assert box.vendor.billed["ocr"].total() <= 60 + 3 * 2 * 5
        assert sum(task.maybe_billed for task in tasks) <= 3 * 2 * 5


async def killed_run(box: Sandbox, after: int, arguments: tuple[str, ...]) -> None:
    """Run the backlog in another process and kill it during a call."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])}
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, *arguments, env=environment)
    box.log = KillingLog(victim, after)
    assert await victim.wait() == -signal.SIGKILL


def first_version(path: Path) -> None:
    """Make a backlog of schema version 1, with one row done and one under way when its run was killed."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)


VERSION_1 = """
CREATE TABLE manifests (id INTEGER PRIMARY KEY, path TEXT NOT NULL, columns TEXT NOT NULL, added_at REAL NOT NULL);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
    row_id INTEGER NOT NULL, row_count INTEGER NOT NULL DEFAULT 1, sent INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, maybe_billed INTEGER NOT NULL DEFAULT 0, ended_at REAL,
    error_type TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '', result BLOB
);
CREATE INDEX calls_to_claim ON calls (kind, id) WHERE state = 'pending';
CREATE INDEX calls_by_state ON calls (state, error_type, row_count);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, call_id INTEGER NOT NULL REFERENCES calls (id),
    manifest_id INTEGER NOT NULL REFERENCES manifests (id), line INTEGER NOT NULL, start INTEGER, length INTEGER,
    ref TEXT NOT NULL, file TEXT NOT NULL, invoice_id TEXT NOT NULL, staff_id TEXT NOT NULL, file_name TEXT NOT NULL
);
INSERT INTO manifests VALUES (1, '/m.csv', '["kind","file"]', 1.0);
INSERT INTO calls (id, identity, kind, state, row_id, attempts, ended_at, result)
    VALUES (1, 'detail:invoice:c:1:2', 'detail', 'done', 1, 1, 1700000000.0, '[]');
INSERT INTO calls (id, identity, kind, state, row_id, sent)
    VALUES (2, 'ocr:url:https://f.example/1', 'ocr', 'running', 2, 1);
INSERT INTO rows VALUES (1, 1, 1, 2, NULL, NULL, 'a', '', 'c:1:2', '', '');
INSERT INTO rows VALUES (2, 2, 1, 3, NULL, NULL, 'b', 'https://f.example/1', '', '', '');
PRAGMA application_id = 1701536354;
PRAGMA user_version = 1;
"""


async def test_a_file_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    """Opening an old file keeps every row and result; calls left under way are repeated and counted."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(first_version, path)
    async with (
        Sandbox(ocr_rate=0) as box,
        EkbSession(box.credentials, base_url=box.base_url) as ekb,
        Backlog.open(path) as backlog,
    ):
        assert await backlog.counts() == {"pending": 1, "running": 0, "done": 1, "failed": 0}
        assert (await backlog.run(ekb)).counts["done"] == 2
        first, second = [task async for task in backlog.results()]
    assert (first.ref, first.result, first.ended_at and first.ended_at.year) == ("a", [], 2023)
    assert (second.ref, second.attempts, second.maybe_billed) == ("b", 2, 1)


def sixth_version(path: Path) -> None:
    """Make a backlog of schema version 6, before calls had due times, with a thousand pending rows and one running."""
    with closing(sqlite3.connect(path)) as db:
        for statements in steps("backlog_file")[:6]:
            for statement in statements:
                db.execute(statement)
        db.execute("INSERT INTO manifests VALUES (1, '/m.csv', '[]', 1.0)")
        db.execute("INSERT INTO runs (token, pid, started_at, hold_unknown) VALUES ('gone', 1, 1.0, 0)")
        for n in range(1, 1002):
            db.execute(
                "INSERT INTO calls (id, identity, kind, row_id, state, run_id) VALUES (?, ?, 'url', ?, ?, ?)",
                (n, f"url:invoice:c:1:{n}", n, *(("running", 1) if n == 1001 else ("pending", None))),
            )
            db.execute("INSERT INTO rows VALUES (?, ?, 1, ?, NULL, NULL, '', '', ?, '', '')", (n, n, n, f"c:1:{n}"))
        db.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 6")


async def test_ten_open_an_older_file_together(tmp_path: Path, ekb: EkbSession) -> None:
    """Of ten that open an older file at once, one migrates it, all find every row, and its calls are made."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(sixth_version, path)
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(*(stack.enter_async_context(Backlog.open(path)) for _ in range(10)))
        assert [sum((await each.counts()).values()) for each in opened] == 10 * [1001]
        assert (await opened[0].run(ekb)).counts["done"] == 1001
        assert (await opened[9].counts())["done"] == 1001
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def ninth_version(path: Path) -> None:
    """Make a backlog of schema version 9 with three answers that name one invoice, the first of them compared."""
    answer = b'{"value": {"invcode": "031001900204", "invno": "91068626"}}'
    with closing(sqlite3.connect(path)) as db:
        for statements in steps("backlog_file")[:9]:
            for statement in statements:
                db.execute(statement)
        db.execute("INSERT INTO manifests (id, path, columns, added_at) VALUES (1, '/m.csv', '[]', 1.0)")
        for n in (1, 2, 3):
            db.execute(
                "INSERT INTO calls (id, identity, kind, row_id, state, result, indexed) "
                "VALUES (?, ?, 'verify_by_id', ?, 'done', ?, ?)",
                (n, f"verify_by_id:invoice:c:1:{n}", n, answer, n == 1),
            )
            db.execute(
                "INSERT INTO rows (id, call_id, manifest_id, line, ref, file, invoice_id, staff_id, file_name) "
                "VALUES (?, ?, 1, ?, '', '', ?, '', '')",
                (n, n, n, f"c:1:{n}"),
            )
        db.execute("INSERT INTO answered VALUES ('verify:031001900204-91068626', 1)")
        db.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 9")


async def test_answers_of_an_older_file_are_still_compared(tmp_path: Path) -> None:
    """Answers that an earlier version had not compared yet are compared with those that it had."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(ninth_version, path)
    async with Backlog.open(path) as backlog:
        assert [task.same_as async for task in backlog.results()] == [1, 1, 1]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM to_index").fetchall() == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
async def test_a_read_only_file(tmp_path: Path) -> None:
    """A read-only backlog can be counted and exported; adding to it raises a clear error."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,invoice_id\nurl,c:1:2\n")
    (tmp_path / "locked").mkdir()
    path = tmp_path / "locked" / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        async with Backlog.open(path) as backlog:
            assert (await backlog.counts())["pending"] == 1
            assert await backlog.export(tmp_path / "out.jsonl") == 1
            with pytest.raises(ConfigError, match="cannot be read or written"):
                await backlog.add_manifest(manifest)
    finally:
        path.parent.chmod(0o700)
    assert names_in(path.parent) == ["b.sqlite"]
