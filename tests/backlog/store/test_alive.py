"""When a run counts as alive: its own process must exist, not a fork or another process with the same ID."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog, Progress
from ekb_async.backlog.run import run as run_of_backlog
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import tenants_to_serve
from ekb_async.sandbox import Sandbox
from ekb_async.storage.process import this_process
from tests.support.backlogs import manifest, names_in, session
from tests.support.command import ekb
from tests.support.waiting import until
from tests.support.watched_log import WatchedLog

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, and no fork"),
]

SOURCE = str(Path(ekb_async.__file__).parents[1])

RUN = """
import asyncio, ctypes, os, sys, time
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

def fork_by_os():
    child = os.fork()
    if not child:
        time.sleep(600)
    return child

def fork_by_library():
    # As a C library does, bypassing Python's fork hooks.
    child = ctypes.PyDLL(None).fork()
    if not child:
        time.sleep(600)
    return child

def stay_alone():
    return 0

async def main(path, base_url, key, security, way):
    config = SessionConfig(ocr_rate=1000, max_running=5, rate_guard=0)
    credentials = AppCredentials(app_key=key, app_security=security)
    forked = []

    def progress(now):
        if not forked and now.counts["running"]:
            forked.append(globals()[way]())
            print(forked[0], flush=True)

    async with EkbSession(credentials, base_url=base_url, config=config) as ekb, Backlog.open(path) as backlog:
        await backlog.run(ekb, progress=progress)

asyncio.run(main(*sys.argv[1:]))
"""


async def added(directory: Path) -> Path:
    """Make a backlog of four calls."""
    path = directory / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(directory, *(f"ocr,https://f.example/{n}.png,,,," for n in range(4))))
    return path


@asynccontextmanager
async def run_elsewhere(path: Path, box: Sandbox, way: str = "stay_alone") -> AsyncIterator[int]:
    """Run a backlog in another process until all calls are under way, and kill it and its fork at the end."""
    box.log = log = WatchedLog()
    arguments = (str(path), box.base_url, box.credentials.app_key, box.credentials.app_security, way)
    output_path = path.with_name("output")
    # A forked process would hold a pipe open.
    with output_path.open("wb") as output:
        command = [sys.executable, "-c", RUN, *arguments]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stdout=output)

    async def has_printed() -> bool:
        return output_path.stat().st_size > 0

    try:
        await log.arrival("ocr", 4).wait()
        await until(has_printed)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if child := int(output_path.read_text() or 0):
            os.kill(child, signal.SIGKILL)


async def killed(pid: int) -> None:
    """Kill a process, and leave it a zombie until its parent waits for it."""
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("way", ["fork_by_os", "fork_by_library"])
async def test_a_forked_process_keeps_no_run_alive(tmp_path: Path, way: str) -> None:
    """The calls of a killed run are taken over at once, even if a process that was forked from it still exists."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb, run_elsewhere(path, box, way) as victim:
        await killed(victim)
        box.latency = {}
        async with Backlog.open(path) as backlog:
            assert (await backlog.run(ekb)).counts["done"] == 4
            assert await backlog.maybe_billed() == 4


async def test_a_zombie_process_is_dead(tmp_path: Path) -> None:
    """A process that has ended but was not waited for by its parent keeps no calls."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb, run_elsewhere(path, box) as victim:
        copied = copy_without_lease(path)
        await killed(victim)
        box.latency = {}
        async with Backlog.open(copied) as backlog:
            assert (await backlog.run(ekb)).counts["done"] == 4


FORKED = """
import asyncio, os, sys
from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError

