"""A folder of invoice files as people have it: forms of an invoice, photos, copies, archives, and other files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.support.invoice_files import custom_data, encoded, ofd, pdf, platform_xml, qr_image


class Folder(NamedTuple):
    """A folder: its invoices, and the files that are none."""

    path: Path
    invoices: int
    files: int
    """Files and entries of archives that show an invoice."""
    foreign: tuple[str, ...]
    """The names of files that show none."""


class _GbkName(zipfile.ZipInfo):
    """An entry as older programs write it: its name in GBK, without the mark for UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the name in zipfile
        return self.filename.encode("gbk"), self.flag_bits


def number_of(invoice: int) -> str:
    """Return the 20 digits of an invoice."""
    return f"2599{9000_0000_0000_0000 + 17 * invoice + 1}"


def as_xml(invoice: int) -> bytes:
    return platform_xml(number_of(invoice), total="1000.00").encode()


def as_ofd(invoice: int) -> bytes:
    data = {"发票号码": number_of(invoice), "开票日期": "2025年03月09日", "合计金额": "943.40", "合计税额": "56.60"}
    return ofd(custom_data(**data))


def as_pdf(invoice: int) -> bytes:
    return pdf(qr_image(f"01,32,,{number_of(invoice)},1000.00,20250309,,0A1B", module=3))


def as_photo(invoice: int) -> bytes:
    picture = qr_image(f"01,32,,{number_of(invoice)},1000.00,20250309,,0A1B", module=8)
    return encoded(picture.rotate(7, expand=True, fillcolor=255), "JPEG")


def invoice_folder(path: Path, scale: int = 20) -> Folder:
    """Make a folder with 12 × `scale` invoices.

    Each twelfth is there as PDF, OFD and XML, in folders of their own; others as PDF and photo, as photo, as XML, as
    OFD, and as PDFs, of which some have copies under other names. Two ZIP archives hold further forms of the first.
    """
    path.mkdir()
    files = 0

    def write(name: str, content: bytes) -> None:
        nonlocal files
        files += 1
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    for each in range(scale):
        first = 12 * each
        for form, suffix in ((as_pdf, "pdf"), (as_ofd, "ofd"), (as_xml, "xml")):
            write(f"数电/{suffix}/dzfp_{number_of(first)}_虚构乙方_20250310101112.{suffix}", form(first))
        write(f"三月/{first + 1}.pdf", as_pdf(first + 1))
        write(f"三月/照片/IMG_{first + 1}.jpg", as_photo(first + 1))
        write(f"三月/照片/IMG_{first + 2}.jpg", as_photo(first + 2))
        write(f"三月/{first + 3}.xml", as_xml(first + 3))
        write(f"三月/{first + 4}.ofd", as_ofd(first + 4))
        for invoice in range(first + 5, first + 12):
            write(f"三月/{invoice}.pdf", as_pdf(invoice))
        write(f"三月/{first + 5} (1).pdf", as_pdf(first + 5))
    files += _archives(path)
    foreign = {"Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(500), "empty.pdf": b"", "none.png": b"\x89PNG\r\n\x1a\n none"}
    for name, content in foreign.items():
        (path / "三月" / name).write_bytes(content)
    return Folder(path, 12 * scale, files, tuple(foreign))


def _archives(path: Path) -> int:
    """Write an archive of an invoice's forms, and one with names in GBK; return how many entries show an invoice."""
    with zipfile.ZipFile(path / "数电发票.zip", "w") as archive:
        for form, suffix in ((as_pdf, "pdf"), (as_ofd, "ofd"), (as_xml, "xml")):
            archive.writestr(f"{number_of(0)}.{suffix}", form(0))
    with zipfile.ZipFile(path / "gbk.zip", "w") as archive:
        for name, content in (
            ("餐饮/发票.pdf", as_pdf(6)),
            ("餐饮/照片.jpg", as_photo(7)),
            ("说明.txt", b"no invoice"),
        ):
            archive.writestr(_GbkName(name), content)
    return 5
