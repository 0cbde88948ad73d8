"""A file of several invoices that OCR does not take: a check for each of them."""

from __future__ import annotations

from pathlib import Path

from ekb_async.backlog import Backlog
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest
from tests.support.invoice_files import platform_xml
from tests.support.invoice_folders import number_of


def two_invoices(*, second_date: str = "2025-03-09") -> bytes:
    """Return an XML file with two invoices."""
    return f"<r>{platform_xml(number_of(1))}{platform_xml(number_of(2), date=second_date)}</r>".encode()


async def test_a_copy_of_the_file_has_both_checks(place: Location, tmp_path: Path) -> None:
    """The file is read again, since each of its invoices has a call of its own; the same file again adds nothing."""
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_bytes(two_invoices())
    async with Backlog.open(place) as backlog:
        first = await backlog.add_manifest(manifest(tmp_path, "verify,a.xml,,s1,,"))
        assert (first.added, first.duplicates) == (2, 0)
        copied = await backlog.add_manifest(manifest(tmp_path, "verify,b.xml,,s1,,", name="n.csv"))
        assert (copied.added, copied.duplicates, copied.present) == (0, 2, 0)
        again = await backlog.add_manifest(manifest(tmp_path, "verify,b.xml,,s1,,", name="n.csv"))
        assert (again.added, again.duplicates, again.present) == (0, 2, 2)


async def test_invoices_that_cannot_be_checked_are_not_taken_for_one(place: Location, tmp_path: Path) -> None:
    """Without a date neither can be checked by fields, and a file of one of them does not join the file's own call."""
    (tmp_path / "a.xml").write_bytes(two_invoices().replace(b"<RequestTime>2025-03-09</RequestTime>", b""))
    (tmp_path / "one.xml").write_bytes(platform_xml(number_of(1)).encode())
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "verify,a.xml,,s1,,"))
        report = await backlog.add_manifest(manifest(tmp_path, "verify,one.xml,,s1,,", name="n.csv"))
        assert (report.added, report.same_invoice) == (1, 0)
