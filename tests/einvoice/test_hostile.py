"""Hostile files give nothing, in little time and memory, and no network."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest

from ekb_async.einvoice import read
from tests.support.hostile_files import HOSTILE

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


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file makes the reader open a connection or look up a name."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the reader used the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("external entity", "many codes"):
        assert read(HOSTILE[name]()) == []
