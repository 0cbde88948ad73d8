"""Runs in several processes that are killed keep a budget."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

import ekb_async
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest
from tests.support.waiting import until

RUN = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog, BacklogTiming

async def main(place, base_url, key, security):
    config = SessionConfig(ocr_rate=1000, max_running=5, rate_guard=0)
    credentials = AppCredentials(app_key=key, app_security=security)
    timing = BacklogTiming(dead_after=1.0, heartbeat=0.2)
    async with EkbSession(credentials, base_url=base_url, config=config) as ekb:
        async with Backlog.open(place, timing=timing) as backlog:
            await backlog.run(ekb)

asyncio.run(main(*sys.argv[1:]))
"""

SOURCE = str(Path(ekb_async.__file__).parents[1])
BUDGET = 50


async def run_elsewhere(place: Location, box: Sandbox) -> asyncio.subprocess.Process:
    arguments = (str(place), box.base_url, box.credentials.app_key, box.credentials.app_security)
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, *arguments, env=environment)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_killed_runs_send_no_call_too_many(tmp_path: Path, place: Location) -> None:
    """Four runs share a budget, and one after the other is killed: the vendor gets 50 calls, or fewer, but never 51."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box:
        async with Backlog.open(place) as backlog:
            rows = [f"ocr,https://f.example/{number}.png,,,,{number}" for number in range(120)]
            await backlog.add_manifest(manifest(tmp_path, *rows))
            await backlog.set_budget(per_day=BUDGET)
        runs = [await run_elsewhere(place, box) for _ in range(4)]
        for kills in range(1, 4):
            await until(partial(arrived, box, 10 * kills))
            victim = runs.pop(0)
            victim.send_signal(signal.SIGKILL)
            await victim.wait()
            runs.append(await run_elsewhere(place, box))
        assert [await run.wait() for run in runs] == [0, 0, 0, 0]
        # A call that was marked and not sent when its run was killed counts.
        assert BUDGET - 3 * 5 <= box.count("ocr") <= BUDGET
        async with Backlog.open(place) as backlog:
            [budget] = await backlog.budgets()
            assert budget.spent == BUDGET
            assert (await backlog.counts())["failed"] == 0


async def arrived(box: Sandbox, count: int) -> bool:
    return box.count("ocr") >= count
