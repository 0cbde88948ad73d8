"""Copying a backlog into another one, in files and databases."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import msgspec
import pytest

from ekb_async.backlog import Backlog, BacklogTiming, CopyReport, Task
from ekb_async.backlog.store.postgres.sql.call_sql import LOCK_IMPORT
from ekb_async.errors import ConfigError, EkbConnectionError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlogs import all_tasks, execute, manifest, picture, session
from tests.support.calendar import Calendar
from tests.support.postgres import IS_WAITED_FOR, run_now
from tests.support.waiting import until_in_database
from tests.support.watched_log import WatchedLog

ALWAYS_ROLLED_BACK = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE deadlock_detected; END';
CREATE TRIGGER always BEFORE INSERT ON ekb_row FOR EACH ROW EXECUTE FUNCTION fail()
"""
TERMINATE_READERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()
"""
DIRECTIONS = [("file", "file"), ("file", "postgres"), ("postgres", "file"), ("postgres", "postgres")]


@pytest.fixture(params=DIRECTIONS, ids=[" to ".join(each) for each in DIRECTIONS])
def locations(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path | str, Path | str]:
    """The locations of source and target."""
    source, target = request.param
    files = tmp_path / "source.sqlite", tmp_path / "target.sqlite"
    databases: list[str] = []
    if "postgres" in request.param:
        dsn: str = request.getfixturevalue("empty_database")
        databases.append(dsn)
    if source == target == "postgres":
        databases.append(f"{databases[0]}&options=-csearch_path%3Dother")
        run_now(make_schema(databases[0]))
    return (
        files[0] if source == "file" else databases[0],
        files[1] if target == "file" else databases[-1],
    )


async def make_schema(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE SCHEMA other")
    await connection.close()


def comparable(tasks: list[Task]) -> list[Task]:
    """Return tasks without their IDs."""
    return [msgspec.structs.replace(task, id=0, call_id=0) for task in tasks]


async def test_a_copy_is_equal(tmp_path: Path, locations: tuple[Path | str, Path | str], quick_box: Sandbox) -> None:
    """A copy has the same rows, results, errors, counters and tenants, and copying again adds nothing."""
    rows = [
        f"ocr,{picture(tmp_path, 'a.png')},,,,a",
        "ocr,a.png,,,,b",
        "url,,corp:1:2,,,c",
        "url,,unknown,,,d",
        "verify,https://f.example/1.png?Signature=SECRET,,corp:staff,n.png,e",
    ]
    tenants = tmp_path / "t.jsonl"
    tenants.write_text('{"kind": "url", "invoice_id": "corp:1:2", "tenant": "甲"}\n', encoding="utf-8")
    async with Backlog.open(locations[0]) as source, Backlog.open(locations[1]) as target:
        await source.add_manifest(manifest(tmp_path, *rows))
        async with session(quick_box) as ekb:
            await source.run(ekb)
        await source.add_manifest(manifest(tmp_path, *(f"url,,corp:1:{n},,," for n in range(700)), name="n.csv"))
        await source.add_manifest(tenants)
        tasks = comparable(await all_tasks(source))
        report = await source.copy_to(target)
        assert report == CopyReport(manifests=3, rows=706, calls=704, joined=0)
        assert comparable(await all_tasks(target)) == tasks
        assert await target.tenants() == await source.tenants()
        assert await source.copy_to(target) == CopyReport(manifests=0, rows=0, calls=0, joined=704)
        assert comparable(await all_tasks(target)) == tasks
        assert comparable(await all_tasks(source)) == tasks
        summary = await target.run(lambda _: session(quick_box))
        assert summary.counts == {"pending": 0, "running": 0, "done": 705, "failed": 1}


async def test_both_have_a_call(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """Equal rows are joined, and on either side done takes precedence over failed, and failed over pending."""

    async def ran(backlog: Backlog, *names: str) -> None:
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{name},,,," for name in names)))
        await backlog.run(ekb)

    async with (
        Sandbox(ocr_rate=0) as box,
        Backlog.open(locations[0]) as source,
        Backlog.open(locations[1]) as target,
        session(box, max_tries=1) as ekb,
    ):
        await ran(source, "done here", "done in both")
        await ran(target, "done there", "done in both")
        refusal = Fault.answer(400, calls="ocr")
        box.faults.append(refusal)
        await ran(source, "failed here", "done there")
        await ran(target, "failed there", "done here")
        box.faults.clear()
        pending = ("failed there", "pending"), ("failed here", "pending")
        for backlog, names in zip((source, target), pending, strict=True):
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{name},,,," for name in names)))
        report = await source.copy_to(target)
        assert (report.calls, report.joined, report.rows) == (0, 6, 0)
        tasks = await all_tasks(target)
        assert len(tasks) == 6
        states = {task.file.rpartition("/")[2]: (task.state, task.attempts) for task in tasks}
        assert states == {
            "done there": ("done", 2),
            "done here": ("done", 2),
            "done in both": ("done", 2),
            "failed there": ("failed", 1),
            "failed here": ("failed", 1),
            "pending": ("pending", 0),
        }
        assert (await target.run(ekb)).counts == {"pending": 0, "running": 0, "done": 4, "failed": 2}


async def test_what_was_filled_separately(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """A row that the target has already, by the rule of adding, is not copied; of equal rows only missing ones are."""
    (tmp_path / "b.png").write_bytes(b"another with the same content")
    (tmp_path / "a.png").write_bytes(b"another with the same content")
    there = ["verify,a.png,,corp:old,,", "url,,c:1:2,,,7", "url,,c:1:3,,,", "url,,c:1:3,,,"]
    here = [
        f"verify,{tmp_path}/a.png,,corp:new,,",
        "url,,c:1:2,,, 7 ",
        *["url,,c:1:3,,,"] * 3,
        "verify,b.png,,corp:old,,",
        "url,,c:1:2,,,8",
        "url,,c:1:4,,,",
    ]
    async with Backlog.open(locations[0]) as source, Backlog.open(locations[1]) as target:
        await source.add_manifest(manifest(tmp_path, *here, name="here.csv"))
        await target.add_manifest(manifest(tmp_path, *there, name="ours.csv"))
        assert await source.copy_to(target) == CopyReport(manifests=1, rows=4, calls=1, joined=3)
        tasks = await all_tasks(target)
        assert sorted(task.line for task in tasks if task.manifest.endswith("here.csv")) == [6, 7, 8, 9]
        assert len(tasks) == sum((await target.counts()).values()) == 8
        # The source got one more of the equal rows; rows that were copied before are paired with themselves.
        await source.add_manifest(manifest(tmp_path, *["url,,c:1:3,,,"] * 4, name="more.csv"))
        assert (await source.copy_to(target)).rows == 1
        assert (await source.copy_to(target)).rows == 0
        assert len(await all_tasks(target)) == 9


async def test_what_was_done_since_is_brought_along(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """A second copy brings the results since the first one, and counts no attempt twice."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(locations[0]) as source, Backlog.open(locations[1]) as target:
        await source.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(5))))
        await source.copy_to(target)
        async with session(box) as ekb:
            await source.run(ekb)
            await source.copy_to(target)
            await source.copy_to(target)
            assert (await target.run(ekb)).counts["done"] == 5
        assert {task.attempts for task in await all_tasks(target)} == {1}
        assert box.vendor.billed["ocr"].total() == 5


