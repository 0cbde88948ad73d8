"""Removing rows: what is left because it was paid for, is under way or is needed, and calls that lose their rows."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async.backlog import Backlog, RemoveReport, Task
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, session
from tests.support.read_rows import OFD, PICTURE, add_rows, written_row
from tests.support.waiting import until

FIRST, SECOND = "25999900000000000017", "25999900000000000028"
URLS = [f"url,,corp:1:{n},,,{n}" for n in range(5)]


async def by_ref(backlog: Backlog) -> dict[str, Task]:
    return {task.ref: task for task in await all_tasks(backlog)}


async def test_rows_are_selected_in_every_way_given(tmp_path: Path, place: Location) -> None:
    """Rows are selected by number, manifest, state, kind and tenant; a dry run counts the same and removes nothing."""
    async with Backlog.open(place) as backlog:
        path = manifest(tmp_path, *URLS, "detail,,corp:1:1,,,d")
        await backlog.add_manifest(path)
        await backlog.add_manifest(manifest(tmp_path, "url,,corp:2:1,,,n", name="n.csv"))
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", ref="t", tenant="甲"))
        found = await by_ref(backlog)
        numbers = [found["0"].id, found["1"].id, found["n"].id, 99_999]
        for dry_run in (True, False):
            report = await backlog.remove(numbers, manifest=path, dry_run=dry_run)
            assert report == RemoveReport(rows=2, calls=2)
        assert set(await by_ref(backlog)) == {"2", "3", "4", "d", "n", "t"}
        assert (await backlog.remove(tenant="甲")).rows == 1
        assert (await backlog.remove(kind="detail")).rows == 1
        assert (await backlog.remove(manifest=str(path))).rows == 3
        assert set(await by_ref(backlog)) == {"n"}
        assert await backlog.remove(state="failed") == RemoveReport()
        assert (await backlog.remove(state="pending")).rows == 1
        assert await backlog.counts() == {"pending": 0, "running": 0, "done": 0, "failed": 0}
        # What was removed can be added again.
        assert (await backlog.add_manifest(path)).added == 6


async def test_nothing_is_removed_without_a_selection(tmp_path: Path) -> None:
    """A removal needs rows, or something to select them by, that exists."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *URLS))
        other = tmp_path / "other.csv"
        cases: list[dict[str, Any]] = [{}, {"state": "lost"}, {"kind": "fax"}, {"manifest": other}, {"rows": [0]}]
        for wrong in cases:
            with pytest.raises(ConfigError):
                await backlog.remove(**wrong)
        assert (await backlog.counts())["pending"] == 5


async def test_what_was_paid_for_stays(tmp_path: Path, place: Location) -> None:
    """The last row of a call that was sent is left, whether it was answered or not, unless it is wanted so."""
    async with Sandbox(verify_rate=0) as box, Backlog.open(place) as backlog, session(box, max_tries=1) as ekb:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "lost"))
        box.faults.append(Fault.lost_answer(calls="verify", times=1))
        await backlog.run(ekb)
        assert (await backlog.counts())["failed"] == 1
        rows = [
            written_row(tmp_path, "done"),
            written_row(tmp_path, "other"),
            written_row(tmp_path, "again", content=b"done"),
        ]
        await add_rows(backlog, tmp_path, *rows, source="two")
        await backlog.run(ekb)
        await add_rows(backlog, tmp_path, written_row(tmp_path, "new"), source="three")
        await backlog.retry()
        numbers = [task.id for task in await all_tasks(backlog)]
        assert len(numbers) == 5
        report = await backlog.remove(numbers)
        assert (report.rows, report.calls, report.paid) == (2, 1, 3)
        assert (await backlog.accounting()).calls == 3
        kept = await by_ref(backlog)
        assert len(kept) == 3
        assert all(task.shared_with is None for task in kept.values())
        report = await backlog.remove(state="done", paid=True)
        assert report == RemoveReport(rows=2, calls=2)
        assert (await backlog.accounting()).calls == 1


