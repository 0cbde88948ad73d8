"""Rows may name the person who verifies by e-mail address, phone or number; the ID is looked up before any call."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.errors import PermissionDeniedError
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import HEADER, all_tasks, manifest, session

EMAIL = "zhang.san@corp.example"
NAMES = (f"email:{EMAIL}", "phone:13800001234", "code:000123", "corp:zhang")


def add_zhang(box: Sandbox) -> None:
    box.vendor.add_staff(id="corp:zhang", name="张三", code="000123", email=EMAIL, cellphone="13800001234")


def rows(*people: str) -> list[str]:
    return [f"verify,https://f.example/{number}.png,,{person},,{number}" for number, person in enumerate(people)]


@pytest.fixture
async def staffed_box(quick_box: Sandbox) -> Sandbox:
    """A vendor that accepts one person only."""
    quick_box.vendor.rules.staff = set()
    add_zhang(quick_box)
    return quick_box


async def test_each_name_is_looked_up_once(
    tmp_path: Path, place: Location, staffed_box: Sandbox, ekb: EkbSession
) -> None:
    """All rows are verified with the person's ID, after one request for each way of naming people."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(*NAMES * 10)))
        assert (await backlog.run(ekb)).counts["done"] == 40
        assert [task.staff_id for task in await all_tasks(backlog)][:4] == list(NAMES)
    assert staffed_box.count("staff") == 3
    assert staffed_box.count("verify") == 40


async def test_an_unknown_person_fails_its_rows_only(
    tmp_path: Path, place: Location, staffed_box: Sandbox, ekb: EkbSession
) -> None:
    """Rows of a person who is not found fail without a call; the error names the person as far as that may be shown."""
    unknown = ("email:li.si@corp.example", "phone:13900005678", "code:77", "email:li.si@corp.example")
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(*unknown, NAMES[0])))
        summary = await backlog.run(ekb)
        failed = await all_tasks(backlog, "failed")
        causes = await backlog.causes(10)
    assert (summary.counts["done"], summary.failures, summary.refused_staff) == (1, {"StaffNotFoundError": 4}, {})
    assert {task.attempts for task in failed} == {0}
    hints = [str(task.hint) for task in failed]
    assert "l***@corp.example" in hints[0]
    assert "***5678" in hints[1]
    assert " 77:" in hints[2]
    texts = "".join(str(task.error) for task in failed)
    assert "li.si" not in texts
    assert "1390" not in texts
    assert {cause.rows for cause in causes} == {1, 2}
    assert staffed_box.count("verify") == 1


async def test_people_of_tenants_are_looked_up_separately(tmp_path: Path, place: Location) -> None:
    """The same address names another person at each tenant."""
    async with Sandbox(verify_rate=0, staff=set()) as one, Sandbox(verify_rate=0, staff=set()) as other:
        add_zhang(one)
        other.vendor.add_staff(id="other:zhang", name="张三", email=EMAIL)
        boxes = {"one": one, "other": other}
        header = HEADER.replace("ref", "ref,tenant")
        wanted = [f"{row},{tenant}" for tenant in boxes for row in rows(NAMES[0], NAMES[0])]
        async with Backlog.open(place) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *wanted, header=header))
            summary = await backlog.run(lambda tenant: session(boxes[tenant]))
        assert summary.counts["done"] == 4
        assert [box.count("staff") for box in boxes.values()] == [1, 1]


async def test_a_refused_person_is_counted_by_id(tmp_path: Path, place: Location) -> None:
    """All names of one person whom the vendor refuses cost a few calls together."""
    faults = [Fault.answer(400, "人员不存在", calls="verify")]
    async with Sandbox(verify_rate=0, faults=faults) as box, session(box) as ekb, Backlog.open(place) as backlog:
        add_zhang(box)
        await backlog.add_manifest(manifest(tmp_path, *rows(*NAMES * 10)))
        summary = await backlog.run(ekb)
        assert summary.counts["failed"] == box.count("verify") <= 5
        assert summary.refused_staff == {"corp:zhang": 40 - box.count("verify")}
        assert all("corp:zhang" in str(task.error) for task in await all_tasks(backlog, "failed"))


async def test_a_look_up_that_fails_is_made_again(tmp_path: Path, place: Location) -> None:
    """While the vendor's servers fail, rows stay pending, and they are done afterwards."""
    faults = [Fault.gateway_page(503, calls="staff", times=3)]
    async with (
        Sandbox(verify_rate=0, staff=set(), faults=faults) as box,
        session(box, max_tries=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        add_zhang(box)
        await backlog.add_manifest(manifest(tmp_path, *rows(*NAMES[:1] * 10)))
        summary = await backlog.run(ekb)
    assert (summary.counts["done"], summary.failures) == (10, {})
    assert box.count("verify") == 10


async def test_a_look_up_that_is_not_permitted_ends_the_run(tmp_path: Path, place: Location) -> None:
    """The run ends with the vendor's error, and all rows stay pending."""
    faults = [Fault.answer(412, "未开通此功能", calls="staff")]
    async with (
        Sandbox(verify_rate=0, staff=set(), faults=faults) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(*NAMES[:1] * 3)))
        with pytest.raises(PermissionDeniedError):
            await backlog.run(ekb)
        assert (await backlog.counts())["pending"] == 3
