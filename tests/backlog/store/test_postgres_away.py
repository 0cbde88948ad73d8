"""The progress of a run while its database is unavailable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog, Progress
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest, session
from tests.support.postgres import Postgres
from tests.support.watched_log import WatchedLog

pytestmark = pytest.mark.postgres


async def test_progress_says_that_the_database_is_away(tmp_path: Path, own_postgres: Postgres) -> None:
    """`trouble` says that the database is away, without its DSN, and is empty again once the run continues."""
    away, shown = asyncio.Event(), []

    def progress(now: Progress) -> None:
        shown.append(now)
        if "database is away" in now.trouble:
            away.set()

    async with Sandbox(ocr_rate=0, latency=0.05) as box, Backlog.open(own_postgres.dsn) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(40))))
        async with session(box, max_running=2) as ekb:
            run = asyncio.create_task(backlog.run(ekb, progress=progress))
            await log.arrival("ocr", 6).wait()
            await own_postgres.crash()
            await away.wait()
            sent = box.count("ocr")
            await own_postgres.start()
            assert (await run).counts["done"] == 40
    troubles = [now.trouble for now in shown if now.trouble]
    assert troubles
    assert not any(str(own_postgres.files) in trouble for trouble in troubles)
    assert {now.total for now in shown} == {40}
    assert shown[-1].trouble == ""
    assert sent <= box.count("ocr") == 40
