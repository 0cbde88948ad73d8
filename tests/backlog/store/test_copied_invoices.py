"""Copying a backlog with files that share calls because they show the same invoice."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async.backlog import Backlog, CopyReport, Task
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, session
from tests.support.read_rows import OFD, PICTURE, add_rows, written_row

FIRST, SECOND = "25999900000000000017", "25999900000000000028"
DIRECTIONS = [("file", "file"), ("file", "postgres"), ("postgres", "file")]


@pytest.fixture(params=DIRECTIONS, ids=[" to ".join(each) for each in DIRECTIONS])
def locations(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path | str, Path | str]:
    """The locations of source and target."""
    source, target = request.param
    dsn: str = request.getfixturevalue("empty_database") if "postgres" in request.param else ""
    return (
        dsn if source == "postgres" else tmp_path / "source.sqlite",
        dsn if target == "postgres" else tmp_path / "target.sqlite",
    )


def described(tasks: list[Task]) -> list[tuple[object, ...]]:
    """Return what a copy must keep of rows, with references in place of numbers."""
    refs = {task.id: task.ref for task in tasks}
    return [
        (
            *(task.ref, task.state, task.source, task.own, task.printed, task.warning, task.staff_id),
            *(refs.get(task.shared_with or 0), task.shared_by, refs.get(task.same_as or 0)),
        )
        for task in tasks
    ]


async def test_a_copy_keeps_what_files_say(tmp_path: Path, locations: tuple[Path | str, Path | str]) -> None:
    """Shared calls, own columns, warnings and what is printed are copied, and nothing is copied twice."""
    async with (
        Sandbox(verify_rate=0) as box,
        Backlog.open(locations[0]) as source,
        Backlog.open(locations[1]) as target,
        session(box) as ekb,
    ):
        await add_rows(
            source,
            tmp_path,
            written_row(tmp_path, "a.ofd", FIRST, form=OFD, own={"部门": "甲"}),
            written_row(tmp_path, "a.pdf", FIRST, own={"部门": "乙"}, printed={"buyer": "x", "total": "1.00"}),
            written_row(tmp_path, "copy.pdf", FIRST, content=b"a.pdf"),
            written_row(tmp_path, "b1.pdf", SECOND, printed={"total": "1.00"}),
            written_row(tmp_path, "b2.pdf", SECOND, printed={"total": "2.00"}),
        )
        await source.check_buyers(ekb)
        assert sum(task.warning is not None for task in await all_tasks(source)) == 3
        await source.run(ekb)
        tasks = described(await all_tasks(source))
        report = await source.copy_to(target)
        assert (report.rows, report.calls, report.joined) == (5, 3, 0)
        assert described(await all_tasks(target)) == tasks
        assert await target.accounting() == await source.accounting()
        await target.export(tmp_path / "o.csv")
        assert (tmp_path / "o.csv").read_text(encoding="utf-8-sig").splitlines()[0].endswith(",部门")
        assert await source.copy_to(target) == CopyReport(manifests=0, rows=0, calls=0, joined=3)
        assert described(await all_tasks(target)) == tasks


@pytest.mark.parametrize("is_paid", ["source", "target", "neither"])
async def test_the_same_invoice_is_joined(
    tmp_path: Path, locations: tuple[Path | str, Path | str], is_paid: str
) -> None:
    """A call whose invoice the target has under another file is joined with the target's, and paid for once."""
    async with (
        Sandbox(verify_rate=0) as box,
        Backlog.open(locations[0]) as source,
        Backlog.open(locations[1]) as target,
        session(box) as ekb,
    ):
        await add_rows(source, tmp_path, written_row(tmp_path, "a.png", FIRST, form=PICTURE), source="one")
        await add_rows(target, tmp_path, written_row(tmp_path, "a.pdf", FIRST), source="two")
        if is_paid != "neither":
            await (source if is_paid == "source" else target).run(ekb)
        report = await source.copy_to(target)
        assert (report.rows, report.calls, report.joined) == (1, 0, 1)
        await target.run(ekb)
        assert box.count("verify") == 1
        tasks = await all_tasks(target)
        assert [task.state for task in tasks] == ["done", "done"]
        assert sorted(str(task.shared_by) for task in tasks) == ["None", "invoice"]
        assert (await target.accounting()).same_invoice == 1
