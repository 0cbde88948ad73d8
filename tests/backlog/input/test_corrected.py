"""A corrected manifest that is added again: which of its rows are present, and what happens to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ekb_async.backlog import AddReport, Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture, session
from tests.support.watched_log import WatchedLog


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("verify,a.png,,corp:old,,", "verify,a.png,,corp:new,,", id="staff"),
        pytest.param("verify,https://f.example/a,,corp:old,,", "verify,https://f.example/a,,corp:new,,", id="url"),
        pytest.param("verify,attachment:I:k,,corp:old,,", "verify,attachment:I:other,,corp:new,,", id="attachment"),
        pytest.param("verify,a.png,,corp:a,x.png,", "verify,a.png,,corp:a,y.png,", id="file-name"),
        pytest.param("verify,a.png,,corp:old,,7", "verify,b.png,,corp:new,y.png,7", id="with-a-reference"),
        pytest.param("ocr,a.png,,,,", "ocr,./a.png,,,,", id="dot"),
        pytest.param("ocr,./a.png,,,,", "ocr,sub/../a.png,,,,", id="dots"),
        pytest.param("ocr,a.png,,,,", "ocr,{folder}/a.png,,,,", id="absolute"),
        pytest.param("verify,{folder}/a.png,,corp:old,,", "verify,.//a.png,,corp:new,,", id="spelling-and-staff"),
        pytest.param("ocr,a.png,,,,7", "ocr,a.png,,,, 7 ", id="blanks"),
        pytest.param("ocr,a.png,,,,\u30007", "ocr,a.png,,,,7\t", id="wide-blanks"),
        pytest.param("detail,,c:1:2,corp:old,,", "detail,,c:1:2,corp:new,,", id="look-up"),
    ],
)
async def test_a_corrected_row_is_no_other_row(tmp_path: Path, place: Location, before: str, after: str) -> None:
    """A corrected row is reported as present, whether the manifest has its old name or a new one."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"same")
    before, after = (row.format(folder=tmp_path) for row in (before, after))
    async with Backlog.open(place) as backlog:
        assert await backlog.add_manifest(manifest(tmp_path, before)) == AddReport(added=1, duplicates=0)
        for name in ("m.csv", "corrected.csv", "m.csv"):
            report = await backlog.add_manifest(manifest(tmp_path, after, name=name))
            assert report == AddReport(added=0, duplicates=1, present=1)
        assert len(await all_tasks(backlog)) == 1


async def test_rows_are_paired_the_closest_first(tmp_path: Path, place: Location) -> None:
    """Of several rows of one file, equal ones are matched first, then the others in order; the rest are new."""
    file = picture(tmp_path, "a.png")
    old = [f"verify,{file},,corp:{name},," for name in ("a", "b", "c")]
    new = [f"verify,{file},,corp:{name},," for name in ("x", "c", "y", "a", "z")]
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *old))
        report = await backlog.add_manifest(manifest(tmp_path, *new, name="new.csv"))
        assert report == AddReport(added=0, duplicates=5, present=3)
        assert [task.line for task in await all_tasks(backlog)] == [5, 2, 3, 4, 6]
        report = await backlog.add_manifest(manifest(tmp_path, *new))
        assert report == AddReport(added=0, duplicates=5, present=5)


async def test_the_same_content_in_another_file_is_another_row(tmp_path: Path, place: Location) -> None:
    """Equal content under another name or folder gets its own row, which shares the call and its result."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/a.png"):
        (tmp_path / name).write_bytes(b"same")
    async with Backlog.open(place) as backlog:
        for number, name in enumerate(("a.png", "b.png", "sub/a.png")):
            report = await backlog.add_manifest(manifest(tmp_path, f"ocr,{name},,,,", name=f"{number}.csv"))
            assert (report.added, report.present) == (int(not number), 0)
        assert len(await all_tasks(backlog)) == 3


async def test_no_row_makes_a_failed_call_again(tmp_path: Path, place: Location) -> None:
    """A corrected or additional row does not repeat a failed call; `retry` makes it with the latest values."""
    async with (
        Sandbox(verify_rate=0, staff={"corp:new"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        file = picture(tmp_path, "a.png")
        await backlog.add_manifest(manifest(tmp_path, f"verify,{file},,corp:old,,"))
        await backlog.run(ekb)
        sent = box.count("verify")
        corrected = manifest(tmp_path, f"verify,{file},,corp:new,,", f"verify,{file},,corp:new,,8")
        assert await backlog.add_manifest(corrected) == AddReport(added=0, duplicates=2, present=1)
        assert (await backlog.run(ekb)).counts["failed"] == 2
        assert box.count("verify") == sent
        assert await backlog.retry() == 2
        assert (await backlog.run(ekb)).counts["done"] == 2


async def test_what_is_corrected_while_a_run_is_at_work(tmp_path: Path, place: Location) -> None:
    """A claimed row is corrected too; a call that is returned unmade is then made with the corrected values."""
    rows = [f"verify,{picture(tmp_path, f'{number}.png')},,corp:{{}},," for number in range(8)]
    async with (
        Sandbox(verify_rate=0, latency=0.05, staff={"corp:new"}) as box,
        session(box, max_running=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(row.format("old") for row in rows)))
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("verify", 1).wait()
        report = await backlog.add_manifest(manifest(tmp_path, *(row.format("new") for row in rows), name="n.csv"))
        assert report == AddReport(added=0, duplicates=8, present=8)
        counts = (await run).counts
        assert counts["pending"] > 0
        await backlog.retry()
        assert (await backlog.run(ekb)).counts["done"] == 8


@pytest.mark.parametrize("rows", [["url,,c:1:2,,,7"], []])
async def test_a_list_that_brought_nothing_is_not_overwritten(tmp_path: Path, place: Location, rows: list[str]) -> None:
    """An export overwrites no manifest that was added, even if all its rows were already present."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "url,,c:1:2,,,7"))
        again = manifest(tmp_path, *rows, name="again.csv")
        content = again.read_bytes()
        for _ in range(2):
            await backlog.add_manifest(again)
        with pytest.raises(ConfigError, match="manifests"):
            await backlog.export(again)
        assert again.read_bytes() == content
        assert len(await all_tasks(backlog)) == 1


@pytest.mark.slow
async def test_many_corrected_rows(tmp_path: Path, place: Location) -> None:
    """The time that corrected rows take grows with their number, not with its square."""

    def rows(staff: str) -> list[str]:
        return [f"verify,https://f.example/{number},,{staff},,E{number}" for number in range(20_000)]

    async with Backlog.open(place) as backlog, asyncio.timeout(20):
        await backlog.add_manifest(manifest(tmp_path, *rows("corp:old")))
        report = await backlog.add_manifest(manifest(tmp_path, *rows("corp:new")))
        assert report == AddReport(added=0, duplicates=20_000, present=20_000)
