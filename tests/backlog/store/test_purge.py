"""Purging calls that ended long ago: what goes, what is summed up, and what is not paid again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from openpyxl import load_workbook

from ekb_async.backlog import Backlog, Purged, PurgeReport
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture, session
from tests.support.same_answers import files_showing, marks

OLD = SampleInvoice(number="00000017", code="099002400111")
OTHER = SampleInvoice(number="00000018", code="099002400111")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """A moment after everything that has ended."""
    return datetime.now(UTC) + timedelta(seconds=1)


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a purge delete two calls at a time."""
    limits = msgspec.structs.replace(LIMITS, calls_per_purged_page=2, entries_per_purged_page=2)
    for module in ("ekb_async.backlog.purging.purging", "ekb_async.backlog.store.postgres.store"):
        monkeypatch.setattr(f"{module}.LIMITS", limits)


def pictures(directory: Path, count: int) -> Path:
    """Write a manifest of so many pictures to recognise, each twice with another reference."""
    rows = []
    for n in range(count):
        name = picture(directory, f"{n}.png")
        rows += [f"ocr,{name},,,,{n}", f"ocr,{name},,,,{n} again"]
    return manifest(directory, *rows)


@pytest.mark.usefixtures("_small_pages")
async def test_done_calls_go_and_their_sums_stay(tmp_path: Path, place: Location) -> None:
    """What was done before the moment goes with its rows; what it cost stays counted, and shown as purged."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(pictures(tmp_path, 5))
        box.faults.append(Fault.lost_answer(calls="ocr", times=1))
        await backlog.run(ekb)
        before = await backlog.accounting()
        assert (before.calls, before.maybe_billed, before.same_content, before.purged) == (6, 1, 5, 0)
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{picture(tmp_path, 'new.png')},,,,new", name="n.csv"))
        assert await backlog.purge(LONG_AGO) == PurgeReport()
        assert await backlog.purge(now(), dry_run=True) == PurgeReport(calls=5, rows=10)
        seen: list[int] = []
        report = await backlog.purge(now(), progress=lambda so_far: seen.append(so_far.calls))
        assert report == PurgeReport(calls=5, rows=10, manifests=1)
        assert seen == [2, 4, 5]
        assert await backlog.counts() == {"pending": 1, "running": 0, "done": 0, "failed": 0}
        assert [task.ref for task in await all_tasks(backlog)] == ["new"]
        after = await backlog.accounting()
        assert (after.calls, after.maybe_billed, after.same_content, after.purged) == (6, 1, 5, 6)
        assert await backlog.maybe_billed() == 1
        purged = await backlog.purged()
        assert (purged.calls, purged.rows, purged.done, purged.billed, purged.maybe_billed) == (5, 10, 10, 6, 1)
        assert await backlog.purge(now()) == PurgeReport()


async def test_the_money_of_purged_invoices_is_summed_up(tmp_path: Path, place: Location) -> None:
    """The totals of invoices are added exactly, by kind of call and by what became of them."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        files = [picture(tmp_path, f"{n}.png") for n in range(4)]
        rows = [f"{kind},{name},,corp:1,,{kind} {name}" for name in files for kind in ("ocr", "verify")]
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        totals = {"ocr": Decimal(0), "verify": Decimal(0)}
        for task in await all_tasks(backlog):
            for each in task.result["invoices"]:
                totals[task.kind] += Decimal((each.get("details") if task.kind == "ocr" else each["form"])["total"])
        for _ in range(2):
            await backlog.purge(now())
        assert await all_tasks(backlog) == []
        found = {(each.kind, each.verdict, each.currency): each for each in (await backlog.purged()).invoices}
        assert found["ocr", "read", "CNY"].invoices == 4
        assert found["ocr", "read", "CNY"].total == totals["ocr"]
        verified = [each for (kind, *_), each in found.items() if kind == "verify"]
        assert sum(each.invoices for each in verified) == 4
        assert sum(each.total for each in verified) == totals["verify"]
        assert {each.verdict for each in verified} <= {"usable", "refused"}


async def test_reports_and_workbooks_show_what_was_purged(tmp_path: Path, place: Location) -> None:
    """A report and a workbook sum up what was purged, also if nothing else is left."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(pictures(tmp_path, 3))
        await backlog.run(ekb)
        await backlog.purge(now())
        (invoices,) = (await backlog.purged()).invoices
        await backlog.report(tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text()
        assert "All 6 rows were purged." in page
        assert f"{invoices.total:,.2f}" in page
        await backlog.export(tmp_path / "r.xlsx")
        lines = [[cell.value for cell in row] for row in load_workbook(tmp_path / "r.xlsx").worksheets[0].iter_rows()]
        assert [6, 6, 0, 3, 0] in [line[:5] for line in lines]
        assert ["OCR", "Recognised, not verified", "CNY", 3, float(invoices.total)] in [line[:5] for line in lines]


async def test_failed_calls_go_only_if_they_are_meant(tmp_path: Path, place: Location) -> None:
    """Failed calls are left unless they are asked for; one tenant's calls go without those of others."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box, max_tries=1) as ekb:
        box.faults.append(Fault.lost_answer(calls="ocr", times=1))
        await backlog.add_manifest(pictures(tmp_path, 3))
        await backlog.run(ekb)
        assert (await backlog.counts())["failed"] == 2
        assert (await backlog.purge(now(), tenant="other")).calls == 0
        assert (await backlog.purge(now(), tenant="")).calls == 2
        assert await backlog.counts() == {"pending": 0, "running": 0, "done": 0, "failed": 2}
        assert (await backlog.purge(now(), failed=True)).calls == 1
        purged = await backlog.purged()
        assert (purged.done, purged.failed, purged.maybe_billed, purged.billed) == (4, 2, 1, 3)


