"""A folder as people have it is added by one call, and verified with one billed call for each invoice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import session
from tests.support.invoice_folders import invoice_folder


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("scale", [pytest.param(20, id="300 files")])
async def test_a_folder_costs_one_call_for_each_invoice(place: Location, tmp_path: Path, scale: int) -> None:
    """Copies, photos and other forms share the call, every file is accounted for, and the same again adds nothing."""
    folder = invoice_folder(tmp_path / "发票", scale)
    async with Sandbox(staff={"s1"}, verify_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        options = {"staff_id": "s1", "unpack_to": tmp_path / "unpacked"}
        report = await backlog.add_folder(folder.path, **options)  # type: ignore[arg-type]
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
        again = await backlog.add_folder(folder.path, **options)  # type: ignore[arg-type]
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
