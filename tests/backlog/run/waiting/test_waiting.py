"""Checks that wait for another day: invoices of the same day, and more checks than the tax authority allows."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import sys
from pathlib import Path

import pytest

import ekb_async
from ekb_async import EkbSession
from ekb_async.backlog import Backlog, BacklogTiming, Progress, Waiting
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, session
from tests.support.calendar import Calendar, at

NEW = "verify_by_fields,,031,{number},20300310,,,{number}"
EARLY, DUE = "2030-03-11 00:05", "2030-03-11 00:25"
NOTHING = {"pending": 0, "running": 0, "done": 0, "failed": 0}


def new(*numbers: int) -> list[str]:
    """Return rows that check invoices of 10 March 2030."""
    return [NEW.format(number=number) for number in numbers]


async def test_an_invoice_of_the_same_day_is_checked_on_the_next(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """It is pending until shortly after midnight at UTC+8; until then no run asks again, and each run ends."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1), "verify_by_fields,,031,2,20300309,,,2"))
        summary = await backlog.run(ekb)
        assert summary.counts == {**NOTHING, "pending": 1, "done": 1}
        assert summary.failures == {}
        assert summary.waiting.rows == 1
        assert "2030-03-11 00:10" <= at(summary.waiting.first) == at(summary.waiting.last) <= "2030-03-11 00:20"
        for time in ("2030-03-10 23:59", EARLY):
            calendar.set(time)
            assert (await backlog.run(ekb)).waiting.rows == 1
        (task,) = await all_tasks(backlog, "pending")
        assert (task.attempts, task.error, task.due_at) == (1, None, summary.waiting.first)
        calendar.set(DUE)
        assert await backlog.waiting() == Waiting()
        summary = await backlog.run(ekb)
        assert (summary.counts, summary.waiting) == ({**NOTHING, "done": 2}, Waiting())
        assert [(task.attempts, task.due_at) for task in await all_tasks(backlog)] == [(2, None), (1, None)]
    assert box.vendor.billed["verify_by_fields"].total() == 3


async def test_the_wait_is_kept_when_the_backlog_is_closed(
    tmp_path: Path, place: Location, ekb: EkbSession, calendar: Calendar
) -> None:
    """Another program that opens the backlog waits as well, and makes the call when it is due."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1)))
        await backlog.run(ekb)
    async with Backlog.open(place, clock=calendar) as backlog:
        assert (await backlog.run(ekb)).waiting.rows == 1
        calendar.set(DUE)
        assert (await backlog.run(ekb)).counts["done"] == 1


@pytest.mark.parametrize(
    ("row", "waits"),
    [
        ("verify_by_fields,,031,unknown1,20300310,,,", True),
        ("verify_by_fields,,031,unknown1,20310101,,,", True),
        ("verify_by_fields,,031,unknown1,20300309,,,", False),
        ("verify_by_fields,,031,77777777,20300309,,,", False),
        ("verify_by_id,corp:031:unknown1,,,20300310,,,", True),
        ("verify_by_id,corp:031:unknown1,,,20300309,,,", False),
        ("verify_by_id,corp:031:unknown1,,,,,,", False),
    ],
)
async def test_only_what_may_be_too_new_waits(
    tmp_path: Path, box: Sandbox, ekb: EkbSession, calendar: Calendar, row: str, waits: bool
) -> None:
    """What does not exist waits if it is dated today or later; an earlier or unknown date, or a mismatch, is final."""
    box.vendor.rules.mismatched.add("77777777")
    async with Backlog.open(tmp_path / "b.sqlite", clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, row))
        summary = await backlog.run(ekb)
    assert (summary.waiting.rows, summary.counts["failed"]) == (int(waits), int(not waits))


async def test_after_three_more_days_it_has_failed(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """An invoice that never appears is checked on its day and on three more, then fails; `retry` begins anew."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,unknown1,20300310,,,"))
        for day in (10, 11, 12):
            calendar.set(f"2030-03-{day} 01:00")
            assert (await backlog.run(ekb)).waiting.rows == 1
        calendar.set("2030-03-13 01:00")
        summary = await backlog.run(ekb)
        assert (summary.failures, summary.waiting.rows) == ({"InvoiceNotFoundError": 1}, 0)
        (task,) = await all_tasks(backlog)
        assert (task.attempts, task.due_at) == (4, None)
        assert await backlog.retry() == 1
        assert (await backlog.run(ekb)).failures == {"InvoiceNotFoundError": 1}
    assert box.vendor.billed["verify_by_fields"].total() == 5


