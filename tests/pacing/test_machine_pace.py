"""One pace for all processes of a user on a machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ekb_async import ConfigError, EkbSession, MachinePace, SessionConfig, StaticToken
from ekb_async.pacing.rule import Pace
from ekb_async.sandbox import Sandbox

OpenPacer = Callable[..., Pace]
Simulate = Callable[[Callable[[OpenPacer], Awaitable[None]]], None]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a state directory for this test and the processes that it starts."""
    monkeypatch.setenv("EKB_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


# Processes

CALLER = """
import asyncio, json, sys
from ekb_async import EkbSession, MachinePace, SessionConfig
from ekb_async.sandbox import Sandbox

async def main(url, name, calls, rate):
    asyncio.get_running_loop().slow_callback_duration = 60  # another load may slow anything down
    config = SessionConfig(ocr_rate=rate, rate_guard=0.05)
    async with EkbSession(Sandbox().credentials, base_url=url, config=config, pacer=MachinePace()) as ekb:
        await ekb.flow_invoices(codes=["B1"])
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(ekb.ocr(f"https://files.example/{name}-{n}.png") for n in range(calls)))
        print(json.dumps(ekb.stats().ocr.throttled))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])), debug=True)
"""


async def caller(box: Sandbox, name: str, calls: int, rate: float) -> asyncio.subprocess.Process:
    """Start a process whose session has its token and waits for a line before it makes its calls."""
    arguments = ("-W", "error", "-c", CALLER, box.base_url, name, str(calls), str(rate))
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


def callers_in_order(box: Sandbox) -> list[str]:
    """Return the callers in the order of their calls, by the names in the file URLs."""
    urls = [json.loads(entry.body)["fileUrl"] for entry in box.log if entry.call == "ocr"]
    return [url.rpartition("/")[2][0] for url in urls]


@pytest.mark.process
async def test_two_processes_share_a_rate() -> None:
    """Two processes with 6 calls each share 4 starts a second, and alternate.

    The vendor allows less than both would start on their own, and a start that is delayed on its way.
    """
    async with Sandbox(ocr_rate=7) as box:
        both = [await caller(box, name, 6, 4) for name in "ab"]
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in both))
        assert [(json.loads(out), err) for out, err in outputs] == [(0, b"")] * 2
        assert box.count("ocr") == len(box.starts("ocr")) == 12
        order = callers_in_order(box)
        for name, other in (("a", "b"), ("b", "a")):
            third = [place for place, each in enumerate(order) if each == other][2]
            assert order[:third].count(name) < 6


@pytest.mark.process
async def test_a_killed_process_delays_no_other() -> None:
    """The claims of a killed process are passed over, and no call is too early."""
    async with Sandbox(ocr_rate=5) as box:
        killed, other = [await caller(box, name, 20, 2.5) for name in "kl"]
        assert killed.stdin is not None
        assert other.stdin is not None
        killed.stdin.write(b"go\n")
        await box.arrived("ocr", 2)
        killed.kill()
        await killed.communicate()
        other.stdin.write(b"go\n")
        await box.arrived("ocr", 6)
        other.kill()
        await other.communicate()
        assert box.count("ocr", status=429) == 0
        assert callers_in_order(box)[-3:] == list("lll")


async def test_one_session_right_after_another() -> None:
    """Sessions that follow one another, each with a single call, keep the pace."""
    async with Sandbox(ocr_rate=8) as box:
        for n in range(5):
            config = SessionConfig(ocr_rate=4, rate_guard=0.05)
            async with EkbSession(box.credentials, base_url=box.base_url, config=config, pacer=MachinePace()) as ekb:
                await ekb.ocr(f"https://files.example/{n}.png")
        assert len(box.starts("ocr")) == box.count("ocr") == 5


def content_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_each_enterprise_has_its_own_pace(state: Path) -> None:
    """Sessions of another enterprise do not wait; the file contains neither keys nor tokens nor addresses."""
    async with Sandbox(ocr_rate=0, app_key="readable-key") as box:
        token = "readable-token"
        config = SessionConfig(ocr_rate=0.001, max_tries=1)
        for credentials in (box.credentials, StaticToken(token)):
            async with EkbSession(credentials, base_url=box.base_url, config=config, pacer=MachinePace()) as ekb:
                with contextlib.suppress(Exception):
                    await ekb.ocr("https://files.example/1.png")
        assert box.count("ocr") == 2
    content = content_of(state)
    assert b"/processImageByFileUrl" in content
    for text in ("readable", box.vendor.rules.app_security, "127.0.0.1"):
        assert text.encode() not in content


CLOSED_AT_EXIT = """
import asyncio, atexit, sys
from ekb_async import EkbSession, MachinePace
from ekb_async.sandbox import Sandbox

loop = asyncio.new_event_loop()
session = EkbSession(Sandbox().credentials, base_url=sys.argv[1], pacer=MachinePace())
loop.run_until_complete(session.ocr("https://files.example/a.png"))
atexit.register(loop.close)
atexit.register(lambda: loop.run_until_complete(session.close()))
"""


@pytest.mark.process
async def test_a_session_that_is_closed_at_exit() -> None:
    """A session of synchronous code can be closed by `atexit`, after Python has ended the threads of executors."""
    async with Sandbox() as box:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-X", "dev", "-W", "error", "-c", CLOSED_AT_EXIT, box.base_url),
            stderr=subprocess.PIPE,
        )
        _, messages = await process.communicate()
    assert (process.returncode, messages.decode()) == (0, "")


