"""Which run is alive: not who inherited its lock, not who has its number, and, where nobody can know, what is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog, Progress
from ekb_async.sandbox import Sandbox
from ekb_async.storage.process import this_process
from tests.support.backlogs import manifest, session
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
    # As a library of another language does, of which Python knows nothing.
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
    """A backlog of four calls."""
    path = directory / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(directory, *(f"ocr,https://f.example/{n}.png,,,," for n in range(4))))
    return path


@asynccontextmanager
async def run_elsewhere(path: Path, box: Sandbox, way: str = "stay_alone") -> AsyncIterator[int]:
    """A run in another process, when all its calls are under way; it, and what it has forked, is killed at the end."""
    box.log = log = WatchedLog()
    arguments = (str(path), box.base_url, box.credentials.app_key, box.credentials.app_security, way)
    said = path.with_name("said")
    # A forked process would hold a pipe open.
    with said.open("wb") as output:
        command = [sys.executable, "-c", RUN, *arguments]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stdout=output)

    async def has_spoken() -> bool:
        return said.stat().st_size > 0

    try:
        await log.arrival("ocr", 4).wait()
        await until(has_spoken)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if child := int(said.read_text() or 0):
            os.kill(child, signal.SIGKILL)


async def killed(pid: int) -> None:
    """Kill a process, of which its parent is not told."""
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("way", ["fork_by_os", "fork_by_library"])
async def test_a_forked_process_keeps_no_run_alive(tmp_path: Path, way: str) -> None:
    """When a run is killed its calls are taken over at once, although a process that was forked from it lives on."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb, run_elsewhere(path, box, way) as victim:
        await killed(victim)
        box.latency = {}
        async with Backlog.open(path) as backlog:
            assert (await backlog.run(ekb)).counts["done"] == 4
            assert await backlog.maybe_billed() == 4


async def test_a_killed_process_that_nobody_has_asked_for_is_dead(tmp_path: Path) -> None:
    """A process that has ended and whose parent has not noticed keeps nothing."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box, session(box) as ekb, run_elsewhere(path, box) as victim:
        copied = copy_without_lease(path)
        await killed(victim)
        box.latency = {}
        async with Backlog.open(copied) as backlog:
            assert (await backlog.run(ekb)).counts["done"] == 4


def copy_without_lease(path: Path) -> Path:
    """What `cp b.sqlite* elsewhere` takes."""
    copied = path.parent / "elsewhere" / path.name
    copied.parent.mkdir()
    for each in path.parent.glob("b.sqlite*"):
        shutil.copy(each, copied.parent)
    return copied


async def test_a_copy_without_its_hidden_file_is_freed_by_a_person(tmp_path: Path) -> None:
    """A run waits for what a process has claimed that is there; `free` gives it back, unless the lock is held."""
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


def claimed_by(path: Path, pid: int, process: str) -> None:
    """Let all calls be under way in a run whose lock was not copied."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO runs VALUES (1, 'f00d', ?, 1.0, 0, ?)", (pid, process))
        database.execute("UPDATE calls SET state = 'running', run_id = 1, sent = 1")


HERE = this_process()


@pytest.mark.parametrize(
    ("pid", "process"),
    [
        pytest.param(os.getpid(), HERE._replace(start="1").kept, id="this number, started earlier"),
        pytest.param(os.getpid(), HERE.kept, id="this process, which has no such run"),
        pytest.param(os.getpid(), HERE._replace(namespace="pid:[1]").kept, id="this number in another container"),
        pytest.param(os.getppid(), HERE._replace(pid=os.getppid(), start="1").kept, id="a number that was given anew"),
        pytest.param(os.getppid(), HERE._replace(host="another").kept, id="before a restart"),
        pytest.param(os.getppid(), "", id="of an older version, which kept the number alone"),
    ],
)
async def test_a_number_is_no_sign_of_life(tmp_path: Path, pid: int, process: str) -> None:
    """Without its lock a run is alive only if its very process is there, started when it was, since the same boot."""
    path = await added(tmp_path)
    await asyncio.to_thread(claimed_by, path, pid, process)
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(path) as backlog:
        async with asyncio.timeout(20):
            assert (await backlog.run(ekb)).counts["done"] == 4
        assert await backlog.maybe_billed() == 4
        assert await backlog.active_runs() == []


@pytest.mark.postgres
async def test_a_database_shows_who_is_alive(tmp_path: Path, empty_database: str) -> None:
    """In a database a lock shows without a doubt which run is alive, so that `free` finds nothing more to give back."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, session(box) as ekb, Backlog.open(empty_database) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n}.png,,,," for n in range(4))))
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", 4).wait()
        assert await backlog.free() == 0
        assert (await run).counts["done"] == 4
    assert box.vendor.billed["ocr"].total() == 4