async def test_five_checks_a_day_are_the_most(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """However often a failed check is retried, the sixth of a day is not sent but waits for the next."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,unknown1,20300101,,,"))
        for _ in range(5):
            assert (await backlog.run(ekb)).counts["failed"] == 1
            await backlog.retry()
        summary = await backlog.run(ekb)
        assert (summary.counts["pending"], summary.waiting.rows) == (1, 1)
        assert await backlog.retry(waiting=True) == 1
        assert (await backlog.run(ekb)).waiting.rows == 1
        assert box.count("verify_by_fields") == 5
        calendar.set(DUE)
        assert (await backlog.run(ekb)).counts["failed"] == 1
    assert box.count("verify_by_fields") == 6


async def test_lost_answers_are_checks(tmp_path: Path, place: Location, calendar: Calendar, box: Sandbox) -> None:
    """A check that never gets an answer is sent five times a day at most, and each time is counted."""
    box.faults = [Fault.lost_answer(calls="verify_by_fields")]
    async with Backlog.open(place, clock=calendar) as backlog, session(box, max_tries=20) as ekb:
        await backlog.add_manifest(checks(tmp_path, *new(1)))
        assert (await backlog.run(ekb)).waiting.rows == 1
        assert box.count("verify_by_fields") == await backlog.maybe_billed() == 5


async def test_the_tax_authority_may_count_more(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """A refusal because of too many checks today waits for the next day, whatever the invoice's date."""
    box.vendor.rules.checks_per_day = 1
    rows = ["verify_by_fields,,031,1,20300101,,,", "verify_by_fields,,031,1,20300101,5,,"]
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *rows))
        summary = await backlog.run(ekb)
        assert (summary.counts["done"], summary.waiting.rows) == (1, 1)
        calendar.set(DUE)
        assert (await backlog.run(ekb)).counts == {**NOTHING, "done": 2}


async def test_a_date_can_be_added_later(tmp_path: Path, place: Location, ekb: EkbSession, calendar: Calendar) -> None:
    """A row of a check by ID that is added again with the date of its invoice waits by that date."""
    row = "verify_by_id,corp:031:unknown1,,,{date},,,a"
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, row.format(date="")))
        report = await backlog.add_manifest(checks(tmp_path, row.format(date="2030-03-10"), name="n.csv"))
        assert (report.added, report.present) == (0, 1)
        assert (await backlog.run(ekb)).waiting.rows == 1


async def test_a_clock_that_jumps(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """If the clock was a month ahead when the wait began, the call does not wait a month; it never fails for it."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1)))
        calendar.set("2030-04-10 12:00")
        box.faults = [Fault.answer(400, '{"errorMessage": "请于次日再次查验"}', calls="verify_by_fields", times=1)]
        assert at((await backlog.run(ekb)).waiting.first) >= "2030-04-11"
        calendar.set("2030-03-10 12:00")
        summary = await backlog.run(ekb)
        assert (box.count("verify_by_fields"), summary.waiting.rows) == (2, 1)
        assert at(summary.waiting.first) <= "2030-03-11 00:20"
        calendar.set(DUE)
        assert (await backlog.run(ekb)).counts["done"] == 1


async def test_other_rows_are_made_meanwhile(
    tmp_path: Path, place: Location, ekb: EkbSession, calendar: Calendar
) -> None:
    """A row that waits holds up no other; progress counts only what is left to make now."""
    seen: list[Progress] = []
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1, 2)))
        await backlog.run(ekb)
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,3,20300101,,,", name="n.csv"))
        summary = await backlog.run(ekb, progress=seen.append)
        assert (summary.counts["done"], summary.waiting.rows) == (1, 2)
        assert seen[-1].kinds["verify_by_fields"].left == 0
        report = await backlog.add_manifest(checks(tmp_path, *new(1), name="again.csv"))
        assert (report.present, (await backlog.waiting()).rows) == (1, 2)


async def test_waits_can_be_ended(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """`retry` leaves waiting rows alone, unless it is asked for them; then the next run makes them."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1, 2)))
        await backlog.run(ekb)
        assert await backlog.retry() == 0
        assert (await backlog.waiting()).rows == 2
        box.vendor.rules.not_yet_known = False
        assert await backlog.retry(waiting=True) == 2
        assert (await backlog.waiting()).rows == 0
        assert (await backlog.run(ekb)).counts["done"] == 2
        with pytest.raises(ConfigError, match="neither cause nor unknown"):
            await backlog.retry(waiting=True, cause="x")
        with pytest.raises(ConfigError, match="neither cause nor unknown"):
            await backlog.retry(waiting=True, unknown=True)


async def test_two_runs_share_what_is_due(tmp_path: Path, place: Location, box: Sandbox, calendar: Calendar) -> None:
    """Of two runs that begin when many calls are due, each makes some, and no call is made twice."""
    numbers = range(1, 41)
    async with (
        session(box) as ekb,
        Backlog.open(place, clock=calendar) as one,
        Backlog.open(place, clock=calendar) as two,
    ):
        await one.add_manifest(checks(tmp_path, *new(*numbers)))
        assert (await one.run(ekb)).waiting.rows == len(numbers)
        calendar.set(DUE)
        await asyncio.gather(one.run(ekb), two.run(ekb))
        assert (await one.counts())["done"] == len(numbers)
    assert box.vendor.billed["verify_by_fields"] == {f"031:{number:08}": 2 for number in numbers}


async def test_tenants_wait_on_their_own(tmp_path: Path, place: Location, box: Sandbox, calendar: Calendar) -> None:
    """The rows of each tenant wait, its counts say how many, and a run ends when all tenants only wait."""
    path = tmp_path / "t.csv"
    rows = [f"verify_by_fields,{number:020},20300310,{tenant}\n" for number, tenant in ((1, "a"), (2, "a"), (3, "b"))]
    path.write_text("kind,number,date,tenant\n" + "".join(rows), encoding="utf-8")
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(path)
        summary = await backlog.run(lambda _: session(box))
        assert summary.waiting.rows == 3
        assert [(each.tenant, each.waiting) for each in await backlog.tenants()] == [("a", 2), ("b", 1)]
        calendar.set(DUE)
        assert (await backlog.run(lambda _: session(box))).counts["done"] == 3


async def test_exports_and_reports_have_the_due_time(tmp_path: Path, ekb: EkbSession, calendar: Calendar) -> None:
    """An export has the due time of each waiting row; a report says how many wait, and until when."""
    async with Backlog.open(tmp_path / "b.sqlite", clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1)))
        summary = await backlog.run(ekb)
        await backlog.export(tmp_path / "out.csv")
        await backlog.report(tmp_path / "r.html", lang="en")
        await backlog.report(tmp_path / "zh.html", lang="zh")
    (line,) = csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines())
    assert line["due_at"].startswith(at(summary.waiting.first).replace(" ", line["due_at"][10]))
    assert "1 of them wait for another day, until" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "其中 1 行等待改日" in (tmp_path / "zh.html").read_text(encoding="utf-8")