async def test_a_backlog_at_work_is_not_copied(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """During a run, whose calls would be paid twice, a copy is refused and adds nothing to the other backlog."""
    async with Sandbox(ocr_rate=0, latency=0.5) as box, session(box) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(locations[0]) as source, Backlog.open(locations[1]) as target:
            await source.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(5))))
            run = asyncio.create_task(source.run(ekb))
            await log.arrival("ocr", 1).wait()
            with pytest.raises(ConfigError, match="a run is at work"):
                await source.copy_to(target)
            assert sum((await target.counts()).values()) == 0
            assert (await run).counts["done"] == 5


async def test_a_copy_and_a_run_that_lock_each_other(tmp_path: Path, empty_database: str) -> None:
    """A copy that the database ends because of a deadlock with a run is repeated."""
    rows = [f"url,,c:1:{number},,," for number in range(2)]
    async with Backlog.open(tmp_path / "b.sqlite") as source, Backlog.open(empty_database) as target:
        await source.add_manifest(manifest(tmp_path, *rows))
        await target.add_manifest(manifest(tmp_path, *rows))
        run = await asyncpg.connect(empty_database)
        await run.execute("SET deadlock_timeout = '1h'")
        async with run.transaction():
            await run.execute("UPDATE ekb_call SET turn = '' WHERE id = 2")
            copying = asyncio.create_task(source.copy_to(target))
            await until_in_database(run, IS_WAITED_FOR)
            await run.execute("UPDATE ekb_call SET turn = '' WHERE id = 1")
        await run.close()
        assert (await copying).joined == 2


