"""A backlog in a PostgreSQL database: several hosts, hosts that are killed or hang, and a database that crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import asyncpg.transaction
import pytest

import ekb_async
from ekb_async.backlog import AddReport, Backlog, BacklogTiming, Progress
from ekb_async.errors import ConfigError, EkbConnectionError
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, manifest, picture, session
from tests.support.fast_times import DEAD_AFTER
from tests.support.postgres import Postgres
from tests.support.watched_log import WatchedLog

RUN = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

async def main(dsn, base_url, key, security):
    config = SessionConfig(ocr_rate=1000, max_running=5, rate_guard=0)
    credentials = AppCredentials(app_key=key, app_security=security)
    async with EkbSession(credentials, base_url=base_url, config=config) as ekb, Backlog.open(dsn) as backlog:
        await backlog.run(ekb)

asyncio.run(main(*sys.argv[1:]))
"""

ALL_UNSEEN = "UPDATE ekb_run SET seen = seen - 3600"


@asynccontextmanager
async def run_elsewhere(dsn: str, box: Sandbox) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a backlog in another process, as on another host."""
    arguments = (dsn, box.base_url, box.credentials.app_key, box.credentials.app_security)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", RUN, *arguments),
        env={**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


def urls(count: int) -> list[str]:
    return [f"ocr,https://f.example/{number}.png,,,,{number}" for number in range(count)]


async def test_hosts_share_the_work(tmp_path: Path, database: str) -> None:
    """The runs of several processes make each call once, and all are listed as active."""
    async with Sandbox(ocr_rate=0, latency=0.05) as box, Backlog.open(database) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(200)))
        box.log = log = WatchedLog()
        async with run_elsewhere(database, box) as process:
            await log.arrival("ocr", 3).wait()
            run = asyncio.create_task(backlog.run(ekb))
            while len(hosts := await backlog.active_runs()) < 2:
                pass
            assert {host.pid for host in hosts} == {process.pid, os.getpid()}
            assert (await run).counts["done"] == 200
            assert await process.wait() == 0
        assert ekb.stats().ocr.sent < 200
        assert box.vendor.billed["ocr"].total() == 200
        assert await backlog.active_runs() == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_the_calls_of_a_killed_host_are_taken_over(tmp_path: Path, database: str) -> None:
    """No call of a killed host is lost, and those paid twice are counted and at most those in flight."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, Backlog.open(database) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(40)))
        box.log = log = WatchedLog()
        async with run_elsewhere(database, box) as process:
            await log.arrival("ocr", 8).wait()
            process.send_signal(signal.SIGKILL)
        await execute(database, ALL_UNSEEN)
        assert (await backlog.run(ekb)).counts["done"] == 40
        unconfirmed = await backlog.maybe_billed()
        assert box.vendor.billed["ocr"].total() <= 40 + unconfirmed
        assert unconfirmed <= 2 * 5


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
async def test_a_stopped_host_is_not_dead(tmp_path: Path, database: str) -> None:
    """A host that hangs keeps its calls while its connection is open, and makes them when it continues."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, Backlog.open(database) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *urls(15)))
        box.log = log = WatchedLog()
        async with run_elsewhere(database, box) as process:
            await log.arrival("ocr", 2).wait()
            process.send_signal(signal.SIGSTOP)
            await execute(database, ALL_UNSEEN)
            waiting = asyncio.Event()
            run = asyncio.create_task(backlog.run(ekb, progress=lambda now: waiting.set() if now.trouble else None))
            await waiting.wait()
            assert ekb.stats().ocr.sent == 0
            process.send_signal(signal.SIGCONT)
            assert (await run).counts["done"] == 15
            assert await process.wait() == 0
        assert box.vendor.billed["ocr"].total() == 15


async def test_a_run_that_counted_as_dead_pays_for_nothing_twice(tmp_path: Path, database: str) -> None:
    """A host that was considered dead sends no more of its calls, but the answers it receives still count."""
    async with Sandbox(ocr_rate=0, latency=0.3) as box, Backlog.open(database) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *urls(20)))
        async with session(box, max_running=2) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 2).wait()
            await execute(database, TAKEN_FROM_ALL)
            summary = await run
        tasks = await all_tasks(backlog)
    assert summary.counts["done"] == 20
    assert box.vendor.billed["ocr"].total() <= 20 + sum(task.maybe_billed for task in tasks)
    assert sum(task.maybe_billed for task in tasks) <= 2


TAKEN_FROM_ALL = """
UPDATE ekb_call SET state = 'pending', attempts = attempts + sent, maybe_billed = maybe_billed + sent, sent = 0,
    run_id = NULL WHERE state = 'running';
