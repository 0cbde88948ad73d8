"""A pool keeps its processes for the next call, starts as few as the files need, and can be closed at any time."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.einvoice import ReaderPool, ReaderPoolClosedError, Reading, examine
from tests.support.hostile_files import HOSTILE
from tests.support.invoice_files import DIGITAL_QR, EXPECTED, SAMPLES, pdf, platform_xml, qr_image

Started = Callable[[], list[int]]

CONFLICTING = pdf(
    qr_image(DIGITAL_QR), attachments=[("x.xml", platform_xml(total="1000.01", date="2025-03-10").encode())]
)
FAKES = {
    "empty.pdf": b"",
    "Thumbs.db": b"\xd0\xcf\x11\xe0 thumbs",
    "a.png": b"\x89PNG\r\n\x1a\na.png",
    "b.jpg": b"\xff\xd8\xffb.jpg",
    "c.pdf": b"%PDF-1.4\nc.pdf",
    "d.gif": b"GIF89ad.gif",
    "e.webp": b"RIFF\0\0\0\0WEBPe.webp and more of it",
    "f.tif": b"II*\0f.tif and something more",
    "g.heic": b"\0\0\0\x18ftypheicg.heic",
    "h.rar": b"Rar!\x1a\x07\0h.rar",
}


class _Watched(list[Path]):
    """A path, and an event when it was taken."""

    def __init__(self, taken: threading.Event) -> None:
        super().__init__([SAMPLES / "rail.pdf"])
        self._taken = taken

    def __iter__(self) -> Iterator[Path]:
        yield from super().__iter__()
        self._taken.set()


def test_what_is_no_invoice_file_takes_no_process(tmp_path: Path) -> None:
    """Empty, foreign and fake files have a problem at once; so have XML and OFD files their invoices."""
    paths = [tmp_path / name for name in FAKES]
    for path in paths:
        path.write_bytes(FAKES[path.name])
    with ReaderPool() as pool:
        readings = pool.read([*paths, SAMPLES / "digital.xml", SAMPLES / "old_normal.ofd", tmp_path / "none"])
    assert [reading.problem for reading in readings] == [
        "the file is empty",
        "no invoice file",
        *["the picture is damaged"] * 2,
        "the PDF is damaged",
        *["the picture is damaged"] * 4,
        "a RAR archive, which cannot be read",
        *[""] * 2,
        "the file cannot be opened",
    ]
    assert [len(reading.invoices) for reading in readings[-3:]] == [1, 1, 0]
    assert [reading.problem for reading in readings[:-1]] == [examine(path).problem for path in paths] + ["", ""]


@pytest.mark.process
@pytest.mark.slow
def test_readings_are_those_of_examine_in_the_order_of_the_paths(started: Started) -> None:
    """Whatever is read where; an idle process is used again, and no process is left."""
    paths = [SAMPLES / name for name in EXPECTED]
    expected = [examine(path) for path in paths]
    with ReaderPool(2) as pool:
        assert pool.read(paths) == expected
        kept = started()
        assert pool.read(paths[::-1]) == expected[::-1]
        assert started() == kept
        assert pool.missing == ""
    assert started() == []


@pytest.mark.process
def test_conflicting_values_keep_their_types(tmp_path: Path) -> None:
    """Dates and amounts come out of the process as what they are."""
    path = tmp_path / "a.pdf"
    path.write_bytes(CONFLICTING)
    with ReaderPool(1) as pool:
        (reading,) = pool.read([path])
    assert reading == examine(path)
    assert reading.invoices[0].conflicts["total"] == examine(path).invoices[0].conflicts["total"]
    assert {type(value).__name__ for value in reading.invoices[0].conflicts["date"]} == {"date"}


@pytest.mark.process
def test_few_files_start_few_processes(started: Started) -> None:
    """One is enough for a handful of files, however many processors there are."""
    with ReaderPool(4) as pool:
        assert len(pool.read([SAMPLES / "rail.pdf"] * 8)) == 8
        assert len(started()) == 1
        assert len(pool.read([SAMPLES / "rail.pdf"] * 9)) == 9
        assert len(started()) == 2


@pytest.mark.process
def test_a_path_belongs_to_the_programs_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The processes stay where they were started, and find relative paths as the program does."""
    (tmp_path / "a.pdf").write_bytes((SAMPLES / "rail.pdf").read_bytes())
    with ReaderPool(1) as pool:
        pool.read([SAMPLES / "rail.pdf"])
        monkeypatch.chdir(tmp_path)
        assert len(pool.read(["a.pdf"])[0].certain) == 1


@pytest.mark.process
def test_a_file_that_takes_too_long_gives_its_format(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It may hold invoices, so it is not complete and has no problem."""
    slow = tmp_path / "b.png"
    slow.write_bytes(HOSTILE["noise"]())
    with caplog.at_level(logging.WARNING, "ekb_async.einvoice"), ReaderPool(1, timeout=0.05) as pool:
        assert pool.read([slow]) == [Reading(format="picture")]
    assert "took too long" in caplog.text


@pytest.mark.process
def test_closing_ends_a_read_in_another_thread(started: Started) -> None:
    """At once, whatever its processes are at."""
    pool = ReaderPool(1, timeout=600)
    with ThreadPoolExecutor() as threads:
        pool.read([SAMPLES / "rail.pdf"])
        (process,) = started()
        os.kill(process, signal.SIGSTOP)
        os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)
        taken = threading.Event()
        reading = threads.submit(pool.read, _Watched(taken))
        assert taken.wait(20)
        pool.close()
        with pytest.raises(ReaderPoolClosedError):
            reading.result(20)
    assert started() == []
    with pytest.raises(ReaderPoolClosedError):
        pool.read([SAMPLES / "digital.xml"])


def test_without_the_extra_the_pool_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pictures and PDFs then may hold anything; no process is started for them."""
    for name in ("zxingcpp", "pypdfium2", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with ReaderPool() as pool:
        readings = pool.read([SAMPLES / "rail.pdf", SAMPLES / "digital_photo_7deg.jpg", SAMPLES / "digital.xml"])
        assert readings[:2] == [Reading(format="pdf"), Reading(format="picture")]
        assert len(readings[2].certain) == 1
        assert "pip install" in pool.missing


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"processes": 65}, {"timeout": 0}])
def test_wrong_arguments(wrong: dict[str, int]) -> None:
    """They are refused before anything is read."""
    with pytest.raises(ConfigError):
        ReaderPool(**wrong)
    with ReaderPool() as pool, pytest.raises(ConfigError):
        pool.read([None])  # type: ignore[list-item]
