"""A folder as people have it is added by one call, and verified with one billed call for each invoice."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.input.sources.left_out import FilesLeftOut
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, picture, session
from tests.support.invoice_folders import as_pdf, invoice_folder
from tests.support.waiting import until
from tests.support.zips import zipped


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("scale", [pytest.param(20, id="300 files")])
async def test_a_folder_costs_one_call_for_each_invoice(place: Location, tmp_path: Path, scale: int) -> None:
    """Copies, photos and other forms share the call, every file is accounted for, and the same again adds nothing."""
    folder = invoice_folder(tmp_path / "发票", scale)
    async with Sandbox(staff={"s1"}, verify_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        add = partial(backlog.add_folder, folder.path, staff_id="s1", unpack_to=tmp_path / "unpacked")
        report = await add()
        assert report.added == folder.invoices
        assert report.added + report.duplicates == folder.files
        left_out = {Path(each.name).name: each.reason for each in report.left_out}
        assert left_out.keys() == {*folder.foreign, "说明.txt"}
        await backlog.run(ekb)
        assert box.count("verify") + box.count("verify_by_fields") == folder.invoices
        tasks = [task async for task in backlog.results()]
        assert Counter(task.state for task in tasks) == {"done": folder.files}
        assert all(task.result for task in tasks)
        names = {Path(task.file).name for task in tasks} | left_out.keys()
        assert names >= {path.name for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".zip"}
        again = await add()
        assert (again.added, again.present) == (0, folder.files)
        await backlog.run(ekb)
        assert box.count("verify") + box.count("verify_by_fields") == folder.invoices
        accounting = await backlog.accounting()
        assert accounting.calls == folder.invoices
        assert accounting.same_content + accounting.same_invoice == folder.files - folder.invoices


async def test_wrong_sources_are_refused(place: Location, tmp_path: Path) -> None:
    """The error says what is wrong, and nothing is added."""
    (tmp_path / "a.txt").write_text("no archive")
    async with Backlog.open(place) as backlog:
        with pytest.raises(ConfigError, match="verify needs a staff_id"):
            await backlog.add_folder(tmp_path, unpack_to=tmp_path / "u")
        with pytest.raises(ConfigError, match="cannot be read"):
            await backlog.add_folder(tmp_path / "gone", kind="ocr", unpack_to=tmp_path / "u")
        with pytest.raises(ConfigError, match="archive"):
            await backlog.add_archive(tmp_path / "a.txt", kind="ocr", unpack_to=tmp_path / "u")
        with pytest.raises(ConfigError, match="kind"):
            await backlog.add_folder(tmp_path, kind="url", unpack_to=tmp_path / "u")


async def test_unread_files_of_no_kind_of_invoice_are_left_out(place: Location, tmp_path: Path) -> None:
    """What cannot be an invoice by its first bytes is never paid for, also if the files are not read."""
    folder = tmp_path / "in"
    folder.mkdir()
    picture(folder, "a.png")
    (folder / "b.jpg").write_text("no picture")
    (folder / "c.zip").write_bytes(zipped([("d.txt", b"notes"), ("e.pdf", as_pdf(1))]))
    async with Backlog.open(place) as backlog:
        report = await backlog.add_folder(folder, kind="ocr", read=False, unpack_to=tmp_path / "u")
        tasks = await all_tasks(backlog)
    assert [Path(task.file).name for task in tasks] == ["a.png", "e.pdf"]
    assert [tuple(each) for each in report.left_out] == [
        ("b.jpg", "no invoice file"),
        ("c.zip/d.txt", "no invoice file"),
    ]


async def test_rows_of_a_folder_and_of_an_archive_are_removed_by_its_path(place: Location, tmp_path: Path) -> None:
    """What was added is selected by the path that was given, in any spelling."""
    folder, archive = tmp_path / "in", tmp_path / "a.zip"
    folder.mkdir()
    picture(folder, "a.png")
    archive.write_bytes(zipped([("e.pdf", as_pdf(1))]))
    async with Backlog.open(place) as backlog:
        for source in (folder, archive):
            await backlog.add_source(source, kind="ocr", read=False, unpack_to=tmp_path / "u")
        assert (await backlog.remove(manifest=archive)).rows == 1
        assert [task.file for task in await all_tasks(backlog)] == ["a.png"]
        assert (await backlog.remove(manifest=tmp_path / "in" / ".." / "in")).rows == 1
        with pytest.raises(ConfigError, match="no rows were added"):
            await backlog.remove(manifest=tmp_path)


async def test_cancelled_in_an_archive_that_gives_no_row(place: Location, tmp_path: Path) -> None:
    """Unpacking ends between two entries, and nothing is added."""
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped((f"{number}.csv", b"kind") for number in range(2000)))
    async with Backlog.open(place) as backlog:
        adding = asyncio.create_task(backlog.add_archive(archive, kind="ocr", unpack_to=tmp_path / "u"))

        async def is_unpacking() -> bool:
            return await asyncio.to_thread((tmp_path / "u").exists)

        await until(is_unpacking)
        with patch.object(FilesLeftOut, "add", autospec=True, side_effect=FilesLeftOut.add) as left_out:
            adding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await adding
        assert left_out.call_count < 1000
        assert sum((await backlog.counts()).values()) == 0
