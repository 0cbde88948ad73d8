"""What a run will do and what is billed of it, before anything is sent."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from ekb_async import SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, manifest, picture, session
from tests.support.calendar import Calendar
from tests.support.read_rows import OFD, add_rows, written_row

FIRST, SECOND, THIRD = "25999900000000000017", "25999900000000000028", "25999900000000000039"
OWN_NAME = "北京（测试）科技有限公司"


async def test_what_is_left_to_do(tmp_path: Path, place: Location) -> None:
    """Billed and free calls are counted by kind, shared ones by why, and the run makes exactly the billed ones."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        empty = await backlog.estimate()
        assert (empty.rows, empty.calls, empty.free, empty.seconds) == (0, {}, {}, 0.0)
        await add_rows(
            backlog,
            tmp_path,
            written_row(tmp_path, "a.pdf", FIRST),
            written_row(tmp_path, "copy.pdf", FIRST, content=b"a.pdf"),
            written_row(tmp_path, "a.ofd", FIRST, form=OFD),
            written_row(tmp_path, "b.pdf", SECOND),
            written_row(tmp_path, "c.pdf", SECOND, printed={"total": "1.00"}, kind="ocr"),
        )
        picture(tmp_path, "d.png")
        await backlog.add_manifest(
            manifest(
                tmp_path, "verify,d.png,,corp:staff,,d", "url,,corp:1:2,,,", "url,,corp:1:2,,,x", "detail,,corp:1:2,,,"
            )
        )
        await backlog.add_manifest(checks(tmp_path, f"verify_by_fields,,,{THIRD},2024-01-01,1.00,,", name="n.csv"))
        found = await backlog.estimate(SessionConfig(ocr_rate=1, verify_rate=2, rate_guard=0))
        assert found.rows == 10
        assert found.calls == {"ocr": 1, "verify": 3, "verify_by_fields": 1}
        assert found.billed == 5
        assert found.free == {"detail": 1, "url": 1}
        assert (found.same_content, found.same_invoice) == (1, 1)
        assert found.in_ledger == 4  # all but the picture
        assert found.seconds == 1.5
        assert box.log == []
        await backlog.run(ekb)
        assert box.count("verify") + box.count("ocr") + box.count("verify_by_fields") == found.billed
        assert (await backlog.estimate()).billed == 0


async def test_rows_that_wait_are_not_made(tmp_path: Path, place: Location) -> None:
    """A row that waits for another day is counted apart until it is due."""
    async with Sandbox(verify_rate=0, not_yet_known=True) as box, session(box) as ekb:
        calendar = Calendar(box, "2030-03-10 15:00")
        async with Backlog.open(place, clock=calendar) as backlog:
            await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,031,1,20300310,,,"))
            assert (await backlog.estimate()).calls == {"verify_by_fields": 1}
            await backlog.run(ekb)
            waits = await backlog.estimate()
            assert (waits.rows, waits.waiting, waits.calls, waits.seconds) == (1, 1, {}, 0.0)
            calendar.set("2030-03-11 00:25")
            due = await backlog.estimate()
            assert (due.waiting, due.calls, due.repeated) == (0, {"verify_by_fields": 1}, 0)


async def test_calls_without_an_answer_are_sent_again(tmp_path: Path, place: Location) -> None:
    """A pending call that may have been billed without an answer is counted as one that is repeated."""
    async with Sandbox(verify_rate=0) as box, Backlog.open(place) as backlog, session(box, max_tries=1) as ekb:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", FIRST), written_row(tmp_path, "b.pdf", SECOND))
        box.faults.append(Fault.lost_answer(calls="verify", times=1))
        summary = await backlog.run(ekb)
        assert summary.counts["failed"] == 1
        assert (await backlog.estimate()).repeated == 0
        await backlog.retry()
        found = await backlog.estimate()
        assert (found.billed, found.repeated) == (1, 1)


