"""`ekb backlog watch`: the progress of runs of other processes, on a file or a database."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog, Progress
from ekb_async.backlog.store.sqlite import schema
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.storage.migrations.steps import steps
from tests.support.backlog_stores import Location
from tests.support.backlogs import execute, manifest, session
from tests.support.command import COMMAND, ekb, environment, finished, start
from tests.support.postgres import Postgres
from tests.support.terminals import all_of, until_shown
from tests.support.watched_log import WatchedLog

ROWS = [f"ocr,https://f.example/{number}.png,,,," for number in range(3)]
FAST = ("--ocr-rate", "1000")
TIMING = {"EKB_TIMING": '{"say": 0.05, "report": 0.02, "other_runs": 0.1, "dead_after": 0.5, "heartbeat": 0.1}'}


async def added(directory: Path, place: Location, *rows: str) -> str:
    """Return the argument of a backlog with these rows."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(directory, *(rows or ROWS)))
    return str(place)


@pytest.mark.process
async def test_a_run_of_another_process(tmp_path: Path, place: Location) -> None:
    """It shows calls on the wire and the allowed rate, and ends when nothing is left; the run goes on undisturbed."""
    db = await added(tmp_path, place)
    async with Sandbox(ocr_rate=0, latency=60) as slow, Sandbox(ocr_rate=0) as box:
        slow.log = log = WatchedLog()
        run = await start("backlog", "run", db, "--ocr-rate", "2", box=slow, **TIMING)
        await log.arrival("ocr", 1).wait()
        async with Backlog.open(place) as backlog:
            views = backlog.watch(interval=0.05)
            seen = await anext(views)
            while not (seen.in_flight and seen.kinds["ocr"].allowed):
                seen = await anext(views)
            assert (seen.kinds["ocr"].allowed, seen.kinds["ocr"].left, seen.total) == (2.0, 3, 3)
            assert 1 <= seen.in_flight == seen.kinds["ocr"].in_flight <= seen.counts["running"]
            assert [each.pid for each in seen.runs] == [run.pid]
        text = (await ekb("backlog", "status", db)).output.decode()
        assert f"running            {seen.counts['running']} rows claimed by runs; calls sent" in text
        run.kill()
        await run.communicate()
        watching = await start("backlog", "watch", db, box=None)
        assert (await ekb("backlog", "run", db, *FAST, box=box)).status == 0
        watched = await finished(watching)
    assert watched.status == 0
    assert "backlog: 3 of 3" in watched.messages
    assert "Nothing is left to do: 3 done" in watched.messages


@pytest.mark.parametrize(
    ("lang", "texts"),
    [
        (
            "en",
            ("No run is active. Make the pending calls with: ekb backlog run", "backlog: 0 of 3; OCR, 3 calls left"),
        ),
        ("zh", ("目前没有运行。开始运行：ekb backlog run", "任务库：0/3；识别，剩余 3 次调用")),
    ],
)
async def test_without_a_run(tmp_path: Path, place: Location, lang: str, texts: tuple[str, str]) -> None:
    """It says that no run is active, in both languages, and what is left; --once ends then."""
    db = await added(tmp_path, place)
    seen = await ekb("backlog", "watch", db, "--once", "--lang", lang)
    assert (seen.status, seen.output) == (0, b"")
    first, last = seen.messages.splitlines()
    assert first.startswith(texts[0])
    assert last == texts[1]


async def test_nothing_to_do(tmp_path: Path) -> None:
    """A backlog in which nothing is left ends the command; a missing one is not made."""
    place = tmp_path / "b.sqlite"
    async with Backlog.open(place):
        pass
    assert (await ekb("backlog", "watch", place)).messages.splitlines()[-2] == "Nothing is left to do: 0 done"
    assert (await ekb("backlog", "watch", tmp_path / "none.sqlite")).status == 2
    assert not (tmp_path / "none.sqlite").exists()
    async with Backlog.open(place) as backlog:
        with pytest.raises(ConfigError, match="interval"):
            await anext(backlog.watch(interval=0))


