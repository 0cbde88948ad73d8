"""Rows made from the vendor's ledger and from documents: all or none, and each once however often they are added."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ekb_async import EkbSession, InvoiceKind
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.vendor import ledger_rows
from ekb_async.errors import ConfigError, EkbError
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Fault, LogEntry, SampleInvoice, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, session
from tests.support.calendar import Calendar
from tests.support.ledgers import add_invoices

MARCH = datetime(2026, 3, 1, tzinfo=CHINA).timestamp()
DAY = 86_400.0


async def test_the_whole_ledger_is_added_once(place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Each invoice becomes a row with its ID as reference; adding again adds only what is new, and runs make them."""
    ids = add_invoices(quick_box.vendor, range(250))
    async with Backlog.open(place) as backlog:
        assert await backlog.add_ledger(ekb) == AddReport(added=250, duplicates=0)
        tasks = await all_tasks(backlog)
        assert {(task.kind, task.invoice_id, task.ref) for task in tasks} == {("detail", each, each) for each in ids}
        assert await backlog.add_ledger(ekb) == AddReport(added=0, duplicates=250, present=250)
        new = add_invoices(quick_box.vendor, range(250, 253))
        assert await backlog.add_ledger(ekb) == AddReport(added=3, duplicates=250, present=250)
        assert {task.ref for task in await all_tasks(backlog)} == {*ids, *new}
        assert (await backlog.run(ekb)).counts["done"] == 253
        assert (await backlog.add_ledger(ekb)).added == 0
        assert (await backlog.counts())["done"] == 253


