"""The exit status, standard output and standard error of `ekb`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest

from ekb_async import __version__
from ekb_async.cli.progress import Meter, duration
from ekb_async.sandbox import Sandbox
from tests.support.command import COMMAND, PNG, ekb, ekb_process, environment, finished, start
from tests.support.terminals import all_of
from tests.support.watched_log import WatchedLog


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three files that the sandbox recognises as invoices."""
    paths = [tmp_path / f"{name}.png" for name in ("hotel", "taxi", "train")]
    for path in paths:
        path.write_bytes(PNG + path.name.encode())
    return paths


@pytest.mark.process
async def test_ocr_writes_a_line_per_file(images: list[Path]) -> None:
    """Each file gives one JSON line with its path as it was written and its result; progress is on standard error."""
    async with Sandbox(ocr_rate=0) as box:
        done = await ekb_process("ocr", *images, box=box)
    assert done.status == 0
    assert {line["input"] for line in done.lines} == {str(path) for path in images}
    assert all(line["result"]["invoices"] and "error" not in line for line in done.lines)
    assert "3 of 3" in done.messages


async def test_one_file_given_twice_is_paid_once(images: list[Path]) -> None:
    """The same argument twice gives two lines and costs one call."""
    async with Sandbox(ocr_rate=0) as box:
        done = await ekb("ocr", images[0], images[0], box=box)
        assert box.count("ocr") == 1
    assert [line["input"] for line in done.lines] == [str(images[0])] * 2


@pytest.mark.slow
async def test_some_failed(images: list[Path]) -> None:
    """A file that cannot be recognised gives a line with class, message and hint, the others their result: status 1."""
    images[1].write_bytes(b"no image")
    async with Sandbox(verify_rate=0) as box:
        done = await ekb("verify", *images, "--staff-id", "corp:staff", box=box)
    by_input = {line["input"]: line for line in done.lines}
    assert done.status == 1
    error = by_input[str(images[1])]["error"]
    assert error["class"] == "RecognitionError"
    assert error["message"] == "识别失败"
    assert error["hint"]
    assert by_input[str(images[0])]["result"]["invoices"]


async def test_urls_print_what_opens() -> None:
    """The URL in the result works, signature included; an unknown invoice is an error of that line only."""
    async with Sandbox() as box:
        done = await ekb("urls", "corp:0310:001", "unknown-1", box=box)
        by_input = {line["input"]: line for line in done.lines}
        url = by_input["corp:0310:001"]["result"]["url"]
        with await asyncio.to_thread(urlopen, url) as reply:
            assert reply.status == 200
        assert box.count("invoice_url") == 1
    assert by_input["unknown-1"]["error"]["class"] == "InvoiceNotFoundError"
    assert done.status == 1


async def test_details_are_lists_of_lines() -> None:
    """The result of an invoice is the list of its lines, with amounts as decimal text."""
    async with Sandbox() as box:
        done = await ekb("details", "corp:0310:001", box=box)
    (line,) = done.lines
    assert done.status == 0
    assert all(isinstance(item["amount"], str) for item in line["result"])


async def test_wrong_keys_stop_everything(images: list[Path]) -> None:
    """Refused keys end with status 3, the same error for every input, and the secret nowhere."""
    async with Sandbox() as box:
        done = await ekb("ocr", *images, box=box, EKB_APP_SECURITY="wrong-5ecret")
        assert box.count("ocr") == 0
    assert done.status == 3
    assert [line["error"]["class"] for line in done.lines] == ["AuthError"] * 3
    assert "wrong-5ecret" not in done.output.decode() + done.messages


async def test_missing_permission_stops_everything(images: list[Path]) -> None:
    """Without the feature, every input gets the error and its hint, and not all are sent: status 3."""
    async with Sandbox(verify_rate=0, permissions=set()) as box:
        done = await ekb("verify", *images, "--staff-id", "corp:staff", box=box)
    assert done.status == 3
    assert [line["error"]["class"] for line in done.lines] == ["PermissionDeniedError"] * 3
    assert all("发票查验" in line["error"]["hint"] for line in done.lines)


async def test_settings_come_from_the_environment(images: list[Path]) -> None:
    """Without credentials the command names the variables to set: status 2."""
    done = await ekb("ocr", images[0])
    assert done.status == 2
    assert done.output == b""
    assert "EKB_APP_KEY" in done.messages


@pytest.mark.parametrize("wrong", ["nowhere.png", ".", "attachment:only-an-id", "https://", "http://[bad"])
async def test_a_wrong_file_costs_nothing(images: list[Path], wrong: str) -> None:
    """An invalid file argument is refused before any other is sent: status 2."""
    async with Sandbox() as box:
        done = await ekb("ocr", images[0], wrong, box=box)
        assert not box.log
    assert done.status == 2
    assert done.output == b""


async def test_signatures_are_not_echoed() -> None:
    """The line of a signed URL shows the URL without its signature."""
    url = "https://files.example/a.png?Expires=1&Signature=s3cr3t&OSSAccessKeyId=k3y&name=a"
    async with Sandbox() as box:
        done = await ekb("ocr", url, box=box)
    assert done.lines[0]["input"] == "https://files.example/a.png?name=a"
    assert "s3cr3t" not in done.output.decode() + done.messages


