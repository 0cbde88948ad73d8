"""Files are read before they are added, so that files of one invoice share a call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, session
from tests.support.invoice_folders import as_ofd, as_pdf, as_photo, as_xml, number_of
from tests.support.read_rows import groups


def write(directory: Path, **files: bytes) -> None:
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_bytes(content)


@pytest.mark.process
async def test_the_forms_of_an_invoice_are_one_call(place: Location, tmp_path: Path) -> None:
    """PDF, photo, OFD and XML of an invoice in a manifest are sent once, as PDF; each row gets the result."""
    write(tmp_path, a_xml=as_xml(1), a_ofd=as_ofd(1), a_jpg=as_photo(1), a_pdf=as_pdf(1), b_pdf=as_pdf(2))
    path = manifest(tmp_path, *(f"verify,{name},,s1,," for name in ("a.xml", "a.ofd", "a.jpg", "a.pdf", "b.pdf")))
    async with Sandbox(staff={"s1"}) as box, session(box) as ekb, Backlog.open(place) as backlog:
        report = await backlog.add_manifest(path)
        assert (report.added, report.same_invoice) == (2, 3)
        await backlog.run(ekb)
        tasks = [task async for task in backlog.results()]
        assert [task.state for task in tasks] == ["done"] * 5
        assert len({task.raw for task in tasks[:4]}) == 1
        assert await groups(backlog) == {"a.pdf": ["a.xml", "a.ofd", "a.jpg", "a.pdf"], "b.pdf": ["b.pdf"]}
        assert tasks[0].printed is not None
        assert tasks[0].printed["invoices"] == [number_of(1)]
        again = await backlog.add_manifest(path)
        assert (again.added, again.present) == (0, 5)


@pytest.mark.process
async def test_an_xml_file_alone_is_checked_by_its_fields(place: Location, tmp_path: Path) -> None:
    """OCR takes no XML and no OFD, but what they state is all that a check needs; both of one invoice are one check."""
    write(tmp_path, a_xml=as_xml(1), a_ofd=as_ofd(1), b_ofd=as_ofd(2))
    path = manifest(tmp_path, "verify,a.xml,,s1,,", "verify,a.ofd,,s1,,", "ocr,b.ofd,,,,")
    async with Backlog.open(place) as backlog:
        report = await backlog.add_manifest(path)
        assert (report.added, report.duplicates) == (2, 1)
        found = [(task.kind, task.fields) async for task in backlog.results()]
        fields = {"code": "", "number": number_of(1), "date": "20250309", "amount": "1000.00", "check_code": ""}
        assert found == [
            ("verify_by_fields", fields),
            ("verify_by_fields", fields),
            ("verify_by_fields", fields | {"number": number_of(2)}),
        ]


@pytest.mark.process
async def test_nothing_is_read_without_read(place: Location, tmp_path: Path) -> None:
    """Files are then compared by their content only."""
    write(tmp_path, a_xml=as_xml(1), a_ofd=as_ofd(1))
    path = manifest(tmp_path, "verify,a.xml,,s1,,", "verify,a.ofd,,s1,,")
    async with Backlog.open(place) as backlog:
        report = await backlog.add_manifest(path, read=False)
        assert (report.added, report.duplicates) == (2, 0)
        # Read later, the files keep their calls, of which one becomes a check.
        report = await backlog.add_manifest(path)
        assert (report.added, report.present) == (0, 2)
        assert [task.kind async for task in backlog.results()] == ["verify_by_fields", "verify"]
        assert (await backlog.add_manifest(path)).present == 2


async def test_an_unreadable_ofd_file_fails_before_it_is_paid(place: Location, tmp_path: Path) -> None:
    """OCR would refuse it, and the refusal may be billed."""
    write(tmp_path, a_ofd=as_ofd(1).replace(b"2025\xe5\xb9\xb4", b"2025 year "))
    (tmp_path / "a.ofd").write_bytes(as_xml(1).replace(b"<RequestTime>2025-03-09</RequestTime>", b""))
    async with Sandbox(staff={"s1"}) as box, session(box) as ekb, Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "verify,a.ofd,,s1,,"))
        await backlog.run(ekb)
        [task] = [task async for task in backlog.results()]
        assert (task.state, task.attempts) == ("failed", 0)
        assert "OCR takes PDFs and pictures" in (task.error or "")


@pytest.mark.process
async def test_adding_can_be_cancelled_while_files_are_read(place: Location, tmp_path: Path) -> None:
    """Nothing is added then, and adding again adds all."""
    names = [f"{number}.pdf" for number in range(12)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(as_pdf(number))
    path = manifest(tmp_path, *(f"ocr,{name},,,," for name in names))
    async with Backlog.open(place) as backlog:
        adding = asyncio.create_task(backlog.add_manifest(path))
        await asyncio.sleep(0)
        while not adding.done():
            adding.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert [task async for task in backlog.results()] == []
        assert (await backlog.add_manifest(path)).added == 12
