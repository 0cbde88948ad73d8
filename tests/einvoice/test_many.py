"""Many files, in processes: a stream in which each file has its own result, whatever happens to another."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.einvoice import read_many
from tests.support.hostile_files import HOSTILE
from tests.support.invoice_files import EXPECTED, SAMPLES, platform_xml
from tests.support.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow]
Started = Callable[[], list[int]]


def test_each_file_has_its_result(started: Started) -> None:
    """Paths of any type come back with their invoices, each once, and no process is left."""
    paths = [SAMPLES / name for name in EXPECTED]
    found = dict(read_many(paths, processes=2))
    assert set(found) == set(paths)
    for path, invoices in found.items():
        assert (invoices[0].identity if invoices else None) == EXPECTED[path.name]["identity"]
    assert started() == []


def test_paths_are_taken_as_they_are_needed(started: Started) -> None:
    """From an endless iterable, one path for each process is taken; closing ends the processes."""
    path = SAMPLES / "rail.pdf"
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield path

    results = read_many(endless(), processes=2)
    for _ in range(20):
        assert next(results)[1][0].identity == EXPECTED[path.name]["identity"]
    assert taken <= 22
    assert len(started()) == 2
    results.close()
    assert started() == []


def waiting_bytes(process: int) -> int:
    """Return how many bytes wait in the input of a process."""
    with Path(f"/proc/{process}/fd/0").open("rb") as source:
        return int.from_bytes(fcntl.ioctl(source, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_killed_process_costs_one_file(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    """The file it was at gives an empty list and a line in the log; the others go on in a new process."""
    results = read_many([SAMPLES / f"{name}.pdf" for name in ("rail", "old_normal", "red_letter")], processes=1)
    found = [next(results)]
    (process,) = started()
    os.kill(process, signal.SIGSTOP)  # it is given the next file, and cannot read it
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)

    async def is_given_a_file() -> bool:
        return waiting_bytes(process) > 0

    with caplog.at_level(logging.WARNING, "ekb_async.einvoice"), ThreadPoolExecutor() as pool:
        rest = pool.submit(list, results)
        asyncio.run(until(is_given_a_file))
        os.kill(process, signal.SIGKILL)
        found += rest.result(60)
    assert [len(invoices) for _, invoices in found] == [1, 0, 1]
    assert "old_normal.pdf ended its process" in caplog.text


def test_a_process_that_ended_while_idle_costs_nothing(started: Started) -> None:
    """It is replaced before it is given a file."""
    results = read_many([SAMPLES / "rail.pdf", SAMPLES / "old_normal.pdf"], processes=1)
    assert len(next(results)[1]) == 1
    (process,) = started()
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert len(next(results)[1]) == 1
    results.close()


def test_a_file_that_takes_too_long_costs_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that does not answer in time is ended."""
    good, slow = tmp_path / "a.xml", tmp_path / "b.png"
    good.write_text(platform_xml(), encoding="utf-8")
    slow.write_bytes(HOSTILE["noise"]())
    with caplog.at_level(logging.WARNING, "ekb_async.einvoice"):
        found = dict(read_many([slow, good], processes=1, timeout=0.05))
    assert (found[slow], len(found[good])) == ([], 1)
    assert "took too long" in caplog.text


def test_a_file_that_is_gone_gives_an_empty_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One of ten thousand files that was removed meanwhile does not end the run."""
    found = dict(read_many([tmp_path / "none.pdf", SAMPLES / "digital.xml"], processes=1))
    assert [len(invoices) for invoices in found.values()] == [0, 1]
    assert "No such file" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"paths": "a.xml"}, {"paths": 5}, {"paths": [], "processes": 0}, {"paths": [], "timeout": 0}]
)
def test_wrong_arguments(wrong: dict[str, object]) -> None:
    """They are refused at the call, not at the first result."""
    with pytest.raises(ConfigError):
        read_many(**wrong)  # type: ignore[arg-type]


def test_a_wrong_path(started: Started) -> None:
    """What is no path ends the stream with an error, and no process is left."""
    with pytest.raises(ConfigError):
        list(read_many([SAMPLES / "rail.pdf", None], processes=1))  # type: ignore[type-var]
    assert started() == []


def test_no_files() -> None:
    """Nothing is started for nothing."""
    assert list(read_many([])) == []


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """The processes do not import the program's script again, as those of `multiprocessing` do."""
    script = tmp_path / "script.py"
    script.write_text(
        "from ekb_async.einvoice import read_many\nprint('once')\n"
        f"print(len(list(read_many([{str(SAMPLES / 'rail.pdf')!r}])).pop()[1]))\n"
    )
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n1\n", "")
