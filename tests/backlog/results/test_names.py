"""Reasons and advice about rows that failed, as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, Row, Task
from ekb_async.backlog.results.names import Names
from ekb_async.sandbox import Sandbox
from tests.conftest import session_on

FILE = "https://files.example/a.png"


async def failed_row(backlog: Backlog, ekb: EkbSession, staff_id: str) -> Task:
    await backlog.add([Row(kind="verify", file=FILE, staff_id=staff_id)])
    await backlog.run(ekb)
    (task,) = [task async for task in backlog.results("failed")]
    return task


@pytest.mark.parametrize(
    ("language", "reason"),
    [
        ("en", "No such staff member: 人员不存在. The staff_id was corp:gone."),
        ("zh", "人员不存在。所用的 staff_id 是 corp:gone。"),
    ],
)
async def test_a_reason_has_no_status_and_no_interface(tmp_path: Path, language: str, reason: str) -> None:
    """A person reads the vendor's text once, and what the package adds to it."""
    async with (
        Sandbox(verify_rate=0, staff={"corp:here"}) as box,
        session_on(box) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        task = await failed_row(backlog, ekb, "corp:gone")
    assert Names(language).reason(task) == reason


async def test_the_advice_about_a_wrong_person_leads_to_the_answer(tmp_path: Path) -> None:
    """A failed row keeps its person until it is added again with the right one; then a retry makes the call."""
    async with (
        Sandbox(verify_rate=0, staff={"corp:here"}) as box,
        session_on(box) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        task = await failed_row(backlog, ekb, "corp:gone")
        assert "Add the row again" in Names("en").advice(task.error_type or "", task.hint)
        report = await backlog.add([Row(kind="verify", file=FILE, staff_id="corp:here")])
        assert (report.added, report.present) == (0, 1)
        assert await backlog.retry() == 1
        assert (await backlog.run(ekb)).counts["done"] == 1