async def test_other_rows_keep_the_call(tmp_path: Path, place: Location) -> None:
    """A call loses the row that it is made from, and is made from the best file left, of these the latest."""
    files = {"a.pdf": (0, b"1"), "a.png": (PICTURE, b"2"), "later.png": (PICTURE, b"3"), "a.ofd": (OFD, b"4")}
    async with Sandbox(verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        rows = [written_row(tmp_path, name, FIRST, form=form, content=data) for name, (form, data) in files.items()]
        await add_rows(backlog, tmp_path, *rows)
        found = await by_ref(backlog)
        assert {task.shared_with for task in found.values()} == {None, found["a.pdf"].id}
        assert await backlog.remove([found["a.pdf"].id]) == RemoveReport(rows=1)
        found = await by_ref(backlog)
        assert {task.shared_with for task in found.values()} == {None, found["later.png"].id}
        # The vendor takes no OFD, so one of the pictures is needed.
        pictures = [found["a.png"].id, found["later.png"].id]
        assert await backlog.remove(pictures) == RemoveReport(rows=1, needed=1)
        assert set(await by_ref(backlog)) == {"later.png", "a.ofd"}
        summary = await backlog.run(ekb)
        assert (summary.counts["done"], box.count("verify")) == (2, 1)
        assert (await backlog.remove([found["later.png"].id])).rows == 1
        (task,) = await all_tasks(backlog)
        assert (task.ref, task.state, task.shared_with) == ("a.ofd", "done", None)


async def test_the_invoice_of_a_removed_call_is_new_again(tmp_path: Path, place: Location) -> None:
    """Once a call is removed, another file of its invoice gets a call of its own."""
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", FIRST))
        await backlog.remove(state="pending")
        await add_rows(backlog, tmp_path, written_row(tmp_path, "b.pdf", SECOND), source="two")
        report = await add_rows(backlog, tmp_path, written_row(tmp_path, "a.png", FIRST, form=PICTURE), source="three")
        assert (report.added, report.same_invoice) == (1, 0)
        assert (await by_ref(backlog))["a.png"].shared_with is None


async def test_answers_are_compared_again(tmp_path: Path, place: Location) -> None:
    """If the first row with an invoice is removed, the next one is the first; one alone names none."""
    shown = {
        hashlib.sha256(b"%PDF-1.4\n" + name.encode()).hexdigest(): (
            SampleInvoice(number="00000017", code="099002400111"),
        )
        for name in "abc"
    }
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await add_rows(backlog, tmp_path, *(written_row(tmp_path, name) for name in "abc"))
        await backlog.run(ekb)
        found = await by_ref(backlog)
        assert {task.same_as for task in found.values()} == {found["a"].id}
        await backlog.remove([found["a"].id], paid=True)
        found = await by_ref(backlog)
        assert {task.same_as for task in found.values()} == {found["b"].id}
        await backlog.remove([found["b"].id], paid=True)
        assert (await by_ref(backlog))["c"].same_as is None
        await add_rows(backlog, tmp_path, written_row(tmp_path, "d"), source="later")
        await backlog.run(ekb)
        assert (await by_ref(backlog))["d"].same_as is None


async def test_many_rows(tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one call on several pages are removed as on one page, and a dry run counts the same."""
    limits = msgspec.structs.replace(LIMITS, rows_per_removed_page=3)
    monkeypatch.setattr("ekb_async.backlog.store.changes.removal.LIMITS", limits)
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,corp:1:{n % 4},,,{n}" for n in range(20))))
        for dry_run in (True, False):
            assert await backlog.remove(kind="url", dry_run=dry_run) == RemoveReport(rows=20, calls=4)
        assert await all_tasks(backlog) == []


async def test_beside_a_run(tmp_path: Path, place: Location) -> None:
    """Rows are removed while a run makes calls: what it has claimed is left, and every call is made or removed."""
    async with Sandbox(verify_rate=0) as box, Backlog.open(place) as backlog, session(box, max_running=2) as ekb:
        rows = [written_row(tmp_path, f"{n}.pdf") for n in range(400)]
        await add_rows(backlog, tmp_path, *rows)
        slow = Fault.delay(0.02, calls="verify")
        box.faults.append(slow)
        run = asyncio.create_task(backlog.run(ekb))

        async def is_at_work() -> bool:
            return (await backlog.counts())["running"] > 0

        await until(is_at_work)
        async with Backlog.open(place) as other:
            report = await other.remove(kind="verify")
        box.faults.clear()
        summary = await run
        assert report.rows == report.calls > 0
        assert report.running > 0
        assert report.rows + report.running + report.paid == 400
        assert summary.counts == {"pending": 0, "running": 0, "done": 400 - report.rows, "failed": 0}
        assert box.count("verify") == 400 - report.rows