DELETE FROM ekb_run
"""
"""The statements of another host that considers all runs dead."""


async def test_a_crash_of_the_database_in_mid_run(tmp_path: Path, own_postgres: Postgres) -> None:
    """During a crash nothing is sent; afterwards calls in flight are recorded, and no row has failed."""
    async with Sandbox(ocr_rate=0, latency=0.1) as box, Backlog.open(own_postgres.dsn) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *urls(100)))
        async with session(box, max_running=5) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 10).wait()
            await own_postgres.crash()
            await own_postgres.start()
            summary = await run
        assert summary.counts == {"pending": 0, "running": 0, "done": 100, "failed": 0}
        assert box.vendor.billed["ocr"].total() == 100
        assert await backlog.maybe_billed() == 0


async def test_a_database_that_stays_away_ends_the_run(tmp_path: Path, own_postgres: Postgres) -> None:
    """A run that has waited too long for its database ends with an error, and the remaining rows are still there."""
    timing = BacklogTiming(dead_after=DEAD_AFTER, run_patience=1.0, last_patience=0.2)
    async with (
        Sandbox(ocr_rate=0, latency=0.2) as box,
        Backlog.open(own_postgres.dsn, timing=timing) as backlog,
    ):
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *urls(50)))
        async with session(box, max_running=2, close_timeout=0.5) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 4).wait()
            await own_postgres.crash()
            with pytest.raises(EkbConnectionError, match="away"):
                await run
            billed = box.vendor.billed["ocr"].total()
            assert billed <= 8
            await own_postgres.start()
            await execute(own_postgres.dsn, ALL_UNSEEN)
            assert (await backlog.run(ekb)).counts["done"] == 50
        assert box.vendor.billed["ocr"].total() <= 50 + await backlog.maybe_billed()
        assert await backlog.maybe_billed() <= billed


@pytest.mark.parametrize("committed", [True, False])
async def test_a_connection_that_is_lost_while_committing(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """A change takes effect once, whether or not the database committed before the connection was lost."""
    losses = 0

    async def lossy(transaction: Any) -> None:
        nonlocal losses
        losses += 1
        if committed or losses % 2 == 0:
            await commit(transaction)
        if losses % 2:
            transaction._connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError

    commit = vars(asyncpg.transaction.Transaction)["_Transaction__commit"]
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(database) as backlog:
        monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", lossy)
        assert await backlog.add_manifest(manifest(tmp_path, *urls(10))) == AddReport(added=10, duplicates=0)
        assert (await backlog.run(ekb)).counts == {"pending": 0, "running": 0, "done": 10, "failed": 0}
        assert {task.attempts for task in await all_tasks(backlog)} == {1}
        assert losses
    assert box.vendor.billed["ocr"].total() == 10


async def test_a_commit_that_a_crash_has_lost(
    tmp_path: Path, own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that was not yet on the database's disk at its crash is repeated, whatever was committed since."""
    await execute(own_postgres.dsn, "ALTER SYSTEM SET wal_writer_delay = '10s'")
    await execute(own_postgres.dsn, "SELECT pg_reload_conf()")

    async def lost(transaction: Any) -> None:
        monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", commit)
        await own_postgres.crash()
        await own_postgres.start()
        for _ in range(10):
            await execute(own_postgres.dsn, "SELECT pg_current_xact_id()")
        raise asyncpg.ConnectionDoesNotExistError

    commit = vars(asyncpg.transaction.Transaction)["_Transaction__commit"]
    async with Backlog.open(own_postgres.dsn) as backlog:
        monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", lost)
        assert await backlog.add_manifest(manifest(tmp_path, *urls(10))) == AddReport(added=10, duplicates=0)
        assert (await backlog.counts())["pending"] == 10


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
async def test_a_killed_host_can_leave_the_decision_to_a_person(tmp_path: Path, database: str) -> None:
    """If unknown outcomes are held, the sent calls of a dead host fail, and are repeated only on request."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, Backlog.open(database) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *urls(30)))
        box.log = log = WatchedLog()
        async with run_elsewhere(database, box) as process:
            await log.arrival("ocr", 8).wait()
            process.send_signal(signal.SIGKILL)
        await execute(database, ALL_UNSEEN)
        async with session(box, repeat_unknown=False) as ekb:
            summary = await backlog.run(ekb)
            assert set(summary.failures) == {"OutcomeUnknownError"}
            assert box.vendor.billed["ocr"].total() <= 30
            (counts,) = await backlog.tenants()
            assert counts.unconfirmed == summary.counts["failed"] <= 10
            assert await backlog.retry() == 0
            assert await backlog.retry(unknown=True) == counts.unconfirmed
            assert (await backlog.run(ekb)).counts["done"] == 30


async def test_adding_while_the_database_is_away(tmp_path: Path, own_postgres: Postgres) -> None:
    """Adding waits until the database is back, and adds the manifest once."""
    async with Backlog.open(own_postgres.dsn) as backlog:
        await own_postgres.crash()
        adding = asyncio.create_task(backlog.add_manifest(manifest(tmp_path, *urls(3000))))
        await own_postgres.start()
        assert await adding == AddReport(added=3000, duplicates=0)
        assert (await backlog.counts())["pending"] == 3000


async def test_hosts_that_add_the_same_at_once(tmp_path: Path, database: str) -> None:
    """Rows that two manifests share are added once, even if both are added at the same time."""
    one, two = manifest(tmp_path, *urls(500)), manifest(tmp_path, *reversed(urls(700)), name="n.csv")
    async with Backlog.open(database) as backlog, Backlog.open(database) as other:
        reports = await asyncio.gather(backlog.add_manifest(one), other.add_manifest(two))
        assert sum(report.added for report in reports) == 700
        assert [sum(report.duplicates for report in reports), sum(report.present for report in reports)] == [500, 500]
        tasks = await all_tasks(backlog)
        assert sorted(task.ref for task in tasks) == sorted(str(number) for number in range(700))


async def test_a_manifest_is_added_completely_or_not_at_all(tmp_path: Path, database: str) -> None:
    """After a malformed last row, or a cancelled import, nothing of the manifest is in the database."""
    async with Backlog.open(database) as backlog:
        with pytest.raises(ConfigError, match="line 3002, column kind"):
            await backlog.add_manifest(manifest(tmp_path, *urls(3000), "bad,,,,,"))
        adding = asyncio.create_task(backlog.add_manifest(manifest(tmp_path, *urls(3000))))
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert sum((await backlog.counts()).values()) == 0
        assert (await backlog.add_manifest(manifest(tmp_path, *urls(3)))).added == 3


async def test_texts_that_a_database_refuses(tmp_path: Path, database: str) -> None:
    """Characters of an error that the database cannot store are replaced, and the row fails for its own reason."""
    name = picture(tmp_path, "a.png")
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(database) as backlog:
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{name},,,,票😀"))
        (tmp_path / name).unlink()
        assert (await backlog.run(ekb)).failures == {"ConfigError": 1}
        (task,) = await all_tasks(backlog)
        assert task.ref == "票😀"


async def test_opening_says_what_is_wrong_without_the_password() -> None:
    """The error for a database that cannot be reached does not show its DSN."""
    timing = BacklogTiming(setup_patience=0.2)
    with pytest.raises(EkbConnectionError, match="away") as caught:
        async with Backlog.open("postgresql://user:TOPSECRET@127.0.0.1:1/db", timing=timing):
            pass
    assert "TOPSECRET" not in repr(caught.value)


@pytest.mark.parametrize("location", ["Postgresql://u:TOPSECRET@h/db", Path("postgresql://u:TOPSECRET@h/db")])
async def test_a_dsn_is_no_file(location: str | Path) -> None:
    """A location that resembles a DSN is refused without being shown."""
    with pytest.raises(ConfigError, match="begins with postgresql://") as caught:
        async with Backlog.open(location):
            pass
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.process
@pytest.mark.parametrize("use", ["import ekb_async.postgres", "cli.main()"])
def test_a_database_needs_an_extra(use: str) -> None:
    """Without its library the error says what to install, for programs and for the command."""
    code = f"""
