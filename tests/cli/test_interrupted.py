"""`ekb backlog run` when it is interrupted: how long it waits, and its message about calls broken off."""

from __future__ import annotations

import asyncio
import shlex
import signal
from pathlib import Path

import pytest
import typer

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.cli.backlog.running import command as running
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest
from tests.support.command import Finished, finished, start
from tests.support.watched_log import WatchedLog

ROWS = [f"ocr,https://f.example/{number}.png,,,," for number in range(3)]


async def added(directory: Path) -> Path:
    """Return a backlog of three calls."""
    path = directory / "b.sqlite"
    async with Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(directory, *ROWS))
    return path


def test_calls_in_progress_may_take_as_long_as_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the command's sessions waits longer than an attempt may take."""
    seen: list[SessionConfig] = []

    def open_session(config: SessionConfig, **_: object) -> EkbSession:
        seen.append(config)
        raise ConfigError("seen")

    path = asyncio.run(added(tmp_path))
    monkeypatch.setattr(running, "open_session", open_session)
    with pytest.raises(typer.Exit):
        running.run(str(path))
    assert seen[0].close_timeout > seen[0].request_timeout


BOUNDS = ("--ledger-first", "--max-calls", "5", "--until", "2099-01-01T00:00")


async def interrupted_twice(path: Path, box: Sandbox, *options: str) -> Finished:
    """Interrupt a run during its first call, and again when it reports that it waits."""
    box.log = log = WatchedLog()
    process = await start("backlog", "run", path, *options, box=box)
    await log.arrival("ocr", 1).wait()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while b"Interrupt again to end at once" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    return await finished(process)


@pytest.mark.process
@pytest.mark.parametrize("options", [(), ("--ocr-rate", "5", "--files", "a b", "--hold-unknown", *BOUNDS)])
async def test_the_last_line_says_what_was_broken_off(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The last line names the number of calls that may be billed, and how to go on."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=60) as box:
        stopped = await interrupted_twice(path, box, *options)
    assert stopped.status == 130
    last = stopped.messages.splitlines()[-1]
    assert last.startswith("1 call was broken off and may be billed.")
    assert last.endswith(f"Go on with: {shlex.join(['ekb', 'backlog', 'run', str(path), *options])}")
    async with Backlog.open(path) as backlog:
        assert await backlog.maybe_billed() == 1
        assert (await backlog.counts())["running"] == 0


@pytest.mark.process
async def test_ended_calls_are_not_reported_as_broken_off(tmp_path: Path) -> None:
    """Interrupted once, a run records its calls in progress, and none is broken off."""
    path = await added(tmp_path)
    async with Sandbox(ocr_rate=0, latency=0.3) as box:
        box.log = log = WatchedLog()
        process = await start("backlog", "run", path, box=box)
        await log.arrival("ocr", 1).wait()
        process.send_signal(signal.SIGTERM)
        stopped = await finished(process)
    assert stopped.status == 130
    assert "broken off" not in stopped.messages
    async with Backlog.open(path) as backlog:
        assert (await backlog.counts())["done"] == box.vendor.billed["ocr"].total()
        assert await backlog.maybe_billed() == 0