async def test_the_slowest_tenant_counts(tmp_path: Path, place: Location) -> None:
    """Kinds and tenants have a rate each, and the time is that of the longest queue."""
    async with Backlog.open(place) as backlog:
        rows = [written_row(tmp_path, f"{n}.pdf", tenant="甲" if n < 6 else "乙", kind="ocr") for n in range(10)]
        await add_rows(backlog, tmp_path, *rows, written_row(tmp_path, "v.pdf"))
        found = await backlog.estimate(SessionConfig(ocr_rate=3, verify_rate=1, rate_guard=0))
        assert found.seconds == pytest.approx(2.0)


def buyer(name: str = "", tax_number: str = "", date: str = "") -> dict[str, str]:
    return {"buyer": name, "buyer_tax_id": tax_number, "date": date}


async def test_other_buyers_are_warned_of(tmp_path: Path, place: Location) -> None:
    """A row is warned of if its file states another buyer; widths and blanks do not count, a tax number is enough."""
    says = {
        "own": buyer(OWN_NAME),
        "half width": buyer("北京(测试) 科技有限公司"),
        "tax number": buyer("someone", "9111000000000000xy"),
        "other": buyer("上海某某有限公司", "91310000000000000A"),
        "other number": buyer("", "91310000000000000A"),
        "former": buyer("北京旧名有限公司", date="2024-05-31"),
        "late": buyer("北京旧名有限公司", date="2024-06-01"),
        "undated": buyer("北京旧名有限公司"),
        "two": buyer(f"{OWN_NAME}; 上海某某有限公司", date="2024-01-01+2024-01-02"),
        "two former": buyer(f"北京旧名有限公司; {OWN_NAME}", date="2024-01-01+2024-05-01"),
        "silent": buyer(),
    }
    until = datetime(2024, 6, 1, tzinfo=CHINA).timestamp()
    async with Sandbox() as box, Backlog.open(place) as backlog, session(box) as ekb:
        box.vendor.payers.clear()
        rows = [written_row(tmp_path, f"{name}.pdf", ref=name, printed=printed) for name, printed in says.items()]
        await add_rows(backlog, tmp_path, *rows, written_row(tmp_path, "b.pdf", tenant="乙", printed=says["other"]))
        assert await backlog.check_buyers(ekb) == 0, "without any name nothing can be compared"
        box.vendor.add_payer(OWN_NAME, "9111000000000000XY", former_name="北京旧名有限公司", former_name_until=until)
        assert await backlog.check_buyers(ekb) == 4
        warned = {task.ref for task in await all_tasks(backlog) if task.warning}
        assert warned == {"other", "other number", "late", "two"}
        assert (await backlog.estimate()).warnings == 4
        box.vendor.add_payer("上海某某有限公司", "")
        assert await backlog.check_buyers(ekb) == 2
        assert box.count("payers") == 3
        assert await backlog.check_buyers(ekb, "乙") == 0


async def test_another_warning_stays(tmp_path: Path, place: Location) -> None:
    """The warning of a file that contradicts another one stays beside that of its buyer, and without it."""
    async with Sandbox() as box, Backlog.open(place) as backlog, session(box) as ekb:
        box.vendor.payers.clear()
        box.vendor.add_payer(OWN_NAME, "")
        both = [written_row(tmp_path, f"{n}.pdf", FIRST, printed={"total": f"{n}.00", "buyer": "乙"}) for n in (1, 2)]
        report = await add_rows(backlog, tmp_path, *both)
        assert report.conflicts == 2
        before = [task.warning for task in await all_tasks(backlog)]
        assert await backlog.check_buyers(ekb) == 2
        for task, warning in zip(await all_tasks(backlog), before, strict=True):
            assert warning
            assert task.warning == f"{warning}; the buyer is none of the enterprise's own names"
        box.vendor.add_payer("乙", "")
        assert await backlog.check_buyers(ekb) == 0
        assert [task.warning for task in await all_tasks(backlog)] == before
        assert msgspec.json.encode(await backlog.estimate())