async def test_a_copy_that_is_always_rolled_back(tmp_path: Path, empty_database: str) -> None:
    """A copy that the database rolls back each time is repeated as long as a run waits, and adds nothing."""
    timing = BacklogTiming(run_patience=0.5)
    async with (
        Backlog.open(tmp_path / "b.sqlite") as source,
        Backlog.open(empty_database, timing=timing) as target,
    ):
        await source.add_manifest(manifest(tmp_path, "url,,c:1:2,,,"))
        connection = await asyncpg.connect(empty_database)
        await connection.execute(ALWAYS_ROLLED_BACK)
        await connection.close()
        with pytest.raises(EkbConnectionError, match="undid a transaction: deadlock"):
            await source.copy_to(target)
        assert sum((await target.counts()).values()) == 0


async def test_a_source_that_goes_away(tmp_path: Path, empty_database: str) -> None:
    """A copy ends at once if the connection to its source is lost, also if the target is a database."""
    await make_schema(empty_database)
    other = f"{empty_database}&options=-csearch_path%3Dother"
    async with Backlog.open(empty_database) as source, Backlog.open(other) as target:
        await source.add_manifest(manifest(tmp_path, "url,,c:1:2,,,"))
        adding = await asyncpg.connect(other)
        async with adding.transaction():
            await adding.execute(LOCK_IMPORT)
            copying = asyncio.create_task(source.copy_to(target))
            await until_in_database(adding, IS_WAITED_FOR)
            assert await adding.fetchval(TERMINATE_READERS) == 1
        done, _ = await asyncio.wait([copying], timeout=3)  # a run would wait longer for its database
        assert done
        with pytest.raises(EkbConnectionError, match="database is away"):
            await copying
        await adding.close()
        assert sum((await target.counts()).values()) == 0