# The file and its thread


async def test_the_pacer_is_open_only_while_it_is_used() -> None:
    """Two sessions may share a pacer; the last one closes its thread, a later one opens it again."""

    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("ekb-pace")]

    pacer = MachinePace()
    async with Sandbox(ocr_rate=0) as box:

        def session() -> EkbSession:
            config = SessionConfig(ocr_rate=1000, rate_guard=0)
            return EkbSession(box.credentials, base_url=box.base_url, config=config, pacer=pacer)

        for _ in range(2):
            async with session() as outer:
                async with session() as inner:
                    await asyncio.gather(outer.ocr("https://f.example/1.png"), inner.ocr("https://f.example/2.png"))
                    assert len(threads()) == 1
                await outer.ocr("https://f.example/3.png")
            assert threads() == []
    assert box.count("ocr") == 6


@pytest.mark.slow
async def test_two_pacers_in_real_time() -> None:
    """Two pacers on one file, each with its own thread, keep the interval between all slots."""
    paces = [MachinePace().pace("call", 50.0, 0.0, 1.0) for _ in range(2)]

    async def claim(pace: Pace) -> list[float]:
        return [await pace.claim() for _ in range(20)]

    slots = sorted(itertools.chain(*await asyncio.gather(*map(claim, paces))))
    assert min(b - a for a, b in itertools.pairwise(slots)) >= 0.02 - 1e-6
    for pace in paces:
        await pace.close()


async def use(pacer: MachinePace) -> None:
    pace = pacer.pace("call", 1000.0, 0.0, 1.0)
    try:
        await pace.claim()
    finally:
        await pace.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes there")
def test_only_the_user_reads_the_file(state: Path) -> None:
    """Creating a pacer creates no file; the directory and file of its first use are closed to other users."""
    pacer = MachinePace()
    assert not state.exists()
    asyncio.run(use(pacer))
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "pace.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"\0" * 8192, b"", None])
async def test_a_damaged_file_is_replaced(state: Path, damage: bytes | None) -> None:
    """A pace file that was emptied or partly overwritten is replaced, also for a pace that has it open."""
    pacer = MachinePace()
    pace = pacer.pace("call", 1000.0, 0.0, 1.0)
    await pace.claim()
    file = state / "pace.sqlite"
    if damage is None:
        whole = file.read_bytes()
        damage = whole[:100] + b"\xff" * (len(whole) - 100)
    file.write_bytes(damage)
    await use(MachinePace())
    await pace.claim()
    await pace.close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM bucket").fetchone() == (1,)


async def test_a_deleted_file_does_not_separate_the_processes(state: Path) -> None:
    """A process that had the file open when it was deleted continues in the next one."""
    one = MachinePace().pace("call", 5.0, 0.0, 1.0)
    await one.claim()
    (state / "pace.sqlite").unlink()
    other = MachinePace().pace("call", 5.0, 0.0, 1.0)
    slot = await other.claim()
    assert await one.claim() >= slot + 0.2
    await one.close()
    await other.close()


def make_database(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


@pytest.mark.parametrize("content", ["text", "database", "newer", "directory"])
def test_a_foreign_file_is_left_alone(state: Path, content: str) -> None:
    """A foreign file, or one of a later version, is not changed: `ConfigError` names the file."""
    state.mkdir()
    file = state / "pace.sqlite"
    if content == "directory":
        file.mkdir()
    elif content == "text":
        file.write_text("my notes on pace, kept here for years; they are long enough to be no short file. " * 10)
    elif content == "database":
        make_database(file, "CREATE TABLE mine (a)")
    else:
        asyncio.run(use(MachinePace()))
        make_database(file, "PRAGMA user_version = 99")
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(ConfigError, match=r"pace\.sqlite.*EKB_STATE_DIR"):
        asyncio.run(use(MachinePace()))
    assert (file.read_bytes() if file.is_file() else b"") == before


async def test_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    """If the state directory cannot be created, the claim raises `ConfigError`."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="EKB_STATE_DIR"):
        await use(MachinePace(tmp_path / "file" / "state"))


def replace_with_a_file(directory: Path) -> None:
    directory.rename(directory.with_name("moved"))
    directory.write_text("in the way")


async def test_a_note_that_is_lost_is_logged(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A note that cannot be written fails no call: it is logged, and the next claim raises."""
    pace = MachinePace().pace("call", 1000.0, 0.0, 1.0)
    slot = await pace.claim()
    replace_with_a_file(state)
    pace.refused(slot, None)
    with pytest.raises(ConfigError):
        await pace.claim()
    await pace.close()
    assert "a note on the pace was lost" in caplog.text


def test_wrong_arguments() -> None:
    """An argument that is no pacer, or no directory, is refused at once."""
    wrong: Any = 1.0
    with pytest.raises(ConfigError, match="pacer"):
        EkbSession(StaticToken("t"), pacer=wrong)
    with pytest.raises(ConfigError, match="directory"):
        MachinePace(wrong)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the XDG directories are Linux's")
async def test_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `EKB_STATE_DIR` the file is in the user's state directory."""
    monkeypatch.delenv("EKB_STATE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    await use(MachinePace())
    assert (tmp_path / ".local/state/ekb/pace.sqlite").exists()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    await use(MachinePace())
    assert (tmp_path / "xdg/ekb/pace.sqlite").exists()