async def test_kinds_of_calls_and_of_invoices(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Several kinds of calls may be added for each invoice, and only some kinds of invoices."""
    trains = add_invoices(quick_box.vendor, range(3), parts=["train"])
    add_invoices(quick_box.vendor, range(3, 6), parts=["taxi"])
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        report = await backlog.add_ledger(ekb, kind=("url", "download"), kinds=[InvoiceKind.TRAIN_TICKET])
        assert report.added == 6
        found = {(task.kind, task.invoice_id) for task in await all_tasks(backlog)}
        assert found == {(kind, each) for kind in ("url", "download") for each in trains}


async def test_only_what_the_tax_authority_knows_is_verified(
    tmp_path: Path, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Checks are billed, so they are added for VAT invoices only, unless other kinds are named."""
    verifiable = add_invoices(quick_box.vendor, range(2), parts=["invoice"])
    others = add_invoices(quick_box.vendor, range(2, 4), parts=["taxi"])
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert (await backlog.add_ledger(ekb, kind="verify_by_id")).added == 2
        assert (await backlog.add_ledger(ekb, kind=["verify_by_id", "url"])).added == 4
        tasks = await all_tasks(backlog)
        assert {task.invoice_id for task in tasks if task.kind == "verify_by_id"} == set(verifiable)
        assert (await backlog.add_ledger(ekb, kind="verify_by_id", kinds=["taxi"])).added == len(others)


async def test_a_check_has_the_date_of_the_ledger(tmp_path: Path) -> None:
    """An invoice of the ledger that is dated today waits for the next day if it does not exist yet."""
    async with Sandbox(verify_rate=0, not_yet_known=True) as box, session(box) as ekb:
        calendar = Calendar(box, "2030-03-10 15:00")
        for number, day in (("1", 9), ("2", 10)):
            box.vendor.add_invoice(f"c:1:{number}", SampleInvoice(number=number, date=date(2030, 3, day)))
        async with Backlog.open(tmp_path / "b.sqlite", clock=calendar) as backlog:
            await backlog.add_ledger(ekb, kind="verify_by_id")
            summary = await backlog.run(ekb)
            assert (summary.counts["done"], summary.waiting.rows) == (1, 1)


async def test_documents_are_added_by_their_code(place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Each invoice of a document is a row with the document's code, deleted ones have none, and repeats add nothing."""
    vendor = quick_box.vendor
    vendor.add_document(id="f1", code="B1", invoices=["c:1:1", "c:1:2", "c:1:1"], at=MARCH)
    vendor.add_document(id="f2", code="B2", invoices=["c:1:2"], at=MARCH + DAY)
    vendor.add_document(id="f3", code="B3", invoices=["c:1:3"], at=MARCH + DAY)
    vendor.add_document(id="f4", code="B4", type="loan", invoices=["c:1:4"], at=MARCH)
    vendor.delete_document("f3", at=MARCH + 2 * DAY)
    async with Backlog.open(place) as backlog:
        report = await backlog.add_documents(ekb)
        assert (report.added, report.duplicates) == (2, 1)
        tasks = await all_tasks(backlog)
        assert [(task.ref, task.invoice_id) for task in tasks] == [("B1", "c:1:1"), ("B1", "c:1:2"), ("B2", "c:1:2")]
        assert await backlog.add_documents(ekb) == AddReport(added=0, duplicates=3, present=3)
        vendor.change_document("f2", invoices=["c:1:2", "c:1:5"], at=MARCH + 3 * DAY)
        assert await backlog.add_documents(ekb) == AddReport(added=1, duplicates=3, present=3)
        assert (await backlog.add_documents(ekb, type="loan", kind="url")).added == 1
        summary = await backlog.run(ekb)
        assert summary.counts["done"] == 5
    assert quick_box.count("invoice_url") == 1


async def test_only_documents_that_have_changed(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """With a date, only documents changed from its midnight at UTC+8 on are added; a time may have another zone."""
    for day in range(3):
        quick_box.vendor.add_document(id=f"f{day}", code=f"B{day}", invoices=[f"c:1:{day}"], at=MARCH + day * DAY)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        utc = datetime.fromtimestamp(MARCH + 2 * DAY, CHINA) - timedelta(hours=1)
        assert (await backlog.add_documents(ekb, since=utc)).added == 1
        assert (await backlog.add_documents(ekb, since=date(2026, 3, 2))).added == 1
        assert [task.ref for task in await all_tasks(backlog)] == ["B2", "B1"]


async def test_what_cannot_be_read_completely_adds_nothing(
    place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """If reading the ledger fails in the middle, nothing of it is added; adding it again later adds all."""
    add_invoices(quick_box.vendor, range(1200), parts=["train"])
    log = quick_box.log = FailingLog(quick_box, pages=11)
    async with Backlog.open(place) as backlog:
        with pytest.raises(EkbError, match="no more"):
            await backlog.add_ledger(ekb)
        assert len(log) > 11
        assert await all_tasks(backlog) == []
        quick_box.faults = []
        quick_box.log = []
        assert (await backlog.add_ledger(ekb)).added == 1200


class FailingLog(list[LogEntry]):
    """A log that makes every request for the ledger fail after so many pages."""

    def __init__(self, box: Sandbox, *, pages: int) -> None:
        super().__init__()
        self._box = box
        self._pages = pages

    def append(self, entry: LogEntry) -> None:
        super().append(entry)
        if sum(each.call == "ledger" for each in self) >= self._pages:
            self._box.faults = [Fault.answer(400, "no more", calls="ledger")]


async def test_ids_that_no_manifest_could_hold(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """An ID with control characters is left out, and blanks around an ID do not count."""
    quick_box.vendor.add_document(id="f", code="B\0", invoices=["c:1:\x01", " c:1:2 ", "", "c:1:3"], at=MARCH)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_documents(ekb)
        assert [(task.ref, task.invoice_id) for task in await all_tasks(backlog)] == [("B", "c:1:2"), ("B", "c:1:3")]


@pytest.mark.parametrize("kind", ["verify", "ocr", "verify_by_fields", "x", ()])
async def test_kinds_that_need_more_than_an_id(tmp_path: Path, ekb: EkbSession, kind: Any) -> None:
    """Only kinds of calls that need no more than an invoice ID can be added from the vendor."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="kind must be one of url, detail, download, verify_by_id"):
            await backlog.add_ledger(ekb, kind=kind)
        with pytest.raises(ConfigError, match="kind must be one of url, detail, download, verify_by_id"):
            await backlog.add_documents(ekb, kind=kind)
        with pytest.raises(ConfigError, match="since must be a date"):
            await backlog.add_documents(ekb, since="yesterday")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="type must be one of expense"):
            await backlog.add_documents(ekb, type="x")


@pytest.mark.parametrize(("day", "text"), [(date(1, 1, 1), "00010101"), (date(2024, 5, 6), "20240506")])
async def test_the_date_of_a_row_has_eight_digits(day: date, text: str) -> None:
    """A date is written as yyyyMMdd, however early it is."""

    async def ledger() -> AsyncIterator[Any]:
        yield SimpleNamespace(id="c:1:1", object_id="invoice", form=SimpleNamespace(date=day))

    pages = [rows async for rows in ledger_rows(ledger(), ["verify_by_id"], any_part=False, count=10)]
    assert [row.date for rows in pages for row in rows] == [text]


async def test_no_kinds_of_invoices(tmp_path: Path, ekb: EkbSession) -> None:
    """An empty list of kinds is refused, as it would add nothing."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="at least one kind of invoice"):
            await backlog.add_ledger(ekb, kinds=[])
        with pytest.raises(ConfigError, match="since must not be in the future"):
            await backlog.add_documents(ekb, since=date(2999, 1, 1))