async def test_backlogs_that_are_copied_to_each_other(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """Copying in both directions again and again uses no more IDs than rows were compared."""
    async with Backlog.open(locations[0]) as one, Backlog.open(locations[1]) as other:
        for round_ in range(12):
            await one.add_manifest(manifest(tmp_path, f"url,,c:1:{round_},,,", name=f"one{round_}.csv"))
            await one.copy_to(other)
            await other.add_manifest(manifest(tmp_path, f"url,,c:2:{round_},,,", name=f"other{round_}.csv"))
            await other.copy_to(one)
        tasks = await all_tasks(one)
        assert len(tasks) == len(await all_tasks(other)) == 24
        assert tasks[-1].id < 12 * 24


async def test_an_error_with_zeros(tmp_path: Path, empty_database: str) -> None:
    """Zeros in a server's text do not prevent a copy into a database."""
    async with Backlog.open(tmp_path / "b.sqlite") as source, Backlog.open(empty_database) as target:
        await source.add_manifest(manifest(tmp_path, "ocr,https://f.example/1,,,,"))
        async with Sandbox(faults=[Fault.answer(400, "not this", calls="ocr")]) as box, session(box) as ekb:
            await source.run(ekb)
        # Older versions stored such texts.
        await execute(source, "UPDATE calls SET error = 'no' || char(0) || 't this'")
        await source.copy_to(target)
        [cause] = await target.causes()
    assert "no\ufffdt this" in cause.error


async def test_a_backlog_is_not_copied_into_itself(tmp_path: Path) -> None:
    """A copy to another `Backlog` of the same file is refused."""
    path = tmp_path / "b.sqlite"
    async with Backlog.open(path) as one, Backlog.open(path) as two:
        with pytest.raises(ConfigError, match="itself"):
            await one.copy_to(two)


async def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """If not everything can be copied, nothing is."""
    async with Backlog.open(tmp_path / "b.sqlite") as source, Backlog.open(tmp_path / "t.sqlite") as target:
        await source.add_manifest(manifest(tmp_path, *(f"url,,c:1:{n},,," for n in range(600))))
        with closing(sqlite3.connect(tmp_path / "t.sqlite")) as db:
            db.execute(
                "CREATE TRIGGER no BEFORE INSERT ON rows WHEN NEW.line = 500 BEGIN SELECT raise(ABORT, 'no'); END"
            )
        with pytest.raises(ConfigError, match="cannot be read or written"):
            await source.copy_to(target)
        assert sum((await target.counts()).values()) == 0


CHECK = "kind,invoice_id,number,date,ref\nverify_by_fields,,unknown1,{day},a\n"


async def test_checks_are_counted_in_both(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """The checks of a day in both backlogs are added up, so that no more than five are sent, whatever is copied."""
    async with Sandbox(verify_rate=0) as box, session(box) as ekb:
        calendar = Calendar(box, "2030-03-10 15:00")
        path = tmp_path / "checks.csv"
        path.write_text(CHECK.format(day="20240101"), encoding="utf-8")
        async with (
            Backlog.open(locations[0], clock=calendar) as source,
            Backlog.open(locations[1], clock=calendar) as target,
        ):
            for backlog, times in ((source, 3), (target, 2)):
                await backlog.add_manifest(path)
                for _ in range(times):
                    assert (await backlog.run(ekb)).counts["failed"] == 1
                    await backlog.retry()
            await source.copy_to(target)
            await source.copy_to(target)
            assert (await target.run(ekb)).waiting.rows == 1
            assert box.count("verify_by_fields") == 5
            calendar.set("2030-03-11 00:25")
            assert (await target.run(ekb)).counts["failed"] == 1


async def test_days_and_dates_are_joined(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """A call that has waited goes on waiting after it was joined with one that has not, by the date of either."""
    async with Sandbox(verify_rate=0, not_yet_known=True) as box, session(box) as ekb:
        calendar = Calendar(box, "2030-03-10 15:00")
        dated, undated = tmp_path / "dated.csv", tmp_path / "undated.csv"
        dated.write_text(CHECK.format(day="20300310") + "verify_by_id,c:1:unknown2,,20300310,b\n", encoding="utf-8")
        undated.write_text(CHECK.format(day="20300310") + "verify_by_id,c:1:unknown2,,,b\n", encoding="utf-8")
        async with (
            Backlog.open(locations[0], clock=calendar) as source,
            Backlog.open(locations[1], clock=calendar) as target,
        ):
            await source.add_manifest(dated)
            assert (await source.run(ekb)).waiting.rows == 2
            await target.add_manifest(undated)
            await source.copy_to(target)
            calendar.set("2030-03-11 00:25")
            assert (await target.run(ekb)).waiting.rows == 2