async def test_failures_as_they_come(tmp_path: Path, place: Location) -> None:
    """Causes, rows that wait, and the number of calls are those of the whole backlog."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    await added(tmp_path, place, "ocr,bad.png,,,,", "ocr,https://f.example/1.png,,,,")
    seen: list[Progress] = []
    async with Sandbox(ocr_rate=0) as box, session(box, max_tries=1) as ekb_session, Backlog.open(place) as backlog:
        run = asyncio.create_task(backlog.run(ekb_session))
        async with Backlog.open(place) as other:
            seen += [each async for each in other.watch(interval=0.02)]
        await run
    assert [cause.rows for cause in seen[-1].causes] == [1]
    assert seen[-1].counts == {"pending": 0, "running": 0, "done": 1, "failed": 1}
    assert seen[-1].trouble == ""


@pytest.mark.process
async def test_ctrl_c_ends_only_the_watch(tmp_path: Path) -> None:
    """Interrupted, it ends with 130, and nothing was changed."""
    db = await added(tmp_path, tmp_path / "b.sqlite")
    process = await start("backlog", "watch", db, box=None)
    assert process.stderr is not None
    assert b"No run is active" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    ended = await finished(process)
    assert ended.status == 130
    assert "backlog: 0 of 3" in ended.messages


async def test_a_dead_run_is_not_at_work(tmp_path: Path) -> None:
    """A run whose process has ended is not shown, also while no other run has taken over its calls."""
    db = await added(tmp_path, tmp_path / "b.sqlite")
    async with Backlog.open(db) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        await execute(backlog, "UPDATE runs SET process = process || '0'")
        assert (await anext(backlog.watch())).runs == ()
        assert len(await backlog.active_runs()) == 1
        await backlog._store.end_run(run_id)


async def test_a_file_of_an_older_version(tmp_path: Path) -> None:
    """It is refused and stays as it is: a run of the older version may be at work on it."""
    place = tmp_path / "b.sqlite"
    with closing(sqlite3.connect(place)) as db:
        for statement in itertools.chain.from_iterable(steps("backlog_file")[:8]):
            db.execute(statement)
        db.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 8")
    before = place.read_bytes()
    refused = await ekb("backlog", "watch", place, "--once")
    assert refused.status == 2
    assert "this backlog is of an older version; open it once with: ekb backlog status" in refused.messages
    assert place.read_bytes() == before


async def test_a_file_of_the_past(tmp_path: Path) -> None:
    """What a run said in another way, in another version, is left out."""
    db = await added(tmp_path, tmp_path / "b.sqlite")
    async with Backlog.open(db) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        await backlog._store.say(run_id, '{"allowed": [1]}')
        seen = await anext(backlog.watch())
        assert (len(seen.runs), seen.kinds["ocr"].allowed) == (1, None)
        await backlog._store.say(run_id, '{"allowed": {"ocr": 3.0}, "new": 1}')
        assert (await anext(backlog.watch())).kinds["ocr"].allowed == 3.0
        await backlog._store.end_run(run_id)


@pytest.mark.slow
async def test_the_database_is_away(tmp_path: Path, own_postgres: Postgres) -> None:
    """While the database is away it says so and repeats what was seen; afterwards it goes on."""
    await added(tmp_path, own_postgres.dsn)
    async with Backlog.open(own_postgres.dsn) as backlog:
        views = backlog.watch(interval=0.05)
        assert (await anext(views)).trouble == ""
        await own_postgres.crash()
        seen = await anext(views)
        while not seen.trouble:
            seen = await anext(views)
        assert (seen.total, seen.waits[0].reason) == (3, "storage")
        await own_postgres.start()
        async for seen in views:
            if not seen.trouble:
                break
        await views.aclose()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("lang", "count"), [("en", "0/12,345"), ("zh", "0/12,345")])
async def test_forty_columns_keep_the_count(tmp_path: Path, lang: str, count: str) -> None:
    """On a terminal of 40 columns no line is wider, and the count is whole."""
    rows = [f"url,,corp:1:{number},,," for number in range(12_345)]
    db = await added(tmp_path, tmp_path / "b.sqlite", *rows)
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backlog", "watch", db, "--lang", lang,
        env=environment(None, COLUMNS="40", PYTHONUTF8="1", TERM="xterm"), stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    shown = await asyncio.to_thread(until_shown, screen, count)
    process.send_signal(signal.SIGINT)
    shown += await asyncio.to_thread(all_of, screen)
    assert await process.wait() == 130
    assert count in shown