async def test_times_can_be_set(tmp_path: Path, ekb: EkbSession, calendar: Calendar) -> None:
    """The time after midnight and the spread are settings of the backlog."""
    timing = BacklogTiming(next_day=7200.0, next_day_spread=0.0)
    async with Backlog.open(tmp_path / "b.sqlite", clock=calendar, timing=timing) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1)))
        assert at((await backlog.run(ekb)).waiting.first) == "2030-03-11 02:00"


async def test_a_copy_waits_too(tmp_path: Path, place: Location, ekb: EkbSession, calendar: Calendar) -> None:
    """A copy keeps the due time and the number of days; joined with a call that does not wait, the call waits."""
    async with (
        Backlog.open(tmp_path / "source.sqlite", clock=calendar) as source,
        Backlog.open(place, clock=calendar) as target,
    ):
        await source.add_manifest(checks(tmp_path, *new(1, 2)))
        await source.run(ekb)
        await target.add_manifest(checks(tmp_path, *new(1), name="n.csv"))
        await source.copy_to(target)
        assert await target.waiting() == await source.waiting()
        await target.copy_to(source)
        calendar.set(DUE)
        assert (await target.run(ekb)).counts["done"] == (await target.counts())["done"]
        await target.copy_to(source)
        assert (await source.counts(), (await source.waiting()).rows) == (await target.counts(), 0)


RUN = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog

async def main(place, url, now):
    credentials = AppCredentials(app_key="sandbox-key", app_security="sandbox-security-c0ffee")
    config = SessionConfig(verify_rate=1000, rate_guard=0)
    async with EkbSession(credentials, base_url=url, config=config) as ekb:
        async with Backlog.open(place, clock=lambda: float(now)) as backlog:
            await backlog.run(ekb)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no signal there kills a process")
async def test_a_run_that_is_killed_with_due_calls(
    tmp_path: Path, place: Location, box: Sandbox, calendar: Calendar
) -> None:
    """Calls that were due and in flight when their run was killed are made again at once, and counted."""
    async with session(box) as ekb, Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *new(1, 2, 3)))
        assert (await backlog.run(ekb)).waiting.rows == 3
        calendar.set(DUE)
        box.faults = [Fault.delay(60, calls="verify_by_fields")]
        environment = {**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1])}
        arguments = ("-c", RUN, str(place), box.base_url, str(calendar()))
        victim = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
        await box.arrived("verify_by_fields", 6)
        victim.send_signal(signal.SIGKILL)
        await victim.wait()
        box.faults = []
        assert (await backlog.run(ekb)).counts["done"] == 3
        assert await backlog.maybe_billed() == 3
        assert {task.attempts for task in await all_tasks(backlog)} == {3}
