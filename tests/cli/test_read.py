"""`ekb read`: lines of JSON, messages and exit status."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.command import ekb, finished, start
from tests.support.invoice_files import NUMBER, OTHER, SAMPLES, platform_xml

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def test_a_line_per_invoice() -> None:
    """A file with two invoices gives two lines with its path; the same file twice is read once."""
    path = SAMPLES / "two_invoices.pdf"
    done = await ekb("read", path, path)
    assert done.status == 0
    assert [(line["input"], line["identity"], line["total"]) for line in done.lines] == [
        (str(path), NUMBER, "1000.00"),
        (str(path), OTHER, "106.00"),
    ]


async def test_a_file_without_an_invoice_is_named() -> None:
    """It is a message on standard error and the exit status 1; the others are written."""
    done = await ekb("read", SAMPLES / "bad_dtd.xml", SAMPLES / "digital.xml")
    assert (done.status, len(done.lines)) == (1, 1)
    assert "bad_dtd.xml: no invoice was found in it" in done.messages


async def test_a_rar_archive_is_named_as_such(tmp_path: Path) -> None:
    """What cannot be read at all is said so."""
    (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    done = await ekb("read", tmp_path / "a.rar")
    assert (done.status, done.output) == (1, b"")
    assert "RAR archives cannot be read" in done.messages


async def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    """Nothing is read if a path is wrong."""
    for wrong, reason in ((tmp_path / "none.pdf", "no such file"), (tmp_path, "not a file")):
        done = await ekb("read", SAMPLES / "digital.xml", wrong)
        assert (done.status, done.output) == (2, b"")
        assert reason in done.messages


async def test_an_interrupted_command_ends_at_once(tmp_path: Path) -> None:
    """Ctrl-C gives the exit status 130, and leaves no process."""
    paths = [tmp_path / f"{number}.xml" for number in range(4_000)]
    for path in paths[:1]:
        path.write_text(platform_xml(), encoding="utf-8")
    for path in paths[1:]:
        path.hardlink_to(paths[0])
    process = await start("read", *paths, box=None)
    assert process.stdout is not None
    assert NUMBER in (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    done = await finished(process)
    assert done.status == 130
    assert "Interrupted." in done.messages