async def test_output_is_utf8_under_any_locale(images: list[Path]) -> None:
    """Chinese is written as UTF-8, unescaped, even in an ASCII locale."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    images[0].write_bytes(b"no image")
    async with Sandbox(verify_rate=0) as box:
        done = await ekb("verify", images[0], "--staff-id", "corp:staff", box=box, **ascii_only)
    assert "识别失败".encode() in done.output


@pytest.mark.process
async def test_interrupted_call(images: list[Path]) -> None:
    """Ctrl-C during a call ends with status 130."""
    async with Sandbox(latency=60) as box:
        box.log = log = WatchedLog()
        process = await start("ocr", images[0], box=box)
        await log.arrival("ocr", 1).wait()
        process.send_signal(signal.SIGINT)
        done = await finished(process)
    assert done.status == 130
    assert "Interrupted" in done.messages


@pytest.mark.process
async def test_a_reader_that_closes_the_pipe() -> None:
    """When the reader closes the pipe, the command ends without a message."""
    reading, writing = os.pipe()
    os.close(reading)
    async with Sandbox() as box:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "urls",
            "corp:1:1",
            "corp:1:2",
            env=environment(box),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        done = await finished(process)
    assert done.status == 1
    assert "Broken pipe" not in done.messages


@pytest.mark.process
async def test_missing_extra() -> None:
    """Without typer or rich the command says what to install: status 2."""
    for module in ("typer", "rich"):
        script = f"import sys; sys.modules[{module!r}] = None; from ekb_async.cli import main; main()"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, env=environment(None), stdout=-1, stderr=-1
        )
        done = await finished(process)
        assert done.status == 2
        assert 'pip install "ekb-async[cli]"' in done.messages


@pytest.mark.parametrize("wrong", [["verify", "a.png"], ["nothing"], ["sandbox", "--port", "70000"], ["urls"]])
async def test_wrong_usage(wrong: list[str]) -> None:
    """A missing or impossible option, argument or subcommand is status 2."""
    assert (await ekb(*wrong)).status == 2


@pytest.mark.slow
@pytest.mark.process
async def test_sandbox_for_other_programs(images: list[Path]) -> None:
    """`ekb sandbox` prints the settings with which another program reaches it, until Ctrl-C."""
    process = await start("sandbox", box=None)
    assert process.stdout is not None
    exports = [(await process.stdout.readline()).decode().split() for _ in range(3)]
    settings: dict[str, Any] = dict(export[1].split("=", 1) for export in exports)
    assert set(settings) == {"EKB_BASE_URL", "EKB_APP_KEY", "EKB_APP_SECURITY"}
    done = await ekb("ocr", images[0], **settings)
    assert done.status == 0
    process.send_signal(signal.SIGINT)
    assert (await finished(process)).status == 130


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
async def test_bar_on_a_terminal(images: list[Path]) -> None:
    """On a terminal progress is a bar, and the results on a pipe stay clean."""
    screen, terminal = os.openpty()
    async with Sandbox(ocr_rate=0) as box:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "ocr", *images, env=environment(box, TERM="xterm"), stdout=-1, stderr=terminal
        )
        os.close(terminal)
        shown, (output, _) = await asyncio.gather(asyncio.to_thread(all_of, screen), process.communicate())
    assert "━" in shown
    assert len([msgspec.json.decode(line) for line in output.splitlines()]) == 3


def test_rate_is_that_of_the_last_half_minute() -> None:
    """A fast beginning does not hide a slow present."""
    meter = Meter()
    for second in range(11):
        meter.mark(second, second * 10)
    assert meter.rate == pytest.approx(10)
    for second in range(11, 61):
        meter.mark(second, 100 + (second - 10))
    assert meter.rate == pytest.approx(1)
    assert meter.left(120) == pytest.approx(120)


def test_no_rate_before_it_is_known() -> None:
    """There is no rate and no time left before an item has ended, nor after a single measurement."""
    meter = Meter()
    meter.mark(0, 500)
    meter.mark(5, 500)
    assert meter.rate is None
    assert meter.left(10) is None
    hasty = Meter()
    hasty.mark(0, 0)
    hasty.mark(0.01, 1)
    assert hasty.rate is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.5, "1 min 0 s"), (200, "3 min 20 s"), (9960, "2 h 46 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    """The time left is shown in the units a person would use."""
    assert duration(seconds) == text


async def test_an_empty_id_is_not_sent() -> None:
    """An empty invoice ID, as an unset variable of a script leaves it, is a wrong argument: status 2."""
    async with Sandbox() as box:
        done = await ekb("urls", "", box=box)
        assert done.status == 2
        assert box.log == []


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
@pytest.mark.parametrize(("closed", "status"), [("1>&-", 2), ("2>&-", 0)])
async def test_closed_streams(images: list[Path], closed: str, status: int) -> None:
    """Without standard output no call is made; without standard error no messages are written."""
    async with Sandbox(ocr_rate=0) as box:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'"$@" {closed}', "sh", *COMMAND, "ocr", str(images[0])),
            env=environment(box),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        done = await finished(shell)
        assert done.status == status
        assert box.vendor.billed["ocr"].total() == len(done.lines) == (status == 0)


async def test_the_version_is_shown() -> None:
    """`ekb --version` prints the version of the package."""
    done = await ekb("--version")
    assert (done.status, done.output.decode().strip()) == (0, f"ekb {__version__}")
