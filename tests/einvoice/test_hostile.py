"""Hostile files give nothing, in little time and memory, and no network."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest

from ekb_async.einvoice import examine, read
from tests.support.hostile_files import HOSTILE
from tests.support.invoice_files import NUMBER, custom_data, ofd, platform_xml, zipped

SECONDS = 2.0
MEGABYTES = 300
PEAK, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak() -> int:
    """Return the most memory that this process has used, in MB; as Linux counts it since it was last cleared."""
    line = next(line for line in PEAK.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gives_nothing(name: str) -> None:
    """An empty list, within two seconds of processor time and 300 MB besides the file itself."""
    content = HOSTILE[name]()
    if CLEAR.exists():
        CLEAR.write_text("5")
    before = peak() if PEAK.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    assert read(content) == []
    assert time.process_time() - began < SECONDS
    if PEAK.exists():
        assert peak() - before < MEGABYTES


@pytest.mark.slow
def test_the_same_invoice_again_and_again_gains_no_time() -> None:
    """Only an invoice that was not found before lets reading go on."""
    page = "<a>" + "".join(f"<b>{number * number}</b>" for number in range(10_000)) + "</a>"
    pages = [(f"Pages/P{number}/Content.xml", page) for number in range(2)]
    slow = ofd(custom_data(发票号码=NUMBER, 价税合计="1.00"), pages)
    archive = zipped((f"{number}.ofd", slow) for number in range(240))
    began = time.process_time()
    reading = examine(archive)
    assert time.process_time() - began < SECONDS
    assert ([each.identity for each in reading.invoices], reading.is_complete) == ([NUMBER], False)


@pytest.mark.slow
def test_many_invoices_take_time_in_proportion() -> None:
    """Fifteen hundred records of an XML file are joined in less than a second."""
    records = "".join(platform_xml(str(int(NUMBER) + number)) for number in range(1_400))
    began = time.process_time()
    assert len(read(f"<all>{records}</all>".encode())) > 1_300
    assert time.process_time() - began < SECONDS / 2


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file makes the reader open a connection or look up a name."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the reader used the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("external entity", "many codes"):
        assert read(HOSTILE[name]()) == []
