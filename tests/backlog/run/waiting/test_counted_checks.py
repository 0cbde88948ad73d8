"""How often an invoice is checked in a day, and for how many days: counted whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import asyncpg
import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Fault, SampleInvoice, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, session
from tests.support.calendar import Calendar, at
from tests.support.ledgers import add_invoices

OLD = "verify_by_fields,,031,unknown1,20300101,,,"
NEW = "verify_by_fields,,031,unknown1,20300310,,,"
DUE = "2030-03-11 00:25"


async def test_requests_that_are_answered_and_repeated(
    tmp_path: Path, place: Location, box: Sandbox, calendar: Calendar
) -> None:
    """Each request is a check, also those that a session repeats by itself: five are sent in a day at most."""
    box.faults = [Fault.answer(400, '{"errorMessage": "可尝试再次请求"}', calls="verify_by_fields")]
    async with Backlog.open(place, clock=calendar) as backlog, session(box, max_tries=3) as ekb:
        await backlog.add_manifest(checks(tmp_path, OLD))
        assert (await backlog.run(ekb)).waiting.rows == 1
        assert box.count("verify_by_fields") == 5
        assert (await all_tasks(backlog))[0].attempts == 5


async def test_a_timeout_at_the_vendor_is_one_check(
    tmp_path: Path, place: Location, box: Sandbox, calendar: Calendar
) -> None:
    """A request that the vendor gave up on is lost and answered at once, and counted once."""
    box.faults = [Fault.answer(400, '{"errorMessage": "查验超时"}', calls="verify_by_fields", times=4)]
    async with Backlog.open(place, clock=calendar) as backlog, session(box, max_tries=1) as ekb:
        await backlog.add_manifest(checks(tmp_path, OLD))
        for _ in range(5):
            assert (await backlog.run(ekb)).waiting.rows == 0
            await backlog.retry()
        assert (await backlog.run(ekb)).waiting.rows == 1
        assert box.count("verify_by_fields") == 5


async def test_refusals_for_the_rate_are_no_checks(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """A request that is refused for the rate does not reach the tax authority, and is not billed."""
    box.faults = [Fault.answer(400, '{"errorMessage": "请求过于频繁"}', calls="verify_by_fields", times=8)]
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,1,20300101,,,"))
        assert (await backlog.run(ekb)).counts["done"] == 1
        assert box.count("verify_by_fields") == 9
        assert (await backlog.accounting()).calls == 1
        assert [task.attempts for task in await all_tasks(backlog)] == [1]


@pytest.mark.parametrize("text", ["今日查验过于频繁，请明日再试", "今日已达到查验上限，请稍后再试"])
async def test_a_refusal_for_today_is_no_refusal_for_the_rate(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar, text: str
) -> None:
    """A check that is refused for the whole day is sent once, and waits."""
    box.faults = [Fault.answer(400, f'{{"errorMessage": "{text}"}}', calls="verify_by_fields")]
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, OLD))
        assert (await backlog.run(ekb)).waiting.rows == 1
        assert box.count("verify_by_fields") == 1


async def test_a_day_is_waited_for_once(
    tmp_path: Path, place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """However often a check that waits is made due in one day, that is one day, and it is final after three."""
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, NEW))
        for _ in range(4):
            assert (await backlog.run(ekb)).waiting.rows == 1
            assert await backlog.retry(waiting=True) == 1
        for day in (11, 12):
            calendar.set(f"2030-03-{day} 01:00")
            assert (await backlog.run(ekb)).waiting.rows == 1
        calendar.set("2030-03-13 01:00")
        assert (await backlog.run(ekb)).counts["failed"] == 1
        calendar.set("2030-03-13 02:00")
        await backlog.retry()
        assert (await backlog.run(ekb)).counts["failed"] == 1
    assert box.count("verify_by_fields") == 8


@pytest.mark.parametrize("first", ["ledger", "documents"])
async def test_the_date_that_any_row_of_a_call_has(
    place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar, first: str
) -> None:
    """A later row without a date shares the call of one with a date, which waits by that date."""
    box.vendor.add_invoice("c:1:1", SampleInvoice(number="1", date=date(2030, 3, 10)))
    box.vendor.add_document(id="f1", code="B1", invoices=["c:1:1"], at=calendar())
    async with Backlog.open(place, clock=calendar) as backlog:
        if first == "ledger":
            await backlog.add_ledger(ekb, kind="verify_by_id")
        await backlog.add_documents(ekb, kind="verify_by_id")
        if first != "ledger":
            await backlog.add_ledger(ekb, kind="verify_by_id")
        summary = await backlog.run(ekb)
        assert (summary.counts["failed"], summary.waiting.rows) == (0, 2)
        assert at(summary.waiting.first) >= "2030-03-11"


async def test_a_known_date_is_kept(tmp_path: Path, place: Location, ekb: EkbSession, calendar: Calendar) -> None:
    """A row that is added again without its date keeps it, and with another date takes that."""
    row = "verify_by_id,corp:031:unknown{number},,,{date},,,{number}"
    dated, undated = ([row.format(number=n, date=day) for n in (1, 2)] for day in ("2030-03-10", ""))
    async with Backlog.open(place, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, *dated))
        for _ in range(2):
            report = await backlog.add_manifest(checks(tmp_path, *undated, name="n.csv"))
            assert (report.added, report.present) == (0, 2)
        corrected = row.format(number=2, date="2030-03-09")
        await backlog.add_manifest(checks(tmp_path, corrected, name="o.csv"))
        summary = await backlog.run(ekb)
        assert (summary.counts["failed"], summary.waiting.rows) == (1, 1)


async def test_calls_that_are_due_and_locked(
    tmp_path: Path, empty_database: str, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """A run does not end while another host holds a call that is due, and makes it then."""
    async with Backlog.open(empty_database, clock=calendar) as backlog:
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,1,20300310,,,"))
        assert (await backlog.run(ekb)).waiting.rows == 1
        calendar.set(DUE)
        connection = await asyncpg.connect(empty_database)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE ekb_call SET due_at = NULL")
        waits = asyncio.Event()
        run = asyncio.create_task(
            backlog.run(ekb, progress=lambda progress: waits.set() if "another run" in progress.trouble else None)
        )
        seen = asyncio.create_task(waits.wait())
        await asyncio.wait([run, seen], return_when=asyncio.FIRST_COMPLETED)
        seen.cancel()
        assert not run.done()
        await transaction.commit()
        await connection.close()
        assert (await run).counts["done"] == 1


async def test_invoices_of_documents_that_are_not_verified(
    place: Location, box: Sandbox, ekb: EkbSession, calendar: Calendar
) -> None:
    """Of the invoices of documents, only those of value-added tax are verified, with the date that the ledger has."""
    (taxi,) = add_invoices(box.vendor, range(1), parts=["taxi"])
    box.vendor.add_invoice("c:1:1", SampleInvoice(number="1", date=date(2030, 3, 10)))
    box.vendor.add_document(id="f1", code="B1", invoices=[taxi, "c:1:1"], at=calendar())
    async with Backlog.open(place, clock=calendar) as backlog:
        assert (await backlog.add_documents(ekb, kind=["verify_by_id", "detail"])).added == 3
        assert (await backlog.run(ekb)).waiting.rows == 1
    assert box.count("verify_by_id") == 1