import sys
sys.modules["asyncpg"] = None
from ekb_async import ConfigError, cli
sys.argv = ["ekb", "backlog", "status", "postgresql://user@127.0.0.1/db"]
try:
    {use}
except ConfigError as error:
    sys.exit(str(error))
"""
    outcome = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'pip install "ekb-async[postgres]"' in outcome.stderr
    assert "Traceback" not in outcome.stderr


async def test_a_repr_has_the_name_of_the_database_only(database: str) -> None:
    """The repr of a backlog shows the name of its database, but not its DSN."""
    async with Backlog.open(database) as backlog:
        assert "test_" in repr(backlog)
        assert "postgres" not in repr(backlog)


async def test_an_export_and_a_report_of_a_database(tmp_path: Path, database: str) -> None:
    """A backlog in a database is exported and reported like one in a file, and manifests are not overwritten."""
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(database) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *urls(450)))
        await backlog.run(ekb)
        assert await backlog.export(tmp_path / "out.csv") == 450
        assert await backlog.report(tmp_path / "report.html") == 450
        with pytest.raises(ConfigError, match="choose another name"):
            await backlog.export(tmp_path / "m.csv")
    assert "tenant" not in (tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()[0]


async def test_progress_of_a_database(tmp_path: Path, database: str) -> None:
    """Progress counts the whole backlog."""
    seen: list[Progress] = []
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(database) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *urls(30)))
        await backlog.run(ekb, progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (30, 30)
    assert seen[-1].kinds["ocr"].allowed == 1000
