"""ZIP archives: entries are grouped by identity, names may be in any encoding, and nothing leaves the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async.einvoice import read
from ekb_async.einvoice.formats.archives import Archive
from tests.support.invoice_files import DIGITAL_QR, NUMBER, OTHER, encoded, pdf, platform_xml, qr_image, sample, zipped

Entries = list[tuple[str, str | bytes]]


def named(raw: bytes, content: str) -> bytes:
    """Return an archive of one entry whose name is these bytes, without the mark for UTF-8."""
    return zipped([("x" * len(raw), content)]).replace(b"x" * len(raw), raw)


def test_one_invoice_in_three_forms() -> None:
    """XML, OFD and PDF of one invoice in an archive are one invoice; the same XML twice is one, too."""
    entries: Entries = [(name, sample(name)) for name in ("digital.xml", "digital_A.ofd", "digital_special.pdf")]
    (found,) = read(zipped([*entries, ("copy.xml", sample("digital.xml"))]))
    assert found.identity == NUMBER
    assert {"xml", "ofd-tags", "qr", "pdf-text"} <= set(found.sources["number"])


def test_files_that_differ_are_a_conflict() -> None:
    """The same number with another total is one invoice with a conflict, never a silent choice."""
    (found,) = read(zipped([("a.xml", platform_xml()), ("b.xml", platform_xml(tax="56.61", total="1000.01"))]))
    assert (found.identity, found.total, found.tax) == (NUMBER, None, None)
    assert [str(each) for each in found.conflicts["total"]] == ["1000.00", "1000.01"]


def test_red_and_blue_in_an_archive() -> None:
    """The red-letter invoice and the blue one are two."""
    found = read(zipped([("red.xml", sample("red_letter.xml")), ("blue.xml", sample("digital.xml"))]))
    assert [(each.identity, each.red_letter_of) for each in found] == [
        ("25999900000000000033", NUMBER),
        (NUMBER, None),
    ]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
def test_names_without_a_mark(encoding: str) -> None:
    """Names in GBK or UTF-8 without the mark for UTF-8 are read as what they are."""
    archive = named(f"发票/{NUMBER}.xml".encode(encoding), platform_xml())
    assert Archive(archive).names == [f"发票/{NUMBER}.xml"]
    assert read(archive)[0].sources["number"] == ["xml", "file-name"]


def test_a_name_alone_is_no_invoice(tmp_path: Path) -> None:
    """The 20 digits in a file's name confirm those inside, and are nothing without them."""
    assert read(b"no invoice", name=f"dzfp_{NUMBER}_x.pdf") == []
    assert read(zipped([(f"dzfp_{NUMBER}.xml", "<a/>"), (f"{NUMBER}.pdf", pdf(None))])) == []
    renamed = tmp_path / f"dzfp_{OTHER}.xml"
    renamed.write_text(platform_xml(), encoding="utf-8")
    assert [(each.identity, each.sources["number"]) for each in read(renamed)] == [(NUMBER, ["xml"])]
    assert read(renamed, name=f"{NUMBER}.xml")[0].sources["number"] == ["xml", "file-name"]


def test_an_entry_that_cannot_be_read_is_left_out() -> None:
    """A damaged entry does not affect the others."""
    entries: Entries = [
        ("a.pdf", b"%PDF-1.7 broken"),
        ("b.xml", "<broken"),
        ("c.png", encoded(qr_image(DIGITAL_QR))),
    ]
    assert [each.identity for each in read(zipped(entries))] == [NUMBER]


def test_an_archive_in_an_archive() -> None:
    """One archive inside another is read; a long chain is not followed."""
    archive = zipped([("a.xml", platform_xml())])
    assert len(read(zipped([("a.zip", archive)]))) == 1
    for _ in range(5):
        archive = zipped([("a.zip", archive)])
    assert read(archive) == []


@pytest.mark.parametrize("name", ["../evil.xml", "/evil.xml", "a/../../evil.xml", "C:/evil.xml", "..\\evil.xml"])
def test_a_name_outside_makes_the_archive_unusable(name: str) -> None:
    """An entry that would lie outside a folder is an attack, and nothing of the archive is read."""
    assert read(zipped([("a.xml", platform_xml()), (name, "x")])) == []


def test_office_files_are_not_searched() -> None:
    """Pictures in a Word file are no invoices."""
    entries: Entries = [
        ("[Content_Types].xml", "<Types/>"),
        ("word/media/1.png", encoded(qr_image(DIGITAL_QR))),
    ]
    assert read(zipped(entries)) == []