async def main(path):
    async with Backlog.open(path) as backlog:
        await backlog.counts()
        child = os.fork()
        if not child:
            try:
                asyncio.new_event_loop().run_until_complete(backlog.counts())
            except ConfigError as error:
                os._exit(0 if "forked" in str(error) else 2)
            os._exit(3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        await backlog.counts()
    sys.exit(status)

asyncio.run(main(sys.argv[1]))
"""


async def test_an_open_backlog_in_a_fork(tmp_path: Path) -> None:
    """A process that was forked gets an error at once, since the thread of the file is not there."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", FORKED, tmp_path / "b.sqlite", cwd=SOURCE)
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_an_end_that_is_cancelled(tmp_path: Path) -> None:
    """A run whose end is cancelled leaves neither its entry nor its lock file."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        ending = asyncio.create_task(backlog._store.end_run(run_id))
        while not ending.done():
            await asyncio.sleep(0)
            ending.cancel()
        assert ending.cancelled()
        assert await backlog.active_runs() == []
        assert not [name for name in names_in(tmp_path) if name.endswith(".lease")]


def copy_without_lease(path: Path) -> Path:
    """Copy what `cp b.sqlite* elsewhere` copies, which leaves out the hidden lease."""
    copied = path.parent / "elsewhere" / path.name
    copied.parent.mkdir()
    for each in path.parent.glob("b.sqlite*"):
        shutil.copy(each, copied.parent)
    return copied


async def test_a_copy_without_its_hidden_file_is_freed_by_a_person(tmp_path: Path) -> None:
    """A run waits for calls claimed by an existing process; `free` releases them, unless the lock is held."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb_session, run_elsewhere(path, box):
        copied = copy_without_lease(path)
        freed = await ekb("backlog", "free", path)
        assert freed.status == 0
        assert "0 rows are pending again" in freed.messages
        assert "end it first" in freed.messages
        box.latency = {}
        waiting = asyncio.Event()

        def watch(progress: Progress) -> None:
            if "another run" in progress.trouble:
                waiting.set()

        async with Backlog.open(copied) as backlog:
            run = asyncio.create_task(backlog.run(ekb_session, progress=watch))
            await waiting.wait()
            assert await backlog.free() == 4
            assert (await run).counts["done"] == 4
            assert await backlog.maybe_billed() == 4


async def test_calls_that_are_freed_while_a_run_looks_for_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made, though the run had just found none to make."""
    path = await added(tmp_path)
    freed: list[int] = []
    look = tenants_to_serve

    async def look_and_free(store: CallStore, kinds: Sequence[str]) -> list[str]:
        found = await look(store, kinds)
        if not freed:
            freed.append(await backlog.free())
        return found

    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb_session, run_elsewhere(path, box):
        copied = copy_without_lease(path)
        box.latency = {}
        monkeypatch.setattr(run_of_backlog, "tenants_to_serve", look_and_free)
        async with Backlog.open(copied) as backlog:
            assert (await backlog.run(ekb_session)).counts["done"] == 4
    assert freed == [4]


def claimed_by(path: Path, pid: int, process: str) -> None:
    """Put all calls under way in a run without a lock."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO runs VALUES (1, 'f00d', ?, 1.0, 0, ?, '')", (pid, process))
        database.execute("UPDATE calls SET state = 'running', run_id = 1, sent = 1")


HERE = this_process()


@pytest.mark.parametrize(
    ("pid", "process"),
    [
        pytest.param(os.getpid(), HERE._replace(start="1").kept, id="this ID, started earlier"),
        pytest.param(os.getpid(), HERE.kept, id="this process, which has no such run"),
        pytest.param(os.getpid(), HERE._replace(namespace="pid:[1]").kept, id="this ID in another container"),
        pytest.param(os.getppid(), HERE._replace(pid=os.getppid(), start="1").kept, id="an ID that was reused"),
        pytest.param(os.getppid(), HERE._replace(host="another").kept, id="before a restart"),
        pytest.param(os.getppid(), "", id="of an older version, which stored the ID alone"),
    ],
)
async def test_a_process_id_alone_is_no_sign_of_life(tmp_path: Path, pid: int, process: str) -> None:
    """Without its lock a run is alive only if a process with its ID and start time exists since the same boot."""
    path = await added(tmp_path)
    await asyncio.to_thread(claimed_by, path, pid, process)
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(path) as backlog:
        async with asyncio.timeout(20):
            assert (await backlog.run(ekb)).counts["done"] == 4
        assert await backlog.maybe_billed() == 4
        assert await backlog.active_runs() == []


@pytest.mark.postgres
async def test_a_database_shows_who_is_alive(tmp_path: Path, empty_database: str) -> None:
    """In a database a lock shows reliably which run is alive, so `free` does not release the calls of a live run."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, session(box) as ekb, Backlog.open(empty_database) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n}.png,,,," for n in range(4))))
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", 4).wait()
        assert await backlog.free() == 0
        assert (await run).counts["done"] == 4
    assert box.vendor.billed["ocr"].total() == 4
