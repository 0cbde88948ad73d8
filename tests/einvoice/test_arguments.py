"""What is a caller's mistake, and what a missing library means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.einvoice import read
from tests.support.invoice_files import (
    DIGITAL_QR,
    NUMBER,
    custom_data,
    encoded,
    ofd,
    platform_xml,
    qr_image,
    sample,
    zipped,
)

LIBRARIES = ("zxingcpp", "pypdfium2", "PIL", "PIL.Image", "pi_heif")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the libraries of the extra impossible to import."""
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and a pipe are mistakes of the caller."""
    os.mkfifo(tmp_path / "pipe")
    wrong_paths = {"none.pdf": "No such file", ".": "irectory|not a file", "pipe": "not a file"}
    for path, reason in ((tmp_path / name, reason) for name, reason in wrong_paths.items()):
        with pytest.raises(ConfigError, match=reason):
            read(path)
    for wrong in (None, 5, "a\0b"):
        with pytest.raises(ConfigError):
            read(wrong)  # type: ignore[arg-type]


def test_paths_and_bytes(tmp_path: Path) -> None:
    """A path may be text or `Path`; bytes may be any buffer."""
    path = tmp_path / "发票.xml"
    path.write_text(platform_xml(), encoding="utf-8")
    content = path.read_bytes()
    for given in (path, str(path), content, bytearray(content), memoryview(content)):
        assert [each.identity for each in read(given)] == [NUMBER]  # type: ignore[arg-type]
    assert read(b"") == []


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_xml_and_ofd_are_read() -> None:
    """XML and OFD need no library; the pictures of an OFD file are left out."""
    files = [platform_xml().encode(), sample("digital_A.ofd"), sample("old_normal.ofd"), sample("rail.ofd")]
    assert all(read(file) for file in files)
    with_picture = ofd(custom_data(发票号码=NUMBER), [("Res/image_1.png", PICTURE)])
    assert read(with_picture)[0].sources["number"] == ["ofd-data"]


PICTURE = encoded(qr_image(DIGITAL_QR))


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("name", ["digital_special.pdf", "digital_photo_7deg.jpg", "photo.heic"])
def test_without_the_extra_a_pdf_or_picture_is_a_wrong_setting(name: str) -> None:
    """An empty list would say that there is no invoice, so the error names what to install."""
    with pytest.raises(ConfigError, match=r"pip install"):
        read(sample(name))
    with pytest.raises(ConfigError, match=r"pip install"):
        read(zipped([("a", sample(name))]))


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_an_archive_gives_what_can_be_read() -> None:
    """The XML of an archive is enough, if there is a PDF beside it."""
    assert [each.identity for each in read(sample("bundle.zip"))] == [NUMBER]


@pytest.mark.process
def test_importing_loads_no_library() -> None:
    """XML is read without loading the libraries for PDFs and pictures, or anything of the network."""
    code = (
        "import sys; from ekb_async.einvoice import read\n"
        f"assert read({platform_xml().encode()!r})\n"
        "loaded = {'zxingcpp', 'pypdfium2', 'PIL', 'pi_heif', 'aiohttp', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