async def test_what_was_purged_is_not_paid_again(tmp_path: Path, place: Location) -> None:
    """A row that is added again after a purge is left out and counted, unless it is wanted again or has another ref."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        path = pictures(tmp_path, 3)
        await backlog.add_manifest(path)
        await backlog.run(ekb)
        await backlog.purge(now())
        report = await backlog.add_manifest(path)
        assert (report.added, report.duplicates, report.present, report.purged) == (0, 0, 0, 6)
        assert await all_tasks(backlog) == []
        rows = ["ocr,0.png,,,,0", "ocr,0.png,,,,other"]
        report = await backlog.add_manifest(manifest(tmp_path, *rows, name="n.csv"))
        assert (report.added, report.purged) == (1, 1)
        report = await backlog.add_manifest(path, again=True)
        assert (report.added, report.duplicates, report.purged) == (2, 4, 0)
        await backlog.run(ekb)
        assert box.count("ocr") == 6


async def test_what_was_purged_is_copied(tmp_path: Path, place: Location) -> None:
    """A copy in another store knows what was purged, and copying again counts nothing twice."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(tmp_path / "other") as other, session(box) as ekb:
        async with Backlog.open(place) as backlog:
            path = pictures(tmp_path, 3)
            await backlog.add_manifest(path)
            await backlog.run(ekb)
            await backlog.purge(now())
            assert (await backlog.purged()).rows == 6
            for _ in range(2):
                await backlog.copy_to(other)
                assert await other.purged() == await backlog.purged()
            await other.copy_to(backlog)
            assert await other.purged() == await backlog.purged()
        assert (await other.add_manifest(path)).purged == 6


async def test_nothing_stays_of_what_is_to_be_forgotten(tmp_path: Path, place: Location) -> None:
    """Without a summary and identities nothing stays, and identities of earlier purges go as well."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        path = pictures(tmp_path, 3)
        await backlog.add_manifest(path)
        await backlog.run(ekb)
        await backlog.purge(now(), keep_summary=False, keep_identities=False)
        assert await backlog.purged() == Purged()
        assert (await backlog.accounting()).calls == 0
        assert (await backlog.add_manifest(path)).added == 3
        await backlog.run(ekb)
        await backlog.purge(now())
        # The day on which they ended is not over.
        assert (await backlog.purge(now(), keep_identities=False)).forgotten == 0
        assert (await backlog.purge(now() + timedelta(days=1), keep_identities=False)).forgotten == 6
        assert (await backlog.add_manifest(path)).added == 3


@pytest.mark.usefixtures("_small_pages")
async def test_an_invoice_counts_with_the_last_of_its_calls(tmp_path: Path, place: Location) -> None:
    """Of several calls that were answered with one invoice, those that stay are compared anew, and it counts once."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OTHER, OLD), c=(OTHER,), d=(OLD,))
    first, *later = [f"verify,{name}.pdf,,corp:staff,,{name}" for name in "abcd"]
    async with (
        Sandbox(verify_rate=0, recognises=shown) as box,
        Backlog.open(place) as backlog,
        session(box) as ekb,
    ):
        await backlog.add_manifest(manifest(tmp_path, first, name="first.csv"))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
        await backlog.add_manifest(manifest(tmp_path, *later))
        await backlog.run(ekb)
        assert await marks(backlog) == {"a": "a", "b": "a", "c": "b", "d": "a"}
        assert task.ended_at is not None
        assert (await backlog.purge(task.ended_at + timedelta(microseconds=1))).calls == 1
        assert (await backlog.purged()).invoices == ()
        assert await marks(backlog) == {"b": "b", "c": "b", "d": "b"}
        assert (await backlog.purge(now())).calls == 3
        assert sum(each.invoices for each in (await backlog.purged()).invoices) == 2


async def test_two_purges_at_once_count_each_call_once(tmp_path: Path, place: Location) -> None:
    """Several purges delete each call once, also beside a run and beside rows that are being added."""
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        await backlog.add_manifest(pictures(tmp_path, 12))
        await backlog.run(ekb)
        names = [picture(tmp_path, f"more {n}.png") for n in range(5)]
        more = manifest(tmp_path, *(f"ocr,{name},,,,{name}" for name in names), name="n.csv")
        async with Backlog.open(place) as other, Backlog.open(place) as third:
            await third.add_manifest(more)
            moment = now() - timedelta(seconds=1)
            reports = await asyncio.gather(backlog.purge(moment), other.purge(moment), third.run(ekb))
        assert reports[0].calls + reports[1].calls == (await backlog.purged()).calls
        assert (await backlog.purge(now())).calls + reports[0].calls + reports[1].calls == 17
        assert (await backlog.accounting()).calls == box.count("ocr") == 17


async def test_a_moment_needs_a_time_zone(place: Location) -> None:
    """A moment without a time zone is refused."""
    async with Backlog.open(place) as backlog:
        with pytest.raises(ConfigError, match="time zone"):
            await backlog.purge(datetime(2026, 1, 1))
